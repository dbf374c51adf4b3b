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

// cross answers a request to cross an epoch boundary.
func (k *kasmina) cross(from actor.ID, m *trainingv2.BoundaryRequest) error {
	status := k.mayCross(m)
	if status == trainingv2.ReplyStatus_OK && m.Epoch != k.crossed {
		if !settle(k.bed, &k.step, m.Settled) {
			k.lost = true
			status = trainingv2.ReplyStatus_OUT_OF_SYNC
		} else if err := k.enter(m); err != nil {
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
		if m.Epoch == 0 && m.Generation == 1 && m.Settled.GetFullSteps() == 0 && k.env.Incarnation == 1 {
			k.part.gen = m.Generation
			return trainingv2.ReplyStatus_OK
		}
		return trainingv2.ReplyStatus_OUT_OF_SYNC
	case m.Generation > k.part.gen:
		return trainingv2.ReplyStatus_OUT_OF_SYNC
	case m.Epoch < k.crossed:
		return trainingv2.ReplyStatus_STALE
	}
	return trainingv2.ReplyStatus_OK
}

// enter crosses into an epoch. The state that a checkpoint holds, and whose
// digest is declared, is the one before.
func (k *kasmina) enter(m *trainingv2.BoundaryRequest) error {
	k.boundary.Reset()
	data, sum := k.save(k.bed)
	k.digest = sum
	k.reply = trainingv2.BoundaryReply{Epoch: m.Epoch, Generation: m.Generation,
		Status: trainingv2.ReplyStatus_OK, StateDigest: sum[:]}
	if m.CheckpointId != "" {
		k.env.Clock.Work(gpu.Snapshot, (len(data)+4095)/4096)
		k.reply.Part = &trainingv2.StatePart{CheckpointId: m.CheckpointId, Subsystem: Subsystem,
			Epoch: m.Epoch, Generation: m.Generation, Data: data, Sha256: sum[:]}
	}
	k.bed.Cross(m.Epoch, m.ValidationLoss)
	k.crossed, k.losses = m.Epoch, m.ValidationLoss
	for _, r := range k.locks {
		if c, ok := k.bed.Lock(r, k.lockID); ok {
			k.moved(c, evidencev2.StageCause_BY_ROLLBACK)
			k.noted(k.lockID, r, "LOCK", c.KernelID)
		}
	}
	k.locks = nil
	for _, r := range k.faulty {
		if c, ok := k.bed.Quarantine(r, ""); ok {
			k.moved(c, evidencev2.StageCause_BY_QUARANTINE)
			k.noted("", r, "QUARANTINE", c.KernelID)
		}
	}
	k.faulty = nil
	present := func(s string) bool {
		for _, p := range m.Present {
			if p == s {
				return true
			}
		}
		return s == Subsystem
	}
	var only func(*adaptationv2.AdaptationCommand) bool
	if k.pause.on {
		only = isResume
	}
	for _, c := range k.desk.Due(m.Epoch, k.part.gen, present, only) {
		k.obey(c)
	}
	// Durable before anybody is told. If the log fails here, the commands have
	// had their effect in memory only: die, and be rolled back, with them due
	// again.
	if err := k.desk.Flush(); err != nil {
		return fmt.Errorf("kasmina: command log: %w", err)
	}
	k.boundary.Epoch, k.boundary.Generation = m.Epoch, m.Generation
	k.boundary.StateDigest, k.boundary.ValidationLoss = k.digest[:], m.ValidationLoss
	k.env.Facts.Record(&k.boundary)
	for _, s := range k.bed.Slots() {
		k.reply.Seeds = append(k.reply.Seeds, use(s))
		k.report(s, "", 3)
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

// obey carries out one command at a boundary.
func (k *kasmina) obey(c *command.Command) {
	switch arm := c.M.Command.(type) {
	case *adaptationv2.AdaptationCommand_Pause:
		k.pauseCommand(c, arm.Pause, k.crossed)
	case *adaptationv2.AdaptationCommand_SeedLifecycle:
		k.lifecycle(c, arm.SeedLifecycle)
	}
}

func (k *kasmina) lifecycle(c *command.Command, m *adaptationv2.SeedLifecycleCommand) {
	changes, err := k.bed.Apply(graft.Command{ID: c.M.CommandId, Ref: graft.RefOf(m.Seed), Op: m.Operation,
		KernelID: m.KernelArtifactId, WantStage: m.ExpectedStage})
	if err != nil {
		k.desk.Settle(c, adaptationv2.CommandStatus_REJECTED, k.crossed, k.part.gen, "", err.Error())
		return
	}
	var effect strings.Builder
	cause := evidencev2.StageCause_BY_COMMAND
	for i, ch := range changes {
		if ch.To == graft.Germinated {
			k.env.Clock.Work(gpu.KernelLoad, 1)
		}
		if ch.From == graft.Germinated && ch.To == graft.Culled && m.Operation == adaptationv2.SeedOperation_GERMINATE {
			cause = evidencev2.StageCause_BY_LOAD_FAILURE
			k.report(k.bed.Slot(ch.Ref), fmt.Sprintf("there is no validated kernel %q", m.KernelArtifactId), 0)
		}
		k.moved(ch, cause)
		if i > 0 {
			effect.WriteString(", ")
		}
		fmt.Fprintf(&effect, "%v %v→%v", ch.Ref, ch.From, ch.To)
	}
	k.noted(c.M.CommandId, graft.RefOf(m.Seed), m.Operation.String(), m.KernelArtifactId)
	if cause == evidencev2.StageCause_BY_LOAD_FAILURE {
		k.desk.Settle(c, adaptationv2.CommandStatus_APPLIED, k.crossed, k.part.gen, effect.String(), "the kernel could not be loaded")
		return
	}
	k.desk.Settle(c, adaptationv2.CommandStatus_APPLIED, k.crossed, k.part.gen, effect.String(), "")
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
	}
	if s.Kernel != nil {
		m.ActiveKernelId = s.Kernel.ID
	}
	if s.Failing {
		m.Health.Status, m.LastGate = systemstatev2.SeedHealth_DEGRADED, "patience"
	}
	k.box.Put(outbox.Letter{ID: m.TelemetryId, Topic: "telemetry.seed.health", Message: m, Tries: tries,
		Options: actor.SendOptions{RunID: k.job.RunID, Epoch: k.crossed}})
}
