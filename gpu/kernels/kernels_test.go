package kernels_test

import (
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/kernels"
	"github.com/esper-sim/espersim/gpu/ptxtest"
)

// The PTX is made of the source that stands beside it.
func TestPTXIsOfItsSource(t *testing.T) {
	source, err := os.ReadFile("kernels.cu")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("SHA-256 %x,", sha256.Sum256(source)); !strings.Contains(kernels.PTX, want) {
		t.Error("kernels.cu has changed since kernels.ptx was made of it; run make ptx")
	}
}

// Every kernel of the table is in the PTX with its arguments, and there is no other;
// nothing is contracted, flushed or approximated.
func TestTable(t *testing.T) {
	entry := regexp.MustCompile(`(?s)\.visible \.entry esper_([a-z_]+)\((.*?)\)`)
	var names []string
	for _, m := range entry.FindAllStringSubmatch(kernels.PTX, -1) {
		k, ok := kernels.Find(m[1])
		if !ok {
			t.Errorf("%s is not in the table", m[1])
			continue
		}
		names = append(names, k.Name)
		for kind, want := range map[string]int{".param .u64": k.Views, ".param .u32": k.Counts, ".param .f32": k.Factors} {
			if got := strings.Count(m[2], kind); got != want {
				t.Errorf("%s takes %d of %s; the table says %d", k.Name, got, kind, want)
			}
		}
	}
	if n := strings.Count(kernels.PTX, ".entry"); len(names) != len(kernels.Table()) || n != len(names) {
		t.Errorf("%d of %d kernels are in the PTX: %v", len(names), n, names)
	}
	for i, b := range []byte(kernels.PTX) {
		if b > 126 {
			t.Fatalf("the PTX has the byte %d at %d, and is to be ASCII", b, i)
		}
	}
	for i, k := range kernels.Table() {
		if i < len(names) && names[i] != k.Name {
			t.Errorf("kernel %d is %s; the table says %s", i, names[i], k.Name)
		}
	}
	if bad := regexp.MustCompile(`fma|mad\.[a-z.]*f|\.ftz|\.approx|\b(add|sub|mul|div|sqrt|rcp)\.f32`).FindAllString(kernels.PTX, -1); bad != nil {
		t.Errorf("the PTX has %v", bad)
	}
}

// The exponential and the logarithm, as the score of logits sees them.
func TestScoreOfOneSample(t *testing.T) {
	m, err := ptxtest.Parse(kernels.PTX)
	if err != nil {
		t.Fatal(err)
	}
	l := gpu.Lowering{Buffers: []gpu.Buffer{{Len: 3}, {Len: 5}, {Len: 2}}, In: 0, Out: 1, Steps: []gpu.KernelStep{
		{Kernel: "score", Views: []gpu.View{{Buffer: 1}, {Buffer: 1, Offset: 2}, {Buffer: 1, Offset: 3}, {Buffer: 0}, {Buffer: 0, Offset: 2}}, Counts: []uint32{1, 2}, Factors: []float32{1}},
		{Kernel: "fill", Views: []gpu.View{{Buffer: 1, Offset: 4}}, Counts: []uint32{1}, Factors: []float32{9}},
	}}
	out := make([]float32, 5)
	if err := m.Run(&l, out, []float32{2, 1, 1}); err != nil {
		t.Fatal(err)
	}
	p := 1 / (1 + math.E)
	for i, want := range []float64{1 - p, p - 1, -math.Log(p), 0, 9} {
		if got := float64(out[i]); math.Abs(got-want) > 1e-6 {
			t.Errorf("number %d is %v; want %v", i, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	good := func() gpu.Lowering {
		return gpu.Lowering{Buffers: []gpu.Buffer{{Len: 4}, {Len: 4}}, In: 0, Out: 1, Steps: []gpu.KernelStep{
			{Kernel: "copy", Views: []gpu.View{{Buffer: 1}, {Buffer: 0}}, Counts: []uint32{4}}}}
	}
	l := good()
	if err := kernels.Check(&l); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*gpu.Lowering){
		"the input is buffer 2":      func(l *gpu.Lowering) { l.In = 2 },
		"the output is buffer -1":    func(l *gpu.Lowering) { l.Out = -1 },
		"3 on the host":              func(l *gpu.Lowering) { l.Buffers[0].Host = make([]float32, 3) },
		"no kernel":                  func(l *gpu.Lowering) { l.Steps[0].Kernel = "cpoy" },
		"0 factors; want 2, 1 and 0": func(l *gpu.Lowering) { l.Steps[0].Views = nil },
		"is buffer 7":                func(l *gpu.Lowering) { l.Steps[0].Views[0].Buffer = 7 },
		"begins at 5":                func(l *gpu.Lowering) { l.Steps[0].Views[0].Offset = 5 },
	} {
		l := good()
		spoil(&l)
		if err := kernels.Check(&l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
