package ptxtest

import (
	"fmt"
	"math"
	"strings"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/kernels"
)

// known are the instructions that there are. Of those on floats only the ones that
// round to the nearest, and once, are among them.
var known = map[string]bool{
	"mov.u32": true, "mov.u64": true, "mov.b32": true, "mov.f32": true, "cvta.to.global.u64": true,
	"ld.param.u32": true, "ld.param.u64": true, "ld.param.f32": true,
	"ld.global.f32": true, "ld.global.u32": true, "st.global.f32": true, "st.global.u32": true,
	"add.s32": true, "sub.s32": true, "mul.lo.s32": true, "mad.lo.s32": true, "div.u32": true, "rem.u32": true,
	"add.s64": true, "mul.lo.s64": true, "mul.wide.u32": true, "cvt.u64.u32": true,
	"and.b32": true, "or.b32": true, "shl.b32": true, "shr.u32": true, "shl.b64": true,
	"setp.eq.s32": true, "setp.ne.s32": true, "setp.ge.u32": true, "setp.lt.u32": true,
	"setp.eq.f32": true, "setp.lt.f32": true, "setp.gt.f32": true, "setp.neu.f32": true, "setp.leu.f32": true, "setp.gtu.f32": true,
	"selp.f32": true, "selp.b32": true,
	"add.rn.f32": true, "sub.rn.f32": true, "mul.rn.f32": true, "div.rn.f32": true, "rcp.rn.f32": true, "sqrt.rn.f32": true,
	"neg.f32": true, "max.f32": true,
	"cvt.rn.f32.s32": true, "cvt.rn.f32.u32": true, "cvt.rzi.s32.f32": true, "cvt.rzi.u32.f32": true,
	"bra": true, "bra.uni": true, "ret": true,
}

// poison is what stands in memory that nothing was copied to: no number.
var poison = math.Float32frombits(0x7fc0dead)

// blockSize is how many threads a block of a launch has: few, so that many blocks
// are seen.
const blockSize = 5

// memory is the buffers of a lowering: the upper half of an address is a buffer's
// number plus 1, the lower half a place in it.
type memory [][]float32

func at(v gpu.View) uint64 { return uint64(v.Buffer+1)<<32 + uint64(v.Offset)*4 }

func (m memory) place(a uint64) (*float32, error) {
	b, i := int(a>>32)-1, int(a&0xffffffff)
	if b < 0 || b >= len(m) || i%4 != 0 || i/4 >= len(m[b]) {
		return nil, fmt.Errorf("the address %#x is in no buffer", a)
	}
	return &m[b][i/4], nil
}

// Run computes a lowering for the rows of in. An error names the kernel, the thread
// and the line.
func (m *Module) Run(l *gpu.Lowering, out, in []float32) error {
	mem := make(memory, len(l.Buffers))
	for i, b := range l.Buffers {
		mem[i] = make([]float32, b.Len)
		if b.Host != nil {
			copy(mem[i], b.Host)
			continue
		}
		for j := range mem[i] {
			mem[i][j] = poison
		}
	}
	if len(in) != len(mem[l.In]) || len(out) != len(mem[l.Out]) {
		return fmt.Errorf("ptx: %d numbers of %d, %d of %d", len(in), len(mem[l.In]), len(out), len(mem[l.Out]))
	}
	copy(mem[l.In], in)
	for _, s := range l.Steps {
		if err := m.step(mem, &s); err != nil {
			return err
		}
	}
	copy(out, mem[l.Out])
	for i, b := range l.Buffers {
		if b.Written {
			copy(b.Host, mem[i])
		}
	}
	return nil
}

func (m *Module) step(mem memory, s *gpu.KernelStep) error {
	e := m.entries[kernels.Prefix+s.Kernel]
	if e == nil {
		return fmt.Errorf("ptx: there is no entry %s", s.Kernel)
	}
	var args []uint64
	var types []string
	for _, v := range s.Views {
		args, types = append(args, at(v)), append(types, "u64")
	}
	for _, c := range s.Counts {
		args, types = append(args, uint64(c)), append(types, "u32")
	}
	for _, f := range s.Factors {
		args, types = append(args, uint64(math.Float32bits(f))), append(types, "f32")
	}
	if got, want := strings.Join(types, " "), strings.Join(e.params, " "); got != want {
		return fmt.Errorf("ptx: %s is given %s; it takes %s", s.Kernel, got, want)
	}
	blocks := (s.Counts[0] + blockSize - 1) / blockSize
	registers := make([]uint64, len(e.registers))
	for t := range blocks * blockSize { // also those that are one too many
		t := thread{e: e, mem: mem, args: args, r: registers, block: t / blockSize, index: t % blockSize}
		if err := t.run(); err != nil {
			return err
		}
	}
	return nil
}

type thread struct {
	e            *entry
	mem          memory
	args         []uint64
	r            []uint64
	block, index uint32
	bad          error
}

// longest is how many instructions a thread may execute.
const longest = 1 << 20

func (t *thread) run() error {
	for pc, n := 0, 0; pc < len(t.e.code); n++ {
		in := &t.e.code[pc]
		pc++
		if in.guard >= 0 && (t.r[in.guard] != 0) == in.negate {
			continue
		}
		switch in.op {
		case "ret":
			return nil
		case "bra", "bra.uni":
			pc = t.e.labels[in.args[0].symbol]
		default:
			t.execute(in)
		}
		if n > longest {
			t.bad = fmt.Errorf("it does not end")
		}
		if t.bad != nil {
			return fmt.Errorf("ptx: %s, block %d, thread %d, line %d, %s: %w", t.e.name, t.block, t.index, in.line, in.op, t.bad)
		}
	}
	return fmt.Errorf("ptx: %s ends without ret", t.e.name)
}

func (t *thread) value(a *operand) uint64 {
	switch a.kind {
	case register:
		return t.r[a.n]
	case immediate:
		return a.value
	case special:
		switch a.symbol {
		case "%ctaid.x":
			return uint64(t.block)
		case "%ntid.x":
			return blockSize
		}
		return uint64(t.index)
	case parameter:
		return t.args[a.n]
	case address:
		return t.r[a.n] + a.value
	}
	t.bad = fmt.Errorf("%s is no value", a.symbol)
	return 0
}

func boolean(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (t *thread) execute(in *instruction) {
	if strings.HasPrefix(in.op, "st.") {
		p, err := t.mem.place(t.value(&in.args[0]))
		if err != nil {
			t.bad = err
			return
		}
		*p = math.Float32frombits(uint32(t.value(&in.args[1])))
		return
	}
	var v [3]uint64
	for i := range in.args[1:] {
		v[i] = t.value(&in.args[i+1])
	}
	a, b := uint32(v[0]), uint32(v[1])
	x, y := math.Float32frombits(a), math.Float32frombits(b)
	float := func(f float32) uint64 { return uint64(math.Float32bits(f)) }
	var result uint64
	switch in.op {
	case "mov.u32", "mov.u64", "mov.b32", "mov.f32", "cvta.to.global.u64", "ld.param.u32", "ld.param.u64", "ld.param.f32":
		result = v[0]
	case "ld.global.f32", "ld.global.u32":
		p, err := t.mem.place(v[0])
		if err != nil {
			t.bad = err
			return
		}
		result = float(*p)
	case "add.s32":
		result = uint64(a + b)
	case "sub.s32":
		result = uint64(a - b)
	case "mul.lo.s32":
		result = uint64(a * b)
	case "mad.lo.s32":
		result = uint64(a*b + uint32(v[2]))
	case "div.u32", "rem.u32":
		if b == 0 {
			t.bad = fmt.Errorf("division by 0")
			return
		}
		result = uint64(a / b)
		if in.op == "rem.u32" {
			result = uint64(a % b)
		}
	case "add.s64":
		result = v[0] + v[1]
	case "mul.lo.s64":
		result = v[0] * v[1]
	case "mul.wide.u32":
		result = uint64(a) * uint64(b)
	case "cvt.u64.u32":
		result = uint64(a)
	case "and.b32":
		result = uint64(a & b)
	case "or.b32":
		result = uint64(a | b)
	case "shl.b32":
		result = uint64(a << b)
	case "shr.u32":
		result = uint64(a >> b)
	case "shl.b64":
		result = v[0] << b
	case "setp.eq.s32":
		result = boolean(a == b)
	case "setp.ne.s32":
		result = boolean(a != b)
	case "setp.ge.u32":
		result = boolean(a >= b)
	case "setp.lt.u32":
		result = boolean(a < b)
	case "setp.eq.f32":
		result = boolean(x == y)
	case "setp.lt.f32":
		result = boolean(x < y)
	case "setp.gt.f32":
		result = boolean(x > y)
	case "setp.neu.f32": // u: also where one is no number
		result = boolean(x != y)
	case "setp.leu.f32":
		result = boolean(!(x > y))
	case "setp.gtu.f32":
		result = boolean(!(x <= y))
	case "selp.f32", "selp.b32":
		if result = v[0]; v[2] == 0 {
			result = v[1]
		}
	case "add.rn.f32":
		result = float(x + y)
	case "sub.rn.f32":
		result = float(x - y)
	case "mul.rn.f32":
		result = float(x * y)
	case "div.rn.f32":
		result = float(x / y)
	case "rcp.rn.f32":
		result = float(1 / x)
	case "sqrt.rn.f32":
		result = float(float32(math.Sqrt(float64(x))))
	case "neg.f32":
		result = uint64(a ^ 1<<31)
	case "max.f32": // of a number and none the number
		switch {
		case x != x:
			result = float(y)
		case y != y:
			result = float(x)
		default:
			result = float(max(x, y))
		}
	case "cvt.rn.f32.s32":
		result = float(float32(int32(a)))
	case "cvt.rn.f32.u32":
		result = float(float32(a))
	case "cvt.rzi.s32.f32":
		result = uint64(uint32(toward0(x, math.MinInt32, math.MaxInt32)))
	case "cvt.rzi.u32.f32":
		result = uint64(uint32(toward0(x, 0, math.MaxUint32)))
	default:
		t.bad = fmt.Errorf("it is known, and not executed")
		return
	}
	t.r[in.args[0].n] = result
}

// toward0 converts as a device does: what does not fit becomes the nearest that
// does, and what is no number 0.
func toward0(x float32, least, most int64) int64 {
	switch f := float64(x); {
	case f != f:
		return 0
	case f <= float64(least):
		return least
	case f >= float64(most):
		return most
	}
	return int64(x)
}
