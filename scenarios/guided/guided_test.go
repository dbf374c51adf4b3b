package guided

import (
	"fmt"
	"testing"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim"
)

func load(t *testing.T, name string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Load("../"+name, runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// random is how many states the same number of random run seeds reaches.
func random(t *testing.T, s *scenarios.Scenario, seed uint64, runs int) int {
	t.Helper()
	h := &hunt{s: s, states: map[uint64]*feature{}}
	for k := range uint64(runs) {
		steps, err := s.Steps(0, sim.NewSource(seed+k))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.run(&entry{seed: seed + k, steps: steps}); err != nil {
			t.Fatal(err)
		}
	}
	return len(h.states)
}

// Of the triad's states a guided hunt reaches more than as many random run
// seeds, and it finds nothing in a system that keeps its promises: a variation
// of survivable faults is survivable. It is the sum of two searches that counts:
// one alone may follow a poor plan for long.
func TestReachesMoreThanRandomSeeds(t *testing.T) {
	s := load(t, "triad-survivable.yaml")
	const runs = 60
	guided, plain := 0, 0
	for seed := uint64(1); seed <= 2; seed++ {
		r, err := Hunt(s, Options{Seed: seed, Runs: runs})
		if err != nil {
			t.Fatal(err)
		}
		if r.Runs != runs {
			t.Errorf("search %d ends after %d runs of %d", seed, r.Runs, runs)
		}
		for _, f := range r.Failures {
			t.Errorf("run %d: %v: %s %v", f.At, f.Signature, f.Run.Failure(), f.Steps)
		}
		guided, plain = guided+r.States, plain+random(t, s, seed, runs)
	}
	if guided <= plain {
		t.Errorf("%d states, random run seeds reach %d", guided, plain)
	}
}

// The same options make the same search, and what it finds fails again under
// its plan.
func TestOneSeedOneSearch(t *testing.T) {
	s := load(t, "hld/wal-between-two-writes.yaml")
	s.Expect = nil
	show := ""
	for range 2 {
		r, err := Hunt(s, Options{Seed: 3, Runs: 30})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(r.Runs, r.States, r.Plans, len(r.Failures))
		if len(r.Failures) == 0 {
			t.Fatal("nothing was found in the log as the design writes it")
		}
		for _, f := range r.Failures {
			got += fmt.Sprint(f.At, f.Signature, f.Run.TraceHash, f.Steps)
			again, err := runner.Run(s, runner.Options{Seed: f.Run.RunSeed, Steps: f.Steps})
			if err != nil || again.TraceHash != f.Run.TraceHash {
				t.Errorf("run %d does not come again (%v)", f.At, err)
			}
		}
		if show != "" && got != show {
			t.Errorf("two searches:\n%s\n%s", show, got)
		}
		show = got
	}
}
