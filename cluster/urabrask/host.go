package urabrask

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// hostName is what measurements without a device are said to be of.
const hostName = "cpu"

// hostSlowdown is how much longer than on the reference device a launch takes
// here (card 03).
const hostSlowdown = 5

// host runs programs in the process itself: what an emergency is validated on.
// It never fails, and has no memory of its own to run out of.
type host struct {
	cost    func(units int) time.Duration
	modules map[gpu.Module]hosted
	last    gpu.Module
	used    int64
}

// hosted is a program that was loaded.
type hosted struct {
	p     gpu.Program
	f     gpu.Footprint
	batch int
}

func newHost(cost func(units int) time.Duration) *host {
	return &host{cost: cost, modules: map[gpu.Module]hosted{}}
}

// Name implements gpu.Accelerator.
func (*host) Name() string { return hostName }

// Memory implements gpu.Accelerator.
func (h *host) Memory() (used, limit int64) { return h.used, 1 << 40 }

// Alloc implements gpu.Accelerator.
func (h *host) Alloc(bytes int64) (gpu.Slice, error) {
	h.used += bytes
	return 1, nil
}

// Free implements gpu.Accelerator.
func (*host) Free(gpu.Slice) error { return nil }

// Load implements gpu.Accelerator.
func (h *host) Load(p gpu.Program, batch int) (gpu.Module, error) {
	h.last++
	f := p.Footprint(batch)
	h.modules[h.last] = hosted{p, f, batch}
	h.used += f.Bytes
	return h.last, nil
}

// Unload implements gpu.Accelerator.
func (h *host) Unload(m gpu.Module) error {
	l, ok := h.modules[m]
	if !ok {
		return &gpu.Error{Op: "unload", Class: gpu.InvalidHandle, Why: fmt.Sprintf("there is no module %d", m)}
	}
	delete(h.modules, m)
	h.used -= l.f.Bytes - l.f.Retained
	return nil
}

// Run implements gpu.Accelerator.
func (h *host) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	l, ok := h.modules[m]
	if !ok {
		return gpu.Timing{}, &gpu.Error{Op: "run", Class: gpu.InvalidHandle, Why: fmt.Sprintf("there is no module %d", m)}
	}
	l.p.Run(out, in)
	units := max(hostSlowdown*(5*l.f.Passes+int(l.f.Flops*int64(l.batch)/1e6)), 1)
	return gpu.Timing{Ran: h.cost(units), Units: units}, nil
}

// Limit implements gpu.Accelerator: nothing hangs here.
func (*host) Limit(time.Duration) {}

// Rebuild implements gpu.Accelerator.
func (h *host) Rebuild() error {
	clear(h.modules)
	h.used = 0
	return nil
}

// Reset implements gpu.Accelerator.
func (h *host) Reset() error { return h.Rebuild() }
