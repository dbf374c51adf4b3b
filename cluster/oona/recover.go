package oona

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/wal"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
)

// open recovers the log. After damage the bus takes nothing any more; any
// other error is tried again later.
func (b *oona) open() {
	b.log, b.refused = nil, nil
	b.staged, b.flight, b.stagedBytes, b.changes = nil, nil, 0, nil
	b.waiting = make(map[string]bool)
	b.timer, b.urgent, b.resting = false, false, false
	b.logged, b.batch, b.rewound = 0, 0, false
	b.env.Clock.StopTimer("commit", 0)
	r := recovery{s: newState(uint32(b.env.Incarnation)<<16 | b.reopens&0xff<<8), o: &b.o, vouch: b.vouch}
	log, err := wal.Open(b.env.FS, "bus", wal.Options{
		SegmentSize: int64(b.o.Segment), Deadline: b.o.Timeout, Clock: b.env.Clock, Probe: b.env.Probe,
		Facts: b.logEvent, Replay: r.replay, Firm: true,
	})
	var damage *wal.CorruptionError
	switch {
	case errors.As(err, &damage) || errors.As(err, new(*strange)):
		// Serving what is left would deliver some events and silently not
		// others. Whoever publishes is told.
		b.refused = err
		b.s = newState(0)
		b.env.Probe.Reached("oona/refused")
		return
	case err != nil:
		b.s = newState(0)
		if now := b.env.Clock.Monotonic(); b.breaker.State(now) == breaker.Closed {
			// It is for those who publish that it is opened.
			ticket, _ := b.breaker.Allow(now)
			b.breaker.Done(now, ticket, false)
			b.judge()
		}
		b.env.Clock.SetTimer("open", 0, retry)
		return
	}
	b.log, b.s = log, r.s
	b.logged = r.bytes
	if mono := int64(b.env.Clock.Monotonic()); r.time > mono {
		b.shift = max(b.shift, time.Duration(r.time-mono))
	}
	// The newest batch may have become durable without anybody being told: by
	// recovery itself. Nobody may be surprised by its entries.
	for _, p := range r.last {
		if e := p.topic.at(p.offset); e != nil { // it may have been trimmed since
			b.appended(p.topic.name, e, p.offset, "")
		}
	}
	for _, t := range b.s.topics {
		for _, c := range t.cursors {
			if b.env.Probe.Sometimes("rewind-cursor") {
				b.s.rewind(c, 16)
				b.rewound = true
			}
		}
		f := &b.fact
		f.Action, f.Topic, f.Group, f.Offset, f.Consumer = evidencev2.BusAction_BUS_RECOVERED, t.name, "", t.next(), ""
		f.EventId, f.EnvelopeSha256, f.ClaimGeneration, f.Attempt = "", nil, 0, 0
		b.env.Facts.Record(f)
	}
}

// rewind is Redis #7105: a group's cursor is back where it was n entries ago.
func (s *state) rewind(c *cursor, n int64) {
	from := max(c.topic.first, c.next-n)
	for at := from; at < c.next; at++ {
		c.add(&pending{offset: at, claim: s.claims})
	}
}

// strange is a log that is whole and makes no sense.
type strange struct{ detail string }

func (e *strange) Error() string { return "oona: the log makes no sense: " + e.detail }

// recovery rebuilds the state from records in order.
type recovery struct {
	s     *state
	time  int64
	bytes int
	batch busv2.StoredBatch
	last  []place              // of the newest batch
	snap  busv2.StoredSnapshot // of the transaction that is being read
	o     *Options
	vouch func(lsn uint64, sum [sha256.Size]byte, rebuilt bool)
	whole bool // what was read so far is all that there is, not the end of what was let go
}

func (r *recovery) replay(rec wal.Record) error {
	r.bytes += len(rec.Payload) + 512
	r.whole = r.whole || rec.LSN == 1
	switch {
	case rec.Kind == kindSnapshot && rec.Op == wal.Begin:
		r.s = newState(r.s.claims)
		r.bytes, r.last = 0, r.last[:0]
		if err := r.snap.ParseCanonical(rec.Payload); err != nil {
			return &strange{err.Error()}
		}
		r.time = max(r.time, r.snap.TimeNs)
		for _, t := range r.snap.Topics {
			r.s.topic(t.Name).first = t.FirstOffset
		}
		return nil
	case rec.Kind == kindSnapshot && rec.Op == wal.Commit:
		r.s.load(&r.snap)
		r.whole = true
		return nil
	case rec.Kind == kindBatch, rec.Kind == kindEntries:
	default:
		return nil
	}
	m := &r.batch
	if err := m.ParseCanonical(rec.Payload); err != nil {
		return &strange{err.Error()}
	}
	r.time = max(r.time, m.TimeNs)
	if rec.Kind == kindBatch {
		r.last = r.last[:0]
	}
	for _, e := range m.Entries {
		t := r.s.topic(e.Topic)
		if len(t.entries) == 0 && rec.Kind == kindBatch && e.Offset > t.first {
			// The log begins here: the snapshot that follows says so.
			r.s.trim(t, e.Offset)
			t.first = e.Offset
			for _, c := range t.cursors {
				c.next = max(c.next, t.first)
			}
		}
		if e.Offset != t.next() {
			return &strange{fmt.Sprintf("entry %d of topic %s where %d was due", e.Offset, e.Topic, t.next())}
		}
		r.s.append(t, entry{
			bytes: append([]byte(nil), e.Envelope...), eventID: e.EventId,
			received: e.ReceivedNs, expires: e.ExpiresNs, attempts: e.MaxAttempts,
			tier: tierIn(e.Envelope), sum: sha256.Sum256(e.Envelope),
		})
		if rec.Kind == kindBatch {
			r.last = append(r.last, place{t, t.next() - 1})
		}
	}
	for _, c := range m.Changes {
		r.s.change(c)
	}
	if rec.Kind == kindBatch && r.whole && uint64(rec.LSN)%digestEvery == 0 {
		r.vouch(uint64(rec.LSN), r.s.digest(m.TimeNs, r.o), true)
	}
	return nil
}

// change applies a logged change of a group.
func (s *state) change(m *busv2.GroupChange) {
	g, _ := s.group(m.Group)
	if m.Topic == "" {
		g.durable = g.durable || m.Durable
		return
	}
	c := s.cursorOf(g, s.topic(m.Topic))
	if c.topic.at(m.Offset) == nil {
		return // of an entry that is gone; the snapshot that follows knows more
	}
	c.skip(m.Offset+1, s.claims)
	if m.Ended {
		c.remove(m.Offset)
	} else if p := c.find(m.Offset); p != nil {
		p.attempts = max(p.attempts, m.Attempts)
	}
}

// save is the state without the entries.
func (s *state) save(now int64) *busv2.StoredSnapshot {
	m := &busv2.StoredSnapshot{TimeNs: now}
	for _, t := range s.topics {
		m.Topics = append(m.Topics, &busv2.StoredTopic{Name: t.name, FirstOffset: t.first, NextOffset: t.next()})
	}
	for _, g := range s.groups {
		m.Groups = append(m.Groups, &busv2.StoredGroup{Name: g.name, Durable: g.durable})
		for _, c := range g.cursors {
			row := &busv2.StoredCursor{Group: g.name, Topic: c.topic.name, NextOffset: c.next}
			for _, p := range c.pending {
				row.Pending = append(row.Pending, &busv2.StoredPending{Offset: p.offset, Attempts: p.attempts})
			}
			m.Cursors = append(m.Cursors, row)
		}
	}
	return m
}

// load puts the groups of a snapshot over entries that are there already.
func (s *state) load(m *busv2.StoredSnapshot) {
	for _, row := range m.Groups {
		g, _ := s.group(row.Name)
		g.durable = row.Durable
	}
	for _, row := range m.Cursors {
		g, _ := s.group(row.Group)
		c := s.cursorOf(g, s.topic(row.Topic))
		c.next = row.NextOffset
		for _, p := range row.Pending {
			c.add(&pending{offset: p.Offset, attempts: p.Attempts, claim: s.claims})
		}
	}
}
