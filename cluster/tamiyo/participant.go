package tamiyo

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
)

// standing is where a participant stands in a rollback:
//
//	active → prepared → active   by COMMIT (restored) or ABORT
//	prepared → fenced            when the lease ends
//	fenced → active              by the decision only
type standing uint8

const (
	active standing = iota
	prepared
	fenced
)

// offer is what a rollback would make of Tamiyo.
type offer struct {
	id, tier, checkpoint string
	generation           uint32
	epoch                int64
	root                 []byte
	state                *statev2.TamiyoState
	size                 int
}

type participant struct {
	standing   standing
	offer      offer
	last       offer  // restored last
	backs      []back // where the run went back to, the newest last
	confirmed  bool
	generation uint32 // 0: without memory of the run
	lease      int64
	asked      struct {
		id, checkpoint string
		tier           rollbackv2.Tier
	}
}

// back is a rollback as far as it says what never happened.
type back struct {
	generation uint32 // that began with it
	epoch      int64
}

// older are rollbacks that a checkpoint knows, and those known already.
func older(saved []*statev2.WentBack, known []back) []back {
	var all []back
	for _, b := range saved {
		if len(known) == 0 || b.Generation < known[0].generation {
			all = append(all, back{b.Generation, b.Epoch})
		}
	}
	return append(all, known...)
}

// newest are as many as anything may still depend on: no result is later.
func newest(backs []back) []back { return backs[max(len(backs)-formerly, 0):] }

// saved is what a checkpoint is told of the rollbacks.
func (p *participant) saved() []*statev2.WentBack {
	var list []*statev2.WentBack
	for _, b := range p.backs {
		list = append(list, &statev2.WentBack{Generation: b.generation, Epoch: b.epoch})
	}
	return list
}

// undone says whether what took effect in an epoch of a generation was taken
// back by a rollback since.
func (p *participant) undone(generation uint32, epoch int64) bool {
	for _, b := range p.backs {
		if b.generation > generation && b.epoch <= epoch {
			return true
		}
	}
	return false
}

// tookBack says whether an adaptation that the log knows was undone. What an older
// version wrote says nothing of its generation.
func (p *participant) tookBack(a *adaptation) bool {
	return a.issued > 0 && p.undone(a.issued, a.since)
}

// works says whether Tamiyo may decide anything.
func (p *participant) works() bool { return p.standing == active && p.generation > 0 }

// part answers Tolaria's request for a part of a checkpoint. A Tamiyo without
// memory adopts the run only at its very beginning, where there is nothing to
// remember.
func (t *tamiyo) part(m *trainingv2.StatePartRequest) {
	if t.p.generation == 0 && m.Generation == 1 && m.Epoch == 0 && t.p.standing == active {
		t.p.generation = 1
	}
	if !t.p.works() || m.Generation != t.p.generation {
		return
	}
	state := t.mind.save(t.policy.Version())
	state.Backs = t.p.saved()
	data := state.AppendCanonical(nil)
	t.env.Clock.Work(gpu.Snapshot, (len(data)+4095)/4096)
	sum := sha256.Sum256(data)
	t.env.Net.Send(t.job.Tolaria, &trainingv2.StatePart{CheckpointId: m.CheckpointId, Subsystem: Subsystem,
		Epoch: m.Epoch, Generation: m.Generation, Data: data, Sha256: sum[:]},
		actor.SendOptions{Key: fmt.Sprint("state-part/", m.CheckpointId)})
}

// prepare offers the part of a checkpoint. The request of the same rollback
// came before it.
func (t *tamiyo) prepare(m *trainingv2.RestorePart) {
	p := &t.p
	if m.RollbackId == "" || p.asked.id != m.RollbackId || m.Part == nil {
		return
	}
	why := ""
	switch {
	case m.RollbackId == p.last.id:
		t.acknowledge(rollbackv2.Phase_RESTORED, m.RollbackId)
		return
	case m.Generation <= p.generation:
		why = fmt.Sprintf("generation %d is here already", p.generation)
	case p.standing != active && p.offer.id == m.RollbackId: // voted before
	default:
		s, err := restorable(m)
		if err != nil {
			why = err.Error()
			break
		}
		// A rollback that is overtaken by another one was aborted: there is one
		// at a time.
		p.standing = prepared
		p.offer = offer{id: m.RollbackId, tier: p.asked.tier.String(), checkpoint: p.asked.checkpoint,
			generation: m.Generation, epoch: m.Part.Epoch, root: bytes.Clone(m.Root), state: s, size: len(m.Part.Data)}
		lease := job.FastPrepare + job.FastCommit + job.FastConfirm
		if p.asked.tier == rollbackv2.Tier_FULL {
			lease = job.FullPrepare + job.FullCommit
		}
		p.lease++
		t.env.Clock.SetTimer("lease", p.lease, lease)
		t.declare(evidencev2.RollbackStep_RB_PREPARED, &p.offer, "")
	}
	v := &rollbackv2.RollbackVote{RollbackId: m.RollbackId, Subsystem: Subsystem, Vote: rollbackv2.Vote_YES, Reason: why, LocalRoot: m.Root}
	if why != "" {
		v.Vote = rollbackv2.Vote_NO
	}
	t.env.Net.Send(t.job.Tolaria, v, actor.SendOptions{Key: "vote"})
}

func restorable(m *trainingv2.RestorePart) (*statev2.TamiyoState, error) {
	sum := sha256.Sum256(m.Part.Data)
	if !bytes.Equal(sum[:], m.Part.Sha256) {
		return nil, errors.New("the part's bytes do not match its digest")
	}
	s := new(statev2.TamiyoState)
	if err := s.ParseCanonical(append([]byte(nil), m.Part.Data...)); err != nil {
		return nil, err
	}
	return s, nil
}

func (t *tamiyo) decided(m *rollbackv2.RollbackDecision) {
	p := &t.p
	mine := p.standing != active && p.offer.id == m.RollbackId
	switch {
	case m.RollbackId != "" && m.RollbackId == p.last.id:
		t.acknowledge(rollbackv2.Phase_RESTORED, m.RollbackId)
	case m.Decision == rollbackv2.Decision_COMMIT && mine:
		t.restore()
		t.acknowledge(rollbackv2.Phase_RESTORED, m.RollbackId)
	case m.Decision == rollbackv2.Decision_ABORT:
		if mine {
			o := p.offer
			p.standing, p.offer = active, offer{}
			t.declare(evidencev2.RollbackStep_RB_ABORTED, &o, m.Reason)
			t.ask()
		}
		t.acknowledge(rollbackv2.Phase_ABORTED, m.RollbackId)
	}
}

// restore takes the state that was offered. Adaptations that began after the
// checkpoint never happened: they end, ROLLED_BACK.
func (t *tamiyo) restore() {
	p := &t.p
	o := p.offer
	t.env.Clock.Work(gpu.Restore, (o.size+4095)/4096)
	was := t.mind
	t.mind = load(o.state)
	p.last, p.confirmed, p.generation = o, false, o.generation
	p.last.state = nil
	p.standing, p.offer = active, offer{}
	// Former lives went back as well: what the checkpoint says of that is before what
	// this one knows.
	p.backs = newest(append(older(o.state.GetBacks(), p.backs), back{o.generation, o.epoch}))
	t.signal = answered{}
	t.declare(evidencev2.RollbackStep_RB_RESTORED, &o, "")
	t.reconcile(lastLoss(was.recent))
}

// reconcile compares what was restored with the log, and reports what never
// happened. What the log does not take, or does not say because it is not open,
// is made up for when it is.
func (t *tamiyo) reconcile(loss float64) {
	t.unread = t.journal.log == nil
	if !t.unread {
		t.undone = append(t.undone, t.mind.reconcile(t.p.last.epoch, t.journal.opened(), t.journal.reported, t.p.tookBack)...)
	}
	t.reportUndone(loss)
}

// overlooked ends the adaptations of which telemetry said that they have ended
// while the log was not there to say that they began.
func (t *tamiyo) overlooked() {
	for _, a := range slices.Clone(t.mind.open) {
		for _, s := range t.mind.seeds {
			if how, ended := a.ends(s.Stage, s.Epoch); ended && s.Ref == a.seed {
				t.report(a, how, lastLoss(t.mind.recent))
			}
		}
	}
}

// reportUndone reports what was taken back, as far as the log takes it.
func (t *tamiyo) reportUndone(loss float64) {
	t.undone = slices.DeleteFunc(t.undone, func(a *adaptation) bool { return t.report(a, "ROLLED_BACK", loss) })
}

func (t *tamiyo) acknowledge(phase rollbackv2.Phase, id string) {
	a := &rollbackv2.RollbackAck{RollbackId: id, Subsystem: Subsystem, Phase: phase, Ok: true, Epoch: t.mind.epoch + 1}
	if id == t.p.last.id {
		a.Epoch, a.Root = t.p.last.epoch, t.p.last.root
	}
	t.env.Net.Send(t.job.Tolaria, a, actor.SendOptions{Key: "rollback-ack/" + phase.String()})
}

func (t *tamiyo) confirm(id string) {
	if id != t.p.last.id || id == "" {
		return
	}
	if !t.p.confirmed {
		t.p.confirmed = true
		t.declare(evidencev2.RollbackStep_RB_CONFIRMED, &t.p.last, "")
	}
	t.acknowledge(rollbackv2.Phase_CONFIRMED, id)
}

// expire ends the lease: from now on only the decision can.
func (t *tamiyo) expire(lease int64) {
	if t.p.standing == prepared && t.p.lease == lease {
		t.p.standing = fenced
		t.declare(evidencev2.RollbackStep_RB_FENCED, &t.p.offer, "")
		t.ask()
	}
}

// ask asks the coordinator, for as long as there is something to ask.
func (t *tamiyo) ask() {
	id := ""
	switch {
	case t.p.standing == fenced:
		id = t.p.offer.id
	case t.p.standing == active && t.p.generation == 0:
	default:
		return
	}
	t.env.Net.Send(t.job.Tolaria, &trainingv2.RollbackQuery{RollbackId: id, Subsystem: Subsystem, Generation: t.p.generation},
		actor.SendOptions{Key: "rollback-query/" + id})
	t.env.Clock.SetTimer("query", 0, job.HeartbeatEvery)
}

func (t *tamiyo) declare(s evidencev2.RollbackStep, o *offer, why string) {
	t.env.Facts.Record(&evidencev2.RollbackFact{RollbackId: o.id, Subsystem: Subsystem, Step: s, Tier: o.tier,
		CheckpointId: o.checkpoint, Epoch: o.epoch, Generation: o.generation, Root: o.root, Reason: why})
}
