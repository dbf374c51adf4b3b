package gpu_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// The boundary of an epoch fits its 18 ms on the reference device, and slower
// devices take the design's multiples.
func TestProfiles(t *testing.T) {
	h100, err := gpu.ByName("")
	if err != nil {
		t.Fatal(err)
	}
	boundary := h100.Cost(gpu.AssembleState, 4) + h100.Cost(gpu.Inference, 1) + h100.Cost(gpu.Apply, 1)
	if boundary > 18*time.Millisecond {
		t.Errorf("the boundary takes %v", boundary)
	}
	for model, times := range map[string]float64{"a100": 1.2, "v100": 1.8, "cpu": 5} {
		p, err := gpu.ByName(model)
		if err != nil {
			t.Fatal(err)
		}
		want := time.Duration(float64(h100.Cost(gpu.TrainStep, 8)) * times)
		if got := p.Cost(gpu.TrainStep, 8); got < want-time.Microsecond || got > want+time.Microsecond {
			t.Errorf("%s takes %v, want %v", model, got, want)
		}
	}
	if _, err := gpu.ByName("abacus"); err == nil {
		t.Error("an unknown device")
	}
	if c := h100.Cost(gpu.Work(200), 1); c != 0 {
		t.Errorf("unknown work costs %v", c)
	}
	if a, b := h100.Cost(gpu.Validate, -5), h100.Cost(gpu.Validate, 0); a != b {
		t.Errorf("negative units cost %v, none %v", a, b)
	}
}

func ExampleByName() {
	p, err := gpu.ByName("a100")
	fmt.Println(p.Name(), p.Cost(gpu.Inference, 1), gpu.Inference, err)
	// Output: a100 9.6ms inference <nil>
}

// Every row of the table is whole, no signal belongs to two of them, and each is
// found by its name and by its signals.
func TestTraits(t *testing.T) {
	xids, results := map[int]gpu.Class{}, map[int]gpu.Class{}
	for _, row := range gpu.Traits() {
		if row.Name == "" || row.Scope == 0 || row.Action == 0 || row.Summary == "" {
			t.Errorf("%+v", row)
		}
		if c, ok := gpu.ByClassName(row.Name); !ok || c != row.Class || row.Class.String() != row.Name {
			t.Errorf("%s is found as %v", row.Name, c)
		}
		for _, x := range row.Xids {
			if other, twice := xids[x]; twice {
				t.Errorf("Xid %d is of %v and %v", x, other, row.Class)
			}
			xids[x] = row.Class
			if c, ok := gpu.OfXid(x); !ok || c != row.Class {
				t.Errorf("Xid %d is %v", x, c)
			}
		}
		for _, r := range row.CUDA {
			if other, twice := results[r]; twice {
				t.Errorf("CUDA %d is of %v and %v", r, other, row.Class)
			}
			results[r] = row.Class
			if c := gpu.OfCUDA(r); c != row.Class {
				t.Errorf("CUDA %d is %v", r, c)
			}
		}
	}
	if _, ok := gpu.OfXid(1); ok {
		t.Error("an Xid that is in no row is known")
	}
	if c := gpu.OfCUDA(999); c != gpu.Sticky || gpu.Advice(&gpu.Error{Class: c}) != gpu.RebuildContext {
		t.Errorf("a result that is in no row is %v", c)
	}
	if gpu.Advice(errors.New("another's")) != gpu.GiveUp {
		t.Error("what is no accelerator's error is retried")
	}
}
