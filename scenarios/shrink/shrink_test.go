package shrink_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/scenarios/shrink"
)

func load(t *testing.T, text string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Parse("x.yaml", []byte(text), runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const stormOnWrittenLog = `version: 1
name: a storm on the log as written
duration: 20s
cluster:
  hosts: [{name: store, rack: r1}, {name: desk, rack: r2}]
  nodes:
    - {name: ledger, host: store, options: {wal: hld}}
    - {name: writer, host: desk, options: {every: 2ms}}
random:
  - {fault: crash any restart=100ms, every: 800ms}
  - {fault: crash-host store restart=100ms, every: 2s}
  - {fault: crash-at-op ledger op=9 restart=50ms, every: 700ms}
  - {fault: drop writer | ledger rate=0.2, every: 3s, for: 1s}
  - {fault: delay writer | ledger delay=50ms, every: 3s, for: 1s}
  - {fault: slow ledger factor=3, every: 4s, for: 1s}
  - {fault: clock-skew desk by=5s, every: 4s, for: 1s}
expect: [W1, W2]
`

// The log as written, in a storm: one step is left, it fails under nearly all
// other run seeds, also with another workload, and it is needed.
func TestShrinkTheWrittenLog(t *testing.T) {
	s := load(t, stormOnWrittenLog)
	for _, seed := range []uint64{1, 17} {
		r, err := shrink.Shrink(s, shrink.Options{Seed: seed, Budget: 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Scenario.Plan) > 2 || r.Fail < 90 || r.Others != 100 {
			t.Errorf("seed %d: %d steps, %d of %d other run seeds fail", seed, len(r.Scenario.Plan), r.Fail, r.Others)
		}
		for i, said := range r.Without {
			if said != "clean" {
				t.Errorf("seed %d: step %d is not needed: %s", seed, i+1, said)
			}
		}
		text, err := scenarios.Format(r.Scenario)
		if err != nil {
			t.Fatal(err)
		}
		again := load(t, string(text))
		run, err := runner.Run(again, runner.Options{Seed: r.Seed, All: true})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(run.Signatures(), r.Signature) {
			t.Errorf("seed %d: what was written fails with %v, want %v", seed, run.Signatures(), r.Signature)
		}
		outcomes, err := runner.Sweep([]*scenarios.Scenario{again}, runner.Plan{First: r.Seed, Only: true})
		if err != nil || outcomes[0].Problem != "" {
			t.Errorf("seed %d: it does not meet its own expectation: %s (%v)", seed, outcomes[0].Problem, err)
		}
		// An edit that has nothing to do with it.
		again.Cluster.Nodes = append(again.Cluster.Nodes, scenarios.Node{Name: "second", Is: "writer", Host: "desk"})
		if run, err = runner.Run(again, runner.Options{Seed: r.Seed, All: true}); err != nil || len(run.Violations) == 0 {
			t.Errorf("seed %d: with a second writer the run is clean (%v)", seed, err)
		}
		picture, err := shrink.Diagram(r.Scenario, runner.Options{Seed: r.Seed}, r.Signature.Invariant)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"FAULT", "ledger dies", "ledger is back", "sends ReadReply", "W1: "} {
			if !strings.Contains(picture, want) {
				t.Errorf("seed %d: %q is not in the picture\n%s", seed, want, picture)
			}
		}
	}
}

func TestNothingToShrink(t *testing.T) {
	s := load(t, strings.Replace(stormOnWrittenLog, "wal: hld", "segment: 4096", 1))
	if _, err := shrink.Shrink(s, shrink.Options{Seed: 1}); !errors.Is(err, shrink.ErrClean) {
		t.Error(err)
	}
}
