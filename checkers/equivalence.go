package checkers

import (
	"fmt"
	"strings"

	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// equivalence judges E1, I10 and G3. E1 is recovery equivalence: whatever faults a run survived,
// replaying its lineage in a calm world gives byte-identical weights,
// optimizer, sample order and grafts.
//
// The lineage is a closed set: for each surviving epoch its generation, its
// learning rate, whether Kasmina crossed the boundary into it, the commands that
// took effect there, and for each step whether the kernels took part. Nothing
// else may have decided what was trained. The replay runs along with the run,
// one epoch behind, and compares after every epoch; a rollback takes it back to
// its own mark of the checkpoint, so that its memory is bounded.
type equivalence struct {
	replay Replayer
	broken error
	cur    LineageEpoch
	open   bool
	after  position // the epoch and generation that the replay stands after
	grafts [32]byte // what Kasmina's state is then
	bounds map[int64]*LineageEpoch
	gen    uint32
	mask   *Mask // that comes into force in the epoch that starts next
	masked position
	asked  string // the checkpoint that the last boundary asked for

	library string // whom kernels are asked of
	prove   bool   // I10 is judged at the end
	ended   uint64 // epochs that were compared
	device  bool   // an accelerator has failed in the run
}

func newEquivalence(p Params) Checker {
	if p.Replay == nil {
		return nil
	}
	r, err := p.Replay()
	c := &equivalence{replay: r, broken: err, bounds: map[int64]*LineageEpoch{}, prove: p.Prove}
	if err == nil {
		r.Mark(0)
	}
	return c
}

func (*equivalence) Invariants() []string { return []string{"E1", "I10", "G3"} }

// differ ends the comparison: the run is not its lineage's.
func (c *equivalence) differ(j *Judge, node, why string) {
	j.Violate("E1", node, why)
	if c.device {
		j.Violate("G3", node, why)
	}
	c.replay = nil
}

func (c *equivalence) same(j *Judge) {
	j.Judged("E1")
	if c.device {
		j.Judged("G3")
	}
}

func (c *equivalence) Observe(e *Event, j *Judge) {
	if c.broken != nil {
		j.Violate("E1", "", "the replay failed: "+c.broken.Error())
		c.broken = nil
		c.replay = nil
	}
	if c.replay == nil {
		return
	}
	if e.Kind == trace.DeviceChanged || e.Kind == trace.DeviceOperated {
		c.device = c.device || e.Kind == trace.DeviceChanged || failedAs(e.Text) != 0
		return
	}
	if e.Kind == trace.MessageSent {
		// The state that a checkpoint would hold. Whether it is saved may never
		// be told: a crash can fall between its COMMIT and the word of it.
		if m, ok := e.Mail.Payload.(*trainingv2.BoundaryRequest); ok && m.CheckpointId != "" && m.CheckpointId != c.asked {
			c.asked = m.CheckpointId
			c.replay.Mark(m.Epoch)
		}
		if _, ok := e.Mail.Payload.(*assetsv2.FetchKernel); ok {
			c.library = e.Peer
		}
		if m, ok := e.Mail.Payload.(*assetsv2.FetchKernelReply); ok && m.Status == assetsv2.AssetStatus_EXISTS && e.Node == c.library {
			// The bytes that the library gave out decide what its kernels compute.
			c.replay.Learn(m.GetKernel().GetId(), m.Binary)
		}
		if m, ok := e.Mail.Payload.(*trainingv2.BoundaryReply); ok && m.Status == trainingv2.ReplyStatus_OK {
			c.crossed(e, m, j)
		}
		return
	}
	switch f := e.Fact.(type) {
	case *evidencev2.StepFact:
		c.step(f)
	case *evidencev2.BoundaryFact:
		c.boundary(f)
	case *evidencev2.EpochFact:
		c.epoch(e, f, j)
	case *evidencev2.PruningFact:
		if f.State == "MASKED" && f.Subsystem == "tolaria" {
			c.mask, c.masked = &Mask{Key: strings.Clone(f.IdempotencyKey), Version: f.Version}, position{epoch: f.Epoch, gen: c.gen, known: true}
			for _, u := range f.Units {
				c.mask.Channels = append(c.mask.Channels, [2]int32{u.LayerId, u.Channel})
			}
		}
	case *evidencev2.CheckpointFact:
		if f.Action == evidencev2.CheckpointAction_CHECKPOINT_EVICTED {
			c.replay.Forget(f.Epoch + 1)
		}
	case *evidencev2.RollbackFact:
		if f.Step == evidencev2.RollbackStep_RB_RESTORED && f.Subsystem == "tolaria" {
			c.open, c.gen, c.after.known, c.mask = false, f.Generation, false, nil
			clear(c.bounds)
			if err := c.replay.Return(f.Epoch); err != nil {
				c.broken = fmt.Errorf("rollback %s: %w", f.RollbackId, err)
			}
		}
	}
}

// crossed judges Kasmina's state before it crosses a boundary, by the digest
// that it sends and not by what it declares.
func (c *equivalence) crossed(e *Event, m *trainingv2.BoundaryReply, j *Judge) {
	if !c.after.known || m.Epoch != c.after.epoch+1 || m.Generation != c.after.gen || len(m.StateDigest) == 0 {
		return
	}
	if string(m.StateDigest) != string(c.grafts[:]) {
		c.differ(j, e.Node, fmt.Sprintf("before epoch %d of generation %d the grafts differ from those of the replayed lineage", m.Epoch, m.Generation))
		return
	}
	c.same(j)
}

func (c *equivalence) step(f *evidencev2.StepFact) {
	epoch, gen := f.Step.GetEpoch(), f.Step.GetGeneration()
	if !c.open || c.cur.Epoch != epoch || c.cur.Generation != gen {
		full := c.cur.Full[:0]
		c.cur = LineageEpoch{Epoch: epoch, Generation: gen, LearningRate: f.LearningRate, Full: full}
		c.open = true
	}
	c.cur.Full = append(c.cur.Full, f.Effect == trainingv2.StepEffect_FULL)
}

// boundary notes what Kasmina did when it crossed into an epoch.
func (c *equivalence) boundary(f *evidencev2.BoundaryFact) {
	b := &LineageEpoch{Epoch: f.Epoch, Generation: f.Generation, ValidationLoss: f.ValidationLoss}
	for _, k := range f.Commands {
		b.Commands = append(b.Commands, LineageCommand{
			ID: k.CommandId, Layer: k.Seed.GetLayerId(), Seed: k.Seed.GetSeedId(),
			Operation: k.Operation, Kernel: k.KernelArtifactId,
		})
	}
	c.bounds[f.Epoch] = b
	if len(c.bounds) > 64 {
		for k := range c.bounds {
			if k < f.Epoch-32 {
				delete(c.bounds, k)
			}
		}
	}
}

func (c *equivalence) epoch(e *Event, f *evidencev2.EpochFact, j *Judge) {
	if !c.open || c.cur.Epoch != f.Epoch || c.cur.Generation != f.Generation {
		c.cur = LineageEpoch{Epoch: f.Epoch, Generation: f.Generation, LearningRate: f.LearningRate, Full: c.cur.Full[:0]}
	}
	c.cur.Commands = nil
	c.open = false
	c.cur.Joined = f.KasminaJoined
	if b := c.bounds[f.Epoch]; b != nil && b.Generation == f.Generation && f.KasminaJoined {
		// Without Tolaria's word it is a promise that was never kept: Kasmina
		// crosses for good with the first step of the epoch.
		c.cur.Commands, c.cur.ValidationLoss = b.Commands, b.ValidationLoss
	}
	if c.cur.Mask = nil; c.mask != nil && c.masked.epoch == f.Epoch {
		c.cur.Mask, c.mask = c.mask, nil
	}
	got, err := c.replay.Epoch(&c.cur)
	if err != nil {
		c.broken = fmt.Errorf("epoch %d: %w", f.Epoch, err)
		return
	}
	for _, d := range []struct {
		what      string
		claimed   []byte
		recreated [32]byte
	}{
		{"weights", f.WeightsSha256, got.Weights}, {"optimizer", f.OptimizerSha256, got.Optimizer},
		{"sample order", f.SampleOrderSha256, got.SampleOrder},
	} {
		if string(d.claimed) != string(d.recreated[:]) {
			c.differ(j, e.Node, fmt.Sprintf("after epoch %d of generation %d the %s differ from those of the replayed lineage", f.Epoch, f.Generation, d.what))
			return
		}
	}
	if f.GlobalStep != got.GlobalStep {
		c.differ(j, e.Node, fmt.Sprintf("after epoch %d the run counts %d steps and its replay %d", f.Epoch, f.GlobalStep, got.GlobalStep))
		return
	}
	c.after, c.grafts = position{epoch: f.Epoch, gen: f.Generation, known: true}, got.Grafts
	c.ended++
	c.same(j)
}

// Finish judges I10: the model that the run has come to, exported with its
// lineage, names the kernel of every adaptation, and the lineage leads to it.
func (c *equivalence) Finish(j *Judge) {
	if !c.prove || c.replay == nil || c.broken != nil || c.ended == 0 {
		return
	}
	n, err := c.replay.Prove()
	switch {
	case err != nil:
		j.Violate("I10", "", "the exported model does not follow from its lineage: "+err.Error())
	case n > 0:
		j.Judged("I10")
	}
}
