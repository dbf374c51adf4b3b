package checkers

import (
	"fmt"
	"slices"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// retention judges O8: telemetry of seeds can be read for as long as it is to be
// kept, and not for longer; and what is kept for ever elsewhere leaves the bus
// only when its owner has it.
//
// An owner logs what it publishes under the name of its own node: at the first
// copy of an event nothing of that log waits for the disk, or it does so by the
// time at which the bus lets go of the event.
type retention struct {
	p      Params
	life   downtime
	lost   map[string]int64 // by node: for how long it was down in all
	downAt map[string]int64
	placed map[string][]keptAt // by topic, in order of their offsets
	owned  map[string]ownedBy  // by event id: its owner and what it had logged
	logs   map[string]*ownLog  // by node
}

type keptAt struct {
	offset int64
	event  string
	at     int64
	seq    uint64
	down   int64 // for how long the bus had been down by then
}

type ownedBy struct {
	node string
	lsn  uint64 // of its log, that must be durable
	seq  uint64
}

// ownLog is how far a node's log of its own name is.
type ownLog struct{ appended, durable uint64 }

const seedTelemetry = "telemetry.seed.health"

// keptElsewhere are the topics whose events their owner keeps for ever.
var keptElsewhere = map[string]bool{
	"innovation.field_reports": true, "compilation.blueprint.submitted": true, "compilation.kernel.ready": true,
}

// usualRetention is how long telemetry of seeds is kept (HLD 8.2).
const usualRetention = 72 * time.Hour

func newRetention(p Params) Checker {
	if p.Retention == 0 {
		p.Retention = usualRetention
	}
	return &retention{p: p, life: newDowntime(), lost: map[string]int64{}, downAt: map[string]int64{},
		placed: map[string][]keptAt{}, owned: map[string]ownedBy{}, logs: map[string]*ownLog{}}
}

func (*retention) Invariants() []string { return []string{"O8"} }

func (c *retention) Observe(e *Event, j *Judge) {
	ended := c.life.observe(e)
	switch e.Kind {
	case trace.NodeCrashed, trace.NodeExited:
		if _, down := c.downAt[e.Node]; ended && !down {
			c.downAt[e.Node] = e.At
		}
	case trace.NodeReady:
		if since, down := c.downAt[e.Node]; down {
			c.lost[e.Node] += e.At - since
			delete(c.downAt, e.Node)
		}
	case trace.MessageSent:
		c.sent(e, j)
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.LogFact:
			c.log(e, f)
		case *evidencev2.BusFact:
			c.fact(e, f, j)
		}
	}
}

func (c *retention) logOf(node string) *ownLog {
	l := c.logs[node]
	if l == nil {
		l = &ownLog{}
		c.logs[node] = l
	}
	return l
}

func (c *retention) log(e *Event, f *evidencev2.LogFact) {
	if f.Log != e.Node {
		return
	}
	l := c.logOf(e.Node)
	switch f.Action {
	case evidencev2.LogAction_LOG_APPENDED:
		l.appended = max(l.appended, f.Lsn)
	case evidencev2.LogAction_LOG_DURABLE:
		l.durable = max(l.durable, f.Lsn)
	case evidencev2.LogAction_LOG_RECOVERED:
		l.appended, l.durable = f.Lsn, f.Lsn
	}
}

func (c *retention) sent(e *Event, j *Judge) {
	if env := e.Mail.Envelope; env.Topic != "" {
		if _, again := c.owned[env.EventId]; keptElsewhere[env.Topic] && !again {
			c.owned[env.EventId] = ownedBy{e.Node, c.logOf(e.Node).appended, e.Seq}
		}
		return
	}
	if c.p.Bus != "" && e.Node != c.p.Bus {
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *busv2.PublishAck:
		if m.Status == busv2.PublishStatus_ACCEPTED {
			c.place(e, m.Topic, m.EventId, m.Offset)
		}
	case *busv2.LogSlice:
		if m.Topic == seedTelemetry {
			c.read(e, m, j)
		}
	}
}

func (c *retention) place(e *Event, topic, event string, offset int64) {
	if topic != seedTelemetry && !keptElsewhere[topic] {
		return
	}
	list := c.placed[topic]
	if n := len(list); n == 0 || list[n-1].offset < offset {
		c.placed[topic] = append(list, keptAt{offset, event, e.At, e.Seq, c.lost[e.Node]})
	}
}

// slackOf is what the clocks' rates, the sweep and the answer's way may take.
func (c *retention) slackOf() int64 { return int64(c.p.Retention)/100 + int64(time.Second) }

// read judges a reading: what is young enough is there, and nothing else.
func (c *retention) read(e *Event, m *busv2.LogSlice, j *Judge) {
	list := c.placed[seedTelemetry]
	for _, k := range list {
		age := e.At - k.at
		if k.offset < m.FirstOffset {
			if age < int64(c.p.Retention)-c.slackOf() {
				j.Violate("O8", e.Node, fmt.Sprintf("a reading begins at offset %d, and event %s at offset %d is %v old only", m.FirstOffset, k.event, k.offset, time.Duration(age)), k.seq)
				return
			}
			continue
		}
		// The bus's clock stands still while it is down.
		if up := age - (c.lost[e.Node] - k.down) - c.life.stood(e.Node, e.At); up > int64(c.p.Retention)+c.slackOf() && k.offset < m.NextOffset {
			j.Violate("O8", e.Node, fmt.Sprintf("event %s at offset %d of %s can be read after %v", k.event, k.offset, m.Topic, time.Duration(age)), k.seq)
			return
		}
		break // those after it are younger
	}
	if len(list) > 0 {
		j.Judged("O8")
	}
}

func (c *retention) fact(e *Event, f *evidencev2.BusFact, j *Judge) {
	switch f.Action {
	case evidencev2.BusAction_BUS_APPENDED:
		c.place(e, f.Topic, f.EventId, f.Offset)
	case evidencev2.BusAction_BUS_TRIMMED:
		c.trimmed(e, f, j)
	}
}

// trimmed judges what leaves the bus.
func (c *retention) trimmed(e *Event, f *evidencev2.BusFact, j *Judge) {
	list := c.placed[f.Topic]
	n := slices.IndexFunc(list, func(k keptAt) bool { return k.offset > f.Offset })
	if n < 0 {
		n = len(list)
	}
	for _, k := range list[:n] {
		if f.Topic == seedTelemetry {
			if age := e.At - k.at; age < int64(c.p.Retention)-c.slackOf() {
				j.Violate("O8", e.Node, fmt.Sprintf("event %s at offset %d of %s is let go after %v; it is kept for %v", k.event, k.offset, f.Topic, time.Duration(age), c.p.Retention), k.seq)
				return
			}
			j.Judged("O8")
			continue
		}
		o, known := c.owned[k.event]
		if !known {
			continue
		}
		delete(c.owned, k.event)
		if c.logOf(o.node).durable < o.lsn {
			j.Violate("O8", e.Node, fmt.Sprintf("event %s leaves the bus, and record %d of the log of %s, its owner, is not durable", k.event, o.lsn, o.node), o.seq)
			return
		}
		j.Judged("O8")
	}
	c.placed[f.Topic] = append([]keptAt(nil), list[n:]...)
}

func (*retention) Finish(*Judge) {}
