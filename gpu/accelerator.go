package gpu

import (
	"errors"
	"fmt"
	"time"
)

// An Accelerator holds memory and runs programs for one process. It computes at
// once and says how long that takes; the process charges it, by
// Clock.Work(Launch, timing.Units).
//
// What a process held is given back when it ends: a restart finds an empty
// device. An error is an *Error; [Advice] says what is to be done about it.
type Accelerator interface {
	// Name is the model, such as "h100".
	Name() string
	// Memory is how many bytes are taken, and how many there are.
	Memory() (used, limit int64)
	// Alloc takes memory, and Free gives it back.
	Alloc(bytes int64) (Slice, error)
	Free(s Slice) error
	// Load puts a program into the device's memory, and Unload removes it.
	Load(p Program, batch int) (Module, error)
	Unload(m Module) error
	// Run computes a loaded program for the rows of in. Launches wait for each
	// other.
	Run(m Module, out, in []float32) (Timing, error)
	// Limit bounds how long one launch may take: one that takes longer fails with
	// Hung, and takes that long. 0, as at first: none. Nothing else ends a kernel
	// that hangs: there is no watchdog for computation.
	Limit(d time.Duration)
	// Rebuild destroys the context and makes another. Everything that the process
	// held is given back, also what programs retained.
	Rebuild() error
	// Reset resets the device: what every process had on it is lost, and each needs
	// to rebuild its context.
	Reset() error
}

// Slice is a part of an accelerator's memory.
type Slice uint64

// Module is a program in an accelerator's memory.
type Module uint64

// A Program is what an accelerator runs.
type Program interface {
	Footprint(batch int) Footprint
	// Run computes the result for the rows of in. It is the reference that every
	// device agrees with in each bit.
	Run(out, in []float32)
}

// Footprint is what a program takes of a device.
type Footprint struct {
	Passes   int   // over memory
	Flops    int64 // a sample
	Bytes    int64 // of memory, loaded for a batch
	Retained int64 // that unloading does not give back
}

// Timing is how long a launch takes.
type Timing struct {
	Queued time.Duration // behind earlier launches
	Ran    time.Duration
	Units  int // to charge for both
}

// Error is what an accelerator says when it refuses.
type Error struct {
	Op    string // alloc, free, load, unload, run, rebuild, reset
	Class Class
	Xid   int // 0: none was reported
	Code  int // CUDA's result; 0: none
	Why   string
}

// Error implements error.
func (e *Error) Error() string {
	s := "accelerator: " + e.Op + ": " + e.Class.String()
	if e.Xid != 0 {
		s += fmt.Sprintf(" (Xid %d)", e.Xid)
	}
	if e.Code != 0 {
		s += fmt.Sprintf(" (CUDA %d)", e.Code)
	}
	if e.Why != "" {
		s += ": " + e.Why
	}
	return s
}

// Advice is what a host does next about an error: the class's action. What is no
// accelerator's error is the caller's bug.
func Advice(err error) Action {
	var e *Error
	if errors.As(err, &e) {
		return e.Class.Trait().Action
	}
	return GiveUp
}

// A Resident program keeps tensors in the device's memory between launches, where
// a bit may flip.
type Resident interface {
	Program
	Tensors() [][]float32
}

// A Collective program talks to other devices.
type Collective interface {
	Program
	// Peers is how many devices take part.
	Peers() int
}
