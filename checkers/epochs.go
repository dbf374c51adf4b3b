package checkers

import (
	"fmt"
	"time"

	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// epochs judges T6, T7 and L7: the master heartbeat, how long it waits for
// Tamiyo, and whether it goes on.
type epochs struct {
	p     Params
	life  downtime
	epoch int64
	gen   uint32
	any   bool
	seq   uint64
	seen  map[string]bool // event ids: a publication is repeated until it is acknowledged
	asked int64           // when the packet of the boundary under way was first sent
	id    string          // its packet id
	stood int64
	// began and at are the handler that Tolaria is in: the event that it began
	// with, and when.
	began uint64
	at    int64

	now      int64
	ended    int64 // when the last epoch ended
	with     int64 // when the last epoch ended in which Kasmina took part
	lives    int64 // since when Kasmina lives; 0: it does not
	training bool  // there is a Tolaria
}

// tamiyoLimit is the hard time-out of card 01, with room for mail.
const tamiyoLimit = int64(2*time.Second + 50*time.Millisecond)

func newEpochs(p Params) Checker {
	return &epochs{p: p, life: newDowntime(), seen: map[string]bool{}}
}

func (*epochs) Invariants() []string { return []string{"T6", "T7", "L7"} }

func (c *epochs) Observe(e *Event, j *Judge) {
	c.now = e.At
	c.training = c.training || e.Node == "tolaria" && e.Kind == trace.NodeStarted
	if e.Node == "kasmina" {
		switch e.Kind {
		case trace.NodeReady, trace.NodeResumed:
			c.lives = max(e.At, 1)
		case trace.NodeCrashed, trace.NodeExited, trace.NodePaused:
			c.lives = 0
		}
	}
	if c.life.observe(e) && e.Node == "tolaria" {
		c.asked, c.id = 0, ""
		return
	}
	switch e.Kind {
	case trace.TimerFired:
		if e.Node == "tolaria" {
			c.began, c.at = e.Seq, e.At
		}
	case trace.MessageDelivered:
		if e.Peer == "tolaria" {
			c.began, c.at = e.Seq, e.At
		}
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *eventsv2.EpochEvent:
			if m.Phase == eventsv2.EpochPhase_STARTED && e.Mail.Envelope.Topic == "system.events.epoch" {
				c.started(e, m, j)
			}
		case *systemstatev2.SystemStatePacket:
			if m.PacketId != c.id {
				c.id, c.asked, c.stood = m.PacketId, e.At, c.life.stood(e.Node, e.At)
			}
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.DecisionFact:
			c.decided(e, f, j)
		case *evidencev2.EpochFact:
			if c.ended = e.At; f.KasminaJoined {
				c.with = e.At
			}
		}
	}
}

func (c *epochs) started(e *Event, m *eventsv2.EpochEvent, j *Judge) {
	id := e.Mail.Envelope.EventId
	if c.seen[id] {
		return
	}
	if len(c.seen) > remembered {
		clear(c.seen)
	}
	c.seen[id] = true
	switch {
	case !c.any:
	case m.RollbackGeneration == c.gen && m.Epoch == c.epoch+1:
		j.Judged("T6")
	case m.RollbackGeneration > c.gen && m.Epoch <= c.epoch+1:
		j.Judged("T6")
	default:
		j.Violate("T6", e.Node, fmt.Sprintf("epoch %d of generation %d starts after epoch %d of generation %d", m.Epoch, m.RollbackGeneration, c.epoch, c.gen), c.seq)
	}
	c.any, c.epoch, c.gen, c.seq = true, m.Epoch, m.RollbackGeneration, e.Seq
}

func (c *epochs) decided(e *Event, f *evidencev2.DecisionFact, j *Judge) {
	// Not what the fact says of the waiting time, but what the trace says.
	if c.asked == 0 {
		return
	}
	// The waiting is over when the handler begins that decides: what a slow disk
	// adds to it before the decision is declared is no silence of Tamiyo's.
	until := e.At
	if c.began == e.Cause && c.began != 0 {
		until = c.at
	}
	waited := until - c.asked
	allowed := tamiyoLimit + tamiyoLimit/1e6*c.p.Drift + c.life.stood(e.Node, e.At) - c.stood
	if waited > allowed {
		j.Violate("T7", e.Node, fmt.Sprintf("the boundary of epoch %d waited %v for Tamiyo", f.Epoch, time.Duration(waited)))
	} else {
		j.Judged("T7")
	}
	c.asked, c.id = 0, ""
}

// noProgress is how long a healthy run may go without ending an epoch, which
// lasts about a second; a pause or a rollback takes its time, too.
const noProgress = int64(15 * time.Second)

// reunion is how long a healthy run may go without a Kasmina that lives: it must
// ask, and be brought back by a rollback that may wait for its next try.
const reunion = int64(30 * time.Second)

// Finish judges L7: once the faults are over, training goes on.
func (c *epochs) Finish(j *Judge) {
	if c.p.Settled == nil || c.now < noProgress || !c.p.Settled(c.now-noProgress) || !c.training {
		return
	}
	if c.now-c.ended > noProgress {
		j.Violate("L7", "tolaria", fmt.Sprintf("no epoch has ended since %s, and the faults were over", trace.Stamp(c.ended)))
		return
	}
	if c.lives != 0 && c.now-max(c.lives, c.with) > reunion && c.p.Settled(c.now-reunion) {
		j.Violate("L7", "tolaria", fmt.Sprintf("no epoch has run with kasmina since %s; it has lived since %s, and the faults were over", trace.Stamp(c.with), trace.Stamp(c.lives)))
		return
	}
	j.Judged("L7")
}
