package trainer

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
)

// Momentum is the optimizer's, for hosts and kernels alike.
const Momentum = 0.9

// Graft is a place in a model where kernels may be grafted.
type Graft struct {
	Layer int // number in the graph, from 1
	Width int
}

// Model is a graph with parameters and the optimizer's momentum for each.
type Model struct {
	Params   []float32
	Momentum []float32

	graph  *Graph
	nodes  []compiled
	grafts []Graft
	inputs int
	masks  [][]int32 // by graft: channels that are masked
}

// compiled is a node ready to be computed: node indices instead of names.
type compiled struct {
	op      Op
	from    []int // indices into nodes; -1 is the input
	in, out int   // widths
	weights int   // offset into Params: out rows of in, then out biases
	graft   int   // index into grafts
}

// NewModel compiles a graph and draws its parameters, keyed by seed and the
// names of the layers.
func NewModel(g *Graph, seed uint64) (*Model, error) {
	if err := g.check(nil); err != nil {
		return nil, err
	}
	m := &Model{graph: g, inputs: g.Input}
	index := map[string]int{Input: -1}
	width := map[string]int{Input: g.Input}
	total := 0
	for i, n := range g.Layers {
		c := compiled{op: n.Op, in: width[n.From[0]]}
		for _, f := range n.From {
			c.from = append(c.from, index[f])
		}
		c.out = c.in
		switch n.Op {
		case OpDense:
			c.out = n.Units
			c.weights = total
			total += c.out * (c.in + 1)
		case OpGraft:
			c.graft = len(m.grafts)
			m.grafts = append(m.grafts, Graft{n.Layer, c.in})
		}
		m.nodes = append(m.nodes, c)
		index[n.Name], width[n.Name] = i, c.out
	}
	m.Params, m.Momentum = make([]float32, total), make([]float32, total)
	m.masks = make([][]int32, len(m.grafts))
	for i, c := range m.nodes {
		if c.op == OpDense {
			draw(m.Params[c.weights:c.weights+c.out*c.in], keyed(seed, hashString(g.Layers[i].Name), 2), c.in)
		}
	}
	return m, nil
}

// draw fills w with values of variance 2/fan, for layers followed by a relu.
func draw(w []float32, seed uint64, fan int) {
	// A uniform value in ±a has variance a²/3.
	a := float32(math.Sqrt(float64(6) / float64(fan))) // correctly rounded on every processor
	for i := range w {
		w[i] = float32(a * uniform(keyed(seed, uint64(i), 3)))
	}
}

// Graph is the graph that the model was made from.
func (m *Model) Graph() *Graph { return m.graph }

// Grafts lists the places where kernels may be grafted, in the order in which
// a pass meets them.
func (m *Model) Grafts() []Graft { return m.grafts }

// Digest is the SHA-256 of numbers as little-endian float32.
func Digest(lists ...[]float32) [32]byte {
	h := sha256.New()
	var buf [4096]byte
	for _, p := range lists {
		for len(p) > 0 {
			n := min(len(p), len(buf)/4)
			for i, v := range p[:n] {
				binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
			}
			h.Write(buf[:4*n])
			p = p[n:]
		}
	}
	return [32]byte(h.Sum(nil))
}

// sgd moves parameters against their gradients, and clears these.
func sgd(params, momentum, grads []float32, lr float32) {
	for i, g := range grads {
		v := float32(Momentum*momentum[i]) + g
		momentum[i] = v
		params[i] -= float32(lr * v)
		grads[i] = 0
	}
}

// Load replaces parameters and momentum. The lengths must be the model's.
func (m *Model) Load(params, momentum []float32) error {
	if len(params) != len(m.Params) || len(momentum) != len(m.Momentum) {
		return fmt.Errorf("state has %d parameters and %d momenta; the model %s has %d", len(params), len(momentum), m.graph.Name, len(m.Params))
	}
	copy(m.Params, params)
	copy(m.Momentum, momentum)
	return nil
}
