package client

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/config"
	"github.com/esper-sim/espersim/cluster/kernel"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
)

// guesses is how far it counts where requests have numbers.
const guesses = 12

// answer is what a library would say to Kasmina, who is about to ask for the
// kernel of a command: that it is validated, and here are its bytes. They are
// those of another one. Requests are numbered within a life, so they can be
// guessed.
func (i *intruder) answer(c *adaptationv2.AdaptationCommand) {
	id := c.GetSeedLifecycle().GetKernelArtifactId()
	if !i.o.Answers || id == "" {
		return
	}
	p, err := kernel.Compile(kernel.Canonical(hostile(0)), kernel.Fast, i.env.GPU.Name(), kernel.Toolchain)
	if err != nil {
		return
	}
	r := &assetsv2.FetchKernelReply{Status: assetsv2.AssetStatus_EXISTS, Binary: p.Encode(),
		Kernel: &blueprintv2.CompiledKernelArtifact{Id: id, Status: blueprintv2.KernelStatus_VALIDATED}}
	sum := sha256.Sum256(r.Binary)
	r.BinarySha256, r.Kernel.KernelBinaryRef = sum[:], "object/"+hex.EncodeToString(sum[:])
	for life := range uint64(3) {
		for k := range guesses {
			r.RequestId = fmt.Sprint(i.job.Kasmina, "/", life+1, "/", k+1)
			i.env.Net.Send(i.job.Kasmina, r, actor.SendOptions{Key: "intrude-answer/" + i.name() + "/" + r.RequestId})
		}
	}
}

// malign says of a kernel that is grafted that it failed, to those who would put
// it in quarantine and choose it no more.
func (i *intruder) malign(list []overheard) {
	for k := len(list) - 1; i.o.Answers && k >= 0; k-- {
		if list[k].kernel == "" {
			continue
		}
		m := &assetsv2.KernelFault{FaultId: "fault/" + i.name(), KernelArtifactId: list[k].kernel, Subsystem: "kasmina", Detail: "intrusion"}
		i.env.Net.Send(i.job.Urabrask, m, actor.SendOptions{Key: "intrude-fault/" + i.name()})
		i.env.Net.Send(i.job.Tamiyo, m, actor.SendOptions{Key: "intrude-fault-2/" + i.name()})
		return
	}
}

// seal says in Mycosynth's name that everybody has a change of the configuration,
// as soon as it is announced.
func (i *intruder) seal(revision uint64) {
	if !i.o.Seals || revision == 0 {
		return
	}
	m := &operationsv2.ConfigSeal{Revision: revision}
	o := actor.SendOptions{Key: fmt.Sprint("intrude-seal/", revision, "/", i.name())}
	if i.n%2 == 1 {
		o.Auth = i.signer(false, i.nonce("seal"), i.env.Clock.Now())
	}
	i.env.Net.Send(i.job.Tolaria, m, o)
}

// reads are the topics that it reads along.
func (i *intruder) reads() []string {
	list := []string{toKasmina, toTolaria}
	if i.o.Seals {
		list = append(list, config.Topic)
	}
	return list
}
