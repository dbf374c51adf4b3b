package kernel_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/kernels"
	"github.com/esper-sim/espersim/gpu/ptxtest"
)

var _ gpu.Lowerable = (*kernel.Blended)(nil)

// What every pipeline makes of a graph is computed by the PTX as by the processor, in
// each bit: also what is denormal, infinite, or a zero with a sign.
func TestLoweredPrograms(t *testing.T) {
	m, err := ptxtest.Parse(kernels.PTX)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		ir := design(t)
		for i, n := range ir.Nodes { // the reciprocal, which design does not draw
			if n.Op == "retain" && i%2 == 0 {
				n.Op = "recip"
			}
		}
		p := kernel.Pipeline(rapid.IntRange(int(kernel.Emergency), int(kernel.Aggressive)).Draw(t, "pipeline"))
		prog, err := kernel.Compile(ir, p, "h100", kernel.Toolchain)
		if err != nil {
			t.Fatal(err)
		}
		alpha := rapid.SampledFrom([]float32{0, 0.25, 1}).Draw(t, "alpha")
		b, err := kernel.Blend("k", prog.Encode(), width, alpha)
		if err != nil {
			t.Fatal(err)
		}
		batch := rapid.IntRange(1, 7).Draw(t, "batch")
		in := values(batch*width, 0)
		factor := rapid.SampledFrom([]float32{1, 1e-20, 1e-39, 1e12, 0}).Draw(t, "factor")
		for i := range in {
			in[i] *= factor
		}
		want, got := make([]float32, len(in)), make([]float32, len(in))
		b.Run(want, in)
		l, err := b.Lower(batch)
		if err != nil {
			t.Fatal(err)
		}
		if err := kernels.Check(&l); err != nil {
			t.Fatal(err)
		}
		if err := m.Run(&l, got, in); err != nil {
			t.Fatal(err)
		}
		for _, s := range l.Steps {
			seen[s.Kernel]++
		}
		for i := range want {
			none := want[i] != want[i] // which bits it has is not promised
			if none && got[i] == got[i] || !none && math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("number %d is %v (%08x); want %v (%08x)", i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
			}
		}
	})
	for _, name := range []string{"dense", "scale_columns", "norm", "times", "reciprocal", "floor_zero", "leaky", "clip", "softsign", "gate", "add", "multiply", "copy", "blend"} {
		if seen[name] == 0 {
			t.Errorf("%s was never launched", name)
		}
	}
}

func TestBlendSaysWhatIsWrong(t *testing.T) {
	if _, err := kernel.Blend("k", []byte("no kernel"), width, 1); err == nil {
		t.Error("no binary")
	}
	prog, err := kernel.Compile(small(), kernel.Fast, "h100", "t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kernel.Blend("k", prog.Encode(), prog.Width+1, 1); err == nil {
		t.Error("another width")
	}
	b, err := kernel.Blend("k", prog.Encode(), prog.Width, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lower(0); err == nil {
		t.Error("no rows")
	}
}
