package checkers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// ahead judges W9: what others are told of is in the teller's log before, and
// durable. A log says what it appends and what is durable; the order of that
// and of the messages that one handler sends is in the trace.
type ahead struct {
	nodes map[string]*aheadRow
	known map[string]bool // commands, results and reports that were told of before
}

// aheadRow is what the logs of a node have done in its present handler.
type aheadRow struct {
	cause    uint64            // the event that the handler began with
	upTo     map[string]uint64 // by log, over all handlers of this life: what is durable
	appended map[string]uint64 // by log: LSN that is not said to be durable
	lost     map[string]uint64 // by log: one that was not, when the log failed
	durable  int               // records that became durable since something was told for the first time
	packet   bool              // the handler began with a packet of the epoch boundary
	entry    place             // the handler began with its delivery
	owed     map[place]uint64  // what a delivery had the node's own log append: its acknowledgement waits for that
}

// place is an entry of the bus's log.
type place struct {
	topic  string
	offset int64
}

func newAhead(Params) Checker {
	return &ahead{nodes: map[string]*aheadRow{}, known: map[string]bool{}}
}

func (*ahead) Invariants() []string { return []string{"W9"} }

func (c *ahead) row(node string, cause uint64) *aheadRow {
	r := c.nodes[node]
	if r == nil {
		r = &aheadRow{upTo: map[string]uint64{}, appended: map[string]uint64{}, lost: map[string]uint64{}, owed: map[place]uint64{}}
		c.nodes[node] = r
	}
	if r.cause != cause {
		r.cause, r.durable, r.packet, r.entry = cause, 0, false, place{}
		clear(r.appended)
		clear(r.lost)
	}
	return r
}

func (c *ahead) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeStarted:
		delete(c.nodes, e.Node)
	case trace.MessageDelivered:
		switch m := e.Mail.Payload.(type) {
		case *systemstatev2.SystemStatePacket:
			c.row(e.Peer, e.Seq).packet = true
		case *busv2.Delivery:
			c.row(e.Peer, e.Seq).entry = place{strings.Clone(m.Topic), m.Offset}
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.LogFact:
			c.log(e, f)
		case *evidencev2.PruningFact:
			if lsn, open := c.row(e.Node, e.Cause).appended[e.Node]; open {
				j.Violate("W9", e.Node, fmt.Sprintf("the cycle %s is %s, and record %d of its log is not durable", f.IdempotencyKey, f.State, lsn), e.Cause)
			}
		}
	case trace.MessageSent:
		c.sent(e, j)
	}
}

func (c *ahead) log(e *Event, f *evidencev2.LogFact) {
	r := c.row(e.Node, e.Cause)
	switch f.Action {
	case evidencev2.LogAction_LOG_APPENDED:
		// One that is written at once is durable before it is told of.
		if f.Lsn <= r.upTo[f.Log] {
			r.durable++
		} else {
			r.appended[f.Log] = f.Lsn
			if f.Log == e.Node && r.entry.topic != "" {
				r.owed[r.entry] = f.Lsn
			}
		}
	case evidencev2.LogAction_LOG_DURABLE:
		r.upTo[f.Log] = f.Lsn
		if f.Lsn >= r.appended[f.Log] {
			delete(r.appended, f.Log)
			r.durable++
		}
	case evidencev2.LogAction_LOG_RECOVERED:
		r.upTo[f.Log] = f.Lsn
	case evidencev2.LogAction_LOG_REFUSED, evidencev2.LogAction_LOG_POISONED:
		// Nothing may follow from it: see sent.
		if lsn, open := r.appended[f.Log]; open {
			r.lost[f.Log] = lsn
		}
		delete(r.appended, f.Log)
		if f.Log == e.Node {
			clear(r.owed)
		}
	}
}

func (c *ahead) sent(e *Event, j *Judge) {
	what, log := "", ""
	switch m := e.Mail.Payload.(type) {
	case *busv2.Ack:
		if strings.HasSuffix(m.Topic, ".commands") && m.Group == m.Consumer {
			what, log = fmt.Sprintf("the acknowledgement of offset %d of %s", m.Offset, m.Topic), e.Node+"/commands"
			break
		}
		// What a delivery led to is durable before it is acknowledged, or the
		// bus would not bring it again after a crash.
		r, at := c.row(e.Node, e.Cause), place{m.Topic, m.Offset}
		lsn, open := r.appended[e.Node]
		if owed, ok := r.owed[at]; ok && m.Group == e.Node {
			delete(r.owed, at)
			if owed > r.upTo[e.Node] {
				lsn, open = owed, true
			}
		}
		if open {
			j.Violate("W9", e.Node, fmt.Sprintf("it acknowledges offset %d of %s, and record %d of its log is not durable", m.Offset, m.Topic, lsn), e.Cause)
		}
		if lsn, lost := c.row(e.Node, e.Cause).lost[e.Node]; lost && m.Topic != "system.events.epoch" { // there is another epoch
			j.Violate("W9", e.Node, fmt.Sprintf("it acknowledges offset %d of %s, and its log has failed before record %d was durable", m.Offset, m.Topic, lsn), e.Cause)
		}
	case *operationsv2.ConfigAck:
		for _, log := range slices.Sorted(maps.Keys(c.row(e.Node, e.Cause).appended)) {
			if strings.HasSuffix(log, "config") {
				j.Violate("W9", e.Node, fmt.Sprintf("it says that revision %d is durable, and a record of its log %s is not", m.Revision, log), e.Cause)
			}
		}
	case *adaptationv2.CommandResult:
		if e.Mail.Envelope.Topic != "" {
			what, log = "the result of "+m.CommandId, e.Node+"/commands"
		}
	case *adaptationv2.AdaptationCommand:
		if e.Mail.Envelope.Topic != "" && m.Issuer == e.Node {
			what, log = "the command "+m.CommandId, e.Node
		}
	case *operationalv2.FieldReport:
		what, log = m.ReportId, e.Node
	}
	if what == "" {
		return
	}
	r := c.row(e.Node, e.Cause)
	if lsn, open := r.appended[log]; open {
		j.Violate("W9", e.Node, fmt.Sprintf("it sends %s, and record %d of its log %s is not durable", what, lsn, log), e.Cause)
		return
	}
	if _, ok := e.Mail.Payload.(*busv2.Ack); ok {
		j.Judged("W9")
		return
	}
	if c.known[what] {
		return
	}
	if len(c.known) > 8*remembered {
		clear(c.known)
		return
	}
	c.known[what] = true
	// What is decided at a boundary is logged there. What waited for an earlier
	// letter is sent later, and a resume needs no log.
	if r.packet && r.durable == 0 {
		j.Violate("W9", e.Node, fmt.Sprintf("it sends %s, and no record of its log %s became durable before", what, log), e.Cause)
		return
	}
	r.durable = 0
	j.Judged("W9")
}

func (*ahead) Finish(*Judge) {}
