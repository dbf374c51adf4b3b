package checkers

import (
	"fmt"
	"slices"
	"sort"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// bus judges O1 and O2 from what the bus told its publishers and handed to its
// consumers. Its facts are needed only where it says nothing to anybody: that
// an entry expired, was dead-lettered or trimmed.
type bus struct {
	topics map[string]*busTopic
	groups map[string]*busGroup // by "group"
	settle func(int64) bool
	name   string // of the bus's node; empty: any
	last   int64
	bytes  map[string][]uint64 // event id to the hashes of the envelopes that were published under it
	order  []string            // of bytes, oldest first
	shed   map[busKey]bool     // what made room; whether it had to is O6's
	down   map[string]bool     // nodes that have died, and are not back
}

type busTopic struct {
	name   string
	ring   [ringSize]ringEntry // the newest offsets
	acked  int64               // highest offset that was acknowledged to a publisher
	events map[string]int64    // unacknowledged by some durable group: event id to offset
}

// ringSize is how many offsets of a topic the checker remembers the bytes of.
const ringSize = 4096

type ringEntry struct {
	offset int64 // plus one, so that zero is empty
	hash   uint64
}

type busGroup struct {
	name    string
	durable bool
	topics  map[string]bool
	pending map[busKey]*busEntry
	nodes   map[string]bool // its consumers'
}

type busKey struct {
	topic  string
	offset int64
}

type busEntry struct {
	event     string
	at        int64 // acknowledged to the publisher
	seq       uint64
	delivered bool
	expires   int64
}

func newBus(p Params) Checker {
	return &bus{topics: map[string]*busTopic{}, groups: map[string]*busGroup{}, settle: p.Settled, name: p.Bus, bytes: map[string][]uint64{}, shed: map[busKey]bool{}, down: map[string]bool{}}
}

func (*bus) Invariants() []string { return []string{"O1", "O2"} }

// lifetimes are the design's times to live by priority (card 09).
var lifetimes = map[envelopev2.Priority]time.Duration{
	envelopev2.Priority_EMERGENCY: 5 * time.Minute, envelopev2.Priority_STRATEGIC: 10 * time.Minute,
	envelopev2.Priority_NORMAL: 30 * time.Minute, envelopev2.Priority_EXPERIMENTAL: 60 * time.Minute,
	envelopev2.Priority_BACKGROUND: 120 * time.Minute,
}

func (b *bus) topic(name string) *busTopic {
	t := b.topics[name]
	if t == nil {
		t = &busTopic{name: name, acked: -1, events: map[string]int64{}}
		b.topics[name] = t
	}
	return t
}

// same says whether an offset still holds the bytes it held when it was last
// seen.
func (t *busTopic) same(offset int64, bytes []byte) bool {
	r := &t.ring[uint64(offset)%ringSize]
	h := trace.Bytes(1, bytes)
	if r.offset == offset+1 && r.hash != h {
		return false
	}
	r.offset, r.hash = offset+1, h
	return true
}

func (b *bus) Observe(e *Event, j *Judge) {
	b.last = e.At
	switch e.Kind {
	case trace.MessageSent:
		b.sent(e, j)
	case trace.MessageDelivered:
		if m, ok := e.Mail.Payload.(*busv2.Subscribe); ok {
			b.subscribe(m, e.Node)
		}
	case trace.NodeStarted:
		b.down[e.Node] = false
	case trace.NodeCrashed, trace.NodeExited:
		b.down[e.Node] = true
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.BusFact); ok {
			b.fact(e, f, j)
		}
	}
}

// published notes the bytes of a publication. Repeats of an event may differ in
// their times; the bus keeps one of them.
func (b *bus) published(event string, bytes []byte) {
	h := trace.Bytes(1, bytes)
	list, known := b.bytes[event]
	if !known {
		b.order = append(b.order, event)
		if len(b.order) > ringSize {
			delete(b.bytes, b.order[0])
			b.order = b.order[1:]
		}
	}
	if !slices.Contains(list, h) {
		b.bytes[event] = append(list, h)
	}
}

// asPublished says whether an event still has bytes that were published under
// its id; one that was published too long ago is believed.
func (b *bus) asPublished(event string, bytes []byte) bool {
	list, known := b.bytes[event]
	return !known || slices.Contains(list, trace.Bytes(1, bytes))
}

func (b *bus) subscribe(m *busv2.Subscribe, by string) {
	g := b.groups[m.Group]
	if g == nil {
		g = &busGroup{name: m.Group, topics: map[string]bool{}, pending: map[busKey]*busEntry{}, nodes: map[string]bool{}}
		b.groups[m.Group] = g
	}
	g.durable = g.durable || m.Durable
	g.nodes[by] = true
	for _, t := range m.Topics {
		g.topics[t] = true
	}
}

func (b *bus) sent(e *Event, j *Judge) {
	if env := e.Mail.Envelope; env.Topic != "" {
		b.published(env.EventId, e.Data)
		return
	}
	if b.name != "" && e.Node != b.name {
		return // it only looks like the bus
	}
	switch m := e.Mail.Payload.(type) {
	case *busv2.PublishAck:
		if m.Status != busv2.PublishStatus_ACCEPTED {
			return
		}
		t := b.topic(m.Topic)
		if m.Offset <= t.acked {
			if off, known := t.events[m.EventId]; !known || off != m.Offset {
				j.Violate("O2", e.Node, fmt.Sprintf("event %s was accepted at offset %d of %s, and offset %d was acknowledged before: an acknowledged entry is lost", m.EventId, m.Offset, m.Topic, t.acked))
			}
			return
		}
		t.acked = m.Offset
		for _, g := range b.groups {
			if g.durable && g.topics[m.Topic] {
				g.pending[busKey{m.Topic, m.Offset}] = &busEntry{event: m.EventId, at: e.At, seq: e.Seq}
			}
		}
	case *busv2.Delivery:
		t := b.topic(m.Topic)
		if !t.same(m.Offset, m.Envelope) {
			j.Violate("O1", e.Node, fmt.Sprintf("offset %d of %s holds other bytes than before", m.Offset, m.Topic))
		} else if e.Inner != nil && !b.asPublished(e.Inner.Envelope.EventId, m.Envelope) {
			j.Violate("O1", e.Node, fmt.Sprintf("event %s is delivered with other bytes than were published", e.Inner.Envelope.EventId))
		} else {
			j.Judged("O1")
		}
		if g := b.groups[m.Group]; g != nil {
			if p := g.pending[busKey{m.Topic, m.Offset}]; p != nil {
				p.delivered = true
				if e.Inner != nil {
					if life, ok := lifetimes[e.Inner.Envelope.Priority]; ok && e.At-p.at > int64(life)+int64(life)/50 {
						j.Violate("O2", e.Node, fmt.Sprintf("event %s was delivered %v after it was published; it lives %v", p.event, time.Duration(e.At-p.at), life), p.seq)
					}
				}
			}
		}
	case *busv2.LogSlice:
		t := b.topic(m.Topic)
		prev := int64(-1)
		for _, entry := range m.Entries {
			if entry.Offset <= prev {
				j.Violate("O1", e.Node, fmt.Sprintf("a reading of %s gives offset %d after %d", m.Topic, entry.Offset, prev))
			}
			prev = entry.Offset
			if !t.same(entry.Offset, entry.Envelope) {
				j.Violate("O1", e.Node, fmt.Sprintf("offset %d of %s is read with other bytes than before", entry.Offset, m.Topic))
			} else {
				j.Judged("O1")
			}
		}
		if m.NextOffset > 0 && m.NextOffset <= t.acked {
			j.Violate("O2", e.Node, fmt.Sprintf("the log of %s ends at %d, and offset %d was acknowledged", m.Topic, m.NextOffset, t.acked))
		}
	case *busv2.AckReply:
		if m.Status == busv2.AckStatus_ACKED {
			b.end(m.Group, m.Topic, m.Offset, j)
		}
	}
}

// end notes that an entry is done with for a group.
func (b *bus) end(group, topic string, offset int64, j *Judge) {
	if g := b.groups[group]; g != nil {
		if _, ok := g.pending[busKey{topic, offset}]; ok {
			delete(g.pending, busKey{topic, offset})
			j.Judged("O2")
		}
	}
}

func (b *bus) fact(e *Event, f *evidencev2.BusFact, j *Judge) {
	switch f.Action {
	case evidencev2.BusAction_BUS_SHED:
		if len(b.shed) > ringSize {
			clear(b.shed)
		}
		b.shed[busKey{f.Topic, f.Offset}] = true
	case evidencev2.BusAction_BUS_EXPIRED:
		b.end(f.Group, f.Topic, f.Offset, j)
	case evidencev2.BusAction_BUS_DEAD_LETTERED:
		// Not before it was tried, unless it made room: its deliveries are in the
		// trace.
		if g := b.groups[f.Group]; g != nil {
			if p := g.pending[busKey{f.Topic, f.Offset}]; p != nil && !p.delivered && !b.shed[busKey{f.Topic, f.Offset}] {
				j.Violate("O2", e.Node, fmt.Sprintf("event %s is dead-lettered for the group %s, and was never delivered to it", p.event, f.Group), p.seq)
			}
		}
		b.end(f.Group, f.Topic, f.Offset, j)
	case evidencev2.BusAction_BUS_TRIMMED:
		// Everything up to the offset is gone.
		for _, name := range b.names() {
			g := b.groups[name]
			if !g.durable {
				continue
			}
			for _, k := range sortedKeys(g.pending) {
				if k.topic == f.Topic && k.offset <= f.Offset {
					p := g.pending[k]
					delete(g.pending, k)
					j.Violate("O2", e.Node, fmt.Sprintf("event %s at offset %d of %s was trimmed, and the durable group %s has not acknowledged it", p.event, k.offset, k.topic, g.name), p.seq)
				}
			}
		}
	case evidencev2.BusAction_BUS_RECOVERED:
		if t := b.topics[f.Topic]; t != nil && f.Offset <= t.acked {
			j.Violate("O2", e.Node, fmt.Sprintf("after a restart the log of %s ends at offset %d, and offset %d was acknowledged", f.Topic, f.Offset, t.acked))
		}
	}
}

// names are the groups' names in order, so that findings have one order.
func (b *bus) names() []string {
	names := make([]string, 0, len(b.groups))
	for n := range b.groups {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

func sortedKeys(m map[busKey]*busEntry) []busKey {
	keys := make([]busKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		return keys[i].topic < keys[j].topic || keys[i].topic == keys[j].topic && keys[i].offset < keys[j].offset
	})
	return keys
}

// undelivered is how long after the faults have ended an acknowledged entry
// may wait for its first delivery to a durable group.
const undelivered = int64(20 * time.Second)

// deserted says whether all consumers of a group are dead.
func (b *bus) deserted(g *busGroup) bool {
	for n := range g.nodes {
		if !b.down[n] {
			return false
		}
	}
	return true
}

func (b *bus) Finish(j *Judge) {
	if b.settle == nil || !b.settle(b.last-undelivered) {
		return
	}
	for _, n := range b.names() {
		g := b.groups[n]
		if b.deserted(g) {
			continue // what nobody is there to take is kept
		}
		for _, k := range sortedKeys(g.pending) {
			if p := g.pending[k]; b.last-p.at > undelivered {
				j.Violate("O2", "", fmt.Sprintf("event %s at offset %d of %s was acknowledged at %s and is not done with for the durable group %s (delivered: %v)", p.event, k.offset, k.topic, trace.Stamp(p.at), n, p.delivered), p.seq)
			}
		}
	}
}
