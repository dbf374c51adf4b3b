package mycosynth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/config"
	"github.com/esper-sim/espersim/cluster/contract"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Subsystem is Mycosynth's name, and its consumer group.
const Subsystem = "mycosynth"

// Options of Mycosynth.
type Options struct {
	Members  string        `set:"members" doc:"subsystems whose acknowledgement is awaited while they live, separated by commas"`
	Lead     int           `set:"lead" doc:"how many epochs ahead a change is announced"`
	Lease    time.Duration `set:"lease" doc:"how long a subsystem counts as live after it was heard"`
	Every    time.Duration `set:"every" doc:"between two looks at what can go on"`
	Segment  int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout  time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
	Versions bool          `set:"versions" doc:"it tells Leyline which version of the contracts it speaks"`
}

// Defaults are the options of a Mycosynth that sets none.
func Defaults() *Options {
	return &Options{Members: "tolaria,kasmina,tamiyo,nissa,narset", Lead: 2, Lease: 3 * time.Second, Every: 250 * time.Millisecond, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

type mycosynth struct {
	env     actor.Env
	job     *job.Job
	o       Options
	in      *inbox.Box
	box     *outbox.Box
	speaks  *contract.Box // nil: it tells nobody
	signer  *command.Signer
	log     *wal.Log
	refused error
	s       *state
	buf     []byte

	started    time.Duration
	members    []*member
	epoch      int64
	generation uint32
}

// member is a subsystem that follows the configuration.
type member struct {
	name    string
	heard   time.Duration
	ever    bool
	durable uint64
}

// New makes the constructor of Mycosynth.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		s, err := command.NewSigner(env, j.Key[:])
		m := &mycosynth{env: env, job: j, o: o, s: newState(), box: outbox.New(env, j.Oona, 64), signer: s,
			in: inbox.New(env, j.Oona, Subsystem, 32, "system.events.epoch"), epoch: -1}
		for _, name := range strings.Split(o.Members, ",") {
			m.members = append(m.members, &member{name: name})
		}
		if o.Versions && err == nil {
			m.speaks, err = contract.New(env, j, Subsystem)
		}
		return m, err
	}
}

// Start implements actor.Actor.
func (m *mycosynth) Start() error {
	m.started = m.env.Clock.Monotonic()
	m.open()
	m.in.Renew()
	m.speaks.Start()
	m.env.Clock.SetTimer("look", 0, m.o.Every)
	return nil
}

// open opens the log. While it is closed nothing is answered: everybody repeats
// what they want.
func (m *mycosynth) open() {
	m.log, m.s = nil, newState()
	if m.refused != nil {
		return
	}
	log, err := wal.Open(m.env.FS, "mycosynth", wal.Options{
		Firm: true, SegmentSize: int64(m.o.Segment), Deadline: m.o.Timeout, Clock: m.env.Clock, Probe: m.env.Probe,
		Facts: command.LogFacts(m.env.Facts, string(m.env.Self)),
		Replay: func(r wal.Record) error {
			rec := new(statev2.MycosynthRecord)
			if err := rec.ParseCanonical(append([]byte(nil), r.Payload...)); err != nil {
				return &wal.CorruptionError{LSN: r.LSN, Reason: "it is no record of Mycosynth's", Err: err}
			}
			m.s.apply(rec)
			return nil
		},
	})
	var damage *wal.CorruptionError
	if errors.As(err, &damage) {
		m.refused = err
	}
	if err != nil {
		m.s = newState()
		return
	}
	m.log = log
	if m.s.open != nil {
		m.announce()
	}
}

// write makes a record durable before anything follows from it. The history of
// the configuration is never trimmed.
func (m *mycosynth) write(r *statev2.MycosynthRecord) bool {
	if m.log == nil {
		return false
	}
	m.buf = r.AppendCanonical(m.buf[:0])
	_, err := m.log.Append(1, 0, m.buf)
	if err == nil {
		err = m.log.Sync()
	}
	if err != nil {
		m.env.Probe.Reached("mycosynth/reopen")
		m.log = nil // the next look opens it
		return false
	}
	m.s.apply(r)
	return true
}

// Receive implements actor.Actor.
func (m *mycosynth) Receive(from actor.ID, msg canon.Message) error {
	if m.speaks.Receive(msg) {
		return nil
	}
	switch x := msg.(type) {
	case *localv2.TimerFired:
		switch x.Name {
		case inbox.Timer:
			m.in.Renew()
		case outbox.Timer:
			m.box.Tick()
		case "look":
			m.look()
			m.env.Clock.SetTimer("look", 0, m.o.Every)
		}
	case *busv2.PublishAck:
		m.box.Acked(x)
	case *busv2.Delivery:
		if e, p, ok := m.in.Open(x); ok {
			if ev, ok := p.(*eventsv2.EpochEvent); ok && ev.Phase == eventsv2.EpochPhase_STARTED &&
				(ev.RollbackGeneration > m.generation || ev.RollbackGeneration == m.generation && ev.Epoch > m.epoch) {
				m.generation, m.epoch = ev.RollbackGeneration, ev.Epoch
			}
			m.in.Ack(x, e)
		}
	case *operationsv2.ConfigAck:
		m.heard(x.Subsystem, x.Revision)
	case *operationsv2.ConfigSnapshotRequest:
		if m.log != nil {
			m.env.Net.Send(from, m.s.snapshot(x.RequestId), actor.SendOptions{Key: "snapshot/" + x.Subsystem, Auth: m.signer})
			m.newest(from, x)
		}
	case *operationsv2.ConfigRequest:
		m.request(from, x)
	case *operationsv2.ConfigDecision:
		m.decided(x)
	}
	return nil
}

func (m *mycosynth) heard(name string, durable uint64) {
	for _, x := range m.members {
		if x.name == name {
			x.heard, x.ever, x.durable = m.env.Clock.Monotonic(), true, durable
		}
	}
}

// request answers a request for a change, once and for all.
func (m *mycosynth) request(from actor.ID, q *operationsv2.ConfigRequest) {
	e, _ := m.env.Net.Incoming()
	if m.log == nil || e == nil || q.RequestId == "" || wire.Verify(e, m.job.Key[:]) != nil {
		return
	}
	r := m.s.replies[q.RequestId]
	if r == nil {
		// An answer that is remembered is given whatever the clock says.
		if age := m.env.Clock.Now().Sub(e.Auth.SignedAt.AsTime()).Abs(); age > job.MaxClockSkew {
			return
		}
		r = m.s.consider(q)
		rec := &statev2.MycosynthRecord{Reply: r}
		if r.Accepted {
			r.EffectiveEpoch = max(m.epoch, 0) + int64(m.o.Lead)
			rec.Request = &operationsv2.ConfigRequest{RequestId: q.RequestId, Key: q.Key, Value: q.Value, ExpectedVersion: q.ExpectedVersion}
		}
		if !m.write(rec) {
			return
		}
	}
	m.env.Net.Send(from, r, actor.SendOptions{Key: "config-reply/" + q.RequestId, CorrelationID: q.RequestId})
}

// newest answers with the newest decision while Tolaria can have made no other:
// with none sealed that is not decided.
func (m *mycosynth) newest(to actor.ID, x *operationsv2.ConfigSnapshotRequest) {
	if m.s.open != nil && m.s.sealed {
		return
	}
	d := &operationsv2.ConfigDecision{}
	if s := m.s.decision; s != nil {
		d = &operationsv2.ConfigDecision{Revision: s.Revision, Epoch: s.Epoch, RollbackGeneration: s.RollbackGeneration}
	}
	m.env.Net.Send(to, d, actor.SendOptions{Key: "newest/" + x.Subsystem + "/" + x.RequestId, CorrelationID: x.RequestId, Auth: m.signer})
}

// look does what can be done now: announce, seal, and tell Tolaria.
func (m *mycosynth) look() {
	if m.log == nil {
		m.open()
		return
	}
	switch s := m.s; {
	case s.open == nil && len(s.queue) > 0 && m.epoch >= 0:
		if m.write(&statev2.MycosynthRecord{Change: s.next(m.epoch+int64(m.o.Lead), m.generation)}) {
			m.announce()
		}
	case s.open != nil && !s.sealed && m.all(s.open.Revision):
		if m.write(&statev2.MycosynthRecord{Sealed: s.open.Revision}) {
			m.seal()
		}
	case s.open != nil && s.sealed:
		m.seal()
	}
}

// all says whether every live subsystem has a revision durable. Tolaria must:
// there is no boundary without it.
func (m *mycosynth) all(revision uint64) bool {
	now := m.env.Clock.Monotonic()
	if now-m.started < m.o.Lease {
		return false
	}
	for _, x := range m.members {
		live := x.ever && now-x.heard < m.o.Lease
		if x.durable < revision && (live || x.name == "tolaria") {
			return false
		}
	}
	return true
}

func (m *mycosynth) announce() {
	c := m.s.open
	m.box.Put(outbox.Letter{ID: fmt.Sprint("config/", c.Revision), Topic: config.Topic, Message: c, Ordered: true,
		Options: actor.SendOptions{RunID: m.job.RunID, Epoch: c.EffectiveEpoch, Auth: m.signer}})
}

func (m *mycosynth) seal() {
	m.env.Net.Send(m.job.Tolaria, &operationsv2.ConfigSeal{Revision: m.s.open.Revision, EffectiveEpoch: m.s.open.EffectiveEpoch},
		actor.SendOptions{Key: fmt.Sprint("config-seal/", m.s.open.Revision), Auth: m.signer})
}

// decided takes Tolaria's decision.
func (m *mycosynth) decided(d *operationsv2.ConfigDecision) {
	e, _ := m.env.Net.Incoming()
	if m.log == nil || e == nil || wire.Verify(e, m.job.Key[:]) != nil || m.s.open == nil || d.Revision != m.s.open.Revision {
		return
	}
	if m.write(&statev2.MycosynthRecord{Decision: &operationsv2.ConfigDecision{Revision: d.Revision, Epoch: d.Epoch, RollbackGeneration: d.RollbackGeneration}}) {
		m.env.Probe.Reached("mycosynth/decided")
		m.look()
	}
}
