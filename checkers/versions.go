package checkers

import (
	"fmt"
	"strings"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// versions judges C9.
//
// That a publication was allowed is judged where the bus received it: a copy
// of its minor version must have come at a time at which every consumer of the
// topic that the bus was certain to know had announced that minor version. The
// bus is certain to know a consumer that it has delivered to in its present
// life and that subscribed within the last second.
type versions struct {
	schema    map[string]wire.Version
	consumers map[string]*announced // by node
	allowed   map[string]uint32     // by event: the newest minor that came at a right time, plus one
	order     []string              // of allowed, oldest first
	bus       string                // the node that delivers
	codec     *wire.Codec
}

// announced is what a consumer has said of itself.
type announced struct {
	minor  uint32
	topics map[string]bool
	at     int64
	known  bool // the bus has delivered to it
}

// certain is how long after its last sign of life a consumer counts.
const certain = int64(time.Second)

func newVersions(Params) Checker {
	return &versions{schema: map[string]wire.Version{}, consumers: map[string]*announced{},
		allowed: map[string]uint32{}, codec: wire.NewCodec()}
}

func (*versions) Invariants() []string { return []string{"C9"} }

func (v *versions) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeStarted:
		started(v.schema, e)
		if e.Node == v.bus {
			clear(v.consumers)
		}
	case trace.MessageRefused:
		v.refused(e, j)
	case trace.MessageSent:
		v.sent(e, j)
	case trace.MessageDelivered:
		v.delivered(e)
	}
}

// refused: a reader takes every minor version of its major one. Bytes that this
// program's own codec takes and the node did not are a fault of the reader.
func (v *versions) refused(e *Event, j *Judge) {
	reads := speaks(v.schema, e.Peer)
	if reads.Major != wire.Newest.Major {
		j.Judged("C9")
		return
	}
	env, _, err := v.codec.Open(e.Data)
	if err == nil {
		j.Violate("C9", e.Peer, fmt.Sprintf("a reader of %v refuses a message of version %d.%d", reads, env.SchemaMajor, env.SchemaMinor))
	}
}

func (v *versions) sent(e *Event, j *Judge) {
	env := e.Mail.Envelope
	writes := speaks(v.schema, e.Node)
	switch {
	case env.SchemaMajor != writes.Major || strings.Contains(env.PayloadType, ".v1."):
		j.Violate("C9", e.Node, fmt.Sprintf("a process of version %v writes %s as version %d.%d", writes, env.PayloadType, env.SchemaMajor, env.SchemaMinor))
		return
	case env.SchemaMinor > writes.Minor:
		j.Violate("C9", e.Node, fmt.Sprintf("a process of version %v writes version %d.%d", writes, env.SchemaMajor, env.SchemaMinor))
		return
	}
	j.Judged("C9")
	if _, ok := e.Mail.Payload.(*busv2.Delivery); !ok {
		return
	}
	v.bus = e.Node
	if c := v.consumers[e.Peer]; c != nil {
		c.known = true
	}
	if e.Inner == nil || e.Inner.Envelope.SchemaMinor == 0 {
		return
	}
	in := e.Inner.Envelope
	if allowed, known := v.allowed[in.EventId]; known && allowed <= in.SchemaMinor {
		j.Violate("C9", e.Node, fmt.Sprintf("event %s of %s is of version %d.%d, and was taken while a live consumer had not announced that",
			in.EventId, in.Topic, in.SchemaMajor, in.SchemaMinor))
	} else {
		j.Judged("C9")
	}
}

func (v *versions) delivered(e *Event) {
	if m, ok := e.Mail.Payload.(*busv2.Subscribe); ok {
		c := v.consumers[e.Node]
		if c == nil {
			c = &announced{topics: map[string]bool{}}
			v.consumers[e.Node] = c
		}
		c.minor, c.at = m.SchemaMinor, e.At
		clear(c.topics)
		for _, t := range m.Topics {
			c.topics[t] = true
		}
		return
	}
	env := e.Mail.Envelope
	if env.Topic == "" || env.SchemaMinor == 0 {
		return
	}
	if _, known := v.allowed[env.EventId]; !known {
		v.order = append(v.order, env.EventId)
		if len(v.order) > ringSize {
			delete(v.allowed, v.order[0])
			v.order = v.order[1:]
		}
		v.allowed[env.EventId] = 0
	}
	for _, c := range v.consumers {
		if c.known && c.topics[env.Topic] && e.At-c.at < certain && c.minor < env.SchemaMinor {
			return
		}
	}
	v.allowed[env.EventId] = max(v.allowed[env.EventId], env.SchemaMinor+1)
}

func (*versions) Finish(*Judge) {}
