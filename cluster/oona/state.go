package oona

import (
	"math"
	"slices"
	"sort"

	"github.com/esper-sim/espersim/cluster/actor"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
)

// state is what Oona knows: topics, groups and where each group stands in each
// topic. It is pure: it knows neither disk nor net, and time is an argument.
type state struct {
	topics []*topic // sorted by name
	groups []*group // sorted by name
	// ids finds the entry with an event id, for as long as it is kept.
	ids   map[string]place
	bytes int // of the entries in all topics
	// claims is what the claim generation of an entry starts from. It rises
	// with every life of the process, so that an acknowledgement of a delivery
	// before a crash can never pass for one after it.
	claims uint32
}

type place struct {
	topic  *topic
	offset int64
}

func newState(claims uint32) *state {
	return &state{ids: make(map[string]place), claims: claims}
}

// entry is one publication, durable.
type entry struct {
	bytes    []byte
	eventID  string
	received int64
	expires  int64
	attempts uint32 // at most
	tier     uint8
	aged     bool     // it was raised by one tier
	sum      [32]byte // SHA-256 of the bytes
}

// topic is the kept part of one topic's log: offsets from first on, without
// gaps.
type topic struct {
	name    string
	first   int64
	entries []entry
	cursors []*cursor
	lanes   lanes
	young   int64 // the first entry that was not looked at for its age
	ahead   int64 // entries of the batch that is being written
}

func (t *topic) next() int64 { return t.first + int64(len(t.entries)) }

// at is the entry at an offset, nil if it is not kept.
func (t *topic) at(offset int64) *entry {
	if offset < t.first || offset >= t.next() {
		return nil
	}
	return &t.entries[offset-t.first]
}

// group is a consumer group: its consumers share its cursors.
type group struct {
	name      string
	durable   bool
	cursors   []*cursor
	consumers []*consumer // in order of joining
	turn      int
}

type consumer struct {
	name   string
	node   actor.ID
	topics []string
	limit  int
	holds  int
	seen   int64
	minor  uint32 // the newest minor version of the contracts that it knows
}

func (c *consumer) free() bool { return c.holds < c.limit }

// cursor is where a group stands in a topic: every offset before next has
// ended, except for what is pending.
type cursor struct {
	group   *group
	topic   *topic
	next    int64
	pending []*pending // by offset
	orphans int        // of the pending: those that nobody works on
}

// pending is an entry that was handed out and has not ended.
type pending struct {
	offset   int64
	owner    *consumer // nil: nobody works on it
	last     string    // name of the last owner
	claim    uint32
	attempts uint32
	since    int64 // when it was handed out last
	due      int64 // when it is handed out again
}

func (p *pending) holder() string {
	if p.owner != nil {
		return p.owner.name
	}
	return ""
}

// floor is the first offset that has not ended for the group.
func (c *cursor) floor() int64 {
	if len(c.pending) > 0 {
		return c.pending[0].offset
	}
	return c.next
}

func (c *cursor) index(offset int64) (int, bool) {
	i := sort.Search(len(c.pending), func(i int) bool { return c.pending[i].offset >= offset })
	return i, i < len(c.pending) && c.pending[i].offset == offset
}

// find is the pending entry at an offset, or nil.
func (c *cursor) find(offset int64) *pending {
	if i, ok := c.index(offset); ok {
		return c.pending[i]
	}
	return nil
}

// add makes an offset pending. It keeps the order, since a fault or a rewound
// cursor may hand out an earlier offset later.
func (c *cursor) add(p *pending) {
	i, ok := c.index(p.offset)
	if !ok {
		c.pending = slices.Insert(c.pending, i, p)
		c.orphans++
	}
}

// remove ends an offset for the group.
func (c *cursor) remove(offset int64) {
	if i, ok := c.index(offset); ok {
		c.release(c.pending[i], 0)
		c.orphans--
		c.pending = slices.Delete(c.pending, i, i+1)
	}
}

// release takes an entry from its owner; it is due again at a time.
func (c *cursor) release(p *pending, due int64) {
	if p.owner != nil {
		p.owner.holds--
		p.last, p.owner = p.owner.name, nil
		c.orphans++
	}
	p.due = due
}

// give makes a consumer the owner of an entry that has none.
func (c *cursor) give(p *pending, to *consumer) {
	p.owner = to
	to.holds++
	c.orphans--
}

// ack ends an entry if the claim is the present one.
func (c *cursor) ack(consumer string, offset int64, claim uint32) busv2.AckStatus {
	p := c.find(offset)
	switch {
	case p == nil:
		return busv2.AckStatus_NOT_PENDING
	case p.claim != claim || p.holder() != consumer:
		return busv2.AckStatus_STALE_CLAIM
	}
	c.remove(offset)
	return busv2.AckStatus_ACKED
}

// skip makes the offsets from the cursor up to one pending, as if they had
// been handed out: what recovery knows when a later one has ended.
func (c *cursor) skip(to int64, claims uint32) {
	for ; c.next < to; c.next++ {
		c.add(&pending{offset: c.next, claim: claims})
	}
}

func (s *state) findTopic(name string) *topic {
	i := sort.Search(len(s.topics), func(i int) bool { return s.topics[i].name >= name })
	if i < len(s.topics) && s.topics[i].name == name {
		return s.topics[i]
	}
	return nil
}

// topic finds or makes a topic.
func (s *state) topic(name string) *topic {
	i := sort.Search(len(s.topics), func(i int) bool { return s.topics[i].name >= name })
	if i == len(s.topics) || s.topics[i].name != name {
		s.topics = slices.Insert(s.topics, i, &topic{name: name, first: 1})
	}
	return s.topics[i]
}

// group finds or makes a group.
func (s *state) group(name string) (*group, bool) {
	i := sort.Search(len(s.groups), func(i int) bool { return s.groups[i].name >= name })
	if i < len(s.groups) && s.groups[i].name == name {
		return s.groups[i], false
	}
	s.groups = slices.Insert(s.groups, i, &group{name: name})
	return s.groups[i], true
}

// cursorOf finds or makes a group's cursor in a topic. A new one starts at the
// oldest entry that is kept.
func (s *state) cursorOf(g *group, t *topic) *cursor {
	for _, c := range g.cursors {
		if c.topic == t {
			return c
		}
	}
	c := &cursor{group: g, topic: t, next: t.first}
	g.cursors = append(g.cursors, c)
	t.cursors = append(t.cursors, c)
	return c
}

func (s *state) findCursor(group, topic string) *cursor {
	t := s.findTopic(topic)
	if t == nil {
		return nil
	}
	for _, c := range t.cursors {
		if c.group.name == group {
			return c
		}
	}
	return nil
}

// eventID names an entry for the identity of messages about it.
func (s *state) eventID(topic string, offset int64) string {
	if t := s.findTopic(topic); t != nil {
		if e := t.at(offset); e != nil {
			return e.eventID
		}
	}
	return topic
}

// append puts a durable entry at the end of a topic.
func (s *state) append(t *topic, e entry) int64 {
	t.entries = append(t.entries, e)
	s.ids[e.eventID] = place{t, t.next() - 1}
	t.lanes.add(e.tier, t.next()-1)
	s.bytes += len(e.bytes)
	return t.next() - 1
}

// trim lets go of the entries before an offset. Cursors that stand before it
// move on: whoever may not lose an entry has no cursor there (see oona.trim).
func (s *state) trim(t *topic, before int64) {
	n := int(min(before, t.next()) - t.first)
	if n <= 0 {
		return
	}
	for i := range t.entries[:n] {
		e := &t.entries[i]
		if p, ok := s.ids[e.eventID]; ok && p.topic == t && p.offset == t.first+int64(i) {
			delete(s.ids, e.eventID)
		}
		s.bytes -= len(e.bytes)
		*e = entry{}
	}
	t.entries = t.entries[n:]
	if cap(t.entries) > 64 && len(t.entries) < cap(t.entries)/4 {
		t.entries = slices.Clone(t.entries)
	}
	t.first += int64(n)
	t.lanes.trim(t.first)
	for _, c := range t.cursors {
		for len(c.pending) > 0 && c.pending[0].offset < t.first {
			c.remove(c.pending[0].offset)
		}
		c.next = max(c.next, t.first)
	}
}

// needed is the first offset of a topic that a durable group has not ended,
// the topic's end if there is none.
func (t *topic) needed() int64 {
	low := t.next()
	for _, c := range t.cursors {
		if c.group.durable {
			low = min(low, c.floor())
		}
	}
	return low
}

// join enters or renews a consumer. It says whether the group must be logged.
func (s *state) join(from actor.ID, m *busv2.Subscribe, now int64) (*group, bool) {
	g, changed := s.group(m.Group)
	if m.Durable && !g.durable {
		g.durable, changed = true, true
	}
	c := g.consumer(m.Consumer)
	if c == nil {
		c = &consumer{name: m.Consumer}
		g.consumers = append(g.consumers, c)
	}
	c.node, c.seen, c.limit, c.minor = from, now, int(m.MaxInFlight), m.SchemaMinor
	if c.limit == 0 {
		c.limit = 64
	}
	if !slices.Equal(c.topics, m.Topics) {
		c.topics = append(c.topics[:0], m.Topics...)
	}
	return g, changed
}

// reads is the newest minor version that every live consumer of a topic knows.
// One that is not there now does not count: when it comes back it reads every
// minor version, if not all that is in it.
func (s *state) reads(topic string) uint32 {
	least := uint32(math.MaxUint32)
	for _, g := range s.groups {
		for _, c := range g.consumers {
			if c.minor < least && slices.Contains(c.topics, topic) {
				least = c.minor
			}
		}
	}
	return least
}

func (g *group) consumer(name string) *consumer {
	for _, c := range g.consumers {
		if c.name == name {
			return c
		}
	}
	return nil
}

// leave takes a consumer out of its group. Its entries are due at once.
func (g *group) leave(gone *consumer, now int64) {
	g.consumers = slices.DeleteFunc(g.consumers, func(c *consumer) bool { return c == gone })
	for _, c := range g.cursors {
		for _, p := range c.pending {
			if p.owner == gone {
				c.release(p, now)
			}
		}
	}
}

// choose picks the consumer that gets the next entry of a topic: in turns,
// and another one than not if there is one. nil: nobody has room. What is urgent
// needs none: it does not wait behind what a consumer has its hands full of.
func (g *group) choose(topic, not string, urgent bool) *consumer {
	var second *consumer
	for i := range g.consumers {
		c := g.consumers[(g.turn+i)%len(g.consumers)]
		if !c.free() && !urgent || !slices.Contains(c.topics, topic) {
			continue
		}
		if c.name == not {
			second = c
			continue
		}
		g.turn = (g.turn + i + 1) % len(g.consumers)
		return c
	}
	return second
}
