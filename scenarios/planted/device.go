package planted

import (
	"errors"
	"fmt"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/gpu"
)

// crookedDevice is an accelerator of which a process sees something else than what
// it did.
type crookedDevice struct {
	gpu.Accelerator
	Health  gpu.Monitor
	run     func(t gpu.Timing, err error) (gpu.Timing, error)
	alloc   func(s gpu.Slice, err error) (gpu.Slice, error)
	rebuild func() error
	deaf    bool // the driver's reports are not read
	blind   bool // sums are made of what is read, and not of what was computed

	programs map[gpu.Module]gpu.Program
}

// Load implements gpu.Accelerator.
func (d *crookedDevice) Load(p gpu.Program, batch int) (gpu.Module, error) {
	m, err := d.Accelerator.Load(p, batch)
	if d.programs == nil {
		d.programs = map[gpu.Module]gpu.Program{}
	}
	d.programs[m] = p
	return m, err
}

// Run implements gpu.Accelerator.
func (d *crookedDevice) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	t, err := d.Accelerator.Run(m, out, in)
	if p, ok := d.programs[m].(interface{ Leave([]float32) }); ok && d.blind {
		p.Leave(out)
	}
	if d.run == nil {
		return t, err
	}
	return d.run(t, err)
}

// Alloc implements gpu.Accelerator.
func (d *crookedDevice) Alloc(bytes int64) (gpu.Slice, error) {
	s, err := d.Accelerator.Alloc(bytes)
	if d.alloc == nil {
		return s, err
	}
	return d.alloc(s, err)
}

// Rebuild implements gpu.Accelerator.
func (d *crookedDevice) Rebuild() error {
	if d.rebuild == nil {
		return d.Accelerator.Rebuild()
	}
	return d.rebuild()
}

type deafMonitor struct{ gpu.Monitor }

func (deafMonitor) Events(after uint64) ([]gpu.Event, uint64, error) { return nil, after, nil }

// onDevice is a bug in how a process deals with its accelerators.
func onDevice(bend func(*crookedDevice)) *hooks {
	return &hooks{device: func(d actor.Device) actor.Device {
		c := &crookedDevice{Accelerator: d.Accel, Health: d.Health}
		bend(c)
		if c.deaf {
			d.Health = deafMonitor{d.Health}
		}
		d.Accel = c
		return d
	}}
}

// taking has launches taken for good that failed as the class.
func taking(class gpu.Class) *hooks {
	return onDevice(func(d *crookedDevice) {
		d.run = func(t gpu.Timing, err error) (gpu.Timing, error) {
			var e *gpu.Error
			if errors.As(err, &e) && e.Class == class {
				err = nil
			}
			return t, err
		}
		d.blind = true
	})
}

// taken is the bug of Kasmina that takes such launches for good.
func taken(class gpu.Class) planted {
	return planted{id: "G1", role: "kasmina", bug: fmt.Sprintf("takes a launch for good that failed (%v)", class), file: "gpu/" + class.String() + ".yaml",
		make: func() *hooks { return taking(class) }}
}
