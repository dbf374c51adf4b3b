package trainer_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/kernels"
	"github.com/esper-sim/espersim/gpu/ptxtest"
)

// branched has every operation that a graph may have.
const branched = `name: branched
input: 2
layers:
  - {name: a, op: dense, units: 7}
  - {name: ra, op: relu}
  - {name: b, op: dense, units: 7, from: [input]}
  - {name: sum, op: add, from: [ra, b, ra]}
  - {name: rs, op: relu}
  - {name: c, op: dense, units: 3}
`

func newStep(t *testing.T, graph string, grafted bool, alpha float32) *trainer.Step {
	t.Helper()
	g, err := trainer.ParseGraph([]byte(graph))
	if err != nil {
		t.Fatal(err)
	}
	if g, err = trainer.InjectGrafts(g); err != nil {
		t.Fatal(err)
	}
	m, err := trainer.NewModel(g, 7)
	if err != nil {
		t.Fatal(err)
	}
	var grafts []trainer.Grafted
	for i, place := range m.Grafts() {
		if grafted && i != 1 { // the second place stays empty
			k, err := trainer.NewKernel(fmt.Sprint("kernel ", i), place.Width, 5)
			if err != nil {
				t.Fatal(err)
			}
			grafts = append(grafts, trainer.Grafted{Layer: place.Layer, Kernel: k, Alpha: alpha})
		}
	}
	s, err := trainer.NewStep(m, 0.03, 9, grafts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sameBits(a, b []float32) error {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return fmt.Errorf("number %d is %v (%08x); want %v (%08x)", i, a[i], math.Float32bits(a[i]), b[i], math.Float32bits(b[i]))
		}
	}
	return nil
}

// The PTX that a device is given computes the step that the processor computes, in
// each bit of every parameter, momentum and result, over several steps.
func TestStepAsPTX(t *testing.T) {
	m, err := ptxtest.Parse(kernels.PTX)
	if err != nil {
		t.Fatal(err)
	}
	data := trainer.Rings(90, 3)
	for _, c := range []struct {
		name    string
		graph   string
		grafted bool
		alpha   float32
	}{{"host", trainer.RingsGraph, false, 0}, {"grafted", trainer.RingsGraph, true, 0.375}, {"alpha 0", trainer.RingsGraph, true, 0}, {"branched", branched, true, 1}} {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs := newStep(t, c.graph, c.grafted, c.alpha), newStep(t, c.graph, c.grafted, c.alpha)
			before := append([]float32(nil), ours.Tensors()[0]...)
			for at, n := range []int{9, 9, 1, 9, 4, 9} {
				rate := float32(0.03) / float32(at+1)
				ours.Rate(rate)
				theirs.Rate(rate)
				in := ours.Input(nil, data.X[at*18:at*18+2*n], data.Labels[at*9:at*9+n])
				want, got := make([]float32, 2), make([]float32, 2)
				theirs.Run(want, in)
				l, err := ours.Lower(n)
				if err != nil {
					t.Fatal(err)
				}
				if err := kernels.Check(&l); err != nil {
					t.Fatal(err)
				}
				if err := m.Run(&l, got, in); err != nil {
					t.Fatal(err)
				}
				if err := sameBits(got, want); err != nil {
					t.Fatalf("step %d, result: %v", at, err)
				}
				for i, tensor := range theirs.Tensors() {
					if err := sameBits(ours.Tensors()[i], tensor); err != nil {
						t.Fatalf("step %d, tensor %d: %v", at, i, err)
					}
				}
			}
			if sameBits(before, ours.Tensors()[0]) == nil {
				t.Error("nothing was learned")
			}
		})
	}
}

func TestStepSaysWhatDoesNotFit(t *testing.T) {
	g, err := trainer.ParseGraph([]byte(trainer.RingsGraph))
	if err != nil {
		t.Fatal(err)
	}
	if g, err = trainer.InjectGrafts(g); err != nil {
		t.Fatal(err)
	}
	m, err := trainer.NewModel(g, 1)
	if err != nil {
		t.Fatal(err)
	}
	wide, err := trainer.NewKernel("wide", 99, 2)
	if err != nil {
		t.Fatal(err)
	}
	fits, err := trainer.NewKernel("fits", 12, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, grafts := range [][]trainer.Grafted{
		{{Layer: 9, Kernel: fits}},
		{{Layer: 1, Kernel: wide}},
		{{Layer: 1, Kernel: fits}, {Layer: 1, Kernel: fits}},
	} {
		if _, err := trainer.NewStep(m, 0.1, 8, grafts...); err == nil {
			t.Errorf("%+v is taken", grafts)
		}
	}
	s, err := trainer.NewStep(m, 0.1, 8)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lower(9); err == nil {
		t.Error("a batch that is too great")
	}
	var _ gpu.Lowerable = s
	var _ gpu.Resident = s
}
