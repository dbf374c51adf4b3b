// Command mutants scores the net: it changes the system in one place at a time,
// and counts in how many of the cases the scenarios and checkers notice.
//
//	go run ./scenarios/mutants/cmd                    all chosen mutants, and docs/mutants.md
//	go run ./scenarios/mutants/cmd --only ID          one of them
//	go run ./scenarios/mutants/cmd --list             the chosen ones
//	go run ./scenarios/mutants/cmd --race             random against guided search, over them
//	go run ./scenarios/mutants/cmd --diff ID          what a mutant changes
//
// Exit codes: 0 done, 1 a mutant survived that --only names, 2 usage, a tree
// that does not build, or a suite that fails without any mutation.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esper-sim/espersim/scenarios/mutants"
)

type options struct {
	root, only, diff, cache string
	budget                  time.Duration
	jobs                    int
	list, table, fresh      bool
	race                    bool
	times                   int
}

var errSurvived = errors.New("it survived")

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the root of the tree")
	flag.StringVar(&o.only, "only", "", "run the mutants with these ids, or whose ids begin so; commas between them")
	flag.StringVar(&o.diff, "diff", "", "print what the mutant with this id changes")
	flag.StringVar(&o.cache, "cache", "out/mutants", "folder for results, under the root")
	flag.DurationVar(&o.budget, "budget", 2*time.Minute, "processor time for each mutant")
	flag.IntVar(&o.jobs, "jobs", 1, "mutants at once")
	flag.BoolVar(&o.list, "list", false, "print the chosen mutants")
	flag.BoolVar(&o.table, "table", false, "write docs/mutants.md from the results that are there")
	flag.BoolVar(&o.fresh, "fresh", false, "run what has a result, too")
	flag.BoolVar(&o.race, "race", false, "compare random and guided search over the mutants")
	flag.IntVar(&o.times, "times", 1, "with --race or --list: so many times as many mutants")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, o, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, errSurvived):
		os.Exit(1)
	case err != nil:
		fmt.Fprintf(os.Stderr, "mutants: %v\n", err)
		os.Exit(2)
	}
}

func run(ctx context.Context, o options, out, log io.Writer) error {
	if o.budget <= 0 || o.jobs < 1 || o.times < 1 || flag.NArg() > 0 {
		return errors.New("want --budget above 0, --jobs and --times of at least 1, and no arguments")
	}
	if o.times > 1 && !o.race && !o.list {
		return errors.New("--times is for --race and --list: the score is over the list as it is")
	}
	if o.diff != "" {
		m, err := mutants.Find(o.root, o.diff)
		if err != nil {
			return err
		}
		text, err := m.Diff(o.root)
		fmt.Fprint(out, text)
		return err
	}
	list, err := mutants.Choose(o.root, o.times)
	if err != nil {
		return err
	}
	todo := list
	if o.only != "" {
		if todo, err = named(o, list); err != nil {
			return err
		}
	}
	if o.list {
		for _, m := range todo {
			fmt.Fprintf(out, "%s\n\t%s:%d: %s\n", m.ID, m.File, m.Line, m.What)
		}
		fmt.Fprintf(out, "%d mutants\n", len(todo))
		return nil
	}
	cache := filepath.Join(o.root, o.cache)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	results, err := mutants.OpenResults(filepath.Join(cache, "results.jsonl"))
	if err != nil {
		return err
	}
	defer func() { _ = results.Close() }()
	bench, err := mutants.NewBench(o.root, o.budget, log)
	if err != nil {
		return err
	}
	if o.race {
		todo = slices.DeleteFunc(slices.Clone(todo), func(m *mutants.Mutant) bool {
			r, ok := results.Get(m.ID)
			return ok && r.Status != mutants.Killed // what the whole suite does not find no search of one scenario does
		})
		return race(ctx, o, bench, todo, filepath.Join(cache, "races.jsonl"), out)
	}
	survived := false
	if !o.table {
		if err := bench.Calm(ctx, cache); err != nil {
			return err
		}
		if survived, err = hunt(ctx, o, bench, todo, results, out); err != nil {
			return err
		}
	}
	if o.only != "" {
		if survived && len(todo) == 1 {
			return errSurvived
		}
		return nil
	}
	text, err := mutants.Table(list, results)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.root, "docs", "mutants.md"), text, 0o644)
}

// named are the mutants that --only names, each by its id or, of the chosen
// ones, by how their ids begin.
func named(o options, list []*mutants.Mutant) (todo []*mutants.Mutant, err error) {
	for name := range strings.SplitSeq(o.only, ",") {
		if i := slices.IndexFunc(list, func(m *mutants.Mutant) bool { return m.ID == name }); i >= 0 {
			todo = append(todo, list[i])
			continue
		}
		n := len(todo)
		for _, m := range list {
			if strings.HasPrefix(m.ID, name) {
				todo = append(todo, m)
			}
		}
		if len(todo) == n {
			m, err := mutants.Find(o.root, name)
			if err != nil {
				return nil, err
			}
			todo = append(todo, m)
		}
	}
	return todo, nil
}

// hunt runs the mutants that have no result yet.
func hunt(ctx context.Context, o options, bench *mutants.Bench, todo []*mutants.Mutant, results *mutants.Results, out io.Writer) (survived bool, err error) {
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		next  int
		wrong error
	)
	// Those without any result first, so that an interrupted measurement knows
	// something of all of them; then those that changed the most runs, which are
	// the likeliest to be found.
	todo = slices.Clone(todo)
	slices.SortStableFunc(todo, func(a, b *mutants.Mutant) int {
		share := func(m *mutants.Mutant) float64 {
			r, ok := results.Get(m.ID)
			if !ok {
				return 2
			}
			return float64(r.Differs) / float64(max(r.Made, 1))
		}
		return cmp.Compare(share(b), share(a))
	})
	argued, err := mutants.Equivalents()
	if err != nil {
		return false, err
	}
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		for ; next < len(todo) && wrong == nil; next++ {
			r, ok := results.Get(todo[next].ID)
			if o.fresh || o.only != "" || !ok || !bench.Holds(r, argued[r.ID] != "") {
				next++
				return next - 1, true
			}
		}
		return 0, false
	}
	for range o.jobs {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				r, err := bench.Run(ctx, todo[i], argued[todo[i].ID] != "")
				if err == nil {
					err = results.Put(r)
				}
				mu.Lock()
				if err != nil && wrong == nil {
					wrong = err
				}
				if err == nil {
					survived = survived || r.Status == mutants.Survived
					fmt.Fprintf(out, "%3d/%d %-8s %s\n        %s:%d: %s\n        %s\n", i+1, len(todo), r.Status, r.ID, todo[i].File, todo[i].Line, todo[i].What, said(r))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return survived, wrong
}

// race has random and guided search look for the mutants that did not race over
// this tree yet.
func race(ctx context.Context, o options, bench *mutants.Bench, todo []*mutants.Mutant, name string, out io.Writer) error {
	races, err := mutants.OpenRaces(name)
	if err != nil {
		return err
	}
	for i, m := range todo {
		if r, ok := races.Get(m.ID); ok && bench.Raced(r) && !o.fresh {
			continue
		}
		r, err := bench.Race(ctx, m)
		if err != nil {
			return errors.Join(err, races.Close())
		}
		if err := races.Put(r); err != nil {
			return errors.Join(err, races.Close())
		}
		fmt.Fprintf(out, "%3d/%d %s in %s\n        random %v\n        guided %v\n", i+1, len(todo), r.ID, r.Scenario, r.Random, r.Guided)
	}
	var list []mutants.Race
	for _, m := range todo {
		if r, ok := races.Get(m.ID); ok {
			list = append(list, r)
		}
	}
	fmt.Fprint(out, mutants.RaceTable(list))
	return races.Close()
}

func said(r mutants.Result) string {
	if r.Status == mutants.Survived {
		return fmt.Sprintf("%d runs, %.1f s; of %d runs of the suite %d went another way", r.Runs, r.CPU, r.Made, r.Differs)
	}
	text, _, _ := strings.Cut(r.Found, "\n")
	return fmt.Sprintf("%s after %d runs, %.1f s: %.140s\n        again: %s", r.By, r.Runs, r.CPU, text, r.Again)
}
