package trainer

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Op is what a node of a layer graph computes.
type Op string

// The operations.
const (
	OpDense Op = "dense" // units outputs, weights and bias
	OpReLU  Op = "relu"
	OpAdd   Op = "add"   // sum of two or more nodes of one width
	OpGraft Op = "graft" // a place where kernels may be grafted
)

// Input is the name by which nodes refer to the samples.
const Input = "input"

// Node is one layer. From names its inputs; empty means the node before it.
type Node struct {
	Name  string   `yaml:"name"`
	Op    Op       `yaml:"op"`
	Units int      `yaml:"units,omitempty"`
	Layer int      `yaml:"layer,omitempty"` // of a graft, from 1
	From  []string `yaml:"from,flow,omitempty"`
}

// Graph is a network as a directed acyclic graph of layers in an order in
// which they can be computed. The last node holds the logits.
type Graph struct {
	Name   string `yaml:"name"`
	Input  int    `yaml:"input"` // numbers a sample
	Layers []Node `yaml:"layers"`
}

// A GraphError says what is wrong with a graph's text.
type GraphError struct {
	Line, Column int
	Wrong, Want  string
}

// Error implements error.
func (e *GraphError) Error() string {
	s := "layer graph"
	if e.Line > 0 {
		s += fmt.Sprintf(", line %d", e.Line)
		if e.Column > 0 {
			s += fmt.Sprintf(", column %d", e.Column)
		}
	}
	s += ": " + e.Wrong
	if e.Want != "" {
		s += "; want " + e.Want
	}
	return s
}

const maxWidth = 4096

// ParseGraph reads a graph from YAML:
//
//	name: rings
//	input: 2
//	layers:
//	  - {name: hidden, op: dense, units: 16}
//	  - {name: active, op: relu}
//	  - {name: logits, op: dense, units: 2}
//
// Errors are *GraphError and name the line.
func ParseGraph(text []byte) (*Graph, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, &GraphError{Wrong: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	dec.KnownFields(true)
	g := new(Graph)
	if err := dec.Decode(g); err != nil {
		return nil, &GraphError{Wrong: strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "), Want: "the keys name, input, layers; in a layer name, op, units, layer, from"}
	}
	if err := g.check(layerLines(&root)); err != nil {
		return nil, err
	}
	return g, nil
}

// layerLines finds where each layer stands in the text.
func layerLines(root *yaml.Node) (at []*yaml.Node) {
	if len(root.Content) == 0 {
		return nil
	}
	doc := root.Content[0]
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if doc.Content[i].Value == "layers" {
			return doc.Content[i+1].Content
		}
	}
	return nil
}

// widths are the outputs of each node by name.
func (g *Graph) check(at []*yaml.Node) error {
	bad := func(i int, wrong, want string) error {
		e := &GraphError{Wrong: wrong, Want: want}
		if i >= 0 && i < len(at) {
			e.Line, e.Column = at[i].Line, at[i].Column
		}
		return e
	}
	if g.Input < 1 || g.Input > maxWidth {
		return bad(-1, "input is "+strconv.Itoa(g.Input), fmt.Sprintf("1 to %d", maxWidth))
	}
	if len(g.Layers) == 0 {
		return bad(-1, "it has no layers", "at least one")
	}
	width := map[string]int{Input: g.Input}
	layers := map[int]string{}
	prev := Input
	for i := range g.Layers {
		n := &g.Layers[i]
		if n.Name == "" {
			return bad(i, fmt.Sprintf("layer %d has no name", i+1), "a name")
		}
		if _, dup := width[n.Name]; dup {
			return bad(i, fmt.Sprintf("the name %q is taken", n.Name), "another")
		}
		if len(n.From) == 0 {
			n.From = []string{prev}
		}
		for _, f := range n.From {
			if _, ok := width[f]; !ok {
				return bad(i, fmt.Sprintf("%s takes its input from %q, which does not come before it", n.Name, f), "the name of an earlier layer, or input")
			}
		}
		w := width[n.From[0]]
		one := len(n.From) == 1
		switch n.Op {
		case OpDense:
			if n.Units < 1 || n.Units > maxWidth {
				return bad(i, fmt.Sprintf("%s has %d units", n.Name, n.Units), fmt.Sprintf("1 to %d", maxWidth))
			}
			w = n.Units
		case OpReLU:
		case OpGraft:
			if n.Layer < 1 || layers[n.Layer] != "" {
				return bad(i, fmt.Sprintf("graft %s has the layer number %d", n.Name, n.Layer), "one from 1 that no other graft has")
			}
			layers[n.Layer] = n.Name
		case OpAdd:
			one = true
			if len(n.From) < 2 {
				return bad(i, n.Name+" adds one input", "from: with at least two names")
			}
			for _, f := range n.From {
				if width[f] != w {
					return bad(i, fmt.Sprintf("%s adds %s of width %d to %s of width %d", n.Name, n.From[0], w, f, width[f]), "equal widths")
				}
			}
		default:
			return bad(i, fmt.Sprintf("%s has the unknown operation %q", n.Name, n.Op), "dense, relu, add or graft")
		}
		if !one {
			return bad(i, fmt.Sprintf("%s has %d inputs", n.Name, len(n.From)), "one")
		}
		if n.Op != OpDense && n.Units != 0 {
			return bad(i, fmt.Sprintf("%s has units, but is no dense layer", n.Name), "no units")
		}
		width[n.Name] = w
		prev = n.Name
	}
	if out := width[prev]; out < 2 || out > 256 {
		return bad(len(g.Layers)-1, fmt.Sprintf("the last layer %s has width %d", prev, out), "one logit a class, 2 to 256")
	}
	return nil
}

// String is the graph as text that ParseGraph reads.
func (g *Graph) String() string {
	b, err := yaml.Marshal(g)
	if err != nil {
		return "# " + err.Error() // a Graph holds nothing that YAML cannot
	}
	return string(b)
}

// InjectGrafts returns a copy of g with a graft layer behind each of the named
// layers, numbered from 1 in their order in the graph, and every user of such a
// layer reading from its graft instead. With no names, every relu that
// something reads gets one. An error names the layer that is not there.
func InjectGrafts(g *Graph, after ...string) (*Graph, error) {
	want := map[string]bool{}
	for _, n := range after {
		want[n] = true
	}
	for _, n := range g.Layers {
		if n.Op == OpGraft {
			return nil, &GraphError{Wrong: fmt.Sprintf("it has a graft layer %q already", n.Name), Want: "a graph without"}
		}
		if len(after) == 0 && n.Op == OpReLU {
			want[n.Name] = true
		}
	}
	out := &Graph{Name: g.Name, Input: g.Input}
	renamed := map[string]string{}
	layer := 0
	for i, n := range g.Layers {
		n.From = append([]string(nil), n.From...)
		for j, f := range n.From {
			if r, ok := renamed[f]; ok {
				n.From[j] = r
			}
		}
		out.Layers = append(out.Layers, n)
		if !want[n.Name] {
			continue
		}
		delete(want, n.Name)
		if i == len(g.Layers)-1 {
			return nil, &GraphError{Wrong: fmt.Sprintf("nothing reads %q", n.Name), Want: "a layer before the last"}
		}
		layer++
		graft := Node{Name: n.Name + "/graft", Op: OpGraft, Layer: layer, From: []string{n.Name}}
		renamed[n.Name] = graft.Name
		out.Layers = append(out.Layers, graft)
	}
	for _, n := range after {
		if want[n] {
			return nil, &GraphError{Wrong: fmt.Sprintf("there is no layer %q", n), Want: "the name of a layer"}
		}
	}
	if layer == 0 {
		return nil, &GraphError{Wrong: "there is no place for a graft", Want: "a relu, or names of layers"}
	}
	if err := out.check(nil); err != nil {
		return nil, err
	}
	return out, nil
}

// RingsGraph is the network that scenarios train unless they name another.
const RingsGraph = `name: rings
input: 2
layers:
  - {name: hidden1, op: dense, units: 12}
  - {name: active1, op: relu}
  - {name: hidden2, op: dense, units: 12}
  - {name: active2, op: relu}
  - {name: logits, op: dense, units: 2}
`
