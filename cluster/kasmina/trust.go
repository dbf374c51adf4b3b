package kasmina

import (
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/abft"
)

// trust is what makes the result of a launch worth using: a device may compute
// something wrong, or change what it holds, and say nothing. Three things are
// compared after each launch, before anything of it is used.
//
//   - Every matrix product has the sums that follow from what was multiplied.
//   - What the launch left (result, gradients, what the way back needs) is what the
//     device holds when it is read.
//   - The parameters are those that were sent.
//
// Of a launch that fails one of them nothing is used: everything is put back to what
// it was before, and the launch is made again. What the device is worth that needs it
// is the guard's to say.
type trust struct {
	check  abft.Check
	wrong  uint64 // products so far
	left   uint64 // sum of what the launch left, by itself
	before []trainer.Copy
	list   [][]float32
}

// kernels calls f for each kernel of the layer that is on the device.
func (l *launch) kernels(f func(s *graft.Slot)) {
	for _, s := range l.k.bed.Slots() {
		if s.Ref.Layer == l.layer && s.Kernel != nil && s.Stage != graft.Germinated {
			f(s)
		}
	}
}

// Tensors implements gpu.Resident.
func (l *launch) Tensors() (list [][]float32) {
	l.kernels(func(s *graft.Slot) {
		list = s.Kernel.Resident(append(list, s.Kernel.Params))
	})
	return list
}

// keep notes what the launch starts from.
func (l *launch) keep() {
	t := &l.trust
	n := 0
	l.kernels(func(s *graft.Slot) {
		s.Kernel.Watch(&t.check)
		if n == len(t.before) {
			t.before = append(t.before, trainer.Copy{})
		}
		t.before[n].Of(s.Kernel)
		n++
	})
	t.before = t.before[:n]
}

// intact says whether the parameters that are on the device are those that were sent.
func (l *launch) intact() bool {
	ok := true
	l.kernels(func(s *graft.Slot) { ok = s.Kernel.Intact() && ok })
	return ok
}

// sum is over the result, and over what else the launch leaves.
func (l *launch) sum(out []float32) uint64 {
	var sum abft.Summing
	sum.Add(out)
	l.kernels(func(s *graft.Slot) {
		l.trust.list = s.Kernel.Resident(l.trust.list[:0])
		for _, t := range l.trust.list {
			sum.Add(t)
		}
	})
	return sum.Sum()
}

// Leave notes the sum of what a launch leaves. That is done where it is computed,
// before anything is read back.
func (l *launch) Leave(out []float32) { l.trust.left = l.sum(out) }

// verify says what is wrong with what a launch has left, and puts back what it began
// with: it is to be made again.
func (l *launch) verify(out []float32) error {
	t := &l.trust
	why := ""
	switch {
	case t.check.Wrong != t.wrong:
		why = "a product does not have the sum of its factors"
	case !l.intact():
		why = "parameters are not those that were sent"
	case l.sum(out) != t.left:
		why = "a result is not what was computed"
	}
	t.wrong = t.check.Wrong
	if why == "" {
		return nil
	}
	l.k.env.Probe.Reached("kasmina/wrong-result")
	for i := range t.before {
		t.before[i].Return()
	}
	return &gpu.Error{Op: "run", Class: gpu.SilentCorruption, Why: why}
}
