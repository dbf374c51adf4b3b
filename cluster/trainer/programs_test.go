package trainer_test

import (
	"testing"

	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/kernels"
	"github.com/esper-sim/espersim/gpu/ptxtest"
)

// The parts of a step are the processor's in each bit, too, and those that learn
// leave the same behind.
func TestPartsAsPTX(t *testing.T) {
	ptx, err := ptxtest.Parse(kernels.PTX)
	if err != nil {
		t.Fatal(err)
	}
	type program interface {
		gpu.Lowerable
		ProgramName() string
	}
	make2 := func() []program {
		product, err := trainer.NewProduct(7, 5)
		if err != nil {
			t.Fatal(err)
		}
		k, err := trainer.NewKernel("k", 6, 3)
		if err != nil {
			t.Fatal(err)
		}
		residual, err := trainer.NewResidual(k, 0.75)
		if err != nil {
			t.Fatal(err)
		}
		descent, err := trainer.NewDescent(33, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		return []program{product, residual, descent}
	}
	ours, theirs := make2(), make2()
	for i, p := range ours {
		batch := 4
		if i == 2 {
			batch = 1
		}
		for round := range 3 {
			l, err := p.Lower(batch)
			if err != nil {
				t.Fatal(err)
			}
			if err := kernels.Check(&l); err != nil {
				t.Fatal(err)
			}
			in := make([]float32, l.Buffers[l.In].Len)
			for j := range in {
				in[j] = float32((j*31+round*17)%19)*0.11 - 1
			}
			got, want := make([]float32, l.Buffers[l.Out].Len), make([]float32, l.Buffers[l.Out].Len)
			theirs[i].Run(want, in)
			if err := ptx.Run(&l, got, in); err != nil {
				t.Fatal(err)
			}
			if err := sameBits(got, want); err != nil {
				t.Errorf("%s: %v", p.ProgramName(), err)
			}
			if r, ok := p.(gpu.Resident); ok {
				for n, tensor := range theirs[i].(gpu.Resident).Tensors() {
					if err := sameBits(r.Tensors()[n], tensor); err != nil {
						t.Errorf("%s, tensor %d: %v", p.ProgramName(), n, err)
					}
				}
			}
		}
	}
	for _, wrong := range []error{second(trainer.NewProduct(0, 1)), second(trainer.NewDescent(0, 1)), second(ours[2].Lower(2))} {
		if wrong == nil {
			t.Error("what cannot be is made")
		}
	}
}

func second[T any](_ T, err error) error { return err }
