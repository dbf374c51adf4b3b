package trainer

import (
	"fmt"

	"github.com/esper-sim/espersim/gpu"
)

// Step is a training step as an accelerator runs it: a minibatch through a model and
// the kernels that are grafted into it, forward and backward, and the optimizer's
// step. Its input are the samples of the batch and then their labels, its output the
// mean loss and the number of right answers.
type Step struct {
	model  *Model
	grafts []Grafted
	rate   float32
	pass   *Pass
	labels []uint8
	y      []float32
}

// Grafted is a kernel at a graft layer, blended in by alpha.
type Grafted struct {
	Layer  int
	Kernel *Kernel
	Alpha  float32
}

// NewStep makes a step for minibatches of up to batch samples. An error names the
// graft that does not fit.
func NewStep(m *Model, rate float32, batch int, grafts ...Grafted) (*Step, error) {
	for i, g := range grafts {
		width := 0
		for _, place := range m.grafts {
			if place.Layer == g.Layer {
				width = place.Width
			}
		}
		switch {
		case width == 0:
			return nil, fmt.Errorf("kernel %s is for graft layer %d, which the model %s has not", g.Kernel.ID, g.Layer, m.graph.Name)
		case width != g.Kernel.Width:
			return nil, fmt.Errorf("kernel %s has width %d; graft layer %d has %d", g.Kernel.ID, g.Kernel.Width, g.Layer, width)
		case g.Kernel.block != nil:
			return nil, fmt.Errorf("kernel %s has a compiled block, and a step takes kernels of their own block only", g.Kernel.ID)
		}
		for _, other := range grafts[:i] {
			if other.Layer == g.Layer {
				return nil, fmt.Errorf("kernels %s and %s are for the same graft layer %d", other.Kernel.ID, g.Kernel.ID, g.Layer)
			}
		}
	}
	return &Step{model: m, grafts: grafts, rate: rate, pass: m.NewPass(batch)}, nil
}

// Rate sets the learning rate of the steps from now on.
func (s *Step) Rate(rate float32) { s.rate = rate }

// Input appends samples and labels to a list, as Run takes them.
func (s *Step) Input(in, x []float32, labels []uint8) []float32 {
	in = append(in, x...)
	for _, l := range labels {
		in = append(in, float32(l))
	}
	return in
}

func (s *Step) graft(layer int) *Grafted {
	for i := range s.grafts {
		if s.grafts[i].Layer == layer {
			return &s.grafts[i]
		}
	}
	return nil
}

// Run implements gpu.Program.
func (s *Step) Run(out, in []float32) {
	batch := len(in) / (s.model.inputs + 1)
	x, labels := in[:batch*s.model.inputs], in[batch*s.model.inputs:]
	s.labels = s.labels[:0]
	for _, l := range labels {
		s.labels = append(s.labels, uint8(l))
	}
	p := s.pass
	p.Start(x, s.labels)
	for layer, act := p.Forward(); layer >= 0; layer, act = p.Forward() {
		if g := s.graft(layer); g != nil {
			s.y = grow(s.y, len(act))
			g.Kernel.Forward(s.y, act, g.Alpha, true)
			_ = p.Put(s.y) // it has as many numbers as entered
		}
	}
	loss, right := p.Loss()
	out[0], out[1] = loss, float32(right)
	p.Backward()
	for _, g := range s.grafts {
		_ = g.Kernel.Backward(p.Gradient(g.Layer)) // its forward pass was kept above
	}
	p.Step(s.rate)
	for _, g := range s.grafts {
		g.Kernel.Step(s.rate)
	}
}

// Tensors implements gpu.Resident.
func (s *Step) Tensors() [][]float32 {
	list := [][]float32{s.model.Params, s.model.Momentum}
	for _, g := range s.grafts {
		list = append(list, g.Kernel.Params, g.Kernel.Momentum)
	}
	return list
}

// Footprint implements gpu.Program.
func (s *Step) Footprint(batch int) gpu.Footprint {
	l, err := s.Lower(batch)
	if err != nil {
		return gpu.Footprint{}
	}
	f := gpu.Footprint{Passes: len(l.Steps)}
	for _, b := range l.Buffers {
		f.Bytes += 4 * int64(b.Len)
	}
	for _, n := range s.model.nodes {
		if n.op == OpDense {
			f.Flops += 6 * int64(n.in) * int64(n.out) // forward, and two products back
		}
	}
	for _, g := range s.grafts {
		f.Flops += 10 * int64(g.Kernel.Width) * int64(g.Kernel.Hidden)
	}
	return f
}

// ProgramName is what it is called on tapes.
func (s *Step) ProgramName() string { return "step " + s.model.graph.Name }
