package checkers

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/esper-sim/espersim/contracts/durations"
	"github.com/esper-sim/espersim/sim/trace"
)

// spans judges C8 in every message that is sent: each Duration in it is a valid
// one, none below zero where it is a budget, and as many milliseconds after the
// way through a Duration as before.
type spans struct {
	has map[protoreflect.FullName]bool // message types that hold a Duration, at any depth
}

func newSpans(Params) Checker { return &spans{has: map[protoreflect.FullName]bool{}} }

func (*spans) Invariants() []string { return []string{"C8"} }

// budgets are the fields that say how long something may take. The others say
// how long something took.
var budgets = map[protoreflect.Name]bool{"ttl": true, "max_duration": true, "recovery_deadline": true, "respond_within": true}

const durationName = "google.protobuf.Duration"

func (c *spans) Observe(e *Event, j *Judge) {
	if e.Kind != trace.MessageSent {
		return
	}
	if t := e.Mail.Envelope.Ttl; t != nil {
		c.judge(e, "the envelope of ", e.Mail.Envelope.PayloadType, "ttl", t.Seconds, t.Nanos, j)
	}
	m := e.Mail.Payload
	if has, known := c.has[protoreflect.FullName(m.FullName())]; known && !has {
		return
	}
	if r := m.ProtoReflect(); c.holds(r.Descriptor()) {
		c.walk(e, r, j)
	}
}

// holds says whether a message type has a Duration somewhere in it.
func (c *spans) holds(d protoreflect.MessageDescriptor) bool {
	if d.FullName() == durationName {
		return true
	}
	if has, known := c.has[d.FullName()]; known {
		return has
	}
	c.has[d.FullName()] = false // a type in itself adds nothing
	has := false
	for i := range d.Fields().Len() {
		if m := d.Fields().Get(i).Message(); m != nil && c.holds(m) {
			has = true
		}
	}
	c.has[d.FullName()] = has
	return has
}

func (c *spans) walk(e *Event, m protoreflect.Message, j *Judge) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Message() == nil || !m.Has(f) || !c.holds(f.Message()) {
			continue
		}
		each := func(v protoreflect.Message) {
			if f.Message().FullName() != durationName {
				c.walk(e, v, j)
				return
			}
			parts := v.Descriptor().Fields()
			c.judge(e, "", string(m.Descriptor().FullName()), f.Name(), v.Get(parts.ByNumber(1)).Int(), int32(v.Get(parts.ByNumber(2)).Int()), j)
		}
		if !f.IsList() {
			each(m.Get(f).Message())
			continue
		}
		for list, k := m.Get(f).List(), 0; k < list.Len(); k++ {
			each(list.Get(k).Message())
		}
	}
}

// judge holds one Duration to the rules of its type, which are written down here
// a second time.
func (*spans) judge(e *Event, part, in string, field protoreflect.Name, seconds int64, nanos int32, j *Judge) {
	const most = 315_576_000_000
	what := func() string { return fmt.Sprintf("%s in %s%s is %d s and %d ns", field, part, in, seconds, nanos) }
	switch {
	case seconds > most || seconds < -most || nanos > 999_999_999 || nanos < -999_999_999 || seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0:
		j.Violate("C8", e.Node, what()+", which is no valid Duration")
		return
	case budgets[field] && (seconds < 0 || nanos < 0):
		j.Violate("C8", e.Node, what()+": a budget below zero")
		return
	}
	ms := seconds*1000 + int64(nanos/1e6)
	d := &durationpb.Duration{}
	if durations.SetMS(d, ms) != nil || d.Seconds != ms/1000 || d.Nanos != int32(ms%1000*1e6) {
		j.Violate("C8", e.Node, fmt.Sprintf("%s: %d ms come to %d s and %d ns", what(), ms, d.Seconds, d.Nanos))
		return
	}
	j.Judged("C8")
}

func (*spans) Finish(*Judge) {}
