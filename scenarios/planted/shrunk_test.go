package planted

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/scenarios/shrink"
)

// Every planted bug shrinks: the median to at most three steps, each within a
// minute, to a plan that fails under nine of ten other run seeds. A few stand
// for all, unless ESPERSIM_SOAK asks for them.
func TestPlantedBugsShrink(t *testing.T) {
	few := []string{"W3", "O4", "K5", "T7"}
	var steps []int
	for _, b := range bugs {
		if os.Getenv("ESPERSIM_SOAK") == "" && !slices.Contains(few, b.id) {
			continue
		}
		t.Run(b.id, func(t *testing.T) {
			s, err := b.Scenario("..", true)
			if err != nil {
				t.Fatal(err)
			}
			seed := uint64(0)
			for k := uint64(1); k <= MostSeeds && seed == 0; k++ {
				r, err := runner.Run(s, runner.Options{Seed: k, Wrap: runner.Make(b.Wrapper())})
				if err != nil {
					t.Fatal(err)
				}
				if sig, ok := r.Signature(); ok && sig.Invariant == b.id {
					seed = k
				}
			}
			if seed == 0 {
				t.Skip("another invariant is violated first")
			}
			began := time.Now()
			r, err := shrink.Shrink(s, shrink.Options{Seed: seed, Wrap: b.Wrapper(), Others: 100})
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			t.Logf("%s: %d of %d steps, %d nodes, %v, %d runs, %d of %d other run seeds", b.id, len(r.Scenario.Plan), r.Before,
				len(r.Scenario.Cluster.Nodes), took.Round(time.Millisecond), r.Runs, r.Fail, r.Others)
			steps = append(steps, len(r.Scenario.Plan))
			if r.Fail < 90 {
				t.Errorf("it fails under %d of %d other run seeds: %v", r.Fail, r.Others, r.Scenario.Plan)
			}
			if text, err := scenarios.Format(r.Scenario); err != nil || len(text) == 0 {
				t.Error(err)
			}
		})
	}
	slices.Sort(steps)
	if len(steps) == 0 || steps[len(steps)/2] > 3 {
		t.Errorf("steps: %v", steps)
	}
}
