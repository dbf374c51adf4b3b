package kernel

import (
	"fmt"

	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/gpu"
)

// Blended is a compiled kernel as an accelerator runs it: its program, with the
// parameters that it has learned, blended into the activations by alpha.
type Blended struct {
	program *Program
	kernel  *trainer.Kernel
	alpha   float32
}

// Blend loads a binary for a layer of a width.
func Blend(id string, binary []byte, width int, alpha float32) (*Blended, error) {
	p, err := Decode(binary)
	if err != nil {
		return nil, err
	}
	k, err := Load(id, binary, width)
	if err != nil {
		return nil, err
	}
	return &Blended{p, k, alpha}, nil
}

// Kernel is what holds the parameters.
func (b *Blended) Kernel() *trainer.Kernel { return b.kernel }

// Footprint implements gpu.Program.
func (b *Blended) Footprint(batch int) gpu.Footprint { return b.program.Footprint(batch) }

// Run implements gpu.Program.
func (b *Blended) Run(out, in []float32) { b.kernel.Forward(out, in, b.alpha, false) }

// elementwise are the kernels of the operations that have one input and no
// parameters.
var elementwise = [ops]string{opRecip: "reciprocal", opReLU: "floor_zero", opLeaky: "leaky", opClip: "clip",
	opSoftsign: "softsign", opGate: "gate", opRetain: "copy"}

// Lower implements gpu.Lowerable.
func (b *Blended) Lower(batch int) (gpu.Lowering, error) {
	if batch < 1 || batch > MaxWidth {
		return gpu.Lowering{}, fmt.Errorf("a batch of %d; want 1 to %d", batch, MaxWidth)
	}
	p := b.program
	l := gpu.Lowering{}
	buffer := func(n int) int {
		l.Buffers = append(l.Buffers, gpu.Buffer{Len: n})
		return len(l.Buffers) - 1
	}
	step := func(name string, views []gpu.View, counts []int, factors ...float32) {
		s := gpu.KernelStep{Kernel: name, Views: views, Factors: factors}
		for _, c := range counts {
			s.Counts = append(s.Counts, uint32(c))
		}
		l.Steps = append(l.Steps, s)
	}
	l.In, l.Out = buffer(batch*p.Width), buffer(batch*p.Width)
	params := buffer(len(b.kernel.Params))
	l.Buffers[params].Host = b.kernel.Params // read only: nothing is learned here
	values := []int{l.In}                    // as in instructions: 0 are the activations
	for i := range p.code {
		c := &p.code[i]
		n, in := batch*c.out, p.width(c.from[0])
		y := gpu.View{Buffer: buffer(n)}
		input := func(port int) gpu.View { return gpu.View{Buffer: values[c.from[port]]} }
		learned := func(offset int) gpu.View { return gpu.View{Buffer: params, Offset: c.params + offset} }
		switch c.op {
		case opDense:
			step("dense", []gpu.View{y, input(0), learned(0), learned(c.out * in)}, []int{n, in, c.out})
		case opScale:
			step("scale_columns", []gpu.View{y, input(0), learned(0)}, []int{n, c.out})
		case opNorm:
			step("norm", []gpu.View{y, input(0)}, []int{batch, in})
		case opGain:
			step("times", []gpu.View{y, input(0)}, []int{n}, c.gain())
		case opMul:
			step("multiply", []gpu.View{y, input(0), input(1)}, []int{n})
		case opAdd:
			step("copy", []gpu.View{y, input(0)}, []int{n})
			for port := range c.from[1:] {
				step("add", []gpu.View{y, input(port + 1)}, []int{n})
			}
		default:
			step(elementwise[c.op], []gpu.View{y, input(0)}, []int{n})
		}
		if c.fused != 0 {
			step(elementwise[c.fused], []gpu.View{y, y}, []int{n})
		}
		values = append(values, y.Buffer)
	}
	step("blend", []gpu.View{{Buffer: l.Out}, {Buffer: l.In}, {Buffer: values[len(values)-1]}}, []int{batch * p.Width}, b.alpha)
	return l, nil
}

// ProgramName is what it is called on tapes.
func (b *Blended) ProgramName() string { return "kernel " + b.kernel.ID }
