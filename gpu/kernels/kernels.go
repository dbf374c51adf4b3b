// Package kernels has what programs are lowered to (gpu.Lowering): kernels for
// NVIDIA devices as PTX, made of kernels.cu, and the table of what each takes.
//
// Every kernel computes with the operations, and every sum in the order, that the
// trainer and the compiled kernels compute with on the processor. No operation is
// contracted, none flushes what is denormal, and division and root are rounded to
// the nearest, so that results are equal in each bit.
package kernels

import (
	_ "embed" // for the PTX
	"fmt"

	"github.com/esper-sim/espersim/gpu"
)

// PTX is the kernels' text, as the driver takes it.
//
//go:embed kernels.ptx
var PTX string

// Prefix is what the names of the PTX's entries begin with.
const Prefix = "esper_"

// A Kernel is a row of the table: what it takes.
type Kernel struct {
	Name                   string
	Views, Counts, Factors int
}

// Table lists the kernels, in the order of kernels.cu.
func Table() []Kernel {
	return []Kernel{
		{"dense", 4, 3, 0},
		{"dense_back_weights", 3, 4, 0},
		{"dense_back_bias", 2, 3, 0},
		{"dense_back_input", 3, 3, 0},
		{"relu", 2, 1, 0},
		{"relu_back", 3, 1, 0},
		{"floor_zero", 2, 1, 0},
		{"floor_zero_back", 2, 1, 0},
		{"blend", 3, 1, 1},
		{"times", 2, 1, 1},
		{"add", 2, 1, 0},
		{"copy", 2, 1, 0},
		{"fill", 1, 1, 1},
		{"sgd", 3, 1, 2},
		{"score", 5, 2, 1},
		{"total", 3, 2, 1},
		{"scale_columns", 3, 2, 0},
		{"multiply", 3, 1, 0},
		{"reciprocal", 2, 1, 0},
		{"leaky", 2, 1, 0},
		{"clip", 2, 1, 0},
		{"softsign", 2, 1, 0},
		{"gate", 2, 1, 0},
		{"norm", 2, 2, 0},
	}
}

// Find is the row with a name.
func Find(name string) (Kernel, bool) {
	for _, k := range Table() {
		if k.Name == name {
			return k, true
		}
	}
	return Kernel{}, false
}

// Check says what is wrong with a lowering: a kernel that is not there, arguments
// that are not its own, or a view outside of its buffer.
func Check(l *gpu.Lowering) error {
	within := func(what string, b int) error {
		if b < 0 || b >= len(l.Buffers) {
			return fmt.Errorf("lowering: %s is buffer %d; want 0 to %d", what, b, len(l.Buffers)-1)
		}
		return nil
	}
	if err := within("the input", l.In); err != nil {
		return err
	}
	if err := within("the output", l.Out); err != nil {
		return err
	}
	for i, b := range l.Buffers {
		if b.Len < 0 || b.Host != nil && len(b.Host) != b.Len {
			return fmt.Errorf("lowering: buffer %d has %d numbers, and %d on the host; want as many", i, b.Len, len(b.Host))
		}
	}
	for i, s := range l.Steps {
		k, ok := Find(s.Kernel)
		if !ok {
			return fmt.Errorf("lowering: step %d is %q, which is no kernel", i, s.Kernel)
		}
		if len(s.Views) != k.Views || len(s.Counts) != k.Counts || len(s.Factors) != k.Factors {
			return fmt.Errorf("lowering: step %d gives %s %d views, %d counts and %d factors; want %d, %d and %d",
				i, k.Name, len(s.Views), len(s.Counts), len(s.Factors), k.Views, k.Counts, k.Factors)
		}
		for _, v := range s.Views {
			if err := within(fmt.Sprintf("a view of step %d", i), v.Buffer); err != nil {
				return err
			}
			if v.Offset < 0 || v.Offset > l.Buffers[v.Buffer].Len {
				return fmt.Errorf("lowering: step %d begins at %d of a buffer of %d", i, v.Offset, l.Buffers[v.Buffer].Len)
			}
		}
	}
	return nil
}
