package checkers

import (
	"fmt"
	"strings"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// processes judges P1 from how processes end, and from what they refuse.
//
// A process may end itself when its disk has failed it: a write or sync whose
// outcome is unknown leaves a poisoned log, and to start again is one way of
// opening it anew. It may refuse a request for the same reason, and say that
// what it keeps is damaged where a disk has damaged it. Whether the disk did is
// taken from the operations and the plan, not from what the process says: a log
// that takes what its own recovery has done for damage loses nothing, and is of
// no use to anybody.
type processes struct {
	damaged bool
	failed  map[string]string // node to the disk failure in this life
	refused map[string]uint64 // node to the event of its disk's last failure
	asked   map[string]uint64 // by node and request: the event of its delivery
}

func newProcesses(p Params) Checker {
	return &processes{damaged: p.Damaged, failed: map[string]string{}, refused: map[string]uint64{}, asked: map[string]uint64{}}
}

func (*processes) Invariants() []string { return []string{"P1"} }

func (c *processes) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeReady:
		j.Judged("P1")
	case trace.NodeStarted:
		delete(c.failed, e.Node)
	case trace.DiskOperation:
		if strings.Contains(e.Text, " failed: ") && (strings.Contains(e.Text, "input/output error") || strings.Contains(e.Text, "deadline exceeded") || strings.Contains(e.Text, "no space left")) {
			c.failed[e.Node] = e.Text
			c.refused[e.Node] = e.Seq
		}
	case trace.NodeExited:
		if e.Arg == 1 {
			j.Violate("P1", e.Node, "ended with a "+e.Text, e.Cause)
			return
		}
		if e.Arg == 2 {
			j.Judged("P1") // it asked for a new life: see G4
			return
		}
		if c.failed[e.Node] == "" {
			j.Violate("P1", e.Node, "ended with the error: "+e.Text, e.Cause)
			return
		}
		j.Judged("P1")
	case trace.MessageDelivered:
		c.request(e)
	case trace.MessageSent:
		c.reply(e, j)
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.CheckpointFact); ok && f.Action == evidencev2.CheckpointAction_CHECKPOINT_REFUSED {
			c.damage(e, "a checkpoint", f.Reason, j)
		}
	}
}

func appending(node, client string, sequence int64) string {
	return fmt.Sprint(node, "\x00append\x00", client, "\x00", sequence)
}

// request notes when somebody was asked for what only a disk may refuse.
func (c *processes) request(e *Event) {
	switch m := e.Mail.Payload.(type) {
	case *ledgerv2.AppendRequest:
		c.asked[appending(e.Peer, m.Client, m.Sequence)] = e.Seq
	case *ledgerv2.SealRequest:
		if sealable(m) {
			c.asked[e.Peer+"\x00seal\x00"+m.BundleId] = e.Seq
		}
	}
}

// sealable says whether a bundle's names are such that it has a root.
func sealable(m *ledgerv2.SealRequest) bool {
	parts, labels := map[string]bool{}, map[string]bool{}
	for _, x := range m.Components {
		parts[x.Name] = true
	}
	reserved := false
	for _, l := range m.Context {
		labels[l.Key] = true
		reserved = reserved || strings.HasPrefix(l.Key, "checkpoint/")
	}
	return len(parts) > 0 && len(parts) == len(m.Components) && len(labels) == len(m.Context) && !reserved
}

func (c *processes) reply(e *Event, j *Judge) {
	var o ledgerv2.Outcome
	var key, why string
	switch m := e.Mail.Payload.(type) {
	case *ledgerv2.AppendReply:
		o, why, key = m.Outcome, m.Reason, appending(e.Node, m.Client, m.Sequence)
	case *ledgerv2.SealReply:
		o, why, key = m.Outcome, m.Reason, e.Node+"\x00seal\x00"+m.BundleId
	case *ledgerv2.ReadReply:
		o, why = m.Outcome, m.Reason
	case *ledgerv2.OpenReply:
		o, why = m.Outcome, m.Reason
	default:
		return
	}
	asked, known := c.asked[key]
	delete(c.asked, key)
	switch {
	case o == ledgerv2.Outcome_CORRUPT:
		c.damage(e, "what it keeps", why, j)
	case o == ledgerv2.Outcome_FAILED && known && c.refused[e.Node] < asked && !c.damaged:
		// Where a disk does damage, what was just written may not read back.
		j.Violate("P1", e.Node, "it refuses what its disk has not refused: "+why, asked)
	case o == ledgerv2.Outcome_DONE && known:
		j.Judged("P1")
	}
}

// damage judges the word of a process that something is damaged.
func (c *processes) damage(e *Event, what, why string, j *Judge) {
	if !c.damaged {
		j.Violate("P1", e.Node, fmt.Sprintf("it says that %s is damaged, and no disk has damaged anything: %s", what, why))
		return
	}
	j.Judged("P1")
}

func (*processes) Finish(*Judge) {}
