package checkers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// queues judges the bus's priorities: O5, that an emergency is never refused,
// dropped or delayed behind a lower tier; O6, that the four pipeline queues keep
// their depth, and that what is shed or refused leaves nothing lower behind; O7,
// that age raises an entry by one tier, once, and never to tier 0; and of L5,
// that queues drain and the conservative mode ends once the burst is over.
//
// The tiers are those of the published envelopes, the order is that of the
// deliveries. Facts say what nothing else does: that an entry was raised, that
// one made room.
type queues struct {
	settle func(int64) bool
	name   string // of the bus's node; empty: any
	last   int64
	life   downtime
	began  map[string]int64 // by node: its present life
	meant  map[string]meant // by event id: what its publisher asked for
	order  []string         // of meant, oldest first
	topics map[string]*queueTopic
	groups map[string]*queueGroup
	names  []string // of groups, in order
	burst  int64    // the last publication of something new
	quiet  bool     // the bus is conservative
	turned uint64
	since  int64 // that it is so
	broken bool  // for its log's breaker, which closes in its own time
}

// meant is what an envelope says of its own importance.
type meant struct {
	tier uint8
	life int64
}

// queued is an entry of a topic.
type queued struct {
	event string
	meant
	at      int64
	seq     uint64
	aged    bool
	reached bool // some working group got it
}

// rank is the tier that an entry counts for.
func (q *queued) rank() uint8 {
	if q.aged && q.tier > 1 {
		return q.tier - 1
	}
	return q.tier
}

type queueTopic struct {
	entries map[int64]*queued // those that may still be delivered
	offsets []int64           // of entries, in order
	burst   int64             // the last publication of something new
}

type queueGroup struct {
	durable bool
	since   map[string]int64 // by topic: when its first consumer was heard
	joined  map[string]int64 // the same, in this life of the bus
	alive   map[string]int64 // by topic: when a consumer was heard last
	open    map[string]map[int64]*queuedFor
}

// queuedFor is where an entry stands for a group.
type queuedFor struct {
	*queued
	handed bool
}

// pipeline are the four queues' bounds (H6 6.3.1), by topic.
var pipeline = map[string]int{
	"compilation.blueprint.submitted": 100, "compilation.kernel.ready": 50,
	"validation.kernel.characterized": 25, "innovation.field_reports": 200,
}

// onlooker is the group whose backlog holds nobody up.
const onlooker = "nissa"

// aging is the age at which an entry is raised; slack is what clocks, sweeps and
// the way between two nodes may take.
const (
	aging = int64(5 * time.Minute)
	slack = int64(10 * time.Second)
)

func newQueues(p Params) Checker {
	return &queues{settle: p.Settled, name: p.Bus, life: newDowntime(), began: map[string]int64{}, meant: map[string]meant{},
		topics: map[string]*queueTopic{}, groups: map[string]*queueGroup{}}
}

func (*queues) Invariants() []string { return []string{"O5", "O6", "O7", "L5"} }

func (c *queues) Observe(e *Event, j *Judge) {
	c.last = e.At
	c.life.observe(e)
	switch e.Kind {
	case trace.NodeStarted:
		if c.isBus(e.Node) {
			c.restarted(e)
		}
	case trace.MessageSent:
		c.sent(e, j)
	case trace.MessageDelivered:
		if m, ok := e.Mail.Payload.(*busv2.Subscribe); ok && m.Group != "" {
			c.joined(e, m)
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.BusFact:
			c.fact(e, f, j)
		case *evidencev2.ModeFact:
			if c.isBus(e.Node) && f.Subsystem == "oona" {
				c.quiet, c.turned, c.since = f.To == "CONSERVATIVE", e.Seq, e.At
				c.broken = strings.Contains(f.Reason, "breaker")
			}
		}
	}
}

func (c *queues) isBus(node string) bool { return c.name == "" || node == c.name }

// restarted forgets what a process of the bus knows only in memory.
func (c *queues) restarted(e *Event) {
	c.began[e.Node] = e.At
	c.quiet = false
	for _, g := range c.groups {
		clear(g.joined)
		clear(g.alive)
	}
	for _, t := range c.topics {
		for _, q := range t.entries {
			q.aged = false // it is raised anew
		}
	}
}

func (c *queues) topic(name string) *queueTopic {
	t := c.topics[name]
	if t == nil {
		t = &queueTopic{entries: map[int64]*queued{}, burst: -1}
		c.topics[name] = t
	}
	return t
}

func (c *queues) joined(e *Event, m *busv2.Subscribe) {
	if !c.isBus(e.Peer) {
		return
	}
	g := c.groups[m.Group]
	if g == nil {
		g = &queueGroup{since: map[string]int64{}, joined: map[string]int64{}, alive: map[string]int64{}, open: map[string]map[int64]*queuedFor{}}
		c.groups[m.Group] = g
		c.names = append(c.names, m.Group)
		slices.Sort(c.names)
	}
	g.durable = g.durable || m.Durable
	for _, name := range m.Topics {
		if _, again := g.joined[name]; !again {
			g.joined[name] = e.At
		}
		g.alive[name] = e.At
		if g.open[name] != nil {
			continue
		}
		g.open[name], g.since[name] = map[int64]*queuedFor{}, e.At
		t := c.topic(name)
		for _, at := range t.offsets {
			g.open[name][at] = &queuedFor{queued: t.entries[at]}
		}
	}
}

// working are the groups that a topic queues for, in order of their names.
func (c *queues) working(topic string) (list []*queueGroup) {
	for _, n := range c.names {
		if g := c.groups[n]; n != onlooker && g.durable && g.open[topic] != nil {
			list = append(list, g)
		}
	}
	return list
}

func (c *queues) sent(e *Event, j *Judge) {
	if env := e.Mail.Envelope; env.Topic != "" {
		c.published(e, env)
		return
	}
	if !c.isBus(e.Node) {
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *busv2.PublishAck:
		c.pressed(e, m, j)
		switch m.Status {
		case busv2.PublishStatus_ACCEPTED:
			c.appended(e, m.Topic, m.Offset, m.EventId, j)
		case busv2.PublishStatus_REFUSED:
			c.refused(e, m, j)
		}
	case *busv2.Delivery:
		c.handed(e, m, j)
	case *busv2.AckReply:
		if m.Status == busv2.AckStatus_ACKED {
			c.end(m.Group, m.Topic, m.Offset)
		}
	}
}

func (c *queues) published(e *Event, env *envelopev2.EventEnvelope) {
	if _, again := c.meant[env.EventId]; again {
		return
	}
	p := env.Priority
	if p < envelopev2.Priority_BACKGROUND || p > envelopev2.Priority_EMERGENCY {
		p = envelopev2.Priority_NORMAL
	}
	life := int64(lifetimes[p])
	if d := env.Ttl; d != nil {
		if own := d.Seconds*int64(time.Second) + int64(d.Nanos); own > 0 {
			life = min(life, own)
		}
	}
	c.meant[env.EventId] = meant{uint8(envelopev2.Priority_EMERGENCY - p), life}
	c.order = append(c.order, env.EventId)
	if len(c.order) > 4*ringSize {
		delete(c.meant, c.order[0])
		c.order = c.order[1:]
	}
	c.burst, c.topic(env.Topic).burst = e.At, e.At
}

// appended notes an entry that is durable, and judges the depth that it makes.
func (c *queues) appended(e *Event, topic string, offset int64, event string, j *Judge) {
	t := c.topic(topic)
	if t.entries[offset] != nil {
		return
	}
	m, known := c.meant[event]
	if !known {
		return // a dead letter, or one of long ago
	}
	q := &queued{event: event, meant: m, at: e.At, seq: e.Seq}
	t.entries[offset] = q
	t.offsets = append(t.offsets, offset)
	c.prune(t, e.At)
	for _, n := range c.names {
		if open := c.groups[n].open[topic]; open != nil {
			open[offset] = &queuedFor{queued: q}
		}
	}
	limit, bounded := pipeline[topic]
	if !bounded || q.tier == 0 {
		return
	}
	for _, g := range c.working(topic) {
		if _, here := g.joined[topic]; !here {
			continue // the bus has not heard of it in this life
		}
		if n := depth(g.open[topic]); n > limit {
			j.Violate("O6", e.Node, fmt.Sprintf("event %s makes the queue of %s %d deep; its bound is %d", event, topic, n, limit))
			return
		}
		j.Judged("O6")
	}
}

// pressed judges what a publisher is told of the queue of a topic: how full it is,
// by card 09's curve. A few entries may have ended without a word to anybody.
func (c *queues) pressed(e *Event, m *busv2.PublishAck, j *Judge) {
	limit, bounded := pipeline[m.Topic]
	if !bounded {
		return
	}
	told := 0
	if i := strings.LastIndex(m.Reason, "pressure="); i >= 0 {
		told, _ = strconv.Atoi(m.Reason[i+len("pressure="):])
	}
	deep := 0
	for _, g := range c.working(m.Topic) {
		if _, here := g.joined[m.Topic]; here {
			deep = max(deep, depth(g.open[m.Topic]))
		}
	}
	if least := pressureOf(float64(deep)*0.9, float64(limit)); float64(told) < least-1 {
		j.Violate("O6", e.Node, fmt.Sprintf("the queue of %s is %d deep, of %d at most, and a publisher is told of a pressure of %d; it is %.0f", m.Topic, deep, limit, told, least))
		return
	}
	if told > 0 {
		j.Judged("O6")
	}
}

// pressureOf is card 09's curve: nothing up to half, 50 at three quarters, 80 at
// nine tenths, and straight between them.
func pressureOf(deep, limit float64) float64 {
	switch use := deep / limit; {
	case use <= 0.5:
		return 0
	case use <= 0.75:
		return (use - 0.5) / 0.25 * 50
	case use <= 0.9:
		return 50 + (use-0.75)/0.15*30
	default:
		return min(80+(use-0.9)/0.1*20, 100)
	}
}

// prune forgets what is past its time to live for certain.
func (c *queues) prune(t *queueTopic, now int64) {
	for len(t.offsets) > ringSize || len(t.offsets) > 0 && now-t.entries[t.offsets[0]].at > int64(3*time.Hour) {
		delete(t.entries, t.offsets[0])
		t.offsets = t.offsets[1:]
	}
}

// depth is how many entries of a group have not ended, but for emergencies.
func depth(open map[int64]*queuedFor) (n int) {
	for _, q := range open {
		if q.tier > 0 {
			n++
		}
	}
	return n
}

func (c *queues) end(group, topic string, offset int64) {
	if g := c.groups[group]; g != nil {
		delete(g.open[topic], offset)
	}
}

// refused judges an answer: no emergency, unless it could not be taken from
// anybody, and nothing while something lower could have made room.
func (c *queues) refused(e *Event, m *busv2.PublishAck, j *Judge) {
	p, known := c.meant[m.EventId]
	if !known {
		return
	}
	if p.tier == 0 && (strings.Contains(m.Reason, "full") || strings.Contains(m.Reason, "conservative") || strings.Contains(m.Reason, "room")) {
		j.Violate("O5", e.Node, fmt.Sprintf("the emergency %s is refused: %s", m.EventId, m.Reason))
		return
	}
	if _, bounded := pipeline[m.Topic]; !bounded || !strings.Contains(m.Reason, "queue") {
		return
	}
	c.lower(e, m.Topic, m.EventId, p.tier, "refused", j)
}

// lower judges that nothing of a lower tier remains where something goes.
func (c *queues) lower(e *Event, topic, event string, rank uint8, how string, j *Judge) {
	groups := c.working(topic)
	if len(groups) == 0 {
		return
	}
	for _, at := range slices.Sorted(maps.Keys(groups[0].open[topic])) {
		q := groups[0].open[topic][at]
		if q.event == event || q.reached || q.rank() <= rank || e.At-q.at > q.life-slack {
			continue
		}
		for _, g := range groups[1:] {
			if g.open[topic][at] == nil {
				q = nil
				break
			}
		}
		if q != nil {
			j.Violate("O6", e.Node, fmt.Sprintf("event %s of tier %d is %s by the queue of %s, in which %s of tier %d waits", event, rank, how, topic, q.event, q.rank()), q.seq)
			return
		}
	}
	j.Judged("O6")
}

// handed judges a first delivery: nothing that counts for more waits behind it.
func (c *queues) handed(e *Event, m *busv2.Delivery, j *Judge) {
	g := c.groups[m.Group]
	if g == nil {
		return
	}
	open := g.open[m.Topic]
	x := open[m.Offset]
	if x == nil {
		return
	}
	if m.Group != onlooker {
		x.reached = true
	}
	if x.handed {
		return
	}
	x.handed = true
	if x.tier == 0 {
		j.Judged("O5")
	}
	// The first of those that go before it, so that findings have one order.
	var y *queuedFor
	first := int64(-1)
	for at, q := range open {
		if !q.handed && (first < 0 || at < first) && e.At-q.at <= q.life-slack && (q.rank() < x.rank() || c.old(q, g, e, m) && q.tier-1 < x.rank()) {
			first, y = at, q
		}
	}
	switch {
	case y == nil:
		if len(open) > 1 {
			j.Judged("O7")
		}
	case y.tier == 0:
		j.Violate("O5", e.Node, fmt.Sprintf("the emergency %s waits for the group %s behind %s of tier %d", y.event, m.Group, x.event, x.rank()), y.seq)
	case y.rank() < x.rank():
		j.Violate("O7", e.Node, fmt.Sprintf("event %s of tier %d waits for the group %s behind %s of tier %d", y.event, y.rank(), m.Group, x.event, x.rank()), y.seq)
	default:
		j.Violate("O7", e.Node, fmt.Sprintf("event %s has waited for %v and was not raised: %s goes before it", y.event, time.Duration(e.At-y.at), x.event), y.seq)
	}
}

// old says whether an entry must have been raised and was not.
func (c *queues) old(q *queuedFor, g *queueGroup, e *Event, m *busv2.Delivery) bool {
	since := max(q.at, c.began[e.Node], g.since[m.Topic])
	return !q.aged && q.tier > 1 && e.At-since > aging+slack+c.life.stood(e.Node, e.At)
}

func (c *queues) fact(e *Event, f *evidencev2.BusFact, j *Judge) {
	t := c.topic(f.Topic)
	switch f.Action {
	case evidencev2.BusAction_BUS_APPENDED:
		c.appended(e, f.Topic, f.Offset, f.EventId, j)
	case evidencev2.BusAction_BUS_EXPIRED:
		c.end(f.Group, f.Topic, f.Offset)
	case evidencev2.BusAction_BUS_DEAD_LETTERED:
		c.end(f.Group, f.Topic, f.Offset)
	case evidencev2.BusAction_BUS_TRIMMED:
		for len(t.offsets) > 0 && t.offsets[0] <= f.Offset {
			for _, g := range c.groups {
				delete(g.open[f.Topic], t.offsets[0])
			}
			delete(t.entries, t.offsets[0])
			t.offsets = t.offsets[1:]
		}
	case evidencev2.BusAction_BUS_SHED:
		q := t.entries[f.Offset]
		if q == nil {
			return
		}
		if q.tier == 0 {
			j.Violate("O5", e.Node, fmt.Sprintf("the emergency %s is shed", q.event), q.seq)
			return
		}
		c.lower(e, f.Topic, q.event, q.rank(), "shed", j)
	case evidencev2.BusAction_BUS_AGED:
		c.aged(e, t.entries[f.Offset], f, j)
	}
}

// aged judges that an entry is raised.
func (c *queues) aged(e *Event, q *queued, f *evidencev2.BusFact, j *Judge) {
	if q == nil {
		return
	}
	bad := func(how string) {
		j.Violate("O7", e.Node, fmt.Sprintf("event %s of tier %d %s", q.event, q.tier, how), q.seq)
	}
	switch {
	case q.aged:
		bad("is raised for its age a second time")
	case f.Tier == 0:
		bad("is raised to the tier of emergencies")
	case f.Tier+1 != uint32(q.tier):
		bad(fmt.Sprintf("is raised to tier %d", f.Tier))
	case e.At-q.at < aging-slack:
		bad(fmt.Sprintf("is raised after %v", time.Duration(e.At-q.at)))
	default:
		q.aged = true
		j.Judged("O7")
	}
}

// drained is how long after the last burst a queue may be at its bound.
const drained = int64(10 * time.Second)

// brokenFor is how long the breaker of the log is open (0.2 of the digest).
const brokenFor = int64(30 * time.Second)

// Finish implements Checker.
func (c *queues) Finish(j *Judge) {
	if c.settle == nil || !c.settle(c.last-drained) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(pipeline)) {
		t := c.topics[name]
		if t == nil || t.burst < 0 || c.last-t.burst <= drained {
			continue
		}
		for _, g := range c.working(name) {
			// One whose consumers are gone for good takes nothing.
			if c.last-g.alive[name] > int64(usualLease) || c.last-g.joined[name] <= drained {
				continue
			}
			if n := depth(g.open[name]); n >= pipeline[name] {
				j.Violate("L5", "", fmt.Sprintf("the queue of %s is %d deep %v after the last burst", name, n, time.Duration(c.last-t.burst)))
				return
			}
			j.Judged("L5")
		}
	}
	limit := drained
	if c.broken {
		limit += brokenFor
	}
	if c.quiet && c.last-c.burst > drained && c.last-c.since > limit {
		j.Violate("L5", "", fmt.Sprintf("the bus is conservative, and the last burst was %v ago", time.Duration(c.last-c.burst)), c.turned)
	}
}
