package oona

import (
	"github.com/esper-sim/espersim/cluster/actor"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
)

// pump hands out entries of a topic while consumers have room: the most urgent
// first, and within a tier in order. What nobody works on any more stands in
// that order too: behind the new ones it would wait for as long as anything new
// is there.
func (b *oona) pump(c *cursor) {
	if c.orphans == 0 && c.next >= c.topic.next() {
		return
	}
	now := b.now()
	for {
		at := c.waiting(now)
		if at < 0 {
			return
		}
		e := c.topic.at(at)
		p := c.find(at)
		last := ""
		if p != nil {
			last = p.last
			if b.end(c, p, now) {
				continue
			}
		}
		to := c.group.choose(c.topic.name, last, e.tier == 0)
		if to == nil {
			return
		}
		if p == nil {
			if after := c.topic.at(at + 1); at == c.next && after != nil && after.rank() == e.rank() && b.env.Probe.Sometimes("reorder") {
				b.swap(c, to, now)
				continue
			}
			c.skip(at+1, b.s.claims)
			if p = c.find(at); b.end(c, p, now) {
				continue
			}
		}
		b.hand(c, p, to, now)
		if b.env.Probe.Sometimes("oona/small-batch") {
			return // the sweep goes on
		}
	}
}

// swap hands out the next two entries in the wrong order.
func (b *oona) swap(c *cursor, to *consumer, now int64) {
	c.skip(c.next+2, b.s.claims)
	if p := c.find(c.next - 1); !b.end(c, p, now) {
		b.hand(c, p, to, now)
	}
	p := c.find(c.next - 2)
	if to = c.group.choose(c.topic.name, "", false); to != nil && !b.end(c, p, now) {
		b.hand(c, p, to, now)
	}
}

// again hands out what somebody holds for too long. What nobody holds is the
// pump's.
func (b *oona) again(c *cursor, now int64) {
	for i := 0; i < len(c.pending); i++ {
		p := c.pending[i]
		if p.owner == nil || p.due > now {
			continue
		}
		if b.end(c, p, now) {
			i--
			continue
		}
		held := p.owner
		held.holds-- // its own place is free for it
		to := c.group.choose(c.topic.name, held.name, c.topic.at(p.offset).tier == 0)
		held.holds++
		if to != nil {
			b.hand(c, p, to, now)
		}
	}
}

// hand delivers an entry to a consumer, which is its owner from now on.
func (b *oona) hand(c *cursor, p *pending, to *consumer, now int64) {
	e := c.topic.at(p.offset)
	if p.owner != to {
		was := p.holder()
		if was == "" {
			was = p.last
		}
		c.release(p, 0)
		c.give(p, to)
		if p.attempts > 0 && was != "" && was != to.name {
			p.claim++
			b.tell(evidencev2.BusAction_BUS_CLAIMED, c, p.offset, e, to.name, p)
		}
	}
	p.attempts++
	p.since, p.due = now, now+int64(b.o.Idle)
	// Once only: an entry has as many deliveries before it is a dead letter as
	// its envelope says.
	if p.attempts == 1 && b.env.Probe.Sometimes("oona/redeliver-early") {
		p.due = now
	}
	if p.attempts > 1 {
		// The first delivery is not logged: it follows from the entry.
		ch := b.change()
		ch.Group, ch.Topic, ch.Offset, ch.Attempts = c.group.name, c.topic.name, p.offset, p.attempts
		b.soon()
	}
	b.send(c, e, p.offset, to.node, p.attempts, p.claim)
	if b.env.Probe.Sometimes("duplicate") {
		b.send(c, e, p.offset, to.node, p.attempts, p.claim)
	}
	if p.attempts == 1 {
		zombie := b.env.Probe.Sometimes("zombie-ack")
		if zombie || b.env.Probe.Sometimes("claim") {
			b.steal(c, p, now, zombie)
		}
	}
}

// steal is what a claim with too small a minimum of idle time does: while the
// owner works on an entry, another consumer gets it as well. Where the group
// has no other, the claim was lost and came back. With zombie the first owner's
// acknowledgement arrives after that, and must be refused.
func (b *oona) steal(c *cursor, p *pending, now int64, zombie bool) {
	was := p.owner
	late := &busv2.Ack{Group: c.group.name, Consumer: was.name, Topic: c.topic.name, Offset: p.offset, ClaimGeneration: p.claim}
	to := c.group.choose(c.topic.name, was.name, false)
	if to == nil || to == was {
		to = was
		p.claim++
		b.tell(evidencev2.BusAction_BUS_CLAIMED, c, p.offset, c.topic.at(p.offset), to.name, p)
	}
	b.hand(c, p, to, now)
	if zombie {
		b.ack(was.node, late, false)
	}
}

func (b *oona) send(c *cursor, e *entry, offset int64, to actor.ID, attempt, claim uint32) {
	d := &b.out.delivery
	d.Group, d.Topic, d.Offset, d.Attempt, d.ClaimGeneration = c.group.name, c.topic.name, offset, attempt, claim
	d.Envelope = e.bytes
	b.env.Net.Send(to, d, actor.SendOptions{Key: "deliver/" + d.Group + "/" + e.eventID, Attempt: attempt - min(attempt, 1)})
}

// end ends a pending entry that may not be delivered any more: it is expired,
// or has been delivered as often as it may be.
func (b *oona) end(c *cursor, p *pending, now int64) bool {
	e := c.topic.at(p.offset)
	switch {
	case e == nil:
		c.remove(p.offset)
	case now >= e.expires:
		c.remove(p.offset)
		b.ended(c, p.offset, evidencev2.BusAction_BUS_EXPIRED, "", "")
	case p.attempts >= e.attempts && p.due <= now:
		if b.deadLetter(c, p, e, now) {
			c.remove(p.offset)
		} else {
			return false
		}
	default:
		return false
	}
	return true
}

// deadLetter stages the entry's own bytes for the topic of dead letters. In
// the log that publication and the end of the entry stand in one batch, so
// that no crash keeps one without the other.
func (b *oona) deadLetter(c *cursor, p *pending, e *entry, now int64) bool {
	return b.bury(c, p, e, now, "")
}

// bury is deadLetter for a reason.
func (b *oona) bury(c *cursor, p *pending, e *entry, now int64, why string) bool {
	if c.topic.name == DeadLetters {
		// There is nowhere further to go: it stays here, ended for this group.
		b.ended(c, p.offset, evidencev2.BusAction_BUS_DEAD_LETTERED, p.last, "a dead letter nobody could take")
		return true
	}
	id := "dead-letter/" + c.group.name + "/" + e.eventID
	if _, ok := b.s.ids[id]; !ok && !b.waiting[id] {
		b.stage(staged{
			topic: DeadLetters,
			entry: entry{bytes: e.bytes, eventID: id, received: now, expires: now + int64(b.ttl(envelopev2.Priority_BACKGROUND)), attempts: uint32(b.o.Attempts), tier: tierOf(envelopev2.Priority_BACKGROUND), sum: e.sum},
		})
	}
	b.ended(c, p.offset, evidencev2.BusAction_BUS_DEAD_LETTERED, p.last, why)
	return true
}

// ended logs and declares that an entry has ended for a group. The entry is
// still kept, and the cursor does not have it as pending any more.
func (b *oona) ended(c *cursor, offset int64, how evidencev2.BusAction, who, why string) {
	ch := b.change()
	ch.Group, ch.Topic, ch.Offset, ch.Ended = c.group.name, c.topic.name, offset, true
	b.soon()
	b.fact.Reason = why
	b.tell(how, c, offset, c.topic.at(offset), who, nil)
	b.fact.Reason = ""
}

func (b *oona) tell(how evidencev2.BusAction, c *cursor, offset int64, e *entry, who string, p *pending) {
	f := &b.fact
	f.Action, f.Topic, f.Group, f.Offset, f.Consumer = how, c.topic.name, c.group.name, offset, who
	f.EventId, f.EnvelopeSha256, f.ClaimGeneration, f.Attempt = "", nil, 0, 0
	if e != nil {
		f.EventId = e.eventID
	}
	if p != nil {
		f.ClaimGeneration, f.Attempt = p.claim, p.attempts
	}
	b.env.Facts.Record(f)
}

// sweep looks after what time alone brings about: leases, idle entries,
// expiry, retention.
func (b *oona) sweep() {
	now := b.now()
	for _, g := range b.s.groups {
		for i := 0; i < len(g.consumers); i++ {
			if c := g.consumers[i]; now-c.seen > int64(b.o.Lease) {
				g.leave(c, now)
				i--
			}
		}
	}
	for _, t := range b.s.topics {
		for _, at := range t.age(now) {
			b.raised(t, at)
		}
	}
	for _, g := range b.s.groups {
		for _, c := range g.cursors {
			b.expire(c, now)
			b.again(c, now)
			b.pump(c)
		}
	}
	for _, t := range b.s.topics {
		b.trim(t, now)
	}
	b.judge()
}

// raised declares that an entry counts for one tier more.
func (b *oona) raised(t *topic, offset int64) {
	e := t.at(offset)
	b.env.Probe.Reached("oona/aged")
	f := &b.fact
	f.Action, f.Topic, f.Group, f.Offset, f.Consumer = evidencev2.BusAction_BUS_AGED, t.name, "", offset, ""
	f.EventId, f.EnvelopeSha256, f.ClaimGeneration, f.Attempt, f.Tier = e.eventID, nil, 0, 0, uint32(e.rank())
	b.env.Facts.Record(f)
	f.Tier = 0
}

// expire ends what nobody asks for: entries at the cursor of a group without
// consumers would otherwise be kept for ever.
func (b *oona) expire(c *cursor, now int64) {
	for i := 0; i < len(c.pending); i++ {
		if e := c.topic.at(c.pending[i].offset); e == nil || now >= e.expires {
			b.end(c, c.pending[i], now)
			i--
		}
	}
	for c.next < c.topic.next() && now >= c.topic.at(c.next).expires {
		p := &pending{offset: c.next}
		c.next++
		c.add(p)
		b.end(c, p, now)
	}
}

// trim lets go of old entries of a topic, at most up to what a durable group
// still needs. Telemetry of seeds is kept for its time, however much there is of
// it; of all else the newest.
func (b *oona) trim(t *topic, now int64) {
	needed := t.needed()
	before := t.first
	for before < needed {
		e := t.at(before)
		if now-e.received < int64(b.o.Age) && (t.name == SeedTelemetry || t.next()-before <= int64(b.o.Retain)) {
			break
		}
		before++
	}
	if needed < t.next() && b.env.Probe.Sometimes("trim-pending") {
		before = t.next()
	}
	if before == t.first {
		return
	}
	f := &b.fact
	f.Action, f.Topic, f.Group, f.Offset, f.Consumer = evidencev2.BusAction_BUS_TRIMMED, t.name, "", before-1, ""
	f.EventId, f.EnvelopeSha256, f.ClaimGeneration, f.Attempt = "", nil, 0, 0
	b.env.Facts.Record(f)
	b.s.trim(t, before)
}
