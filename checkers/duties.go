package checkers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// duties judges what the bus owes beyond its deliveries: of O2, that what it
// says to have dead-lettered is in the topic of dead letters, and that what it
// says to have trimmed is gone; and L5, that it goes on answering. Of those who
// publish it judges that they go on asking, and in order: O1.
type duties struct {
	settle func(int64) bool
	last   int64
	asked  map[string]*publication // by event id: its publisher has no answer
	front  map[string]*publication // by ordered topic: what was published last
	held   map[string]bool         // event ids whose readers do not know what they hold yet
	dead   map[string]*publication // by the dead letter's event id: not appended
	letter map[string]bool         // dead letters that were appended
	trim   map[string]int64        // by topic: trimmed up to
}

type publication struct {
	event       string
	topic       string
	node        string
	first, last int64
	seq         uint64
}

// deadLetters is the bus's own topic, and how its events are named.
const (
	deadLetters  = "bus.dead-letters"
	deadLetterID = "dead-letter/"
)

// patience is how long after the faults have ended a publication or a dead
// letter may wait.
const patience = int64(10 * time.Second)

// inOrder are the topics of which the publisher sends the next event only when
// the one before was answered or is given up, so that they stand in order there.
var inOrder = map[string]string{"system.events.epoch": "tolaria", "control.kasmina.commands": "tamiyo", "control.tolaria.commands": "tamiyo"}

// lastCopy is the least time that the last copy of what is given up had for its
// answer.
const lastCopy = int64(250 * time.Millisecond)

func newDuties(p Params) Checker {
	return &duties{settle: p.Settled, front: map[string]*publication{}, asked: map[string]*publication{}, dead: map[string]*publication{},
		letter: map[string]bool{}, trim: map[string]int64{}, held: map[string]bool{}}
}

func (*duties) Invariants() []string { return []string{"O1", "O2", "L5"} }

func (c *duties) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.NodeCrashed, trace.NodeExited:
		// What it had in memory only is nobody's.
		maps.DeleteFunc(c.asked, func(_ string, p *publication) bool { return p.node == e.Node })
		maps.DeleteFunc(c.front, func(_ string, p *publication) bool { return p.node == e.Node })
	case trace.MessageSent:
		if env := e.Mail.Envelope; env.Topic != "" {
			c.published(e, env.Topic, env.EventId, j)
		}
	case trace.MessageDelivered:
		if m, ok := e.Mail.Payload.(*busv2.PublishAck); ok {
			delete(c.asked, m.EventId)
			// One that its readers do not know yet waits for them, and holds up nobody.
			if delete(c.held, m.EventId); m.Status == busv2.PublishStatus_TOO_NEW {
				c.held[m.EventId] = true
			}
			j.Judged("L5")
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.BusFact); ok {
			c.fact(e, f, j)
		}
	}
}

func (c *duties) published(e *Event, topic, event string, j *Judge) {
	a := c.asked[event]
	if a == nil {
		a = &publication{event: event, topic: topic, node: e.Node, first: e.At, seq: e.Seq}
		c.asked[event] = a
	}
	a.last = e.At
	if inOrder[topic] != e.Node || c.held[event] {
		return
	}
	before := c.front[topic]
	if before != nil && (before.event == event || before.first > a.first) {
		return // again
	}
	c.front[topic] = a
	if before == nil {
		return
	}
	if c.asked[before.event] != before || spared[topic] && e.At-before.last >= lastCopy {
		j.Judged("O1")
		return
	}
	j.Violate("O1", e.Node, fmt.Sprintf("it publishes event %s on %s %v after the last copy of %s, which was not answered", event, topic, time.Duration(e.At-before.last), before.event), before.seq)
}

func (c *duties) fact(e *Event, f *evidencev2.BusFact, j *Judge) {
	switch f.Action {
	case evidencev2.BusAction_BUS_RECOVERED:
		// What was not durable has not happened: it is delivered and trimmed
		// again.
		clear(c.dead)
		clear(c.trim)
	case evidencev2.BusAction_BUS_APPENDED:
		if f.Topic == deadLetters && strings.HasPrefix(f.EventId, deadLetterID) {
			delete(c.dead, f.EventId)
			c.letter[f.EventId] = true
			j.Judged("O2")
		}
	case evidencev2.BusAction_BUS_DEAD_LETTERED:
		id := deadLetterID + f.Group + "/" + f.EventId
		if f.Topic != deadLetters && f.EventId != "" && !c.letter[id] && c.dead[id] == nil {
			c.dead[id] = &publication{node: e.Node, first: e.At, seq: e.Seq}
		}
	case evidencev2.BusAction_BUS_TRIMMED:
		if upTo, ok := c.trim[f.Topic]; ok && f.Offset <= upTo {
			j.Violate("O2", e.Node, fmt.Sprintf("it trims %s up to offset %d, and says that it has done so up to %d before", f.Topic, f.Offset, upTo))
			return
		}
		c.trim[f.Topic] = f.Offset
	}
}

// Finish implements Checker.
func (c *duties) Finish(j *Judge) {
	if c.settle == nil || !c.settle(c.last-patience) {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.dead)) {
		if d := c.dead[id]; c.last-d.first > patience {
			j.Violate("O2", d.node, fmt.Sprintf("event %s was dead-lettered, and is not in the topic of dead letters", strings.TrimPrefix(id, deadLetterID)), d.seq)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.asked)) {
		a := c.asked[id]
		if c.last-a.first <= patience {
			continue
		}
		switch {
		case c.last-a.last < patience/2:
			j.Violate("L5", a.node, fmt.Sprintf("event %s has been published since %s, and the bus does not answer", id, trace.Stamp(a.first)), a.seq)
		case !spared[a.topic]:
			j.Violate("L5", a.node, fmt.Sprintf("event %s was published at %s and for the last time at %s, without an answer: what must not be given up was", id, trace.Stamp(a.first), trace.Stamp(a.last)), a.seq)
		}
	}
}
