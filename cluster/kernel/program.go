package kernel

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	"github.com/esper-sim/espersim/gpu"
)

// Pipeline is how much a compiler does for the speed of a kernel.
type Pipeline uint8

// The pipelines, the fastest to compile first.
const (
	Emergency Pipeline = iota + 1
	Fast
	Standard
	Aggressive
	pipelines
)

var pipelineNames = [pipelines]string{"", "emergency", "fast", "standard", "aggressive"}

// String is the name that messages and kernel ids use.
func (p Pipeline) String() string {
	if p > 0 && p < pipelines {
		return pipelineNames[p]
	}
	return fmt.Sprintf("pipeline(%d)", uint8(p))
}

// PipelineOf is the pipeline with a name.
func PipelineOf(name string) (Pipeline, bool) {
	for i, n := range pipelineNames {
		if n == name && n != "" {
			return Pipeline(i), true
		}
	}
	return 0, false
}

// Toolchain is the version of this compiler: with another one the same graph
// may become another program, and is another artifact.
const Toolchain = "espc-1"

// OlderToolchain is the version of the compiler of the release before.
const OlderToolchain = "espc-0"

// instruction is one pass of a program.
type instruction struct {
	op       op
	fused    op // an activation on its result, or 0
	out      int
	params   int
	constant uint32
	from     []uint16 // number of an earlier instruction plus 1; 0: the activations
}

// Program is a compiled kernel.
type Program struct {
	Pipeline  Pipeline
	Width     int
	Params    int // how many it learns
	Seed      uint64
	IR        [sha256.Size]byte
	Hardware  string
	Toolchain string
	code      []instruction
}

// Compile makes a program of a graph. An error is for ever: the same graph does
// not compile later.
func Compile(ir *blueprintv2.BlueprintIR, p Pipeline, hardware, toolchain string) (*Program, error) {
	if p < Emergency || p > Aggressive {
		return nil, fmt.Errorf("there is no pipeline %d", p)
	}
	if len(hardware) > 255 || len(toolchain) > 255 {
		return nil, fmt.Errorf("the names of hardware and toolchain have %d and %d bytes; want at most 255", len(hardware), len(toolchain))
	}
	g, err := analyse(ir)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(ir.AppendCanonical(nil))
	k := &Program{Pipeline: p, Width: g.width, Params: g.params, IR: sum, Seed: binary.LittleEndian.Uint64(sum[:]),
		Hardware: hardware, Toolchain: toolchain}
	where := make([]uint16, len(g.nodes)) // the instruction that holds a node's value, plus 1
	number := func(node int) uint16 {
		if node < 0 {
			return 0
		}
		return where[node]
	}
	for i := range g.nodes {
		n := &g.nodes[i]
		if f := n.from[0]; n.op.activation() && f >= 0 && g.nodes[f].users == 1 {
			before := &k.code[where[f]-1]
			if before.fused == 0 && fuses(p, before.op) {
				before.fused = n.op
				where[i] = where[f]
				continue
			}
		}
		c := instruction{op: n.op, out: n.out, params: n.params, constant: n.constant}
		for _, f := range n.from {
			c.from = append(c.from, number(f))
		}
		k.code = append(k.code, c)
		where[i] = uint16(len(k.code))
	}
	return k, nil
}

// fuses says whether a pipeline lets an operation apply the activation after it.
func fuses(p Pipeline, o op) bool {
	switch p {
	case Standard:
		return o == opDense
	case Aggressive:
		return !o.activation()
	}
	return false
}

const (
	fixedHeader = 64
	codeSize    = 20
	version     = 1
)

var (
	magic      = [8]byte{'E', 'S', 'P', 'K', 'E', 'R', 'N', 1}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Encode is the binary.
func (k *Program) Encode() []byte {
	le := binary.LittleEndian
	b := append([]byte(nil), magic[:]...)
	b = le.AppendUint16(b, version)
	b = append(b, byte(k.Pipeline), 0)
	b = le.AppendUint32(b, uint32(k.Width))
	b = le.AppendUint32(b, uint32(len(k.code)))
	b = le.AppendUint32(b, uint32(k.Params))
	b = le.AppendUint64(b, k.Seed)
	b = append(b, k.IR[:]...)
	b = append(append(b, byte(len(k.Hardware))), k.Hardware...)
	b = append(append(b, byte(len(k.Toolchain))), k.Toolchain...)
	inputs := 0
	for _, c := range k.code {
		b = append(b, byte(c.op), byte(c.fused), byte(len(c.from)), 0)
		b = le.AppendUint32(b, uint32(c.out))
		b = le.AppendUint32(b, uint32(c.params))
		b = le.AppendUint32(b, c.constant)
		b = le.AppendUint32(b, uint32(inputs))
		inputs += len(c.from)
	}
	for _, c := range k.code {
		for _, f := range c.from {
			b = le.AppendUint16(b, f)
		}
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// A FormatError says what is wrong with a binary, and where.
type FormatError struct {
	Offset      int
	Wrong, Want string
}

// Error implements error.
func (e *FormatError) Error() string {
	s := fmt.Sprintf("kernel binary, offset %d: %s", e.Offset, e.Wrong)
	if e.Want != "" {
		s += "; want " + e.Want
	}
	return s
}

// Decode reads a binary. Errors are *FormatError.
func Decode(b []byte) (*Program, error) {
	bad := func(at int, want, wrong string, args ...any) (*Program, error) {
		return nil, &FormatError{at, fmt.Sprintf(wrong, args...), want}
	}
	le := binary.LittleEndian
	if len(b) < fixedHeader+2+4 {
		return bad(len(b), fmt.Sprintf("at least %d", fixedHeader+6), "it ends after %d bytes", len(b))
	}
	if !bytes.Equal(b[:8], magic[:]) {
		return bad(0, fmt.Sprintf("%x", magic), "the magic is %x", b[:8])
	}
	body, sum := b[:len(b)-4], le.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return bad(len(body), fmt.Sprintf("%08x", got), "the CRC-32C is %08x", sum)
	}
	k := &Program{Pipeline: Pipeline(b[10]), Width: int(le.Uint32(b[12:])), Params: int(le.Uint32(b[20:])), Seed: le.Uint64(b[24:])}
	n := int(le.Uint32(b[16:]))
	switch {
	case le.Uint16(b[8:]) != version:
		return bad(8, fmt.Sprint(version), "the format version is %d", le.Uint16(b[8:]))
	case k.Pipeline < Emergency || k.Pipeline > Aggressive:
		return bad(10, "1 to 4", "the pipeline is %d", b[10])
	case b[11] != 0:
		return bad(11, "0", "a reserved byte is %d", b[11])
	case k.Width < 1 || k.Width > MaxWidth:
		return bad(12, fmt.Sprintf("1 to %d", MaxWidth), "the width is %d", k.Width)
	case n < 1 || n > MaxNodes:
		return bad(16, fmt.Sprintf("1 to %d", MaxNodes), "it has %d instructions", n)
	}
	copy(k.IR[:], b[32:])
	if k.Seed != le.Uint64(k.IR[:]) {
		return bad(24, "the first 8 bytes of the IR's digest", "the seed is %016x", k.Seed)
	}
	at := fixedHeader
	for _, s := range []*string{&k.Hardware, &k.Toolchain} {
		if at >= len(body) || at+1+int(body[at]) > len(body) {
			return bad(at, "", "it ends in a name")
		}
		*s = string(body[at+1 : at+1+int(body[at])])
		at += 1 + int(body[at])
	}
	if len(body)-at < n*codeSize {
		return bad(len(body), fmt.Sprintf("%d more", n*codeSize-(len(body)-at)), "it ends in the instructions")
	}
	return k, k.decodeCode(body, at, n)
}

// decodeCode reads n instructions at an offset, and the list behind them.
func (k *Program) decodeCode(body []byte, at, n int) error {
	le := binary.LittleEndian
	bad := func(at int, want, wrong string, args ...any) error {
		return &FormatError{at, fmt.Sprintf(wrong, args...), want}
	}
	list := at + n*codeSize
	inputs, params := 0, 0
	for i := range n {
		h := at + i*codeSize
		c := instruction{op: op(body[h]), fused: op(body[h+1]), out: int(le.Uint32(body[h+4:])), params: int(le.Uint32(body[h+8:])), constant: le.Uint32(body[h+12:])}
		count := int(body[h+2])
		switch {
		case c.op == 0 || c.op >= ops:
			return bad(h, fmt.Sprintf("1 to %d", ops-1), "the operation is %d", c.op)
		case c.fused != 0 && (!c.fused.activation() || c.op.activation()):
			return bad(h+1, "0, or an activation after what is none", "the fused activation is %d", c.fused)
		case body[h+3] != 0:
			return bad(h+3, "0", "a reserved byte is %d", body[h+3])
		case c.op == opMul && count != 2 || c.op == opAdd && (count < 2 || count > maxPorts) || c.op != opMul && c.op != opAdd && count != 1:
			return bad(h+2, "what "+c.op.String()+" takes", "it has %d inputs", count)
		case c.out < 1 || c.out > MaxWidth:
			return bad(h+4, fmt.Sprintf("1 to %d", MaxWidth), "the width of the result is %d", c.out)
		case int(le.Uint32(body[h+16:])) != inputs:
			return bad(h+16, fmt.Sprint(inputs), "its inputs begin at %d", le.Uint32(body[h+16:]))
		case c.op != opScale && c.op != opGain && c.op != opRetain && c.constant != 0:
			return bad(h+12, "0", "%v has the constant %d", c.op, c.constant)
		case (c.op == opScale || c.op == opGain) && c.constant&0x7f800000 == 0x7f800000:
			return bad(h+12, "a finite float32", "the constant is %08x", c.constant)
		}
		width := 0
		for port := range count {
			w := list + 2*(inputs+port)
			if w+2 > len(body) {
				return bad(len(body), "", "it ends in the list of inputs")
			}
			f := le.Uint16(body[w:])
			if int(f) > i {
				return bad(w, fmt.Sprintf("0 to %d", i), "instruction %d has input %d", i, f)
			}
			from := k.Width
			if f > 0 {
				from = k.code[f-1].out
			}
			if port > 0 && from != width || c.op != opDense && from != c.out {
				return bad(w, "equal widths", "instruction %d makes width %d of %d", i, c.out, from)
			}
			width = from
			c.from = append(c.from, f)
		}
		inputs += count
		p := c.op.parameters(width, c.out)
		if c.params != params {
			return bad(h+8, fmt.Sprint(params), "its parameters begin at %d", c.params)
		}
		if params += p; params > MaxParams {
			return bad(h+4, fmt.Sprintf("at most %d", MaxParams), "it has %d parameters", params)
		}
		k.code = append(k.code, c)
	}
	switch {
	case list+2*inputs != len(body):
		return bad(list+2*inputs, "the checksum", "%d more bytes", len(body)-list-2*inputs)
	case params != k.Params:
		return bad(20, fmt.Sprint(params), "it declares %d parameters", k.Params)
	case k.code[n-1].out != k.Width:
		return bad(at+(n-1)*codeSize+4, fmt.Sprint(k.Width), "the output has width %d", k.code[n-1].out)
	}
	return nil
}

// Footprint is what one program takes of a device for a batch: memory for
// parameters, their gradients and momentum, and for every value of a sample.
func (k *Program) Footprint(batch int) gpu.Footprint {
	f := gpu.Footprint{Passes: len(k.code), Bytes: int64(12 * k.Params)}
	values := int64(k.Width)
	for _, c := range k.code {
		in := int64(k.width(c.from[0]))
		switch c.op {
		case opDense:
			f.Flops += 2 * in * int64(c.out)
		case opRetain:
			f.Retained += int64(c.constant)
		default:
			f.Flops += int64(len(c.from) * c.out)
		}
		values += int64(c.out)
		if c.fused != 0 {
			f.Flops += int64(c.out)
		}
	}
	f.Bytes += 4 * values * int64(batch)
	return f
}

func (k *Program) width(from uint16) int {
	if from == 0 {
		return k.Width
	}
	return k.code[from-1].out
}

func (c *instruction) gain() float32 { return math.Float32frombits(c.constant) }
