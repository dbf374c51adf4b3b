package runner_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim/trace"
)

// A run seed has one hash: on one processor and on two, with checkers and
// without, with a trace and without, in any company, and with every received
// message overwritten after its handler returned. The last finds actors that
// keep what was only lent to them.
func TestOneRunSeedOneHash(t *testing.T) {
	for _, file := range []string{"triad-survivable.yaml", "triad-calm.yaml", "wal-hardened.yaml"} {
		s := load(t, file)
		for seed := uint64(1); seed <= 4; seed++ {
			var stored bytes.Buffer
			hashes := map[string]string{}
			run := func(name string, o runner.Options) {
				o.Seed = seed
				r, err := runner.Run(s, o)
				if err != nil {
					t.Fatal(err)
				}
				if r.Verdict != runner.Clean {
					t.Fatalf("%s, run seed %d, %s: %s %v", file, seed, name, r.Verdict, r.First())
				}
				hashes[name] = r.TraceHash
			}
			run("plain", runner.Options{})
			run("without checkers", runner.Options{NoJudge: true})
			run("poisoned", runner.Options{Poison: true})
			run("with a trace", runner.Options{Trace: &stored})
			before := runtime.GOMAXPROCS(1)
			run("on one processor", runner.Options{})
			runtime.GOMAXPROCS(before)
			for name, h := range hashes {
				if h != hashes["plain"] {
					t.Errorf("%s, run seed %d: %s has the hash %s, plain %s", file, seed, name, h, hashes["plain"])
				}
			}
			r, err := trace.NewReader(&stored)
			for err == nil {
				_, err = r.Next()
			}
			if got := r.Hash().String(); got != hashes["plain"] {
				t.Errorf("%s, run seed %d: the stored trace has the hash %s (%v)", file, seed, got, err)
			}
		}
	}
}

// What a sweep says does not depend on how many runs go on at once.
func TestSweepDoesNotDependOnJobs(t *testing.T) {
	list := []*scenarios.Scenario{load(t, "wal-hardened.yaml"), load(t, "hld/wal-as-written.yaml")}
	var first string
	for jobs := 1; jobs <= 3; jobs++ {
		outcomes, err := runner.Sweep(list, runner.Plan{First: 1, Seeds: 12, Jobs: jobs})
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, o := range outcomes {
			said += fmt.Sprint(o.Scenario.Name, o.Runs, o.Violated, o.Fired, o.Events, o.Problem, o.Code)
			if o.Expected != nil {
				said += o.Expected.TraceHash
			}
		}
		if first == "" {
			first = said
		} else if said != first {
			t.Errorf("with %d jobs:\n%s\nwith one:\n%s", jobs, said, first)
		}
	}
}
