package checkers_test

import (
	"fmt"
	"testing"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
)

const (
	blueprints = "compilation.blueprint.submitted"
	verdicts   = "validation.kernel.characterized"
)

// busTape is a tape of a bus with one topic and one group.
type busTape struct {
	*tape
	topic string
	next  int64
	bytes map[int64][]byte
}

func (p *tape) busOf(topic string) *busTape {
	b := &busTape{tape: p, topic: topic, next: 1, bytes: map[int64][]byte{}}
	b.renew()
	return b
}

func (b *busTape) renew() {
	b.mail("worker", "oona", &busv2.Subscribe{Group: "workers", Consumer: "worker", Topics: []string{b.topic}, Durable: true})
}

func (b *busTape) ask(event string, p envelopev2.Priority) []byte {
	bytes := b.seal(&envelopev2.EventEnvelope{EventId: event, Topic: b.topic, Priority: p}, &eventsv2.BlueprintSubmittedEvent{BlueprintId: event}, false)
	b.sentBytes("urza", "oona", bytes)
	return bytes
}

// add publishes an event that is taken.
func (b *busTape) add(event string, p envelopev2.Priority) int64 {
	at := b.next
	b.bytes[at] = b.ask(event, p)
	b.next++
	b.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_APPENDED, Topic: b.topic, Offset: at, EventId: event})
	b.accepted("urza", b.topic, event, at)
	return at
}

func (b *busTape) refuse(event, why string) {
	b.sent("oona", "urza", &busv2.PublishAck{EventId: event, Topic: b.topic, Status: busv2.PublishStatus_REFUSED, Reason: why + "; pressure=100"})
}

func (b *busTape) hand(at int64) {
	b.mail("oona", "worker", &busv2.Delivery{Group: "workers", Topic: b.topic, Offset: at, Attempt: 1, Envelope: b.bytes[at]})
}

func (b *busTape) done(at int64) {
	b.sent("oona", "worker", &busv2.AckReply{Group: "workers", Topic: b.topic, Offset: at, Status: busv2.AckStatus_ACKED})
}

func (b *busTape) say(a evidencev2.BusAction, at int64, tier uint32) {
	b.fact("oona", &evidencev2.BusFact{Action: a, Topic: b.topic, Offset: at, Tier: tier})
}

func (b *busTape) read(from int64, next int64, offsets ...int64) {
	q := fmt.Sprint("q", b.now)
	b.mail("viewer", "oona", &busv2.ReadLog{QueryId: q, Topic: b.topic, FromOffset: from, MaxEntries: 10})
	s := &busv2.LogSlice{QueryId: q, Topic: b.topic, FirstOffset: 1, NextOffset: next}
	if len(offsets) > 0 {
		s.FirstOffset = offsets[0]
	}
	for _, at := range offsets {
		s.Entries = append(s.Entries, &busv2.LogEntry{Offset: at, Envelope: b.bytes[at]})
	}
	b.sent("oona", "viewer", s)
}

// overtaken is an emergency that waits behind something normal.
func (p *tape) overtaken(guilty bool) {
	b := p.busOf(blueprints)
	low, high := b.add("low", envelopev2.Priority_NORMAL), b.add("high", envelopev2.Priority_EMERGENCY)
	first, second := high, low
	if guilty {
		first, second = low, high
	}
	b.hand(first)
	b.hand(second)
}

// flooded is a queue with one more than it may hold.
func (p *tape) flooded(guilty bool) {
	b := p.busOf(verdicts)
	for i := range 25 {
		b.add(fmt.Sprint("e", i), envelopev2.Priority_NORMAL)
	}
	b.hand(1)
	if !guilty {
		b.done(1)
	}
	b.add("more", envelopev2.Priority_NORMAL)
}

// raised is an entry that becomes old.
func (p *tape) raised(guilty bool) {
	b := p.busOf(blueprints)
	at := b.add("old", envelopev2.Priority_NORMAL)
	p.wait(pick[time.Duration](guilty, 4, 5) * time.Minute)
	b.say(evidencev2.BusAction_BUS_AGED, at, 1)
}

// letGo is telemetry of a seed that is let go.
func (p *tape) letGo(guilty bool) {
	b := p.busOf("telemetry.seed.health")
	at := b.add("t", envelopev2.Priority_BACKGROUND)
	p.wait(pick[time.Duration](guilty, 60, 73) * time.Hour)
	b.say(evidencev2.BusAction_BUS_TRIMMED, at, 0)
}

// rebuilt is a log that is read again.
func (p *tape) rebuilt(guilty bool) {
	p.fact("oona", &evidencev2.ReplayFact{Log: "oona", Lsn: 8, StateSha256: []byte("same")})
	p.fact("oona", &evidencev2.ReplayFact{Log: "oona", Lsn: 8, StateSha256: []byte(pick(guilty, "other", "same")), Rebuilt: true})
}

// readAgain is a reading of the log, stale or not.
func (p *tape) readAgain(guilty bool) {
	b := p.busOf(blueprints)
	b.add("a", envelopev2.Priority_NORMAL)
	b.add("b", envelopev2.Priority_NORMAL)
	if guilty {
		b.read(1, 2, 1)
	} else {
		b.read(1, 3, 1, 2)
	}
}

// Each clause of the priorities' checkers, broken alone.
func TestPriorities(t *testing.T) {
	const emergency, strategic, normal, background = envelopev2.Priority_EMERGENCY, envelopev2.Priority_STRATEGIC, envelopev2.Priority_NORMAL, envelopev2.Priority_BACKGROUND
	fill := func(b *busTape, n int, p envelopev2.Priority) {
		for i := range n {
			b.add(fmt.Sprint("fill", i), p)
		}
	}
	for name, c := range map[string]struct {
		id   string
		bad  bool
		play func(p *tape)
	}{
		"an emergency refused for the depth": {"O5", true, func(p *tape) {
			b := p.busOf(blueprints)
			b.ask("e", emergency)
			b.refuse("e", "the bus is full for this priority")
		}},
		"an emergency refused for damage": {"O5", false, func(p *tape) {
			b := p.busOf(blueprints)
			b.ask("e", emergency)
			b.refuse("e", "the log is damaged")
		}},
		"an emergency shed": {"O5", true, func(p *tape) {
			b := p.busOf(blueprints)
			b.say(evidencev2.BusAction_BUS_SHED, b.add("e", emergency), 0)
		}},
		"emergencies over the bound": {"O6", false, func(p *tape) {
			b := p.busOf(verdicts)
			fill(b, 26, emergency)
		}},
		"refused while something lower waits": {"O6", true, func(p *tape) {
			b := p.busOf(verdicts)
			fill(b, 24, normal)
			b.add("low", background)
			b.ask("n", normal)
			b.refuse("n", "the queue urabrask-validation is full")
		}},
		"refused while something lower is in hands": {"O6", false, func(p *tape) {
			b := p.busOf(verdicts)
			b.hand(b.add("low", background))
			fill(b, 24, normal)
			b.ask("n", normal)
			b.refuse("n", "the queue urabrask-validation is full")
		}},
		"shed while something lower waits": {"O6", true, func(p *tape) {
			b := p.busOf(verdicts)
			fill(b, 24, normal)
			b.add("low", background)
			b.say(evidencev2.BusAction_BUS_SHED, 1, 2)
		}},
		"the lowest is shed": {"O6", false, func(p *tape) {
			b := p.busOf(verdicts)
			fill(b, 24, normal)
			b.say(evidencev2.BusAction_BUS_SHED, b.add("low", background), 4)
		}},
		"raised twice": {"O7", true, func(p *tape) {
			b := p.busOf(blueprints)
			at := b.add("old", background)
			p.wait(5 * time.Minute)
			b.say(evidencev2.BusAction_BUS_AGED, at, 3)
			b.say(evidencev2.BusAction_BUS_AGED, at, 3)
		}},
		"raised by two tiers": {"O7", true, func(p *tape) {
			b := p.busOf(blueprints)
			at := b.add("old", background)
			p.wait(5 * time.Minute)
			b.say(evidencev2.BusAction_BUS_AGED, at, 2)
		}},
		"raised to tier 0": {"O7", true, func(p *tape) {
			b := p.busOf(blueprints)
			at := b.add("old", strategic)
			p.wait(5 * time.Minute)
			b.say(evidencev2.BusAction_BUS_AGED, at, 0)
		}},
		"something higher waits": {"O7", true, func(p *tape) {
			b := p.busOf(blueprints)
			at := b.add("low", background)
			b.add("high", strategic)
			b.hand(at)
		}},
		"never raised": {"O7", true, func(p *tape) {
			b := p.busOf(blueprints)
			b.add("old", background)
			p.wait(6 * time.Minute)
			b.hand(b.add("new", background))
			b.hand(b.add("newer", background))
		}},
		"raised, and before its new peers": {"O7", false, func(p *tape) {
			b := p.busOf(blueprints)
			at := b.add("old", background)
			p.wait(6 * time.Minute)
			b.say(evidencev2.BusAction_BUS_AGED, at, 3)
			b.add("new", background)
			b.hand(at)
		}},
		"a queue that does not drain": {"L5", true, func(p *tape) {
			b := p.busOf(verdicts)
			fill(b, 25, normal)
			for range 12 {
				p.wait(time.Second)
				b.renew()
			}
		}},
		"a queue whose worker is gone": {"L5", false, func(p *tape) {
			b := p.busOf(verdicts)
			fill(b, 25, normal)
			for i := range 25 {
				p.mail("oona", "urza", &busv2.PublishAck{EventId: fmt.Sprint("fill", i), Topic: verdicts, Offset: int64(i) + 1, Status: busv2.PublishStatus_ACCEPTED, Reason: "pressure=100"})
			}
			p.wait(12 * time.Second)
			p.fact("oona", &evidencev2.BusFact{})
		}},
		"a conservative mode that does not end": {"L5", true, func(p *tape) {
			p.fact("oona", &evidencev2.ModeFact{Subsystem: "oona", From: "NORMAL", To: "CONSERVATIVE"})
			p.wait(12 * time.Second)
			p.fact("oona", &evidencev2.BusFact{})
		}},
		"telemetry that is read too late": {"O8", true, func(p *tape) {
			b := p.busOf("telemetry.seed.health")
			at := b.add("t", background)
			p.wait(74 * time.Hour)
			b.read(1, 2, at)
		}},
		"telemetry that is missing too early": {"O8", true, func(p *tape) {
			b := p.busOf("telemetry.seed.health")
			b.add("t", background)
			at := b.add("u", background)
			p.wait(time.Hour)
			b.read(1, 3, at)
		}},
		"a report that leaves before it is durable": {"O8", true, func(p *tape) {
			p.fact("tamiyo", &evidencev2.LogFact{Log: "tamiyo", Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 7})
			p.publish("tamiyo", "innovation.field_reports", "r", &operationalv2.FieldReport{ReportId: "r"})
			p.accepted("tamiyo", "innovation.field_reports", "r", 1)
			p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_TRIMMED, Topic: "innovation.field_reports", Offset: 1})
		}},
		"a report that leaves when it is durable": {"O8", false, func(p *tape) {
			p.fact("tamiyo", &evidencev2.LogFact{Log: "tamiyo", Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 7})
			p.fact("tamiyo", &evidencev2.LogFact{Log: "tamiyo", Action: evidencev2.LogAction_LOG_DURABLE, Lsn: 7})
			p.publish("tamiyo", "innovation.field_reports", "r", &operationalv2.FieldReport{ReportId: "r"})
			p.accepted("tamiyo", "innovation.field_reports", "r", 1)
			p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_TRIMMED, Topic: "innovation.field_reports", Offset: 1})
		}},
		"an offset that is given twice": {"R4", true, func(p *tape) {
			b := p.busOf(blueprints)
			b.add("a", normal)
			b.next = 1
			b.add("b", normal)
		}},
		"a state that is rebuilt after its records were lost": {"E2", false, func(p *tape) {
			p.fact("oona", &evidencev2.ReplayFact{Log: "oona", Lsn: 8, StateSha256: []byte("a")})
			p.fact("oona", &evidencev2.LogFact{Log: "oona", Action: evidencev2.LogAction_LOG_RECOVERED, Lsn: 7})
			p.fact("oona", &evidencev2.ReplayFact{Log: "oona", Lsn: 8, StateSha256: []byte("b"), Rebuilt: true})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if list := found(t, c.id, c.play); c.bad != (len(list) > 0) {
				t.Errorf("%v", list)
			}
		})
	}
}
