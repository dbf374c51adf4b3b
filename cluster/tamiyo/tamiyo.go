// Package tamiyo is the strategic controller: it watches a training run and
// commands its adaptation. It never touches training state itself; what it
// decides, Tolaria and Kasmina carry out.
//
// What it promises:
//
//   - No command while risk is critical, except for a rollback or a pause; none
//     while it is prepared for a rollback or without memory of the run.
//   - A command id is used once, over restarts too: ids name generation, epoch
//     and target, and no (generation, epoch) is decided twice.
//   - Every adaptation gets exactly one terminal field report. It is logged
//     before it is published, and published until the bus has it.
//   - A pause is published only for a valid token, used for the first time,
//     within the quota.
//
// The files: tamiyo.go handles mail, command.go issues commands and follows
// them, journal.go is the log, participant.go the rollback protocol, pause.go
// what operators ask, library.go which kernels there are, learned.go follows what
// Simic releases; policy.go, risk.go and state.go are pure.
package tamiyo

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/config"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/policy"
	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu"
)

// Subsystem is Tamiyo's name in messages and facts, and its consumer group.
const Subsystem = "tamiyo"

// The topics that Tamiyo speaks and hears on.
const (
	toTolaria = "control.tolaria.commands"
	toKasmina = "control.kasmina.commands"
	reports   = "innovation.field_reports"
)

var hears = []string{"control.command.results", "system.events.epoch", "telemetry.seed.health"}

// Options of Tamiyo.
type Options struct {
	Policy  string        `set:"policy" oneof:"job,heuristic,busy,idle" doc:"what decides; job: what the job says"`
	TTL     int           `set:"ttl" doc:"epochs in which a command is in force"`
	Confirm string        `set:"confirm" oneof:"none,self,operator" doc:"who confirms a FOSSILIZE; none: it needs no confirmation"`
	Asks    string        `set:"operator" doc:"node that confirms, with confirm operator"`
	Retire  bool          `set:"retire" doc:"a seed that is given up has its slot closed for good; it takes version 2.1 of the contracts"`
	Learned bool          `set:"learned" doc:"policies that Simic releases choose the kernels, each for its share of the decisions"`
	Calm    time.Duration `set:"calm" doc:"how long conservative mode lasts after its last cause"`
	Config  bool          `set:"config" doc:"it follows the configuration"`
	Segment int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
}

// Defaults are the options of a Tamiyo that sets none.
func Defaults() *Options {
	return &Options{Policy: "job", TTL: 3, Confirm: "self", Asks: "operator", Calm: 20 * time.Second, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

type tamiyo struct {
	env     actor.Env
	job     *job.Job
	o       Options
	policy  Policy // of the job
	codec   *wire.Codec
	box     *outbox.Box
	journal journal
	stamp   *stamp
	conf    *config.Box // nil: it follows none

	mind    mind
	p       participant
	quota   quota
	signal  answered
	pending []*pending // commands without a result, in order of issue
	rescues rescues
	packets int64

	undone []*adaptation // taken back, and not reported yet
	unread bool          // the log was not open when Tamiyo went back

	learned      *policy.Holder
	recalled     map[string]bool // versions of which only the log knows
	dropped      uint64
	conservative bool
	calmAt       time.Duration
	pausedUntil  time.Duration     // the end of the pause that was granted last
	granted      *pausev2.PauseAck // what was answered to it

	grafts    []trainer.Graft
	capacity  capacity
	selection *selection      // that waits for the library; nil: none
	faulty    map[string]bool // kernels that Kasmina could not use

	sub  busv2.Subscribe
	ack  busv2.Ack
	nack busv2.Nack
}

// answered is the newest packet and the signal that answers it.
type answered struct {
	packet string
	signal *operationalv2.AdaptationSignal
}

// New makes the constructor of Tamiyo for a job.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		name := o.Policy
		if name == "job" || name == "" {
			name = j.Policy
		}
		base, ok := FindPolicy(name)
		if !ok {
			return nil, fmt.Errorf("unknown policy %q", name)
		}
		signer, err := wire.NewHMACSigner("run", j.Key[:])
		if err != nil {
			return nil, err
		}
		model, err := trainer.NewModel(j.Graph, j.Seed)
		if err != nil {
			return nil, err
		}
		t := &tamiyo{env: env, grafts: model.Grafts(), job: j, o: o, policy: base, learned: policy.NewHolder(env, j.Simic), codec: wire.NewCodecAs(env.Schema),
			box: outbox.New(env, j.Oona, 256), mind: newMind(), stamp: &stamp{env: env, signer: signer},
			journal: journal{env: env, segment: o.Segment, timeout: o.Timeout}}
		if o.Config {
			t.conf = config.New(env, j, Subsystem, config.Options{Segment: o.Segment, Timeout: o.Timeout, Facts: command.LogFacts(env.Facts, "tamiyo/config")})
		}
		return t, nil
	}
}

// Start recovers the log. Reports that the bus has not acknowledged are
// published again.
func (t *tamiyo) Start() error {
	t.journal.start()
	t.recall()
	t.renew()
	t.conf.Start()
	first := job.HeartbeatEvery
	if t.env.Incarnation > 1 {
		first = 0
	}
	t.env.Clock.SetTimer("query", 0, first)
	return nil
}

// recall takes up what the log says is unfinished.
func (t *tamiyo) recall() {
	t.repost()
	if t.o.Learned {
		t.recalled = map[string]bool{}
		for _, m := range t.journal.releases() {
			t.learned.Announce(m)
			t.recalled[m.Version] = true
		}
	}
	if t.journal.granted > 0 {
		// When they were granted is not known: as if it were now.
		t.quota.take(t.env.Clock.Monotonic(), int(t.journal.granted))
	}
}

// repost publishes the reports that the bus has not acknowledged. One whose
// write failed may be in the log all the same, and is published by nobody else.
func (t *tamiyo) repost() {
	t.journal.anew = false
	for _, r := range t.journal.waiting() {
		t.post(r)
	}
}

// Receive implements actor.Actor.
func (t *tamiyo) Receive(from actor.ID, m canon.Message) error {
	if t.conf.Receive(m) {
		return nil
	}
	switch m := m.(type) {
	case *systemstatev2.SystemStatePacket:
		t.packet(from, m)
	case *busv2.Delivery:
		t.deliver(m)
	case *busv2.PublishAck:
		t.box.Acked(m)
	case *adaptationv2.CommandResult:
		t.awaited(from, m)
	case *pausev2.PauseRequest:
		t.pause(from, m)
	case *pausev2.ResumeRequest:
		t.resume(from, m)
	case *telemetryv2.EmergencyNotice:
		t.emergency(from, m)
	case *platformv2.CapacityUpdate:
		if from == t.job.Oona {
			t.capacity.hear(m, t.env.Clock.Monotonic())
		}
	case *operationalv2.KernelQueryResult:
		if from == t.job.Urza {
			t.selected(m)
		}
	case *assetsv2.KernelFault:
		if from == t.job.Kasmina {
			t.fault(m)
		}
	case *trainingv2.StatePartRequest:
		t.part(m)
	case *rollbackv2.RollbackRequest:
		t.p.asked.id, t.p.asked.tier, t.p.asked.checkpoint = m.RollbackId, m.Tier, m.CheckpointId
	case *trainingv2.RestorePart:
		t.prepare(m)
	case *rollbackv2.RollbackDecision:
		t.decided(m)
	case *rollbackv2.RollbackAck:
		if m.Phase == rollbackv2.Phase_RESTORED {
			t.confirm(m.RollbackId)
		}
	case *innovationv2.PolicyWeights:
		t.learned.Take(m) // their digest was announced, whoever sends them
	case *localv2.TimerFired:
		t.timer(m)
	}
	return nil
}

func (t *tamiyo) timer(m *localv2.TimerFired) {
	switch m.Name {
	case outbox.Timer:
		t.box.Tick()
		t.watchDelivery()
	case "renew":
		t.renew()
	case "query":
		t.ask()
	case "lease":
		t.expire(m.Arg)
	case "kernels":
		t.silent()
	}
}

// renew shows the bus that this consumer lives, and opens a log that the disk
// refused.
func (t *tamiyo) renew() {
	t.sub.Group, t.sub.Consumer, t.sub.Durable, t.sub.MaxInFlight = Subsystem, string(t.env.Self), true, 64
	t.sub.SchemaMinor = t.env.Schema.Minor
	t.sub.Topics = append(t.sub.Topics[:0], hears...)
	if t.o.Learned {
		t.sub.Topics = append(t.sub.Topics, releases)
		t.tellSimic()
	}
	t.env.Net.Send(t.job.Oona, &t.sub, actor.SendOptions{Key: "subscribe/" + Subsystem})
	if t.journal.log == nil && t.journal.refused == nil {
		t.journal.start()
		t.recall()
		if t.unread {
			t.reconcile(lastLoss(t.mind.recent))
			t.overlooked()
		}
	}
	if t.journal.anew && t.journal.log != nil {
		t.repost()
	}
	t.reportUndone(lastLoss(t.mind.recent))
	if t.conservative && t.env.Clock.Monotonic() >= t.calmAt {
		t.mode(false, "it has been calm")
	}
	t.env.Clock.SetTimer("renew", 0, time.Second)
}

// packet decides about an epoch boundary and answers. A packet that comes
// again gets the same signal.
func (t *tamiyo) packet(from actor.ID, m *systemstatev2.SystemStatePacket) {
	if !t.p.works() || m.PacketId == "" {
		return
	}
	id, epoch := m.PacketId, m.Epoch
	if t.signal.packet == id {
		t.answer(from)
		return
	}
	// The packet tells which revision the epoch has: without its content Tamiyo
	// does not decide, and the packet comes again.
	if t.conf != nil && !t.conf.Hear(m.RollbackGeneration, m.Epoch, m.ConfigRevision) {
		return
	}
	loss, rate := m.GetTrainingMetrics().GetLoss(), m.GetTrainingMetrics().GetLearningRate()
	risk := Judge(t.vitals(m))
	generation := t.p.generation
	t.env.Clock.Work(gpu.Inference, 1)
	t.packets++
	t.forget()
	t.selection = nil
	// Each boundary of a generation is decided once: a restart, or a packet that
	// overtook another, must not use an id again.
	var actions []Action
	if generation > t.journal.generation || generation == t.journal.generation && epoch > t.journal.epoch {
		v := t.mind.view(epoch, loss, rate, t.busy, t.kernels())
		actions = t.rescues.heed(t.policy.Decide(v), v)
	}
	t.mind.observe(epoch, loss, rate)
	s := &operationalv2.AdaptationSignal{SignalId: fmt.Sprint("signal/", generation, "/", epoch),
		CreatedAt: timestamppb.New(t.env.Clock.Now()), TtlEpochs: int32(t.ttl())}
	for _, a := range actions {
		if t.o.Retire && t.env.Schema.Minor >= 1 && a.Kind == MoveSeed && a.Op == adaptationv2.SeedOperation_CULL {
			a.Op = adaptationv2.SeedOperation_RETIRE
		}
		if a.Kind == GoBack {
			s.EmergencyRollbackRequired = true
		} else if risk.Critical() || t.conservative || t.env.Clock.Monotonic() < t.pausedUntil {
			continue
		}
		s.OptimizerRebuildRequired = s.OptimizerRebuildRequired || a.Kind == SetRate
		if a.waits() && !t.capacity.admits(epoch, t.env.Clock.Monotonic()) {
			t.env.Probe.Reached("tamiyo/capacity")
			continue
		}
		if a.waits() {
			t.choose(a, epoch, risk, loss)
			continue
		}
		by := t.prefer(&a, t.job.KernelIDs(), epoch, loss)
		t.order(a, by, epoch, risk, loss)
	}
	t.reconfirm()
	t.signal = answered{id, s}
	t.answer(from)
	if t.env.Probe.Sometimes("tamiyo/repeat-signal") {
		t.answer(from)
	}
}

func (t *tamiyo) answer(to actor.ID) {
	t.env.Net.Send(to, t.signal.signal, actor.SendOptions{Key: fmt.Sprint("signal/", t.mind.epoch), CorrelationID: t.signal.packet,
		RunID: t.job.RunID, Epoch: t.mind.epoch})
}

// vitals reads from a packet what risk is judged by.
func (t *tamiyo) vitals(m *systemstatev2.SystemStatePacket) Vitals {
	tm := m.GetTrainingMetrics()
	v := Vitals{Gradient: tm.GetGradNorm(), NotFinite: math.IsNaN(tm.GetLoss()) || math.IsInf(tm.GetLoss(), 0)}
	if n := len(t.mind.recent); n > 0 {
		if mean := mean(t.mind.recent); mean > 0 {
			v.Stability = tm.GetLoss()/mean - 1
		}
	}
	for _, u := range m.GetSystemHealth().GetResourceUsage() {
		if u.ResourceName == "memory" {
			v.Memory = u.UsageValue
		}
	}
	return v
}

func lastLoss(recent []float64) float64 {
	if len(recent) == 0 {
		return 0
	}
	return recent[len(recent)-1]
}

// deliver takes an entry from the bus. It is acknowledged once everything that
// follows from it is durable.
func (t *tamiyo) deliver(d *busv2.Delivery) {
	e, m, err := t.codec.Open(d.Envelope)
	if err != nil {
		t.nack.Group, t.nack.Consumer, t.nack.Topic, t.nack.Offset = d.Group, string(t.env.Self), d.Topic, d.Offset
		t.nack.ClaimGeneration, t.nack.Reason = d.ClaimGeneration, err.Error()
		t.env.Net.Send(t.job.Oona, &t.nack, actor.SendOptions{Key: fmt.Sprint("nack/", d.Topic, "/", d.Offset), Attempt: d.Attempt})
		return
	}
	t.ack.Group, t.ack.Consumer, t.ack.Topic, t.ack.Offset = d.Group, string(t.env.Self), d.Topic, d.Offset
	t.ack.ClaimGeneration = d.ClaimGeneration
	key, attempt := "ack/"+e.EventId, d.Attempt
	done := true
	switch m := m.(type) {
	case *telemetryv2.SeedTelemetry:
		done = t.telemetry(m)
	case *adaptationv2.CommandResult:
		done = t.result(m)
	case *policyv2.PolicyUpdate:
		done = t.announced(m)
	}
	if done {
		t.env.Net.Send(t.job.Oona, &t.ack, actor.SendOptions{Key: key, Attempt: attempt})
	}
}

// telemetry follows the seeds. One that was culled without a command ends its
// adaptation.
func (t *tamiyo) telemetry(m *telemetryv2.SeedTelemetry) bool {
	if t.p.generation == 0 {
		return true
	}
	if g := m.RollbackGeneration; g != 0 && g < t.p.generation {
		// It was measured before the rollback that has come to an end. Its epoch
		// may well be newer than any that has run since.
		t.env.Probe.Reached("tamiyo/stale-telemetry")
		return true
	}
	s := t.mind.seed(m)
	if s == nil {
		return true
	}
	a := t.mind.adaptationOf(s.Ref)
	if a == nil {
		return true
	}
	a.stage = s.Stage
	if how, ended := a.ends(s.Stage, s.Epoch); ended {
		return t.report(a, how, lastLoss(t.mind.recent))
	}
	return true
}

// emergency acknowledges a CRITICAL notice at once, and commands nothing for a
// while.
func (t *tamiyo) emergency(from actor.ID, m *telemetryv2.EmergencyNotice) {
	if m.Level != telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL {
		return
	}
	t.env.Net.Send(from, &pausev2.PauseAck{PauseId: m.NoticeId, Subsystem: Subsystem, State: pausev2.PauseState_PAUSED},
		actor.SendOptions{Key: "emergency-ack/" + m.NoticeId})
	t.mode(true, "emergency: "+m.Reason)
}

// mode enters or leaves conservative mode: no commands but a rollback or a
// pause.
func (t *tamiyo) mode(on bool, why string) {
	if on {
		t.calmAt = t.env.Clock.Monotonic() + t.o.Calm
	}
	if t.conservative == on {
		return
	}
	t.conservative = on
	f := &evidencev2.ModeFact{Subsystem: Subsystem, From: "NORMAL", To: "CONSERVATIVE", Reason: why}
	if !on {
		f.From, f.To = f.To, f.From
	}
	t.env.Facts.Record(f)
}

// busy says whether a command for a seed is on its way.
func (t *tamiyo) busy(r graft.Ref) bool {
	for _, p := range t.pending {
		if p.seed == r {
			return true
		}
	}
	return false
}
