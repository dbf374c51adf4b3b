package trainer

import "fmt"

// A Pass is one minibatch on its way through a model. It stops at each graft
// layer, so that whoever owns the layer can compute it, elsewhere and later:
//
//	p.Start(x, labels)
//	for layer, act := p.Forward(); layer >= 0; layer, act = p.Forward() {
//		p.Put(graft(layer, act))
//	}
//	loss, correct := p.Loss()
//	p.Backward()
//	p.Step(rate)
//
// A pass is used again for the next minibatch and allocates nothing then.
type Pass struct {
	m      *Model
	size   int // the greatest batch
	batch  int
	x      []float32
	labels []uint8
	values [][]float32 // outputs by node
	deltas [][]float32 // loss gradients by node's output
	grads  []float32
	next   int // node to compute next
	stop   int // the graft node that waits for Put, or -1
	loss   float32
	right  int
}

// NewPass makes a pass for minibatches of up to batch samples.
func (m *Model) NewPass(batch int) *Pass {
	p := &Pass{m: m, size: batch, grads: make([]float32, len(m.Params)), stop: -1}
	for _, n := range m.nodes {
		p.values = append(p.values, make([]float32, batch*n.out))
		p.deltas = append(p.deltas, make([]float32, batch*n.out))
	}
	return p
}

// Start begins with new samples. x and labels are used until the next Start.
func (p *Pass) Start(x []float32, labels []uint8) {
	p.batch, p.x, p.labels = len(labels), x, labels
	p.next, p.stop = 0, -1
}

func (p *Pass) input(i int) []float32 {
	if i < 0 {
		return p.x
	}
	return p.values[i][:p.batch*p.m.nodes[i].out]
}

// Forward computes up to the next graft layer and returns its number and the
// activations that enter it, batch rows of the layer's width; -1 when the
// logits are done. Unless Put replaces them, the activations pass unchanged.
func (p *Pass) Forward() (layer int, activations []float32) {
	for p.next < len(p.m.nodes) {
		i := p.next
		n := &p.m.nodes[i]
		p.next++
		out := p.values[i][:p.batch*n.out]
		in := p.input(n.from[0])
		switch n.op {
		case OpDense:
			w := p.m.Params[n.weights:]
			dense(out, in, w[:n.out*n.in], w[n.out*n.in:n.out*(n.in+1)], n.in, n.out, p.batch)
		case OpReLU:
			for j, v := range in {
				if v > 0 {
					out[j] = v
				} else {
					out[j] = 0
				}
			}
		case OpAdd:
			copy(out, in)
			for _, f := range n.from[1:] {
				for j, v := range p.input(f) {
					out[j] += v
				}
			}
		case OpGraft:
			copy(out, in)
			p.mask(n, out)
			p.stop = i
			return p.m.grafts[n.graft].Layer, out
		}
	}
	p.stop = -1
	p.score()
	return -1, nil
}

// Put replaces what leaves the graft layer that Forward stopped at. y must
// have as many numbers as entered it.
func (p *Pass) Put(y []float32) error {
	if p.stop < 0 {
		return fmt.Errorf("no graft layer is waiting")
	}
	out := p.values[p.stop][:p.batch*p.m.nodes[p.stop].out]
	if len(y) != len(out) {
		return fmt.Errorf("graft layer gave %d numbers; want %d", len(y), len(out))
	}
	copy(out, y)
	p.mask(&p.m.nodes[p.stop], out)
	return nil
}

// mask makes zero of what is masked at a graft layer's exit: what its kernels say of
// it is nobody's.
func (p *Pass) mask(n *compiled, v []float32) {
	for _, c := range p.m.masks[n.graft] {
		for i := int(c); i < len(v); i += n.out {
			v[i] = 0
		}
	}
}

// score computes the mean cross-entropy of the logits, the number of right
// answers, and the loss gradient at the logits.
func (p *Pass) score() {
	last := len(p.m.nodes) - 1
	classes := p.m.nodes[last].out
	logits, delta := p.values[last], p.deltas[last]
	var loss float32
	p.right = 0
	scale := float32(1) / float32(p.batch)
	for s := range p.batch {
		row, d := logits[s*classes:(s+1)*classes], delta[s*classes:(s+1)*classes]
		best := 0
		for c, v := range row {
			if v > row[best] {
				best = c
			}
		}
		top := row[best]
		var sum float32
		for c, v := range row {
			d[c] = exp32(v - top)
			sum += d[c]
		}
		label := int(p.labels[s])
		if best == label {
			p.right++
		}
		loss += log32(sum) - (row[label] - top)
		for c := range d {
			d[c] = float32(d[c]/sum) * scale
		}
		d[label] -= scale
	}
	p.loss = float32(loss * scale)
}

// Loss is the mean loss of the minibatch and how many answers were right.
func (p *Pass) Loss() (mean float32, correct int) { return p.loss, p.right }

// Backward computes the gradients of all parameters and the loss gradient at
// each graft layer's output. The gradient passes a graft layer unchanged: the
// input of its kernels is detached, so that host and seed gradients are
// disjoint (HLD companion 02; digest II.2 #13).
func (p *Pass) Backward() {
	for i := range p.deltas[:len(p.deltas)-1] {
		clear(p.deltas[i][:p.batch*p.m.nodes[i].out])
	}
	for i := len(p.m.nodes) - 1; i >= 0; i-- {
		n := &p.m.nodes[i]
		d := p.deltas[i][:p.batch*n.out]
		if n.op == OpGraft {
			p.mask(n, d)
		}
		switch n.op {
		case OpDense:
			var din []float32
			if n.from[0] >= 0 {
				din = p.deltas[n.from[0]][:p.batch*n.in]
			}
			w := p.m.Params[n.weights : n.weights+n.out*n.in]
			g := p.grads[n.weights:]
			denseBack(din, g[:n.out*n.in], g[n.out*n.in:n.out*(n.in+1)], d, p.input(n.from[0]), w, n.in, n.out, p.batch)
		case OpReLU:
			if f := n.from[0]; f >= 0 {
				out, din := p.values[i], p.deltas[f]
				for j, v := range d {
					if out[j] > 0 {
						din[j] += v
					}
				}
			}
		default:
			for _, f := range n.from {
				if f < 0 {
					continue
				}
				din := p.deltas[f]
				for j, v := range d {
					din[j] += v
				}
			}
		}
	}
}

// Gradient is the loss gradient at a graft layer's output after Backward, or
// nil for a layer that is not there.
func (p *Pass) Gradient(layer int) []float32 {
	for i, n := range p.m.nodes {
		if n.op == OpGraft && p.m.grafts[n.graft].Layer == layer {
			return p.deltas[i][:p.batch*n.out]
		}
	}
	return nil
}

// Step applies the gradients with momentum and clears them.
func (p *Pass) Step(rate float32) { sgd(p.m.Params, p.m.Momentum, p.grads, rate) }

// Drop clears the gradients without applying them.
func (p *Pass) Drop() { clear(p.grads) }

// dense computes out = in·wᵀ + b, each sum from left to right.
func dense(out, in, w, b []float32, ni, no, batch int) {
	for s := range batch {
		x := in[s*ni : (s+1)*ni]
		y := out[s*no : (s+1)*no]
		for o := range y {
			row := w[o*ni : (o+1)*ni]
			sum := b[o]
			for k, v := range x {
				sum += float32(v * row[k])
			}
			y[o] = sum
		}
	}
}

// denseBack adds the gradients of dense; din may be nil.
func denseBack(din, gw, gb, d, in, w []float32, ni, no, batch int) {
	for s := range batch {
		x := in[s*ni : (s+1)*ni]
		for o := range no {
			v := d[s*no+o]
			if v == 0 {
				continue
			}
			gb[o] += v
			row, g := w[o*ni:(o+1)*ni], gw[o*ni:(o+1)*ni]
			for k, xv := range x {
				g[k] += float32(v * xv)
			}
			if din != nil {
				dx := din[s*ni : (s+1)*ni]
				for k := range dx {
					dx[k] += float32(v * row[k])
				}
			}
		}
	}
}
