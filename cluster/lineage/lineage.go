// Package lineage trains what a run has trained, again, from nothing but what
// decided its bytes: which epochs survived, in which generation, at which
// rate, which commands changed the grafts, and which steps the grafts took
// part in.
//
//   - [Host]: the host network's side of training, shared with Tolaria.
//   - [Replay]: a calm world without network and faults; it comes to the same
//     weights, optimizer state, sample order and grafts, byte for byte.
//   - [Replay.Export], [Verify]: an evolved model with its lineage (HLD section
//     9.2), and the proof that the one follows from the other.
package lineage

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/cluster/trainer"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// Epoch is one epoch as far as it decides bytes.
type Epoch struct {
	Epoch          int64
	Generation     uint32
	LearningRate   float64
	Joined         bool // Kasmina crossed the boundary into the epoch
	ValidationLoss float64
	Commands       []Command
	Full           []bool            // one a step: the kernels took part
	Mask           *statev2.HostMask // that came into force at the boundary into it; nil: none did
}

// Operations that are no commands of Tamiyo's, but change the grafts at a
// boundary all the same.
const (
	OpLock       = "LOCK"        // the culprit of a rollback
	OpQuarantine = "QUARANTINE"  // a kernel that gave no numbers
	OpViolation  = "VIOLATION"   // of gradient isolation, by a seed
	OpLoadFailed = "LOAD_FAILED" // a germination whose kernel the library did not give
)

// Command is an adaptation that changed what was trained.
type Command struct {
	ID        string
	Layer     int32
	Seed      int32
	Operation string // name of the lifecycle operation, or one of the above
	Kernel    string
}

// Digests are what two runs that trained the same agree on.
type Digests struct {
	Weights     [32]byte
	Optimizer   [32]byte
	SampleOrder [32]byte
	Grafts      [32]byte // of Kasmina's state
	GlobalStep  uint64
}

// mark is a state that can be returned to.
type mark struct {
	host   statev2.HostState
	grafts statev2.KasminaState
	epochs []Epoch // the lineage so far
}

// Replay is a run in a calm world.
type Replay struct {
	job    *job.Job
	host   *Host
	bed    *graft.Bed
	epochs []Epoch // that survive
	marks  map[int64]*mark
	ends   map[int64]*mark // by the epoch that starts next, also unmarked
	acts   []float32
	brief  bool
	shelf  kernel.Shelf // kernels of the library
}

// NewReplay is the run of a job before its first epoch.
func NewReplay(j *job.Job) (*Replay, error) {
	h, err := NewHost(j)
	if err != nil {
		return nil, err
	}
	r := &Replay{job: j, host: h, marks: make(map[int64]*mark), ends: make(map[int64]*mark)}
	r.bed = graft.New(h.Model.Grafts(), j.Slots, r, j.Rules)
	return r, nil
}

// Learn takes the bytes of a kernel of the library, which the lineage may name.
func (r *Replay) Learn(id string, binary []byte) { r.shelf.Put(id, bytes.Clone(binary)) }

// Kernel implements graft.Catalogue: the job's kernels, or those of the library.
func (r *Replay) Kernel(id string, width int) (*trainer.Kernel, error) {
	if r.job.Library {
		return r.shelf.Kernel(id, width)
	}
	return r.job.Kernels.Kernel(id, width)
}

// Brief makes a replay that only compares: it does not remember its epochs, so
// that it does not grow with the run. It has no lineage to export.
func (r *Replay) Brief() { r.brief, r.epochs = true, nil }

// Epoch trains one epoch and returns the digests afterwards.
func (r *Replay) Epoch(e *Epoch) (Digests, error) {
	if !r.brief {
		kept := *e
		kept.Commands = append([]Command(nil), e.Commands...)
		kept.Full = append([]bool(nil), e.Full...)
		r.epochs = append(r.epochs, kept)
	}
	if e.Joined {
		r.bed.Cross(e.Epoch, e.ValidationLoss)
		for _, c := range e.Commands {
			if err := r.apply(c); err != nil {
				return Digests{}, fmt.Errorf("epoch %d: %w", e.Epoch, err)
			}
		}
	} else if len(e.Commands) > 0 {
		return Digests{}, fmt.Errorf("epoch %d has commands, and Kasmina did not cross into it", e.Epoch)
	}
	if e.Mask != nil {
		if err := r.host.SetMask(e.Mask); err != nil {
			return Digests{}, fmt.Errorf("epoch %d: %w", e.Epoch, err)
		}
	}
	r.host.Begin(e.Epoch, e.Generation)
	rate := float32(e.LearningRate)
	for s, full := range e.Full {
		if !full {
			r.host.Identity(s, rate)
			continue
		}
		if err := r.full(s, rate); err != nil {
			return Digests{}, fmt.Errorf("epoch %d, step %d: %w", e.Epoch, s, err)
		}
	}
	r.ends[e.Epoch+1] = r.here(e.Epoch + 1)
	delete(r.ends, e.Epoch+1-keptEnds)
	return r.Digests(), nil
}

// keptEnds is how many epochs back Return finds a state that nobody marked.
const keptEnds = 32

func (r *Replay) apply(c Command) error {
	ref := graft.Ref{Layer: c.Layer, Seed: c.Seed}
	switch c.Operation {
	case OpLock:
		r.bed.Lock(ref, c.ID)
		return nil
	case OpViolation:
		r.bed.Violate(ref)
		return nil
	case OpQuarantine:
		r.bed.Quarantine(ref, c.ID)
		return nil
	}
	trouble := ""
	if c.Operation == OpLoadFailed {
		trouble, c.Operation = "it could not be loaded", adaptationv2.SeedOperation_GERMINATE.String()
	}
	op, ok := adaptationv2.SeedOperation_value[c.Operation]
	if !ok {
		return fmt.Errorf("command %s has the unknown operation %q", c.ID, c.Operation)
	}
	_, err := r.bed.Apply(graft.Command{ID: c.ID, Ref: ref, Op: adaptationv2.SeedOperation(op), KernelID: c.Kernel, Trouble: trouble})
	if err == nil && c.Operation == adaptationv2.SeedOperation_GERMINATE.String() && trouble == "" && r.job.Library && r.shelf.Binary(c.Kernel) == nil {
		err = fmt.Errorf("command %s grafts the kernel %q, which the library has given to nobody", c.ID, c.Kernel)
	}
	return err
}

// full trains one step with the grafts.
func (r *Replay) full(step int, rate float32) error {
	p := r.host.Pass
	r.host.Load(step)
	for l, act := p.Forward(); l >= 0; l, act = p.Forward() {
		r.acts = append(r.acts[:0], act...)
		if err := r.bed.Forward(int32(l), r.acts, true, false); err != nil {
			return err
		}
		if err := p.Put(r.acts); err != nil {
			return err
		}
	}
	p.Backward()
	for _, g := range r.host.Model.Grafts() {
		if err := r.bed.Backward(int32(g.Layer), p.Gradient(g.Layer)); err != nil {
			return err
		}
	}
	r.host.Full(rate)
	r.bed.Settle(true, rate)
	return nil
}

// Digests are those of the present state.
func (r *Replay) Digests() Digests {
	return Digests{
		Weights:     trainer.Digest(r.host.Model.Params),
		Optimizer:   trainer.Digest(r.host.Model.Momentum),
		SampleOrder: r.host.OrderSum,
		Grafts:      grafts(r.bed),
		GlobalStep:  r.host.GlobalStep,
	}
}

func grafts(b *graft.Bed) [32]byte {
	var m statev2.KasminaState
	b.Save(&m)
	return sha256.Sum256(m.AppendCanonical(nil))
}

// Mark remembers the present state under a checkpoint's epoch: the state
// before the boundary into that epoch is crossed.
func (r *Replay) Mark(epoch int64) { r.marks[epoch] = r.here(epoch) }

func (r *Replay) here(epoch int64) *mark {
	// A branch that is returned to and trained on must not write into the
	// lineage of another: no room behind it.
	m := &mark{epochs: r.epochs[:len(r.epochs):len(r.epochs)]}
	r.host.Save(&m.host, epoch)
	r.bed.Save(&m.grafts)
	return m
}

// Return goes back to a mark, and forgets the epochs trained since. A crash
// between a checkpoint's commit and the word that it was saved leaves one that
// nobody marked: then it is the state in which an epoch last ended.
func (r *Replay) Return(epoch int64) error {
	m := r.marks[epoch]
	if m == nil {
		m = r.ends[epoch]
	}
	if m == nil {
		return fmt.Errorf("there is no mark for epoch %d", epoch)
	}
	if err := r.host.Restore(&m.host); err != nil {
		return err
	}
	if err := r.bed.Restore(&m.grafts); err != nil {
		return err
	}
	r.epochs = m.epochs
	return nil
}

// Forget drops the marks before an epoch.
func (r *Replay) Forget(before int64) {
	for e := range r.marks {
		if e < before {
			delete(r.marks, e)
		}
	}
}

// Export is the evolved model as it stands, with its complete lineage.
func (r *Replay) Export() *statev2.ModelExport {
	x := &statev2.ModelExport{
		Graph: r.job.Graph.String(), Host: new(statev2.HostState), Grafts: new(statev2.KasminaState),
		Lineage: &statev2.Lineage{TrainingRunId: r.job.RunID, ModelSeed: r.job.Seed},
	}
	next := int64(0)
	for _, e := range r.epochs {
		next = e.Epoch + 1
		m := &statev2.LineageEpoch{Epoch: e.Epoch, Generation: e.Generation, LearningRate: e.LearningRate,
			Joined: e.Joined, ValidationLoss: e.ValidationLoss, Mask: e.Mask}
		for _, c := range e.Commands {
			m.Commands = append(m.Commands, &statev2.LineageCommand{CommandId: c.ID, Operation: c.Operation,
				Seed: &telemetryv2.SeedRef{LayerId: c.Layer, SeedId: c.Seed}, KernelArtifactId: c.Kernel})
		}
		for _, full := range e.Full {
			effect := trainingv2.StepEffect_IDENTITY
			if full {
				effect = trainingv2.StepEffect_FULL
			}
			m.Effects = append(m.Effects, effect)
		}
		x.Lineage.Epochs = append(x.Lineage.Epochs, m)
	}
	named := map[string]bool{}
	for _, e := range r.epochs {
		for _, c := range e.Commands {
			named[c.Kernel] = true
		}
	}
	for _, id := range r.shelf.IDs() {
		if named[id] {
			x.Lineage.Kernels = append(x.Lineage.Kernels, &statev2.LineageKernel{KernelArtifactId: id, Binary: r.shelf.Binary(id)})
		}
	}
	r.host.Save(x.Host, next)
	r.bed.Save(x.Grafts)
	d := trainer.Digest(x.Host.Weights)
	x.WeightsSha256 = d[:]
	sum := sha256.Sum256(x.AppendCanonical(nil))
	x.Sha256 = sum[:]
	return x
}

// Verify trains an export's lineage again and compares every byte of what
// comes out with what it holds.
func Verify(j *job.Job, x *statev2.ModelExport) error {
	if x.Lineage == nil || x.Host == nil || x.Grafts == nil {
		return fmt.Errorf("the export has no lineage, no host or no grafts")
	}
	declared := x.Sha256
	x.Sha256 = nil
	sum := sha256.Sum256(x.AppendCanonical(nil))
	x.Sha256 = declared
	if string(declared) != string(sum[:]) {
		return fmt.Errorf("the export has the SHA-256 %x and declares %x", sum, declared)
	}
	for _, e := range x.Lineage.Epochs {
		for _, c := range e.Commands {
			if c.KernelArtifactId == "" && c.Operation != OpLock { // an empty slot may be locked
				return fmt.Errorf("epoch %d: the adaptation %q of seed %d/%d names no kernel", e.Epoch, c.Operation, c.Seed.GetLayerId(), c.Seed.GetSeedId())
			}
		}
	}
	g, err := trainer.ParseGraph([]byte(x.Graph))
	if err != nil {
		return err
	}
	own := *j
	own.Graph, own.Seed, own.RunID = g, x.Lineage.ModelSeed, x.Lineage.TrainingRunId
	own.Library = own.Library || len(x.Lineage.Kernels) > 0
	r, err := NewReplay(&own)
	if err != nil {
		return err
	}
	for _, k := range x.Lineage.Kernels {
		r.Learn(k.KernelArtifactId, k.Binary)
	}
	for _, m := range x.Lineage.Epochs {
		e := &Epoch{Epoch: m.Epoch, Generation: m.Generation, LearningRate: m.LearningRate, Joined: m.Joined, ValidationLoss: m.ValidationLoss, Mask: m.Mask}
		for _, c := range m.Commands {
			e.Commands = append(e.Commands, Command{c.CommandId, c.Seed.GetLayerId(), c.Seed.GetSeedId(), c.Operation, c.KernelArtifactId})
		}
		for _, f := range m.Effects {
			e.Full = append(e.Full, f == trainingv2.StepEffect_FULL)
		}
		if _, err := r.Epoch(e); err != nil {
			return err
		}
	}
	got := r.Export()
	if d := trainer.Digest(x.Host.Weights); !bytes.Equal(d[:], x.WeightsSha256) {
		return fmt.Errorf("the weights do not match their digest")
	}
	for _, part := range []struct {
		name      string
		got, want []byte
	}{
		{"host", got.Host.AppendCanonical(nil), x.Host.AppendCanonical(nil)},
		{"grafts", got.Grafts.AppendCanonical(nil), x.Grafts.AppendCanonical(nil)},
	} {
		if !bytes.Equal(part.got, part.want) {
			return fmt.Errorf("the lineage does not lead to the %s of the export", part.name)
		}
	}
	return nil
}
