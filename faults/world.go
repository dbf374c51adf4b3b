package faults

import (
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// World is what a fault can do. A simulation provides it; every name was
// checked before. An error is a bug of the harness.
type World interface {
	CrashNode(node string, restart time.Duration) (bool, error)
	CrashHost(host string, restart time.Duration) (bool, error)
	CrashAtOperation(node string, k int, host bool, restart time.Duration, fired func()) error
	CrashAtSend(node string, k int, payload string, restart time.Duration, fired func()) error
	// UpgradeNode restarts a process as one of another version of the
	// contracts: for good, or until RevertNode.
	UpgradeNode(node, schema string, restart time.Duration, passing bool) error
	// RevertNode restarts a process as one of the version that it had for good.
	RevertNode(node string, restart time.Duration) error
	StartNode(node string) error
	Up(node string) bool
	PauseNode(node string) error
	ResumeNode(node string) error
	SlowNode(node string, factor float64) error
	SkewClock(host string, by time.Duration) error
	DriftClock(host string, ppm int64) error
	// AddLink puts an effect on links; the number is for RemoveLink, which
	// returns how often it fired. Effects: cut, drop, delay, reorder,
	// duplicate, corrupt.
	AddLink(effect string, f Fault) (int, error)
	RemoveLink(id int) uint64
	// AddDisk puts an effect on a host's disk; effects are the names of
	// package sim/disk's kinds.
	AddDisk(host, effect string, f Fault) (int, error)
	RemoveDisk(host string, id int) uint64
	// AddGPU puts a fault of a class of package gpu on a host's accelerator.
	AddGPU(host string, class gpu.Class, f Fault) ([]int, error)
	RemoveGPU(host string, ids []int) uint64
	// AddSite turns on a Probe.Sometimes site of a node.
	AddSite(node, site string, rate float64) (int, error)
	RemoveSite(id int) uint64
	HostsOf(rack string) []string
	HostOf(node string) string
	// After runs f later in virtual time.
	After(d time.Duration, f func())
}

// Active is a fault that has been injected.
type Active struct {
	fault Fault
	fired uint64
	ended bool
	end   func() uint64 // returns how often it fired while it held
}

// Fired is how often the fault changed something, up to End.
func (a *Active) Fired() uint64 { return a.fired }

// End heals the fault. It may be called again, without effect.
func (a *Active) End() {
	if a.ended {
		return
	}
	a.ended = true
	if a.end != nil {
		a.fired += a.end()
	}
}

// Inject makes the fault happen in w now. It holds until Active.End.
func (f Fault) Inject(w World) (*Active, error) {
	k := Lookup(f.Kind)
	return k.inject(k, f, w)
}
