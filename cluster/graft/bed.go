// Package graft holds the slots in which kernels are grafted into a host
// network: their stages, their kernels, and what they make of activations and
// gradients. It is pure: the same calls in the same order give the same bytes.
//
// Kasmina owns a [Bed] and drives it by messages; a replay of a run's lineage
// drives another one directly, and must come to the same bytes.
//
// Gradients are held until the step is settled: whoever decides what became of
// a step calls [Bed.Settle], and only then do parameters move. In that way a
// lost message can never leave a kernel one step ahead of its host.
package graft

import (
	"fmt"
	"math"
	"sort"

	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/cluster/rates"
	"github.com/esper-sim/espersim/cluster/trainer"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// Rules are the lifecycle's figures. The zero value stands for those of the
// design (digest 0.10).
type Rules struct {
	TrainingGate      float64 // reconstruction score that ends TRAINING: 0.85
	StabilizeEpochs   int64   // 5
	EvaluatePatience  int64   // epochs: 10
	EvaluateGate      float64 // improvement of the validation loss: 0.001
	FineTunePatience  int64   // epochs without a better loss: 50
	EmbargoEpochs     int64   // of a culled slot: 100
	MaxViolations     uint32  // of gradient isolation before quarantine: 3
	MaxKernelInFlight int     // kernels at once: 8
}

func (r Rules) orDefault() Rules {
	d := Rules{0.85, 5, 10, 0.001, 50, 100, 3, 8}
	if r.TrainingGate == 0 {
		r.TrainingGate = d.TrainingGate
	}
	if r.StabilizeEpochs == 0 {
		r.StabilizeEpochs = d.StabilizeEpochs
	}
	if r.EvaluatePatience == 0 {
		r.EvaluatePatience = d.EvaluatePatience
	}
	if r.EvaluateGate == 0 {
		r.EvaluateGate = d.EvaluateGate
	}
	if r.FineTunePatience == 0 {
		r.FineTunePatience = d.FineTunePatience
	}
	if r.EmbargoEpochs == 0 {
		r.EmbargoEpochs = d.EmbargoEpochs
	}
	if r.MaxViolations == 0 {
		r.MaxViolations = d.MaxViolations
	}
	if r.MaxKernelInFlight == 0 {
		r.MaxKernelInFlight = d.MaxKernelInFlight
	}
	return r
}

// Ref names a seed: its graft layer and its number there, both from 1.
type Ref struct{ Layer, Seed int32 }

// String is the reference as "layer/seed".
func (r Ref) String() string { return fmt.Sprintf("%d/%d", r.Layer, r.Seed) }

// Proto is the reference as a message.
func (r Ref) Proto() *telemetryv2.SeedRef {
	return &telemetryv2.SeedRef{LayerId: r.Layer, SeedId: r.Seed}
}

// RefOf is the reference in a message; nil is none.
func RefOf(m *telemetryv2.SeedRef) Ref { return Ref{m.GetLayerId(), m.GetSeedId()} }

// Slot is one seed's row.
type Slot struct {
	Ref           Ref
	Width         int
	Stage         Stage
	Kernel        *trainer.Kernel // nil unless the slot is occupied
	CommandID     string          // of the command that germinated it
	Since         int64           // the epoch in which its parameters were new
	EpochsInStage int64
	StepsInStage  int64 // settled FULL steps
	Alpha         uint32
	EmbargoUntil  int64 // epoch; the slot may be germinated from there on
	Ready         bool  // it may leave its stage
	Failing       bool  // it has run out of patience
	Gate          float64
	Best          float64
	BestEpoch     int64
	Violations    uint32

	reconstruct bool    // gradients of TRAINING are held
	loss        float32 // of the last reconstruction
}

// Learning says whether the slot's kernel computes numbers in TRAINING, where
// nobody sees its output: the last reconstruction's loss is one.
func (s *Slot) Learning() bool {
	return s.Stage != Training || !s.reconstruct || !math.IsNaN(float64(s.loss)) && !math.IsInf(float64(s.loss), 0)
}

// Catalogue says which kernels there are: validated ones, by exact id.
type Catalogue interface {
	// Kernel makes a kernel with its initial parameters, for a layer of a width. The
	// error says why there is none, such as that it is not validated.
	Kernel(kernelID string, width int) (*trainer.Kernel, error)
}

// Bed is all slots of one host network.
type Bed struct {
	rules   Rules
	kernels Catalogue
	slots   []*Slot // by layer, then seed

	Epoch     int64  // the epoch whose boundary was crossed last
	FullSteps uint64 // settled FULL steps since the run began

	scratch []float32
}

// New makes a bed with seeds slots behind each graft layer, all dormant.
func New(grafts []trainer.Graft, seeds int, kernels Catalogue, r Rules) *Bed {
	b := &Bed{rules: r.orDefault(), kernels: kernels}
	for _, g := range grafts {
		for s := range seeds {
			b.slots = append(b.slots, &Slot{Ref: Ref{int32(g.Layer), int32(s + 1)}, Width: g.Width, Stage: Dormant})
		}
	}
	sort.Slice(b.slots, func(i, j int) bool {
		x, y := b.slots[i].Ref, b.slots[j].Ref
		return x.Layer < y.Layer || x.Layer == y.Layer && x.Seed < y.Seed
	})
	return b
}

// Slots lists the slots by layer and seed. They are the bed's own.
func (b *Bed) Slots() []*Slot { return b.slots }

// Slot finds one, or returns nil.
func (b *Bed) Slot(r Ref) *Slot {
	for _, s := range b.slots {
		if s.Ref == r {
			return s
		}
	}
	return nil
}

// Forward passes activations through the kernels of a layer, in place. With
// training it keeps what Backward needs; identity skips every kernel.
func (b *Bed) Forward(layer int32, act []float32, training, identity bool) error {
	found := false
	for _, s := range b.slots {
		if s.Ref.Layer != layer {
			continue
		}
		if !found && len(act)%s.Width != 0 {
			return fmt.Errorf("layer %d has width %d; %d numbers are no whole rows", layer, s.Width, len(act))
		}
		found = true
		if identity || s.Kernel == nil {
			continue
		}
		switch {
		case Blended(s.Stage):
			if cap(b.scratch) < len(act) {
				b.scratch = make([]float32, len(act))
			}
			y := b.scratch[:len(act)]
			s.Kernel.Forward(y, act, float32(s.Alpha)*0.001, training && learns(s.Stage))
			copy(act, y)
		case s.Stage == Training && training:
			if cap(b.scratch) < len(act) {
				b.scratch = make([]float32, len(act))
			}
			s.Kernel.Forward(b.scratch[:len(act)], act, 0, true)
			loss, err := s.Kernel.Reconstruct()
			if err != nil {
				return err
			}
			s.loss, s.reconstruct = loss, true
		}
	}
	if !found {
		return fmt.Errorf("there is no graft layer %d", layer)
	}
	return nil
}

// Backward adds the gradients of a layer's learning kernels and holds them.
func (b *Bed) Backward(layer int32, dy []float32) error {
	for _, s := range b.slots {
		if s.Ref.Layer != layer || s.Kernel == nil || !learns(s.Stage) {
			continue
		}
		if err := s.Kernel.Backward(dy); err != nil {
			return err
		}
	}
	return nil
}

// Settle ends a step: with full its held gradients are applied and every
// stage's steps advance, otherwise they are dropped.
func (b *Bed) Settle(full bool, rate float32) {
	if full {
		b.FullSteps++
	}
	for _, s := range b.slots {
		if s.Kernel == nil {
			continue
		}
		if !full {
			s.Kernel.Drop()
			s.reconstruct = false
			continue
		}
		if learns(s.Stage) || s.reconstruct {
			s.Kernel.Step(b.Rate(s, rate))
		}
		if s.reconstruct {
			// A running mean with a power of two, exact in its own way.
			score := 1 / (1 + float64(s.loss))
			s.Gate += float64(0.125 * float64(score-s.Gate))
			s.reconstruct = false
		}
		s.StepsInStage++
		if s.Stage == Grafting {
			s.Alpha = alphaAt(s.StepsInStage)
		}
	}
}

// Rate is the rate at which a slot's kernel is trained where the controller's is
// rate: its parameters are new, and are led to that.
func (b *Bed) Rate(s *Slot, rate float32) float32 { return rates.Fresh(rate, b.Epoch-s.Since) }

// Change is one change of a slot's stage.
type Change struct {
	Ref       Ref
	From, To  Stage
	KernelID  string
	CommandID string
}

// Command is the part of a seed command that a bed needs.
type Command struct {
	ID        string
	Ref       Ref
	Op        adaptationv2.SeedOperation
	KernelID  string
	WantStage Stage // 0: any
	// Trouble is why the kernel to be germinated could not be had: it is not asked
	// for, and the slot is culled.
	Trouble string
}

// Cross begins an epoch: every occupied slot is an epoch older, and what its
// gate says of the validation loss is noted. Commands are applied after it.
func (b *Bed) Cross(epoch int64, validationLoss float64) {
	b.Epoch = epoch
	for _, s := range b.slots {
		if s.Kernel == nil {
			continue
		}
		s.EpochsInStage++
		r := &b.rules
		switch s.Stage {
		case Germinated:
			s.Ready = true
		case Training:
			s.Ready = s.Gate >= r.TrainingGate
		case Grafting:
			s.Ready = s.Alpha == 1000
		case Stabilization:
			s.Ready = s.EpochsInStage >= r.StabilizeEpochs
			s.Best, s.BestEpoch = validationLoss, epoch
		case Evaluating:
			if validationLoss <= s.Best-r.EvaluateGate {
				s.Ready = true
			}
			s.Failing = !s.Ready && s.EpochsInStage >= r.EvaluatePatience
		case FineTuning:
			if validationLoss < s.Best {
				s.Best, s.BestEpoch = validationLoss, epoch
			}
			s.Ready = epoch-s.BestEpoch >= r.FineTunePatience
		}
	}
}

// Apply carries out a command at the boundary that Cross began. It returns
// every stage change that follows, in order; an error means that nothing
// changed, and says why. The one exception is a kernel that cannot be loaded:
// it leaves the slot CULLED, and the changes say so.
func (b *Bed) Apply(c Command) ([]Change, error) {
	s := b.Slot(c.Ref)
	if s == nil {
		return nil, fmt.Errorf("there is no seed %v", c.Ref)
	}
	if c.WantStage != 0 && c.WantStage != s.Stage {
		return nil, fmt.Errorf("seed %v is in %v, and the command expects %v", c.Ref, s.Stage, c.WantStage)
	}
	to, err := target(c.Op, s.Stage)
	if err != nil {
		return nil, err
	}
	var changes []Change
	if to == Germinated {
		if s.Stage == Culled || s.Stage == Cancelled {
			if b.Epoch < s.EmbargoUntil {
				return nil, fmt.Errorf("seed %v is under embargo until epoch %d", c.Ref, s.EmbargoUntil)
			}
			if s.Kernel != nil {
				return nil, fmt.Errorf("seed %v is occupied", c.Ref)
			}
			changes = append(changes, Change{c.Ref, s.Stage, Dormant, "", c.ID})
		} else if s.Stage != Dormant {
			return nil, fmt.Errorf("seed %v is in %v, and only a dormant one can be germinated", c.Ref, s.Stage)
		}
		var made *trainer.Kernel
		ok := c.Trouble == ""
		if ok {
			made, err = b.kernels.Kernel(c.KernelID, s.Width)
			ok = err == nil
		}
		if ok && b.inFlight() >= b.rules.MaxKernelInFlight {
			return nil, fmt.Errorf("%d kernels are grafted already", b.inFlight())
		}
		s.enter(Germinated)
		s.CommandID, s.EmbargoUntil, s.Gate, s.Violations = c.ID, 0, 0, 0
		changes = append(changes, Change{c.Ref, Dormant, Germinated, c.KernelID, c.ID})
		if ok {
			s.Kernel, s.Since = made, b.Epoch
		} else {
			changes = append(changes, b.cull(s, c.ID, c.KernelID))
		}
		return changes, nil
	}
	if !Allowed(s.Stage, to) {
		return nil, fmt.Errorf("seed %v cannot go from %v to %v", c.Ref, s.Stage, to)
	}
	if to != Culled && to != Cancelled && !s.Ready {
		return nil, fmt.Errorf("seed %v is not ready to leave %v", c.Ref, s.Stage)
	}
	id := ""
	if s.Kernel != nil {
		id = s.Kernel.ID
	}
	from := s.Stage
	switch to {
	case Culled:
		changes = append(changes, b.cull(s, c.ID, id))
		if c.Op == adaptationv2.SeedOperation_RETIRE {
			s.EmbargoUntil = math.MaxInt64
		}
		return changes, nil
	case Cancelled:
		s.enter(Cancelled)
		s.Kernel, s.Alpha = nil, 0
	default:
		s.enter(to)
		switch to {
		case Grafting:
			s.Alpha = 0
		case Stabilization, Evaluating, FineTuning, Fossilized:
			s.Alpha = 1000
		}
	}
	return append(changes, Change{c.Ref, from, to, id, c.ID}), nil
}

func (b *Bed) inFlight() (n int) {
	for _, s := range b.slots {
		if s.Kernel != nil && s.Stage != Fossilized {
			n++
		}
	}
	return n
}

// cull empties a slot and puts it under embargo.
func (b *Bed) cull(s *Slot, commandID, kernelID string) Change {
	c := Change{s.Ref, s.Stage, Culled, kernelID, commandID}
	s.enter(Culled)
	s.Kernel, s.Alpha = nil, 0
	s.EmbargoUntil = b.Epoch + b.rules.EmbargoEpochs
	return c
}

// Quarantine culls a slot at once, for a kernel fault or too many violations
// of gradient isolation. It reports false for a slot that has no kernel.
func (b *Bed) Quarantine(r Ref, why string) (Change, bool) {
	s := b.Slot(r)
	if s == nil || s.Kernel == nil || s.Stage == Fossilized {
		return Change{}, false
	}
	return b.cull(s, why, s.Kernel.ID), true
}

// Lock makes a slot the culprit of a rollback: the identity, until an operator
// clears it. It reports false for a slot that has no kernel to lock.
func (b *Bed) Lock(r Ref, why string) (Change, bool) {
	s := b.Slot(r)
	if s == nil || s.Stage == RolledBack {
		return Change{}, false
	}
	id := ""
	if s.Kernel != nil {
		id = s.Kernel.ID
	}
	c := Change{r, s.Stage, RolledBack, id, why}
	s.enter(RolledBack)
	s.Kernel, s.Alpha = nil, 0
	return c, true
}

func (s *Slot) enter(to Stage) {
	s.Stage = to
	s.EpochsInStage, s.StepsInStage = 0, 0
	s.Ready, s.Failing, s.reconstruct = false, false, false
}

// Save writes the bed's state into m.
func (b *Bed) Save(m *statev2.KasminaState) {
	m.FullSteps, m.Epoch = b.FullSteps, b.Epoch
	m.Slots = m.Slots[:0]
	for _, s := range b.slots {
		row := &statev2.SlotState{
			Seed: s.Ref.Proto(), Stage: s.Stage, EpochsInStage: s.EpochsInStage,
			StepsInStage: s.StepsInStage, AlphaMilli: s.Alpha,
			EmbargoUntilEpoch: s.EmbargoUntil, Ready: s.Ready, GateScore: s.Gate,
			BestValidationLoss: s.Best, BestEpoch: s.BestEpoch,
			IsolationViolations: s.Violations, CommandId: s.CommandID, GerminatedEpoch: s.Since,
		}
		if k := s.Kernel; k != nil {
			row.Kernel = &statev2.KernelState{
				KernelArtifactId: k.ID,
				Parameters:       append([]float32(nil), k.Params...),
				Momentum:         append([]float32(nil), k.Momentum...),
				Binary:           append([]byte(nil), k.Binary...),
			}
		}
		m.Slots = append(m.Slots, row)
	}
}

// kernelOf makes the kernel of a saved state. What came from a library brings
// its binary: a restore waits for nobody.
func (b *Bed) kernelOf(k *statev2.KernelState, width int) (*trainer.Kernel, error) {
	var made *trainer.Kernel
	var err error
	if len(k.Binary) > 0 {
		made, err = kernel.Load(k.KernelArtifactId, k.Binary, width)
	} else {
		made, err = b.kernels.Kernel(k.KernelArtifactId, width)
	}
	if err != nil {
		return nil, fmt.Errorf("state has the kernel %q: %w", k.KernelArtifactId, err)
	}
	return made, nil
}

// Restore replaces the bed's state. An error means that the state does not fit
// the bed; the bed is then as it was.
func (b *Bed) Restore(m *statev2.KasminaState) error {
	if len(m.Slots) != len(b.slots) {
		return fmt.Errorf("state has %d slots; the bed has %d", len(m.Slots), len(b.slots))
	}
	next := make([]*Slot, 0, len(b.slots))
	for i, row := range m.Slots {
		old := b.slots[i]
		if RefOf(row.Seed) != old.Ref {
			return fmt.Errorf("state has seed %v where the bed has %v", RefOf(row.Seed), old.Ref)
		}
		s := &Slot{
			Ref: old.Ref, Width: old.Width, Stage: row.Stage, CommandID: row.CommandId,
			EpochsInStage: row.EpochsInStage, StepsInStage: row.StepsInStage,
			Alpha: row.AlphaMilli, EmbargoUntil: row.EmbargoUntilEpoch, Ready: row.Ready,
			Gate: row.GateScore, Best: row.BestValidationLoss, BestEpoch: row.BestEpoch,
			Violations: row.IsolationViolations, Since: row.GerminatedEpoch,
		}
		s.Failing = s.Stage == Evaluating && !s.Ready && s.EpochsInStage >= b.rules.EvaluatePatience
		if k := row.Kernel; k != nil {
			made, err := b.kernelOf(k, s.Width)
			if err != nil {
				return err
			}
			if err := made.Load(k.Parameters, k.Momentum); err != nil {
				return err
			}
			s.Kernel = made
		}
		next = append(next, s)
	}
	b.slots, b.FullSteps, b.Epoch = next, m.FullSteps, m.Epoch
	return nil
}
