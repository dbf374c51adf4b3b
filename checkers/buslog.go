package checkers

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/esper-sim/espersim/checkers/models"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// busLog judges R4: each topic of the bus is a linearizable log that is appended
// to. A publication takes effect between its first copy and the moment at which
// the bus says where it stands, and a reading shows the log as it is between the
// question and the answer.
//
// A publication that nobody was told of took effect when the bus says that it is
// durable, after a restart perhaps. Operations end in the order of the trace, so
// that a history may be cut anywhere.
type busLog struct {
	name    string
	picture func(string, func(io.Writer) error)
	keys    map[string]*models.History // by topic
	order   []string
	called  map[string]int64 // by event id: its first copy
	calls   []string         // of called, oldest first
	reads   map[string]int64 // by query id and topic
	lost    map[string]bool  // topics that were found guilty
	env     envelopev2.EventEnvelope
	placed  map[busKey]string // which event is known to be where
}

// pieceOf is how many operations are judged at once.
const pieceOf = 24

func newBusLog(p Params) Checker {
	return &busLog{name: p.Bus, picture: p.Picture, keys: map[string]*models.History{}, called: map[string]int64{},
		reads: map[string]int64{}, lost: map[string]bool{}, placed: map[busKey]string{}}
}

func (*busLog) Invariants() []string { return []string{"R4"} }

func (c *busLog) key(topic string) *models.History {
	h := c.keys[topic]
	if h == nil {
		fresh := models.NewHistory(models.Log())
		h = &fresh
		c.keys[topic] = h
		c.order = append(c.order, topic)
	}
	return h
}

func (c *busLog) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.MessageSent:
		c.sent(e, j)
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.BusFact); ok && f.Action == evidencev2.BusAction_BUS_APPENDED {
			c.append(e, f.Topic, f.EventId, f.Offset, j)
		}
	}
}

func (c *busLog) sent(e *Event, j *Judge) {
	if env := e.Mail.Envelope; env.Topic != "" {
		if _, again := c.called[env.EventId]; !again {
			c.called[env.EventId] = e.At
			if c.calls = append(c.calls, env.EventId); len(c.calls) > 4*ringSize {
				delete(c.called, c.calls[0])
				c.calls = c.calls[1:]
			}
		}
		return
	}
	if m, ok := e.Mail.Payload.(*busv2.ReadLog); ok {
		if len(c.reads) > remembered {
			clear(c.reads)
		}
		c.reads[m.QueryId+"\x00"+m.Topic] = e.At
		return
	}
	if c.name != "" && e.Node != c.name {
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *busv2.PublishAck:
		if m.Status == busv2.PublishStatus_ACCEPTED || m.Status == busv2.PublishStatus_DUPLICATE {
			c.append(e, m.Topic, m.EventId, m.Offset, j)
		}
	case *busv2.LogSlice:
		call, asked := c.reads[m.QueryId+"\x00"+m.Topic]
		if !asked {
			return // that is for others to judge
		}
		var from int64
		var events []string
		for i, entry := range m.Entries {
			if i == 0 {
				from = entry.Offset
			}
			events = append(events, c.event(m.Topic, entry))
		}
		c.add(m.Topic, models.LogRead(from, events, m.NextOffset, call, e.At), j)
	}
}

// event is the id of what a reading holds. A dead letter's own is not in its
// bytes, and what nobody can decode is believed.
func (c *busLog) event(topic string, entry *busv2.LogEntry) string {
	if topic == deadLetters || c.env.ParseCanonical(entry.Envelope) != nil {
		return c.placed[busKey{topic, entry.Offset}]
	}
	return strings.Clone(c.env.EventId)
}

// append adds a publication at its place, once for each time that it is told of
// in another way.
func (c *busLog) append(e *Event, topic, event string, offset int64, j *Judge) {
	k := busKey{topic, offset}
	if was, again := c.placed[k]; again && was == event {
		return
	}
	if len(c.placed) > 4*ringSize {
		clear(c.placed)
	}
	c.placed[k] = event
	call, known := c.called[event]
	if !known {
		call = e.At // the bus's own
	}
	c.add(topic, models.LogAppend(event, offset, call, e.At), j)
}

func (c *busLog) add(topic string, o models.Operation, j *Judge) {
	h := c.key(topic)
	if c.lost[topic] {
		return
	}
	if h.Add(o); h.Len() >= pieceOf {
		c.check(topic, j)
	}
}

func (c *busLog) check(topic string, j *Judge) {
	h := c.keys[topic]
	if h.Len() == 0 || c.lost[topic] {
		return
	}
	switch result, detail := h.Cut(linearTimeout); result {
	case porcupine.Ok:
		j.Judged("R4")
	case porcupine.Illegal:
		j.Violate("R4", c.name, fmt.Sprintf("the topic %s is no linearizable log: %s", topic, detail))
		if c.picture != nil {
			c.picture("R4", h.Picture)
		}
		c.lost[topic] = true // one finding says it
	default:
		j.Violate("R4", c.name, fmt.Sprintf("topic %s: linearizability was not decided within %v: no verdict", topic, linearTimeout))
	}
}

// Finish implements Checker.
func (c *busLog) Finish(j *Judge) {
	for _, topic := range slices.Clone(c.order) {
		c.check(topic, j)
	}
}
