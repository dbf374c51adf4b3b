// Package oona is the message bus and event log: topics in one write-ahead
// log, consumer groups with the semantics of Redis streams, at-least-once
// delivery.
//
// What it promises (rows O1 to O8 of the invariants):
//
//   - A publication that was acknowledged is in the log, unchanged, and is
//     delivered to every group until the group acknowledged it, it expired, or
//     it was dead-lettered. Nothing is delivered before it is durable: a
//     consumer must not know an event that a crash takes back.
//   - Trimming never takes what a durable group has not ended.
//   - An acknowledgement under an older claim is refused.
//   - Deliveries go by tier, and within one by the order of the log. The log
//     itself knows no tiers: it replays in the order in which it was written.
//   - An emergency is always admitted and waits for nothing below it: neither for
//     others to share its sync, nor for a consumer that has its hands full.
//   - Four topics are queues with bounds. "Shed" never means forgotten: what was
//     not acknowledged is refused, what was is dead-lettered in the same record
//     that takes in what it made room for.
//   - Telemetry of seeds can be read for 72 hours, and not after.
//
// The queues (H6 6.3.1): karn-tezzeret is compilation.blueprint.submitted,
// tezzeret-urabrask is compilation.kernel.ready, urabrask-validation is
// validation.kernel.characterized and urza-storage is innovation.field_reports.
// The library is written to by request and reply, which queues at its publisher;
// what the plane stores of each adaptation comes by the last of these.
//
// There is no breaker for consuming: a delivery is a message that nobody waits
// for, and a consumer that fails is found by its lease.
//
// The files: this one handles mail, state.go is the pure state of topics and
// groups, lanes.go the order of tiers, queues.go what is how full, admit.go who is
// let in, pump.go hands entries out, commit.go writes the log, recover.go reads
// it, digest.go compares the two.
package oona

import (
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
)

// DeadLetters is the topic of entries that no consumer of a group could end:
// the published bytes, unchanged, under an event id that names the group.
const DeadLetters = "bus.dead-letters"

// SeedTelemetry is the topic that can be read for as long as Options.Age,
// however much there is in it (S 8.2).
const SeedTelemetry = "telemetry.seed.health"

// MaxPublication is the most bytes of one publication (card 09).
const MaxPublication = 256 << 10

// Options of Oona.
type Options struct {
	Group    time.Duration `set:"group" doc:"how long publications gather before one sync makes them durable"`
	AckFlush time.Duration `set:"ack-flush" doc:"how long acknowledgements gather before they are logged"`
	Idle     time.Duration `set:"idle" doc:"how long an entry is pending before it is delivered again"`
	Lease    time.Duration `set:"lease" doc:"how long a consumer may be silent before it loses its claims"`
	Sweep    time.Duration `set:"sweep" doc:"between two looks at idle entries, leases and expiry"`
	Attempts int           `set:"attempts" doc:"deliveries before an entry is dead-lettered, where its envelope says nothing"`
	Retain   int           `set:"retain" doc:"ended entries that a topic keeps"`
	Age      time.Duration `set:"age" doc:"how long ended entries are kept at most"`
	TTL      time.Duration `set:"ttl" doc:"time to live of normal entries; the other priorities keep their ratio to it"`
	Depth    int           `set:"depth" doc:"entries that wait in all topics at which publications are refused by priority"`
	Segment  int           `set:"segment" doc:"bytes a segment of the log"`
	Snapshot int           `set:"snapshot" doc:"bytes of log after which a snapshot lets the old log go"`
	Timeout  time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
}

// Defaults are the options of an Oona that sets none.
func Defaults() *Options {
	return &Options{
		Group: 5 * time.Millisecond, AckFlush: 50 * time.Millisecond,
		Idle: 2 * time.Second, Lease: 3 * time.Second, Sweep: 100 * time.Millisecond,
		Attempts: 5, Retain: 256, Age: 72 * time.Hour, TTL: 30 * time.Minute,
		Depth: 5000, Segment: 64 << 10, Snapshot: 128 << 10, Timeout: 500 * time.Millisecond,
	}
}

// retry is how long Oona waits before it tries a refused disk again.
const retry = 100 * time.Millisecond

// unsynced bounds the publications that wait for a disk. Beyond it they are
// dropped without an answer, and their publishers repeat them.
const unsynced = 10_000

type oona struct {
	tamiyo   actor.ID
	capacity capacity
	env      actor.Env
	o        Options
	s        *state
	log      *wal.Log
	shift    time.Duration // of the bus's clock against the monotonic one

	refused error // damage: why the log takes nothing any more
	reopens uint32
	timer   bool // the commit timer runs
	urgent  bool // it runs with the short delay
	resting bool // the disk refused; the timer runs with the long one
	mode    mode
	breaker *breaker.Breaker // of the log

	batch     uint64 // record that the newest batch is in, until it is settled
	batchTime int64
	rewound   bool // a fault has set a cursor back: the state is not what the log says

	staged      []staged // publications that wait for Append
	flight      []staged // and those that wait for Sync
	stagedBytes int
	waiting     map[string]bool // event ids of staged and flight
	changes     []*busv2.GroupChange
	freeChanges []*busv2.GroupChange
	logged      int // bytes since the last snapshot

	w    writer
	out  outgoing
	fact evidencev2.BusFact
	logF evidencev2.LogFact
}

// outgoing are the messages that Oona sends, each used again and again.
type outgoing struct {
	published busv2.PublishAck
	delivery  busv2.Delivery
	acked     busv2.AckReply
	slice     busv2.LogSlice
	entries   []*busv2.LogEntry
}

// New makes the constructor of an Oona.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		b := &oona{tamiyo: j.Tamiyo, env: env, o: o}
		s, _ := breaker.Find("oona", "publish")
		var err error
		b.breaker, err = breaker.New(s, func(t breaker.Transition) {
			env.Facts.Record(&evidencev2.BreakerFact{Subsystem: "oona", Breaker: s.Name, From: t.From.String(), To: t.To.String()})
			if t.To == breaker.Open {
				env.Probe.Reached("oona/breaker-open")
			}
		})
		return b, err
	}
}

// Start recovers the log. Damage does not end the process: it refuses
// publications and says why. A disk that does not answer is asked again.
func (b *oona) Start() error {
	b.open()
	b.env.Clock.SetTimer("sweep", 0, b.o.Sweep)
	return nil
}

// Receive implements actor.Actor.
func (b *oona) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		b.timerFired(m.Name)
		return nil
	}
	if e, raw := b.env.Net.Incoming(); e != nil && e.Topic != "" {
		b.publish(from, e, raw)
		return nil
	}
	if b.log == nil {
		return nil // not open: everybody repeats what they want
	}
	switch m := m.(type) {
	case *busv2.Subscribe:
		b.subscribe(from, m)
	case *busv2.Ack:
		b.ack(from, m, true)
	case *busv2.Nack:
		b.nack(m)
	case *busv2.Claim:
		b.claim(m)
	case *busv2.ReadLog:
		b.read(from, m)
	}
	return nil
}

func (b *oona) timerFired(name string) {
	switch name {
	case "commit":
		b.timer, b.urgent, b.resting = false, false, false
		b.commit()
	case "open":
		b.open()
	case "sweep":
		if b.log != nil {
			b.sweep()
			b.tellCapacity()
		}
		b.env.Clock.SetTimer("sweep", 0, b.o.Sweep)
	}
}

// now is the time on the bus's own clock: it goes on where the log says it
// was, also if a reboot set the monotonic clock back.
func (b *oona) now() int64 { return int64(b.env.Clock.Monotonic() + b.shift) }

func (b *oona) subscribe(from actor.ID, m *busv2.Subscribe) {
	if m.Group == "" || m.Consumer == "" || len(m.Topics) == 0 {
		return
	}
	g, isNew := b.s.join(from, m, b.now())
	if isNew {
		c := b.change()
		c.Group, c.Durable = g.name, g.durable
		b.soon()
	}
	for _, name := range m.Topics {
		t := b.s.topic(name)
		if b.s.findCursor(g.name, name) == nil {
			// That the group has this topic is logged as well: what queues for it
			// after a restart is what did before.
			c := b.change()
			c.Group, c.Topic = g.name, name
			b.soon()
			t.young = t.first // what has ended for all others waits again
		}
		b.pump(b.s.cursorOf(g, t))
	}
}

// ack ends an entry for a group. The answer does not wait for the log: if a
// crash loses the acknowledgement, the entry is delivered again, which
// at-least-once allows.
func (b *oona) ack(from actor.ID, m *busv2.Ack, answer bool) {
	if answer && b.env.Probe.Sometimes("drop-ack") {
		return
	}
	c := b.s.findCursor(m.Group, m.Topic)
	status := busv2.AckStatus_NOT_PENDING
	if c != nil {
		status = c.ack(m.Consumer, m.Offset, m.ClaimGeneration)
	}
	if status == busv2.AckStatus_ACKED {
		b.ended(c, m.Offset, evidencev2.BusAction_BUS_ACKED, m.Consumer, "")
		if b.env.Probe.Sometimes("duplicate") {
			if e := c.topic.at(m.Offset); e != nil {
				b.send(c, e, m.Offset, from, 1, m.ClaimGeneration)
			}
		}
	}
	if answer {
		r := &b.out.acked
		r.Group, r.Topic, r.Offset, r.Status = m.Group, m.Topic, m.Offset, status
		b.env.Net.Send(from, r, actor.SendOptions{Key: "ack-reply/" + m.Group + "/" + b.s.eventID(m.Topic, m.Offset)})
	}
	if status == busv2.AckStatus_ACKED {
		b.pump(c)
	}
}

// nack gives an entry back. It is delivered again after a pause that grows,
// so that an entry nobody can decode does not spin.
func (b *oona) nack(m *busv2.Nack) {
	c := b.s.findCursor(m.Group, m.Topic)
	if c == nil {
		return
	}
	if p := c.find(m.Offset); p != nil && p.claim == m.ClaimGeneration && p.holder() == m.Consumer {
		c.release(p, b.now()+int64(50*time.Millisecond)<<min(p.attempts, 6))
	}
}

// claim hands the entries of others that have been idle for long enough to a
// consumer that asks for them.
func (b *oona) claim(m *busv2.Claim) {
	c := b.s.findCursor(m.Group, m.Topic)
	if c == nil {
		return
	}
	to := c.group.consumer(m.Consumer)
	if to == nil {
		return
	}
	now := b.now()
	for i := 0; i < len(c.pending) && to.free(); i++ {
		p := c.pending[i]
		if p.attempts == 0 {
			continue // nobody held it: the pump hands it out in its turn
		}
		if p.owner == to || now-p.since < m.MinIdleMs*int64(time.Millisecond) {
			continue
		}
		if b.end(c, p, now) {
			i-- // it is not pending any more
			continue
		}
		if p.attempts >= c.topic.at(p.offset).attempts {
			continue // its last delivery is under way, and there is none to give
		}
		b.hand(c, p, to, now)
	}
}

func (b *oona) read(from actor.ID, m *busv2.ReadLog) {
	r := &b.out.slice
	r.QueryId, r.Topic, r.Entries = m.QueryId, m.Topic, r.Entries[:0]
	r.FirstOffset, r.NextOffset = 1, 1
	if t := b.s.findTopic(m.Topic); t != nil {
		b.trim(t, b.now()) // what is over its time is not there, whenever the sweep comes
		r.FirstOffset, r.NextOffset = t.first, t.next()
		limit := int(min(max(m.MaxEntries, 1), 1000))
		bytes := 0
		for at := max(m.FromOffset, t.first); at < t.next() && len(r.Entries) < limit && bytes < 1<<20; at++ {
			if len(r.Entries) == len(b.out.entries) {
				b.out.entries = append(b.out.entries, new(busv2.LogEntry))
			}
			e := b.out.entries[len(r.Entries)]
			e.Offset, e.Envelope = at, t.at(at).bytes
			bytes += len(e.Envelope)
			r.Entries = append(r.Entries, e)
		}
	}
	b.env.Net.Send(from, r, actor.SendOptions{Key: "log-slice/" + m.QueryId})
}
