package tolaria

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/trainer"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
)

// assemble reports the state of the run to Tamiyo.
func (t *tolaria) assemble() error {
	t.enter(awaiting)
	t.assembled = t.began
	t.next = t.epoch + 1
	units := len(t.seeds)
	if t.env.Probe.Sometimes("tolaria/slow-boundary") {
		units *= 5
	}
	t.env.Clock.Work(gpu.AssembleState, units)
	p := &t.packet
	p.PacketId = fmt.Sprintf("state/%s/%d/%d", t.job.RunID, t.gen, t.epoch)
	if p.ConfigRevision = t.conf.revision(); t.o.Config || t.o.Watched {
		p.RollbackGeneration = t.gen
	}
	p.Epoch, p.SourceSubsystem = t.epoch, Subsystem
	p.Timestamp = timestamppb.New(t.env.Clock.Now())
	p.TrainingMetrics = &systemstatev2.TrainingMetrics{Loss: t.val, LearningRate: t.rates.Rate, GlobalStep: int64(t.host.GlobalStep)}
	p.ModelState = &systemstatev2.ModelState{ModelVersion: t.job.Graph.Name, ParameterCount: int64(len(t.host.Model.Params))}
	p.SeedStates = p.SeedStates[:0]
	for i := range t.seeds {
		s := &t.seeds[i]
		p.SeedStates = append(p.SeedStates, &systemstatev2.SeedState{SeedId: s.id,
			SeedType: fmt.Sprint(s.layer, "/", s.id), Active: s.kind != ""})
	}
	p.SystemHealth = &systemstatev2.SystemHealth{TrainingStable: t.mode == eventsv2.RunMode_NORMAL}
	var open bool
	if t.ticket, open = t.silence.Allow(t.env.Clock.Monotonic()); !open {
		return t.apply(false)
	}
	t.sendPacket()
	return nil
}

// packetEvery is how long Tolaria waits before it sends the packet again.
const packetEvery = 500 * time.Millisecond

func (t *tolaria) sendPacket() {
	t.env.Net.Send(t.job.Tamiyo, &t.packet, actor.SendOptions{Key: fmt.Sprint("state/", t.epoch), Attempt: t.attempt,
		CorrelationID: t.packet.PacketId, RunID: t.job.RunID, Epoch: t.epoch})
	left := job.TamiyoTimeout - (t.env.Clock.Monotonic() - t.began)
	t.env.Clock.SetTimer("tamiyo", t.serial, min(packetEvery, max(left, 0)))
}

func (t *tolaria) tamiyoSilent() error {
	if t.env.Clock.Monotonic()-t.began < job.TamiyoTimeout {
		t.attempt++
		t.sendPacket()
		return nil
	}
	t.silence.Done(t.env.Clock.Monotonic(), t.ticket, false)
	t.conservative("tamiyo is silent")
	return t.apply(false)
}

// signalled takes Tamiyo's decision.
func (t *tolaria) signalled(m *operationalv2.AdaptationSignal) error {
	e, _ := t.env.Net.Incoming()
	if t.phase != awaiting || e == nil || e.CorrelationId != t.packet.PacketId {
		return nil
	}
	t.silence.Done(t.env.Clock.Monotonic(), t.ticket, true)
	if m.EmergencyRollbackRequired {
		t.wish(&wish{reason: "tamiyo requires a rollback: " + m.SignalId, severity: "MAJOR"})
	}
	return t.apply(true)
}

// apply carries out what is due for the next epoch, and declares the epoch's
// end. The decision is Tamiyo's, or without it the conservative one: nothing
// new.
func (t *tolaria) apply(decided bool) error {
	waited := t.env.Clock.Monotonic() - t.began
	t.phase, t.decided = crossing, decided
	if t.o.Watched {
		t.env.Net.Send(t.job.Nissa, &t.packet, actor.SendOptions{Key: fmt.Sprint("state-copy/", t.epoch), RunID: t.job.RunID, Epoch: t.epoch})
	}
	t.env.Clock.Work(gpu.Apply, 1)
	if err := t.obeyDue(); err != nil {
		return err
	}
	t.rates.Enter(t.next, t.gen)
	t.tellRates(t.next, false)
	spent := t.env.Clock.Monotonic() - t.assembled
	t.env.Facts.Record(&evidencev2.DecisionFact{Epoch: t.epoch, Generation: t.gen, Fallback: !decided,
		WaitedNs: int64(waited), BoundaryNs: int64(spent)})
	if spent > job.BoundaryBudget {
		t.conservative("the epoch boundary took " + spent.String())
	} else {
		t.healthy()
	}
	w, o := trainer.Digest(t.host.Model.Params), trainer.Digest(t.host.Model.Momentum)
	t.env.Facts.Record(&evidencev2.EpochFact{Epoch: t.epoch, Generation: t.gen, WeightsSha256: w[:], OptimizerSha256: o[:],
		SampleOrderSha256: t.host.OrderSum[:], GlobalStep: t.host.GlobalStep, LearningRate: t.rates.Rate,
		ValidationLoss: t.val, KasminaJoined: t.member})
	if err := t.announce(eventsv2.EpochPhase_COMPLETED, t.epoch); err != nil {
		return err
	}
	if t.want != nil {
		return t.roll(crossing)
	}
	if err := t.settleRevision(true); err != nil {
		return err
	}
	return t.cross()
}

// cross takes Kasmina over the boundary into the next epoch, and gathers the
// parts of a checkpoint where one is due.
func (t *tolaria) cross() error {
	t.enter(crossing)
	t.shot = nil
	if t.shotNow && t.next > t.lastShot {
		t.env.Probe.Reached("tolaria/emergency-checkpoint")
	}
	if t.lastShot < 0 || t.next-t.lastShot >= int64(t.every) || t.shotNow && t.next > t.lastShot || t.next > t.lastShot && t.env.Probe.Sometimes("tolaria/checkpoint-early") {
		t.shot = t.newSnapshot()
	}
	q := &t.crossReq
	q.TrainingRunId, q.Epoch, q.Generation, q.ValidationLoss = t.job.RunID, t.next, t.gen, t.val
	q.Settled, q.CheckpointId, q.Joined = &t.settled, "", t.last+1
	if err := t.settleRevision(false); err != nil {
		return err
	}
	q.ConfigRevision = t.conf.revision()
	if t.shot != nil {
		q.CheckpointId = t.shot.id
	}
	q.Present = append(q.Present[:0], Subsystem)
	if t.decided {
		q.Present = append(q.Present, "tamiyo")
	}
	t.joined, t.crossed = false, false
	// A breaker that is open keeps Tolaria from waiting at every step. At a
	// boundary it asks all the same, once: it is the one place where Kasmina
	// can come back.
	t.sendCross()
	return nil
}

func (t *tolaria) sendCross() {
	if !t.crossed {
		o := actor.SendOptions{Key: fmt.Sprint("boundary/", t.next), Attempt: t.attempt, Epoch: t.next}
		t.env.Net.Send(t.job.Kasmina, &t.crossReq, o)
		if t.env.Probe.Sometimes("tolaria/ask-twice") {
			t.env.Net.Send(t.job.Kasmina, &t.crossReq, o)
		}
	}
	if t.shot != nil && t.shot.tamiyo == nil {
		t.env.Net.Send(t.job.Tamiyo, &trainingv2.StatePartRequest{CheckpointId: t.shot.id, Epoch: t.next, Generation: t.gen},
			actor.SendOptions{Key: fmt.Sprint("part/", t.next), Attempt: t.attempt, Epoch: t.next})
	}
	t.env.Clock.SetTimer("cross", t.serial, t.patience(t.o.Resend))
}

// crossAgain asks again those who are silent, until there is no time left.
func (t *tolaria) crossAgain() error {
	now := t.env.Clock.Monotonic()
	limit := t.patience(t.o.Boundary)
	if t.breaker.State(now) == breaker.Open {
		limit = t.patience(t.o.Resend)
	}
	// Before the first epoch nothing can be trained: a checkpoint must be
	// there to go back to.
	if t.lastShot < 0 && t.shot == nil {
		return t.cross() // it was gathered and could not be saved: gather it anew
	}
	if now-t.began < limit || t.lastShot < 0 {
		t.attempt++
		t.sendCross()
		return nil
	}
	if !t.crossed {
		if ticket, ok := t.breaker.Allow(now); ok {
			t.breaker.Done(now, ticket, false)
		}
	}
	return t.gathered()
}

// kasminaCrossed takes Kasmina's answer at the boundary.
func (t *tolaria) kasminaCrossed(m *trainingv2.BoundaryReply) error {
	if t.phase != crossing || t.crossed || m.Epoch != t.next || m.Generation != t.gen {
		return nil
	}
	if m.Status != trainingv2.ReplyStatus_OK && t.lastShot < 0 {
		return nil // the run has not begun: ask again until it can
	}
	t.crossed = true
	switch m.Status {
	case trainingv2.ReplyStatus_OK:
		t.joined = true
		t.note(m)
		t.breaker.Reset(t.env.Clock.Monotonic())
		if t.shot != nil {
			t.shot.take(m.Part, "kasmina")
		}
	case trainingv2.ReplyStatus_OUT_OF_SYNC:
		t.wish(&wish{reason: "kasmina is out of sync", severity: "SEVERE", fast: true, patient: true})
	}
	if t.shot != nil && (t.shot.kasmina == nil || t.shot.tamiyo == nil) {
		if t.shot.kasmina == nil && t.lastShot >= 0 {
			return t.gathered() // without Kasmina's part there is no checkpoint
		}
		return nil
	}
	return t.gathered()
}

// note remembers what Kasmina says of its slots.
func (t *tolaria) note(m *trainingv2.BoundaryReply) {
	old := t.seeds
	t.seeds = make([]seed, 0, len(m.Seeds))
	for i, u := range m.Seeds {
		s := seed{u.Seed.GetLayerId(), u.Seed.GetSeedId(), u.KernelArtifactId, u.AlphaMilli, u.Stage}
		if u.Stage == telemetryv2.SeedStage_GRAFTING && (i >= len(old) || old[i].stage != u.Stage) {
			t.newest = &telemetryv2.SeedRef{LayerId: s.layer, SeedId: s.id}
		}
		t.seeds = append(t.seeds, s)
	}
}

// tamiyoPart takes Tamiyo's part of a checkpoint.
func (t *tolaria) tamiyoPart(m *trainingv2.StatePart) error {
	if t.phase != crossing || t.shot == nil || m.Subsystem != "tamiyo" {
		return nil
	}
	t.shot.take(m, "tamiyo")
	if t.crossed && t.shot.tamiyo != nil && t.shot.kasmina != nil {
		return t.gathered()
	}
	return nil
}

// gathered ends the boundary: the checkpoint is saved if it is whole, and the
// next epoch begins.
func (t *tolaria) gathered() error {
	if t.shot != nil {
		id := t.shot.id
		if err := t.saveShot(); err != nil {
			return err
		}
		if t.lastShot < 0 {
			t.enter(crossing)
			t.env.Clock.SetTimer("cross", t.serial, time.Second)
			return nil
		}
		if t.saved == id {
			if err := t.applyMask(id); err != nil {
				return err
			}
		}
	}
	t.epoch, t.member = t.next, t.joined
	if t.member {
		t.last = t.epoch
	}
	t.crossConfig()
	if err := t.announce(eventsv2.EpochPhase_STARTED, t.epoch); err != nil {
		return err
	}
	if t.pause.wanted != nil {
		return t.pauseNow()
	}
	return t.startEpoch()
}
