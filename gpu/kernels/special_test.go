package kernels_test

import (
	"math"
	"testing"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/kernels"
	"github.com/esper-sim/espersim/gpu/ptxtest"
)

// special are numbers at which operations that look alike differ.
var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0.3, -0.7, 2, -2, 1e-39, -1e-39, 1e-45, 3e38, -3e38,
	float32(math.Inf(1)), float32(math.Inf(-1))}

// Each kernel of single numbers, at pairs of special ones, is what the trainer and the
// compiled kernels write for it in Go.
func TestSpecialValues(t *testing.T) {
	m, err := ptxtest.Parse(kernels.PTX)
	if err != nil {
		t.Fatal(err)
	}
	const alpha = 0.375
	zero := func(v float32, below bool) float32 {
		if below {
			return 0
		}
		return v
	}
	// Of views: what is written, then what is read; x and y are special pairs.
	for _, c := range []struct {
		kernel  string
		in      int // how many are read
		factors []float32
		want    func(old, x, y float32) float32
	}{
		{"relu", 1, nil, func(_, x, _ float32) float32 { return zero(x, !(x > 0)) }},
		{"floor_zero", 1, nil, func(_, x, _ float32) float32 { return zero(x, x < 0) }},
		{"floor_zero_back", 1, nil, func(old, x, _ float32) float32 { return zero(old, x <= 0) }},
		{"relu_back", 2, nil, func(old, x, y float32) float32 {
			if y > 0 {
				old += x
			}
			return old
		}},
		{"blend", 2, []float32{alpha}, func(_, x, y float32) float32 { return x + float32(alpha*y) }},
		{"blend", 2, []float32{0}, func(_, x, y float32) float32 { return x }},
		{"times", 1, []float32{alpha}, func(_, x, _ float32) float32 { return alpha * x }},
		{"add", 1, nil, func(old, x, _ float32) float32 { return old + x }},
		{"copy", 1, nil, func(_, x, _ float32) float32 { return x }},
		{"multiply", 2, nil, func(_, x, y float32) float32 { return x * y }},
		{"reciprocal", 1, nil, func(_, x, _ float32) float32 { return 1 / x }},
		{"leaky", 1, nil, func(_, x, _ float32) float32 {
			if x < 0 {
				x *= 0.125
			}
			return x
		}},
		{"clip", 1, nil, func(_, x, _ float32) float32 { return min(max(x, -1), 1) }},
		{"softsign", 1, nil, func(_, x, _ float32) float32 {
			if x < 0 {
				return x / (1 + -x)
			}
			return x / (1 + x)
		}},
		{"gate", 1, nil, func(_, x, _ float32) float32 { return min(max(float32(x*0.25)+0.5, 0), 1) }},
	} {
		n := len(special) * len(special)
		x, y := make([]float32, n), make([]float32, n)
		for i := range n {
			x[i], y[i] = special[i%len(special)], special[i/len(special)]
		}
		old := make([]float32, n)
		for i := range old {
			old[i] = special[(i+i/7)%len(special)]
		}
		s := gpu.KernelStep{Kernel: c.kernel, Views: []gpu.View{{Buffer: 0}, {Buffer: 1}, {Buffer: 2}}[:1+c.in], Counts: []uint32{uint32(n)}, Factors: c.factors}
		l := gpu.Lowering{Buffers: []gpu.Buffer{{Len: n}, {Len: n, Host: x}, {Len: n, Host: y}}, Steps: []gpu.KernelStep{s}}
		if err := kernels.Check(&l); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, n)
		if err := m.Run(&l, got, old); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			want := c.want(old[i], x[i], y[i])
			if none := want != want; none != (got[i] != got[i]) || !none && math.Float32bits(got[i]) != math.Float32bits(want) {
				t.Errorf("%s of %v, %v, %v is %v (%08x); want %v (%08x)", c.kernel, old[i], x[i], y[i], got[i], math.Float32bits(got[i]), want, math.Float32bits(want))
			}
		}
	}
}

// A gradient of 0 adds nothing: not 0 times infinity, and no sign to a zero.
func TestNoGradientAddsNothing(t *testing.T) {
	m, err := ptxtest.Parse(kernels.PTX)
	if err != nil {
		t.Fatal(err)
	}
	minus := float32(math.Copysign(0, -1))
	inf := float32(math.Inf(1))
	for _, s := range []gpu.KernelStep{
		{Kernel: "dense_back_weights", Views: []gpu.View{{}, {Buffer: 1}, {Buffer: 2}}, Counts: []uint32{1, 1, 1, 3}},
		{Kernel: "dense_back_bias", Views: []gpu.View{{}, {Buffer: 1}}, Counts: []uint32{1, 1, 3}},
		{Kernel: "dense_back_input", Views: []gpu.View{{}, {Buffer: 1}, {Buffer: 2}}, Counts: []uint32{1, 1, 3}},
	} {
		l := gpu.Lowering{Buffers: []gpu.Buffer{{Len: 1}, {Len: 3, Host: []float32{0, minus, 0}}, {Len: 3, Host: []float32{inf, 1, -inf}}}, Steps: []gpu.KernelStep{s}}
		got := make([]float32, 1)
		if err := m.Run(&l, got, []float32{minus}); err != nil {
			t.Fatal(err)
		}
		if math.Float32bits(got[0]) != math.Float32bits(minus) {
			t.Errorf("%s makes %v of -0", s.Kernel, got[0])
		}
	}
}
