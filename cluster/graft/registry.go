package graft

import (
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/cluster/trainer"
)

// Registry says whose each parameter is: the host's, or a seed's. Nobody may
// train what was not registered in his name before (card 02).
//
// A tensor is named by a stable hash of its path, shape and type, as in card 12.
type Registry struct{ owners map[trainer.TensorID]Ref }

// HostOwner stands for the host network, and for the teacher of every seed,
// which is the host: a seed reconstructs the activations that pass through it.
var HostOwner = Ref{}

// NewRegistry is the registry of a run in which only the host has parameters.
func NewRegistry(host []trainer.TensorID) *Registry {
	r := &Registry{owners: map[trainer.TensorID]Ref{}}
	for _, id := range host {
		r.owners[id] = HostOwner
	}
	return r
}

// Register enters an owner's parameters. Doing it again changes nothing; a
// parameter of somebody else is an error, and then none is entered.
func (r *Registry) Register(owner Ref, ids []trainer.TensorID) error {
	for _, id := range ids {
		if has, ok := r.owners[id]; ok && has != owner {
			return fmt.Errorf("seed %v would register the parameter %016x, which is %v's", owner, uint64(id), has)
		}
	}
	for _, id := range ids {
		r.owners[id] = owner
	}
	return nil
}

// Has says whether all of the parameters are an owner's.
func (r *Registry) Has(owner Ref, ids []trainer.TensorID) bool {
	for _, id := range ids {
		if has, ok := r.owners[id]; !ok || has != owner {
			return false
		}
	}
	return true
}

// Release lets an owner's parameters go.
func (r *Registry) Release(owner Ref, ids []trainer.TensorID) {
	for _, id := range ids {
		if has, ok := r.owners[id]; ok && has == owner {
			delete(r.owners, id)
		}
	}
}

// Gradients are the parameters in which one seed's gradients lie.
type Gradients struct {
	Ref      Ref
	KernelID string
	IDs      []trainer.TensorID
}

// Gradients lists those of the seeds of a layer that are held.
func (b *Bed) Gradients(layer int32) (list []Gradients) {
	for _, s := range b.slots {
		if s.Ref.Layer == layer && s.Kernel != nil && (learns(s.Stage) || s.reconstruct) {
			list = append(list, Gradients{s.Ref, s.Kernel.ID, s.Parameters()})
		}
	}
	return list
}

// Parameters are those of the slot's kernel; none without one.
func (s *Slot) Parameters() (ids []trainer.TensorID) {
	if s.Kernel == nil {
		return nil
	}
	return s.Kernel.Tensors(fmt.Sprintf("seed/%v/%s/%s", s.Ref, s.CommandID, s.Kernel.ID))
}

// Violators are the seeds whose gradients are not disjoint with the host's.
func Violators(host []trainer.TensorID, sets []Gradients) (list []Ref) {
	for _, g := range sets {
		if slices.ContainsFunc(g.IDs, func(id trainer.TensorID) bool { return slices.Contains(host, id) }) {
			list = append(list, g.Ref)
		}
	}
	return list
}

// Violate counts a violation of gradient isolation, and says whether the seed has
// committed as many as lead to its quarantine.
func (b *Bed) Violate(r Ref) bool {
	s := b.Slot(r)
	if s == nil || s.Kernel == nil {
		return false
	}
	s.Violations++
	return s.Violations >= b.rules.MaxViolations
}

// Intolerable says whether so many violations more lead to the quarantine of a
// seed.
func (b *Bed) Intolerable(r Ref, more int) bool {
	s := b.Slot(r)
	return s != nil && s.Kernel != nil && int(s.Violations)+more >= int(b.rules.MaxViolations)
}
