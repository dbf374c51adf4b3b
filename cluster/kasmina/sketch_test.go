package kasmina

import (
	"testing"

	"github.com/esper-sim/espersim/cluster/trainer"
)

// What contributes nothing is redundant, the most important channel is not, and
// there is no word before there is enough to go by.
func TestSketch(t *testing.T) {
	s := &sketch{groups: []trainer.ChannelGroup{{Graft: trainer.Graft{Layer: 1, Width: 3}, ID: "p"}}}
	s.forget()
	for i := range enough {
		if list := s.candidates(); list != nil {
			t.Fatalf("after %d updates: %v", i, list)
		}
		s.note(1, []float32{0, 2, 0.1, 0, -2, 0.1}, []float32{5, 1, 0.5, 5, 1, -0.5})
		s.note(2, []float32{9, 9, 9}, []float32{9, 9, 9}) // another layer
	}
	list := s.candidates()
	if len(list) != 3 {
		t.Fatal(list)
	}
	for i, want := range []float64{1, 0, 1 - 0.1/4} {
		if c := list[i]; c.ParameterId != "p" || c.Index != int32(i) || c.Redundancy < want-1e-6 || c.Redundancy > want+1e-6 {
			t.Errorf("channel %d: %v, want %v", i, c, want)
		}
	}
	s.forget()
	if s.candidates() != nil {
		t.Error("it remembers what it has forgotten")
	}
}
