package planted

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu"
)

// hooks is what a planted bug does at the seam of one process. What is nil is
// left as it is. Hooks live as long as the run, so a bug may remember what it
// did in an earlier life.
type hooks struct {
	send    func(to actor.ID, m canon.Message, o actor.SendOptions, pass func(canon.Message, actor.SendOptions))
	receive func(from actor.ID, m canon.Message, pass func(canon.Message) error) error
	deliver func(from actor.ID, m canon.Message) error // hands the actor what receive has made up
	record  func(m canon.Message, pass func(canon.Message))
	timer   func(name string, d time.Duration) time.Duration
	nosync  bool // syncs say yes and do nothing
	disk    func(actor.FS) actor.FS
	device  func(actor.Device) actor.Device
	// incoming changes a copy of the envelope that a handler looks at, and
	// monotonic the clock that it reads.
	incoming  func(e *envelopev2.EventEnvelope)
	monotonic func(time.Duration) time.Duration
}

type (
	hookedNet struct {
		actor.Net
		h *hooks
	}
	hookedFacts struct {
		actor.Recorder
		h *hooks
	}
	hookedClock struct {
		actor.Clock
		h *hooks
	}
	hookedActor struct {
		actor.Actor
		h *hooks
	}
	stubbornFS   struct{ actor.FS }
	hoardingFS   struct{ actor.FS }
	unsyncedFS   struct{ actor.FS }
	unsyncedFile struct{ actor.File }
)

func (n hookedNet) Send(to actor.ID, m canon.Message, o actor.SendOptions) {
	if n.h.send == nil {
		n.Net.Send(to, m, o)
		return
	}
	n.h.send(to, m, o, func(m canon.Message, o actor.SendOptions) { n.Net.Send(to, m, o) })
}
func (n hookedNet) Incoming() (*envelopev2.EventEnvelope, []byte) {
	e, raw := n.Net.Incoming()
	if e == nil || n.h.incoming == nil {
		return e, raw
	}
	c := new(envelopev2.EventEnvelope)
	if err := c.ParseCanonical(e.AppendCanonical(nil)); err != nil {
		return e, raw
	}
	n.h.incoming(c)
	return c, raw
}
func (c hookedClock) Monotonic() time.Duration {
	if c.h.monotonic == nil {
		return c.Clock.Monotonic()
	}
	return c.h.monotonic(c.Clock.Monotonic())
}
func (f hookedFacts) Record(m canon.Message) { f.h.record(m, f.Recorder.Record) }
func (c hookedClock) SetTimer(name string, arg int64, d time.Duration) {
	if c.h.timer != nil {
		d = c.h.timer(name, d)
	}
	c.Clock.SetTimer(name, arg, d)
}
func (a hookedActor) Receive(from actor.ID, m canon.Message) error {
	a.h.deliver = a.Actor.Receive
	return a.h.receive(from, m, func(m canon.Message) error { return a.Actor.Receive(from, m) })
}
func (f unsyncedFS) Open(name string, flag actor.Flag) (actor.File, error) {
	file, err := f.FS.Open(name, flag&^actor.DSync)
	return unsyncedFile{file}, err
}
func (unsyncedFS) SyncDir(string) error { return nil }

// A stubbornFS believes a sync of names that fails once and works then, and a
// hoardingFS removes nothing.
func (f stubbornFS) SyncDir(dir string) error {
	if f.FS.SyncDir(dir) == nil {
		return nil
	}
	return f.FS.SyncDir(dir)
}
func (f stubbornFS) Within(d time.Duration) actor.FS { return stubbornFS{f.FS.Within(d)} }
func (hoardingFS) Remove(string) error               { return nil }
func (f hoardingFS) Within(d time.Duration) actor.FS { return hoardingFS{f.FS.Within(d)} }
func (f unsyncedFS) Within(d time.Duration) actor.FS { return unsyncedFS{f.FS.Within(d)} }
func (unsyncedFile) Sync() error                     { return nil }
func (unsyncedFile) Datasync() error                 { return nil }

// wrap puts the hooks between the world and the processes of a role.
func (h *hooks) wrap(role string) func(string, string, actor.Constructor) actor.Constructor {
	return func(_, r string, c actor.Constructor) actor.Constructor {
		if r != role {
			return c
		}
		return func(e actor.Env) (actor.Actor, error) {
			if h.send != nil || h.incoming != nil {
				e.Net = hookedNet{e.Net, h}
			}
			if h.record != nil {
				e.Facts = hookedFacts{e.Facts, h}
			}
			if h.timer != nil || h.monotonic != nil {
				e.Clock = hookedClock{e.Clock, h}
			}
			if h.nosync {
				e.FS = unsyncedFS{e.FS}
			}
			if h.disk != nil {
				e.FS = h.disk(e.FS)
			}
			if h.device != nil {
				e.Devices = slices.Clone(e.Devices)
				for i, d := range e.Devices {
					e.Devices[i] = h.device(d)
				}
			}
			a, err := c(e)
			if err == nil && h.receive != nil {
				a = hookedActor{a, h}
			}
			return a, err
		}
	}
}

// reopen changes the command inside a delivery and signs it anew, as a receiver
// does that does not look.
func reopen(d *busv2.Delivery, change func(*adaptationv2.AdaptationCommand)) canon.Message {
	env, m, err := wire.NewCodec().Open(d.Envelope)
	if err != nil {
		return d
	}
	c, ok := m.(*adaptationv2.AdaptationCommand)
	if !ok {
		return d
	}
	j, err := job.Default()
	if err != nil {
		return d
	}
	s, err := wire.NewHMACSigner("planted", j.Key[:])
	if err != nil {
		return d
	}
	if env.Auth != nil {
		s.KeyID, s.SignedAt = env.Auth.KeyId, env.Auth.SignedAt.AsTime()
		copy(s.Nonce[:], env.Auth.Nonce)
	} else {
		s.SignedAt = env.CreatedAt.AsTime()
		copy(s.Nonce[:], env.EventId)
	}
	change(c)
	return &busv2.Delivery{Group: d.Group, Topic: d.Topic, Offset: d.Offset, Attempt: d.Attempt, ClaimGeneration: d.ClaimGeneration,
		Envelope: wire.NewCodec().Seal(nil, env, c, s)}
}

// onSend is a hook on messages of one type.
func onSend[T canon.Message](f func(m T, o *actor.SendOptions) bool) *hooks {
	return &hooks{send: func(_ actor.ID, m canon.Message, o actor.SendOptions, pass func(canon.Message, actor.SendOptions)) {
		if m, ok := m.(T); ok && !f(m, &o) {
			return
		}
		pass(m, o)
	}}
}

// onReceive is the same for what arrives.
func onReceive[T canon.Message](f func(m T) canon.Message) *hooks {
	return &hooks{receive: func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
		if t, ok := m.(T); ok {
			if m = f(t); m == nil {
				return nil
			}
		}
		return pass(m)
	}}
}

// thrice is a clock that is three times as fast.
func thrice() *hooks {
	return &hooks{monotonic: func(d time.Duration) time.Duration { return 3 * d }}
}

// onFact is the same for facts.
func onFact[T canon.Message](f func(m T, pass func(canon.Message))) *hooks {
	return &hooks{record: func(m canon.Message, pass func(canon.Message)) {
		if t, ok := m.(T); ok {
			f(t, pass)
			return
		}
		pass(m)
	}}
}

// triadWith is the calm triad with more in it.
func triadWith(plan, tamiyo, operator string) string {
	if plan == "" {
		plan = "[]"
	}
	return fmt.Sprintf(`version: 1
name: planted
duration: 60s
cluster:
  hosts:
    - {name: train}
    - {name: control}
    - {name: bus}
    - {name: desk}
  nodes:
    - {name: tolaria, host: train}
    - {name: kasmina, host: train}
    - {name: tamiyo, host: control, options: {%s}}
    - {name: oona, host: bus}
    - {name: reader, host: desk}
    - {name: operator, host: desk, options: {%s}}
plan: %s
expect: clean
`, tamiyo, operator, plan)
}

const vaultAlone = `version: 1
name: planted
duration: 5s
cluster:
  hosts:
    - {name: store}
    - {name: desk}
  nodes:
    - {name: vault, host: store%s}
    - {name: sealer, host: desk}
expect: clean
`

const twoConsumers = `version: 1
name: planted
duration: 10s
cluster:
  hosts:
    - {name: bus}
    - {name: desk}
  nodes:
    - {name: oona, host: bus}
    - {name: publisher, host: desk}
    - {name: first, is: subscriber, host: desk, options: {slow: 30ms}}
    - {name: second, is: subscriber, host: desk, options: {slow: 30ms}}
plan:
  - {at: 1s, for: 8s, fault: bus/claim oona rate=0.3}
expect: clean
`

const oldAndNew = `version: 1
name: planted
duration: 10s
cluster:
  hosts:
    - {name: bus}
    - {name: desk}
  nodes:
    - {name: oona, host: bus}
    - {name: publisher, host: desk, options: {newest: true}}
    - {name: old, is: subscriber, host: desk, schema: "2.0"}
expect: clean
`

const alteredSchemas = `version: 1
name: planted
duration: 60s
cluster:
  hosts:
    - {name: bus}
    - {name: watch}
    - {name: desk}
  nodes:
    - {name: oona, host: bus}
    - {name: nissa, host: watch}
    - {name: leyline, host: desk}
    - {name: altered, is: process, host: desk, options: {wrong: 4s, for: 60s}}
expect: clean
`

const regionsAlone = `version: 1
name: planted
duration: 10s
cluster:
  hosts:
    - {name: bus}
    - {name: tier}
    - {name: desk}
  nodes:
    - {name: oona, host: bus}
    - {name: narset, host: tier}
    - {name: sensor, host: desk, options: {alarm: 0s}}
expect: clean
`

// planted is a bug, and the invariant that it breaks.
type planted struct {
	id   string
	role string
	bug  string
	file string // scenario file, or text of one
	liar bool   // its facts say that all is well
	make func() *hooks
	// broken, if set, is the scenario with the bug, where it is in the role's
	// own options.
	broken string
}

var bugs = []planted{
	{id: "J2", role: "mycosynth", bug: "accepts in its answer what it refuses", file: "operations/config.yaml", liar: true, make: func() *hooks {
		return onSend(func(m *operationsv2.ConfigReply, _ *actor.SendOptions) bool { m.Accepted = true; return true })
	}},
	{id: "J2", role: "narset", bug: "takes no answer about an epoch that names no revision", file: "operations/config-left-out.yaml", make: func() *hooks {
		return onReceive(func(m *operationsv2.ConfigDecision) canon.Message { return nil })
	}},
	{id: "J3", role: "narset", bug: "keeps it to herself that an emergency was taken", file: "operations/regions.yaml", liar: true, make: func() *hooks {
		return onSend(func(*pausev2.PauseAck, *actor.SendOptions) bool { return false })
	}},
	{id: "L6", role: "leyline", bug: "lets everybody write the newest version", file: "operations/versions.yaml", liar: true, make: func() *hooks {
		return onSend(func(m *operationsv2.VersionReply, _ *actor.SendOptions) bool {
			m.WritesMinor = wire.Newest.Minor
			return true
		})
	}},
	{id: "O6", role: "oona", bug: "tells no publisher how full a queue is", file: "bus/storm.yaml", make: func() *hooks {
		return onSend(func(m *busv2.PublishAck, _ *actor.SendOptions) bool { m.Reason = ""; return true })
	}},
	{id: "J1", role: "jace", bug: "falls back whatever it has decided", file: "jace/budgets.yaml", liar: true, make: func() *hooks {
		return onSend(func(m *policyv2.CurriculumDecision, _ *actor.SendOptions) bool {
			m.Fallback, m.Mode, m.Confidence = true, policyv2.CurriculumMode_SYNCHRONIZED, 0.5
			return true
		})
	}},
	{id: "J1", role: "jace", bug: "becomes cautious in what it says, and not in what it does", file: "jace/cautious.yaml", liar: true, make: func() *hooks {
		return onSend(func(m *policyv2.CurriculumDecision, _ *actor.SendOptions) bool {
			if !m.Fallback {
				m.Mode = policyv2.CurriculumMode_TASK_DRIVEN
			}
			return true
		})
	}},
	{id: "I9", role: "tolaria", bug: "does not look at the version of a mask", file: "pruning/host.yaml", make: func() *hooks {
		return onReceive(func(m *pruningv2.PruningMask) canon.Message {
			m.Version = 0
			return m
		})
	}},
	{id: "I9", role: "emrakul", bug: "leaves out that a cycle is validated", file: "pruning/crashes.yaml", make: func() *hooks {
		return onFact(func(f *evidencev2.PruningFact, pass func(canon.Message)) {
			if f.State != "VALIDATING" {
				pass(f)
			}
		})
	}},
	{id: "I9", role: "emrakul", bug: "hears of one checkpoint, and of no other", file: "pruning/crashes.yaml", make: func() *hooks {
		begun := false
		h := onReceive(func(m *busv2.Delivery) canon.Message {
			if env, inner, err := wire.NewCodec().Open(m.Envelope); err == nil && begun {
				if ev, ok := inner.(*eventsv2.EpochEvent); ok && ev.Phase == eventsv2.EpochPhase_COMPLETED {
					ev.Phase = eventsv2.EpochPhase_STARTED
					return &busv2.Delivery{Group: m.Group, Topic: m.Topic, Offset: m.Offset, Attempt: m.Attempt, ClaimGeneration: m.ClaimGeneration,
						Envelope: wire.NewCodec().Seal(nil, env, ev, nil)}
				}
			}
			return m
		})
		h.record = func(m canon.Message, pass func(canon.Message)) {
			if f, ok := m.(*evidencev2.PruningFact); ok && f.State == "COLLECTING" {
				begun = true
			}
			pass(m)
		}
		return h
	}},
	{id: "T3", role: "nissa", bug: "says once that she has restored, and not again when she is asked again", file: "rollback/auxiliaries-told-twice.yaml", liar: true, make: func() *hooks {
		said := map[string]bool{}
		return onSend(func(a *rollbackv2.RollbackAck, _ *actor.SendOptions) bool {
			was := said[a.RollbackId]
			said[strings.Clone(a.RollbackId)] = true
			return !was
		})
	}},
	{id: "W9", role: "nissa", bug: "acknowledges events that are not durable in her trail", file: "operations/calm.yaml", make: func() *hooks {
		return onFact(func(f *evidencev2.LogFact, pass func(canon.Message)) {
			if f.Action != evidencev2.LogAction_LOG_DURABLE {
				pass(f)
			}
		})
	}},
	{id: "C10", role: "kasmina", bug: "publishes seed telemetry on the topic of epoch events", file: "triad-calm.yaml", make: func() *hooks {
		return onSend(func(_ *telemetryv2.SeedTelemetry, o *actor.SendOptions) bool {
			o.Topic = "system.events.epoch"
			return true
		})
	}},
	{id: "C9", role: "oona", bug: "takes every consumer for one of the newest version", liar: true, file: oldAndNew, make: func() *hooks {
		return onReceive(func(m *busv2.Subscribe) canon.Message {
			m.SchemaMinor = wire.Newest.Minor
			return m
		})
	}},
	{id: "J2", role: "tolaria", bug: "tells Kasmina of a change of the configuration an epoch too late", file: "operations/config.yaml", liar: true, make: func() *hooks {
		revision, epoch := uint64(0), int64(0)
		return onSend(func(q *trainingv2.BoundaryRequest, _ *actor.SendOptions) bool {
			if q.ConfigRevision > revision && (epoch == 0 || epoch == q.Epoch) {
				epoch, q.ConfigRevision = q.Epoch, revision
			} else {
				revision, epoch = q.ConfigRevision, 0
			}
			return true
		})
	}},
	{id: "J3", role: "narset", bug: "sums a region's losses up a little wrong", file: regionsAlone, liar: true, make: func() *hooks {
		return onSend(func(s *operationsv2.RegionSummary, _ *actor.SendOptions) bool { s.MeanLoss *= 1.0001; return true })
	}},
	{id: "J4", role: "nissa", bug: "shows the first state of the run that she was sent, and no other", file: "operations/answers.yaml", liar: true, make: func() *hooks {
		var first *systemstatev2.SystemStatePacket
		return onSend(func(m *operationsv2.StatusReply, _ *actor.SendOptions) bool {
			if first == nil && m.State != nil {
				first = new(systemstatev2.SystemStatePacket)
				if first.ParseCanonical(m.State.AppendCanonical(nil)) != nil {
					first = nil
				}
			}
			m.State = first
			return true
		})
	}},
	{id: "J4", role: "nissa", bug: "counts some events for another source", file: "operations/calm.yaml", liar: true, make: func() *hooks {
		n := 0
		return onReceive(func(m *busv2.Delivery) canon.Message {
			if n++; n%7 == 0 {
				if env, _, err := wire.NewCodec().Open(m.Envelope); err == nil {
					c := &busv2.Delivery{Group: m.Group, Topic: m.Topic, Offset: m.Offset, Attempt: m.Attempt, ClaimGeneration: m.ClaimGeneration}
					env.SourceSubsystem = "elsewhere"
					if _, inner, err := wire.NewCodec().Open(m.Envelope); err == nil {
						c.Envelope = wire.NewCodec().Seal(nil, env, inner, nil)
						return c
					}
				}
			}
			return m
		})
	}},
	{id: "L6", role: "nissa", bug: "keeps her alerts to herself", file: alteredSchemas, liar: true, make: func() *hooks {
		return onSend(func(*platformv2.AlertEvent, *actor.SendOptions) bool { return false })
	}},
	{id: "O1", role: "oona", bug: "alters what it appended before anybody has seen it", file: "triad-calm.yaml", liar: true, make: func() *hooks {
		return onSend(func(d *busv2.Delivery, _ *actor.SendOptions) bool {
			c := wire.NewCodec()
			if env, m, err := c.Open(d.Envelope); err == nil {
				if s, ok := m.(*telemetryv2.SeedTelemetry); ok {
					s.GlobalStep++
					d.Envelope = wire.NewCodec().Seal(nil, env, s, nil)
				}
			}
			return true
		})
	}},
	{id: "O2", role: "oona", bug: "hands some entries out to nobody and dead-letters them", file: "triad-calm.yaml", liar: true, make: func() *hooks {
		return onSend(func(d *busv2.Delivery, _ *actor.SendOptions) bool { return d.Offset%5 != 0 })
	}},
	{id: "O3", role: "kasmina", bug: "declares a command as obeyed once for each delivery", file: triadWith("[{at: 1s, for: 58s, fault: duplicate oona -> kasmina type=Delivery delay=100ms}]", "", ""), make: func() *hooks {
		return twice("APPLIED")
	}},
	{id: "O4", role: "oona", bug: "accepts acknowledgements whose claim was lost", file: twoConsumers, make: func() *hooks {
		return onSend(func(r *busv2.AckReply, _ *actor.SendOptions) bool { r.Status = busv2.AckStatus_ACKED; return true })
	}},
	{id: "A1", role: "kasmina", bug: "declares a command as obeyed a second time", file: "triad-calm.yaml", make: func() *hooks { return twice("APPLIED") }},
	{id: "A2", role: "kasmina", bug: "reads a command's window wrong and obeys it when it has expired", file: "triad-calm.yaml", make: func() *hooks {
		return onReceive(func(d *busv2.Delivery) canon.Message {
			return reopen(d, func(c *adaptationv2.AdaptationCommand) { c.TargetEpoch += 6; c.TtlEpochs += 6 })
		})
	}},
	{id: "A4", role: "kasmina", bug: "does not wait for the confirmation", file: triadWith("", "confirm: operator", "confirms: true"), make: func() *hooks {
		return onReceive(func(d *busv2.Delivery) canon.Message {
			return reopen(d, func(c *adaptationv2.AdaptationCommand) {
				if c.Constraints != nil {
					c.Constraints.RequireConfirmation = false
				}
			})
		})
	}},
	{id: "O9", role: "tolaria", bug: "its breaker for Tamiyo admits probes at once", file: triadWith("[{at: 10s, for: 25s, fault: pause tamiyo}]", "", ""), make: func() *hooks {
		return onFact(func(f *evidencev2.BreakerFact, pass func(canon.Message)) {
			pass(f)
			if f.To == "OPEN" {
				pass(&evidencev2.BreakerFact{Subsystem: f.Subsystem, Breaker: f.Breaker, From: "OPEN", To: "HALF_OPEN"})
			}
		})
	}},
	{id: "O9", role: "kasmina", bug: "its breaker of gradient isolation takes gradients again after a second", file: "triad-isolation.yaml", make: func() *hooks {
		// Once it is open, time goes thirty times as fast.
		var now, opened time.Duration
		h := onFact(func(f *evidencev2.BreakerFact, pass func(canon.Message)) {
			if f.To == "OPEN" && strings.HasSuffix(f.Breaker, "gradient_isolation") {
				opened = now
			}
			pass(f)
		})
		h.monotonic = func(d time.Duration) time.Duration {
			now = d
			if opened > 0 && d > opened {
				return d + 29*(d-opened)
			}
			return d
		}
		return h
	}},
	{id: "A5", role: "tolaria", bug: "its timer for the end of a pause is late by half a minute", liar: true, file: triadWith("", "", "resume: 0s, every: 20s"), make: func() *hooks {
		return &hooks{timer: func(name string, d time.Duration) time.Duration {
			if strings.Contains(name, "pause") || strings.Contains(name, "resume") {
				return d + 30*time.Second
			}
			return d
		}}
	}},
	{id: "A6", role: "kasmina", bug: "goes on blending its kernels while it is paused", file: triadWith("", "", "every: 5s"), make: func() *hooks {
		var came []float32
		h := onSend(func(r *trainingv2.ForwardReply, _ *actor.SendOptions) bool {
			if r.Status == trainingv2.ReplyStatus_PAUSED && len(came) > 0 {
				r.Status, r.Activations = trainingv2.ReplyStatus_OK, append([]float32(nil), came...)
				r.Activations[0]++
			}
			return true
		})
		h.receive = func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			if m, ok := m.(*trainingv2.ForwardRequest); ok {
				came = append(came[:0], m.Activations...)
			}
			return pass(m)
		}
		return h
	}},
	{id: "K1", role: "kasmina", bug: "declares a life of a seed in which a stage is skipped", file: "triad-calm.yaml", make: func() *hooks {
		n := 0
		return onFact(func(f *evidencev2.StageFact, pass func(canon.Message)) {
			if n++; n != 2 {
				pass(f)
			}
		})
	}},
	{id: "K2", role: "kasmina", bug: "declares stage changes some messages after the boundary", file: "triad-calm.yaml", make: func() *hooks {
		var late []canon.Message
		h := &hooks{}
		var record func(canon.Message)
		h.record = func(m canon.Message, pass func(canon.Message)) {
			record = pass
			if f, ok := m.(*evidencev2.StageFact); ok {
				c := new(evidencev2.StageFact)
				if c.ParseCanonical(f.AppendCanonical(nil)) == nil {
					late = append(late, c)
				}
				return
			}
			pass(m)
		}
		h.receive = func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			if _, ok := m.(*trainingv2.BackwardRequest); ok {
				for _, f := range late {
					record(f)
				}
				late = nil
			}
			return pass(m)
		}
		return h
	}},
	{id: "K4", role: "kasmina", bug: "changes what passes through a layer without kernels", liar: true, file: "triad-calm.yaml", make: func() *hooks {
		return onSend(func(r *trainingv2.ForwardReply, _ *actor.SendOptions) bool {
			if len(r.Activations) > 0 {
				r.Activations[0] += 0.5
			}
			return true
		})
	}},
	{id: "K5", role: "kasmina", bug: "fades kernels out instead of in", file: "triad-calm.yaml", make: func() *hooks {
		return onSend(func(r *trainingv2.ForwardReply, _ *actor.SendOptions) bool {
			for _, k := range r.Kernels {
				if k.Stage == telemetryv2.SeedStage_GRAFTING {
					k.AlphaMilli = 1000 - k.AlphaMilli
				}
			}
			return true
		})
	}},
	{id: "I7", role: "tamiyo", bug: "reports every adaptation as fossilized", file: "control/tamiyos-disk.yaml", liar: true, make: func() *hooks {
		return onSend(func(r *operationalv2.FieldReport, _ *actor.SendOptions) bool { r.Outcome = "FOSSILIZED"; return true })
	}},
	{id: "W9", role: "kasmina", bug: "acknowledges commands whose record is not durable yet", file: "triad-calm.yaml", make: func() *hooks {
		return onFact(func(f *evidencev2.LogFact, pass func(canon.Message)) {
			if f.Action != evidencev2.LogAction_LOG_DURABLE {
				pass(f)
			}
		})
	}},
	{id: "W9", role: "tamiyo", bug: "acknowledges what its log has failed to take", file: "control/tamiyos-disk.yaml", make: func() *hooks {
		var toBus func(canon.Message, actor.SendOptions)
		done, failed := false, false
		return &hooks{
			send: func(to actor.ID, m canon.Message, o actor.SendOptions, pass func(canon.Message, actor.SendOptions)) {
				if to == "oona" {
					toBus = pass
				}
				if _, ok := m.(*busv2.Ack); ok {
					done = true
				}
				pass(m, o)
			},
			record: func(m canon.Message, pass func(canon.Message)) {
				if f, ok := m.(*evidencev2.LogFact); ok && f.Log == "tamiyo" && f.Action == evidencev2.LogAction_LOG_REFUSED {
					failed = true
				}
				pass(m)
			},
			receive: func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
				d, ok := m.(*busv2.Delivery)
				if !ok {
					return pass(m)
				}
				done, failed = false, false
				err := pass(m)
				if failed && !done {
					toBus(&busv2.Ack{Group: d.Group, Consumer: "tamiyo", Topic: d.Topic, Offset: d.Offset, ClaimGeneration: d.ClaimGeneration},
						actor.SendOptions{Key: fmt.Sprint("ack/", d.Topic, "/", d.Offset), Attempt: d.Attempt})
				}
				return err
			},
		}
	}},
	{id: "T1", role: "tolaria", bug: "tells of no eviction, as if it kept all, and says that it keeps five", liar: true, file: "triad-calm.yaml", make: func() *hooks {
		return onFact(func(f *evidencev2.CheckpointFact, pass func(canon.Message)) {
			if f.Action != evidencev2.CheckpointAction_CHECKPOINT_EVICTED {
				pass(f)
			}
		})
	}},
	{id: "T2", role: "tolaria", bug: "declares a checkpoint with other bytes than Kasmina sent", file: "triad-calm.yaml", make: func() *hooks {
		return onFact(func(f *evidencev2.CheckpointFact, pass func(canon.Message)) {
			for _, p := range f.Parts {
				if p.Name == "kasmina" && f.Epoch > 4 && len(p.Sha256) > 0 {
					p.Sha256[0]++
				}
			}
			pass(f)
		})
	}},
	{id: "T3", role: "simic", bug: "tells of a restore to another epoch than the rollback goes to", liar: true, file: "rollback/auxiliaries.yaml", make: func() *hooks {
		return onSend(func(a *rollbackv2.RollbackAck, _ *actor.SendOptions) bool {
			if a.Phase == rollbackv2.Phase_RESTORED {
				a.Epoch += 4
			}
			return true
		})
	}},
	{id: "T3", role: "kasmina", bug: "acknowledges another epoch than the rollback goes to", liar: true, file: "triad-survivable.yaml", make: func() *hooks {
		return onSend(func(a *rollbackv2.RollbackAck, _ *actor.SendOptions) bool {
			if a.Phase == rollbackv2.Phase_RESTORED {
				a.Epoch += 4
			}
			return true
		})
	}},
	{id: "T4", role: "kasmina", bug: "stays prepared for ever: it hears no decision and its lease does not run out", file: "triad-survivable.yaml", make: func() *hooks {
		return &hooks{receive: func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			switch t := m.(type) {
			case *rollbackv2.RollbackDecision, *rollbackv2.RollbackOutcome:
				return nil
			case *localv2.TimerFired:
				if t.Name == "lease" {
					return nil
				}
			}
			return pass(m)
		}}
	}},
	{id: "T6", role: "tolaria", bug: "publishes an epoch under the wrong number", file: "triad-calm.yaml", liar: true, make: func() *hooks {
		return onSend(func(e *eventsv2.EpochEvent, _ *actor.SendOptions) bool {
			if e.Epoch > 5 {
				e.Epoch++
			}
			if e.Epoch == 6 {
				e.Epoch = 8
			}
			return true
		})
	}},
	{id: "T7", role: "tolaria", bug: "waits for Tamiyo without a limit", file: triadWith("[{at: 10s, for: 20s, fault: pause tamiyo}]", "", ""), liar: true, make: func() *hooks {
		return &hooks{timer: func(name string, d time.Duration) time.Duration {
			return d * 3
		}}
	}},
	{id: "W1", role: "ledger", bug: "acknowledges what it never synced", liar: true, file: "wal-hardened.yaml", make: func() *hooks { return &hooks{nosync: true} }},
	{id: "W2", role: "ledger", bug: "loses an entry in the middle when it reads", file: "wal-hardened.yaml", make: func() *hooks {
		return onSend(func(r *ledgerv2.ReadReply, _ *actor.SendOptions) bool {
			if n := len(r.Entries); n > 2 {
				r.Entries = append(r.Entries[:1:1], r.Entries[2:]...)
			}
			return true
		})
	}},
	{id: "W3", role: "ledger", bug: "gives out a flipped bit as if it were whole", file: "wal-hardened.yaml", make: func() *hooks {
		return onSend(func(r *ledgerv2.ReadReply, _ *actor.SendOptions) bool {
			if n := len(r.Entries); n > 0 && len(r.Entries[n-1].Payload) > 0 {
				p := append([]byte(nil), r.Entries[n-1].Payload...)
				p[0] ^= 1
				r.Entries[n-1].Payload = p
			}
			return true
		})
	}},
	{id: "W4", role: "vault", bug: "opens a bundle of which only a part is there", file: fmt.Sprintf(vaultAlone, ""), make: func() *hooks {
		return onSend(func(r *ledgerv2.OpenReply, _ *actor.SendOptions) bool {
			if n := len(r.Components); n > 1 {
				r.Components = r.Components[:n-1]
			}
			return true
		})
	}},
	{id: "W5", role: "vault", bug: "accepts a bundle without computing its root anew", file: fmt.Sprintf(vaultAlone, ""), make: func() *hooks {
		return onSend(func(r *ledgerv2.OpenReply, _ *actor.SendOptions) bool {
			for _, c := range r.Components {
				if len(c.Data) > 0 {
					c.Data = append([]byte{c.Data[0] ^ 1}, c.Data[1:]...)
				}
			}
			return true
		})
	}},
	{id: "W6", role: "vault", bug: "trusts the tree of the HLD as written", file: fmt.Sprintf(vaultAlone, ""), broken: fmt.Sprintf(vaultAlone, ", options: {merkle: hld}")},
	{id: "W7", role: "ledger", bug: "repeats a sync that failed, and believes it", file: "disk/fsync-eio.yaml", make: func() *hooks {
		return &hooks{disk: func(fs actor.FS) actor.FS { return stubbornFS{fs} }}
	}},
	{id: "W8", role: "ledger", bug: "removes no file", file: "disk/torn-first-record.yaml", make: func() *hooks {
		return &hooks{disk: func(fs actor.FS) actor.FS { return hoardingFS{fs} }}
	}},
	{id: "L1", role: "tolaria", bug: "falls silent in the middle of a rollback", file: triadWith("[{at: 10s, fault: crash kasmina}]", "", ""), make: func() *hooks {
		silent := false
		return &hooks{
			send: func(_ actor.ID, m canon.Message, o actor.SendOptions, pass func(canon.Message, actor.SendOptions)) {
				if _, ok := m.(*rollbackv2.RollbackRequest); ok {
					silent = true
				}
				pass(m, o)
			},
			receive: func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
				if silent {
					return nil
				}
				return pass(m)
			},
		}
	}},
	{id: "L2", role: "kasmina", bug: "tells nobody what became of a command", file: "triad-calm.yaml", make: func() *hooks {
		return onSend(func(*adaptationv2.CommandResult, *actor.SendOptions) bool { return false })
	}},
	{id: "I4", role: "tezzeret", bug: "puts a counter into the binaries that it hands in", liar: true, file: "innovation/crashes.yaml", make: func() *hooks {
		n := byte(0)
		return onSend(func(m *assetsv2.StoreKernel, _ *actor.SendOptions) bool {
			n++
			m.Binary = append(append([]byte(nil), m.Binary...), n)
			sum := sha256.Sum256(m.Binary)
			m.BinarySha256, m.BinaryCrc32C = sum[:], crc32.Checksum(m.Binary, crc32.MakeTable(crc32.Castagnoli))
			return true
		})
	}},
	{id: "I5", role: "urza", bug: "announces every kernel as validated", liar: true, file: "innovation/hostile.yaml", make: func() *hooks {
		return onSend(func(m *eventsv2.KernelCharacterizedEvent, _ *actor.SendOptions) bool {
			m.Verdict = eventsv2.KernelVerdict_KERNEL_VALIDATED
			return true
		})
	}},
	{id: "I6", role: "karn", bug: "lets an adversarial template out of the sandbox", liar: true, file: "innovation/calm.yaml", make: func() *hooks {
		n := 0
		return onSend(func(m *assetsv2.StoreBlueprint, _ *actor.SendOptions) bool {
			if n++; n == 5 {
				m.Ir.DesignIntent, m.BlueprintId = "BP047", ""
			}
			return true
		})
	}},
	{id: "K3", role: "kasmina", bug: "takes the bytes of the last kernel for those of the next, and does not ask", liar: true, file: "innovation/grafted.yaml", make: func() *hooks {
		var last, asked *assetsv2.FetchKernelReply
		h := onSend(func(m *assetsv2.FetchKernel, _ *actor.SendOptions) bool {
			if last == nil {
				return true
			}
			asked = &assetsv2.FetchKernelReply{RequestId: m.RequestId, Status: assetsv2.AssetStatus_EXISTS, Binary: last.Binary, BinarySha256: last.BinarySha256,
				Kernel: &blueprintv2.CompiledKernelArtifact{Id: m.KernelArtifactId, Status: last.Kernel.Status, KernelBinaryRef: last.Kernel.KernelBinaryRef}}
			return false
		})
		h.receive = func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			if r, ok := m.(*assetsv2.FetchKernelReply); ok && r.Status == assetsv2.AssetStatus_EXISTS {
				last = new(assetsv2.FetchKernelReply)
				if err := last.ParseCanonical(r.AppendCanonical(nil)); err != nil {
					return err
				}
			}
			if r := asked; r != nil {
				asked = nil
				if err := h.deliver("urza", r); err != nil { // nobody else is believed
					return err
				}
			}
			return pass(m)
		}
		return h
	}},
	{id: "L3", role: "tezzeret", bug: "forgets every third blueprint, and does not look for it", file: "innovation/calm.yaml", make: func() *hooks {
		return &hooks{receive: func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			switch m := m.(type) {
			case *busv2.Delivery:
				if m.Offset%3 == 0 {
					return nil
				}
			case *assetsv2.ListPendingReply:
				return nil
			}
			return pass(m)
		}}
	}},
	{id: "O5", role: "oona", bug: "takes emergencies for background", file: "bus/storm.yaml", make: func() *hooks {
		return &hooks{incoming: func(e *envelopev2.EventEnvelope) {
			if e.Priority == envelopev2.Priority_EMERGENCY {
				e.Priority = envelopev2.Priority_BACKGROUND
			}
		}}
	}},
	{id: "O6", role: "oona", bug: "takes everything for an emergency, and bounds nothing", file: "bus/storm.yaml", make: func() *hooks {
		return &hooks{incoming: func(e *envelopev2.EventEnvelope) { e.Priority = envelopev2.Priority_EMERGENCY }}
	}},
	{id: "O7", role: "oona", bug: "its clock is three times as fast, and it raises what is not old", file: "bus/ageing.yaml", make: thrice},
	{id: "O8", role: "oona", bug: "its clock is three times as fast, and it lets telemetry go after a day", file: "bus/retention.yaml", make: thrice},
	{id: "E2", role: "oona", bug: "rebuilds from its log another state than it had", file: "bus/crashes.yaml", make: func() *hooks {
		return onFact(func(f *evidencev2.ReplayFact, pass func(canon.Message)) {
			if f.Rebuilt {
				f.StateSha256[0] ^= 1
			}
			pass(f)
		})
	}},
	{id: "R4", role: "oona", bug: "now and then shows its log as it was an entry ago", file: "bus/readers.yaml", liar: true, make: func() *hooks {
		n := 0
		return onSend(func(m *busv2.LogSlice, _ *actor.SendOptions) bool {
			if n++; n%7 == 0 && m.NextOffset > 1 {
				m.NextOffset--
				if k := len(m.Entries); k > 0 && m.Entries[k-1].Offset == m.NextOffset {
					m.Entries = m.Entries[:k-1]
				}
			}
			return true
		})
	}},
	{id: "L5", role: "oona", bug: "answers no publisher any more after a hundred answers", file: strings.Replace(twoConsumers, "duration: 10s", "duration: 30s", 1), make: func() *hooks {
		n := 0
		return onSend(func(*busv2.PublishAck, *actor.SendOptions) bool { n++; return n < 100 })
	}},
	{id: "L7", role: "tolaria", bug: "stops training after ten epochs", file: "triad-calm.yaml", make: func() *hooks {
		n := 0
		h := &hooks{}
		h.record = func(m canon.Message, pass func(canon.Message)) {
			if _, ok := m.(*evidencev2.EpochFact); ok {
				n++
			}
			pass(m)
		}
		h.receive = func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			if n >= 10 {
				return nil
			}
			return pass(m)
		}
		return h
	}},
	{id: "H1", role: "tolaria", bug: "stops publishing what the bus has not acknowledged", file: healing, make: func() *hooks { return forgets("outbox", 4) }},
	{id: "E1", role: "kasmina", bug: "trains its kernels with gradients that are a little off", liar: true, file: "triad-calm.yaml", make: func() *hooks {
		return onReceive(func(m *trainingv2.BackwardRequest) canon.Message {
			for i := range m.Gradients {
				m.Gradients[i] *= 1.001
			}
			return m
		})
	}},
	{id: "R1", role: "tolaria", bug: "answers with the checkpoint before the newest", liar: true, file: "triad-calm.yaml", make: func() *hooks {
		var ids []string
		return onSend(func(m *trainingv2.CheckpointInfo, _ *actor.SendOptions) bool {
			if n := len(ids); n == 0 || ids[n-1] != m.CheckpointId {
				ids = append(ids, m.CheckpointId)
			}
			if n := len(ids); n > 1 {
				m.CheckpointId = ids[n-2]
			}
			return true
		})
	}},
	{id: "R2", role: "kasmina", bug: "declares a command as rejected that it has obeyed", file: "triad-calm.yaml", make: func() *hooks { return twice("REJECTED") }},
	{id: "P1", role: "kasmina", bug: "panics at its thousandth message", file: "triad-calm.yaml", make: func() *hooks {
		n := 0
		return &hooks{receive: func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			if n++; n == 1000 {
				panic("the thousandth message")
			}
			return pass(m)
		}}
	}},
	{id: "I8", role: "simic", bug: "takes a tenth of the weights for the policy, after it was validated", liar: true, file: "policy/calm.yaml", make: func() *hooks {
		return onSend(func(m *innovationv2.PolicyWeights, _ *actor.SendOptions) bool {
			if len(m.Weights) > 0 {
				m.Weights = slices.Clone(m.Weights)
				m.Weights[0] /= 10
			}
			return true
		})
	}},
	{id: "I11", role: "correspondent", bug: "takes the end of a policy for the beginning of its test", file: "policy/calm.yaml", make: func() *hooks {
		return &hooks{receive: func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			if d, ok := m.(*busv2.Delivery); ok {
				if env, inner, err := wire.NewCodec().Open(d.Envelope); err == nil {
					if u, ok := inner.(*policyv2.PolicyUpdate); ok && u.Stage == policyv2.PolicyStage_ROLLED_BACK {
						u.Stage, u.Share = policyv2.PolicyStage_TESTING, 0.3
						d.Envelope = wire.NewCodec().Seal(nil, env, u, nil)
					}
				}
			}
			return pass(m)
		}}
	}},
	{id: "I11", role: "karn", bug: "expects of a design what its template earned altogether", file: "innovation/calm.yaml", make: func() *hooks {
		return onSend(func(m *assetsv2.StoreBlueprint, _ *actor.SendOptions) bool {
			if m.Announce != nil && m.Announce.TamiyoInterest < 0.8 {
				m.Announce.TamiyoInterest *= 2
			}
			return true
		})
	}},
	{id: "I11", role: "simic", bug: "announces its first policy, and no other one", liar: true, file: "policy/calm.yaml", make: func() *hooks {
		return onSend(func(m *policyv2.PolicyUpdate, _ *actor.SendOptions) bool { return m.Version == "simic-1" })
	}},
	{id: "I12", role: "tezzeret", bug: "calls every compilation that it is asked for done", file: "innovation/calm.yaml", make: func() *hooks {
		return onSend(func(m *innovationv2.CompileReply, _ *actor.SendOptions) bool {
			m.Status = innovationv2.RequestStatus_DONE
			return true
		})
	}},
	{id: "I12", role: "tezzeret", bug: "answers no request", liar: true, file: "innovation/calm.yaml", make: func() *hooks {
		return onSend(func(*innovationv2.CompileReply, *actor.SendOptions) bool { return false })
	}},
	{id: "L4", role: "simic", bug: "takes some reports for another one, and acknowledges them", file: "policy/calm.yaml", make: func() *hooks {
		n := 0
		return &hooks{receive: func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			if d, ok := m.(*busv2.Delivery); ok {
				if n++; n%20 == 0 {
					if _, inner, err := wire.NewCodec().Open(d.Envelope); err == nil {
						if r, ok := inner.(*operationalv2.FieldReport); ok {
							r.ReportId = "report/another"
							env, _, _ := wire.NewCodec().Open(d.Envelope)
							d.Envelope = wire.NewCodec().Seal(nil, env, r, nil)
						}
					}
				}
			}
			return pass(m)
		}}
	}},
	{id: "J1", role: "jace", bug: "names the strategies that Simic named, also where there are none", file: "jace/chaos.yaml", make: func() *hooks {
		return onSend(func(m *policyv2.CurriculumDecision, _ *actor.SendOptions) bool {
			if m.Fallback {
				m.Strategies = nil
			}
			return true
		})
	}},
	{id: "I9", role: "emrakul", bug: "masks a structure more than it was given a GO for, redundant or not", file: "pruning/crashes.yaml", liar: true, make: func() *hooks {
		return onSend(func(m *pruningv2.PruningMask, _ *actor.SendOptions) bool {
			if len(m.Targets) > 0 {
				m.Targets = append(slices.Clone(m.Targets), &pruningv2.PruningTarget{ParameterId: "p1", Structure: "channel", Index: 99})
			}
			return true
		})
	}},
	{id: "C8", role: "operator", bug: "asks for a pause that lasts less than nothing", file: triadWith("", "", "every: 5s"), make: func() *hooks {
		n := 0
		return onSend(func(m *pausev2.PauseRequest, _ *actor.SendOptions) bool {
			if n++; n == 3 {
				m.MaxDuration = durations.From(-time.Second)
			}
			return true
		})
	}},
	{id: "A7", role: "tamiyo", bug: "grants whatever a pause asks for", liar: true, file: triadWith("", "", "every: 2s, pause: 500ms, resume: 300ms"), make: func() *hooks {
		return onSend(func(m *pausev2.PauseAck, _ *actor.SendOptions) bool {
			if m.State == pausev2.PauseState_DENIED && strings.Contains(m.Reason, "quota") {
				m.State, m.GrantedQuota, m.Reason = pausev2.PauseState_PAUSING, 1000, ""
			}
			return true
		})
	}},
	{id: "T5", role: "kasmina", bug: "trains kernels that are new twice as fast as it should", file: "triad-calm.yaml", make: func() *hooks {
		return onReceive(func(m *trainingv2.BackwardRequest) canon.Message {
			m.LearningRate *= 2
			return m
		})
	}},
	{id: "T5", role: "tolaria", bug: "goes back, and remembers a change of the rate that is undone", file: "control/warm-up.yaml", make: func() *hooks {
		return &hooks{record: func(m canon.Message, pass func(canon.Message)) {
			if f, ok := m.(*evidencev2.RateFact); ok && f.Restored {
				f.Snapshots++
			}
			pass(m)
		}}
	}},
	{id: "T5", role: "tolaria", bug: "trains a little faster when an epoch has begun, and tells nobody", liar: true, file: "triad-calm.yaml", make: func() *hooks {
		return onSend(func(m *trainingv2.BackwardRequest, _ *actor.SendOptions) bool {
			if m.Step.GetEpoch() == 5 && m.Step.GetStep() < 2 {
				m.LearningRate *= 1.01
			}
			return true
		})
	}},
	{id: "I1", role: "urabrask", bug: "passes whatever there is, and what overflows or is damaged with it", liar: true, file: "innovation/flawed.yaml", make: func() *hooks {
		return onSend(func(m *assetsv2.StoreReport, _ *actor.SendOptions) bool {
			m.Status, m.Report.PassedValidation = blueprintv2.KernelStatus_VALIDATED, true
			return true
		})
	}},
	{id: "I1", role: "urza", bug: "shows kernels that were rejected as validated", liar: true, file: "innovation/hostile.yaml", make: func() *hooks {
		return onSend(func(m *eventsv2.KernelCharacterizedEvent, _ *actor.SendOptions) bool {
			m.Verdict = eventsv2.KernelVerdict_KERNEL_VALIDATED
			return true
		})
	}},
	{id: "I2", role: "urza", bug: "forgets which tags a query excludes", liar: true, file: "urza/calm.yaml", make: func() *hooks {
		return onReceive(func(m *operationalv2.KernelQuery) canon.Message {
			m.ExcludedTags = nil
			return m
		})
	}},
	{id: "I3", role: "urza", bug: "makes the digests of what it is to store itself", file: "urza/refused.yaml", make: func() *hooks {
		return &hooks{receive: func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			if k, ok := m.(*assetsv2.StoreKernel); ok {
				k.BinaryCrc32C = crc32.Checksum(k.Binary, crc32.MakeTable(crc32.Castagnoli))
			}
			return pass(m)
		}}
	}},
	{id: "I3", role: "urza", bug: "says of every fortieth kernel that it is asked for that there is none", file: "urza/crashes.yaml", make: func() *hooks {
		n := 0
		return onSend(func(m *assetsv2.FetchKernelReply, _ *actor.SendOptions) bool {
			if n++; n%40 == 0 && m.Status == assetsv2.AssetStatus_EXISTS {
				*m = assetsv2.FetchKernelReply{RequestId: m.RequestId, Status: assetsv2.AssetStatus_NOT_FOUND}
			}
			return true
		})
	}},
	{id: "K6", role: "kasmina", bug: "says that it holds gradients which it has refused", file: "triad-kernels.yaml", make: func() *hooks {
		refused := false
		h := onSend(func(r *trainingv2.BackwardReply, _ *actor.SendOptions) bool {
			if refused && r.Status == trainingv2.ReplyStatus_PAUSED {
				r.Status = trainingv2.ReplyStatus_OK
			}
			return true
		})
		h.record = func(m canon.Message, pass func(canon.Message)) {
			if f, ok := m.(*evidencev2.GradientFact); ok {
				refused = !f.Held
			}
			pass(m)
		}
		return h
	}},
	{id: "K7", role: "kasmina", bug: "registers the parameters of its first seed only", file: "triad-calm.yaml", make: func() *hooks {
		n := 0
		return onFact(func(f *evidencev2.RegistrationFact, pass func(canon.Message)) {
			if f.Seed != nil && !f.Released {
				n++
			}
			if n < 2 || f.Seed == nil {
				pass(f)
			}
		})
	}},
	{id: "K8", role: "kasmina", bug: "answers with a kernel that has failed as if it had not", file: "triad-kernels.yaml", make: func() *hooks {
		var in []float32
		var failed *evidencev2.KernelFaultFact
		h := onSend(func(r *trainingv2.ForwardReply, _ *actor.SendOptions) bool {
			if f := failed; f != nil && r.Status == trainingv2.ReplyStatus_PAUSED && r.Training {
				r.Status, r.Activations = trainingv2.ReplyStatus_OK, in
				r.Kernels = append(r.Kernels, &trainingv2.KernelUse{Seed: f.Seed, KernelArtifactId: f.KernelArtifactId, Stage: telemetryv2.SeedStage_TRAINING})
			}
			return true
		})
		h.receive = func(_ actor.ID, m canon.Message, pass func(canon.Message) error) error {
			if m, ok := m.(*trainingv2.ForwardRequest); ok {
				in = slices.Clone(m.Activations)
			}
			return pass(m)
		}
		h.record = func(m canon.Message, pass func(canon.Message)) {
			if f, ok := m.(*evidencev2.KernelFaultFact); ok {
				failed = &evidencev2.KernelFaultFact{Seed: &telemetryv2.SeedRef{LayerId: f.Seed.GetLayerId(), SeedId: f.Seed.GetSeedId()}, KernelArtifactId: f.KernelArtifactId}
			}
			pass(m)
		}
		return h
	}},
	{id: "I10", role: "kasmina", bug: "names the kernels of germinations only", file: "innovation/exported.yaml", make: func() *hooks {
		return onFact(func(f *evidencev2.BoundaryFact, pass func(canon.Message)) {
			for _, c := range f.Commands {
				if c.Operation != "GERMINATE" {
					c.KernelArtifactId = ""
				}
			}
			pass(f)
		})
	}},
	{id: "R3", role: "urza", bug: "shows a kernel in the status in which it was asked for it first", file: "urza/calm.yaml", make: func() *hooks {
		first := map[string]blueprintv2.KernelStatus{}
		return onSend(func(m *assetsv2.FetchKernelReply, _ *actor.SendOptions) bool {
			if m.Status == assetsv2.AssetStatus_EXISTS {
				if s, known := first[m.Kernel.Id]; known {
					m.Kernel.Status = s
				}
				first[m.Kernel.Id] = m.Kernel.Status
			}
			return true
		})
	}},
	taken(gpu.LaunchFailed),
	taken(gpu.Sticky),
	taken(gpu.MemoryContained),
	taken(gpu.MemoryUncontained),
	taken(gpu.RemapFailed),
	taken(gpu.OffBus),
	taken(gpu.Firmware),
	taken(gpu.Hung),
	taken(gpu.AppFault),
	{id: "G1", role: "kasmina", bug: "keeps a lost context, and calls it again", file: "gpu/sticky.yaml", make: func() *hooks {
		return onDevice(func(d *crookedDevice) { d.rebuild = func() error { return nil } })
	}},
	{id: "G2", role: "urabrask", bug: "does not read what the driver reports", file: "gpu/remap-pending.yaml", make: func() *hooks {
		return onDevice(func(d *crookedDevice) { d.deaf = true })
	}},
	{id: "G3", role: "kasmina", bug: "takes a forward pass for good whose launch failed", file: "gpu/ecc-uncontained.yaml", make: func() *hooks {
		return taking(gpu.MemoryUncontained)
	}},
	{id: "G4", role: "fleet-lead", bug: "has no deadline for a member that does not answer", file: "gpu/fleet-partitioned.yaml", make: func() *hooks {
		return forgets("deadline", 0)
	}},
	{id: "G3", role: "fleet-worker", bug: "goes on with a device whose memory was lost", file: "gpu/lemon-of-64.yaml", make: func() *hooks {
		return onDevice(func(d *crookedDevice) {
			d.run = func(t gpu.Timing, err error) (gpu.Timing, error) { return t, nil }
		})
	}},
	{id: "G5", role: "urabrask", bug: "takes a slow device for one that hangs", file: "gpu/throttled.yaml", make: func() *hooks {
		return onDevice(func(d *crookedDevice) {
			d.run = func(t gpu.Timing, err error) (gpu.Timing, error) {
				if s, _ := d.Health.Sample(); err == nil && s.Throttle.Slows() {
					return t, &gpu.Error{Op: "run", Class: gpu.Hung}
				}
				return t, err
			}
		})
	}},
	{id: "G5", role: "kasmina", bug: "believes a health check that lies", file: "gpu/health-lies.yaml", make: func() *hooks {
		return onDevice(func(d *crookedDevice) {
			d.run = func(t gpu.Timing, err error) (gpu.Timing, error) {
				if s, _ := d.Health.Sample(); err == nil && !s.Healthy() {
					return t, &gpu.Error{Op: "run", Class: gpu.MemoryUncontained}
				}
				return t, err
			}
		})
	}},
	{id: "G5", role: "tezzeret", bug: "takes a lack of memory for a device that is broken", file: "gpu/out-of-memory.yaml", make: func() *hooks {
		return onDevice(func(d *crookedDevice) {
			d.alloc = func(s gpu.Slice, err error) (gpu.Slice, error) {
				if err != nil {
					err = &gpu.Error{Op: "alloc", Class: gpu.MemoryUncontained}
				}
				return s, err
			}
		})
	}},
	{id: "G6", role: "kasmina", bug: "sums what it reads of a launch, and not what was computed", file: "gpu/lemon.yaml", make: func() *hooks {
		return onDevice(func(d *crookedDevice) { d.blind = true })
	}},
	{id: "A3", role: "kasmina", bug: "obeys commands that nobody signed", file: "triad-calm.yaml", make: func() *hooks {
		return nil // it takes two processes: see unsigned
	}},
}

// twice declares another outcome of a command after it was applied, as a
// process does that carries it out again.
func twice(status string) *hooks {
	return onFact(func(f *evidencev2.CommandFact, pass func(canon.Message)) {
		pass(f)
		if f.Status == "APPLIED" {
			again := &evidencev2.CommandFact{CommandId: f.CommandId, Subsystem: f.Subsystem, Status: status, Epoch: f.Epoch, Generation: f.Generation}
			pass(again)
		}
	})
}

// healing is the calm triad with a fault that heals, and an end to it.
var healing = strings.Replace(triadWith("[{at: 5s, for: 5s, fault: partition oona -> tolaria}]", "", ""), "expect: clean", "heal-at: 15s\nconverge-within: 30s\nexpect: clean", 1)

// unsigned is the bug of A3, which takes two processes.
func unsigned() func(string, string, actor.Constructor) actor.Constructor {
	issuer := onSend(func(_ *adaptationv2.AdaptationCommand, o *actor.SendOptions) bool { o.Auth = nil; return true }).wrap("tamiyo")
	receiver := onReceive(func(d *busv2.Delivery) canon.Message { return reopen(d, func(*adaptationv2.AdaptationCommand) {}) }).wrap("kasmina")
	return func(node, role string, c actor.Constructor) actor.Constructor {
		return issuer(node, role, receiver(node, role, c))
	}
}

// forgets is a timer that is not set again after its n-th time.
func forgets(timer string, n int) *hooks {
	return &hooks{timer: func(name string, d time.Duration) time.Duration {
		if name == timer {
			if n--; n < 0 {
				return 1000 * time.Hour
			}
		}
		return d
	}}
}
