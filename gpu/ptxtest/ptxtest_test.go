package ptxtest_test

import (
	"strings"
	"testing"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/ptxtest"
)

const head = ".visible .entry esper_f(\n.param .u64 f_param_0,\n.param .u32 f_param_1\n)\n{\n"

// What is not understood, contracts or approximates is refused, with its line.
func TestRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"hello": "line 1",
		head + "fma.rn.f32 %f1, %f2, %f3, %f4;\n}": "line 6: the instruction fma.rn.f32 is not known",
		head + "add.f32 %f1, %f2, %f3;\n}":         "add.f32 is not known",
		head + "bra NOWHERE;\n}":                   "there is no label NOWHERE",
		head + "ld.param.u32 %r1, [g_param_0];\n}": "there is no parameter g_param_0",
		head + "mov.f32 %f1, 0fXYZ;\n}":            "0fXYZ is no float",
	} {
		if _, err := ptxtest.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// An access outside of a buffer, a loop without an end and arguments of another kind
// are errors, not results.
func TestChecks(t *testing.T) {
	load := "ld.param.u64 %rd1, [f_param_0];\n"
	for body, want := range map[string]string{
		load + "ld.global.f32 %f1, [%rd1+8];\nret;\n}":   "in no buffer",
		load + "st.global.f32 [%rd1+-4], %f1;\nret;\n}":  "in no buffer",
		"L1:\nbra.uni L1;\n}":                            "does not end",
		"mov.u32 %r1, 0;\n}":                             "ends without ret",
		"mov.u32 %r1, 0;\ndiv.u32 %r2, 5, %r1;\nret;\n}": "division by 0",
	} {
		m, err := ptxtest.Parse(head + body)
		if err != nil {
			t.Fatal(err)
		}
		l := gpu.Lowering{Buffers: []gpu.Buffer{{Len: 2}}, Steps: []gpu.KernelStep{{Kernel: "f", Views: []gpu.View{{}}, Counts: []uint32{1}}}}
		if err := m.Run(&l, make([]float32, 2), make([]float32, 2)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
		l.Steps[0].Factors = []float32{1}
		if err := m.Run(&l, make([]float32, 2), make([]float32, 2)); err == nil || !strings.Contains(err.Error(), "it takes u64 u32") {
			t.Errorf("%v", err)
		}
	}
}
