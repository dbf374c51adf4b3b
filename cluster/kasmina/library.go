package kasmina

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
)

// loads are the kernels that commands wait for. A germination is carried out at
// the first boundary after the library has answered about its kernel, whatever
// the answer; a silent library makes its command expire, and nothing else.
// Nothing here makes a step or a boundary wait.
type loads struct {
	byCommand map[string]*loading
	shelf     kernel.Shelf
	faults    []*fault
}

// loading is a kernel that a command waits for.
type loading struct {
	kernel   string
	answered bool
	binary   []byte
	trouble  string // why there is none
}

// fault is a kernel that failed, until Urabrask has put it in quarantine.
type fault struct {
	m    *assetsv2.KernelFault
	sent uint32
}

// tellings is how often a kernel's fault is told, without an answer.
const tellings = 10

// catalogue is where grafted kernels come from.
func (k *kasmina) catalogue() graft.Catalogue {
	if k.job.Library {
		return &k.loads.shelf
	}
	return k.job.Kernels
}

// germination is the kernel that a command germinates, or "".
func germination(c *adaptationv2.AdaptationCommand) string {
	if m := c.GetSeedLifecycle(); m.GetOperation() == adaptationv2.SeedOperation_GERMINATE {
		return m.GetKernelArtifactId()
	}
	return ""
}

// order asks the library for the kernels of commands that wait. Each command
// asks anew: what was validated once may be in quarantine now.
func (k *kasmina) order() {
	if !k.job.Library {
		return
	}
	waiting := map[string]bool{}
	for _, c := range k.desk.Waiting() {
		id, of := c.M.CommandId, germination(c.M)
		waiting[id] = true
		if of == "" || k.loads.byCommand[id] != nil {
			continue
		}
		if k.loads.byCommand == nil {
			k.loads.byCommand = map[string]*loading{}
		}
		l := &loading{kernel: of}
		k.loads.byCommand[id] = l
		k.library.Ask("load/"+id, &assetsv2.FetchKernel{KernelArtifactId: of}, func(m canon.Message) {
			if r, ok := m.(*assetsv2.FetchKernelReply); ok {
				l.binary, l.trouble = received(of, r)
				l.answered = true
			}
		})
	}
	for id := range k.loads.byCommand {
		if !waiting[id] {
			k.library.Drop("load/" + id)
			delete(k.loads.byCommand, id)
		}
	}
}

// received checks what the library gave: the kernel that was asked for,
// validated, with bytes that have their digest and load.
func received(id string, r *assetsv2.FetchKernelReply) (binary []byte, trouble string) {
	sum := sha256.Sum256(r.Binary)
	s := r.Kernel.GetStatus()
	switch {
	case r.Status != assetsv2.AssetStatus_EXISTS:
		return nil, fmt.Sprintf("the library says %v: %s", r.Status, r.Reason)
	case r.Kernel.GetId() != id:
		return nil, fmt.Sprintf("the library gave the kernel %q", r.Kernel.GetId())
	case s != blueprintv2.KernelStatus_VALIDATED && s != blueprintv2.KernelStatus_KERNEL_ACTIVE:
		return nil, fmt.Sprintf("it is %v", s)
	case string(sum[:]) != string(r.BinarySha256) || r.Kernel.KernelBinaryRef != "object/"+hex.EncodeToString(sum[:]):
		return nil, "its bytes do not have its digest"
	}
	if _, err := kernel.Decode(r.Binary); err != nil {
		return nil, err.Error()
	}
	return append([]byte(nil), r.Binary...), ""
}

// loaded says whether a command need not wait for a kernel.
func (k *kasmina) loaded(c *adaptationv2.AdaptationCommand) bool {
	if !k.job.Library || germination(c) == "" {
		return true
	}
	l := k.loads.byCommand[c.CommandId]
	return l != nil && l.answered
}

// shelve makes the kernel of a command available to the bed, or says why there
// is none.
func (k *kasmina) shelve(c *adaptationv2.AdaptationCommand) (trouble string) {
	id := germination(c)
	if !k.job.Library || id == "" {
		return ""
	}
	l := k.loads.byCommand[c.CommandId]
	if l == nil || !l.answered {
		return "the library has not answered"
	}
	if l.trouble == "" {
		k.loads.shelf.Put(id, l.binary)
	}
	return l.trouble
}

// failed tells Urabrask and Tamiyo that a kernel of the library failed, once for
// each kernel and generation.
func (k *kasmina) failed(id string, atLoad bool, detail string) {
	if id == "" {
		return
	}
	name := fmt.Sprint("fault/", id, "/", k.part.gen)
	if slices.ContainsFunc(k.loads.faults, func(f *fault) bool { return f.m.FaultId == name }) {
		return
	}
	k.loads.faults = append(k.loads.faults, &fault{m: &assetsv2.KernelFault{FaultId: name, KernelArtifactId: strings.Clone(id),
		Subsystem: Subsystem, AtLoad: atLoad, Detail: detail, Epoch: max(k.crossed, 0)}})
	k.tellFaults()
}

// tellFaults repeats the faults that nobody has acted on.
func (k *kasmina) tellFaults() {
	k.loads.faults = slices.DeleteFunc(k.loads.faults, func(f *fault) bool { return f.sent >= tellings })
	for _, f := range k.loads.faults {
		told := []actor.ID{k.job.Urabrask, k.job.Tamiyo}
		if !k.job.Library {
			told = told[1:] // there is nobody who could validate it anew
		}
		for _, to := range told {
			k.env.Net.Send(to, f.m, actor.SendOptions{Key: "kernel-" + f.m.FaultId, Attempt: f.sent})
		}
		f.sent++
	}
	if len(k.loads.faults) > 0 {
		k.env.Clock.SetTimer("faults", 0, time.Second)
	}
}

// quarantined takes Urabrask's word that a fault was acted on.
func (k *kasmina) quarantined(m *assetsv2.StoreReply) {
	k.loads.faults = slices.DeleteFunc(k.loads.faults, func(f *fault) bool { return f.m.FaultId == m.RequestId })
}
