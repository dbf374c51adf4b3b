package kasmina

import (
	"math"

	"github.com/esper-sim/espersim/cluster/graft"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// ref is a StepRef by value.
type ref struct {
	epoch int64
	step  int32
	gen   uint32
}

func refOf(m *trainingv2.StepRef) ref {
	return ref{m.GetEpoch(), m.GetStep(), m.GetGeneration()}
}

// layer is one graft layer in the present step.
type layer struct {
	id      int32
	width   int
	forward bool // answered
	back    bool // its gradients are held
	out     []float32
	status  trainingv2.ReplyStatus
	era     uint64 // of the device, in which it went forward
}

// step is the minibatch that Kasmina works on: what it answered, for those
// who ask again, and whether it holds the gradients of all of it.
type step struct {
	ref    ref
	any    bool // there is one
	rate   float32
	layers []layer
}

func (s *step) begin(r ref) {
	s.ref, s.any = r, true
	for i := range s.layers {
		l := &s.layers[i]
		l.forward, l.back = false, false
	}
}

func (s *step) forget() { s.any = false }

func (s *step) layer(id int32) *layer {
	for i := range s.layers {
		if s.layers[i].id == id {
			return &s.layers[i]
		}
	}
	return nil
}

// whole says whether the gradients of every layer are held.
func (s *step) whole() bool {
	for i := range s.layers {
		if !s.layers[i].back {
			return false
		}
	}
	return s.any
}

// settle makes the bed follow what Tolaria decided about the steps so far. It
// reports false if the bed cannot follow: a settlement was missed, or the
// bed is not the one that took those steps.
func settle(b *graft.Bed, s *step, m *trainingv2.Settlement) bool {
	n := m.GetFullSteps()
	switch {
	case n == b.FullSteps:
		b.Settle(false, 0)
	case n == b.FullSteps+1 && s.whole() && m.GetLastFull() != nil && refOf(m.LastFull) == s.ref:
		b.Settle(true, s.rate)
	default:
		return false
	}
	s.forget()
	return true
}

// finite says whether all numbers are.
func finite(v []float32) bool {
	for _, x := range v {
		if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
			return false
		}
	}
	return true
}
