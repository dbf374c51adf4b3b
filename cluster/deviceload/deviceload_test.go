package deviceload_test

import (
	"testing"

	"github.com/esper-sim/espersim/cluster/deviceload"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/kernels"
	"github.com/esper-sim/espersim/gpu/simulated"
)

func items(t *testing.T) []deviceload.Item {
	t.Helper()
	list, err := deviceload.Items(3)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Every program can be lowered in its size, and each kernel that there is belongs to
// one of them, but for what adds whole layers.
func TestItemsAreLowered(t *testing.T) {
	seen := map[string]bool{"add": true, "multiply": true, "reciprocal": true}
	for _, it := range items(t) {
		l, err := it.Program.Lower(it.Batch)
		if err != nil {
			t.Fatal(err)
		}
		if err := kernels.Check(&l); err != nil {
			t.Fatal(err)
		}
		if in := it.Input(1); l.Buffers[l.In].Len != len(in) || l.Buffers[l.Out].Len != it.Out {
			t.Errorf("%s takes %d and gives %d", it.Program.ProgramName(), len(in), it.Out)
		}
		for _, s := range l.Steps {
			seen[s.Kernel] = true
		}
	}
	for _, k := range kernels.Table() {
		if !seen[k.Name] {
			t.Errorf("no program has the kernel %s", k.Name)
		}
	}
}

// What can be cured is, and the launch that failed is made again; what cannot ends the
// run.
func TestRunCures(t *testing.T) {
	profile, err := gpu.ByName("h100")
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range []gpu.Class{gpu.LaunchFailed, gpu.OutOfMemory, gpu.Sticky, gpu.MemoryContained, gpu.MemoryUncontained, gpu.Hung} {
		chip := simulated.NewChip(simulated.Config{Profile: profile})
		if _, err := chip.Inject(simulated.Fault{Class: class, Skip: 3, Limit: 1}); err != nil {
			t.Fatal(err)
		}
		r, err := deviceload.Run(chip.Open(simulated.Process{}), chip, items(t), 2)
		if err != nil || len(r.Failed) != 1 || r.Failed[0].Class != class || r.Launches != 2*r.Programs || r.Samples != r.Programs {
			t.Errorf("%v: %+v, %v", class, r, err)
		}
	}
	for _, class := range []gpu.Class{gpu.OffBus, gpu.AppFault, gpu.RemapFailed} {
		chip := simulated.NewChip(simulated.Config{Profile: profile})
		if _, err := chip.Inject(simulated.Fault{Class: class, Skip: 3}); err != nil {
			t.Fatal(err)
		}
		if _, err := deviceload.Run(chip.Open(simulated.Process{}), chip, items(t), 2); gpu.Advice(err) != class.Trait().Action {
			t.Errorf("%v: %v", class, err)
		}
	}
}
