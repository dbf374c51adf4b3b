package kasmina

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/contracts/durations"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// isolation keeps the seeds' gradients apart from the host's and from each
// other's (card 02): what a seed trains was registered in its name before, and no
// gradient of it lies in a parameter of the host. A step in which one does is
// refused and takes the identity path; the third such step of a seed is its last:
// Tolaria is asked for a checkpoint at the next boundary, at which the seed is
// quarantined. Three refused in a row, of whatever seeds, open the breaker
// gradient_isolation: for a while no gradient of any is taken.
type isolation struct {
	guard      *breaker.Breaker
	registry   *graft.Registry
	host       []trainer.TensorID
	upstream   map[int32][]trainer.TensorID // of the host, that a graft layer's input depends on
	registered map[graft.Ref][]trainer.TensorID
	leaks      []graft.Ref // of this epoch: they are counted at the boundary
	fact       evidencev2.GradientFact
}

func newIsolation(m *trainer.Model, guard *breaker.Breaker) *isolation {
	i := &isolation{guard: guard, host: m.Tensors(), upstream: map[int32][]trainer.TensorID{}, registered: map[graft.Ref][]trainer.TensorID{}}
	for _, g := range m.Grafts() {
		i.upstream[int32(g.Layer)] = m.Upstream(g.Layer)
	}
	i.registry = graft.NewRegistry(i.host)
	return i
}

// register enters the parameters of every kernel in the bed, and lets go of those
// that are not there any more. What is registered already stays so.
func (k *kasmina) register() error {
	i := k.isolation
	for _, s := range k.bed.Slots() {
		ids := s.Parameters()
		if old := i.registered[s.Ref]; len(old) > 0 && !sameIDs(old, ids) {
			i.registry.Release(s.Ref, old)
			delete(i.registered, s.Ref)
			k.registration(s, old, true)
		}
		if len(ids) == 0 || len(i.registered[s.Ref]) > 0 {
			continue
		}
		if err := i.registry.Register(s.Ref, ids); err != nil {
			return fmt.Errorf("kasmina: %w", err)
		}
		i.registered[s.Ref] = ids
		k.registration(s, ids, false)
	}
	return nil
}

func sameIDs(a, b []trainer.TensorID) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (k *kasmina) registration(s *graft.Slot, ids []trainer.TensorID, released bool) {
	f := &evidencev2.RegistrationFact{Released: released, Parameters: plain(ids)}
	if s != nil {
		f.Seed = s.Ref.Proto()
		if s.Kernel != nil && !released {
			f.KernelArtifactId = s.Kernel.ID
		}
	}
	k.env.Facts.Record(f)
}

func plain(ids []trainer.TensorID) (list []uint64) {
	for _, id := range ids {
		list = append(list, uint64(id))
	}
	return list
}

// isolated says whether the gradients that a layer's seeds hold are theirs alone.
// It notes those that are not.
func (k *kasmina) isolated(step *trainingv2.StepRef, layer int32, rate float64) bool {
	i := k.isolation
	sets := k.bed.Gradients(layer)
	for n := range sets {
		if k.env.Probe.Sometimes("gradient-leak") {
			sets[n].IDs = append(sets[n].IDs, i.upstream[layer]...)
		}
	}
	guilty := graft.Violators(i.host, sets)
	for _, g := range sets {
		if len(guilty) == 0 && !i.registry.Has(g.Ref, g.IDs) {
			guilty = append(guilty, g.Ref) // nobody trains what he has not registered
		}
	}
	if len(sets) > 0 {
		f := &i.fact
		f.Step, f.LayerId, f.Held = step, layer, len(guilty) == 0
		f.Sets = f.Sets[:0]
		for _, g := range sets {
			f.Sets = append(f.Sets, &evidencev2.GradientSet{Seed: g.Ref.Proto(), KernelArtifactId: g.KernelID, Parameters: plain(g.IDs),
				LearningRate: float64(k.bed.Rate(k.bed.Slot(g.Ref), float32(rate)))})
		}
		k.env.Facts.Record(f)
	}
	for _, r := range guilty {
		k.env.Probe.Reached("kasmina/isolation-violation")
		i.leaks = append(i.leaks, r)
		s := k.bed.Slot(r)
		k.report(s, "its gradients are not its own", 0)
		if k.bed.Intolerable(r, i.pending(r)) {
			k.faulty = append(k.faulty, r)
			k.alarm(s)
		}
	}
	return len(guilty) == 0
}

// shielded does what needs a layer's gradients under the breaker: it says
// whether they were taken and are isolated.
func (k *kasmina) shielded(step *trainingv2.StepRef, layer int32, rate float64) bool {
	if len(k.bed.Gradients(layer)) == 0 {
		return true
	}
	g := k.isolation.guard
	ticket, ok := g.Allow(k.env.Clock.Monotonic())
	if !ok {
		k.env.Probe.Reached("kasmina/isolation-open")
		return false
	}
	ok = k.isolated(step, layer, rate)
	g.Done(k.env.Clock.Monotonic(), ticket, ok)
	return ok
}

// alarm asks Tolaria for a checkpoint before a seed is quarantined. If the notice
// is lost the checkpoint is the one that is due anyway.
func (k *kasmina) alarm(s *graft.Slot) {
	id := fmt.Sprint("isolation/", s.Ref, "/", k.env.Incarnation, "/", k.step.ref.epoch, "/", k.step.ref.step)
	k.env.Net.Send(k.job.Tolaria, &telemetryv2.EmergencyNotice{NoticeId: id, Level: telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_MINOR,
		Action: telemetryv2.EmergencyAction_TUNE, Source: Subsystem, Reason: "the gradients of seed " + s.Ref.String() + " are not its own",
		RaisedAt: timestamppb.New(k.env.Clock.Now()), RespondWithin: durations.From(5 * time.Second)}, actor.SendOptions{Key: id})
}

// pending is how many violations of a seed are not counted yet.
func (i *isolation) pending(r graft.Ref) (n int) {
	for _, l := range i.leaks {
		if l == r {
			n++
		}
	}
	return n
}
