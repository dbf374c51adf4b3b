package client

import (
	"strconv"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/pressure"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// PublisherOptions of a publisher.
type PublisherOptions struct {
	Bus      string        `set:"bus" doc:"node of the bus"`
	Topic    string        `set:"topic" doc:"topic that it publishes on"`
	Every    time.Duration `set:"every" doc:"between two events"`
	Bytes    int           `set:"bytes" doc:"most bytes that an event is padded with"`
	Window   int           `set:"window" doc:"events that may be unacknowledged at once"`
	Resend   time.Duration `set:"resend" doc:"how long it waits for an answer before it publishes again"`
	Quiet    time.Duration `set:"quiet" doc:"from when on it publishes nothing new; 0: never"`
	Newest   bool          `set:"newest" doc:"its events hold what only the newest minor version of the contracts has"`
	Priority string        `set:"priority" oneof:"emergency,strategic,normal,experimental,background" doc:"of its events"`
	After    time.Duration `set:"after" doc:"from when on it publishes"`
	Heeds    bool          `set:"heeds" doc:"it slows down when the bus says that it is under pressure, ten times at most"`
}

// PublisherDefaults are the options of a publisher that sets none.
func PublisherDefaults() *PublisherOptions {
	return &PublisherOptions{Bus: "oona", Topic: "telemetry.seed.health", Every: 20 * time.Millisecond,
		Bytes: 300, Window: 16, Resend: 300 * time.Millisecond, Priority: "normal"}
}

// publisher publishes numbered events, each until the bus acknowledged it. An
// event is a SeedTelemetry whose batch count is its number, or on a topic of the
// innovation plane what that carries; the event id is
// "<publisher>/<life>/<number>".
type publisher struct {
	env  actor.Env
	o    PublisherOptions
	life string
	next int64
	open []publication // unacknowledged, oldest first
	full pressure.Level
	m    telemetryv2.SeedTelemetry
	seed telemetryv2.SeedRef
	pad  []byte
}

type publication struct {
	number  int64
	as      *uint32 // the minor version that its readers know
	attempt uint32
	due     time.Duration
}

// NewPublisher makes the constructor of a publisher.
func NewPublisher(o PublisherOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &publisher{env: env, o: o, next: 1, life: strconv.FormatUint(env.Incarnation, 10)}, nil
	}
}

// Start implements actor.Actor.
func (p *publisher) Start() error {
	p.env.Clock.SetTimer("publish", 0, max(p.o.Every, p.o.After))
	p.env.Clock.SetTimer("resend", 0, p.o.Resend)
	return nil
}

// Receive implements actor.Actor.
func (p *publisher) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		if m.Name == "resend" {
			p.resend()
			return nil
		}
		if p.o.Quiet == 0 || p.env.Clock.Monotonic() < p.o.Quiet {
			p.env.Clock.SetTimer("publish", 0, p.o.Every+9*p.o.Every*time.Duration(p.full)/time.Duration(pressure.Full))
			if len(p.open) < max(p.o.Window, 1) {
				p.open = append(p.open, publication{number: p.next})
				p.next++
				p.publish(&p.open[len(p.open)-1])
			}
		}
	case *busv2.PublishAck:
		if p.o.Heeds {
			if p.full = pressure.In(m.Reason); p.full > 0 {
				p.env.Probe.Reached("publisher/heeds")
			}
		}
		if m.Status == busv2.PublishStatus_TOO_NEW {
			p.older(m)
			return nil
		}
		// Also one that was refused is let go: the bus said it never will be
		// in the log, and the fact of that is in the trace.
		for i := range p.open {
			if p.id(p.open[i].number) == m.EventId {
				p.open = append(p.open[:i], p.open[i+1:]...)
				break
			}
		}
	}
	return nil
}

// older publishes an event again as its readers can read it.
func (p *publisher) older(m *busv2.PublishAck) {
	for i := range p.open {
		if e := &p.open[i]; p.id(e.number) == m.EventId {
			reads := m.ReadsMinor
			e.as = &reads
			p.publish(e)
		}
	}
}

func (p *publisher) resend() {
	now := p.env.Clock.Monotonic()
	for i := range p.open {
		if p.open[i].due <= now {
			p.publish(&p.open[i])
		}
	}
	p.env.Clock.SetTimer("resend", 0, p.o.Resend/2)
}

func (p *publisher) id(n int64) string {
	return string(p.env.Self) + "/" + p.life + "/" + strconv.FormatInt(n, 10)
}

func (p *publisher) publish(e *publication) {
	id := p.id(e.number)
	m := &p.m
	m.TelemetryId, m.BatchCount, m.Seed = id, uint32(e.number), &p.seed
	p.seed.LayerId, p.seed.SeedId = 1, int32(e.number%8)
	n := int(p.env.Rand.For("length", uint64(e.number), 0) % uint64(max(p.o.Bytes, 1)))
	p.pad = p.pad[:0]
	for len(p.pad) < n {
		p.pad = append(p.pad, 'a'+byte(p.env.Rand.For("byte", uint64(e.number), uint64(len(p.pad)/8))>>(8*uint(len(p.pad)%8)))%26)
	}
	m.LastError = string(p.pad)
	if p.o.Newest {
		m.RollbackGeneration = 1
	}
	p.env.Net.Send(actor.ID(p.o.Bus), p.about(id), actor.SendOptions{
		Key: "publish/" + id, Attempt: e.attempt, EventID: id, Topic: p.o.Topic, Priority: priorities[p.o.Priority], As: e.as,
	})
	e.attempt++
	e.due = p.env.Clock.Monotonic() + p.o.Resend
}

// about is an event of the topic's own type.
func (p *publisher) about(id string) canon.Message {
	switch p.o.Topic {
	case "compilation.blueprint.submitted":
		return &eventsv2.BlueprintSubmittedEvent{BlueprintId: id}
	case "compilation.kernel.ready":
		return &eventsv2.KernelReadyEvent{KernelArtifactId: id}
	case "validation.kernel.characterized":
		return &eventsv2.KernelCharacterizedEvent{KernelArtifactId: id}
	case "innovation.field_reports":
		return &operationalv2.FieldReport{ReportId: id}
	}
	return &p.m
}

var priorities = map[string]envelopev2.Priority{
	"emergency":    envelopev2.Priority_EMERGENCY,
	"strategic":    envelopev2.Priority_STRATEGIC,
	"normal":       envelopev2.Priority_NORMAL,
	"experimental": envelopev2.Priority_EXPERIMENTAL,
	"background":   envelopev2.Priority_BACKGROUND,
}
