package mutants

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// arena names the scenario in which random and guided search race for the
// mutants of a package: one that draws its faults, and whose world has the
// package in it.
var arena = map[string]string{
	"wal":        "scenarios/disk/everything.yaml",
	"checkpoint": "scenarios/checkpoint/disk.yaml",
	"merkle":     "scenarios/checkpoint/disk.yaml",
	"oona":       "scenarios/bus/crashes.yaml",
}

// everywhere is the scenario for the packages that arena does not name.
const everywhere = "scenarios/triad-survivable.yaml"

// The bounds of a race. A mutant is hard if random search takes more than Hard
// run seeds in the median; Sample searches tell cheaply which ones are surely
// not.
const (
	Hard        = 20
	Repetitions = 20
	sample      = 3
	brief       = 120 // runs of a search of the sample
	limit       = 200 // runs of one search
)

// Race is a mutant's, in how many runs it was found by each search; a search
// that found nothing has the limit.
type Race struct {
	ID       string `json:"id"`
	Scenario string `json:"scenario"`
	Over     string `json:"over"` // the fingerprint of the tree
	Random   []int  `json:"random"`
	Guided   []int  `json:"guided,omitempty"`
	By       string `json:"by,omitempty"`
}

// median is that of counts; of an even number the greater of the middle two.
func median(counts []int) int {
	if len(counts) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(counts))
	return s[len(s)/2]
}

// atLeast is the median of counts as a text.
func atLeast(counts []int) string {
	if m := median(counts); m < limit {
		return fmt.Sprint(m)
	}
	return fmt.Sprintf("%d or more", limit)
}

// Hard says whether a mutant takes random search more than Hard run seeds, and
// yet some search has found it. Where most random ones have not, the median is
// the limit, which is less than it would be.
func (r Race) Hard() bool {
	return len(r.Random) >= Repetitions && median(r.Random) > Hard && min(slices.Min(r.Random), slices.Min(append(r.Guided, limit))) < limit
}

// Raced says whether a race need not be run again: it is over this tree.
func (b *Bench) Raced(r Race) bool { return r.Over == b.system+b.suite }

// Race has both searches look for a mutant. The guided one is left out where
// the mutant is not hard.
func (b *Bench) Race(ctx context.Context, m *Mutant) (r Race, err error) {
	r = Race{ID: m.ID, Scenario: everywhere, Over: b.system + b.suite}
	if s := arena[m.Package]; s != "" {
		r.Scenario = s
	}
	dir, err := os.MkdirTemp("", "espersim-mutants-")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin, err := b.build(ctx, dir, m)
	if err != nil {
		return r, fmt.Errorf("mutant %s: %w", m.ID, err)
	}
	if r.Random, r.By, err = b.search(ctx, bin, "random", r.Scenario, sample, brief); err != nil {
		return r, err
	}
	if few := median(r.Random); few <= Hard/4 || slices.Min(r.Random) >= brief {
		return r, nil
	}
	if r.Random, r.By, err = b.search(ctx, bin, "random", r.Scenario, Repetitions, limit); err != nil || len(r.Random) < Repetitions || median(r.Random) <= Hard {
		return r, err
	}
	r.Guided, _, err = b.search(ctx, bin, "guided", r.Scenario, Repetitions, limit)
	return r, err
}

// search makes so many searches. One in which the process dies or hangs has found
// what it was looking for in the run where it did, and the next begins in a
// process of its own.
func (b *Bench) search(ctx context.Context, bin, how, scenario string, repetitions, limit int) (counts []int, by string, err error) {
	for len(counts) < repetitions {
		s, err := b.searchOn(ctx, bin, "-search", how, "-from", fmt.Sprint(len(counts)), "-repetitions", fmt.Sprint(repetitions), "-runs", fmt.Sprint(limit), scenario)
		if err != nil {
			return nil, "", fmt.Errorf("%s search: %w", how, err)
		}
		if s.by != "" {
			by = s.by
		}
		counts = append(counts, s.counts...)
		if !s.died {
			break
		}
	}
	return counts, by, nil
}

// searched is what became of the searches of one process: how many runs each
// made, the last of them also where the process died in it.
type searched struct {
	counts []int
	by     string
	died   bool
}

// searchOn runs the hunter once. A run that goes on for too long is ended with
// its process, as in a hunt.
func (b *Bench) searchOn(ctx context.Context, bin string, args ...string) (s searched, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir = b.Root
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOTRACEBACK=single")
	var wrong bytes.Buffer
	cmd.Stderr = &wrong
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := cmd.Start(); err != nil {
		return s, err
	}
	var hung atomic.Bool
	watch := time.AfterFunc(b.Stalled, func() { hung.Store(true); cancel() })
	began, made := false, 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		watch.Reset(b.Stalled)
		var l struct {
			Begin bool   `json:"begin"`
			Runs  int    `json:"runs"`
			By    string `json:"by"`
		}
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			break // cut off by a crash
		}
		if l.Begin {
			began, made = true, l.Runs
			continue
		}
		began, s.counts = false, append(s.counts, l.Runs)
		if l.By != "" {
			s.by = l.By
		}
	}
	watch.Stop()
	ended := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ended == nil:
		return s, nil
	case hung.Load() && began:
		s.by = "hang"
	case ctx.Err() != nil && !hung.Load():
		return s, ctx.Err()
	case began && errors.As(ended, &exit) && exit.ExitCode() != exitUsage:
		s.by = "crash"
	default:
		return s, fmt.Errorf("%w: %s", ended, strings.TrimSpace(wrong.String()))
	}
	s.counts, s.died = append(s.counts, made+1), true
	return s, nil
}

// exitUsage is the hunter's exit code when a hunt could not begin.
const exitUsage = 64

// RaceTable says how random and guided search did over the hard mutants; it is
// empty without any.
func RaceTable(races []Race) string {
	var hard []Race
	for _, r := range races {
		if r.Hard() {
			hard = append(hard, r)
		}
	}
	if len(hard) == 0 {
		return ""
	}
	var b strings.Builder
	var random, guided []int
	for _, r := range hard {
		random, guided = append(random, median(r.Random)), append(guided, median(r.Guided))
	}
	fmt.Fprintf(&b, "Of %d mutants that raced, random search takes more than %d run seeds for %d in the\nmedian of %d searches. Over these its median is %d runs, that of guided search %d.\n\n",
		len(races), Hard, len(hard), Repetitions, median(random), median(guided))
	b.WriteString("| Mutant | Scenario | Random | Guided | Found by |\n|---|---|---|---|---|\n")
	for _, r := range hard {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.ID, strings.TrimPrefix(r.Scenario, "scenarios/"), atLeast(r.Random), atLeast(r.Guided), r.By)
	}
	return b.String()
}
