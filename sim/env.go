package sim

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/sim/trace"
)

// The parts of an actor.Env, each over the node.
type (
	nodeClock  struct{ n *node }
	nodeNet    struct{ n *node }
	nodeFacts  struct{ n *node }
	nodeProbe  struct{ n *node }
	nodeRandom struct{ n *node }
)

func (n *node) env() actor.Env {
	e := actor.Env{
		Self:        n.spec.ID,
		Clock:       nodeClock{n},
		Net:         nodeNet{n},
		GPU:         n.host.spec.Device,
		Rand:        nodeRandom{n},
		Log:         n.w.zap.Named(string(n.spec.ID)),
		Facts:       nodeFacts{n},
		Probe:       nodeProbe{n},
		Incarnation: uint64(n.life),
		Schema:      n.spec.Schema,
	}
	if !n.spec.Callback && n.host.spec.Disk != nil {
		e.FS = n.files()
	}
	if !n.spec.Callback {
		e.Devices = n.devices(uint64(e.Incarnation))
	}
	return e
}

func (c nodeClock) Now() time.Time {
	c.n.alive()
	return Epoch.Add(time.Duration(c.n.host.wall(c.n.w.now)))
}

func (c nodeClock) Monotonic() time.Duration {
	c.n.alive()
	return time.Duration(c.n.host.monotonic(c.n.w.now))
}

func (c nodeClock) SetTimer(name string, arg int64, d time.Duration) {
	n := c.n
	n.alive()
	w := n.w
	slot, gen := n.timers.set(name, arg)
	w.soon = event{kind: evTimer, node: n.idx, life: n.life, slot: slot, gen: gen, cause: n.cause}
	w.push(w.now+n.host.trueDuration(max(int64(d), 0)), n.timers.tie(slot), &w.soon)
}

func (c nodeClock) StopTimer(name string, arg int64) {
	c.n.alive()
	c.n.timers.stop(name, arg)
}

func (c nodeClock) Work(k gpu.Work, units int) {
	n := c.n
	n.alive()
	if n.host.spec.Device == nil {
		return
	}
	n.suspend(int64(n.host.spec.Device.Cost(k, units)) * n.slow / 1000)
}

func (f nodeFacts) Record(m canon.Message) {
	f.n.alive()
	f.n.fact(m)
}

func (p nodeProbe) Reached(name string) {
	p.n.alive()
	p.n.w.probes[name]++
}

// Sometimes is keyed by the node, the site and how often the node came there.
func (p nodeProbe) Sometimes(name string) bool {
	n := p.n
	n.alive()
	w := n.w
	rate := w.cfg.Sometimes
	if r, ok := w.cfg.Sites[name]; ok {
		rate = r
	}
	for _, s := range w.sites {
		if s.node == n && s.site == name {
			rate = s.rate
		}
	}
	if rate == 0 {
		return false
	}
	id := trace.String(uint64(n.idx)+11, name)
	v := w.decide("sometimes", id, w.seen.next(w.now, id), n.taint)
	if !chance(v, rate) {
		return false
	}
	for _, s := range w.sites {
		if s.node == n && s.site == name {
			s.fired++
		}
	}
	w.probes["sometimes/"+name]++
	return true
}

func (r nodeRandom) For(purpose string, a, b uint64) uint64 {
	r.n.alive()
	return r.n.src.At(purpose, a, b)
}

func (s nodeNet) Incoming() (*envelopev2.EventEnvelope, []byte) {
	s.n.alive()
	return s.n.envelope, s.n.bytes
}

// Send encodes the message once; the link decides about the bytes.
func (s nodeNet) Send(to actor.ID, m canon.Message, o actor.SendOptions) {
	n := s.n
	n.alive()
	w := n.w
	w.messages++
	dst, known := n.peer(to)

	identity := trace.Mix(trace.String(uint64(n.idx), string(to)), trace.String(uint64(o.Attempt), m.FullName()))
	if o.Key != "" {
		identity = trace.String(identity, o.Key)
	} else {
		identity = m.IdentityHash(identity)
	}
	if o.Topic != "" {
		identity = trace.String(identity, o.Topic)
	}
	occurrence := w.seen.next(w.now, identity)

	e := &w.out
	e.EventId = o.EventID
	if e.EventId == "" {
		e.EventId = eventID(trace.Mix(trace.Mix(identity, uint64(occurrence)), uint64(n.life)))
	}
	e.SourceSubsystem = string(n.spec.ID)
	wall := n.host.wall(w.now)
	w.created.Seconds = Epoch.Unix() + wall/1e9
	w.created.Nanos = int32(wall % 1e9)
	if w.created.Nanos < 0 {
		w.created.Seconds--
		w.created.Nanos += 1e9
	}
	e.CreatedAt = &w.created
	e.Ttl = nil
	// A time to live that no Duration has, over 10,000 years, is none.
	if o.TTLMillis > 0 && durations.SetMS(&w.ttl, o.TTLMillis) == nil {
		e.Ttl = &w.ttl
	}
	e.Topic = o.Topic
	e.CorrelationId, e.ReplyTo, e.CausationId = o.CorrelationID, o.ReplyTo, o.CausationID
	e.PartitionKey = o.PartitionKey
	e.Priority = o.Priority
	if e.Priority == 0 {
		e.Priority = envelopev2.Priority_NORMAL
	}
	e.MaxAttempts = o.MaxAttempts
	e.TrainingRunId, e.Epoch = o.RunID, o.Epoch
	if o.Topic == "" {
		n.direct++
		e.SequenceNumber = n.direct
	} else {
		n.sequence[o.Topic]++
		e.SequenceNumber = n.sequence[o.Topic]
	}
	e.ProducerIncarnation = int64(n.life)
	e.Auth = nil
	var signer actor.Signer
	if o.Auth != nil {
		signer = o.Auth
	}
	b := w.codec.SealAs(n.spec.Schema.Writes(o.As), w.buffer(), e, m, signer)

	t := w.log.Next(w.now, trace.MessageSent)
	t.From(string(n.spec.ID), n.life, n.sum)
	t.Peer, t.Cause, t.Data = string(to), n.cause, b
	w.mail.Envelope, w.mail.Payload = e, m
	t.Value = &w.mail
	seq := w.log.Commit()
	if !known {
		ev := event{kind: evMail, from: n.idx, node: n.idx, cause: seq, data: b}
		w.dropped(&ev, "there is no such node")
		return
	}
	w.transmit(n, w.nodes[dst], m.FullName(), b, seq, identity, occurrence)
	if len(n.sendCrashes) > 0 {
		n.sent(m.FullName())
	}
}

// peer finds a node by its name. A node has few correspondents, and their names
// are mostly the same strings: comparing them is quicker than hashing.
func (n *node) peer(id actor.ID) (int32, bool) {
	for i := range n.peers {
		if n.peers[i].id == id {
			return n.peers[i].idx, true
		}
	}
	idx, known := n.w.byID[id]
	if known && len(n.peers) < 32 {
		// The node's own copy of the name: the caller's may be part of a buffer.
		n.peers = append(n.peers, peer{n.w.nodes[idx].spec.ID, idx})
	}
	return idx, known
}

// eventID prints an identity as 16 hexadecimal digits.
func eventID(identity uint64) string {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], identity)
	var out [16]byte
	hex.Encode(out[:], raw[:])
	return string(out[:])
}

// zapClock gives log lines the world's time.
type zapClock struct{ w *World }

func (c zapClock) Now() time.Time { return Epoch.Add(time.Duration(c.w.now)) }

// NewTicker is part of zapcore.Clock; only buffered sinks use it.
func (c zapClock) NewTicker(time.Duration) *time.Ticker { return &time.Ticker{} }

var _ zapcore.Clock = zapClock{}
