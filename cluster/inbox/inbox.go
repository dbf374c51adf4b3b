// Package inbox consumes topics of the bus for one process of a consumer group:
// it shows the bus that the process lives, opens deliveries, and acknowledges
// what was handled.
//
// The bus delivers at least once. What a delivery leads to must be durable
// before [Box.Ack], and must change nothing when the delivery comes again.
//
//	case *localv2.TimerFired:
//		if m.Name == inbox.Timer {
//			p.in.Renew()
//		}
//	case *busv2.Delivery:
//		e, payload, ok := p.in.Open(m)
//		if ok && p.handle(e, payload) {
//			p.in.Ack(m, e)
//		}
package inbox

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Timer is the name of the timer that the owner passes to Renew.
const Timer = "inbox"

// Every is how often the bus is shown that the process lives.
const Every = time.Second

// Box is the inbox of one process.
type Box struct {
	env   actor.Env
	bus   actor.ID
	codec *wire.Codec
	sub   busv2.Subscribe
	ack   busv2.Ack
	nack  busv2.Nack
}

// New makes the inbox of a group with topics. The group is durable: what it has
// not acknowledged is not trimmed. inFlight is how many entries it takes at
// once.
func New(env actor.Env, bus actor.ID, group string, inFlight uint32, topics ...string) *Box {
	return &Box{env: env, bus: bus, codec: wire.NewCodecAs(env.Schema),
		sub: busv2.Subscribe{Group: group, Consumer: string(env.Self), Durable: true, MaxInFlight: inFlight, Topics: topics, SchemaMinor: env.Schema.Minor}}
}

// Renew subscribes, now and again with each Timer. Without topics there is
// nothing to consume.
func (b *Box) Renew() {
	if len(b.sub.Topics) > 0 {
		b.Subscribe()
		b.env.Clock.SetTimer(Timer, 0, Every)
	}
}

// Subscribe is Renew for an owner with a timer of its own, such as one that lives
// beside another box in the same process.
func (b *Box) Subscribe() {
	b.env.Net.Send(b.bus, &b.sub, actor.SendOptions{Key: "subscribe/" + b.sub.Group})
}

// Limit changes how many entries it takes at once, from the next Renew on.
func (b *Box) Limit(inFlight uint32) { b.sub.MaxInFlight = inFlight }

// Open is the published envelope and payload of a delivery, valid until Receive
// returns. One that cannot be read is given back, and comes again until the bus
// gives it up.
func (b *Box) Open(d *busv2.Delivery) (*envelopev2.EventEnvelope, canon.Message, bool) {
	e, m, err := b.codec.Open(d.Envelope)
	if err != nil {
		b.Nack(d, err.Error())
		return nil, nil, false
	}
	return e, m, true
}

// Ack ends a delivery.
func (b *Box) Ack(d *busv2.Delivery, e *envelopev2.EventEnvelope) {
	a := &b.ack
	a.Group, a.Consumer, a.Topic, a.Offset, a.ClaimGeneration = d.Group, b.sub.Consumer, d.Topic, d.Offset, d.ClaimGeneration
	b.env.Net.Send(b.bus, a, actor.SendOptions{Key: "ack/" + e.EventId, Attempt: d.Attempt})
}

// Nack gives a delivery back: it comes again after a pause that grows.
func (b *Box) Nack(d *busv2.Delivery, why string) {
	n := &b.nack
	n.Group, n.Consumer, n.Topic, n.Offset = d.Group, b.sub.Consumer, d.Topic, d.Offset
	n.ClaimGeneration, n.Reason = d.ClaimGeneration, why
	b.env.Net.Send(b.bus, n, actor.SendOptions{Key: fmt.Sprint("nack/", d.Topic, "/", d.Offset), Attempt: d.Attempt})
}
