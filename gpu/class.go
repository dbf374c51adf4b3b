package gpu

import (
	"fmt"
	"slices"
)

// A Class is a way in which a GPU fails, named for what a host can do about it
// rather than for what broke. The classes and their signals are those of NVIDIA's
// Xid catalogue and of the CUDA driver API; which recovery they take was measured
// on H100s and A100s at Delta (Cui et al., SC '25) and in Llama 3's report.
type Class uint8

// The classes.
const (
	OutOfMemory       Class = iota + 1 // this allocation; the next may succeed
	InvalidHandle                      // a slice or module that is not there
	LaunchFailed                       // this launch; the next may succeed
	AppFault                           // illegal access or instruction: the context is lost, and the process with it
	Sticky                             // an error that stays: the context is unusable
	MemoryContained                    // an uncorrectable error of the memory that hit this context only
	MemoryUncontained                  // one that is not contained: nothing on the device is to be trusted
	RemapPending                       // a row is to be replaced, at the next reset
	RemapFailed                        // no spare row is left
	OffBus                             // the device has fallen off the bus
	LinkFailed                         // NVLink: what passes between devices fails
	Firmware                           // the GSP does not answer: calls hang, and then fail
	Hung                               // a launch that never ends
	Throttled                          // slower, for heat or power
	SilentCorruption                   // a wrong result, and no signal
	FalseHealth                        // a health check that lies
	NotInitialized                     // no driver, no device, or none that may be used
	classEnd
)

// An Action is what a host does next about a failure.
type Action uint8

// The actions, from the least to the greatest.
const (
	Retry          Action = iota + 1 // the same call again
	FreeMemory                       // give memory back, and the same call again
	Wait                             // it passes
	RebuildContext                   // destroy the context, make one, and load everything again
	RestartProcess                   // only a new process gets a context
	ResetDevice                      // no process keeps its context
	RestartNode                      // the host, with all its devices
	Replace                          // the device is not to be used again
	Compare                          // no signal tells: only another computation of the same does
	GiveUp                           // a bug of the caller's
)

var actionNames = [...]string{"?", "retry", "free memory and retry", "wait", "rebuild the context", "restart the process",
	"reset the device", "restart the node", "replace the device", "compare with another computation", "mend the program"}

// String is the action in words.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// Scope is how far a failure reaches.
type Scope uint8

// The scopes.
const (
	OneCall Scope = iota + 1
	OneContext
	OneDevice
	OneNode
	Nothing // no call fails
)

var scopeNames = [...]string{"?", "the call", "the context", "the device", "the node", "no call"}

// String is the scope in words.
func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return fmt.Sprintf("scope(%d)", uint8(s))
}

// A Trait is a row of the table of classes.
type Trait struct {
	Class   Class
	Name    string // in scenario files and listings, such as "off-bus"
	Xids    []int  // lines of the kernel's log that announce it
	CUDA    []int  // results of the driver API
	Scope   Scope  // what fails
	Action  Action // what cures it
	Summary string
}

// Traits lists every class, in order.
func Traits() []Trait {
	list := make([]Trait, 0, classEnd-1)
	for c := range classEnd - 1 {
		list = append(list, (c + 1).Trait())
	}
	return list
}

var traits = [classEnd]Trait{
	OutOfMemory:       {Name: "out-of-memory", CUDA: []int{2}, Scope: OneCall, Action: FreeMemory, Summary: "the device's memory does not suffice"},
	InvalidHandle:     {Name: "invalid-handle", CUDA: []int{400}, Scope: OneCall, Action: GiveUp, Summary: "a slice or module that is not there"},
	LaunchFailed:      {Name: "launch-failed", Scope: OneCall, Action: Retry, Summary: "a launch fails, and the next may succeed"},
	AppFault:          {Name: "app-fault", Xids: []int{13, 31, 43}, Scope: OneContext, Action: RestartProcess, Summary: "an illegal access or instruction: the process gets no other context"},
	Sticky:            {Name: "sticky", CUDA: []int{214, 220, 700, 719}, Scope: OneContext, Action: RebuildContext, Summary: "an error that every later call returns, too"},
	MemoryContained:   {Name: "ecc-contained", Xids: []int{94}, Scope: OneContext, Action: RebuildContext, Summary: "an uncorrectable error of the memory of one context"},
	MemoryUncontained: {Name: "ecc-uncontained", Xids: []int{48, 95}, Scope: OneDevice, Action: ResetDevice, Summary: "an uncorrectable error that is not contained: all contexts of the device are lost"},
	RemapPending:      {Name: "remap-pending", Xids: []int{63}, Scope: Nothing, Action: ResetDevice, Summary: "a row of the memory is replaced at the next reset"},
	RemapFailed:       {Name: "remap-failed", Xids: []int{64}, Scope: OneDevice, Action: Replace, Summary: "a row of the memory is bad, and no spare one is left"},
	OffBus:            {Name: "off-bus", Xids: []int{79}, CUDA: []int{46, 101}, Scope: OneDevice, Action: RestartNode, Summary: "the device has fallen off the bus: every call fails"},
	LinkFailed:        {Name: "nvlink", Xids: []int{74, 144, 145, 146, 147, 148, 149, 150}, Scope: OneDevice, Action: ResetDevice, Summary: "what passes between devices fails"},
	Firmware:          {Name: "gsp", Xids: []int{119, 120}, Scope: OneDevice, Action: ResetDevice, Summary: "the firmware does not answer: calls hang, and then fail"},
	Hung:              {Name: "hung-kernel", CUDA: []int{702}, Scope: OneContext, Action: RebuildContext, Summary: "a launch never ends, and nothing but a time-out of the caller's says so"},
	Throttled:         {Name: "throttle", Scope: Nothing, Action: Wait, Summary: "everything is slower, for heat or power"},
	SilentCorruption:  {Name: "silent-corruption", Scope: Nothing, Action: Compare, Summary: "a bit of a result is wrong, and nothing says so"},
	FalseHealth:       {Name: "health-lies", Scope: Nothing, Action: Compare, Summary: "the health check calls a well device sick, or a sick one well"},
	NotInitialized:    {Name: "not-initialized", CUDA: []int{3, 100}, Scope: OneNode, Action: GiveUp, Summary: "there is no driver, or no device"},
}

// Trait is the class's row of the table.
func (c Class) Trait() Trait {
	if c == 0 || c >= classEnd {
		return Trait{Class: c, Name: fmt.Sprintf("class(%d)", uint8(c)), Scope: OneDevice, Action: Replace}
	}
	t := traits[c]
	t.Class = c
	return t
}

// String is the class's name.
func (c Class) String() string { return c.Trait().Name }

// ByClassName finds a class by its name.
func ByClassName(name string) (Class, bool) {
	for c := range traits {
		if c > 0 && traits[c].Name == name {
			return Class(c), true
		}
	}
	return 0, false
}

// OfXid is the class that an Xid of the kernel's log announces. Those that are in
// no row of the table are not known.
func OfXid(xid int) (Class, bool) { return find(xid, func(t *Trait) []int { return t.Xids }) }

// OfCUDA is the class of a result of the driver API, 0 (success) excepted. A result
// that is in no row counts as sticky: a caller that rebuilds its context has done no
// harm, and one that goes on may have.
func OfCUDA(result int) Class {
	if c, ok := find(result, func(t *Trait) []int { return t.CUDA }); ok {
		return c
	}
	return Sticky
}

func find(code int, of func(*Trait) []int) (Class, bool) {
	for c := range traits {
		if c > 0 && slices.Contains(of(&traits[c]), code) {
			return Class(c), true
		}
	}
	return 0, false
}
