package runner

import (
	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/lineage"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// replayer makes the calm world that recovery equivalence compares with, for
// scenarios in which something is trained.
// What it made is left in at, for an export.
func replayer(j *job.Job, keep bool, at **replay) func() (checkers.Replayer, error) {
	return func() (checkers.Replayer, error) {
		r, err := lineage.NewReplay(j)
		if err != nil {
			return nil, err
		}
		if !keep {
			r.Brief() // nobody will ask for the lineage
		}
		*at = &replay{r: r, j: j}
		return *at, nil
	}
}

// replay translates between the checker's terms and the library's.
type replay struct {
	r *lineage.Replay
	j *job.Job
	e lineage.Epoch
}

// Epoch implements checkers.Replayer.
func (r *replay) Epoch(e *checkers.LineageEpoch) (checkers.Digests, error) {
	r.e = lineage.Epoch{
		Epoch: e.Epoch, Generation: e.Generation, LearningRate: e.LearningRate,
		Joined: e.Joined, ValidationLoss: e.ValidationLoss, Full: e.Full, Commands: r.e.Commands[:0],
	}
	for _, c := range e.Commands {
		r.e.Commands = append(r.e.Commands, lineage.Command{ID: c.ID, Layer: c.Layer, Seed: c.Seed, Operation: c.Operation, Kernel: c.Kernel})
	}
	if m := e.Mask; m != nil {
		r.e.Mask = &statev2.HostMask{IdempotencyKey: m.Key, Version: m.Version}
		for _, c := range m.Channels {
			r.e.Mask.Channels = append(r.e.Mask.Channels, &statev2.MaskedChannel{LayerId: c[0], Channel: c[1]})
		}
	}
	d, err := r.r.Epoch(&r.e)
	return checkers.Digests{
		Weights: d.Weights, Optimizer: d.Optimizer, SampleOrder: d.SampleOrder, Grafts: d.Grafts, GlobalStep: d.GlobalStep,
	}, err
}

// Mark implements checkers.Replayer.
func (r *replay) Mark(epoch int64) { r.r.Mark(epoch) }

// Return implements checkers.Replayer.
func (r *replay) Return(epoch int64) error { return r.r.Return(epoch) }

// Forget implements checkers.Replayer.
func (r *replay) Forget(before int64) { r.r.Forget(before) }

// Learn implements checkers.Replayer.
func (r *replay) Learn(kernelID string, binary []byte) { r.r.Learn(kernelID, binary) }

// Prove implements checkers.Replayer: what is exported goes through its encoding,
// and its lineage is trained by a replay that knows nothing else.
func (r *replay) Prove() (adaptations int, err error) {
	x := new(statev2.ModelExport)
	if err := x.ParseCanonical(r.r.Export().AppendCanonical(nil)); err != nil {
		return 0, err
	}
	for _, e := range x.Lineage.GetEpochs() {
		adaptations += len(e.Commands)
	}
	return adaptations, lineage.Verify(r.j, x)
}

// export hands out the model of a clean run: its replay has the same bytes.
func (r *replay) export(to func(*statev2.ModelExport) error, res *Result, err error) error {
	if err != nil || r == nil || res == nil || res.Verdict != Clean || res.Judged["E1"] == 0 {
		return err
	}
	return to(r.r.Export())
}
