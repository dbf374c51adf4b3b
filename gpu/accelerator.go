package gpu

import (
	"fmt"
	"time"
)

// An Accelerator holds memory and runs programs for one process. It computes at
// once and says how long that takes; the process charges it, by
// Clock.Work(Launch, timing.Units).
//
// What a process held is given back when it ends: a restart finds an empty
// device.
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
	// Reset gives back everything that the process holds, also what programs
	// retained: as if the process had ended.
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

// ErrorKind is what an accelerator refuses an operation for.
type ErrorKind uint8

// The kinds of errors.
const (
	OutOfMemory   ErrorKind = iota + 1
	InvalidHandle           // a slice or module that is not there
	LaunchFailed            // this launch; the next may succeed
	Uncorrectable           // an error of the memory: what is loaded is not to be trusted
	DeviceLost              // nothing works any more
)

var errorNames = [...]string{"", "out of memory", "invalid handle", "launch failed", "uncorrectable memory error", "device lost"}

// String is the kind in words.
func (k ErrorKind) String() string {
	if int(k) < len(errorNames) && k > 0 {
		return errorNames[k]
	}
	return fmt.Sprintf("error(%d)", uint8(k))
}

// Error is what an accelerator says when it refuses.
type Error struct {
	Op   string // alloc, free, load, unload, run
	Kind ErrorKind
	Why  string
}

// Error implements error.
func (e *Error) Error() string {
	s := "accelerator: " + e.Op + ": " + e.Kind.String()
	if e.Why != "" {
		s += ": " + e.Why
	}
	return s
}
