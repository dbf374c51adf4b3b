package backend_test

import (
	"strings"
	"testing"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/backend"
)

// Time passes on the simulated device by what its launches take: none waits for the
// one before for ever.
func TestSimulatedTimePasses(t *testing.T) {
	d, err := backend.Open(backend.Config{Backend: backend.Simulated})
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Accelerator.Load(nothing{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		before := d.Now()
		timing, err := d.Accelerator.Run(m, nil, nil)
		if err != nil || timing.Queued != 0 || d.Now() != before+timing.Ran || timing.Ran == 0 {
			t.Errorf("%+v, %v to %v, %v", timing, before, d.Now(), err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := backend.Open(backend.Config{Backend: backend.Simulated, Index: 1}); err == nil {
		t.Error("there is a second simulated device")
	}
}

type nothing struct{}

func (nothing) Footprint(int) gpu.Footprint { return gpu.Footprint{Passes: 1} }
func (nothing) Run(out, in []float32)       {}

func TestParseFault(t *testing.T) {
	f, err := backend.ParseFault("sticky@3")
	if err != nil || f.Class != gpu.Sticky || f.Skip != 2 || f.Limit != 1 {
		t.Errorf("%+v, %v", f, err)
	}
	for _, bad := range []string{"", "flu", "sticky@", "sticky@0", "sticky@-1", "not-initialized", "invalid-handle"} {
		if f, err := backend.ParseFault(bad); err == nil || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%q: %+v, %v", bad, f, err)
		}
	}
}
