package kasmina

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/outbox"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
)

// accepts refuses commands that are not for Kasmina.
func accepts(c *adaptationv2.AdaptationCommand) error {
	switch c.Command.(type) {
	case *adaptationv2.AdaptationCommand_SeedLifecycle, *adaptationv2.AdaptationCommand_Pause:
		return nil
	case *adaptationv2.AdaptationCommand_SeedActivation:
		// Seed 3 of which layer? (digest II.1 #48)
		return fmt.Errorf("seed_activation names seeds without their layers; use seed_lifecycle")
	}
	return fmt.Errorf("it is not for Kasmina")
}

// crossing is a boundary that Kasmina is ready to cross: everything is
// computed, on a copy, and nothing has happened yet. Whether the epoch runs
// with Kasmina is decided by Tolaria, which may have stopped waiting.
type crossing struct {
	epoch    int64
	revision uint64 // of the configuration, from there on
	bed      *graft.Bed
	outcomes []outcome
	moves    []move
}

// outcome is what a due command comes to.
type outcome struct {
	c       *command.Command
	err     error
	effect  string
	trouble string // why its kernel was not loaded
	ref     graft.Ref
}

type move struct {
	graft.Change
	cause evidencev2.StageCause
}

// cross answers a request to cross an epoch boundary.
func (k *kasmina) cross(from actor.ID, m *trainingv2.BoundaryRequest) error {
	k.device.Tend() // between epochs it holds nothing there
	status := k.mayCross(m)
	if status == trainingv2.ReplyStatus_OK && !k.conf.Ready(m.ConfigRevision) {
		return nil // it is asked again, and stays out of the epoch if that does not help
	}
	if status == trainingv2.ReplyStatus_OK && !(k.ready != nil && k.ready.epoch == m.Epoch) && m.Epoch != k.crossed {
		if k.ready != nil && m.Joined == k.ready.epoch+1 {
			if err := k.enter(); err != nil {
				return err
			}
		}
		k.ready = nil
		if !settle(k.bed, &k.step, m.Settled) {
			k.lost = true
			status = trainingv2.ReplyStatus_OUT_OF_SYNC
		} else if err := k.prepareCrossing(m); err != nil {
			return err
		}
	}
	out := &k.reply
	if status != trainingv2.ReplyStatus_OK {
		out = &trainingv2.BoundaryReply{Epoch: m.Epoch, Generation: m.Generation, Status: status}
	}
	k.env.Net.Send(from, out, actor.SendOptions{Key: fmt.Sprint("boundary/", m.Epoch), Epoch: m.Epoch})
	return nil
}

func (k *kasmina) mayCross(m *trainingv2.BoundaryRequest) trainingv2.ReplyStatus {
	switch {
	case k.part.standing != active:
		return trainingv2.ReplyStatus_FENCED
	case m.Generation < k.part.gen:
		return trainingv2.ReplyStatus_STALE
	case k.lost:
		return trainingv2.ReplyStatus_OUT_OF_SYNC
	case k.part.gen == 0:
		// The run begins, unless a former life has been in it: it may have
		// obeyed commands that this one knows only as obeyed.
		if m.Epoch == 0 && m.Generation == 1 && m.Settled.GetFullSteps() == 0 && !k.desk.Obeyed() {
			k.part.gen = m.Generation
			return trainingv2.ReplyStatus_OK
		}
		return trainingv2.ReplyStatus_OUT_OF_SYNC
	case m.Generation > k.part.gen:
		return trainingv2.ReplyStatus_OUT_OF_SYNC
	case m.Epoch < k.crossed || k.ready != nil && m.Epoch < k.ready.epoch:
		return trainingv2.ReplyStatus_STALE
	}
	return trainingv2.ReplyStatus_OK
}

// prepareCrossing makes ready to cross into an epoch. The state that a
// checkpoint holds, and whose digest is declared, is the one before.
func (k *kasmina) prepareCrossing(m *trainingv2.BoundaryRequest) error {
	var state statev2.KasminaState
	k.bed.Save(&state)
	data := state.AppendCanonical(nil)
	sum := sha256.Sum256(data)
	k.reply = trainingv2.BoundaryReply{Epoch: m.Epoch, Generation: m.Generation,
		Status: trainingv2.ReplyStatus_OK, StateDigest: sum[:]}
	if m.CheckpointId != "" {
		k.env.Clock.Work(gpu.Snapshot, (len(data)+4095)/4096)
		k.reply.Part = &trainingv2.StatePart{CheckpointId: m.CheckpointId, Subsystem: Subsystem,
			Epoch: m.Epoch, Generation: m.Generation, Data: data, Sha256: sum[:]}
	}
	x := &crossing{epoch: m.Epoch, revision: m.ConfigRevision, bed: graft.New(k.grafts, k.job.Slots, k.catalogue(), k.job.Rules)}
	if err := x.bed.Restore(&state); err != nil {
		return fmt.Errorf("kasmina: its own state: %w", err)
	}
	k.losses = m.ValidationLoss
	k.boundary.Reset()
	x.bed.Cross(m.Epoch, m.ValidationLoss)
	for _, r := range k.locks {
		if c, ok := x.bed.Lock(r, k.lockID); ok {
			x.moves = append(x.moves, move{c, evidencev2.StageCause_BY_ROLLBACK})
			k.noted(k.lockID, r, "LOCK", c.KernelID)
		}
	}
	for _, r := range k.isolation.leaks {
		if x.bed.Slot(r).Kernel != nil {
			k.noted("", r, "VIOLATION", x.bed.Slot(r).Kernel.ID)
			x.bed.Violate(r)
		}
	}
	for _, r := range k.faults() {
		if c, ok := x.bed.Quarantine(r, ""); ok {
			x.moves = append(x.moves, move{c, evidencev2.StageCause_BY_QUARANTINE})
			k.noted("", r, "QUARANTINE", c.KernelID)
		}
	}
	present := func(s string) bool {
		for _, p := range m.Present {
			if p == s {
				return true
			}
		}
		return s == Subsystem
	}
	only := k.loaded
	if k.pause.on {
		only = isResume
	}
	for _, c := range k.desk.Due(m.Epoch, k.part.gen, present, only) {
		o := outcome{c: c}
		if arm := c.M.GetSeedLifecycle(); arm != nil {
			k.lifecycle(x, &o, arm)
		}
		x.outcomes = append(x.outcomes, o)
	}
	k.ready = x
	for _, s := range x.bed.Slots() {
		k.reply.Seeds = append(k.reply.Seeds, use(s))
	}
	k.boundary.Epoch, k.boundary.Generation = m.Epoch, m.Generation
	k.boundary.StateDigest, k.boundary.ValidationLoss = sum[:], m.ValidationLoss
	k.env.Facts.Record(&k.boundary)
	return nil
}

// enter crosses the boundary that Kasmina was ready for: the epoch runs with
// it.
func (k *kasmina) enter() error {
	x := k.ready
	k.ready = nil
	k.bed, k.crossed = x.bed, x.epoch
	k.conf.Hear(k.part.gen, x.epoch, x.revision)
	k.locks, k.faulty, k.isolation.leaks = nil, nil, nil
	if err := k.register(); err != nil {
		return err
	}
	for _, m := range x.moves {
		k.moved(m.Change, m.cause)
	}
	for _, o := range x.outcomes {
		switch {
		case !o.c.Pending() || o.c.M.GetPause() != nil:
		case o.err != nil:
			k.desk.Settle(o.c, adaptationv2.CommandStatus_REJECTED, x.epoch, k.part.gen, "", o.err.Error())
		default:
			if o.trouble != "" {
				k.report(k.bed.Slot(o.ref), o.trouble, 0)
				k.failed(germination(o.c.M), true, o.trouble)
			}
			k.desk.Settle(o.c, adaptationv2.CommandStatus_APPLIED, x.epoch, k.part.gen, o.effect, o.trouble)
		}
	}
	if err := k.flush(); err != nil {
		return err
	}
	// A pause begins when everything else that is due was carried out, and is
	// told: in a pause nothing is.
	for _, o := range x.outcomes {
		if o.c.Pending() && o.c.M.GetPause() != nil {
			k.pauseCommand(o.c, o.c.M.GetPause(), x.epoch)
		}
	}
	if err := k.flush(); err != nil {
		return err
	}
	for _, s := range k.bed.Slots() {
		k.report(s, "", 3)
		if k.env.Probe.Sometimes("kasmina/repeat-report") {
			k.report(s, "", 3)
		}
	}
	return nil
}

// flush makes settlements durable before anybody is told. If the log fails,
// the commands have had their effect in memory only: die, and be rolled back,
// with them due again.
func (k *kasmina) flush() error {
	if err := k.desk.Flush(); err != nil {
		return fmt.Errorf("kasmina: command log: %w", err)
	}
	return nil
}

// save encodes a bed's state.
func (k *kasmina) save(b *graft.Bed) ([]byte, [32]byte) {
	var m statev2.KasminaState
	b.Save(&m)
	data := m.AppendCanonical(nil)
	return data, sha256.Sum256(data)
}

// lifecycle makes of one command what it comes to.
func (k *kasmina) lifecycle(x *crossing, o *outcome, m *adaptationv2.SeedLifecycleCommand) {
	o.ref = graft.RefOf(m.Seed)
	missing := k.shelve(o.c.M)
	if id := germination(o.c.M); k.evicted.bad[id] {
		missing = "it has failed at work, and is not used again"
	}
	defer k.loads.shelf.Drop(m.KernelArtifactId)
	changes, err := x.bed.Apply(graft.Command{ID: o.c.M.CommandId, Ref: o.ref, Op: m.Operation,
		KernelID: m.KernelArtifactId, WantStage: m.ExpectedStage, Trouble: missing})
	if err != nil {
		o.err = err
		return
	}
	var effect strings.Builder
	cause, op := evidencev2.StageCause_BY_COMMAND, m.Operation.String()
	for i, ch := range changes {
		if ch.To == graft.Germinated {
			k.env.Clock.Work(gpu.KernelLoad, 1)
		}
		if ch.From == graft.Germinated && ch.To == graft.Culled && m.Operation == adaptationv2.SeedOperation_GERMINATE {
			cause = evidencev2.StageCause_BY_LOAD_FAILURE
			o.trouble = fmt.Sprintf("there is no validated kernel %q", m.KernelArtifactId)
			if missing != "" {
				// A replay cannot know what the library said, nor what failed before.
				op = "LOAD_FAILED"
			}
			if missing != "" {
				o.trouble += ": " + missing
			}
		}
		x.moves = append(x.moves, move{ch, cause})
		if i > 0 {
			effect.WriteString(", ")
		}
		fmt.Fprintf(&effect, "%v %v→%v", ch.Ref, ch.From, ch.To)
	}
	o.effect = effect.String()
	// Each adaptation of a lineage names its kernel, also where the command need
	// not (I10).
	kernel := m.KernelArtifactId
	if kernel == "" && len(changes) > 0 {
		kernel = changes[len(changes)-1].KernelID
	}
	k.noted(o.c.M.CommandId, o.ref, op, kernel)
}

// noted puts a change that a replay must make into the boundary's fact.
func (k *kasmina) noted(id string, r graft.Ref, op, kernel string) {
	k.boundary.Commands = append(k.boundary.Commands, &evidencev2.AppliedCommand{
		CommandId: id, Seed: r.Proto(), Operation: op, KernelArtifactId: kernel})
}

// moved declares a change of stage.
func (k *kasmina) moved(c graft.Change, cause evidencev2.StageCause) {
	f := &k.stage
	f.Seed, f.From, f.To, f.Cause = c.Ref.Proto(), c.From, c.To, cause
	f.CommandId, f.KernelArtifactId = c.CommandID, c.KernelID
	f.Epoch, f.Generation, f.AtBoundary = k.crossed, k.part.gen, true
	k.env.Facts.Record(f)
}

// report publishes what there is to know of a seed. tries 0 is a report that
// must arrive.
func (k *kasmina) report(s *graft.Slot, trouble string, tries uint32) {
	k.count++
	health := systemstatev2.SeedHealth_HEALTHY
	if trouble != "" {
		health = systemstatev2.SeedHealth_CRITICAL
	}
	m := &telemetryv2.SeedTelemetry{
		TelemetryId: fmt.Sprint("seed/", s.Ref, "/", k.env.Incarnation, "/", k.count),
		Seed:        s.Ref.Proto(), Epoch: k.crossed, GlobalStep: int64(k.bed.FullSteps), Stage: s.Stage,
		ReadyForTransition: s.Ready, AlphaMilli: s.Alpha, LocalLoss: k.losses,
		Health:              &systemstatev2.SeedHealth{Status: health},
		IsolationViolations: s.Violations, EpochsSinceGraft: uint32(min(max(s.EpochsInStage, 0), 1<<31)), LastError: trouble,
		RollbackGeneration: k.part.gen,
	}
	if s.Kernel != nil {
		m.ActiveKernelId = s.Kernel.ID
	}
	if s.Failing {
		m.Health.Status, m.LastGate = systemstatev2.SeedHealth_DEGRADED, "patience"
	}
	k.box.Put(outbox.Letter{ID: m.TelemetryId, Topic: "telemetry.seed.health", Message: m, Tries: tries, Yields: true,
		Options: actor.SendOptions{RunID: k.job.RunID, Epoch: k.crossed, Priority: envelopev2.Priority_BACKGROUND}})
}
