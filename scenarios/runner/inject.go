package runner

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// world gives faults their hold on a simulation.
type world struct {
	w     *sim.World
	s     *scenarios.Scenario
	taint uint64 // of the step that is being injected
	calls uint64
	// versions are those that nodes have been upgraded to for good.
	versions map[string]wire.Version
}

var _ faults.World = (*world)(nil)

func (w *world) CrashNode(node string, restart time.Duration) (bool, error) {
	return w.w.CrashNode(node, restart, w.taint)
}

func (w *world) CrashHost(host string, restart time.Duration) (bool, error) {
	return w.w.CrashHost(host, restart, w.taint)
}

func (w *world) CrashAtOperation(node string, k int, host bool, restart time.Duration, fired func()) error {
	return w.w.CrashAtOperation(node, k, host, restart, w.taint, fired)
}

func (w *world) CrashAtSend(node string, k int, payload string, restart time.Duration, fired func()) error {
	return w.w.CrashAtSend(node, k, payload, restart, w.taint, fired)
}

func (w *world) UpgradeNode(node, schema string, restart time.Duration, passing bool) error {
	v, err := wire.ParseVersion(schema)
	if err != nil {
		return err
	}
	if !passing {
		if w.versions == nil {
			w.versions = map[string]wire.Version{}
		}
		w.versions[node] = v
	}
	return w.w.UpgradeNode(node, v, restart, w.taint)
}

func (w *world) RevertNode(node string, restart time.Duration) error {
	v, ok := w.versions[node]
	if !ok {
		v = wire.Newest
		for _, n := range w.s.Cluster.Nodes {
			if n.Name == node && n.Schema != "" {
				var err error
				if v, err = wire.ParseVersion(string(n.Schema)); err != nil {
					return err
				}
			}
		}
	}
	return w.w.UpgradeNode(node, v, restart, w.taint)
}

func (w *world) StartNode(node string) error  { return w.w.StartNode(node) }
func (w *world) Up(node string) bool          { return w.w.Up(node) }
func (w *world) PauseNode(node string) error  { return w.w.PauseNode(node, w.taint) }
func (w *world) ResumeNode(node string) error { return w.w.ResumeNode(node) }

func (w *world) SlowNode(node string, factor float64) error {
	return w.w.SlowNode(node, factor, w.taint)
}

func (w *world) SkewClock(host string, by time.Duration) error {
	return w.w.SkewClock(host, by, w.taint)
}

func (w *world) DriftClock(host string, ppm int64) error {
	return w.w.DriftClock(host, ppm, w.taint)
}

var linkEffects = map[string]sim.LinkEffect{
	"cut": sim.LinkCut, "drop": sim.LinkDrop, "delay": sim.LinkDelay,
	"reorder": sim.LinkReorder, "duplicate": sim.LinkDuplicate, "corrupt": sim.LinkCorrupt,
}

// AddLink puts one rule on each direction. A fault that is not one-way is two
// rules under one number.
func (w *world) AddLink(effect string, f faults.Fault) (int, error) {
	e, ok := linkEffects[effect]
	if !ok {
		return 0, fmt.Errorf("unknown effect %q on links", effect)
	}
	rule := sim.LinkFault{Effect: e, From: f.On, To: f.Peers, Type: f.Type, Rate: f.Rate, Delay: f.Delay, Count: f.Count, Taint: w.taint}
	return w.w.AddLinkFault(rule, !f.OneWay)
}

func (w *world) RemoveLink(id int) uint64 { return w.w.RemoveLinkFault(id) }

func (w *world) AddDisk(host, effect string, f faults.Fault) (int, error) {
	d, err := w.w.Disk(host)
	if err != nil {
		return 0, err
	}
	kind, err := disk.ParseKind(effect)
	if err != nil {
		return 0, err
	}
	w.w.Touch(host, w.taint)
	rule := disk.Fault{
		Kind: kind, Path: f.Path, From: uint64(f.Skip), Rate: f.Rate, Limit: uint64(f.Count),
		Off: f.Offset, Delay: f.Delay,
	}
	if f.Size > 0 {
		if kind == disk.TornWrite {
			rule.Unit = f.Size
		} else {
			rule.End = f.Offset + f.Size
		}
	}
	return d.Inject(rule)
}

func (w *world) RemoveDisk(host string, id int) uint64 {
	d, err := w.w.Disk(host)
	if err != nil {
		return 0
	}
	d.Lift(id)
	return d.Fired(id)
}

// AddGPU puts the fault on one device of the host, or on each.
func (w *world) AddGPU(host string, class gpu.Class, f faults.Fault) ([]int, error) {
	chips, err := w.w.Chips(host)
	if err != nil {
		return nil, err
	}
	if f.Device > len(chips) {
		return nil, fmt.Errorf("host %q has no device %d; it has %d", host, f.Device, len(chips))
	}
	ids := make([]int, len(chips))
	w.w.Touch(host, w.taint)
	for i, c := range chips {
		if f.Device != 0 && f.Device != i+1 {
			continue
		}
		if ids[i], err = c.Inject(simulated.Fault{Class: class, Skip: uint64(f.Skip), Limit: uint64(f.Count), Rate: f.Rate, Factor: f.Factor, Xid: f.Xid}); err != nil {
			return ids, err
		}
	}
	return ids, nil
}

// RemoveGPU ends it. A device that only replacing mends is replaced.
func (w *world) RemoveGPU(host string, ids []int) (fired uint64) {
	chips, err := w.w.Chips(host)
	if err != nil {
		return 0
	}
	for i, id := range ids {
		if id == 0 {
			continue
		}
		c := chips[i]
		c.Lift(id)
		fired += c.Fired(id)
		if c.Ill().Trait().Action == gpu.Replace && c.Ill() != 0 {
			c.Swap()
		}
	}
	return fired
}

func (w *world) AddSite(node, site string, rate float64) (int, error) {
	return w.w.AddSite(node, site, rate, w.taint)
}

func (w *world) RemoveSite(id int) uint64 { return w.w.RemoveSite(id) }

func (w *world) HostsOf(rack string) (hosts []string) {
	for _, h := range w.s.Cluster.Hosts {
		if h.Rack == rack {
			hosts = append(hosts, h.Name)
		}
	}
	return hosts
}

func (w *world) HostOf(node string) string {
	for _, n := range w.s.Cluster.Nodes {
		if n.Name == node {
			return n.Host
		}
	}
	return ""
}

// After is keyed by the order in which faults ask, which is the plan's. What a
// fault does later, such as a link that flaps, belongs to the fault's own step
// and not to the one that began last.
func (w *world) After(d time.Duration, f func()) {
	w.calls++
	taint := w.taint
	w.w.At(w.w.Now()+d, trace.Mix(17, w.calls), func() {
		outer := w.taint
		w.taint = taint
		f()
		w.taint = outer
	})
}

// FaultBegan implements faults.Observer: what is injected from here on belongs
// to the step.
func (w *world) FaultBegan(text string, step int) {
	w.taint = 1 << (uint(step) % 64)
	w.w.FaultBegan(text, step)
}

// FaultEnded implements faults.Observer.
func (w *world) FaultEnded(text string, step int) { w.w.FaultEnded(text, step) }

// Hands is what faults need of a run: the world that they change, and somebody who
// writes down when they begin and end.
type Hands interface {
	faults.World
	faults.Observer
}

// Hold gives faults their hold on a world that somebody else has built, of the
// hosts and nodes that the scenario names.
func Hold(w *sim.World, s *scenarios.Scenario) Hands { return &world{w: w, s: s} }
