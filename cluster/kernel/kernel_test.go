package kernel_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/cluster/trainer"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

const width = 6

// design draws a graph: a chain with branches that join again.
func design(t *rapid.T) *blueprintv2.BlueprintIR {
	ir := &blueprintv2.BlueprintIR{SchemaVersion: 1, DesignIntent: rapid.StringMatching(`[a-z]{0,8}`).Draw(t, "intent")}
	add := func(id, op string, in, out int64, from ...string) string {
		n := &blueprintv2.BlueprintIR_Node{Id: id, Op: op, InShape: []int64{in}, OutShape: []int64{out}}
		if op == "scale" || op == "gain" {
			n.Attributes = []*telemetryv2.Label{{Key: "gain", Value: "0.5"}}
		}
		ir.Nodes = append(ir.Nodes, n)
		for p, f := range from {
			ir.Edges = append(ir.Edges, &blueprintv2.BlueprintIR_Edge{From: f, To: id, Port: uint32(p)})
		}
		return id
	}
	add("in", "input", 0, width)
	ir.Nodes[0].InShape = nil
	at, w := "in", int64(width)
	ops := []string{"dense", "scale", "norm", "gain", "relu", "leaky", "clip", "softsign", "gate", "add", "mul", "retain"}
	for i, n := 0, rapid.IntRange(1, 9).Draw(t, "nodes"); i < n; i++ {
		id := "n" + string(rune('a'+i))
		switch op := rapid.SampledFrom(ops).Draw(t, "op"); op {
		case "dense":
			out := int64(rapid.IntRange(1, 9).Draw(t, "out"))
			at, w = add(id, op, w, out, at), out
		case "add", "mul":
			side := add(id+"side", rapid.SampledFrom([]string{"relu", "gate", "softsign"}).Draw(t, "side"), w, w, at)
			at = add(id, op, w, w, side, at)
		default:
			at = add(id, op, w, w, at)
		}
	}
	at = add("z", "dense", w, width, at)
	add("zz", "output", width, 0, at)
	ir.Nodes[len(ir.Nodes)-1].OutShape = nil
	return kernel.Canonical(ir)
}

func values(n int, from float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(float32((i*37)%23)*0.1) - 1 + from
	}
	return x
}

// Every pipeline makes another program of a graph that has something to fuse,
// and all compute the same in every bit, forward and backward.
func TestPipelinesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ir := design(t)
		var results [][]byte
		var binaries [][]byte
		for p := kernel.Emergency; p <= kernel.Aggressive; p++ {
			prog, err := kernel.Compile(ir, p, "h100", kernel.Toolchain)
			if err != nil {
				t.Fatal(err)
			}
			b := prog.Encode()
			again, err := kernel.Compile(ir, p, "h100", kernel.Toolchain)
			if err != nil || !bytes.Equal(again.Encode(), b) {
				t.Fatalf("%v: compiled twice it is something else (%v)", p, err)
			}
			binaries = append(binaries, b)
			k, err := kernel.Load("k", b, width)
			if err != nil {
				t.Fatal(err)
			}
			x, y := values(4*width, 0), make([]float32, 4*width)
			for range 3 {
				k.Forward(y, x, 0.5, true)
				if err := k.Backward(values(4*width, 0.3)); err != nil {
					t.Fatal(err)
				}
				k.Step(0.01)
			}
			d := trainer.Digest(y, k.Params, k.Momentum)
			results = append(results, d[:])
		}
		for i, r := range results[1:] {
			if !bytes.Equal(r, results[0]) {
				t.Fatalf("pipeline %d computes something else", i+2)
			}
			if bytes.Equal(binaries[i+1], binaries[0]) {
				t.Fatalf("pipeline %d has the first one's binary", i+2)
			}
		}
	})
}

// A fused program has fewer passes.
func TestFusing(t *testing.T) {
	passes := map[kernel.Pipeline]int{}
	for p := kernel.Fast; p <= kernel.Aggressive; p++ {
		k, err := kernel.Compile(small(), p, "h100", "t")
		if err != nil {
			t.Fatal(err)
		}
		passes[p] = k.Footprint(8).Passes
	}
	if passes[kernel.Fast] != 5 || passes[kernel.Standard] != 4 || passes[kernel.Aggressive] != 3 {
		t.Errorf("passes %v, want 5, 4 and 3", passes)
	}
}

// small is dense, relu, scale, softsign, dense.
func small() *blueprintv2.BlueprintIR {
	chain := []struct {
		id, op  string
		in, out int64
	}{{"a", "input", 0, 6}, {"b", "dense", 6, 4}, {"c", "relu", 4, 4}, {"d", "scale", 4, 4}, {"e", "softsign", 4, 4}, {"f", "dense", 4, 6}, {"g", "output", 6, 0}}
	ir := &blueprintv2.BlueprintIR{SchemaVersion: 1}
	for i, c := range chain {
		n := &blueprintv2.BlueprintIR_Node{Id: c.id, Op: c.op}
		if c.in > 0 {
			n.InShape = []int64{c.in}
		}
		if c.out > 0 {
			n.OutShape = []int64{c.out}
		}
		ir.Nodes = append(ir.Nodes, n)
		if i > 0 {
			ir.Edges = append(ir.Edges, &blueprintv2.BlueprintIR_Edge{From: chain[i-1].id, To: c.id})
		}
	}
	return kernel.Canonical(ir)
}

// The gradients are those of the function: compared with differences of the loss
// sum(y·c), in steps of a parameter.
func TestGradients(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := kernel.Compile(smooth(t), kernel.Aggressive, "h100", "t")
		if err != nil {
			t.Fatal(err)
		}
		b := p.Block()
		params, grads := make([]float32, b.Params()), make([]float32, b.Params())
		b.Init(params)
		x, c, y := values(2*width, 0.05), values(2*width, 0.2), make([]float32, 2*width)
		loss := func() float64 {
			b.Forward(y, x, params, 2)
			sum := 0.0
			for i, v := range y {
				sum += float64(v) * float64(c[i])
			}
			return sum
		}
		loss()
		b.Backward(c, params, grads, 2)
		at := func(i int, v float32) float64 {
			was := params[i]
			defer func() { params[i] = was }()
			params[i] = v
			return loss()
		}
		for i, v := range params {
			const h = 1.0 / 64
			wide := (at(i, v+h) - at(i, v-h)) / (2 * h)
			want := (at(i, v+h/2) - at(i, v-h/2)) / h
			if math.Abs(wide-want) > 0.005*(1+math.Abs(want)) {
				continue // too bent for differences
			}
			if math.Abs(want-float64(grads[i])) > 0.02*(1+math.Abs(want)) {
				t.Fatalf("parameter %d has the gradient %v, differences say %v", i, grads[i], want)
			}
		}
	})
}

// smooth is a design without kinks, so that differences approach derivatives.
func smooth(t *rapid.T) *blueprintv2.BlueprintIR {
	ir := design(t)
	for _, n := range ir.Nodes {
		switch n.Op {
		case "relu", "leaky", "clip", "gate":
			n.Op = "softsign"
		}
	}
	return kernel.Canonical(ir)
}

func TestGraphsThatDoNotCompile(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(ir *blueprintv2.BlueprintIR)
	}{
		{"no nodes", "0 nodes", func(ir *blueprintv2.BlueprintIR) { ir.Nodes = nil }},
		{"version", "schema version 2", func(ir *blueprintv2.BlueprintIR) { ir.SchemaVersion = 2 }},
		{"unsorted", "sorted", func(ir *blueprintv2.BlueprintIR) { ir.Nodes[0], ir.Nodes[1] = ir.Nodes[1], ir.Nodes[0] }},
		{"unknown operation", `"c": there is no operation "tanh"`, func(ir *blueprintv2.BlueprintIR) { ir.Nodes[2].Op = "tanh" }},
		{"two inputs", "second input", func(ir *blueprintv2.BlueprintIR) { ir.Nodes[1].Op = "input" }},
		{"no output", "no output", func(ir *blueprintv2.BlueprintIR) { ir.Nodes[6].Op = "relu" }},
		{"edge to nowhere", "not both nodes", func(ir *blueprintv2.BlueprintIR) { ir.Edges[0].To = "y" }},
		{"hole", "nothing leads to port 0", func(ir *blueprintv2.BlueprintIR) { ir.Edges[1].Port = 1; ir.Nodes[2].Op = "add" }},
		{"missing edge", "0 inputs", func(ir *blueprintv2.BlueprintIR) { ir.Edges = ir.Edges[1:] }},
		{"doubled edge", "two edges", func(ir *blueprintv2.BlueprintIR) { ir.Edges = append(ir.Edges, ir.Edges[1]) }},
		{"far port", "port 99", func(ir *blueprintv2.BlueprintIR) { ir.Edges[1].Port = 99 }},
		{"widths", "gets 4", func(ir *blueprintv2.BlueprintIR) { ir.Nodes[2].InShape = []int64{5} }},
		{"relu that widens", "equal ones", func(ir *blueprintv2.BlueprintIR) { ir.Nodes[2].OutShape = []int64{5}; ir.Nodes[3].InShape = []int64{5} }},
		{"shape", "shape [4 4]", func(ir *blueprintv2.BlueprintIR) { ir.Nodes[1].OutShape = []int64{4, 4} }},
		{"output width", "output has width 5", func(ir *blueprintv2.BlueprintIR) {
			ir.Nodes[5].OutShape = []int64{5}
			ir.Nodes[6].InShape = []int64{5}
		}},
		{"cycle", "cycle", func(ir *blueprintv2.BlueprintIR) {
			ir.Nodes[2].Op = "add"
			ir.Edges = append(ir.Edges, &blueprintv2.BlueprintIR_Edge{From: "e", To: "c", Port: 1})
		}},
		{"dead end", "no way leads", func(ir *blueprintv2.BlueprintIR) { ir.Edges[5].From = "a" }},
		{"attribute", `no attribute "colour"`, func(ir *blueprintv2.BlueprintIR) {
			ir.Nodes[3].Attributes = []*telemetryv2.Label{{Key: "colour", Value: "red"}}
		}},
		{"gain", `gain is "NaN"`, func(ir *blueprintv2.BlueprintIR) {
			ir.Nodes[3].Attributes = []*telemetryv2.Label{{Key: "gain", Value: "NaN"}}
		}},
	} {
		ir := small()
		c.change(ir)
		_, err := kernel.Compile(ir, kernel.Fast, "h100", "t")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// A changed binary is refused, with the offset of what is wrong.
func TestEveryChangeIsSeen(t *testing.T) {
	p, err := kernel.Compile(small(), kernel.Standard, "h100", "t")
	if err != nil {
		t.Fatal(err)
	}
	b := p.Encode()
	for i := range b {
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			var bad *kernel.FormatError
			if _, err := kernel.Decode(c); !errors.As(err, &bad) || bad.Offset > len(b) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
		}
		if _, err := kernel.Decode(b[:i]); err == nil {
			t.Fatalf("cut after %d bytes it decodes", i)
		}
	}
	if _, err := kernel.Load("k", b, width+1); err == nil {
		t.Error("it loads into a layer of another width")
	}
}

// The format is what it was.
func TestGolden(t *testing.T) {
	p, err := kernel.Compile(small(), kernel.Aggressive, "h100", "t")
	if err != nil {
		t.Fatal(err)
	}
	const name = "testdata/small.kernel"
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.Encode(), want) {
		t.Errorf("it is not %s any more", name)
	}
}

func FuzzDecode(f *testing.F) {
	b, err := os.ReadFile("testdata/small.kernel")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:len(b)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum is made right, or nothing behind it would be reached.
		p, err := kernel.Decode(kernel.Seal(b))
		if err != nil {
			var bad *kernel.FormatError
			if !errors.As(err, &bad) || bad.Offset < 0 || bad.Offset > len(b)+4 {
				t.Fatalf("%v", err)
			}
			return
		}
		if got := p.Encode(); !bytes.Equal(got, kernel.Seal(b)) {
			t.Fatalf("it encodes to %x", got)
		}
		if p.Params < 1<<12 && p.Width < 64 {
			k, err := kernel.Load("k", kernel.Seal(b), p.Width)
			if err != nil {
				t.Fatal(err)
			}
			y := make([]float32, 2*p.Width)
			k.Forward(y, make([]float32, 2*p.Width), 1, true)
			if err := k.Backward(y); err != nil {
				t.Fatal(err)
			}
		}
	})
}
