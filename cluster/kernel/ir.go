package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"sort"
	"strconv"

	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
)

// Limits of a graph.
const (
	MaxWidth = 4096
	MaxNodes = 256
	maxPorts = 8
)

// op is an operation of a program.
type op uint8

const (
	opDense op = iota + 1
	opScale
	opNorm
	opGain
	opRecip
	opReLU
	opLeaky
	opClip
	opSoftsign
	opGate
	opAdd
	opMul
	opRetain
	ops
)

var opNames = [ops]string{"", "dense", "scale", "norm", "gain", "recip", "relu", "leaky", "clip", "softsign", "gate", "add", "mul", "retain"}

func (o op) String() string {
	if o > 0 && o < ops {
		return opNames[o]
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

func opOf(name string) (op, bool) {
	for i, n := range opNames {
		if n == name && n != "" {
			return op(i), true
		}
	}
	return 0, false
}

// activation says whether an operation works on single elements, by a function
// that a pass before it can apply as well.
func (o op) activation() bool { return o >= opReLU && o <= opGate }

// parameters is how many an operation learns.
func (o op) parameters(in, out int) int {
	switch o {
	case opDense:
		return out * (in + 1)
	case opScale:
		return out
	}
	return 0
}

// A GraphError says what is wrong with a graph, and at which node.
type GraphError struct{ Node, Wrong string }

// Error implements error.
func (e *GraphError) Error() string {
	if e.Node == "" {
		return "blueprint: " + e.Wrong
	}
	return fmt.Sprintf("blueprint, node %q: %s", e.Node, e.Wrong)
}

// ID is a blueprint's id: the SHA-256 of its canonical IR, in hex.
func ID(ir *blueprintv2.BlueprintIR) string {
	sum := sha256.Sum256(ir.AppendCanonical(nil))
	return hex.EncodeToString(sum[:])
}

// Canonical sorts nodes and edges, so that one design has one encoding, and
// counts its parameters.
func Canonical(ir *blueprintv2.BlueprintIR) *blueprintv2.BlueprintIR {
	sort.SliceStable(ir.Nodes, func(i, j int) bool { return ir.Nodes[i].Id < ir.Nodes[j].Id })
	sort.SliceStable(ir.Edges, func(i, j int) bool {
		a, b := ir.Edges[i], ir.Edges[j]
		switch {
		case a.From != b.From:
			return a.From < b.From
		case a.To != b.To:
			return a.To < b.To
		}
		return a.Port < b.Port
	})
	ir.ParameterCount = 0
	for _, n := range ir.Nodes {
		if o, ok := opOf(n.Op); ok && len(n.InShape) == 1 && len(n.OutShape) == 1 {
			ir.ParameterCount += int64(o.parameters(int(n.InShape[0]), int(n.OutShape[0])))
		}
	}
	return ir
}

// node is a node of a graph that was checked.
type node struct {
	id       string
	op       op
	from     []int // by port: index into the list, or -1 for the activations
	out      int
	constant uint32
	users    int
	params   int // where its parameters begin
}

// graph is a graph in an order in which it can be computed.
type graph struct {
	nodes  []node
	width  int
	result int // node whose value is the output; -1: the input itself
	params int
}

// analyse checks a graph and puts it in order: of the nodes that can be computed
// next, the one with the least id.
func analyse(ir *blueprintv2.BlueprintIR) (*graph, error) {
	if ir.GetSchemaVersion() != 1 {
		return nil, &GraphError{"", fmt.Sprintf("it has the schema version %d; want 1", ir.GetSchemaVersion())}
	}
	if len(ir.Nodes) < 2 || len(ir.Nodes) > MaxNodes {
		return nil, &GraphError{"", fmt.Sprintf("it has %d nodes; want 2 to %d", len(ir.Nodes), MaxNodes)}
	}
	byID := make(map[string]int, len(ir.Nodes))
	input, output := -1, -1
	for i, n := range ir.Nodes {
		if n == nil || n.Id == "" || i > 0 && ir.Nodes[i-1].Id >= n.Id {
			return nil, &GraphError{n.GetId(), "nodes are sorted by their ids, each once"}
		}
		byID[n.Id] = i
		switch n.Op {
		case "input":
			if input >= 0 {
				return nil, &GraphError{n.Id, "it is a second input"}
			}
			input = i
		case "output":
			if output >= 0 {
				return nil, &GraphError{n.Id, "it is a second output"}
			}
			output = i
		default:
			if _, ok := opOf(n.Op); !ok {
				return nil, &GraphError{n.Id, fmt.Sprintf("there is no operation %q", n.Op)}
			}
		}
	}
	if input < 0 || output < 0 {
		return nil, &GraphError{"", "it has no input or no output"}
	}
	from := make([][]int, len(ir.Nodes))
	for _, e := range ir.Edges {
		a, okA := byID[e.GetFrom()]
		b, okB := byID[e.GetTo()]
		switch {
		case !okA || !okB:
			return nil, &GraphError{e.GetTo(), fmt.Sprintf("an edge joins %q and %q, which are not both nodes", e.GetFrom(), e.GetTo())}
		case e.Port >= maxPorts:
			return nil, &GraphError{e.To, fmt.Sprintf("it has a port %d; want at most %d", e.Port, maxPorts-1)}
		case b == input || a == output:
			return nil, &GraphError{e.To, "nothing leads to the input or away from the output"}
		}
		for len(from[b]) <= int(e.Port) {
			from[b] = append(from[b], -1)
		}
		if from[b][e.Port] >= 0 {
			return nil, &GraphError{e.To, fmt.Sprintf("two edges lead to port %d", e.Port)}
		}
		from[b][e.Port] = a
	}
	width := make([]int, len(ir.Nodes))
	for i, n := range ir.Nodes {
		w, err := shape(n, i == output)
		if err != nil {
			return nil, err
		}
		width[i] = w
	}
	for i, n := range ir.Nodes {
		if err := ports(n, from[i], width, i == input); err != nil {
			return nil, err
		}
	}
	if width[input] != width[output] {
		return nil, &GraphError{ir.Nodes[output].Id, fmt.Sprintf("the output has width %d and the input %d", width[output], width[input])}
	}
	return order(ir, from, width, input, output)
}

// shape is the width of a node's result.
func shape(n *blueprintv2.BlueprintIR_Node, output bool) (int, error) {
	dims := n.OutShape
	if output {
		dims = n.InShape
	}
	if len(dims) != 1 || dims[0] < 1 || dims[0] > MaxWidth {
		return 0, &GraphError{n.Id, fmt.Sprintf("it has the shape %v; want one width of 1 to %d", dims, MaxWidth)}
	}
	return int(dims[0]), nil
}

// ports checks how many inputs a node has, and their widths.
func ports(n *blueprintv2.BlueprintIR_Node, from, width []int, input bool) error {
	least, most := 1, 1
	switch n.Op {
	case "input":
		least, most = 0, 0
	case "add":
		least, most = 2, maxPorts
	case "mul":
		least, most = 2, 2
	}
	if len(from) < least || len(from) > most {
		return &GraphError{n.Id, fmt.Sprintf("%s has %d inputs; want %d to %d", n.Op, len(from), least, most)}
	}
	if input {
		return nil
	}
	if len(n.InShape) != 1 {
		return &GraphError{n.Id, fmt.Sprintf("it has the input shape %v; want one width", n.InShape)}
	}
	for port, f := range from {
		switch {
		case f < 0:
			return &GraphError{n.Id, fmt.Sprintf("nothing leads to port %d", port)}
		case int64(width[f]) != n.InShape[0]:
			return &GraphError{n.Id, fmt.Sprintf("port %d has width %d and gets %d", port, n.InShape[0], width[f])}
		}
	}
	if n.Op != "dense" && n.Op != "output" && n.InShape[0] != n.OutShape[0] {
		return &GraphError{n.Id, fmt.Sprintf("%s makes width %d of %d; want equal ones", n.Op, n.OutShape[0], n.InShape[0])}
	}
	return nil
}

// order is Kahn's algorithm; ties go to the least id, which is the least index.
func order(ir *blueprintv2.BlueprintIR, from [][]int, width []int, input, output int) (*graph, error) {
	g := &graph{width: width[input], result: -1}
	at := make([]int, len(ir.Nodes)) // position in the order, plus 1
	useful := reaches(from, output)
	left := len(ir.Nodes) - 1
	for at[input] = -1; left > 0; {
		next := -1
		for i := range ir.Nodes {
			ready := at[i] == 0 && i != input
			for _, f := range from[i] {
				ready = ready && at[f] != 0
			}
			if ready {
				next = i
				break
			}
		}
		if next < 0 {
			return nil, &GraphError{"", "its edges have a cycle"}
		}
		left--
		n := ir.Nodes[next]
		if !useful[next] {
			return nil, &GraphError{n.Id, "no way leads from it to the output"}
		}
		index := func(f int) int {
			if f == input {
				return -1
			}
			return at[f] - 1
		}
		if next == output {
			g.result, at[next] = index(from[next][0]), len(g.nodes)+1
			if left > 0 {
				continue
			}
			break
		}
		c := node{id: n.Id, out: width[next], params: g.params}
		c.op, _ = opOf(n.Op)
		var err error
		if c.constant, err = constant(n, c.op); err != nil {
			return nil, err
		}
		for _, f := range from[next] {
			c.from = append(c.from, index(f))
			if j := index(f); j >= 0 {
				g.nodes[j].users++
			}
		}
		g.params += c.op.parameters(int(n.InShape[0]), c.out)
		if g.params > MaxParams {
			return nil, &GraphError{n.Id, fmt.Sprintf("it has more than %d parameters", MaxParams)}
		}
		g.nodes = append(g.nodes, c)
		at[next] = len(g.nodes)
	}
	if !useful[input] {
		return nil, &GraphError{ir.Nodes[input].Id, "no way leads from it to the output"}
	}
	if g.result >= 0 {
		g.nodes[g.result].users++
	}
	if len(g.nodes) == 0 {
		return nil, &GraphError{"", "it computes nothing"}
	}
	return g, nil
}

// MaxParams is the most parameters of a kernel.
const MaxParams = 1 << 22

// reaches marks the nodes from which a way leads to one.
func reaches(from [][]int, to int) []bool {
	seen := make([]bool, len(from))
	seen[to] = true
	for stack := []int{to}; len(stack) > 0; {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, f := range from[i] {
			if f >= 0 && !seen[f] {
				seen[f] = true
				stack = append(stack, f)
			}
		}
	}
	return seen
}

// constant reads the attribute that an operation takes.
func constant(n *blueprintv2.BlueprintIR_Node, o op) (uint32, error) {
	name, value := "", "1"
	switch o {
	case opScale, opGain:
		name = "gain"
	case opRetain:
		name, value = "bytes", "0"
	}
	for _, a := range n.Attributes {
		if a.GetKey() != name || name == "" {
			return 0, &GraphError{n.Id, fmt.Sprintf("%s takes no attribute %q", n.Op, a.GetKey())}
		}
		value = a.Value
	}
	if o == opRetain {
		b, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return 0, &GraphError{n.Id, fmt.Sprintf("bytes is %q; want a whole number below 2^31", value)}
		}
		return uint32(b), nil
	}
	if name == "" {
		return 0, nil
	}
	g, err := strconv.ParseFloat(value, 32)
	if err != nil || math.IsNaN(g) || math.IsInf(g, 0) {
		return 0, &GraphError{n.Id, fmt.Sprintf("gain is %q; want a number", value)}
	}
	return math.Float32bits(float32(g)), nil
}
