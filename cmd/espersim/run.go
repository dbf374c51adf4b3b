package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/checkers"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
)

type runOptions struct {
	seed      uint64
	seedGiven bool
	seeds     int
	n         int
	jobs      int
	json      bool
	twice     bool
	long      bool
	show      bool
	noJudge   bool
	whole     bool
	swarm     string
	keep      string
	export    string
	bundle    string
	out, err  io.Writer
}

func newRun() *cobra.Command {
	o := &runOptions{}
	c := &cobra.Command{
		Use:   "run FILE|DIR…",
		Short: "Run scenarios, and compare what they come to with what they expect",
		Example: `  espersim run scenarios/
  espersim run scenarios/triad-calm.yaml --seed 7
  espersim run scenarios/ --seeds 200 --jobs 2`,
		Args: counted(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			o.seedGiven = c.Flags().Changed("seed")
			o.out, o.err = c.OutOrStdout(), c.ErrOrStderr()
			return o.run(args)
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.seed, "seed", 1, "the one run seed; with --seeds, the first")
	f.IntVar(&o.seeds, "seeds", 0, "run seeds for each scenario of class short")
	f.IntVar(&o.n, "n", 0, "the one value of $n, for scenarios that enumerate")
	f.IntVar(&o.jobs, "jobs", 0, "runs at once (default: one a processor)")
	f.BoolVar(&o.json, "json", false, "one JSON object a run")
	f.BoolVar(&o.twice, "twice", false, "run everything twice and compare the trace hashes")
	f.BoolVar(&o.long, "long", false, "run the scenarios of class long in folders, too, and multiply their seeds")
	f.BoolVar(&o.show, "show", false, "print the first violating run also where it was expected, and the first run of a swarm")
	f.BoolVar(&o.noJudge, "no-judge", false, "run without checkers: the trace hash is the same")
	f.BoolVar(&o.whole, "whole", false, "fail unless the runs saw every fault, and had something to judge for every invariant")
	swarmFlag(f, &o.swarm)
	f.StringVar(&o.keep, "keep-trace", "", "write the trace of each run into this folder")
	f.StringVar(&o.bundle, "bundle", "", "write a bundle of each scenario's first unexpected run into this folder")
	f.StringVar(&o.export, "export", "", "write the evolved model of each clean run, with its lineage, into this folder")
	return c
}

// load reads scenario files; problems are printed, one a line.
func load(args []string, stderr io.Writer) ([]*scenarios.Scenario, error) {
	files, err := scenarios.Find(args)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no scenario (*.yaml) in %s", strings.Join(args, ", "))
	}
	var list []*scenarios.Scenario
	bad := false
	for _, f := range files {
		s, err := scenarios.Load(f, runner.Catalogue())
		if err != nil {
			fmt.Fprintln(stderr, err)
			bad = true
			continue
		}
		list = append(list, s)
	}
	if bad {
		return nil, exit{runner.ExitUsage}
	}
	return list, nil
}

func (o *runOptions) run(args []string) error {
	list, err := load(args, o.err)
	if err != nil {
		return err
	}
	if !o.long {
		left := len(list)
		list = slices.DeleteFunc(list, func(s *scenarios.Scenario) bool { return s.Class == "long" && !slices.Contains(args, s.File) })
		if left -= len(list); left > 0 {
			fmt.Fprintf(o.err, "%d scenarios of class long are left out; --long runs them\n", left)
		}
		if len(list) == 0 {
			return errors.New("nothing is left to run; name the files, or give --long")
		}
	}
	if err := turnOn(list, o.swarm); err != nil {
		return err
	}
	if o.seeds < 0 || o.jobs < 0 || o.n < 0 {
		return errors.New("--seeds, --jobs or --n is negative; want a whole number of at least 0")
	}
	if o.n != 0 && !slices.ContainsFunc(list, func(s *scenarios.Scenario) bool { return s.Enumerate != nil }) {
		return errors.New("--n without a scenario that enumerates; want one with enumerate: {from: …, to: …}")
	}
	p := runner.Plan{
		First: o.seed, Seeds: o.seeds, Only: o.seedGiven && o.seeds == 0, N: o.n,
		Jobs: o.jobs, Twice: o.twice, Long: o.long, NoJudge: o.noJudge, Commit: commit(),
	}
	if o.keep != "" {
		if err := os.MkdirAll(o.keep, 0o755); err != nil {
			return err
		}
		p.Keep = func(s *scenarios.Scenario, seed uint64, n int) (io.WriteCloser, error) {
			return createWhole(filepath.Join(o.keep, traceName(s, seed, n)))
		}
	}
	if o.export != "" {
		if err := os.MkdirAll(o.export, 0o755); err != nil {
			return err
		}
		p.Export = func(s *scenarios.Scenario, seed uint64, n int, m *statev2.ModelExport) error {
			f, err := createWhole(filepath.Join(o.export, strings.TrimSuffix(traceName(s, seed, n), ".trace")+".model"))
			if err != nil {
				return err
			}
			_, err = f.Write(m.AppendCanonical(nil))
			return errors.Join(err, f.Close())
		}
	}
	if o.noJudge && o.whole {
		return errors.New("--whole with --no-judge: without checkers nothing is judged; leave one of them out")
	}
	if o.noJudge && !o.json {
		return errors.New("--no-judge is for comparing trace hashes: use it with --json")
	}
	if o.json {
		enc := json.NewEncoder(o.out)
		p.Done = func(r *runner.Result) {
			if err == nil {
				if r.Violations == nil {
					r.Violations = []checkers.Violation{} // [] for who reads it, and not null
				}
				err = enc.Encode(r)
			}
		}
	}
	bar := newBar(o.err)
	p.Progress = bar.set
	began := time.Now()
	outcomes, runErr := runner.Sweep(list, p)
	bar.done()
	if runErr != nil {
		return runErr
	}
	if err != nil {
		return err
	}
	if !o.json {
		o.report(outcomes, time.Since(began))
	}
	if o.bundle != "" {
		for _, out := range outcomes {
			if out.Unexpected == nil {
				continue
			}
			to, err := bundled(o.bundle, out.Scenario, out.Unexpected, 0)
			if err != nil {
				return err
			}
			fmt.Fprintf(o.err, "bundle: %s\n", to)
		}
	}
	code := runner.Worst(outcomes)
	if o.whole {
		for _, gap := range runner.Gaps(outcomes) {
			fmt.Fprintln(o.err, "not whole: "+gap)
			code = cmp.Or(code, runner.ExitViolated)
		}
	}
	if code != 0 && !o.noJudge {
		return exit{code}
	}
	return nil
}

func traceName(s *scenarios.Scenario, seed uint64, n int) string {
	name := fmt.Sprintf("%s-seed-%d", strings.TrimSuffix(filepath.Base(s.File), ".yaml"), seed)
	if n != 0 {
		name += fmt.Sprintf("-n-%d", n)
	}
	return name + ".trace"
}

func (o *runOptions) report(outcomes []*runner.Outcome, wall time.Duration) {
	runs := 0
	var simMS int64
	width := 44 // as wide as most, so that runs of one or two files look alike
	for _, out := range outcomes {
		width = max(width, len(out.Scenario.File))
	}
	for _, out := range outcomes {
		runs += out.Runs
		simMS += out.SimMS
		mark := "ok  "
		if out.Problem != "" {
			mark = "FAIL"
		}
		fmt.Fprintf(o.out, "%s  %-*s %5d runs  expect %s%s\n", mark, width, out.Scenario.File, out.Runs, out.Scenario.Expect, found(out))
		if out.Problem != "" {
			fmt.Fprintf(o.out, "      %s\n", out.Problem)
		}
		if f := out.Scenario.FleetSummary(); f != "" {
			fmt.Fprintf(o.out, "      %s\n", f)
		}
		if out.First != nil && out.First.Fleet != nil {
			fmt.Fprintf(o.out, "      run seed %d: %v\n", out.First.RunSeed, out.First.Fleet)
		}
		for _, v := range out.Scenario.Void {
			fmt.Fprintf(o.out, "      %s is void: %s\n", v.Invariant, v.Because)
		}
		switch {
		case out.Unexpected != nil:
			printRun(o.out, out.Unexpected)
		case o.show && out.Expected != nil:
			printRun(o.out, out.Expected)
		case o.show && out.First != nil && len(out.First.Swarm) > 0:
			printRun(o.out, out.First)
		}
	}
	kinds, fired := runner.Totals(outcomes)
	if len(kinds) > 0 {
		fmt.Fprintln(o.out, "\nfaults fired:")
		for _, k := range kinds {
			fmt.Fprintf(o.out, "  %-24s %10d\n", k, fired[k])
		}
	}
	fmt.Fprintf(o.out, "\n%d runs, %.0f simulated seconds\n", runs, float64(simMS)/1000)
	if s := wall.Seconds(); s > 0 {
		fmt.Fprintf(o.err, "%.1f s, %.0f simulated seconds a second\n", s, float64(simMS)/1000/s)
	}
}

// found says which invariants were violated, in how many runs.
func found(out *runner.Outcome) string {
	var ids []string
	for id := range out.Violated {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	s := ""
	for _, id := range ids {
		s += fmt.Sprintf(", %s in %d", id, out.Violated[id])
	}
	return s
}

// printRun tells people what happened in a run, and how to see it again.
func printRun(w io.Writer, r *runner.Result) {
	fmt.Fprintf(w, "\n      run seed %d, trace hash %s\n", r.RunSeed, r.TraceHash)
	printDraw(w, "      ", r.Swarm)
	for i, v := range r.Violations {
		if i == 5 {
			fmt.Fprintf(w, "      … and %d more\n", len(r.Violations)-i)
			break
		}
		fmt.Fprintf(w, "      %s\n", v)
	}
	if r.Error != "" {
		fmt.Fprintf(w, "      %s\n", r.Error)
	}
	printWaits(w, "      ", r.Waits)
	if len(r.Plan) > 0 {
		fmt.Fprintln(w, "      plan:")
		for i, s := range r.Plan {
			if s.At.Milliseconds() > r.SimMS {
				fmt.Fprintf(w, "        … and %d steps that were not reached\n", len(r.Plan)-i)
				break
			}
			fmt.Fprintf(w, "        %s\n", s)
		}
	}
	fmt.Fprintf(w, "      again: %s\n\n", r.Repro())
}
