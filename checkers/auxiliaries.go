package checkers

import (
	"fmt"
	"slices"
	"strings"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// auxiliaries judges T3 for those whom training does not need: who has restored
// stands by it. Asked again for its vote it says what it said, and told again of
// the decision it says again that it has restored, until another rollback takes the
// place of that one: Tolaria cannot know which of the words were lost.
type auxiliaries struct {
	of map[string]*restored // by node
}

// restored is what an auxiliary has said in this life.
type restored struct {
	generations map[string]uint32 // by rollback: as it was asked
	id          string            // the rollback after which it has said that it is restored
	yes         map[string]bool   // rollbacks that it has voted for
	due         uint64            // the delivery of a decision that it is to answer
}

// auxiliaryNodes take part in rollbacks after the core.
var auxiliaryNodes = []string{"emrakul", "nissa", "simic"}

func newAuxiliaries(Params) Checker { return &auxiliaries{of: map[string]*restored{}} }

func (*auxiliaries) Invariants() []string { return []string{"T3"} }

func (c *auxiliaries) node(name string) *restored {
	r := c.of[name]
	if r == nil {
		r = &restored{generations: map[string]uint32{}, yes: map[string]bool{}}
		c.of[name] = r
	}
	return r
}

func (c *auxiliaries) Observe(e *Event, j *Judge) {
	who := e.Node
	if e.Kind == trace.MessageDelivered {
		who = e.Peer
	}
	if !slices.Contains(auxiliaryNodes, who) {
		return
	}
	r := c.node(who)
	switch e.Kind {
	case trace.NodeStarted, trace.NodeCrashed, trace.NodeExited:
		delete(c.of, who)
		return
	case trace.MessageSent, trace.MessageDelivered:
	default:
		return
	}
	if r.due != 0 && (e.Kind == trace.MessageDelivered || e.Cause != r.due) {
		due := r.due
		r.due = 0
		j.Violate("T3", who, fmt.Sprintf("it has restored after the rollback %s, is told of the decision again, and does not say so", r.id), due)
		return
	}
	if e.Kind == trace.MessageDelivered {
		c.came(e, r)
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *rollbackv2.RollbackVote:
		if m.Vote == rollbackv2.Vote_YES {
			r.yes[strings.Clone(m.RollbackId)] = true
		} else if r.id != "" && m.RollbackId == r.id && r.yes[r.id] {
			j.Violate("T3", who, fmt.Sprintf("it has voted for the rollback %s, has restored after it, and now votes against it", r.id))
			return
		}
		j.Judged("T3")
	case *rollbackv2.RollbackAck:
		if m.Phase == rollbackv2.Phase_RESTORED && m.Ok {
			r.id, r.due = strings.Clone(m.RollbackId), 0
			j.Judged("T3")
		}
	}
}

// came takes in what an auxiliary is told of rollbacks.
func (c *auxiliaries) came(e *Event, r *restored) {
	switch m := e.Mail.Payload.(type) {
	case *rollbackv2.RollbackRequest:
		if e.Node == "tolaria" {
			r.generations[strings.Clone(m.RollbackId)] = m.Generation
		}
	case *rollbackv2.RollbackDecision:
		if e.Node == "tolaria" && r.id != "" && m.RollbackId == r.id && m.Decision == rollbackv2.Decision_COMMIT {
			r.due = e.Seq
		}
	case *busv2.Delivery:
		if e.Inner == nil {
			return
		}
		ev, ok := e.Inner.Payload.(*eventsv2.EpochEvent)
		if ok && ev.Phase == eventsv2.EpochPhase_ROLLED_BACK && ev.RollbackGeneration > r.generations[r.id] {
			r.id = "" // there is a newer one
		}
	}
}

func (*auxiliaries) Finish(*Judge) {}
