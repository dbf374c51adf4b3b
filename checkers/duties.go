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
// says to have trimmed is gone; and L5, that it goes on answering.
type duties struct {
	settle func(int64) bool
	last   int64
	asked  map[string]*publication // by event id: not answered
	dead   map[string]*publication // by the dead letter's event id: not appended
	letter map[string]bool         // dead letters that were appended
	trim   map[string]int64        // by topic: trimmed up to
}

type publication struct {
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

func newDuties(p Params) Checker {
	return &duties{settle: p.Settled, asked: map[string]*publication{}, dead: map[string]*publication{},
		letter: map[string]bool{}, trim: map[string]int64{}}
}

func (*duties) Invariants() []string { return []string{"O2", "L5"} }

func (c *duties) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.MessageSent:
		if env := e.Mail.Envelope; env.Topic != "" {
			a := c.asked[env.EventId]
			if a == nil {
				a = &publication{node: e.Node, first: e.At, seq: e.Seq}
				c.asked[env.EventId] = a
			}
			a.last = e.At
		} else if m, ok := e.Mail.Payload.(*busv2.PublishAck); ok {
			delete(c.asked, m.EventId)
			j.Judged("L5")
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.BusFact); ok {
			c.fact(e, f, j)
		}
	}
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
		// One that its publisher has given up is nobody's.
		if a := c.asked[id]; c.last-a.first > patience && c.last-a.last < patience/2 {
			j.Violate("L5", a.node, fmt.Sprintf("event %s has been published since %s, and the bus does not answer", id, trace.Stamp(a.first)), a.seq)
		}
	}
}
