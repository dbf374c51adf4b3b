package gpu_test

import (
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
