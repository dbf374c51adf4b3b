// Package kasmina executes validated kernels in the graft layers of the host
// network. It owns the seeds: their stages, their kernels, their parameters.
//
//   - [New], [Options]: the actor.
//   - kasmina.go: who asks what; step.go and participant.go hold the logic that
//     knows no messages: a step's settlement, and the rollback's participant.
//   - boundary.go: crossing into an epoch, commands, checkpoints, telemetry.
//   - isolation.go: whose each parameter is, and that gradients stay apart.
//   - launch.go: kernels on a device, and what if that fails; trust.go: what if it
//     computes something wrong.
//   - sketch.go: how important what passes through the layers is.
//   - evict.go: kernels that failed, and are not used again.
//   - library.go: kernels from the asset library, and what becomes of bad ones.
//   - pause.go: identity for a while, and what it costs.
//
// The grafted network itself is package graft: what Kasmina makes of a run's
// lineage, a replay makes too, byte for byte.
package kasmina

import (
	"errors"
	"strconv"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/assets"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/config"
	"github.com/esper-sim/espersim/cluster/device"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/journal"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
)

// Subsystem is Kasmina's name in votes, results and facts.
const Subsystem = "kasmina"

// Options of Kasmina.
type Options struct {
	TelemetryEvery int           `set:"telemetry-every" doc:"steps between two reports of an occupied seed; 0: at boundaries only"`
	Segment        int           `set:"segment" doc:"bytes of a segment of the command log"`
	Timeout        time.Duration `set:"timeout" doc:"deadline of one operation on the disk"`
	Config         bool          `set:"config" doc:"it follows the configuration"`
}

// Defaults are the options of a Kasmina that sets none.
func Defaults() *Options {
	return &Options{TelemetryEvery: 4, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

type kasmina struct {
	env  actor.Env
	job  *job.Job
	o    Options
	bed  *graft.Bed
	box  *outbox.Box
	desk *command.Desk

	library *assets.Client
	loads   loads

	grafts  []trainer.Graft
	part    participant
	step    step
	crossed int64 // the epoch whose boundary was crossed in this generation; -1: none
	lost    bool  // it cannot follow any more: only a rollback helps
	reply   trainingv2.BoundaryReply
	ready   *crossing // a boundary that is not crossed yet; nil: none
	pause   pause
	faulty  []graft.Ref // seeds that may not go on: quarantined at the boundary
	locks   []graft.Ref // culprits of the rollback: locked at the boundary
	lockID  string
	lease   int64
	losses  float64 // the validation loss that it was told last

	isolation *isolation
	sketch    *sketch
	evicted   evictions
	device    *device.Guard
	programs  map[int32]*launch

	request struct { // of a rollback, until its part is there as well
		id    string
		tier  rollbackv2.Tier
		ckpt  string
		epoch int64
	}
	conf     *config.Box // nil: it follows none
	fwd      trainingv2.ForwardReply
	bwd      trainingv2.BackwardReply
	query    trainingv2.RollbackQuery
	ack      rollbackv2.RollbackAck
	vote     rollbackv2.RollbackVote
	fact     evidencev2.RollbackFact
	stage    evidencev2.StageFact
	boundary evidencev2.BoundaryFact
	key      []byte
	count    int64 // of telemetry
}

// New makes the constructor of Kasmina for a job.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		m, err := trainer.NewModel(j.Graph, j.Seed)
		if err != nil {
			return nil, err
		}
		row, _ := breaker.Find(Subsystem, "gradient_isolation")
		guard, err := breaker.New(row, func(t breaker.Transition) {
			env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: t.ID, From: t.From.String(), To: t.To.String()})
		})
		if err != nil {
			return nil, err
		}
		k := &kasmina{env: env, job: j, o: o, grafts: m.Grafts(), crossed: -1, isolation: newIsolation(m, guard), sketch: newSketch(m), programs: map[int32]*launch{}}
		k.device = device.New(env, device.Options{Limit: launchLimit, Segment: o.Segment, Timeout: o.Timeout})
		k.bed = graft.New(k.grafts, j.Slots, k.catalogue(), j.Rules)
		if k.library, err = assets.New(env, j.Urza, j.Key[:]); err != nil {
			return nil, err
		}
		for _, g := range k.grafts {
			k.step.layers = append(k.step.layers, layer{id: int32(g.Layer), width: g.Width})
		}
		k.box = outbox.New(env, j.Oona, 256)
		if o.Config {
			k.conf = config.New(env, j, Subsystem, config.Options{Segment: o.Segment, Timeout: o.Timeout, Facts: command.LogFacts(env.Facts, "kasmina/config")})
		}
		return k, nil
	}
}

// Start implements actor.Actor.
func (k *kasmina) Start() error {
	var err error
	k.desk, err = command.Open(k.env, k.job, k.box, command.Options{
		Subsystem: Subsystem, Topic: "control.kasmina.commands", Dir: "commands",
		Segment: int64(k.o.Segment), Deadline: k.o.Timeout, Accepts: accepts,
	})
	if err != nil {
		return err
	}
	k.openEvictions()
	k.device.Open()
	k.device.Tick()
	k.registerHost(k.isolation.host)
	k.desk.Renew()
	k.order()
	k.env.Clock.SetTimer("renew", 0, time.Second)
	k.conf.Start()
	// A process that begins with the run hears of it at once. One that began
	// again asks.
	first := 500 * time.Millisecond
	if k.env.Incarnation > 1 {
		first = 0
	}
	k.env.Clock.SetTimer("query", 0, first)
	return nil
}

// Receive implements actor.Actor.
func (k *kasmina) Receive(from actor.ID, m canon.Message) error {
	if err := k.receive(from, m); err != nil {
		return err
	}
	return k.device.Exit()
}

func (k *kasmina) receive(from actor.ID, m canon.Message) error {
	if k.conf.Receive(m) {
		return nil
	}
	switch m := m.(type) {
	case *trainingv2.ForwardRequest:
		return k.forward(from, m)
	case *trainingv2.BackwardRequest:
		return k.backward(from, m)
	case *trainingv2.BoundaryRequest:
		return k.cross(from, m)
	case *pruningv2.StatisticsRequest:
		k.statistics(from, m)
	case *busv2.PublishAck:
		k.box.Acked(m)
	case *busv2.Delivery:
		c := k.desk.Deliver(m, k.crossed, k.part.gen)
		k.order()
		if c != nil {
			return k.atOnce()
		}
	case *adaptationv2.CommandConfirm:
		e, _ := k.env.Net.Incoming()
		if c := k.desk.Confirm(m, e, k.crossed, k.part.gen); c != nil {
			return k.atOnce()
		}
	case *assetsv2.FetchKernelReply:
		k.library.Answer(from, m)
	case *assetsv2.StoreReply:
		if from == k.job.Urabrask {
			k.quarantined(m)
		}
	case *rollbackv2.RollbackRequest:
		k.request.id, k.request.tier, k.request.ckpt = m.RollbackId, m.Tier, m.CheckpointId
		k.request.epoch = m.CheckpointEpoch
	case *trainingv2.RestorePart:
		k.prepare(m)
	case *rollbackv2.RollbackDecision:
		return k.decided(m)
	case *rollbackv2.RollbackAck:
		if m.Phase == rollbackv2.Phase_RESTORED && m.RollbackId == k.part.last.id {
			k.confirm()
		}
	case *telemetryv2.EmergencyNotice:
		k.emergency(from, m)
	case *localv2.TimerFired:
		return k.timer(m)
	}
	return nil
}

func (k *kasmina) timer(m *localv2.TimerFired) error {
	switch m.Name {
	case outbox.Timer:
		k.box.Tick()
	case "renew":
		k.desk.Renew()
		k.order()
		k.env.Clock.SetTimer("renew", 0, time.Second)
	case assets.Timer:
		k.library.Tick()
	case "faults":
		k.tellFaults()
	case journal.Timer:
		k.evicted.log.Open()
		k.device.Open()
	case device.Timer:
		k.device.Tick()
	case "query":
		k.ask()
	case "lease":
		if m.Arg == k.lease && k.part.expire(k.part.offer.id) {
			k.declare(evidencev2.RollbackStep_RB_FENCED, &k.part.offer, "")
			k.ask()
		}
	case "pause":
		if m.Arg == k.pause.serial && k.pause.on {
			k.resume("its time is over")
		}
	}
	return nil
}

// ask asks the coordinator, for as long as there is something to ask.
func (k *kasmina) ask() {
	id := ""
	switch {
	case k.part.standing == fenced:
		id = k.part.offer.id
	case k.part.standing == active && k.part.gen == 0:
	default:
		return
	}
	k.query.RollbackId, k.query.Subsystem, k.query.Generation = id, Subsystem, k.part.gen
	k.env.Net.Send(k.job.Tolaria, &k.query, actor.SendOptions{Key: "rollback-query/" + id})
	k.env.Clock.SetTimer("query", 0, job.HeartbeatEvery)
}

// admit says whether a request of a step is answered by work, and settles the
// step before if this one is new.
func (k *kasmina) admit(r ref, settled *trainingv2.Settlement) (trainingv2.ReplyStatus, error) {
	switch {
	case k.part.standing != active:
		return trainingv2.ReplyStatus_FENCED, nil
	case k.part.gen == 0 || k.lost || r.gen > k.part.gen:
		return trainingv2.ReplyStatus_OUT_OF_SYNC, nil
	case r.gen < k.part.gen:
		return trainingv2.ReplyStatus_STALE, nil
	case k.ready != nil && r.epoch == k.ready.epoch:
		// Tolaria asks in that epoch, so it has the answer: cross.
		if err := k.enter(); err != nil {
			return 0, err
		}
	case r.epoch != k.crossed:
		return trainingv2.ReplyStatus_STALE, nil
	}
	switch {
	case k.step.any && r == k.step.ref:
		return trainingv2.ReplyStatus_OK, nil
	case k.step.any && r.step < k.step.ref.step && r.epoch == k.step.ref.epoch && r.gen == k.step.ref.gen:
		return trainingv2.ReplyStatus_STALE, nil
	case settled == nil || k.ready != nil:
		// The gradients of a step that never came forward; or a late request
		// of an epoch whose last step is settled.
		return trainingv2.ReplyStatus_STALE, nil
	case !settle(k.bed, &k.step, settled):
		k.lost = true
		return trainingv2.ReplyStatus_OUT_OF_SYNC, nil
	}
	k.step.begin(r)
	return trainingv2.ReplyStatus_OK, nil
}

func (k *kasmina) forward(from actor.ID, m *trainingv2.ForwardRequest) error {
	r := refOf(m.Step)
	out := &k.fwd
	out.Step, out.LayerId, out.Training = m.Step, m.LayerId, m.Training
	out.Activations, out.Kernels = nil, out.Kernels[:0]
	var err error
	if out.Status, err = k.admit(r, m.Settled); err != nil {
		return err
	}
	l := k.step.layer(m.LayerId)
	if l == nil || len(m.Activations) != int(m.Batch)*l.width || m.Batch < 1 {
		return nil // a layer that is not there: nobody asks that
	}
	if out.Status == trainingv2.ReplyStatus_OK {
		if !l.forward {
			l.out = append(l.out[:0], m.Activations...)
			l.status = k.through(m, l)
			l.forward = true
		}
		out.Status = l.status
		out.Activations = l.out
		k.uses(m.LayerId)
	}
	k.env.Net.Send(from, out, actor.SendOptions{Key: k.stepKey('f', r, m.LayerId)})
	return nil
}

// through takes activations through a layer's kernels.
func (k *kasmina) through(m *trainingv2.ForwardRequest, l *layer) trainingv2.ReplyStatus {
	if k.pause.on {
		k.spend(int(m.Batch))
		return trainingv2.ReplyStatus_PAUSED
	}
	if k.bypassed() {
		return trainingv2.ReplyStatus_PAUSED
	}
	n := 0
	for _, s := range k.bed.Slots() {
		if s.Ref.Layer == m.LayerId && s.Kernel != nil && (graft.Blended(s.Stage) || s.Stage == graft.Training && m.Training) {
			n++
		}
	}
	if n > 0 {
		k.env.Clock.Work(gpu.KernelForward, n*int(m.Batch))
	}
	err := error(nil)
	l.era = k.device.Era()
	if n > 0 {
		p := k.program(m.LayerId, false)
		p.training = m.Training
		err = k.run(p, l.out, m.Activations, gpu.KernelForward, n*int(m.Batch))
		l.era = k.device.Era()
	}
	if k.wrecked(err, m.LayerId, m.Step, m.Training) {
		copy(l.out, m.Activations)
		return trainingv2.ReplyStatus_PAUSED
	}
	why := "its output is not finite"
	if err != nil {
		why = err.Error()
	}
	if err != nil || !finite(l.out) && finite(m.Activations) {
		// A kernel fault never stops an epoch (K8): until the boundary, where
		// the kernel is culled, every step takes the identity path.
		k.blame(m.LayerId, m.Step, m.Training, why)
		copy(l.out, m.Activations)
		return trainingv2.ReplyStatus_PAUSED
	}
	sick := false
	for _, s := range k.bed.Slots() {
		if s.Ref.Layer == m.LayerId && s.Kernel != nil && !s.Learning() {
			k.env.Probe.Reached("kasmina/kernel-fault")
			k.fail(s, m.Step, m.Training, "its training gives no numbers")
			sick = true
		}
	}
	if sick {
		copy(l.out, m.Activations)
		return trainingv2.ReplyStatus_PAUSED
	}
	return trainingv2.ReplyStatus_OK
}

// wrecked says whether the device failed: then nothing of the layer is used, and no
// kernel is blamed. An illegal access is the exception: what did it does not show, and
// a kernel that does it again ends the process again.
func (k *kasmina) wrecked(err error, layer int32, step *trainingv2.StepRef, training bool) bool {
	var exit *actor.Exit
	switch {
	case errors.As(err, &exit):
		if k.device.Last() == gpu.AppFault {
			k.blame(layer, step, training, exit.Why)
		}
	case !errors.Is(err, errDevice):
		return false
	}
	k.env.Probe.Reached("kasmina/device-failed")
	return true
}

// blame takes a layer's kernels that took part out of use: which of them it was
// does not show.
func (k *kasmina) blame(layer int32, step *trainingv2.StepRef, training bool, why string) {
	k.env.Probe.Reached("kasmina/kernel-fault")
	for _, s := range k.bed.Slots() {
		if s.Ref.Layer == layer && s.Kernel != nil && (graft.Blended(s.Stage) || s.Stage == graft.Training && training) {
			k.fail(s, step, training, why)
		}
	}
}

// fail takes one kernel out of use, and tells of it.
func (k *kasmina) fail(s *graft.Slot, step *trainingv2.StepRef, training bool, why string) {
	k.evict(s, step, training, why)
	k.report(s, why, 0)
	k.failed(s.Kernel.ID, false, why)
}

// uses lists the kernels of a layer, or of all layers for 0.
func (k *kasmina) uses(layer int32) {
	for _, s := range k.bed.Slots() {
		if s.Ref.Layer == layer && s.Kernel != nil {
			k.fwd.Kernels = append(k.fwd.Kernels, use(s))
		}
	}
}

func use(s *graft.Slot) *trainingv2.KernelUse {
	u := &trainingv2.KernelUse{Seed: s.Ref.Proto(), AlphaMilli: s.Alpha, Stage: s.Stage}
	if s.Kernel != nil {
		u.KernelArtifactId = s.Kernel.ID
	}
	return u
}

func (k *kasmina) backward(from actor.ID, m *trainingv2.BackwardRequest) error {
	r := refOf(m.Step)
	out := &k.bwd
	out.Step, out.LayerId = m.Step, m.LayerId
	var err error
	if out.Status, err = k.admit(r, nil); err != nil {
		return err
	}
	l := k.step.layer(m.LayerId)
	if l == nil || len(m.Gradients) != int(m.Batch)*l.width {
		return nil
	}
	if out.Status == trainingv2.ReplyStatus_OK && !l.back {
		switch {
		case !l.forward:
			out.Status = trainingv2.ReplyStatus_STALE
		case l.status != trainingv2.ReplyStatus_OK:
			out.Status = l.status
		default:
			n := 0
			for _, s := range k.bed.Slots() {
				if s.Ref.Layer == m.LayerId && s.Kernel != nil && s.Stage != graft.Germinated {
					n++
				}
			}
			if n > 0 {
				k.env.Clock.Work(gpu.KernelBackward, n*int(m.Batch))
			}
			if k.device.Era() != l.era {
				// What the forward pass kept was on a context that is gone.
				k.env.Probe.Reached("kasmina/lost-context")
				l.status, out.Status = trainingv2.ReplyStatus_PAUSED, trainingv2.ReplyStatus_PAUSED
				break
			}
			var err error
			if n > 0 {
				err = k.run(k.program(m.LayerId, true), nil, m.Gradients, gpu.KernelBackward, n*int(m.Batch))
			}
			if err == nil && k.device.Era() != l.era {
				err = errDevice
			}
			if k.wrecked(err, m.LayerId, m.Step, true) {
				l.status, out.Status = trainingv2.ReplyStatus_PAUSED, trainingv2.ReplyStatus_PAUSED
				break
			}
			if err != nil {
				k.blame(m.LayerId, m.Step, true, err.Error())
				l.status, out.Status = trainingv2.ReplyStatus_PAUSED, trainingv2.ReplyStatus_PAUSED
				break
			}
			if !k.shielded(m.Step, m.LayerId, m.LearningRate) {
				l.status, out.Status = trainingv2.ReplyStatus_PAUSED, trainingv2.ReplyStatus_PAUSED
				break
			}
			l.back, k.step.rate = true, float32(m.LearningRate)
			k.sketch.note(m.LayerId, l.out, m.Gradients)
			every := k.conf.Int(config.TelemetryEvery, k.o.TelemetryEvery)
			if k.step.whole() && every > 0 && int(r.step)%every == 0 {
				for _, s := range k.bed.Slots() {
					if s.Kernel != nil {
						k.report(s, "", 2)
					}
				}
			}
		}
	}
	k.env.Net.Send(from, out, actor.SendOptions{Key: k.stepKey('b', r, m.LayerId)})
	return nil
}

// stepKey names a reply. Generations are not in it: a fault elsewhere would
// change them.
func (k *kasmina) stepKey(kind byte, r ref, layer int32) string {
	b := append(k.key[:0], kind, '/')
	b = strconv.AppendInt(b, r.epoch, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(r.step), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(layer), 10)
	k.key = b
	return string(b)
}

// emergency: CRITICAL is acknowledged at once; Kasmina does nothing by itself
// between Tolaria's requests, so there is nothing to freeze.
func (k *kasmina) emergency(from actor.ID, m *telemetryv2.EmergencyNotice) {
	if m.Level != telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL || from == k.job.Tolaria && m.Source == Subsystem {
		return
	}
	k.env.Net.Send(from, pauseAck(m.NoticeId), actor.SendOptions{Key: "emergency-ack/" + m.NoticeId})
}
