package oona

import (
	"crypto/sha256"
	"errors"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/durations"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
)

// staged is a publication on its way into the log. from is empty for a dead
// letter, which nobody waits for.
type staged struct {
	topic  string
	from   actor.ID
	entry  entry
	ticket breaker.Ticket // of a publication
}

// writer is the memory in which batches are encoded.
type writer struct {
	batch   busv2.StoredBatch
	entries []*busv2.StoredEntry
	buf     []byte
}

// entry is the n-th reused message for an entry.
func (w *writer) entry(n int) *busv2.StoredEntry {
	for n >= len(w.entries) {
		w.entries = append(w.entries, new(busv2.StoredEntry))
	}
	return w.entries[n]
}

// publish takes a publication: its bytes go into the log as they came.
func (b *oona) publish(from actor.ID, e *envelopev2.EventEnvelope, raw []byte) {
	id, topic := e.EventId, e.Topic
	switch {
	case b.refused != nil:
		b.answer(from, id, topic, 0, busv2.PublishStatus_REFUSED, b.refused.Error())
		return
	case b.breaker.State(b.env.Clock.Monotonic()) == breaker.Open:
		b.answer(from, id, topic, 0, busv2.PublishStatus_REFUSED, brokenLog)
		return
	case b.log == nil || len(b.staged)+len(b.flight) >= unsynced && e.Priority != envelopev2.Priority_EMERGENCY:
		return
	case id == "" || topic == DeadLetters:
		b.answer(from, id, topic, 0, busv2.PublishStatus_REFUSED, "no event id, or a topic of the bus's own")
		return
	case len(raw) > MaxPublication:
		b.answer(from, id, topic, 0, busv2.PublishStatus_REFUSED, "over 256 KiB")
		return
	}
	if p, ok := b.s.ids[id]; ok {
		b.answer(from, id, p.topic.name, p.offset, busv2.PublishStatus_DUPLICATE, "")
		return
	}
	if b.waiting[id] {
		return // the first copy's answer is on its way
	}
	if e.SchemaMinor > 0 {
		if reads := b.s.reads(topic); e.SchemaMinor > reads {
			b.env.Probe.Reached("oona/too-new")
			b.tooNew(from, id, topic, reads)
			return
		}
	}
	tier := tierOf(e.Priority)
	if why := b.admit(topic, tier); why != "" {
		b.answer(from, id, topic, 0, busv2.PublishStatus_REFUSED, why)
		return
	}
	ticket, ok := b.breaker.Allow(b.env.Clock.Monotonic())
	if !ok {
		b.answer(from, id, topic, 0, busv2.PublishStatus_REFUSED, brokenLog)
		return
	}
	now := b.now()
	ttl := b.ttl(e.Priority)
	if d, err := durations.To(e.Ttl); err == nil && d > 0 { // one beyond 292 years is longer than ours
		ttl = min(ttl, d)
	}
	attempts := e.MaxAttempts
	if attempts == 0 {
		attempts = uint32(b.o.Attempts)
	}
	own := append([]byte(nil), raw...)
	if b.env.Probe.Sometimes("poison") {
		// In the log as well: an entry that nobody can decode stays one over
		// restarts, and what is read of it is what is delivered.
		own[len(own)/2] ^= 0x10
		tier = tierIn(own)
	}
	b.stage(staged{topic: topic, from: from, ticket: ticket, entry: entry{
		bytes: own, eventID: id, received: now, expires: now + int64(ttl), attempts: attempts, tier: tier, sum: sha256.Sum256(own),
	}})
	// An emergency does not wait for others to share its sync.
	if tier == 0 || b.stagedBytes > 1<<20 || b.env.Probe.Sometimes("oona/commit-early") {
		b.commit()
	}
}

// ttl is how long an entry of a priority is delivered: 5, 10, 30, 60 and 120
// minutes for the most urgent to the least.
func (b *oona) ttl(p envelopev2.Priority) time.Duration {
	switch p {
	case envelopev2.Priority_EMERGENCY:
		return b.o.TTL / 6
	case envelopev2.Priority_STRATEGIC:
		return b.o.TTL / 3
	case envelopev2.Priority_EXPERIMENTAL:
		return b.o.TTL * 2
	case envelopev2.Priority_BACKGROUND:
		return b.o.TTL * 4
	}
	return b.o.TTL
}

func (b *oona) stage(s staged) {
	b.staged = append(b.staged, s)
	b.waiting[s.entry.eventID] = true
	b.stagedBytes += len(s.entry.bytes)
	b.promptly()
}

// promptly starts the commit timer with the short delay.
func (b *oona) promptly() {
	if !b.timer || !b.urgent && !b.resting {
		b.timer, b.urgent = true, true
		wait := b.o.Group
		if b.env.Probe.Sometimes("oona/commit-late") {
			wait *= 10
		}
		b.env.Clock.SetTimer("commit", 0, wait)
	}
}

// soon starts the commit timer with the long delay: what waits is only
// acknowledgements.
func (b *oona) soon() {
	if !b.timer {
		b.timer = true
		b.env.Clock.SetTimer("commit", 0, b.o.AckFlush)
	}
}

// rest starts the commit timer after the disk refused.
func (b *oona) rest() {
	b.timer, b.resting = true, true
	b.env.Clock.SetTimer("commit", 0, retry)
}

// change is an empty group change for the next batch.
func (b *oona) change() *busv2.GroupChange {
	var c *busv2.GroupChange
	if n := len(b.freeChanges); n > 0 {
		c, b.freeChanges = b.freeChanges[n-1], b.freeChanges[:n-1]
		c.Group, c.Topic, c.Offset, c.Ended, c.Attempts, c.Durable = "", "", 0, false, 0, false
	} else {
		c = new(busv2.GroupChange)
	}
	b.changes = append(b.changes, c)
	return c
}

// commit writes what waits as one record, makes it durable, and lets it take
// effect: answers to publishers, deliveries to groups.
func (b *oona) commit() {
	if b.log == nil {
		return
	}
	if len(b.flight) == 0 && (len(b.staged) > 0 || len(b.changes) > 0) {
		if !b.append() {
			return
		}
	}
	if err := b.log.Sync(); err != nil {
		b.failed(err)
		return
	}
	b.settle()
	if len(b.staged) > 0 {
		b.promptly()
	} else if len(b.changes) > 0 {
		b.soon()
	}
	if b.logged > max(b.o.Snapshot, 2*b.s.bytes) || b.logged > b.o.Snapshot/8 && b.env.Probe.Sometimes("oona/snapshot-early") {
		b.snapshot()
	}
}

// append writes one batch into the log's buffer. What it held is in flight
// then, until a sync succeeds.
func (b *oona) append() bool {
	w := &b.w
	m := &w.batch
	m.TimeNs, m.Changes = b.now(), b.changes
	m.Entries = m.Entries[:0]
	for i := range b.staged {
		s := &b.staged[i]
		e := w.entry(i)
		e.Topic, e.EventId, e.Envelope = s.topic, s.entry.eventID, s.entry.bytes
		e.ReceivedNs, e.ExpiresNs, e.MaxAttempts = s.entry.received, s.entry.expires, s.entry.attempts
		// Offsets follow from the order: nothing else is in flight.
		t := b.s.topic(s.topic)
		e.Offset = t.next() + t.ahead
		t.ahead++
		m.Entries = append(m.Entries, e)
	}
	for i := range b.staged {
		b.s.topic(b.staged[i].topic).ahead = 0
	}
	w.buf = m.AppendCanonical(w.buf[:0])
	lsn, err := b.log.Append(kindBatch, 0, w.buf)
	if err != nil {
		b.failed(err)
		return false
	}
	b.batch, b.batchTime = uint64(lsn), m.TimeNs
	b.logged += len(w.buf) + 512
	b.flight, b.staged = b.staged, b.flight[:0]
	b.stagedBytes = 0
	b.freeChanges = append(b.freeChanges, b.changes...)
	b.changes = b.changes[:0]
	return true
}

// settle lets what has become durable take effect.
func (b *oona) settle() {
	flight := b.flight
	for i := range flight {
		s := &flight[i]
		t := b.s.topic(s.topic)
		offset := b.s.append(t, s.entry)
		delete(b.waiting, s.entry.eventID)
		b.appended(s.topic, &s.entry, offset, s.from)
		if s.from != "" {
			b.breaker.Done(b.env.Clock.Monotonic(), s.ticket, true)
			b.answer(s.from, s.entry.eventID, s.topic, offset, busv2.PublishStatus_ACCEPTED, "")
		}
	}
	// Nothing has happened since the record that is not in it: the state is what
	// the log says.
	if b.batch%digestEvery == 0 && b.batch > 0 && len(b.changes) == 0 && !b.rewound {
		b.vouch(b.batch, b.s.digest(b.batchTime, &b.o), false)
	}
	b.batch = 0
	for i := range flight {
		for _, c := range b.s.topic(flight[i].topic).cursors {
			b.pump(c)
		}
		flight[i] = staged{}
	}
	b.flight = flight[:0]
}

// appended declares that an entry is durable.
func (b *oona) appended(topic string, e *entry, offset int64, from actor.ID) {
	f := &b.fact
	f.Action, f.Topic, f.Group, f.Offset, f.Consumer = evidencev2.BusAction_BUS_APPENDED, topic, "", offset, string(from)
	f.EventId, f.EnvelopeSha256, f.ClaimGeneration, f.Attempt = e.eventID, e.sum[:], 0, 0
	b.env.Facts.Record(f)
}

func (b *oona) answer(to actor.ID, id, topic string, offset int64, status busv2.PublishStatus, why string) {
	r := &b.out.published
	if l := b.level(topic).String(); l != "" && b.log != nil {
		// Publishers that can wait do: see package outbox.
		if why != "" {
			why += "; "
		}
		why += l
	}
	r.EventId, r.Topic, r.Offset, r.Status, r.Reason, r.ReadsMinor = id, topic, offset, status, why, 0
	b.env.Net.Send(to, r, actor.SendOptions{Key: "published/" + id})
}

// tooNew answers a publication that a live consumer of its topic could not read
// in full.
func (b *oona) tooNew(to actor.ID, id, topic string, reads uint32) {
	r := &b.out.published
	r.EventId, r.Topic, r.Offset, r.Status, r.ReadsMinor = id, topic, 0, busv2.PublishStatus_TOO_NEW, reads
	r.Reason = "a live consumer of the topic does not know its version yet"
	b.env.Net.Send(to, r, actor.SendOptions{Key: "published/" + id})
}

// failed decides what a refused write means. A full disk is an answer: the log
// is as before, and is tried again later. Anything else leaves open what is on
// the disk, and only recovery can tell.
func (b *oona) failed(err error) {
	if errors.Is(err, actor.ErrNoSpace) {
		b.env.Probe.Reached("oona/no-space")
		b.rest()
		return
	}
	b.env.Probe.Reached("oona/reopen")
	b.trouble()
	b.reopens++
	b.log = nil
	b.open()
}

// trouble tells the breaker that what is under way has come to nothing. It is
// one failure, however many publications share it; a full disk is none.
func (b *oona) trouble() {
	now := b.env.Clock.Monotonic()
	for _, list := range [2][]staged{b.flight, b.staged} {
		for i := range list {
			if list[i].from != "" {
				b.breaker.Done(now, list[i].ticket, false)
				return
			}
		}
	}
}

// snapshot writes everything that is kept and lets go of the log before it.
// Without it a topic with few entries would hold up the log of all others.
func (b *oona) snapshot() {
	id, err := b.log.Begin(kindSnapshot, 0, b.s.save(b.now()).AppendCanonical(b.w.buf[:0]))
	if err == nil {
		err = b.saveEntries()
	}
	if err == nil {
		_, err = b.log.Commit(nil)
	}
	if err == nil {
		b.env.Probe.Reached("oona/snapshot")
		b.logged = 0
		err = b.log.TruncateBefore(id)
	}
	if err == nil {
		return
	}
	if errors.Is(err, actor.ErrNoSpace) && b.log.InTxn() {
		if aerr := b.log.Abort(); aerr != nil && !errors.Is(aerr, actor.ErrNoSpace) {
			err = aerr
		}
	}
	b.logged /= 2 // not at once again
	b.failed(err)
}

// saveEntries writes the kept entries as records of at most 64 KiB or one
// entry.
func (b *oona) saveEntries() error {
	w := &b.w
	m := &w.batch
	m.TimeNs, m.Changes, m.Entries = 0, nil, m.Entries[:0]
	size := 0
	flush := func() error {
		if len(m.Entries) == 0 {
			return nil
		}
		w.buf = m.AppendCanonical(w.buf[:0])
		m.Entries, size = m.Entries[:0], 0
		_, err := b.log.Data(kindEntries, w.buf)
		return err
	}
	for _, t := range b.s.topics {
		for i := range t.entries {
			src := &t.entries[i]
			if size > 0 && size+len(src.bytes) > 64<<10 {
				if err := flush(); err != nil {
					return err
				}
			}
			e := w.entry(len(m.Entries))
			e.Topic, e.Offset, e.EventId, e.Envelope = t.name, t.first+int64(i), src.eventID, src.bytes
			e.ReceivedNs, e.ExpiresNs, e.MaxAttempts = src.received, src.expires, src.attempts
			m.Entries = append(m.Entries, e)
			size += len(src.bytes) + 100
		}
	}
	return flush()
}

// The kinds of records in Oona's log.
const (
	kindBatch uint16 = iota + 1
	kindSnapshot
	kindEntries
)

// logEvent turns what happens to the log into facts.
func (b *oona) logEvent(e wal.Event) {
	f := &b.logF
	f.Log, f.Lsn, f.Reason = string(b.env.Self), uint64(e.LSN), ""
	switch e.What {
	case wal.Durable:
		f.Action = evidencev2.LogAction_LOG_DURABLE
	case wal.Recovered:
		f.Action = evidencev2.LogAction_LOG_RECOVERED
	case wal.Cut:
		f.Action = evidencev2.LogAction_LOG_CUT
	case wal.Refused:
		f.Action = evidencev2.LogAction_LOG_REFUSED
		var p *wal.PoisonedError
		if errors.As(e.Err, &p) {
			f.Action = evidencev2.LogAction_LOG_POISONED
		}
		f.Reason = e.Err.Error()
	default:
		return
	}
	b.env.Facts.Record(f)
}
