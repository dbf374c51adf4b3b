package trainer

import (
	"fmt"

	"github.com/esper-sim/espersim/gpu"
)

// lowering is a list of kernels in the making.
type lowering struct {
	gpu.Lowering
	batch int
}

func (l *lowering) buffer(n int, host []float32) int {
	l.Buffers = append(l.Buffers, gpu.Buffer{Len: n, Host: host, Written: host != nil})
	return len(l.Buffers) - 1
}

func (l *lowering) step(kernel string, views []gpu.View, counts []int, factors ...float32) {
	s := gpu.KernelStep{Kernel: kernel, Views: views, Factors: factors}
	for _, c := range counts {
		s.Counts = append(s.Counts, uint32(c))
	}
	l.Steps = append(l.Steps, s)
}

func whole(buffers ...int) (views []gpu.View) {
	for _, b := range buffers {
		views = append(views, gpu.View{Buffer: b})
	}
	return views
}

// layer is a dense layer: where its parameters are in a buffer, and their gradients
// in another.
type layer struct {
	params, grads int
	weights       int // offset of the weights; the biases are behind them
	in, out       int
}

func (y layer) weight(b int) gpu.View { return gpu.View{Buffer: b, Offset: y.weights} }
func (y layer) bias(b int) gpu.View   { return gpu.View{Buffer: b, Offset: y.weights + y.out*y.in} }

func (l *lowering) dense(out, in gpu.View, y layer) {
	l.step("dense", []gpu.View{out, in, y.weight(y.params), y.bias(y.params)}, []int{l.batch * y.out, y.in, y.out})
}

// denseBack is the way back of dense; din nil: the gradient at the input is nobody's.
func (l *lowering) denseBack(din *gpu.View, d, in gpu.View, y layer) {
	l.step("dense_back_bias", []gpu.View{y.bias(y.grads), d}, []int{y.out, y.out, l.batch})
	l.step("dense_back_weights", []gpu.View{y.weight(y.grads), d, in}, []int{y.out * y.in, y.in, y.out, l.batch})
	if din != nil {
		l.step("dense_back_input", []gpu.View{*din, d, y.weight(y.params)}, []int{l.batch * y.in, y.in, y.out})
	}
}

// placed are the buffers of a grafted kernel.
type placed struct {
	first, second           layer
	params, momentum, grads int
	n                       int // parameters
	h, f, df, dh            int
}

func (l *lowering) place(k *Kernel) placed {
	p := placed{n: len(k.Params)}
	p.params, p.momentum, p.grads = l.buffer(p.n, k.Params), l.buffer(p.n, k.Momentum), l.buffer(p.n, nil)
	p.first = layer{p.params, p.grads, 0, k.Width, k.Hidden}
	p.second = layer{p.params, p.grads, k.Hidden * (k.Width + 1), k.Hidden, k.Width}
	p.h, p.dh = l.buffer(l.batch*k.Hidden, nil), l.buffer(l.batch*k.Hidden, nil)
	p.f, p.df = l.buffer(l.batch*k.Width, nil), l.buffer(l.batch*k.Width, nil)
	return p
}

// Lower implements gpu.Lowerable.
func (s *Step) Lower(batch int) (gpu.Lowering, error) {
	m := s.model
	if batch < 1 || batch > s.pass.size {
		return gpu.Lowering{}, fmt.Errorf("a batch of %d; want 1 to %d", batch, s.pass.size)
	}
	l := &lowering{batch: batch}
	l.In, l.Out = l.buffer(batch*(m.inputs+1), nil), l.buffer(2, nil)
	params, momentum, grads := l.buffer(len(m.Params), m.Params), l.buffer(len(m.Momentum), m.Momentum), l.buffer(len(m.Params), nil)
	losses, right := l.buffer(batch, nil), l.buffer(batch, nil)
	values, deltas := make([]int, len(m.nodes)), make([]int, len(m.nodes))
	for i, n := range m.nodes {
		values[i], deltas[i] = l.buffer(batch*n.out, nil), l.buffer(batch*n.out, nil)
	}
	kernels := make([]placed, len(s.grafts))
	for i, g := range s.grafts {
		kernels[i] = l.place(g.Kernel)
	}
	at := func(i int) gpu.View { // the input comes first in its buffer, the labels behind it
		if i < 0 {
			return gpu.View{Buffer: l.In}
		}
		return gpu.View{Buffer: values[i]}
	}
	of := func(n *compiled) layer { return layer{params, grads, n.weights, n.in, n.out} }

	where := make([]int, len(s.grafts)) // the node of a graft
	for i := range m.nodes {
		n := &m.nodes[i]
		y, x := at(i), at(n.from[0])
		size := []int{batch * n.out}
		switch n.op {
		case OpDense:
			l.dense(y, x, of(n))
		case OpReLU:
			l.step("relu", []gpu.View{y, x}, size)
		case OpAdd:
			l.step("copy", []gpu.View{y, x}, size)
			for _, f := range n.from[1:] {
				l.step("add", []gpu.View{y, at(f)}, size)
			}
		case OpGraft:
			g := -1
			for j := range s.grafts {
				if s.grafts[j].Layer == m.grafts[n.graft].Layer {
					g, where[j] = j, i
				}
			}
			if g < 0 {
				l.step("copy", []gpu.View{y, x}, size)
				continue
			}
			k := &kernels[g]
			l.dense(gpu.View{Buffer: k.h}, x, k.first)
			l.step("floor_zero", whole(k.h, k.h), []int{batch * k.first.out})
			l.dense(gpu.View{Buffer: k.f}, gpu.View{Buffer: k.h}, k.second)
			l.step("blend", []gpu.View{y, x, {Buffer: k.f}}, size, s.grafts[g].Alpha)
		}
	}

	last := len(m.nodes) - 1
	scale := float32(1) / float32(batch)
	l.step("score", []gpu.View{{Buffer: deltas[last]}, {Buffer: losses}, {Buffer: right}, at(last), {Buffer: l.In, Offset: batch * m.inputs}},
		[]int{batch, m.nodes[last].out}, scale)
	l.step("total", whole(l.Out, losses, right), []int{1, batch}, scale)

	l.step("fill", whole(grads), []int{len(m.Params)}, 0)
	for i := range m.nodes[:last] {
		l.step("fill", whole(deltas[i]), []int{batch * m.nodes[i].out}, 0)
	}
	for i := last; i >= 0; i-- {
		n := &m.nodes[i]
		d := gpu.View{Buffer: deltas[i]}
		for j, f := range n.from {
			var din *gpu.View
			if f >= 0 {
				din = &gpu.View{Buffer: deltas[f]}
			}
			switch {
			case n.op == OpDense && j == 0:
				l.denseBack(din, d, at(f), of(n))
			case din == nil:
			case n.op == OpReLU:
				l.step("relu_back", []gpu.View{*din, d, at(i)}, []int{batch * n.out})
			default:
				l.step("add", []gpu.View{*din, d}, []int{batch * n.out})
			}
		}
	}
	for i, g := range s.grafts {
		k, node := &kernels[i], where[i]
		l.step("fill", whole(k.grads), []int{k.n}, 0)
		l.step("fill", whole(k.dh), []int{batch * g.Kernel.Hidden}, 0)
		l.step("times", whole(k.df, deltas[node]), []int{batch * g.Kernel.Width}, g.Alpha)
		dh := gpu.View{Buffer: k.dh}
		l.denseBack(&dh, gpu.View{Buffer: k.df}, gpu.View{Buffer: k.h}, k.second)
		l.step("floor_zero_back", whole(k.dh, k.h), []int{batch * g.Kernel.Hidden})
		l.denseBack(nil, dh, at(m.nodes[node].from[0]), k.first)
	}
	l.step("sgd", whole(params, momentum, grads), []int{len(m.Params)}, s.rate, Momentum)
	for i := range kernels {
		k := &kernels[i]
		l.step("sgd", whole(k.params, k.momentum, k.grads), []int{k.n}, s.rate, Momentum)
	}
	return l.Lowering, nil
}
