package graft

import (
	"slices"
	"testing"

	"github.com/esper-sim/espersim/cluster/trainer"
)

func TestRegistry(t *testing.T) {
	type ids = []trainer.TensorID
	host, a, b := ids{1, 2}, Ref{1, 1}, Ref{1, 2}
	r := NewRegistry(host)
	for range 2 { // again changes nothing
		if err := r.Register(a, ids{3, 4}); err != nil {
			t.Fatal(err)
		}
	}
	for name, foreign := range map[string]ids{"another's": {5, 4}, "the teacher's": {5, 1}} {
		if r.Register(b, foreign) == nil || r.Has(b, ids{5}) {
			t.Errorf("a parameter of %s is registered", name)
		}
	}
	if !r.Has(a, ids{3, 4}) || r.Has(b, ids{3}) || r.Has(a, ids{9}) {
		t.Error("it does not know whose parameters are")
	}
	r.Release(b, ids{3})
	if !r.Has(a, ids{3}) {
		t.Error("one seed lets another's parameters go")
	}
	r.Release(a, ids{3})
	if r.Has(a, ids{3}) {
		t.Error("what was let go is still registered")
	}
	guilty := Violators(host, []Gradients{{Ref: a, IDs: ids{3, 4}}, {Ref: b, IDs: ids{5, 2}}})
	if !slices.Equal(guilty, []Ref{b}) {
		t.Errorf("the violators are %v", guilty)
	}
}

// The third violation of a seed is its last, and a new life begins with none.
func TestViolations(t *testing.T) {
	bed := New([]trainer.Graft{{Layer: 1, Width: 2}}, 1, always{}, Rules{})
	r := Ref{1, 1}
	if bed.Violate(r) {
		t.Error("an empty slot violates something")
	}
	s := bed.Slot(r)
	s.Kernel, _ = trainer.NewKernel("k", 2, 2)
	if bed.Violate(r) || bed.Intolerable(r, 1) || bed.Violate(r) || !bed.Intolerable(r, 1) || !bed.Violate(r) {
		t.Errorf("%d violations", s.Violations)
	}
	if ids := s.Parameters(); len(ids) != 4 || ids[0] == ids[2] {
		t.Errorf("its parameters are %v", ids)
	}
}

type always struct{}

func (always) Kernel(id string, width int) (*trainer.Kernel, error) {
	return trainer.NewKernel(id, width, 2)
}
