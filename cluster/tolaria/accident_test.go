package tolaria_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// bent is a network that changes what a node says.
type bent struct {
	actor.Net
	bend func(canon.Message)
}

func (b bent) Send(to actor.ID, m canon.Message, o actor.SendOptions) {
	b.bend(m)
	b.Net.Send(to, m, o)
}

// bending makes the constructor of a node whose messages are changed, from a
// time on, for as long as bend wants to.
func bending(make actor.Constructor, from time.Duration, bend func(canon.Message)) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		clock := env.Clock
		env.Net = bent{env.Net, func(m canon.Message) {
			if clock.Monotonic() >= from {
				bend(m)
			}
		}}
		return make(env)
	}
}

// scaled is v times f, in memory of its own: the sender may answer again from
// its memory.
func scaled(v []float32, f float32) []float32 {
	out := make([]float32, len(v))
	for i := range v {
		out[i] = v[i] * f
	}
	return out
}

// A step with a loss out of all proportion: a fast rollback, and the seed that
// was grafted last stays locked, though the checkpoint knows nothing of it.
func TestExplodedLossLocksTheCulprit(t *testing.T) {
	left := 2
	again := order{at: 14, topic: toKasmina, m: seedCommand("g1", 15, adaptationv2.SeedOperation_GERMINATE, 2, 1, "residual-4")}
	w, wit := triad(t, setup{orders: append(busy(), again), kasmina: func(make actor.Constructor) actor.Constructor {
		return bending(make, 9*time.Second, func(m canon.Message) {
			if r, ok := m.(*trainingv2.ForwardReply); ok && r.Training && left > 0 {
				left--
				r.Activations = scaled(r.Activations, 1e4)
			}
		})
	}})
	run(t, w, 30*time.Second)
	wit.sound(15)
	if !wit.has(wit.rolls, "RB_DONE 8 gen 2 the loss exploded") {
		t.Errorf("%s", strings.Join(wit.rolls, "\n"))
	}
	if !wit.has(wit.stages, "2/1 GRAFTING ROLLED_BACK BY_ROLLBACK") || wit.has(wit.stages, "2/1 ROLLED_BACK") {
		t.Errorf("%s", strings.Join(wit.stages, "\n"))
	}
	if !wit.has(wit.commands, "g1 kasmina REJECTED") {
		t.Errorf("%s", strings.Join(wit.commands, "\n"))
	}
}

// Accuracy that was there and is gone, down to chance: a full rollback.
func TestCollapsedAccuracyRollsBack(t *testing.T) {
	left := 2
	w, wit := triad(t, setup{kasmina: func(make actor.Constructor) actor.Constructor {
		return bending(make, 60*time.Second, func(m canon.Message) {
			if r, ok := m.(*trainingv2.ForwardReply); ok && !r.Training && left > 0 {
				left--
				r.Activations = scaled(r.Activations, -1)
			}
		})
	}})
	run(t, w, 90*time.Second)
	wit.sound(50)
	if !wit.has(wit.rolls, "the accuracy collapsed") {
		t.Errorf("%s", strings.Join(wit.rolls, "\n"))
	}
}

// A kernel that gives no numbers is quarantined, and the step goes on without.
func TestKernelWithoutNumbersIsQuarantined(t *testing.T) {
	left := 1
	w, wit := triad(t, setup{orders: busy(), tolaria: func(make actor.Constructor) actor.Constructor {
		return bending(make, 9*time.Second, func(m canon.Message) {
			if r, ok := m.(*trainingv2.ForwardRequest); ok && r.Training && r.LayerId == 2 && left > 0 {
				left--
				r.Activations = append([]float32(nil), r.Activations...)
				for i := range r.Activations {
					r.Activations[i] = math.MaxFloat32 // a number still, but no kernel's output of it is
				}
			}
		})
	}})
	run(t, w, 30*time.Second)
	wit.sound(15)
	if !wit.has(wit.stages, "2/1 GRAFTING CULLED BY_") {
		t.Errorf("%s", strings.Join(wit.stages, "\n"))
	}
	if wit.rolled("RB_STARTED") > 0 {
		t.Error(wit.rolls)
	}
}
