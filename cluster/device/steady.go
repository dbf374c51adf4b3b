package device

import (
	"errors"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/gpu"
)

// ErrLost says that what the process had on the device is gone: it was made usable
// again, or another one is used.
var ErrLost = errors.New("what was on the accelerator is lost")

// Steady is the device that is used as one who has much on it wants it: what is over
// with a second call is made again here; what costs the context is done about, and
// the error is ErrLost. Other errors are those of Do. The results of a program that is
// Verified are.
func (g *Guard) Steady() gpu.Accelerator {
	return &steady{g, g.era, map[gpu.Module]Verified{}}
}

// A Verified program says what is wrong with the result of its last run, as it is
// read; nil: nothing. Its launch is made again then.
type Verified interface {
	gpu.Program
	Verify(out []float32) error
}

type steady struct {
	g        *Guard
	era      uint64
	verified map[gpu.Module]Verified
}

func (s *steady) do(op func(a gpu.Accelerator) error) error {
	for {
		a := s.g.Accel()
		if a == nil {
			return s.g.none()
		}
		if s.era != s.g.era {
			return ErrLost
		}
		err := op(a)
		if err == nil {
			s.g.Worked()
			return nil
		}
		if err := s.g.Failed(err); err != nil {
			return err
		}
	}
}

// Name implements gpu.Accelerator.
func (s *steady) Name() string { return s.g.Name() }

// Memory implements gpu.Accelerator.
func (s *steady) Memory() (used, limit int64) { return s.g.Memory() }

// Alloc implements gpu.Accelerator.
func (s *steady) Alloc(bytes int64) (x gpu.Slice, err error) {
	err = s.do(func(a gpu.Accelerator) (err error) { x, err = a.Alloc(bytes); return err })
	return x, err
}

// Free implements gpu.Accelerator.
func (s *steady) Free(x gpu.Slice) error {
	return s.do(func(a gpu.Accelerator) error { return a.Free(x) })
}

// Load implements gpu.Accelerator.
func (s *steady) Load(p gpu.Program, batch int) (m gpu.Module, err error) {
	err = s.do(func(a gpu.Accelerator) (err error) { m, err = a.Load(p, batch); return err })
	if v, ok := p.(Verified); ok && err == nil {
		s.verified[m] = v
	}
	return m, err
}

// Unload implements gpu.Accelerator.
func (s *steady) Unload(m gpu.Module) error {
	delete(s.verified, m)
	return s.do(func(a gpu.Accelerator) error { return a.Unload(m) })
}

// Run implements gpu.Accelerator.
func (s *steady) Run(m gpu.Module, out, in []float32) (t gpu.Timing, err error) {
	err = s.do(func(a gpu.Accelerator) (err error) {
		if t, err = a.Run(m, out, in); err == nil && s.verified[m] != nil {
			err = s.verified[m].Verify(out)
		}
		return err
	})
	return t, err
}

// Limit implements gpu.Accelerator.
func (s *steady) Limit(d time.Duration) {
	if a := s.g.Accel(); a != nil && s.era == s.g.era {
		a.Limit(d)
	}
}

// Rebuild implements gpu.Accelerator: it empties the context. One that is lost is
// made anew already.
func (s *steady) Rebuild() error {
	err := s.do(func(a gpu.Accelerator) error { return a.Rebuild() })
	var exit *actor.Exit
	if err != nil && !errors.As(err, &exit) && s.g.use >= 0 && s.era != s.g.era {
		return nil
	}
	return err
}

// Reset implements gpu.Accelerator.
func (s *steady) Reset() error {
	return s.do(func(a gpu.Accelerator) error { return a.Reset() })
}
