package trainer

import (
	"fmt"

	"github.com/esper-sim/espersim/gpu"
)

// The parts of a training step, each as a program of its own: for measuring them.

// Product is a dense layer: a matrix product with a bias, and the relu behind it.
type Product struct {
	in, out int
	params  []float32 // weights, then biases
}

// NewProduct makes a layer with parameters that are keyed by its widths.
func NewProduct(in, out int) (*Product, error) {
	if in < 1 || in > maxWidth || out < 1 || out > maxWidth {
		return nil, fmt.Errorf("a product of widths %d and %d; want 1 to %d", in, out, maxWidth)
	}
	p := &Product{in: in, out: out, params: make([]float32, out*(in+1))}
	draw(p.params, keyed(uint64(in), uint64(out), 6), in)
	return p, nil
}

// ProgramName is what it is called on tapes.
func (p *Product) ProgramName() string { return fmt.Sprintf("product %dx%d", p.in, p.out) }

// Footprint implements gpu.Program.
func (p *Product) Footprint(batch int) gpu.Footprint {
	return gpu.Footprint{Passes: 2, Flops: 2 * int64(p.in) * int64(p.out), Bytes: 4 * int64(len(p.params)+batch*(p.in+p.out))}
}

// Run implements gpu.Program.
func (p *Product) Run(out, in []float32) {
	w := p.out * p.in
	dense(out, in, p.params[:w], p.params[w:], p.in, p.out, len(in)/p.in)
	for i, v := range out {
		if !(v > 0) {
			out[i] = 0
		}
	}
}

// Lower implements gpu.Lowerable.
func (p *Product) Lower(batch int) (gpu.Lowering, error) {
	l := &lowering{batch: batch}
	l.In, l.Out = l.buffer(batch*p.in, nil), l.buffer(batch*p.out, nil)
	params := l.buffer(len(p.params), p.params)
	l.Buffers[params].Written = false
	l.dense(gpu.View{Buffer: l.Out}, gpu.View{Buffer: l.In}, layer{params: params, in: p.in, out: p.out})
	l.step("relu", whole(l.Out, l.Out), []int{batch * p.out})
	return l.Lowering, nil
}

// Residual is a grafted kernel, forward: its block, and the blend.
type Residual struct {
	kernel *Kernel
	alpha  float32
}

// NewResidual makes one of a kernel of its own block.
func NewResidual(k *Kernel, alpha float32) (*Residual, error) {
	if k.block != nil {
		return nil, fmt.Errorf("kernel %s has a compiled block", k.ID)
	}
	return &Residual{k, alpha}, nil
}

// ProgramName is what it is called on tapes.
func (r *Residual) ProgramName() string {
	return fmt.Sprintf("residual %dx%d", r.kernel.Width, r.kernel.Hidden)
}

// Footprint implements gpu.Program.
func (r *Residual) Footprint(batch int) gpu.Footprint {
	k := r.kernel
	return gpu.Footprint{Passes: 4, Flops: 4*int64(k.Width)*int64(k.Hidden) + 2*int64(k.Width), Bytes: 4 * int64(len(k.Params)+batch*(3*k.Width+k.Hidden))}
}

// Run implements gpu.Program.
func (r *Residual) Run(out, in []float32) { r.kernel.Forward(out, in, r.alpha, false) }

// Lower implements gpu.Lowerable.
func (r *Residual) Lower(batch int) (gpu.Lowering, error) {
	k := r.kernel
	l := &lowering{batch: batch}
	l.In, l.Out = l.buffer(batch*k.Width, nil), l.buffer(batch*k.Width, nil)
	params, h, f := l.buffer(len(k.Params), k.Params), l.buffer(batch*k.Hidden, nil), l.buffer(batch*k.Width, nil)
	l.Buffers[params].Written = false
	l.dense(gpu.View{Buffer: h}, gpu.View{Buffer: l.In}, layer{params: params, in: k.Width, out: k.Hidden})
	l.step("floor_zero", whole(h, h), []int{batch * k.Hidden})
	l.dense(gpu.View{Buffer: f}, gpu.View{Buffer: h}, layer{params: params, weights: k.Hidden * (k.Width + 1), in: k.Hidden, out: k.Width})
	l.step("blend", whole(l.Out, l.In, f), []int{batch * k.Width}, r.alpha)
	return l.Lowering, nil
}

// Descent is the optimizer alone: its input are gradients, its output the parameters
// that they lead to.
type Descent struct {
	rate             float32
	params, momentum []float32
	grads            []float32
}

// NewDescent makes one for so many parameters, which begin at 0.
func NewDescent(n int, rate float32) (*Descent, error) {
	if n < 1 || n > maxWidth*maxWidth {
		return nil, fmt.Errorf("%d parameters; want 1 to %d", n, maxWidth*maxWidth)
	}
	return &Descent{rate, make([]float32, n), make([]float32, n), make([]float32, n)}, nil
}

// ProgramName is what it is called on tapes.
func (d *Descent) ProgramName() string { return fmt.Sprintf("descent %d", len(d.params)) }

// Footprint implements gpu.Program. Its batch is one: a set of gradients.
func (d *Descent) Footprint(int) gpu.Footprint {
	return gpu.Footprint{Passes: 1, Flops: 4 * int64(len(d.params)), Bytes: 16 * int64(len(d.params))}
}

// Tensors implements gpu.Resident.
func (d *Descent) Tensors() [][]float32 { return [][]float32{d.params, d.momentum} }

// Run implements gpu.Program.
func (d *Descent) Run(out, in []float32) {
	copy(d.grads, in)
	sgd(d.params, d.momentum, d.grads, d.rate)
	copy(out, d.params)
}

// Lower implements gpu.Lowerable.
func (d *Descent) Lower(batch int) (gpu.Lowering, error) {
	if batch != 1 {
		return gpu.Lowering{}, fmt.Errorf("a batch of %d; want one set of gradients", batch)
	}
	l := &lowering{batch: batch}
	n := len(d.params)
	l.In, l.Out = l.buffer(n, nil), l.buffer(n, nil)
	params, momentum := l.buffer(n, d.params), l.buffer(n, d.momentum)
	l.step("sgd", whole(params, momentum, l.In), []int{n}, d.rate, Momentum)
	l.step("copy", whole(l.Out, params), []int{n})
	return l.Lowering, nil
}
