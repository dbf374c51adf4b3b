package kasmina

import (
	"strings"

	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/journal"
	"github.com/esper-sim/espersim/cluster/trainer"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// evictions are the kernels that failed at work. They are not used again: not in
// this epoch, not in a state that a rollback brings back, not after a restart
// (K8). Until the boundary, where such a kernel is culled, every step takes the
// identity path; a fossilized one, which nothing may cull, keeps it there.
type evictions struct {
	log    *journal.Log
	bad    map[string]bool
	unsure []*assetsv2.KernelFault // not known to be durable
}

func (k *kasmina) openEvictions() {
	k.evicted.bad = map[string]bool{}
	k.evicted.log = journal.New(k.env, journal.Options{Dir: "evicted", Segment: k.o.Segment, Timeout: k.o.Timeout,
		Reset: func() {}, // what is known to have failed is not forgotten
		Apply: func(_ uint64, record []byte) error {
			m := new(assetsv2.KernelFault)
			if err := m.ParseCanonical(record); err != nil {
				return err
			}
			k.evicted.bad[m.KernelArtifactId] = true
			return nil
		},
		Opened: k.writeEvictions,
	})
	k.evicted.log.Open()
}

// writeEvictions makes durable what is not yet.
func (k *kasmina) writeEvictions() {
	e := &k.evicted
	for len(e.unsure) > 0 && e.log.Usable() {
		m := e.unsure[0]
		if !e.log.Write(m) {
			return
		}
		e.unsure = e.unsure[1:]
		k.env.Facts.Record(&evidencev2.KernelFaultFact{KernelArtifactId: m.KernelArtifactId, Detail: m.Detail, Durable: true})
	}
}

// evict takes a kernel out of use for good.
func (k *kasmina) evict(s *graft.Slot, step *trainingv2.StepRef, training bool, why string) {
	id := strings.Clone(s.Kernel.ID)
	k.env.Facts.Record(&evidencev2.KernelFaultFact{Seed: s.Ref.Proto(), KernelArtifactId: id, Step: step, Training: training, Detail: why})
	if k.evicted.bad[id] {
		return
	}
	k.evicted.bad[id] = true
	k.evicted.unsure = append(k.evicted.unsure, &assetsv2.KernelFault{KernelArtifactId: id, Subsystem: Subsystem, Detail: why, Epoch: max(k.crossed, 0)})
	k.writeEvictions()
}

// bypassed says whether the bed has a kernel that failed, or a seed that may not
// go on: then every layer passes its input through.
func (k *kasmina) bypassed() bool {
	if len(k.faulty) > 0 {
		return true
	}
	for _, s := range k.bed.Slots() {
		if s.Kernel != nil && s.Stage != graft.Germinated && k.evicted.bad[s.Kernel.ID] {
			return true
		}
	}
	return false
}

// faults are the seeds that are quarantined at the boundary.
func (k *kasmina) faults() (list []graft.Ref) {
	list = append(list, k.faulty...)
	for _, s := range k.bed.Slots() {
		if s.Kernel != nil && k.evicted.bad[s.Kernel.ID] {
			list = append(list, s.Ref)
		}
	}
	return list
}

// tensors of the host are registered when the process begins.
func (k *kasmina) registerHost(ids []trainer.TensorID) { k.registration(nil, ids, false) }
