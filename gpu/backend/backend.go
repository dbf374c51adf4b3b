// Package backend opens a device by the name of what drives it: nvml, which watches,
// cuda, which runs programs, or simulated, which does both and needs nothing.
package backend

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/cuda"
	"github.com/esper-sim/espersim/gpu/nvml"
	"github.com/esper-sim/espersim/gpu/simulated"
)

// The names.
const (
	NVML      = "nvml"
	CUDA      = "cuda"
	Simulated = "simulated"
)

// Names lists them.
func Names() []string { return []string{NVML, CUDA, Simulated} }

// Config says which device, and where its libraries are.
type Config struct {
	Backend string
	Library string // of the backend; empty: as the dynamic linker finds it
	Monitor string // NVML's, beside CUDA; empty: the same
	Index   int    // of the device, from 0
	// Profile is the simulated device's, and Fault what goes wrong with it; nil: the
	// reference device, and nothing.
	Profile gpu.Device
	Fault   *simulated.Fault
}

// plain is an error whose text is what is missing, and nothing else.
type plain struct{ e *gpu.Error }

// Error implements error.
func (p plain) Error() string { return p.e.Why }

// Unwrap is the error as it was.
func (p plain) Unwrap() error { return p.e }

// plainly says in one sentence why a backend cannot be opened.
func plainly(err error) error {
	var e *gpu.Error
	if errors.As(err, &e) && e.Class == gpu.NotInitialized && e.Why != "" {
		return plain{e}
	}
	return err
}

// Info is what is known of a device.
type Info struct {
	Backend  string       `json:"backend"`
	Identity gpu.Identity `json:"identity"`
	// Sample is its state, if the backend watches and it answers; Failed says why not.
	Sample  *gpu.Sample `json:"sample,omitempty"`
	Healthy *bool       `json:"healthy,omitempty"`
	Failed  string      `json:"failed,omitempty"`
}

func (i *Info) look(m gpu.Monitor) {
	s, err := m.Sample()
	if err != nil {
		i.Failed = err.Error()
		return
	}
	healthy := s.Healthy()
	i.Sample, i.Healthy = &s, &healthy
}

// List asks a backend for the host's devices: without a name NVML, and CUDA where that
// is not there. An error says what is missing.
func List(c Config) ([]Info, error) {
	switch c.Backend {
	case "":
		if c.Library != "" {
			return nil, fmt.Errorf("a library without its backend; want %s or %s", NVML, CUDA)
		}
		list, watched := List(Config{Backend: NVML})
		if watched == nil {
			return list, nil
		}
		list, err := List(Config{Backend: CUDA})
		if err != nil {
			return nil, fmt.Errorf("no device was found\n  %s: %w\n  %s: %w", NVML, watched, CUDA, err)
		}
		return list, nil
	case NVML:
		return listNVML(c.Library)
	case CUDA:
		return listCUDA(c.Library)
	case Simulated:
		d, err := Open(c)
		if err != nil {
			return nil, err
		}
		info := Info{Backend: Simulated, Identity: d.Identity}
		info.look(d.Monitor)
		return []Info{info}, nil
	}
	return nil, unknown(c.Backend)
}

func unknown(name string) error {
	return fmt.Errorf("there is no backend %q; want %s", name, strings.Join(Names(), ", "))
}

func listNVML(library string) (list []Info, err error) {
	d, err := nvml.Open(nvml.Config{Library: library})
	if err != nil {
		return nil, plainly(err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for i := range d.Devices() {
		m, err := d.Device(i)
		if err != nil {
			return nil, err
		}
		info := Info{Backend: NVML}
		if info.Identity, err = m.Identity(); err != nil {
			// A device that is lost does not say who it is; the others do.
			info.Identity.Index, info.Failed = i, err.Error()
		} else {
			info.look(m)
		}
		list = append(list, info)
	}
	return list, nil
}

func listCUDA(library string) (list []Info, err error) {
	d, err := cuda.Open(library)
	if err != nil {
		return nil, plainly(err)
	}
	for i := range d.Devices() {
		info := Info{Backend: CUDA}
		if info.Identity, err = d.Identity(i); err != nil {
			info.Identity.Index, info.Failed = i, err.Error()
		}
		list = append(list, info)
	}
	return list, nil
}

// Device is one that runs programs.
type Device struct {
	Backend     string
	Identity    gpu.Identity
	Accelerator gpu.Accelerator
	Monitor     gpu.Monitor // nil: nothing watches it
	Unwatched   string      // why not
	Now         func() time.Duration
	Close       func() error
}

// Open opens a device to run programs on.
func Open(c Config) (*Device, error) {
	switch c.Backend {
	case Simulated:
		return openSimulated(c)
	case CUDA:
		return openCUDA(c)
	case NVML:
		return nil, fmt.Errorf("%s watches devices and runs nothing; want %s or %s", NVML, CUDA, Simulated)
	}
	return nil, unknown(c.Backend)
}

// openCUDA opens a context, and NVML's monitor of the same device if there is one.
func openCUDA(c Config) (*Device, error) {
	driver, err := cuda.Open(c.Library)
	if err != nil {
		return nil, plainly(err)
	}
	x, err := driver.Context(c.Index)
	if err != nil {
		return nil, plainly(err)
	}
	id, err := driver.Identity(c.Index)
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	began := time.Now()
	d := &Device{Backend: CUDA, Identity: id, Accelerator: x, Now: func() time.Duration { return time.Since(began) }, Close: x.Close}
	watcher, err := nvml.Open(nvml.Config{Library: c.Monitor, Now: d.Now})
	if err != nil {
		d.Unwatched = plainly(err).Error()
		return d, nil
	}
	d.Close = func() error { return errors.Join(x.Close(), watcher.Close()) }
	for i := range watcher.Devices() {
		m, err := watcher.Device(i)
		if err != nil {
			d.Unwatched = err.Error()
			continue
		}
		// The two count devices in different orders: the UUID says which is which.
		if seen, err := m.Identity(); err == nil && strings.EqualFold(seen.UUID, id.UUID) {
			d.Monitor, d.Identity, d.Unwatched = m, seen, ""
			return d, nil
		}
	}
	if d.Unwatched == "" {
		d.Unwatched = "NVML knows no device " + id.UUID
	}
	return d, nil
}

// running is a simulated context whose time passes by what its launches take.
type running struct {
	*simulated.Context
	now *time.Duration
}

// Run implements gpu.Accelerator.
func (r running) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	t, err := r.Context.Run(m, out, in)
	*r.now += t.Queued + t.Ran
	return t, err
}

func openSimulated(c Config) (*Device, error) {
	if c.Index != 0 {
		return nil, fmt.Errorf("there is no simulated device %d; want 0", c.Index)
	}
	profile := c.Profile
	if profile == nil {
		reference, err := gpu.ByName("")
		if err != nil {
			return nil, err
		}
		profile = reference
	}
	now := new(time.Duration)
	chip := simulated.NewChip(simulated.Config{Profile: profile, Memory: 80 << 30, Now: func() time.Duration { return *now }})
	if c.Fault != nil {
		if _, err := chip.Inject(*c.Fault); err != nil {
			return nil, err
		}
	}
	id, err := chip.Identity()
	if err != nil {
		return nil, err
	}
	x := chip.Open(simulated.Process{Hold: func(t time.Duration) { *now += t }})
	return &Device{Backend: Simulated, Identity: id, Accelerator: running{x, now}, Monitor: chip, Now: func() time.Duration { return *now },
		Close: func() error { x.Close(); return nil }}, nil
}
