package oona

import (
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/pressure"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
)

// mode is the bus's: in the conservative one it takes only what is critical or
// an emergency.
type mode bool

const (
	normal       mode = false
	conservative mode = true
)

func (m mode) String() string {
	if m == conservative {
		return "CONSERVATIVE"
	}
	return "NORMAL"
}

// brokenLog is why nothing, or little, is taken.
const brokenLog = "the breaker of the log is not closed"

// admit says why a publication of a tier is not taken, if it is not. To take it
// the bus may let go of one of a lower tier. An emergency is always taken.
func (b *oona) admit(topic string, tier uint8) (why string) {
	b.judge()
	if tier == 0 {
		return ""
	}
	if b.mode == conservative && tier > 1 {
		b.env.Probe.Reached("oona/conservative")
		return "the bus is conservative"
	}
	if b.s.backlog()+len(b.staged)+len(b.flight) >= b.o.Depth*share[tier]/100 {
		return "the bus is full for this priority"
	}
	q := queueOf(topic)
	if q == nil {
		return ""
	}
	t := b.s.topic(topic)
	if !t.worked() || t.backlog(false)+b.under(topic, false) < q.limit {
		return ""
	}
	if b.breaker.State(b.env.Clock.Monotonic()) != breaker.Closed {
		return brokenLog // nothing goes for what may not come in
	}
	if b.shed(t, tier) {
		return ""
	}
	b.env.Probe.Reached("oona/queue-full")
	return fmt.Sprintf("the queue %s is full", q.name)
}

// under is how many publications of a topic are on their way into the log.
func (b *oona) under(topic string, emergencies bool) (n int) {
	for _, list := range [2][]staged{b.staged, b.flight} {
		for i := range list {
			if list[i].topic == topic && (emergencies || list[i].entry.tier > 0) {
				n++
			}
		}
	}
	return n
}

// level is the back-pressure that a publisher on a topic is told of.
func (b *oona) level(topic string) pressure.Level {
	return b.s.level(topic, b.o.Depth, len(b.staged)+len(b.flight), b.under(topic, false))
}

// shed lets go of the lowest entry of a full queue for one of a higher tier. One
// that was not acknowledged is refused. One that was acknowledged has been
// promised: it goes to the dead letters of each group that was to get it, in the
// same record of the log that takes the newcomer in, and its publisher is told.
func (b *oona) shed(t *topic, tier uint8) bool {
	offset, rank := t.lowest(tier), tier
	if offset >= 0 {
		rank = t.at(offset).rank()
	}
	if i := b.lowestStaged(t.name); i >= 0 && b.staged[i].entry.tier > tier && b.staged[i].entry.tier >= rank {
		s := b.staged[i]
		b.env.Probe.Reached("oona/shed")
		delete(b.waiting, s.entry.eventID)
		b.stagedBytes -= len(s.entry.bytes)
		b.staged = slices.Delete(b.staged, i, i+1)
		b.answer(s.from, s.entry.eventID, s.topic, 0, busv2.PublishStatus_REFUSED, "it made room for a more urgent one")
		return true
	}
	if offset < 0 {
		return false
	}
	b.env.Probe.Reached("oona/shed")
	e := t.at(offset)
	now := b.now()
	f := &b.fact
	f.Action, f.Topic, f.Group, f.Offset, f.Consumer = evidencev2.BusAction_BUS_SHED, t.name, "", offset, ""
	f.EventId, f.EnvelopeSha256, f.ClaimGeneration, f.Attempt, f.Tier = e.eventID, nil, 0, 0, uint32(rank)
	b.env.Facts.Record(f)
	f.Tier = 0
	for _, c := range t.cursors {
		if !c.works() {
			continue
		}
		c.skip(offset+1, b.s.claims)
		if p := c.find(offset); p != nil {
			b.bury(c, p, e, now, "shed for a more urgent one")
			c.remove(offset)
		}
	}
	var env envelopev2.EventEnvelope
	if env.ParseCanonical(e.bytes) == nil && env.SourceSubsystem != "" {
		b.answer(actor.ID(env.SourceSubsystem), e.eventID, t.name, 0, busv2.PublishStatus_REFUSED, "it made room for a more urgent one")
	}
	return true
}

// lowestStaged is the newest of the lowest tier among a topic's publications
// that wait for the log; -1: there is none.
func (b *oona) lowestStaged(topic string) int {
	at := -1
	for i := range b.staged {
		if s := &b.staged[i]; s.topic == topic && s.from != "" && (at < 0 || s.entry.tier >= b.staged[at].entry.tier) {
			at = i
		}
	}
	return at
}

// worked says whether some group works on a topic.
func (t *topic) worked() bool {
	for _, c := range t.cursors {
		if c.works() {
			return true
		}
	}
	return false
}

// judge looks which mode the bus must be in. It is conservative from four fifths
// of the depth on and comes back at one fifth: at a bound alone it would go to
// and fro with every entry. It is conservative as well while the breaker of its
// log is open. When that admits probes everything may be one: what is critical
// is rare, and the breaker would stay as it is.
func (b *oona) judge() {
	used := b.s.backlog() + len(b.staged) + len(b.flight)
	open := b.breaker.State(b.env.Clock.Monotonic()) == breaker.Open
	switch {
	case b.mode == normal && open:
		b.turn(conservative, "the breaker of the log is open")
	case b.mode == normal && used*100 >= b.o.Depth*conservativeAt:
		b.turn(conservative, fmt.Sprintf("%d entries wait", used))
	case b.mode == conservative && !open && used*100 <= b.o.Depth*normalAt:
		b.env.Probe.Reached("oona/normal-again")
		b.turn(normal, "the backlog is gone")
	}
}

func (b *oona) turn(to mode, why string) {
	b.env.Facts.Record(&evidencev2.ModeFact{Subsystem: "oona", From: b.mode.String(), To: to.String(), Reason: why})
	b.mode = to
}
