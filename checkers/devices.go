package checkers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/sim/trace"
)

// devices judges G1, G2, G5 and G6: what becomes of results of an accelerator that fails.
// What the accelerators did is the world's word, not the actors'.
//
// G1: a forward pass that is answered as good was computed by a call that did well,
// or on the processor, which is declared. Gradients are answered as held only if the
// context has lasted since. On a context that is lost nothing is called but what
// mends it.
// G2: from the time when a kernel's slice is taken until its verdict the device was
// not sick, has not failed, and was not reset; or the kernel was not validated. Nor is
// it rejected for a launch that the device failed, but for an illegal access, or for
// the second that did not end.
// G5: no device is reset for a failure, no host restarted and none given up, that has
// not failed lately by more than a lack of memory: it may be slow, its health check
// may lie, and others may need its memory.
// G6: of a launch that has left something wrong no layer is answered, and the process
// says that it has noticed before a second epoch ends; no kernel is validated before. That no state has anything of
// it is G3.
type devices struct {
	hosts   map[string]string       // of processes
	failed  map[deviceKey]int64     // of hosts: when a call failed last
	lost    map[deviceKey]uint64    // contexts of processes that are lost, by the event
	sick    map[deviceKey]gpu.Class // of hosts: until a reset
	changed map[deviceKey]uint64    // of hosts and processes: the last event that cost a context
	call    map[string]launch       // by process: the last launch
	passes  map[pass]launch         // forward passes that were answered
	bench   map[string]uint64       // by process: when the slice was taken
	tested  map[string]string       // by process: the kernel that is validated
	hung    map[string]int          // by kernel: its launches that did not end
	corrupt map[deviceKey]uint64    // of hosts: a launch has left something wrong, and its process is not known yet
	silent  map[string]*unnoticed   // by process: what it has not noticed yet
	trains  map[string]bool         // processes that answer for layers
}

// unnoticed is a launch that has left something wrong.
type unnoticed struct {
	seq    uint64
	epochs int // that have ended since
}

type deviceKey struct {
	node   string // a process, or a host
	device int
}

// launch is one, or that none was needed.
type launch struct {
	cause  uint64 // the message that it was made for
	seq    uint64
	device int
	host   string
	failed gpu.Class
	aside  bool   // on the processor
	wrong  uint64 // the event by which it has left something wrong; 0: none
}

type pass struct {
	node string
	layerRef
}

func newDevices(Params) Checker {
	return &devices{hosts: map[string]string{}, failed: map[deviceKey]int64{}, lost: map[deviceKey]uint64{}, sick: map[deviceKey]gpu.Class{}, changed: map[deviceKey]uint64{},
		call: map[string]launch{}, passes: map[pass]launch{}, bench: map[string]uint64{}, tested: map[string]string{}, hung: map[string]int{},
		corrupt: map[deviceKey]uint64{}, silent: map[string]*unnoticed{}, trains: map[string]bool{}}
}

func (*devices) Invariants() []string { return []string{"G1", "G2", "G5", "G6"} }

func (c *devices) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeStarted:
		c.hosts[e.Node] = e.Text
		maps.DeleteFunc(c.lost, func(k deviceKey, _ uint64) bool { return k.node == e.Node })
		maps.DeleteFunc(c.passes, func(p pass, _ launch) bool { return p.node == e.Node })
		delete(c.call, e.Node)
		delete(c.bench, e.Node)
		delete(c.silent, e.Node)
	case trace.DeviceChanged:
		c.change(e)
	case trace.DeviceOperated:
		c.operation(e, j)
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.DeviceFact:
			c.declared(e, f, j)
		case *evidencev2.SliceFact:
			if !f.Freed {
				c.bench[e.Node] = e.Seq
			}
		case *evidencev2.EpochFact:
			c.epoch(j)
		case *evidencev2.JobFact:
			switch f.State {
			case "RECEIVED":
				c.tested[e.Node] = strings.Clone(f.JobId)
			case "VALIDATED":
				c.verdict(e, f.JobId, j)
			case "REJECTED":
				c.rejected(e, f.JobId, j)
			}
		}
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *trainingv2.ForwardReply:
			c.forward(e, m, j)
		case *trainingv2.BackwardReply:
			c.backward(e, m, j)
		}
	}
}

// lately is how long ago a failure may be of which something follows.
const lately = int64(time.Hour)

// declared takes in what a process says of its device.
func (c *devices) declared(e *Event, f *evidencev2.DeviceFact, j *Judge) {
	switch f.Step {
	case evidencev2.DeviceStep_DEVICE_WRONG:
		if c.silent[e.Node] != nil {
			delete(c.silent, e.Node)
			j.Judged("G6")
		}
	case evidencev2.DeviceStep_DEVICE_ASIDE:
		c.call[e.Node] = launch{cause: e.Cause, seq: e.Seq, aside: true}
	case evidencev2.DeviceStep_DEVICE_FAILED, evidencev2.DeviceStep_DEVICE_DISPUTED, evidencev2.DeviceStep_DEVICE_REPORTED:
		j.Judged("G5") // so far nothing follows
	case evidencev2.DeviceStep_DEVICE_RESET, evidencev2.DeviceStep_DEVICE_REBOOT, evidencev2.DeviceStep_DEVICE_SICK, evidencev2.DeviceStep_DEVICE_RESTART:
		if f.Class == "" {
			return // it is due, and idle
		}
		if at, ok := c.failed[deviceKey{c.hosts[e.Node], int(f.Index)}]; !ok || e.At-at > lately {
			j.Violate("G5", e.Node, fmt.Sprintf("%v of device %d, which it calls %s: it has not failed", f.Step, f.Index+1, f.Class))
			return
		}
		j.Judged("G5")
	}
}

// failedAs is the class of a device's event, and 0 for none.
func failedAs(text string) gpu.Class {
	_, class, ok := strings.Cut(text, ": ")
	if !ok {
		return 0
	}
	c, _ := gpu.ByClassName(class)
	return c
}

// change takes in what became of a device of a host.
func (c *devices) change(e *Event) {
	device, _ := trace.DeviceOf(e.Arg)
	k := deviceKey{e.Node, device}
	what, _, _ := strings.Cut(e.Text, ":")
	switch class := failedAs(e.Text); {
	case what == "corrupted":
		c.failed[k], c.corrupt[k] = e.At, e.Seq
		return
	case class != 0:
		c.sick[k] = class
	case what == "reset", what == "replaced":
		delete(c.sick, k)
	}
	if what != "degraded" {
		c.changed[k] = e.Seq
	}
}

// operation takes in a call of a process.
func (c *devices) operation(e *Event, j *Judge) {
	device, _ := trace.DeviceOf(e.Arg)
	k := deviceKey{e.Node, device}
	op, _, _ := strings.Cut(e.Text, ":")
	class := failedAs(e.Text)
	mends := op == "rebuild" || op == "reset"
	if since, lost := c.lost[k]; lost && !mends {
		j.Violate("G1", e.Node, fmt.Sprintf("it calls %s on a context of device %d that is lost", op, device+1), since)
	}
	if class != 0 && class != gpu.OutOfMemory && class != gpu.InvalidHandle {
		c.failed[deviceKey{e.Peer, device}] = e.At
	}
	switch {
	case class != 0 && costs(class):
		c.lost[k], c.changed[k] = e.Seq, e.Seq
	case op == "rebuild" && class == 0:
		delete(c.lost, k)
	}
	if kernel := c.tested[e.Node]; class == gpu.Hung && kernel != "" {
		c.hung[kernel]++
	}
	if op == "run" {
		host := deviceKey{e.Peer, device}
		l := launch{cause: e.Cause, seq: e.Seq, device: device, host: e.Peer, failed: class, wrong: c.corrupt[host]}
		delete(c.corrupt, host)
		c.call[e.Node] = l
		if l.wrong != 0 && c.silent[e.Node] == nil {
			c.silent[e.Node] = &unnoticed{seq: l.wrong}
		}
	}
}

// costs says whether a failure costs the caller's context.
func costs(class gpu.Class) bool {
	switch class.Trait().Scope {
	case gpu.OneContext, gpu.OneDevice, gpu.OneNode:
		return class != gpu.LinkFailed
	}
	return false
}

// forward judges that what is answered was computed.
func (c *devices) forward(e *Event, m *trainingv2.ForwardReply, j *Judge) {
	c.trains[e.Node] = true
	last, ok := c.call[e.Node]
	if m.Status != trainingv2.ReplyStatus_OK || !ok || last.cause != e.Cause {
		return
	}
	if last.failed != 0 {
		j.Violate("G1", e.Node, fmt.Sprintf("the forward pass of epoch %d, step %d, layer %d is answered, and its launch failed: %v",
			m.Step.GetEpoch(), m.Step.GetStep(), m.LayerId, last.failed), last.seq)
		return
	}
	if last.wrong != 0 {
		j.Violate("G6", e.Node, fmt.Sprintf("the forward pass of epoch %d, step %d, layer %d is answered, and its launch has left something wrong",
			m.Step.GetEpoch(), m.Step.GetStep(), m.LayerId), last.wrong, last.seq)
		return
	}
	j.Judged("G1")
	c.passes[pass{e.Node, layerRef{stepOf(m.Step), m.LayerId}}] = last
	if len(c.passes) > 64 {
		maps.DeleteFunc(c.passes, func(p pass, _ launch) bool { return p.stepKey != stepOf(m.Step) })
	}
}

// backward judges that what the forward pass kept was there still.
func (c *devices) backward(e *Event, m *trainingv2.BackwardReply, j *Judge) {
	k := pass{e.Node, layerRef{stepOf(m.Step), m.LayerId}}
	first, ok := c.passes[k]
	last, launched := c.call[e.Node]
	if m.Status != trainingv2.ReplyStatus_OK || !ok || first.aside || !launched || last.cause != e.Cause {
		return
	}
	delete(c.passes, k)
	since := max(c.changed[deviceKey{first.host, first.device}], c.changed[deviceKey{e.Node, first.device}])
	switch {
	case since > first.seq:
		j.Violate("G1", e.Node, fmt.Sprintf("the gradients of epoch %d, step %d, layer %d are held, and what the forward pass kept on device %d was lost",
			m.Step.GetEpoch(), m.Step.GetStep(), m.LayerId, first.device+1), first.seq, since)
	case last.failed != 0:
		j.Violate("G1", e.Node, fmt.Sprintf("the gradients of epoch %d, step %d, layer %d are held, and their launch failed: %v",
			m.Step.GetEpoch(), m.Step.GetStep(), m.LayerId, last.failed), last.seq)
	case last.wrong != 0:
		j.Violate("G6", e.Node, fmt.Sprintf("the gradients of epoch %d, step %d, layer %d are held, and their launch has left something wrong",
			m.Step.GetEpoch(), m.Step.GetStep(), m.LayerId), last.wrong, last.seq)
	default:
		j.Judged("G1")
	}
}

// epoch counts one that has ended for what was not noticed. Only of a process that
// takes part in training follows anything.
func (c *devices) epoch(j *Judge) {
	for _, node := range slices.Sorted(maps.Keys(c.silent)) {
		u := c.silent[node]
		if u.epochs++; u.epochs < 2 || !c.trains[node] {
			continue
		}
		j.Violate("G6", node, "it has not noticed within an epoch that a launch has left something wrong", u.seq)
		delete(c.silent, node)
	}
}

// rejected judges a kernel that was found bad when a launch failed. An illegal access
// costs the process, so that one is enough; that a launch does not end may be the
// device's fault once; and everything else is the device's.
func (c *devices) rejected(e *Event, kernel string, j *Judge) {
	last, ran := c.call[e.Node]
	if !ran || last.failed == 0 || last.cause != e.Cause {
		return
	}
	switch {
	case last.failed == gpu.AppFault, last.failed == gpu.Hung && c.hung[kernel] > 1:
		j.Judged("G2")
	default:
		j.Violate("G2", e.Node, fmt.Sprintf("the kernel %s is rejected for what device %d of %s did: %v", kernel, last.device+1, last.host, last.failed), last.seq)
	}
}

// verdict judges a kernel that was found good.
func (c *devices) verdict(e *Event, kernel string, j *Judge) {
	begun, ok := c.bench[e.Node]
	last, ran := c.call[e.Node]
	if !ok || !ran {
		return // it was validated without a device
	}
	delete(c.bench, e.Node)
	host := deviceKey{last.host, last.device}
	switch {
	case c.sick[host] != 0:
		j.Violate("G2", e.Node, fmt.Sprintf("the kernel %s is validated on device %d of %s, which is sick: %v", kernel, last.device+1, last.host, c.sick[host]), begun)
	case max(c.changed[host], c.changed[deviceKey{e.Node, last.device}]) > begun:
		j.Violate("G2", e.Node, fmt.Sprintf("the kernel %s is validated, and device %d of %s failed meanwhile", kernel, last.device+1, last.host), begun,
			max(c.changed[host], c.changed[deviceKey{e.Node, last.device}]))
	case c.silent[e.Node] != nil:
		j.Violate("G6", e.Node, fmt.Sprintf("the kernel %s is validated, and it was not noticed that a launch has left something wrong", kernel), c.silent[e.Node].seq)
	default:
		j.Judged("G2")
	}
}

// Finish implements Checker.
func (*devices) Finish(*Judge) {}
