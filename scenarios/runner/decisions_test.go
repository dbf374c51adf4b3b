package runner_test

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim"
)

// survivable are faults of every area, as the plans of the decisions test draw
// them; nodes are those of the calm triad.
var survivable = []string{
	"crash kasmina restart=300ms", "crash tamiyo restart=300ms", "crash oona restart=200ms", "crash tolaria restart=300ms",
	"crash-host bus restart=400ms", "power-at-op tolaria op=9", "crash-at-op kasmina op=5", "crash-at-send tolaria op=3",
	"pause tamiyo", "pause kasmina", "slow tolaria factor=4", "slow oona factor=5",
	"clock-skew control by=20s", "clock-jump train by=-3s", "clock-drift bus ppm=300",
	"partition tolaria | kasmina", "partition tamiyo -> oona", "flap oona | * period=300ms",
	"drop tolaria | kasmina rate=0.1", "drop oona | * rate=0.2", "delay tolaria | tamiyo delay=300ms rate=0.3",
	"reorder oona | * delay=200ms rate=0.3", "duplicate tolaria | kasmina delay=300ms rate=0.3",
	"duplicate oona | * delay=1s rate=0.3", "corrupt tolaria | kasmina rate=0.1", "corrupt oona | * rate=0.1",
	"disk/fsync-eio bus count=1", "disk/enospc train count=2", "disk/short-write train count=3", "disk/eintr control count=3",
	"disk/slow-io bus delay=20ms rate=0.3", "disk/torn-write train",
	"bus/duplicate oona rate=0.3", "bus/reorder oona rate=0.3", "bus/drop-ack oona rate=0.3", "bus/claim oona rate=0.3",
	"bus/zombie-ack oona rate=0.3",
}

// randomPlan draws 3 to 6 steps within the first six seconds.
func randomPlan(t testing.TB, r *rand.Rand) []faults.Step {
	var steps []faults.Step
	for range 3 + r.IntN(4) {
		f, err := faults.Parse(survivable[r.IntN(len(survivable))])
		if err != nil {
			t.Fatal(err)
		}
		s := faults.Step{At: time.Duration(200+r.IntN(5800)) * time.Millisecond, Fault: f}
		if !faults.Lookup(f.Kind).Instant {
			s.For = time.Duration(200+r.IntN(1800)) * time.Millisecond
		}
		steps = append(steps, s)
	}
	sort.Slice(steps, func(i, j int) bool { return steps[i].At < steps[j].At })
	return steps
}

// labels notes what each node was sending when a decision was made, so that a
// decision that is gone can be named.
type labels struct{ now string }

type labelledNet struct {
	actor.Net
	self string
	l    *labels
}

func (n labelledNet) Send(to actor.ID, m canon.Message, o actor.SendOptions) {
	n.l.now = fmt.Sprintf("%s → %s %s key %q attempt %d topic %q", n.self, to, m.FullName(), o.Key, o.Attempt, o.Topic)
	n.Net.Send(to, m, o)
	n.l.now = ""
}

func (l *labels) wrap(node, _ string, c actor.Constructor) actor.Constructor {
	return func(e actor.Env) (actor.Actor, error) {
		e.Net = labelledNet{e.Net, node, l}
		return c(e)
	}
}

// decisionKey says what was decided.
type decisionKey struct {
	purpose    string
	identity   uint64
	occurrence uint32
}

// TestRemovingAStepKeepsDecisions is what makes a shrunk plan reproduce: with
// one step taken out of a plan, every random decision that did not follow from
// it is as it was, and nearly all others are, too.
func TestRemovingAStepKeepsDecisions(t *testing.T) {
	s, err := scenarios.Load("../triad-calm.yaml", runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	s.Duration = scenarios.Duration(8 * time.Second)
	plans := 300
	if testing.Short() {
		plans = 20
	}
	r := rand.New(rand.NewPCG(1, 2))
	var outside, leaks, all, kept uint64
	worst := map[string][2]uint64{} // by the kind that was removed: all, kept
	for plan := range plans {
		steps := randomPlan(t, r)
		seed := uint64(plan + 1)
		var full []sim.Decision
		var names []string
		var l labels
		if _, err := runner.Run(s, runner.Options{Seed: seed, NoJudge: true, Steps: steps, Wrap: l.wrap, Decisions: func(d sim.Decision) {
			full, names = append(full, d), append(names, l.now)
		}}); err != nil {
			t.Fatal(err)
		}
		for i := range steps {
			rest := append(append([]faults.Step{}, steps[:i]...), steps[i+1:]...)
			have := make(map[decisionKey]uint64, len(full))
			if _, err := runner.Run(s, runner.Options{Seed: seed, NoJudge: true, Steps: rest, Decisions: func(d sim.Decision) {
				have[decisionKey{d.Purpose, d.Identity, d.Occurrence}] = d.Value
			}}); err != nil {
				t.Fatal(err)
			}
			var n, free uint64
			for at, d := range full {
				v, ok := have[decisionKey{d.Purpose, d.Identity, d.Occurrence}]
				same := ok && v == d.Value
				if d.Taint&(1<<uint(i)) == 0 {
					free++
					if !same {
						leaks++
						if leaks > 10 {
							continue
						}
						t.Logf("plan %d without its step %d (%v): the decision %+v (%s; %d of %d) did not follow from it and is gone", plan, i+1, steps[i], d, names[at], at, len(full))
					}
				}
				if same {
					n++
				}
			}
			outside, all, kept = outside+free, all+uint64(len(full)), kept+n
			k := worst[steps[i].Fault.Kind]
			worst[steps[i].Fault.Kind] = [2]uint64{k[0] + uint64(len(full)), k[1] + n}
		}
	}
	share := float64(kept) / float64(max(all, 1))
	t.Logf("%d plans: %d decisions, %d of them outside the causal future of the removed step, of which %d are gone; %.2f %% of all kept", plans, all, outside, leaks, 100*share)
	var lines []string
	for k, v := range worst {
		lines = append(lines, fmt.Sprintf("%6.2f %% kept without %s", 100*float64(v[1])/float64(v[0]), k))
	}
	sort.Strings(lines)
	t.Log(strings.Join(lines, "\n"))
	if leaks > 0 {
		t.Errorf("%d of %d decisions outside the causal future of the removed step are gone", leaks, outside)
	}
	if outside == 0 {
		t.Error("no decision lay outside a causal future: nothing was judged")
	}
	if share < 0.9 {
		t.Errorf("%.1f %% of all decisions are kept; want at least 90 %%", 100*share)
	}
}
