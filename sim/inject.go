package sim

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu/simulated"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// CrashNode kills a node. It starts again after restart; negative: it stays
// down until StartNode. A node that is down already is left alone, and false
// is returned.
func (w *World) CrashNode(id string, restart time.Duration, taint uint64) (bool, error) {
	n, err := w.lookup(actor.ID(id))
	if err != nil {
		return false, err
	}
	n.taint |= taint
	if n.state == down {
		return false, nil
	}
	w.crashNode(n, restart)
	return true, nil
}

// UpgradeNode replaces a node's program by one that speaks another version of
// the contracts: the process ends, and the new one starts after restart. A
// node that is down starts with the new program when it does.
func (w *World) UpgradeNode(id string, to wire.Version, restart time.Duration, taint uint64) error {
	n, err := w.lookup(actor.ID(id))
	if err != nil {
		return err
	}
	n.taint |= taint
	n.spec.Schema, n.codec = to, wire.NewCodecAs(to)
	w.crashNode(n, restart)
	return nil
}

func (w *World) crashNode(n *node, restart time.Duration) {
	if n.state == down || n.dead {
		return
	}
	e := w.log.Next(w.now, trace.NodeCrashed)
	e.Node, e.Incarnation, e.Arg = string(n.spec.ID), n.life, int64(n.ops)
	w.log.Commit()
	n.kill()
	n.restartAfter(restart)
}

// CrashHost kills all nodes of a host and drops what its disk had not made
// durable. The nodes start again after restart; negative: never.
func (w *World) CrashHost(name string, restart time.Duration, taint uint64) (bool, error) {
	h, err := w.host(name)
	if err != nil {
		return false, err
	}
	for _, n := range h.nodes {
		n.taint |= taint
	}
	w.crashHost(h, restart)
	return true, nil
}

func (w *World) crashHost(h *host, restart time.Duration) {
	for _, n := range h.nodes {
		w.crashNode(n, restart)
	}
	if d := h.spec.Disk; d != nil {
		d.Crash(nil)
	}
	for _, c := range h.spec.Chips {
		c.PowerCycle()
	}
	e := w.log.Next(w.now, trace.HostCrashed)
	e.Node = h.spec.Name
	if h.spec.Disk != nil {
		e.Arg = int64(h.spec.Disk.Hash())
	}
	w.log.Commit()
}

// BootTime is how long a host is away when a process has it restarted.
const BootTime = 20 * time.Second

// reboot restarts a host whose process asked for it, after its own life has ended.
func (w *World) reboot(asked *node) {
	w.crashHost(asked.host, BootTime)
	asked.restartAfter(BootTime)
}

// CrashAtOperation crashes a node just before the k-th I/O operation from now
// of its present or next life; with host, its host goes down with it. done,
// if set, is called when it happens.
func (w *World) CrashAtOperation(id string, k int, host bool, restart time.Duration, taint uint64, done func()) error {
	n, err := w.lookup(actor.ID(id))
	if err != nil {
		return err
	}
	if k < 1 {
		return fmt.Errorf("operation %d: the first is 1", k)
	}
	n.crashAt = append(n.crashAt, opCrash{left: k, host: host, restart: restart, taint: taint, done: done})
	return nil
}

// CrashAtSend crashes a node just after it has sent its k-th message from now
// of a type whose full name matches; see LinkFault.Type. An empty type is any.
func (w *World) CrashAtSend(id string, k int, kind string, restart time.Duration, taint uint64, done func()) error {
	n, err := w.lookup(actor.ID(id))
	if err != nil {
		return err
	}
	if k < 1 {
		return fmt.Errorf("message %d: the first is 1", k)
	}
	n.sendCrashes = append(n.sendCrashes, sendCrash{left: k, kind: kind, restart: restart, taint: taint, done: done})
	return nil
}

// sent counts a message of the node, and crashes it where a fault waits for it.
func (n *node) sent(kind string) {
	for i := range n.sendCrashes {
		c := &n.sendCrashes[i]
		if !typeMatches(c.kind, kind) {
			continue
		}
		if c.left--; c.left > 0 {
			continue
		}
		crash := *c
		n.sendCrashes = append(n.sendCrashes[:i], n.sendCrashes[i+1:]...)
		n.taint |= crash.taint
		if crash.done != nil {
			crash.done()
		}
		n.w.crashNode(n, crash.restart)
		n.alive()
		return
	}
}

// StartNode starts a node that is down. One that is up is left alone.
func (w *World) StartNode(id string) error {
	n, err := w.lookup(actor.ID(id))
	if err != nil {
		return err
	}
	if n.state == down {
		n.restartAfter(0)
	}
	return nil
}

// PauseNode stops a node's world until ResumeNode: no step, no mail, no timer;
// time goes on.
func (w *World) PauseNode(id string, taint uint64) error {
	n, err := w.lookup(actor.ID(id))
	if err != nil || n.paused {
		return err
	}
	n.taint |= taint
	n.paused = true
	e := w.log.Next(w.now, trace.NodePaused)
	e.Node = id
	w.log.Commit()
	return nil
}

// ResumeNode ends PauseNode: what gathered meanwhile is handled now.
func (w *World) ResumeNode(id string) error {
	n, err := w.lookup(actor.ID(id))
	if err != nil || !n.paused {
		return err
	}
	n.paused = false
	e := w.log.Next(w.now, trace.NodeResumed)
	e.Node = id
	w.log.Commit()
	n.drain()
	return nil
}

// Heal ends what holds of a world's faults beside links, disks and clocks,
// which end with the steps that began them: crashes that wait for an operation
// or a message are called off, sites of the code are off, and each node that
// well accepts goes on, or starts if it is down. The others end for good.
func (w *World) Heal(well func(node string) bool) {
	w.cfg.Sites, w.cfg.Sometimes = nil, 0
	w.FaultEnded("all faults", -1)
	for _, n := range w.nodes {
		id := string(n.spec.ID)
		n.crashAt, n.sendCrashes, n.slow = nil, nil, 1000
		_ = w.ResumeNode(id) // it is one of ours
		switch {
		case !well(id):
			w.crashNode(n, -1)
			n.spec.Restart = -1
			n.life++ // a start that is on its way is not meant for it
		case n.state == down:
			n.restartAfter(0)
		}
	}
}

// SlowNode makes work and file operations of a node take factor times as long.
// A factor of 1 ends it.
func (w *World) SlowNode(id string, factor float64, taint uint64) error {
	n, err := w.lookup(actor.ID(id))
	if err != nil {
		return err
	}
	if factor <= 0 || factor > 1e6 {
		return fmt.Errorf("factor %v: it must be above 0 and at most 1000000", factor)
	}
	n.taint |= taint
	n.slow = int64(factor * 1000)
	return nil
}

// SkewClock moves the wall clock of a host by d, once.
func (w *World) SkewClock(hostName string, d time.Duration, taint uint64) error {
	h, err := w.host(hostName)
	if err != nil {
		return err
	}
	h.clock.skew += int64(d)
	for _, n := range h.nodes {
		n.taint |= taint
	}
	return nil
}

// DriftClock makes all clocks of a host run too fast by ppm parts per million
// from now on; 0 ends it.
func (w *World) DriftClock(hostName string, ppm int64, taint uint64) error {
	h, err := w.host(hostName)
	if err != nil {
		return err
	}
	if ppm <= -1_000_000 || ppm > 1_000_000 {
		return fmt.Errorf("drift of %d ppm: it must be above -1000000 and at most 1000000", ppm)
	}
	h.setDrift(w.now, ppm)
	for _, n := range h.nodes {
		n.taint |= taint
	}
	return nil
}

// AddLinkFault puts a fault on links until RemoveLinkFault; with both, on the
// opposite direction too.
func (w *World) AddLinkFault(f LinkFault, both bool) (int, error) {
	if f.Effect < LinkCut || f.Effect > LinkCorrupt {
		return 0, fmt.Errorf("unknown effect %d", f.Effect)
	}
	for _, names := range [][]string{f.From, f.To} {
		for _, s := range names {
			if _, err := w.lookup(actor.ID(s)); err != nil {
				return 0, err
			}
		}
	}
	w.nextRule++
	r := &linkRule{id: w.nextRule, spec: f, both: both, taint: f.Taint, left: -1}
	if f.Count > 0 {
		r.left = f.Count
	}
	w.rules = append(w.rules, r)
	return r.id, nil
}

// RemoveLinkFault ends a fault and returns how often it fired.
func (w *World) RemoveLinkFault(id int) uint64 {
	for i, r := range w.rules {
		if r.id == id {
			w.rules = append(w.rules[:i:i], w.rules[i+1:]...)
			return r.fired
		}
	}
	return 0
}

// siteRule turns a Probe.Sometimes site on at one node.
type siteRule struct {
	id    int
	node  *node
	site  string
	rate  float64
	fired uint64
}

// AddSite makes the named Probe.Sometimes site of a node true with the given
// probability until RemoveSite: a fault that only the node itself can commit,
// such as a broker that rewinds its cursor.
func (w *World) AddSite(id, site string, rate float64, taint uint64) (int, error) {
	n, err := w.lookup(actor.ID(id))
	if err != nil {
		return 0, err
	}
	n.taint |= taint
	w.nextRule++
	w.sites = append(w.sites, &siteRule{id: w.nextRule, node: n, site: site, rate: rate})
	return w.nextRule, nil
}

// RemoveSite ends AddSite and returns how often the site was true.
func (w *World) RemoveSite(id int) uint64 {
	for i, s := range w.sites {
		if s.id == id {
			w.sites = append(w.sites[:i:i], w.sites[i+1:]...)
			return s.fired
		}
	}
	return 0
}

// Disk is the disk of a host, for injecting faults and looking inside.
func (w *World) Disk(hostName string) (*disk.Disk, error) {
	h, err := w.host(hostName)
	if err != nil {
		return nil, err
	}
	if h.spec.Disk == nil {
		return nil, fmt.Errorf("host %q has no disk", hostName)
	}
	return h.spec.Disk, nil
}

// Chips are the accelerators of a host, for injecting faults and looking at them.
func (w *World) Chips(hostName string) ([]*simulated.Chip, error) {
	h, err := w.host(hostName)
	if err != nil {
		return nil, err
	}
	if len(h.spec.Chips) == 0 {
		return nil, fmt.Errorf("host %q has no accelerator", hostName)
	}
	return h.spec.Chips, nil
}

// Touch marks the nodes of a host as changed by a plan step, for faults that
// were injected into the disk directly.
func (w *World) Touch(hostName string, taint uint64) {
	if h, err := w.host(hostName); err == nil {
		for _, n := range h.nodes {
			n.taint |= taint
		}
	}
}

// FaultBegan and FaultEnded write a plan's step into the trace.
func (w *World) FaultBegan(text string, step int) { w.faultEvent(trace.FaultBegan, text, step) }

// FaultEnded is the counterpart of FaultBegan.
func (w *World) FaultEnded(text string, step int) { w.faultEvent(trace.FaultEnded, text, step) }

func (w *World) faultEvent(k trace.Kind, text string, step int) {
	e := w.log.Next(w.now, k)
	e.Text, e.Arg = text, int64(step)
	w.log.Commit()
}

// Up says whether a node's process is alive.
func (w *World) Up(id string) bool {
	n, err := w.lookup(actor.ID(id))
	return err == nil && n.state != down
}
