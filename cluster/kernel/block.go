package kernel

import (
	"math"

	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/gpu/abft"
)

// Load decodes a binary and makes a kernel of it for a layer of a width, with
// its initial parameters. What it was made from goes with the kernel.
func Load(id string, binary []byte, width int) (*trainer.Kernel, error) {
	p, err := Decode(binary)
	if err != nil {
		return nil, err
	}
	return trainer.NewBlockKernel(id, width, p.Block(), append([]byte(nil), binary...))
}

// block runs a program. It is for one batch at a time, and keeps what it needs
// for the way back.
type block struct {
	p      *Program
	x      []float32
	pre    [][]float32 // results before a fused activation
	act    [][]float32 // and after it
	post   [][]float32 // results: one of the two
	deltas [][]float32
	mean   [][]float32 // of norm: 1/sqrt(mean of squares), a sample
	watch  *abft.Check // of products; nil: nobody looks
}

var _ trainer.WatchedBlock = (*block)(nil)

// Watch implements trainer.WatchedBlock.
func (b *block) Watch(c *abft.Check) { b.watch = c }

// Kept implements trainer.WatchedBlock.
func (b *block) Kept(list [][]float32) [][]float32 {
	list = append(list, b.x)
	for i := range b.p.code {
		list = append(list, b.pre[i])
		if b.p.code[i].fused != 0 {
			list = append(list, b.act[i])
		}
		if b.p.code[i].op == opNorm {
			list = append(list, b.mean[i])
		}
	}
	return list
}

// Block is the function of a program.
func (p *Program) Block() trainer.Block {
	n := len(p.code)
	return &block{p: p, pre: make([][]float32, n), act: make([][]float32, n), post: make([][]float32, n), deltas: make([][]float32, n), mean: make([][]float32, n)}
}

// Width implements trainer.Block.
func (b *block) Width() int { return b.p.Width }

// Params implements trainer.Block.
func (b *block) Params() int { return b.p.Params }

// Init draws the initial parameters: weights by He's rule, biases 0, gains as
// the graph says.
func (b *block) Init(params []float32) {
	for _, c := range b.p.code {
		switch c.op {
		case opDense:
			in := b.p.width(c.from[0])
			trainer.Draw(params[c.params:c.params+c.out*in], b.p.Seed, uint64(c.params), in)
		case opScale:
			for i := range c.out {
				params[c.params+i] = c.gain()
			}
		}
	}
}

func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

func (b *block) value(from uint16) []float32 {
	if from == 0 {
		return b.x
	}
	return b.post[from-1]
}

// Forward writes the result for the rows of x into f.
func (b *block) Forward(f, x, params []float32, batch int) {
	b.x = append(b.x[:0], x...)
	for i := range b.p.code {
		c := &b.p.code[i]
		n := batch * c.out
		b.pre[i] = grow(b.pre[i], n)
		b.compute(i, c, params, batch)
		b.post[i] = b.pre[i]
		if c.fused != 0 {
			// A buffer of its own: the way back needs both.
			b.act[i] = grow(b.act[i], n)
			activate(c.fused, b.act[i], b.pre[i])
			b.post[i] = b.act[i]
		}
	}
	copy(f, b.post[len(b.post)-1])
}

func (b *block) compute(i int, c *instruction, params []float32, batch int) {
	y, x := b.pre[i], b.value(c.from[0])
	in := b.p.width(c.from[0])
	switch c.op {
	case opDense:
		w := params[c.params:]
		bias := w[c.out*in : c.out*(in+1)]
		for s := range batch {
			row := x[s*in : (s+1)*in]
			for o := range c.out {
				sum := bias[o]
				for k, v := range row {
					sum += float32(v * w[o*in+k])
				}
				y[s*c.out+o] = sum
			}
		}
		if b.watch != nil {
			b.watch.Dense(y, x, w[:c.out*in], bias, in, c.out, batch)
		}
	case opScale:
		g := params[c.params : c.params+c.out]
		for j, v := range x {
			y[j] = v * g[j%c.out]
		}
	case opNorm:
		b.mean[i] = grow(b.mean[i], batch)
		for s := range batch {
			row := x[s*in : (s+1)*in]
			var sum float32
			for _, v := range row {
				sum += float32(v * v)
			}
			m := float32(sum/float32(in)) + 1.0/1024
			r := 1 / float32(math.Sqrt(float64(m))) // correctly rounded on every processor
			b.mean[i][s] = r
			for k, v := range row {
				y[s*in+k] = v * r
			}
		}
	case opGain:
		g := c.gain()
		for j, v := range x {
			y[j] = v * g
		}
	case opRecip:
		for j, v := range x {
			y[j] = 1 / v
		}
	case opAdd:
		copy(y, x)
		for _, f := range c.from[1:] {
			for j, v := range b.value(f) {
				y[j] += v
			}
		}
	case opMul:
		z := b.value(c.from[1])
		for j, v := range x {
			y[j] = v * z[j]
		}
	case opRetain:
		copy(y, x)
	default:
		activate(c.op, y, x)
	}
}

// activate applies an activation.
func activate(o op, y, x []float32) {
	for i, v := range x {
		switch o {
		case opReLU:
			if v < 0 {
				v = 0
			}
		case opLeaky:
			if v < 0 {
				v *= 0.125
			}
		case opClip:
			v = min(max(v, -1), 1)
		case opSoftsign:
			v /= 1 + abs(v)
		case opGate:
			v = min(max(float32(v*0.25)+0.5, 0), 1)
		}
		y[i] = v
	}
}

func abs(v float32) float32 {
	if v < 0 {
		return -v
	}
	return v
}

// slope is an activation's derivative at x.
func slope(o op, x float32) float32 {
	switch o {
	case opReLU:
		if x > 0 {
			return 1
		}
		return 0
	case opLeaky:
		if x > 0 {
			return 1
		}
		return 0.125
	case opClip:
		if x > -1 && x < 1 {
			return 1
		}
		return 0
	case opSoftsign:
		d := 1 + abs(x)
		return 1 / float32(d*d)
	case opGate:
		if x > -2 && x < 2 {
			return 0.25
		}
		return 0
	}
	return 1
}

// Backward adds the gradients for the gradient df at the result of the last
// Forward. What flows into the activations is dropped: they are detached.
func (b *block) Backward(df, params, grads []float32, batch int) {
	for i := range b.p.code {
		b.deltas[i] = grow(b.deltas[i], batch*b.p.code[i].out)
		clear(b.deltas[i])
	}
	last := len(b.p.code) - 1
	copy(b.deltas[last], df)
	for i := last; i >= 0; i-- {
		c := &b.p.code[i]
		d := b.deltas[i]
		if c.fused != 0 {
			for j := range d {
				d[j] *= slope(c.fused, b.pre[i][j])
			}
		}
		b.back(i, c, d, params, grads, batch)
	}
}

// delta is where the gradient of an input is gathered; nil: nowhere.
func (b *block) delta(from uint16) []float32 {
	if from == 0 {
		return nil
	}
	return b.deltas[from-1]
}

func (b *block) back(i int, c *instruction, d, params, grads []float32, batch int) {
	x, dx := b.value(c.from[0]), b.delta(c.from[0])
	in := b.p.width(c.from[0])
	switch c.op {
	case opDense:
		w, g := params[c.params:], grads[c.params:]
		if b.watch != nil && dx != nil {
			b.watch.Before(dx, in, batch)
		}
		for s := range batch {
			row := x[s*in : (s+1)*in]
			for o := range c.out {
				v := d[s*c.out+o]
				if v == 0 {
					continue
				}
				g[c.out*in+o] += v
				for k, xv := range row {
					g[o*in+k] += float32(v * xv)
				}
				if dx != nil {
					for k := range row {
						dx[s*in+k] += float32(v * w[o*in+k])
					}
				}
			}
		}
		if b.watch != nil {
			if dx != nil {
				b.watch.Inputs(dx, d, w, in, c.out, batch)
			}
			b.watch.Gradients(g, g[c.out*in:], d, x, in, c.out, batch)
		}
	case opScale:
		for j, v := range d {
			grads[c.params+j%c.out] += float32(v * x[j])
			if dx != nil {
				dx[j] += float32(v * params[c.params+j%c.out])
			}
		}
	case opNorm:
		if dx == nil {
			return
		}
		for s := range batch {
			row, ds, r := x[s*in:(s+1)*in], d[s*in:(s+1)*in], b.mean[i][s]
			var dot float32
			for k, v := range ds {
				dot += float32(v * row[k])
			}
			t := float32(float32(float32(r*r)*r)*dot) / float32(in)
			for k, v := range ds {
				dx[s*in+k] += float32(v*r) - float32(t*row[k])
			}
		}
	case opGain:
		g := c.gain()
		for j := range dx {
			dx[j] += float32(d[j] * g)
		}
	case opRecip:
		for j := range dx {
			dx[j] -= float32(float32(d[j]/x[j]) / x[j])
		}
	case opAdd:
		for _, f := range c.from {
			for j, into := 0, b.delta(f); j < len(into); j++ {
				into[j] += d[j]
			}
		}
	case opMul:
		z, dz := b.value(c.from[1]), b.delta(c.from[1])
		for j := range dx {
			dx[j] += float32(d[j] * z[j])
		}
		for j := range dz {
			dz[j] += float32(d[j] * x[j])
		}
	case opRetain:
		for j := range dx {
			dx[j] += d[j]
		}
	default:
		for j := range dx {
			dx[j] += float32(d[j] * slope(c.op, x[j]))
		}
	}
}
