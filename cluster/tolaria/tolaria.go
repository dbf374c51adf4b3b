// Package tolaria trains: it owns the host network and its optimizer, the
// epoch clock, the learning rates and the checkpoints, and coordinates
// rollbacks.
//
// It is one event-driven state machine (state.go), and a handler never waits:
//
//   - step.go: a training step and validation, message by message.
//   - boundary.go: the epoch boundary, from assembling to the next epoch.
//   - command.go: commands and pauses.
//   - snapshot.go: checkpoints.
//   - rollback.go, votes.go: the coordinator of rollbacks.
//   - journal.go: what must survive a crash.
//   - mask.go: channels of the host that are pruned.
//   - config.go: from which boundary on a revision of the configuration is in
//     force.
//
// docs/protocols.md is the protocol.
package tolaria

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/lineage"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/rates"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// Subsystem is Tolaria's name in votes, results and facts.
const Subsystem = "tolaria"

// Options of Tolaria.
type Options struct {
	Retain   int           `set:"retain" doc:"good checkpoints that are kept; 0: as many as the design says"`
	Segment  int           `set:"segment" doc:"bytes of a segment of its logs"`
	Timeout  time.Duration `set:"timeout" doc:"deadline of one operation on the disk"`
	Resend   time.Duration `set:"resend" doc:"how long it waits for Kasmina before it asks again"`
	Step     time.Duration `set:"step" doc:"how long it waits for Kasmina before a step takes the identity path"`
	Boundary time.Duration `set:"boundary" doc:"how long it waits for Kasmina to cross an epoch boundary"`
	Merkle   string        `set:"merkle" oneof:"hardened,hld" doc:"which root the checkpoint store uses"`
	Config   bool          `set:"config" doc:"it follows the configuration, and decides from when on a revision is in force"`
	Watched  bool          `set:"watched" doc:"it tells Nissa the state of the run, and how it is"`
}

// Defaults are the options of a Tolaria that sets none.
func Defaults() *Options {
	return &Options{Segment: 64 << 10, Timeout: 500 * time.Millisecond,
		Resend: 60 * time.Millisecond, Step: 250 * time.Millisecond, Boundary: 500 * time.Millisecond, Merkle: "hardened"}
}

type tolaria struct {
	heard [3]time.Duration // when each auxiliary was heard last
	env   actor.Env
	job   *job.Job
	o     Options
	host  *lineage.Host
	rates rates.Controller
	guard *breaker.Breaker      // of the rates' integrity
	told  *statev2.RateSnapshot // the newest change that was declared
	box   *outbox.Box
	desk  *command.Desk
	store *store
	log   *journal

	phase  phase
	epoch  int64 // that is trained, or that the boundary is after
	next   int64 // that the boundary is before
	step   int32
	gen    uint32
	member bool  // Kasmina crossed into this epoch
	joined bool  // and is asked
	last   int64 // the newest epoch of this generation that it crossed into; -1: none
	mode   eventsv2.RunMode

	// The step in flight.
	validating bool
	asking     bool // Kasmina takes part
	ticket     breaker.Ticket
	layer      int32 // whose answer is awaited
	waits      []int32
	began      time.Duration
	serial     int64
	attempt    uint32
	ref        ref
	lastFull   trainingv2.StepRef
	settled    trainingv2.Settlement

	losses   trend
	trained  float64 // mean loss of the epoch so far
	val      float64
	accuracy float64
	best     float64 // validation loss
	bestAcc  float64
	breaker  *breaker.Breaker // Kasmina's answers
	silence  *breaker.Breaker // Tamiyo's

	// The boundary in flight.
	packet    systemstatev2.SystemStatePacket
	assembled time.Duration
	crossReq  trainingv2.BoundaryRequest
	crossed   bool // Kasmina has answered, or is not asked
	seeds     []seed
	decided   bool // Tamiyo took part in the boundary
	every     int  // epochs between checkpoints
	shot      *snapshot
	lastShot  int64
	shotNow   bool          // a checkpoint is taken at the next boundary, due or not
	saved     string        // the checkpoint that the boundary under way has saved or restored
	inBudget  time.Duration // monotonic, since when boundaries keep their budget
	started   ref           // the newest STARTED event

	conf    configuration
	reports int64

	masks  masks
	pause  pauseState
	freeze string // the notice that froze, or is about to
	rb     *rollback
	want   *wish
	tries  int
	severe int // rollbacks to one checkpoint for its losses
	after  phase
	ended  *rollbackv2.RollbackOutcome
	locked []*telemetryv2.SeedRef
	newest *telemetryv2.SeedRef // the seed grafted last
	// Rollbacks that were aborted: who was silent, and what to try again.
	missing, lastMissing []string
	lastWish             *wish

	fwd      trainingv2.ForwardRequest
	bwd      trainingv2.BackwardRequest
	fref     trainingv2.StepRef
	stepFact evidencev2.StepFact
	key      []byte
}

// seed is what the last boundary said of a slot.
type seed struct {
	layer int32
	id    int32
	kind  string // of the kernel; empty: the slot is not occupied
	alpha uint32
	stage telemetryv2.SeedStage
}

// New makes the constructor of Tolaria for a job.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		t := &tolaria{env: env, job: j, o: o, gen: 1, epoch: -1, every: max(j.Checkpoint, 1),
			mode: eventsv2.RunMode_NORMAL, lastShot: -1, last: -1}
		var err error
		if t.host, err = lineage.NewHost(j); err != nil {
			return nil, err
		}
		t.rates = rates.New(j.LearningRate)
		if t.breaker, err = breaker.New(breaker.Settings{Owner: Subsystem, Name: "kasmina", Failures: 3,
			Recovery: 2 * time.Second, Probes: 1, Successes: 1}, t.tripped); err != nil {
			return nil, err
		}
		if t.silence, err = breaker.New(breaker.Settings{Owner: Subsystem, Name: "tamiyo", Failures: 3,
			Recovery: 10 * time.Second, Probes: 1, Successes: 1}, t.tripped); err != nil {
			return nil, err
		}
		row, _ := breaker.Find(Subsystem, "lr_integrity")
		if t.guard, err = breaker.New(row, t.tripped); err != nil {
			return nil, err
		}
		t.fwd.Step, t.fwd.Settled = &t.fref, &t.settled
		t.bwd.Step = &t.fref
		t.stepFact.Step = &trainingv2.StepRef{}
		t.settled.Step = &trainingv2.StepRef{}
		t.box = outbox.New(env, j.Oona, 1024)
		return t, nil
	}
}

func (t *tolaria) tripped(tr breaker.Transition) {
	name := t.breaker
	switch tr.ID {
	case t.silence.Settings().ID():
		name = t.silence
	case t.guard.Settings().ID():
		name = t.guard
	}
	t.env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: name.Settings().Name, From: tr.From.String(), To: tr.To.String()})
	if tr.To == breaker.Open {
		t.conservative("the breaker " + tr.ID + " has opened")
	}
}

// Start implements actor.Actor: it recovers the logs, and then either begins
// the run or a rollback to where it can go on.
func (t *tolaria) Start() error {
	var err error
	if t.log, err = openJournal(t); err != nil {
		return err
	}
	if t.desk, err = command.Open(t.env, t.job, t.box, command.Options{
		Subsystem: Subsystem, Topic: "control.tolaria.commands", Dir: "commands",
		Segment: int64(t.o.Segment), Deadline: t.o.Timeout, Accepts: accepts,
	}); err != nil {
		return err
	}
	if t.store, err = openStore(t); err != nil {
		return err
	}
	t.desk.Renew()
	t.env.Clock.SetTimer("renew", 0, time.Second)
	if err := t.startConfig(); err != nil {
		return err
	}
	if t.o.Watched {
		t.env.Clock.SetTimer("report", 0, reportEvery)
	}
	return t.recover()
}

// Receive implements actor.Actor.
func (t *tolaria) Receive(from actor.ID, m canon.Message) error {
	if t.conf.box.Receive(m) {
		return nil
	}
	switch m := m.(type) {
	case *trainingv2.ForwardReply:
		return t.forwarded(m)
	case *trainingv2.BackwardReply:
		return t.held(m)
	case *operationalv2.AdaptationSignal:
		return t.signalled(m)
	case *trainingv2.BoundaryReply:
		return t.kasminaCrossed(m)
	case *trainingv2.StatePart:
		return t.tamiyoPart(m)
	case *busv2.PublishAck:
		t.box.Acked(m)
	case *busv2.Delivery:
		if c := t.desk.Deliver(m, t.epoch, t.gen); c != nil {
			return t.atOnce()
		}
	case *adaptationv2.CommandConfirm:
		e, _ := t.env.Net.Incoming()
		if c := t.desk.Confirm(m, e, t.epoch, t.gen); c != nil {
			return t.atOnce()
		}
	case *rollbackv2.RollbackVote:
		return t.voted(m)
	case *rollbackv2.RollbackAck:
		return t.acknowledged(m)
	case *rollbackv2.RollbackHeartbeat:
		t.joins(from, m)
	case *trainingv2.RollbackQuery:
		return t.queried(from, m)
	case *trainingv2.CheckpointQuery:
		t.info(from, m)
	case *pruningv2.PruningMask:
		t.ordered(from, m)
	case *operationsv2.ConfigSeal:
		t.seal(m)
	case *telemetryv2.EmergencyNotice:
		return t.emergency(from, m)
	case *localv2.TimerFired:
		return t.timer(m)
	}
	return nil
}

func (t *tolaria) timer(m *localv2.TimerFired) error {
	switch m.Name {
	case outbox.Timer:
		t.box.Tick()
	case "renew":
		t.desk.Renew()
		t.env.Clock.SetTimer("renew", 0, time.Second)
	case "report":
		t.report()
	case "next":
		if m.Arg == t.serial && t.phase == between {
			return t.nextStep()
		}
	case "step":
		if m.Arg == t.serial && (t.phase == forward || t.phase == backward) {
			return t.impatient()
		}
	case "tamiyo":
		if m.Arg == t.serial && t.phase == awaiting {
			return t.tamiyoSilent()
		}
	case "cross":
		if m.Arg == t.serial && t.phase == crossing {
			return t.crossAgain()
		}
	case "pause":
		if m.Arg != t.pause.serial {
			return nil
		}
		if t.phase == paused {
			return t.resume("its time is over")
		}
		if t.rb != nil && t.after == paused && t.pause.open {
			t.unpause("its time is over") // what holds training now is the rollback
		}
	case "freeze":
		if m.Arg == t.pause.serial && t.phase == frozen {
			return t.thaw("its time is over")
		}
	case "rollback":
		if t.rb != nil && m.Arg == t.rb.serial {
			return t.rollbackTick()
		}
	case "retry":
		return t.retry()
	}
	return nil
}

// enter sets the phase. Earlier timers of steps and boundaries are void from
// here.
func (t *tolaria) enter(p phase) {
	t.phase = p
	t.serial++
	t.attempt = 0
	t.began = t.env.Clock.Monotonic()
}

// conservative trips conservative mode: patience grows, training goes on.
func (t *tolaria) conservative(why string) {
	t.inBudget = t.env.Clock.Monotonic()
	if t.mode != eventsv2.RunMode_NORMAL {
		return
	}
	t.mode = eventsv2.RunMode_CONSERVATIVE
	t.env.Facts.Record(&evidencev2.ModeFact{Subsystem: Subsystem, From: "NORMAL", To: "CONSERVATIVE", Reason: why})
}

// healthyFor is how long boundaries must keep their budget before
// conservative mode ends.
const healthyFor = 30 * time.Second

// healthy notes a boundary within its budget.
func (t *tolaria) healthy() {
	if t.mode == eventsv2.RunMode_CONSERVATIVE && t.env.Clock.Monotonic()-t.inBudget >= healthyFor {
		t.mode = eventsv2.RunMode_NORMAL
		t.guard.Reset(t.env.Clock.Monotonic())
		t.env.Facts.Record(&evidencev2.ModeFact{Subsystem: Subsystem, From: "CONSERVATIVE", To: "NORMAL", Reason: "boundaries keep their budget"})
	}
}

// patience is a waiting time under the present mode (digest 0.4).
func (t *tolaria) patience(d time.Duration) time.Duration {
	if t.mode == eventsv2.RunMode_CONSERVATIVE {
		return d + d/2
	}
	return d
}

// announce logs an epoch event if it must survive, and publishes it. STARTED names
// the checkpoint of the state that the epoch begins with, if there is one, and
// ROLLED_BACK the one that was restored.
func (t *tolaria) announce(p eventsv2.EpochPhase, epoch int64) error {
	e := &eventsv2.EpochEvent{
		TrainingRunId: t.job.RunID, Epoch: epoch, Phase: p, GlobalStep: int64(t.host.GlobalStep),
		Timestamp: timestamppb.New(t.env.Clock.Now()), RollbackGeneration: t.gen, Mode: t.mode,
		TrainingLoss: t.trained, ValidationLoss: t.val, ValidationAccuracy: t.accuracy,
		ActiveSeeds: t.activeSeeds(), ConfigRevision: t.conf.revision(),
	}
	if t.o.Watched && p == eventsv2.EpochPhase_COMPLETED {
		e.BoundaryDuration = durations.From(t.env.Clock.Monotonic() - t.assembled)
	}
	if p == eventsv2.EpochPhase_ROLLED_BACK {
		e.CheckpointId = t.saved
	}
	if p == eventsv2.EpochPhase_STARTED {
		at := ref{epoch, 0, t.gen}
		if t.started == at {
			return nil
		}
		t.started = at
		e.CheckpointId, t.saved = t.saved, ""
		if err := t.log.event(e); err != nil {
			return err
		}
	}
	t.publish(e)
	return nil
}

func (t *tolaria) publish(e *eventsv2.EpochEvent) {
	id := fmt.Sprintf("epoch/%s/%d/%d/%s", e.TrainingRunId, e.RollbackGeneration, e.Epoch, e.Phase)
	l := outbox.Letter{ID: id, Topic: "system.events.epoch", Message: e, Ordered: true,
		Options: actor.SendOptions{RunID: t.job.RunID, Epoch: e.Epoch}}
	if e.Phase == eventsv2.EpochPhase_STARTED {
		l.Done = func() { t.log.published(id) }
	}
	t.box.Put(l)
}

func (t *tolaria) activeSeeds() (n uint32) {
	for i := range t.seeds {
		if t.seeds[i].kind != "" {
			n++
		}
	}
	return n
}
