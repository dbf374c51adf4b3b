package kasmina

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/job"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
)

// prepare offers the part of a checkpoint to the participant. The request of
// the same rollback came before it; without one it is asked for again.
func (k *kasmina) prepare(m *trainingv2.RestorePart) {
	if m.RollbackId == "" || k.request.id != m.RollbackId || m.Part == nil {
		return
	}
	o := offer{id: m.RollbackId, gen: m.Generation, epoch: m.Part.Epoch, tier: k.request.tier.String(), ckpt: k.request.ckpt}
	why := ""
	switch k.part.prepare(o) {
	case voteYes:
		bed, err := k.restorable(m)
		if err != nil {
			k.part.abort(o.id)
			why = err.Error()
			break
		}
		k.part.offer.bed = bed
		k.part.offer.root = bytes.Clone(m.Root)
		for _, c := range m.Culprits {
			k.part.offer.culprits = append(k.part.offer.culprits, graft.RefOf(c))
		}
		lease := job.FastPrepare + job.FastCommit + job.FastConfirm
		if k.request.tier == rollbackv2.Tier_FULL {
			lease = job.FullPrepare + job.FullCommit
		}
		k.lease++
		k.env.Clock.SetTimer("lease", k.lease, lease)
		k.declare(evidencev2.RollbackStep_RB_PREPARED, &k.part.offer, "")
	case voteAgain:
	case ackRestored:
		k.acknowledge(rollbackv2.Phase_RESTORED, o.id)
		return
	default:
		why = fmt.Sprintf("generation %d is here already", k.part.gen)
	}
	v := &k.vote
	v.RollbackId, v.Subsystem, v.Vote, v.Reason, v.LocalRoot = o.id, Subsystem, rollbackv2.Vote_YES, why, m.Root
	if why != "" {
		v.Vote = rollbackv2.Vote_NO
	}
	k.env.Net.Send(k.job.Tolaria, v, actor.SendOptions{Key: "vote"})
}

// restorable makes the bed that a part would restore.
func (k *kasmina) restorable(m *trainingv2.RestorePart) (*graft.Bed, error) {
	sum := sha256.Sum256(m.Part.Data)
	if !bytes.Equal(sum[:], m.Part.Sha256) {
		return nil, fmt.Errorf("the part's bytes do not match its digest")
	}
	var s statev2.KasminaState
	if err := s.ParseCanonical(append([]byte(nil), m.Part.Data...)); err != nil {
		return nil, err
	}
	bed := graft.New(k.grafts, k.job.Slots, k.catalogue(), k.job.Rules)
	return bed, bed.Restore(&s)
}

func (k *kasmina) decided(m *rollbackv2.RollbackDecision) error {
	switch m.Decision {
	case rollbackv2.Decision_COMMIT:
		switch k.part.commit(m.RollbackId) {
		case restore:
			k.restore()
			k.acknowledge(rollbackv2.Phase_RESTORED, m.RollbackId)
		case ackRestored:
			k.acknowledge(rollbackv2.Phase_RESTORED, m.RollbackId)
		}
		// A commit of something unknown: its request and part come with the
		// coordinator's next try.
	case rollbackv2.Decision_ABORT:
		was := k.part.standing
		if k.part.abort(m.RollbackId) == ackAborted {
			if was != active && k.part.standing == active {
				k.declare(evidencev2.RollbackStep_RB_ABORTED, &offer{id: m.RollbackId, gen: k.part.gen, epoch: k.crossed}, m.Reason)
				if k.part.gen == 0 {
					k.env.Clock.SetTimer("query", 0, job.HeartbeatEvery)
				}
			}
			k.acknowledge(rollbackv2.Phase_ABORTED, m.RollbackId)
		}
	}
	return nil
}

// restore takes the state that was offered.
func (k *kasmina) restore() {
	k.sketch.forget()
	o := k.part.offer
	data, _ := k.save(o.bed)
	k.env.Clock.Work(gpu.Restore, (len(data)+4095)/4096)
	amnesia := k.part.gen == 0
	old := k.bed
	k.bed, k.locks, k.lockID = o.bed, o.culprits, o.id
	k.crossed, k.lost, k.faulty, k.isolation.leaks, k.ready = -1, false, nil, nil, nil
	// The step under way stays: it is of an older generation, which nobody asks
	// for and no settlement names any more.
	k.part.restored()
	if err := k.register(); err != nil {
		k.lost = true
	}
	if k.pause.on {
		k.resume("a rollback ends every pause")
	}
	for i, s := range k.bed.Slots() {
		if was := old.Slots()[i]; halfway(was) || halfway(s) {
			k.env.Probe.Reached("kasmina/rollback-at-half-alpha")
		}
		if was := old.Slots()[i]; amnesia || was.Stage != s.Stage {
			id := ""
			if s.Kernel != nil {
				id = s.Kernel.ID
			}
			f := &k.stage
			f.Seed, f.From, f.To, f.Cause = s.Ref.Proto(), was.Stage, s.Stage, evidencev2.StageCause_BY_ROLLBACK
			f.CommandId, f.KernelArtifactId, f.Epoch, f.Generation, f.AtBoundary = o.id, id, o.epoch, o.gen, false
			k.env.Facts.Record(f)
		}
	}
	k.declare(evidencev2.RollbackStep_RB_RESTORED, &o, "")
}

// halfway says whether a slot's kernel is on its ramp, with about half of its
// share: between the thresholds of the hysteresis.
func halfway(s *graft.Slot) bool {
	return s.Stage == graft.Grafting && s.Alpha >= 300 && s.Alpha <= 700
}

func (k *kasmina) confirm() {
	if !k.part.last.confirmed {
		k.part.last.confirmed = true
		l := &k.part.last
		k.declare(evidencev2.RollbackStep_RB_CONFIRMED, &offer{id: l.id, gen: l.gen, epoch: l.epoch, root: l.root}, "")
	}
	k.acknowledge(rollbackv2.Phase_CONFIRMED, k.part.last.id)
}

func (k *kasmina) acknowledge(p rollbackv2.Phase, id string) {
	a := &k.ack
	a.RollbackId, a.Subsystem, a.Phase, a.Ok = id, Subsystem, p, true
	a.Epoch, a.Root = k.crossed, nil
	if id == k.part.last.id {
		a.Epoch, a.Root = k.part.last.epoch, k.part.last.root
	}
	k.env.Net.Send(k.job.Tolaria, a, actor.SendOptions{Key: "rollback-ack/" + p.String()})
}

func (k *kasmina) declare(s evidencev2.RollbackStep, o *offer, why string) {
	f := &k.fact
	f.RollbackId, f.Subsystem, f.Step, f.Tier, f.CheckpointId = o.id, Subsystem, s, o.tier, o.ckpt
	f.Epoch, f.Generation, f.Root, f.Reason = o.epoch, o.gen, o.root, why
	k.env.Facts.Record(f)
}
