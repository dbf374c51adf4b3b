package client

import (
	"fmt"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// SubscriberOptions of a subscriber.
type SubscriberOptions struct {
	Bus     string        `set:"bus" doc:"node of the bus"`
	Group   string        `set:"group" doc:"its consumer group"`
	Topics  string        `set:"topics" doc:"topics that it consumes, separated by commas"`
	Flight  int           `set:"max-in-flight" doc:"most entries that it holds at once"`
	Durable bool          `set:"durable" doc:"its group's unended entries are never trimmed"`
	Renew   time.Duration `set:"renew" doc:"between two signs of life"`
	Slow    time.Duration `set:"slow" doc:"how long it works on an entry before it acknowledges"`
	Forget  float64       `set:"forget" doc:"share of entries that it never acknowledges the first time"`
	Zombie  bool          `set:"zombie" doc:"it acknowledges everything again after another consumer may have claimed it"`
	Never   float64       `set:"never" doc:"share of entries that it never acknowledges, however often they come"`
	Claims  time.Duration `set:"claims" doc:"between two claims of what others of its group have held for half a second; 0: it claims nothing"`
	Reads   time.Duration `set:"reads" doc:"between two readings of its topics' logs, each on from the last; 0: it reads none"`
}

// SubscriberDefaults are the options of a subscriber that sets none.
func SubscriberDefaults() *SubscriberOptions {
	return &SubscriberOptions{Bus: "oona", Group: "readers", Topics: "telemetry.seed.health", Flight: 32,
		Durable: true, Renew: 500 * time.Millisecond}
}

// remembered bounds the event ids that a subscriber knows as done. The bus
// delivers an entry again only while it keeps it, and it keeps fewer.
const remembered = 1 << 14

// subscriber consumes topics in a group. Its effects are idempotent: it takes
// effect once for an event id, whatever is delivered again.
type subscriber struct {
	env    actor.Env
	o      SubscriberOptions
	topics []string
	codec  *wire.Codec
	done   map[string]bool
	order  []string // of done, oldest first, a ring
	at     int
	work   []*busv2.Ack // being worked on; a timer's arg is the index
	free   []int64
	fact   evidencev2.BusFact
	nack   busv2.Nack
	read   []int64 // by topic: the offset that it reads from next
	query  int64   // number of the newest reading
}

// NewSubscriber makes the constructor of a subscriber.
func NewSubscriber(o SubscriberOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &subscriber{env: env, o: o, topics: strings.Split(o.Topics, ","),
			codec: wire.NewCodecAs(env.Schema), done: make(map[string]bool)}, nil
	}
}

// Start implements actor.Actor.
func (s *subscriber) Start() error {
	s.renew()
	if s.o.Claims > 0 {
		s.env.Clock.SetTimer("claim", 0, s.o.Claims)
	}
	if s.o.Reads > 0 {
		s.read = make([]int64, len(s.topics))
		s.env.Clock.SetTimer("read", 0, s.o.Reads)
	}
	return nil
}

func (s *subscriber) renew() {
	s.env.Net.Send(actor.ID(s.o.Bus), &busv2.Subscribe{Group: s.o.Group, Consumer: string(s.env.Self),
		Topics: s.topics, MaxInFlight: uint32(s.o.Flight), Durable: s.o.Durable,
		SchemaMinor: s.env.Schema.Minor}, actor.SendOptions{Key: "subscribe"})
	s.env.Clock.SetTimer("renew", 0, s.o.Renew)
}

// Receive implements actor.Actor.
func (s *subscriber) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case "renew":
			s.renew()
		case "worked":
			s.worked(m.Arg)
		case "claim":
			s.claim()
		case "read":
			s.readOn()
		}
	case *busv2.Delivery:
		s.take(m)
	case *busv2.LogSlice:
		s.took(m)
	}
	return nil
}

// claim asks for what others of its group have held for long. It does not look
// whether the bus still knows it: one that stood still for longer than its
// lease is a stranger there.
func (s *subscriber) claim() {
	for _, t := range s.topics {
		s.env.Net.Send(actor.ID(s.o.Bus), &busv2.Claim{Group: s.o.Group, Consumer: string(s.env.Self), Topic: t, MinIdleMs: 500},
			actor.SendOptions{})
	}
	s.env.Clock.SetTimer("claim", 0, s.o.Claims)
}

// readOn reads the logs of its topics further, and again from the beginning
// where it has come to the end.
func (s *subscriber) readOn() {
	for i, t := range s.topics {
		s.query++
		s.env.Net.Send(actor.ID(s.o.Bus), &busv2.ReadLog{QueryId: fmt.Sprint(s.env.Self, "/", s.env.Incarnation, "/", s.query),
			Topic: t, FromOffset: s.read[i], MaxEntries: 32}, actor.SendOptions{})
	}
	s.env.Clock.SetTimer("read", 0, s.o.Reads)
}

func (s *subscriber) took(m *busv2.LogSlice) {
	for i, t := range s.topics {
		if t != m.Topic || s.read == nil {
			continue
		}
		if n := len(m.Entries); n > 0 {
			s.read[i] = m.Entries[n-1].Offset + 1
		} else {
			s.read[i] = 0
		}
	}
}

func (s *subscriber) take(d *busv2.Delivery) {
	e, _, err := s.codec.Open(d.Envelope)
	if err != nil {
		n := &s.nack
		n.Group, n.Consumer, n.Topic, n.Offset, n.ClaimGeneration = d.Group, string(s.env.Self), d.Topic, d.Offset, d.ClaimGeneration
		n.Reason = err.Error()
		s.env.Net.Send(actor.ID(s.o.Bus), n, actor.SendOptions{Attempt: d.Attempt})
		return
	}
	if !s.done[e.EventId] {
		s.remember(e.EventId)
		f := &s.fact
		f.Action, f.Topic, f.Group, f.Offset = evidencev2.BusAction_BUS_CONSUMED, d.Topic, d.Group, d.Offset
		f.EventId, f.Consumer, f.ClaimGeneration, f.Attempt = e.EventId, string(s.env.Self), d.ClaimGeneration, d.Attempt
		s.env.Facts.Record(f)
	}
	if d.Attempt == 1 && s.chance("forget", e.EventId) < s.o.Forget || s.o.Never > 0 && s.chance("never", e.EventId) < s.o.Never {
		return
	}
	if i := s.slot(d); s.o.Slow > 0 {
		s.env.Clock.SetTimer("worked", i, s.o.Slow)
	} else {
		s.worked(i)
	}
	if s.o.Zombie {
		s.env.Clock.SetTimer("worked", s.slot(d), max(10*s.o.Slow, 5*time.Second))
	}
}

// chance is a number of [0, 1) that an event has for a purpose.
func (s *subscriber) chance(purpose, event string) float64 {
	return float64(s.env.Rand.For(purpose, hash(event), 0)>>11) / (1 << 53)
}

// worked acknowledges what a slot holds.
func (s *subscriber) worked(i int64) {
	s.send(s.work[i])
	s.free = append(s.free, i)
}

// slot keeps the acknowledgement of a delivery until it is sent.
func (s *subscriber) slot(d *busv2.Delivery) int64 {
	i := int64(len(s.work))
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		s.work = append(s.work, new(busv2.Ack))
	}
	w := s.work[i]
	w.Group, w.Consumer, w.Topic, w.Offset, w.ClaimGeneration = d.Group, string(s.env.Self), d.Topic, d.Offset, d.ClaimGeneration
	return i
}

func (s *subscriber) send(a *busv2.Ack) {
	s.env.Net.Send(actor.ID(s.o.Bus), a, actor.SendOptions{})
}

func (s *subscriber) remember(id string) {
	s.done[id] = true
	if len(s.order) < remembered {
		s.order = append(s.order, id)
		return
	}
	delete(s.done, s.order[s.at])
	s.order[s.at] = id
	s.at = (s.at + 1) % remembered
}

// hash is FNV-1a, for keys of randomness.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
