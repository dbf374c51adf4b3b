package checkers

import (
	"fmt"
	"strings"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// handing judges how the bus hands entries out: of O2, that an entry is
// delivered no more often than it may be, to nobody whose lease has long run
// out (what a consumer that is gone holds waits for as long as it gets it), and
// that only what was dead-lettered is among the dead letters; of O1, that a
// reading of a log holds what there is from where it was asked for.
type handing struct {
	p      Params
	life   downtime
	limits map[string]uint32    // event id to the deliveries that its envelope allows
	order  []string             // of limits, oldest first
	events map[busKey]string    // by place in a topic
	seen   map[[2]string]sign   // by group and node: its last sign of life
	reads  map[string]busReader // by query id
	first  map[string]int64     // by topic: the first offset that no trimming took
	dead   map[string]bool      // ids of dead letters that the bus told of
}

type sign struct{ at, stood int64 }

type busReader struct {
	topic string
	from  int64
}

// Oona's own settings, where a scenario says nothing else.
const (
	usualAttempts = 5
	usualLease    = 3 * time.Second
)

func newHanding(p Params) Checker {
	if p.Attempts == 0 {
		p.Attempts = usualAttempts
	}
	if p.Lease == 0 {
		p.Lease = usualLease
	}
	return &handing{p: p, life: newDowntime(), limits: map[string]uint32{}, events: map[busKey]string{},
		seen: map[[2]string]sign{}, reads: map[string]busReader{}, first: map[string]int64{}, dead: map[string]bool{}}
}

func (*handing) Invariants() []string { return []string{"O1", "O2"} }

func (c *handing) Observe(e *Event, j *Judge) {
	c.life.observe(e)
	switch e.Kind {
	case trace.MessageSent:
		c.sent(e, j)
	case trace.MessageDelivered:
		switch m := e.Mail.Payload.(type) {
		case *busv2.Subscribe:
			c.seen[[2]string{m.Group, e.Node}] = sign{e.At, c.life.stood(e.Peer, e.At)}
		case *busv2.ReadLog:
			if len(c.reads) > remembered {
				clear(c.reads)
			}
			c.reads[m.QueryId] = busReader{m.Topic, m.FromOffset}
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.BusFact); ok {
			c.fact(e, f, j)
		}
	}
}

func (c *handing) sent(e *Event, j *Judge) {
	if env := e.Mail.Envelope; env.Topic != "" {
		if _, known := c.limits[env.EventId]; !known {
			c.order = append(c.order, env.EventId)
			if len(c.order) > ringSize {
				delete(c.limits, c.order[0])
				c.order = c.order[1:]
			}
		}
		c.limits[env.EventId] = env.MaxAttempts
		return
	}
	if c.p.Bus != "" && e.Node != c.p.Bus {
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *busv2.PublishAck:
		if m.Status == busv2.PublishStatus_ACCEPTED {
			if len(c.events) > ringSize {
				clear(c.events)
			}
			c.events[busKey{m.Topic, m.Offset}] = m.EventId
		}
	case *busv2.Delivery:
		c.handed(e, m, j)
	case *busv2.LogSlice:
		c.read(e, m, j)
	}
}

func (c *handing) handed(e *Event, m *busv2.Delivery, j *Judge) {
	if last, ok := c.seen[[2]string{m.Group, e.Peer}]; ok {
		silent := time.Duration(e.At - last.at - c.life.stood(e.Node, e.At) + last.stood)
		// A consumer whose sign of life is late has its lease for some time.
		if limit := 3 * c.p.Lease; silent > limit {
			j.Violate("O2", e.Node, fmt.Sprintf("offset %d of %s is handed to %s, which has been silent for %v; a lease is %v", m.Offset, m.Topic, e.Peer, silent, c.p.Lease))
			return
		}
	}
	event, known := c.events[busKey{m.Topic, m.Offset}]
	if e.Inner != nil && m.Topic != deadLetters {
		event, known = e.Inner.Envelope.EventId, true
	}
	limit, published := c.limits[event]
	if !known || !published {
		return
	}
	if limit == 0 {
		limit = c.p.Attempts
	}
	if m.Attempt > limit {
		j.Violate("O2", e.Node, fmt.Sprintf("event %s is delivered for the %d. time to the group %s; its envelope allows %d", event, m.Attempt, m.Group, limit))
		return
	}
	j.Judged("O2")
}

func (c *handing) read(e *Event, m *busv2.LogSlice, j *Judge) {
	q, ok := c.reads[m.QueryId]
	if !ok || q.topic != m.Topic {
		j.Violate("O1", e.Node, fmt.Sprintf("a reading of %s answers the query %q, which nobody asked of it", m.Topic, m.QueryId))
		return
	}
	if first, known := c.first[m.Topic]; m.FirstOffset > max(first, 1) && (known || m.FirstOffset > 1) {
		j.Violate("O1", e.Node, fmt.Sprintf("the log of %s begins at offset %d, and what is before offset %d was trimmed", m.Topic, m.FirstOffset, max(first, 1)))
		return
	}
	due := max(q.from, m.FirstOffset)
	if len(m.Entries) == 0 && due < m.NextOffset {
		j.Violate("O1", e.Node, fmt.Sprintf("a reading of %s from offset %d is empty, and the log goes to offset %d", m.Topic, due, m.NextOffset-1))
		return
	}
	for _, entry := range m.Entries {
		if entry.Offset != due {
			j.Violate("O1", e.Node, fmt.Sprintf("a reading of %s has offset %d where %d is due", m.Topic, entry.Offset, due))
			return
		}
		due++
	}
	j.Judged("O1")
}

func (c *handing) fact(e *Event, f *evidencev2.BusFact, j *Judge) {
	switch f.Action {
	case evidencev2.BusAction_BUS_TRIMMED:
		c.first[f.Topic] = max(c.first[f.Topic], f.Offset+1)
	case evidencev2.BusAction_BUS_DEAD_LETTERED:
		c.dead[deadLetterID+f.Group+"/"+f.EventId] = true
	case evidencev2.BusAction_BUS_APPENDED:
		if f.Topic == deadLetters && !c.dead[f.EventId] {
			j.Violate("O2", e.Node, fmt.Sprintf("%q is among the dead letters, and no such entry was dead-lettered", strings.TrimPrefix(f.EventId, deadLetterID)))
		}
	}
}

func (*handing) Finish(*Judge) {}
