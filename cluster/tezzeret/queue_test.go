package tezzeret

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"

	"github.com/esper-sim/espersim/cluster/kernel"
)

var epoch = time.Unix(1_000_000, 0)

func no(*statev2.CompileJob) bool { return false }

// Whatever is queued, started and shed in whatever order, jobs of one tier start
// in the order of their arrival, a more urgent tier first, also after the queue
// was read from its records again; a full queue sheds nothing while a lower tier
// has something.
func TestQueueOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newJobs()
		var log []*statev2.CompileJob
		write := func(j *statev2.CompileJob) {
			log = append(log, step(j, j.State, j.Reason))
			q.apply(j)
		}
		for i := range rapid.IntRange(1, 250).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				again := newJobs()
				for _, r := range log {
					again.apply(step(r, r.State, r.Reason))
				}
				q = again
			case 1, 2:
				j := q.first(epoch, no)
				for _, other := range q.in(queued) {
					if j == nil || other.Tier < j.Tier || other.Tier == j.Tier && other.Order < j.Order {
						t.Fatalf("%v is first, and %v waits", j, other)
					}
				}
				if j != nil {
					write(step(j, compiled, ""))
				}
			default:
				tier := uint32(rapid.IntRange(0, int(tiers)-1).Draw(t, "tier"))
				victim, ok := q.admit(tier, no)
				if tier == tierEmergency && !ok {
					t.Fatal("an emergency finds no place")
				}
				if victim != nil {
					for _, other := range q.in(queued) {
						if other.Tier > victim.Tier || other.Tier == victim.Tier && other.Order > victim.Order {
							t.Fatalf("%v is shed before %v", victim, other)
						}
					}
					write(step(victim, cancelled, ""))
				}
				if !ok {
					for _, other := range q.in(queued) {
						if other.Tier > tier {
							t.Fatalf("refused, and %v waits", other)
						}
					}
					continue
				}
				write(&statev2.CompileJob{JobId: fmt.Sprint(i), Tier: tier, State: queued, Order: q.next, At: timestamppb.New(epoch)})
			}
			below := 0
			for _, j := range q.in(queued) {
				if j.Tier != tierEmergency {
					below++
				}
			}
			if below > depth {
				t.Fatalf("%d jobs wait", below)
			}
		}
	})
}

// A job that waits for long counts as one tier higher, once, and never as an
// emergency.
func TestAgeing(t *testing.T) {
	for tier, want := range map[uint32]uint32{tierEmergency: tierEmergency, tierStrategic: tierStrategic, tierNormal: tierStrategic, tierBackground: tierExperimental} {
		j := &statev2.CompileJob{Tier: tier, At: timestamppb.New(epoch)}
		if got := aged(j, epoch.Add(ageAfter)); got != tier {
			t.Errorf("tier %d is %d too early", tier, got)
		}
		if got := aged(j, epoch.Add(10*ageAfter)); got != want {
			t.Errorf("tier %d becomes %d, want %d", tier, got, want)
		}
	}
}

func TestStrategy(t *testing.T) {
	for _, c := range []struct {
		interest, load float64
		conservative   bool
		want           kernel.Pipeline
	}{
		{0.9, 0.1, false, kernel.Aggressive}, {0.9, 0.3, false, kernel.Standard}, {0.9, 0.9, false, kernel.Standard},
		{0.2, 0.1, false, kernel.Standard}, {0.2, 0.5, false, kernel.Fast}, {0.7, 0.1, false, kernel.Standard},
		{0.9, 0.1, true, kernel.Standard}, {0.2, 0.1, true, kernel.Fast}, {0.2, 0.9, true, kernel.Fast},
	} {
		if got := choose(c.interest, c.load, c.conservative); got != c.want {
			t.Errorf("interest %v, load %v, conservative %v: %v, want %v", c.interest, c.load, c.conservative, got, c.want)
		}
	}
	if tierOf(0.9, eventsv2.BlueprintTier_EXPERIMENTAL) != tierStrategic || tierOf(0.8, eventsv2.BlueprintTier_EXPERIMENTAL) != tierExperimental ||
		tierOf(0, eventsv2.BlueprintTier_PRODUCTION) != tierNormal {
		t.Error("tiers")
	}
}
