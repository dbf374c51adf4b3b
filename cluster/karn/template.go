package karn

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/esper-sim/espersim/cluster/kernel"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// Template is a design in the small language of [Build], with how risky it is
// and from which stage of the curriculum on it is used.
type Template struct {
	ID    string
	Risk  float64
	Stage uint32
	Text  string
}

// Tier is what a template may be used for.
type Tier uint8

// The tiers. What is adversarial never leaves the sandbox (row I6).
const (
	Production Tier = iota
	Experimental
	Adversarial
)

// The risks from which on a design is experimental, and adversarial.
const (
	experimentalRisk = 0.5
	adversarialRisk  = 0.8
)

// Tier is the template's.
func (t *Template) Tier() Tier {
	switch {
	case t.Risk > adversarialRisk:
		return Adversarial
	case t.Risk > experimentalRisk:
		return Experimental
	}
	return Production
}

// Stages is how many stages the curriculum has, from 0.
const Stages = 7

// fallbacks is how many of the first templates answer a request that nothing
// else can.
const fallbacks = 10

// Templates are the designs of phase 1 (card 05): 35 for production, 7
// experimental, 8 adversarial.
var Templates = []Template{
	{"BP001", 0.00, 0, "dense:4 relu dense"},
	{"BP002", 0.02, 0, "dense:6 relu dense"},
	{"BP003", 0.03, 0, "dense:8 relu dense"},
	{"BP004", 0.03, 0, "dense:4 leaky dense"},
	{"BP005", 0.04, 0, "dense:6 leaky dense"},
	{"BP006", 0.04, 0, "dense:4 softsign dense"},
	{"BP007", 0.05, 0, "dense:6 softsign dense"},
	{"BP008", 0.06, 0, "dense:4 clip dense"},
	{"BP009", 0.02, 0, "scale:0.125"},
	{"BP010", 0.03, 0, "norm scale:0.125"},
	{"BP011", 0.08, 1, "norm dense:6 relu dense"},
	{"BP012", 0.09, 1, "norm dense:8 relu dense"},
	{"BP013", 0.10, 1, "dense:8 leaky dense"},
	{"BP014", 0.10, 1, "dense:8 softsign dense"},
	{"BP015", 0.12, 1, "dense:10 relu dense"},
	{"BP016", 0.15, 2, "(dense:6 | dense:6 gate)* dense"},
	{"BP017", 0.16, 2, "(dense:8 | dense:8 gate)* dense"},
	{"BP018", 0.17, 2, "dense:6 relu dense:6 relu dense"},
	{"BP019", 0.18, 2, "dense:8 relu dense:4 relu dense"},
	{"BP020", 0.19, 2, "norm dense:6 leaky dense:6 leaky dense"},
	{"BP021", 0.22, 3, "(dense:6 relu dense | scale:0.25)+"},
	{"BP022", 0.23, 3, "(dense:4 relu dense | dense:4 softsign dense)+"},
	{"BP023", 0.24, 3, "(norm dense:6 relu dense | scale:0.125)+"},
	{"BP024", 0.25, 3, "dense:6 (relu | softsign)+ dense"},
	{"BP025", 0.28, 3, "dense:6 (leaky | gate)* dense"},
	{"BP026", 0.30, 4, "norm (dense:6 | dense:6 gate)* dense"},
	{"BP027", 0.31, 4, "(dense:6 relu | dense:6 softsign)+ dense"},
	{"BP028", 0.32, 4, "dense:12 relu dense"},
	{"BP029", 0.33, 4, "dense:8 norm relu dense"},
	{"BP030", 0.36, 4, "(dense:4 relu dense | dense:6 relu dense | scale:0.125)+"},
	{"BP031", 0.40, 5, "norm dense:8 relu dense:8 relu dense"},
	{"BP032", 0.42, 5, "dense:6 relu ( | dense:6 relu)+ dense"},
	{"BP033", 0.45, 5, "norm dense:6 (softsign | dense:6 gate)* dense"},
	{"BP034", 0.48, 5, "(dense:6 relu dense | dense:6 leaky dense | dense:6 softsign dense)+"},
	{"BP035", 0.50, 5, "norm dense:16 relu dense"},

	{"BP036", 0.52, 5, "gain:2 dense:8 relu dense"},
	{"BP037", 0.55, 5, "dense:8 relu dense:8 relu dense:8 relu dense"},
	{"BP038", 0.60, 6, "(dense:8 | dense:8)* dense"},
	{"BP039", 0.65, 6, "norm (dense:6 | dense:6)* norm dense"},
	{"BP040", 0.70, 6, "dense:24 leaky dense"},
	{"BP041", 0.74, 6, "dense:6 softsign dense:6 softsign dense:6 softsign dense"},
	{"BP042", 0.78, 6, "((dense:4 relu | dense:4 gate)* | dense:4 leaky)+ dense"},

	{"BP043", 0.82, 6, "dense:8 gain:1e19 relu dense gain:1e20"},
	{"BP044", 0.84, 6, "recip dense:4 relu dense"},
	{"BP045", 0.86, 6, "dense:4 gain:1e-15 relu gain:1e-15 dense gain:1e-10"},
	{"BP046", 0.88, 6, "dense:8 relu dense retain:268435456"},
	{"BP047", 0.90, 6, "gain:1e3 ( | )* ( | )* ( | )* ( | )* dense"},
	{"BP048", 0.92, 6, "dense:4 clip recip dense recip"},
	{"BP049", 0.95, 6, "norm gain:3e38 dense gain:1e5"},
	{"BP050", 1.00, 6, "dense:4 relu retain:536870912 gain:1e25 dense gain:1e25"},
}

// FindTemplate is the template with an id, or nil.
func FindTemplate(id string) *Template {
	for i := range Templates {
		if Templates[i].ID == id {
			return &Templates[i]
		}
	}
	return nil
}

// IR is the template's graph for layers of a width.
func (t *Template) IR(width int) (*blueprintv2.BlueprintIR, error) {
	return Build(t.Text, t.ID, width)
}

// Build makes a graph of a text:
//
//	chain  = { item }
//	item   = op [ ":" argument ] | "(" chain { "|" chain } ")" ( "+" | "*" )
//
// A chain is computed from left to right. The argument of dense is the width of
// its result, and without one that of the layer; that of scale and gain their
// gain; that of retain its bytes. Chains side by side get the same input, and
// their results are added or multiplied; an empty one passes its input on.
func Build(text, intent string, width int) (*blueprintv2.BlueprintIR, error) {
	for _, c := range "()|+*" {
		text = strings.ReplaceAll(text, string(c), " "+string(c)+" ")
	}
	b := &builder{words: strings.Fields(text), width: int64(width), ir: &blueprintv2.BlueprintIR{SchemaVersion: 1, DesignIntent: intent}}
	b.ir.Nodes = append(b.ir.Nodes, &blueprintv2.BlueprintIR_Node{Id: "input", Op: "input", OutShape: []int64{b.width}})
	end, w, err := b.chain("input", b.width)
	if err != nil {
		return nil, err
	}
	if len(b.words) > 0 {
		return nil, fmt.Errorf("design %q: %q is too much", text, b.words[0])
	}
	if w != b.width {
		return nil, fmt.Errorf("design %q: it ends with width %d; want %d", text, w, b.width)
	}
	b.ir.Nodes = append(b.ir.Nodes, &blueprintv2.BlueprintIR_Node{Id: "output", Op: "output", InShape: []int64{b.width}})
	b.ir.Edges = append(b.ir.Edges, &blueprintv2.BlueprintIR_Edge{From: end, To: "output"})
	return kernel.Canonical(b.ir), nil
}

// builder reads words and adds nodes.
type builder struct {
	words []string
	width int64
	ir    *blueprintv2.BlueprintIR
	count int
}

func (b *builder) take() string {
	if len(b.words) == 0 {
		return ""
	}
	w := b.words[0]
	b.words = b.words[1:]
	return w
}

func (b *builder) node(op string, in, out int64, attributes []*telemetryv2.Label, from ...string) string {
	b.count++
	id := fmt.Sprintf("n%03d-%s", b.count, op)
	b.ir.Nodes = append(b.ir.Nodes, &blueprintv2.BlueprintIR_Node{Id: id, Op: op, InShape: []int64{in}, OutShape: []int64{out}, Attributes: attributes})
	for port, f := range from {
		b.ir.Edges = append(b.ir.Edges, &blueprintv2.BlueprintIR_Edge{From: f, To: id, Port: uint32(port)})
	}
	return id
}

// chain reads to the end of a chain, and returns its last node and width.
func (b *builder) chain(at string, w int64) (string, int64, error) {
	for len(b.words) > 0 && b.words[0] != "|" && b.words[0] != ")" {
		word := b.take()
		if word == "(" {
			var err error
			if at, w, err = b.branches(at, w); err != nil {
				return "", 0, err
			}
			continue
		}
		op, argument, given := strings.Cut(word, ":")
		out := w
		var attributes []*telemetryv2.Label
		switch op {
		case "dense":
			out = b.width
			if given {
				n, err := strconv.Atoi(argument)
				if err != nil {
					return "", 0, fmt.Errorf("%s: want a width", word)
				}
				out = int64(n)
			}
		case "scale", "gain":
			attributes = []*telemetryv2.Label{{Key: "gain", Value: argument}}
		case "retain":
			attributes = []*telemetryv2.Label{{Key: "bytes", Value: argument}}
		}
		at, w = b.node(op, w, out, attributes, at), out
	}
	return at, w, nil
}

// branches reads what stands side by side, up to the sign after it.
func (b *builder) branches(at string, w int64) (string, int64, error) {
	var ends []string
	width := int64(0)
	for {
		end, out, err := b.chain(at, w)
		if err != nil {
			return "", 0, err
		}
		if len(ends) > 0 && out != width {
			return "", 0, fmt.Errorf("widths %d and %d stand side by side", width, out)
		}
		ends, width = append(ends, end), out
		switch b.take() {
		case "|":
			continue
		case ")":
		default:
			return "", 0, fmt.Errorf("a bracket is not closed")
		}
		break
	}
	op := map[string]string{"+": "add", "*": "mul"}[b.take()]
	if op == "" || len(ends) < 2 {
		return "", 0, fmt.Errorf("%d chains side by side, with neither + nor * behind them", len(ends))
	}
	return b.node(op, width, width, nil, ends...), width, nil
}
