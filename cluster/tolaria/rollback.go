package tolaria

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/checkpoint"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/durations"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/gpu"
)

// wish is a rollback that should begin as soon as it can.
type wish struct {
	fast       bool
	checkpoint string // empty: the newest good one
	reason     string
	severity   string
	culprits   []*telemetryv2.SeedRef
	patient    bool // because a participant is out of step, which it stays
}

// wish notes that a rollback is wanted. The first reason stands; while one
// that was aborted waits for its next try, a participant that is still out of
// step is no reason to hurry.
func (t *tolaria) wish(w *wish) {
	if t.want != nil || t.lastWish != nil && w.patient {
		return
	}
	t.want, t.lastWish = w, nil
}

// rollback is the one that is under way.
type rollback struct {
	id       string
	tier     rollbackv2.Tier
	gen      uint32 // that begins with the restore
	ckpt     *checkpoint.Checkpoint
	reason   string
	severity string
	parties  []*party // in the order of restoring; Tolaria itself is the last of the core
	aux      []*party // auxiliaries, which restore after her
	stage    stage
	turn     int // of parties, while committing
	escalated,
	restored, // Tolaria itself
	alone bool // without the auxiliaries that there are
	started time.Duration
	since   time.Duration // of the stage, or of the turn
	beat    time.Duration
	beats   uint32
	serial  int64
	attempt uint32
}

// stage of the coordinator: IDLE is no rollback.
type stage uint8

const (
	preparing  stage = iota + 1 // votes are gathered; nothing is decided
	committing                  // COMMIT is in the journal; one after the other restores
	following                   // the core has restored; one auxiliary after the other does
	confirming                  // all have restored, and are asked whether it is so
)

// party is one participant.
type party struct {
	name                     string
	id                       actor.ID
	yes, restored, confirmed bool
	out                      bool // silent for too long after the decision
}

// limitAfter is when a rollback that is decided goes on without the silent
// (row L1: it ends within 30 s).
const limitAfter = 25 * time.Second

// ends are the steps of the journal that end a rollback.
var ends = map[string]evidencev2.RollbackStep{
	stepDone:    evidencev2.RollbackStep_RB_DONE,
	stepAborted: evidencev2.RollbackStep_RB_ABORTED,
	stepFailed:  evidencev2.RollbackStep_RB_FAILED,
}

// recover begins a life: with the run's first epoch, or with a rollback.
func (t *tolaria) recover() error {
	if end := t.log.last; end != nil && t.log.open == nil {
		// The life before may have died of the very write that ended it, which
		// nobody but the log has heard of (a short write that was long enough).
		t.env.Facts.Record(&evidencev2.RollbackFact{RollbackId: end.RollbackId, Subsystem: Subsystem, Step: ends[end.Step],
			Tier: end.Tier.String(), CheckpointId: end.CheckpointId, Epoch: end.Epoch, Generation: end.Generation, Root: end.Root,
			Reason: "found in the log: " + end.Reason})
	}
	if open := t.log.open; open != nil {
		if open.Step == stepCommitted {
			return t.resumeCommitted(open)
		}
		// Presumed abort: there is no COMMIT, so there is no decision.
		if err := t.log.step(&statev2.CoordinatorRecord{RollbackId: open.RollbackId, Step: stepAborted, Tier: open.Tier,
			CheckpointId: open.CheckpointId, Epoch: open.Epoch, Generation: t.gen, Reason: "the coordinator died"}); err != nil {
			return err
		}
		t.env.Facts.Record(&evidencev2.RollbackFact{RollbackId: open.RollbackId, Subsystem: Subsystem,
			Step: evidencev2.RollbackStep_RB_ABORTED, Tier: open.Tier.String(), CheckpointId: open.CheckpointId,
			Epoch: open.Epoch, Generation: t.gen, Root: open.Root, Reason: "the coordinator died"})
		for _, p := range t.parties() {
			t.decide(p, open.RollbackId, rollbackv2.Decision_ABORT, "the coordinator died")
		}
	}
	if !t.store.has("") {
		if t.log.began || t.store.lost != nil {
			return t.stop("no checkpoint can be restored")
		}
		t.next = 0
		t.tellRates(0, false)
		return t.cross()
	}
	t.phase = recovering
	t.wish(&wish{reason: "tolaria has restarted", severity: "MAJOR"})
	return t.roll(recovering)
}

// stop ends training for good: there is nothing sound to go on with. What a disk
// that hung kept from being read is not lost: the next life reads it again.
func (t *tolaria) stop(why string) error {
	if t.store.hung != nil {
		return fmt.Errorf("tolaria: %s: %w", why, t.store.hung)
	}
	t.enter(broken)
	t.env.Facts.Record(&evidencev2.ModeFact{Subsystem: Subsystem, From: t.mode.String(), To: "STOPPED", Reason: why})
	t.mode = eventsv2.RunMode_FROZEN
	return nil
}

func (t *tolaria) parties() []*party {
	return []*party{{name: "tamiyo", id: t.job.Tamiyo}, {name: "kasmina", id: t.job.Kasmina}}
}

// roll begins the rollback that is wanted. after is where training stands, for
// the case that it is aborted.
func (t *tolaria) roll(after phase) error {
	w := t.want
	t.want = nil
	t.after = after
	c := t.store.cached(w.checkpoint)
	tier := rollbackv2.Tier_FAST
	if !w.fast || c == nil {
		tier = rollbackv2.Tier_FULL
		c = t.store.load(w.checkpoint)
	}
	if c == nil {
		if t.after == recovering {
			return t.stop("no checkpoint can be restored")
		}
		return t.goOn()
	}
	for _, s := range w.culprits {
		t.lock(s)
	}
	t.log.count++
	rb := &rollback{id: fmt.Sprintf("rollback-%d-%d-%d", t.gen+1, t.env.Incarnation, t.log.count), tier: tier, gen: t.gen + 1, ckpt: c,
		reason: w.reason, severity: w.severity}
	for _, p := range t.parties() {
		// A participant that has been silent for all of them is left out. It
		// has the older generation then, and restores before it acts again.
		if t.tries < excludeAfter || !t.silentParty(p.name) {
			rb.parties = append(rb.parties, p)
		}
	}
	if tier == rollbackv2.Tier_FULL {
		rb.aux = t.auxiliaries()
	}
	if err := t.log.step(t.record(rb, stepStarted)); err != nil {
		if err == errFull {
			t.want = w
			return t.postpone()
		}
		return err
	}
	t.rb = rb
	t.enter(rolling)
	now := t.env.Clock.Monotonic()
	rb.started, rb.since, rb.beat = now, now, now
	rb.stage = preparing
	t.declare(evidencev2.RollbackStep_RB_STARTED, w.reason)
	t.missing = t.missing[:0]
	if len(rb.parties) == 0 {
		return t.commit()
	}
	return t.push()
}

// excludeAfter is how many tries everybody is waited for: half a minute in
// all, so that only a participant that is gone is left out.
const excludeAfter = 5

// lock remembers the culprit of a rollback for all later ones: a checkpoint
// from before knows nothing of it.
func (t *tolaria) lock(s *telemetryv2.SeedRef) {
	for _, l := range t.locked {
		if l.LayerId == s.LayerId && l.SeedId == s.SeedId {
			return
		}
	}
	t.locked = append(t.locked, s)
}

func (t *tolaria) silentParty(name string) bool {
	for _, m := range t.lastMissing {
		if m == name {
			return true
		}
	}
	return false
}

func (t *tolaria) record(rb *rollback, step string) *statev2.CoordinatorRecord {
	r := &statev2.CoordinatorRecord{RollbackId: rb.id, Step: step, Tier: rb.tier, CheckpointId: rb.ckpt.ID, Epoch: rb.ckpt.Epoch,
		Generation: rb.gen, Root: rb.ckpt.Root, Reason: rb.reason, Culprits: t.locked}
	for _, p := range rb.parties {
		r.Participants = append(r.Participants, p.name)
	}
	return r
}

func (t *tolaria) declare(s evidencev2.RollbackStep, why string) {
	rb := t.rb
	t.env.Facts.Record(&evidencev2.RollbackFact{RollbackId: rb.id, Subsystem: Subsystem, Step: s, Tier: rb.tier.String(),
		CheckpointId: rb.ckpt.ID, Epoch: rb.ckpt.Epoch, Generation: rb.gen, Root: rb.ckpt.Root, Reason: why})
}

// resumeCommitted goes on with a rollback that was decided in a former life.
func (t *tolaria) resumeCommitted(open *statev2.CoordinatorRecord) error {
	c := t.store.load(open.CheckpointId)
	if c == nil || c.ID != open.CheckpointId {
		// What was decided cannot be done any more; another rollback overtakes
		// it, with a newer generation.
		if err := t.log.step(&statev2.CoordinatorRecord{RollbackId: open.RollbackId, Step: stepFailed, Tier: open.Tier,
			CheckpointId: open.CheckpointId, Epoch: open.Epoch, Generation: open.Generation, Reason: "its checkpoint is refused"}); err != nil {
			return err
		}
		t.env.Facts.Record(&evidencev2.RollbackFact{RollbackId: open.RollbackId, Subsystem: Subsystem, Step: evidencev2.RollbackStep_RB_FAILED,
			Tier: open.Tier.String(), CheckpointId: open.CheckpointId, Epoch: open.Epoch, Generation: open.Generation, Reason: "its checkpoint is refused"})
		if c == nil {
			return t.stop("no checkpoint can be restored")
		}
		t.phase = recovering
		t.wish(&wish{reason: "the checkpoint of " + open.RollbackId + " is refused", severity: "MAJOR"})
		return t.roll(recovering)
	}
	now := t.env.Clock.Monotonic()
	t.rb = &rollback{id: open.RollbackId, tier: rollbackv2.Tier_FULL, gen: open.Generation, ckpt: c, reason: open.Reason,
		stage: committing, escalated: true, started: now, since: now, beat: now}
	for _, p := range t.parties() {
		for _, name := range open.Participants {
			if name == p.name {
				t.rb.parties = append(t.rb.parties, p)
			}
		}
	}
	t.after = recovering
	t.enter(rolling)
	return t.push()
}

// goOn returns to where training stood before a rollback that was aborted.
func (t *tolaria) goOn() error {
	switch t.after {
	case crossing:
		return t.cross()
	case paused, frozen:
		// What held training before holds it for as long as was granted. One whose
		// time ran out in the meantime is over.
		t.phase = t.after
		t.pause.serial++
		t.env.Clock.SetTimer(t.wakeTimer(), t.pause.serial, max(0, t.pause.until-t.env.Clock.Monotonic()))
		return nil
	case recovering:
		t.enter(recovering)
		return nil
	}
	return t.soon()
}

// postpone begins a rollback again later.
func (t *tolaria) postpone() error {
	t.tries++
	t.env.Clock.SetTimer("retry", 0, backoff(t.tries))
	t.lastWish, t.want = t.want, nil
	return t.goOn()
}

// retry wants the rollback that was aborted again.
func (t *tolaria) retry() error {
	if t.lastWish == nil || t.rb != nil {
		return nil
	}
	w := t.lastWish
	t.lastWish = nil
	t.wish(w)
	if t.phase == recovering {
		return t.roll(recovering)
	}
	if t.phase == paused || t.phase == frozen {
		return t.roll(t.phase)
	}
	return nil // at the next step
}

// commit decides, restores nothing yet.
func (t *tolaria) commit() error {
	rb := t.rb
	t.env.Probe.Reached("tolaria/before-commit")
	if err := t.log.step(t.record(rb, stepCommitted)); err != nil {
		return err
	}
	switch {
	case rb.alone:
		t.env.Probe.Reached("tolaria/without-auxiliaries")
	case len(rb.aux) > 0:
		t.env.Probe.Reached("tolaria/auxiliaries")
	}
	rb.stage, rb.since, rb.attempt = committing, t.env.Clock.Monotonic(), 0
	t.declare(evidencev2.RollbackStep_RB_COMMITTED, "")
	return t.push()
}

// abort ends a rollback that was not decided.
func (t *tolaria) abort(why string) error {
	rb := t.rb
	rec := t.record(rb, stepAborted)
	rec.Generation, rec.Reason = t.gen, why
	if err := t.log.step(rec); err != nil {
		return err
	}
	t.declare(evidencev2.RollbackStep_RB_ABORTED, why)
	for _, p := range rb.all() {
		t.decide(p, rb.id, rollbackv2.Decision_ABORT, why)
	}
	t.outcome(rollbackv2.Result_RESULT_ABORTED, why)
	t.rb = nil
	// The next try is one of the full tier: who is slow needs its time limits.
	t.want = &wish{reason: rb.reason, severity: rb.severity}
	t.lastMissing = append(t.lastMissing[:0], t.missing...)
	return t.postpone()
}

// own restores Tolaria itself.
func (t *tolaria) own() error {
	rb := t.rb
	var m statev2.HostState
	host := rb.ckpt.Part("host")
	t.env.Clock.Work(gpu.Restore, (len(host)+4095)/4096)
	if err := m.ParseCanonical(append([]byte(nil), host...)); err != nil {
		return fmt.Errorf("tolaria: checkpoint %s: %w", rb.ckpt.ID, err)
	}
	if err := t.host.Restore(&m); err != nil {
		return fmt.Errorf("tolaria: checkpoint %s: %w", rb.ckpt.ID, err)
	}
	t.rates.Restore(&m)
	t.val, t.best = m.ValidationLoss, m.BestValidationLoss
	if m.CheckpointEvery > 0 {
		t.every = int(m.CheckpointEvery)
	}
	t.gen = rb.gen
	t.next, t.epoch, t.step = m.Epoch, m.Epoch-1, 0
	t.lastShot = m.Epoch
	t.shotNow, t.saved = false, rb.ckpt.ID
	t.losses, t.bestAcc, t.accuracy, t.trained = trend{}, 0, 0, 0
	t.joined, t.member, t.last = false, false, -1
	t.shot, t.decided, t.newest = nil, true, nil
	t.settled.FullSteps, t.settled.LastFull = t.host.FullSteps, nil
	ref{m.Epoch, 0, t.gen}.put(t.settled.Step)
	t.settled.Effect = 0
	t.breaker.Reset(t.env.Clock.Monotonic())
	rb.restored = true
	t.declare(evidencev2.RollbackStep_RB_RESTORED, "")
	t.tellRates(m.Epoch, true)
	t.unmasked()
	rb.stage, rb.turn, rb.since, rb.attempt = following, 0, t.env.Clock.Monotonic(), 0
	return t.push()
}

// done ends the rollback: training goes on from the checkpoint.
func (t *tolaria) done() error {
	rb := t.rb
	t.declare(evidencev2.RollbackStep_RB_CONFIRMED, "")
	// The events below tell of the boundary, and may do so in a second life: it
	// takes no new revision.
	if err := t.settleRevision(false); err != nil {
		return err
	}
	// The event is durable before the end is: if Tolaria died between the two
	// the other way round, the next rollback would leave a generation out of
	// the epochs on the bus (row T6).
	if err := t.announce(eventsv2.EpochPhase_ROLLED_BACK, t.next); err != nil {
		return err
	}
	if err := t.announce(eventsv2.EpochPhase_STARTED, t.next); err != nil {
		return err
	}
	if err := t.log.step(t.record(rb, stepDone)); err != nil {
		return err
	}
	t.declare(evidencev2.RollbackStep_RB_DONE, rb.reason)
	t.outcome(rollbackv2.Result_RESULT_DONE, rb.reason)
	was := t.after
	t.rb, t.want, t.lastWish, t.tries = nil, nil, nil, 0
	t.lastMissing = t.lastMissing[:0]
	switch was {
	case paused:
		// Not so if its time was over before. A resume that came while the
		// rollback was under way has withdrawn the wish, and not yet the pause.
		if t.pause.open {
			t.unpause("a rollback ends every pause")
		}
	case frozen:
		t.melt("a rollback ends the freeze")
	}
	t.pause.wanted, t.freeze = nil, ""
	return t.cross()
}

// outcome tells everybody how it ended.
func (t *tolaria) outcome(r rollbackv2.Result, why string) {
	rb := t.rb
	t.ended = &rollbackv2.RollbackOutcome{RollbackId: rb.id, Result: r, Generation: t.gen,
		Duration: durations.From(t.env.Clock.Monotonic() - rb.started), Reason: why}
	for _, p := range rb.all() {
		t.env.Net.Send(p.id, t.ended, actor.SendOptions{Key: "rollback-outcome"})
	}
}

func (t *tolaria) request() *rollbackv2.RollbackRequest {
	rb := t.rb
	m := &rollbackv2.RollbackRequest{RollbackId: rb.id, Initiator: Subsystem, Tier: rb.tier, CheckpointId: rb.ckpt.ID,
		CheckpointEpoch: rb.ckpt.Epoch, CheckpointRoot: rb.ckpt.Root, Reason: rb.reason, Severity: rb.severity,
		Generation: rb.gen, RequestedAt: timestamppb.New(t.env.Clock.Now()), RecoveryDeadline: durations.From(job.RollbackLimit)}
	for _, p := range rb.all() {
		m.AffectedSubsystems = append(m.AffectedSubsystems, p.name)
	}
	m.AffectedSubsystems = append(m.AffectedSubsystems, Subsystem)
	slices.Sort(m.AffectedSubsystems)
	return m
}
