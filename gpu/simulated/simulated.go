// Package simulated is an accelerator that exists in memory only: it keeps
// account of its own memory, computes by the reference, and takes the time that
// a profile says, with a little noise that is keyed by the launch.
//
// The model of time: a pass over memory costs 5 µs, and a million floating-point
// operations 1 µs, on the reference device; a launch waits until the one before
// has ended.
package simulated

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// Config of a device.
type Config struct {
	Profile gpu.Device
	Memory  int64 // bytes; 0: 40 GiB
	// Noise is a keyed draw for the n-th launch; nil: no noise.
	Noise func(n uint64) uint64
	// Now is the monotonic time.
	Now func() time.Duration
	// Fault, if set, is asked before each operation; what it returns, if not nil,
	// is the operation's outcome, and nothing else happens.
	Fault func(op string) *gpu.Error
}

// Device is an accelerator of one process.
type Device struct {
	c        Config
	used     int64
	next     uint64
	slices   map[gpu.Slice]int64
	modules  map[gpu.Module]module
	launches uint64
	free     time.Duration // when the last launch ends
}

type module struct {
	p         gpu.Program
	footprint gpu.Footprint
	batch     int
}

// New makes a device with nothing on it.
func New(c Config) *Device {
	if c.Memory == 0 {
		c.Memory = 40 << 30
	}
	return &Device{c: c, slices: map[gpu.Slice]int64{}, modules: map[gpu.Module]module{}}
}

var _ gpu.Accelerator = (*Device)(nil)

// Name is the profile's.
func (d *Device) Name() string { return d.c.Profile.Name() }

// Memory is how much is taken, and how much there is.
func (d *Device) Memory() (used, limit int64) { return d.used, d.c.Memory }

func (d *Device) fault(op string) error {
	if d.c.Fault != nil {
		if e := d.c.Fault(op); e != nil {
			return e
		}
	}
	return nil
}

func (d *Device) take(op string, bytes int64) error {
	if bytes < 0 || bytes > d.c.Memory-d.used {
		return &gpu.Error{Op: op, Kind: gpu.OutOfMemory, Why: fmt.Sprintf("%d bytes of %d are free, %d wanted", d.c.Memory-d.used, d.c.Memory, bytes)}
	}
	d.used += bytes
	return nil
}

// Alloc implements gpu.Accelerator.
func (d *Device) Alloc(bytes int64) (gpu.Slice, error) {
	if err := d.fault("alloc"); err != nil {
		return 0, err
	}
	if err := d.take("alloc", bytes); err != nil {
		return 0, err
	}
	d.next++
	d.slices[gpu.Slice(d.next)] = bytes
	return gpu.Slice(d.next), nil
}

// Free implements gpu.Accelerator.
func (d *Device) Free(s gpu.Slice) error {
	if err := d.fault("free"); err != nil {
		return err
	}
	bytes, ok := d.slices[s]
	if !ok {
		return &gpu.Error{Op: "free", Kind: gpu.InvalidHandle, Why: fmt.Sprintf("there is no slice %d", s)}
	}
	delete(d.slices, s)
	d.used -= bytes
	return nil
}

// Load implements gpu.Accelerator.
func (d *Device) Load(p gpu.Program, batch int) (gpu.Module, error) {
	if err := d.fault("load"); err != nil {
		return 0, err
	}
	f := p.Footprint(batch)
	if err := d.take("load", f.Bytes+f.Retained); err != nil {
		return 0, err
	}
	d.next++
	d.modules[gpu.Module(d.next)] = module{p, f, batch}
	return gpu.Module(d.next), nil
}

// Unload implements gpu.Accelerator. What the program retains stays taken.
func (d *Device) Unload(m gpu.Module) error {
	if err := d.fault("unload"); err != nil {
		return err
	}
	l, ok := d.modules[m]
	if !ok {
		return &gpu.Error{Op: "unload", Kind: gpu.InvalidHandle, Why: fmt.Sprintf("there is no module %d", m)}
	}
	delete(d.modules, m)
	d.used -= l.footprint.Bytes
	return nil
}

// Run implements gpu.Accelerator.
func (d *Device) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	if err := d.fault("run"); err != nil {
		return gpu.Timing{}, err
	}
	l, ok := d.modules[m]
	if !ok {
		return gpu.Timing{}, &gpu.Error{Op: "run", Kind: gpu.InvalidHandle, Why: fmt.Sprintf("there is no module %d", m)}
	}
	l.p.Run(out, in)
	d.launches++
	units := float64(5*l.footprint.Passes) + float64(l.footprint.Flops*int64(l.batch))/1e6
	if d.c.Noise != nil {
		// Within 5 % either way.
		units *= 0.95 + 0.1*float64(d.c.Noise(d.launches)>>11)/(1<<53)
	}
	t := gpu.Timing{Units: max(int(units+0.5), 1)}
	t.Ran = d.c.Profile.Cost(gpu.Launch, t.Units)
	now := d.c.Now()
	t.Queued = max(d.free-now, 0)
	d.free = now + t.Queued + t.Ran
	if t.Ran > 0 {
		t.Units += int(t.Queued * time.Duration(t.Units) / t.Ran)
	}
	return t, nil
}

// Reset implements gpu.Accelerator.
func (d *Device) Reset() error {
	if err := d.fault("reset"); err != nil {
		return err
	}
	d.used = 0
	clear(d.slices)
	clear(d.modules)
	return nil
}
