package crash

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/oona"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/sim/disk"
)

// The one topic, group and client of the bus.
const (
	busTopic  = "telemetry.seed.health"
	busGroup  = "readers"
	busClient = actor.ID("client")
)

func busWorkload() *Workload {
	return &Workload{
		Name: "bus", Summary: "the bus: publish, acknowledge, and the log behind them, in segments of 4 KiB",
		Most: 3, New: func() Subject { return &busSubject{published: map[string]int64{}, ended: map[string]bool{}} },
		Operations: []string{"publish", "publish-two", "acknowledge", "wait", "reopen"},
		Starts: []Start{
			{Name: "new", Summary: "an empty disk"},
			{"used", "a bus with a reader, an entry that it has acknowledged, and one that it has not", func(d *disk.Disk, s Subject) (*disk.Disk, Subject, error) {
				m := s.(*busSubject)
				err := m.Open(disk.NewFS(d, nil))
				if err == nil {
					err = errors.Join(m.publish(2), m.acknowledge(), m.wait(time.Second))
				}
				return d, m, err
			}},
		},
	}
}

// busSubject is the bus, alone with one client, and what it promised: where
// each acknowledged publication stands, and which have ended.
type busSubject struct {
	h         *lonely
	published map[string]int64 // offset by event id, acknowledged
	tried     []string         // event ids that were sent, in order
	ended     map[string]bool  // the group has sent its acknowledgement
}

func (s *busSubject) Clone() Subject {
	return &busSubject{published: maps.Clone(s.published), tried: slices.Clone(s.tried), ended: maps.Clone(s.ended)}
}

func (s *busSubject) Promise() uint64 {
	h := hashText(s.tried...)
	for _, id := range s.tried {
		h = hash(h, uint64(s.published[id]))
		if s.ended[id] {
			h = hash(h, 1)
		}
	}
	return h
}

// Open implements Subject: what was acknowledged is delivered to the group
// until that ended it, at its place and unchanged (O1, O2).
func (s *busSubject) Open(fs actor.FS) error {
	h := &lonely{fs: fs, codec: wire.NewCodec(), timers: map[string]time.Duration{}}
	s.h = h
	o := oona.Defaults()
	o.Segment, o.Snapshot = walSegment, 2*walSegment
	a, err := oona.New(&job.Job{}, *o)(h.env("oona"))
	if err != nil {
		return err
	}
	h.actor = a
	if err := a.Start(); err != nil {
		return err
	}
	if err := h.receive(&busv2.Subscribe{Group: busGroup, Consumer: string(busClient), Topics: []string{busTopic}, MaxInFlight: 64, Durable: true}, ""); err != nil {
		return err
	}
	if err := s.wait(100 * time.Millisecond); err != nil {
		return err
	}
	for _, id := range s.tried {
		offset, acknowledged := s.published[id]
		if acknowledged && !s.ended[id] && !slices.ContainsFunc(h.held, func(d delivery) bool { return d.id == id }) {
			return violated("O2", "publication %s was acknowledged at offset %d and is not delivered", id, offset)
		}
	}
	return nil
}

// wait lets time pass, and takes in what the bus sends.
func (s *busSubject) wait(d time.Duration) error {
	if err := s.h.pass(d); err != nil {
		return err
	}
	for _, p := range s.h.acks {
		if p.Status == busv2.PublishStatus_REFUSED {
			return violated("O2", "nothing was damaged, and the bus refuses %s: %s", p.EventId, p.Reason)
		}
		if was, ok := s.published[p.EventId]; ok && was != p.Offset {
			return violated("O1", "publication %s was at offset %d and is at %d", p.EventId, was, p.Offset)
		}
		s.published[p.EventId] = p.Offset
	}
	s.h.acks = s.h.acks[:0]
	for _, d := range s.h.held {
		if was, ok := s.published[d.id]; ok && was != d.offset {
			return violated("O1", "publication %s was acknowledged at offset %d and is delivered at %d", d.id, was, d.offset)
		}
		if !slices.Contains(s.tried, d.id) || d.text != d.id {
			return violated("O1", "the bus delivers %s with the content %q, which nobody published", d.id, d.text)
		}
	}
	return nil
}

func (s *busSubject) publish(n int) error {
	for range n {
		id := fmt.Sprint("event-", len(s.tried)+1)
		s.tried = append(s.tried, id)
		if err := s.h.receive(&telemetryv2.SeedTelemetry{TelemetryId: id}, id); err != nil {
			return err
		}
	}
	// The batch is synced within its gathering time.
	if err := s.wait(10 * time.Millisecond); err != nil {
		return err
	}
	for _, id := range s.tried[len(s.tried)-n:] {
		if _, ok := s.published[id]; !ok {
			return violated("O2", "publication %s got no answer from a calm bus", id)
		}
	}
	return nil
}

// acknowledge ends the oldest entry that the client holds.
func (s *busSubject) acknowledge() error {
	d := s.h.held[0]
	s.h.held = slices.Delete(s.h.held, 0, 1)
	s.ended[d.id] = true
	return s.h.receive(&busv2.Ack{Group: busGroup, Consumer: string(busClient), Topic: busTopic, Offset: d.offset, ClaimGeneration: d.claim}, "")
}

// Do implements Subject.
func (s *busSubject) Do(op int, fs actor.FS) (bool, error) {
	switch op {
	case 0:
		return true, s.publish(1)
	case 1:
		return true, s.publish(2)
	case 2:
		if len(s.h.held) == 0 {
			return false, nil
		}
		return true, errors.Join(s.acknowledge(), s.wait(10*time.Millisecond))
	case 3:
		return true, s.wait(200 * time.Millisecond)
	}
	return true, s.Open(fs)
}

// Continue implements Subject.
func (s *busSubject) Continue(actor.FS) error { return s.publish(1) }

// delivery is what the client holds of an entry.
type delivery struct {
	id, text string
	offset   int64
	claim    uint32
}

// lonely is the world of one actor: a clock that is moved by hand, and a client
// that keeps what it is sent.
type lonely struct {
	fs     actor.FS
	actor  actor.Actor
	codec  *wire.Codec
	now    time.Duration
	timers map[string]time.Duration
	in     *envelopev2.EventEnvelope // being received
	raw    []byte
	acks   []*busv2.PublishAck
	held   []delivery
	// sent, if set, is given what the actor sends, in place of the client.
	sent func(m canon.Message, o actor.SendOptions)
}

func (h *lonely) env(self actor.ID) actor.Env {
	return actor.Env{Self: self, Clock: h, Net: h, FS: h.fs, Rand: disk.Seed(1), Log: zap.NewNop(),
		Facts: h, Probe: h, Incarnation: 1, Schema: wire.Newest}
}

// receive hands a message of the client to the actor; with an event id it is a
// publication.
func (h *lonely) receive(m canon.Message, id string) error {
	e := h.codec.Scratch()
	e.EventId = id
	if id != "" {
		e.Topic = busTopic
	}
	h.raw = h.codec.Seal(nil, e, m, nil)
	in, opened, err := h.codec.Nested().Open(h.raw)
	if err != nil {
		return err
	}
	h.in = in
	return h.actor.Receive(busClient, opened)
}

// pass moves the clock and lets the timers expire, the earliest first.
func (h *lonely) pass(d time.Duration) error {
	until := h.now + d
	for {
		name := ""
		for n, at := range h.timers {
			if at <= until && (name == "" || at < h.timers[name] || at == h.timers[name] && n < name) {
				name = n
			}
		}
		if name == "" {
			h.now = until
			return nil
		}
		h.now = max(h.now, h.timers[name])
		delete(h.timers, name)
		h.in, h.raw = nil, nil
		if err := h.actor.Receive("oona", &localv2.TimerFired{Name: name}); err != nil {
			return err
		}
	}
}

// Send implements actor.Net: the client takes what it gets.
func (h *lonely) Send(_ actor.ID, m canon.Message, o actor.SendOptions) {
	if h.sent != nil {
		h.sent(m, o)
		return
	}
	switch m := m.(type) {
	case *busv2.PublishAck:
		h.acks = append(h.acks, &busv2.PublishAck{EventId: m.EventId, Topic: m.Topic, Offset: m.Offset, Status: m.Status, Reason: m.Reason})
	case *busv2.Delivery:
		d := delivery{offset: m.Offset, claim: m.ClaimGeneration}
		if e, payload, err := wire.NewCodec().Open(m.Envelope); err != nil {
			d.text = err.Error()
		} else {
			d.id = e.EventId
			if t, ok := payload.(*telemetryv2.SeedTelemetry); ok {
				d.text = t.TelemetryId
			}
		}
		h.held = slices.DeleteFunc(h.held, func(o delivery) bool { return o.offset == d.offset })
		h.held = append(h.held, d)
	}
}

// Incoming implements actor.Net.
func (h *lonely) Incoming() (*envelopev2.EventEnvelope, []byte) { return h.in, h.raw }

// Now implements actor.Clock.
func (h *lonely) Now() time.Time { return time.Unix(0, int64(h.now)).UTC() }

// Monotonic implements actor.Clock.
func (h *lonely) Monotonic() time.Duration { return h.now }

// SetTimer implements actor.Clock. The bus uses no numbers of timers.
func (h *lonely) SetTimer(name string, _ int64, d time.Duration) { h.timers[name] = h.now + d }

// StopTimer implements actor.Clock.
func (h *lonely) StopTimer(name string, _ int64) { delete(h.timers, name) }

// Work implements actor.Clock: it takes no time here.
func (h *lonely) Work(gpu.Work, int) {}

// Record implements actor.Recorder.
func (h *lonely) Record(canon.Message) {}

// Reached implements actor.Probe.
func (h *lonely) Reached(string) {}

// Sometimes implements actor.Probe.
func (h *lonely) Sometimes(string) bool { return false }
