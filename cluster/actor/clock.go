package actor

import (
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// Clock is a node's own sense of time.
type Clock interface {
	// Now is the wall clock of the node's host. It may be skewed, drift and
	// jump, backwards too; nothing but information may depend on it.
	Now() time.Time
	// Monotonic is the time since the host booted. It never goes back, and
	// may drift.
	Monotonic() time.Duration
	// SetTimer asks for a localv2.TimerFired{Name, Arg} after d, measured on
	// the node's own clock. Setting the same name and arg again replaces it.
	SetTimer(name string, arg int64, d time.Duration)
	// StopTimer cancels a timer; one that does not run is no error.
	StopTimer(name string, arg int64)
	// Work charges the time that a computation takes on the node's device: in
	// a simulation the handler suspends for it, so that crashes and mail fall
	// inside; live, time passes by itself.
	Work(w gpu.Work, units int)
}
