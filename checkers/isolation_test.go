package checkers_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

var someSeed = &telemetryv2.SeedRef{LayerId: 1, SeedId: 1}

// gradients registers the host's parameter 1 and the seed's 2, and holds the
// gradients of some parameters in a step.
func (p *tape) gradients(n int32, held bool, parameters ...uint64) {
	p.fact("kasmina", &evidencev2.RegistrationFact{Parameters: []uint64{1}})
	p.fact("kasmina", &evidencev2.RegistrationFact{Seed: someSeed, Parameters: []uint64{2}})
	p.fact("kasmina", &evidencev2.GradientFact{Step: step(0, n, 1), LayerId: 1, Held: held, Sets: []*evidencev2.GradientSet{{Seed: someSeed, Parameters: parameters}}})
}

func (p *tape) settled(n int32, full bool) {
	p.fact("tolaria", &evidencev2.StepFact{Step: step(0, n, 1), Effect: pick(full, trainingv2.StepEffect_FULL, trainingv2.StepEffect_IDENTITY)})
}

func (p *tape) holdsGradients(n int32, status trainingv2.ReplyStatus) {
	p.sent("kasmina", "tolaria", &trainingv2.BackwardReply{Step: step(0, n, 1), LayerId: 1, Status: status})
}

// usesKernel is a reply with the seed's kernel in it.
func (p *tape) usesKernel(n int32, status trainingv2.ReplyStatus) {
	p.sent("kasmina", "tolaria", &trainingv2.ForwardReply{Step: step(0, n, 1), LayerId: 1, Status: status, Training: true,
		Kernels: []*trainingv2.KernelUse{{Seed: someSeed, KernelArtifactId: "k", Stage: telemetryv2.SeedStage_GRAFTING}}})
}

func (p *tape) kernelFails(n int32) {
	p.fact("kasmina", &evidencev2.KernelFaultFact{Seed: someSeed, KernelArtifactId: "k", Step: step(0, n, 1), Training: true})
}

func (p *tape) fossil(parameter float32) {
	m := &statev2.KasminaState{Slots: []*statev2.SlotState{{Seed: someSeed, Stage: telemetryv2.SeedStage_FOSSILIZED, Kernel: &statev2.KernelState{Parameters: []float32{parameter}}}}}
	p.sent("kasmina", "tolaria", &trainingv2.BoundaryReply{Part: &trainingv2.StatePart{Data: m.AppendCanonical(nil)}})
}

// seedCases are the cases of what seeds may do to what is trained.
var seedCases = map[string]func(p *tape, guilty bool){
	"K6": func(p *tape, guilty bool) {
		p.gradients(1, true, 2, pick[uint64](guilty, 1, 2))
		p.holdsGradients(1, trainingv2.ReplyStatus_OK)
		p.settled(1, true)
	},
	"K7": func(p *tape, guilty bool) {
		p.gradients(1, true, 2, pick[uint64](guilty, 3, 2))
		p.settled(1, true)
	},
	"I10": func(p *tape, guilty bool) { // the replayer proves one epoch, and no more
		for n := range pick(guilty, 2, 1) {
			d := sha256.Sum256(fmt.Appendf(nil, "%d epochs", n+1))
			p.fact("tolaria", &evidencev2.EpochFact{Epoch: int64(n), Generation: 1, WeightsSha256: d[:], OptimizerSha256: d[:], SampleOrderSha256: d[:], GlobalStep: uint64(8 * (n + 1))})
		}
	},
	"K8": func(p *tape, guilty bool) {
		p.kernelFails(1)
		p.settled(1, guilty)
	},
}

// Each clause of K6 to K8, broken alone.
func TestIsolation(t *testing.T) {
	const ok, paused = trainingv2.ReplyStatus_OK, trainingv2.ReplyStatus_PAUSED
	holds(t, map[string]clause{
		"a step that is trained all the same": {"K6", func(p *tape, guilty bool) {
			p.gradients(1, false, 1, 2)
			p.holdsGradients(1, paused)
			p.settled(1, guilty)
		}},
		"a seed that goes on after its third violation": {"K6", func(p *tape, guilty bool) {
			for n := range pick[int32](guilty, 3, 2) {
				p.gradients(n, false, 1, 2)
			}
			p.usesKernel(4, ok)
		}},
		"a seed that begins anew": {"K6", func(p *tape, guilty bool) {
			for n := range int32(3) {
				p.gradients(n, false, 1, 2)
			}
			if !guilty {
				p.fact("kasmina", &evidencev2.StageFact{Seed: someSeed, To: telemetryv2.SeedStage_CULLED})
			}
			p.usesKernel(4, ok)
		}},
		"a parameter of another seed": {"K7", func(p *tape, guilty bool) {
			p.fact("kasmina", &evidencev2.RegistrationFact{Seed: &telemetryv2.SeedRef{LayerId: pick[int32](guilty, 2, 1), SeedId: 1}, Parameters: []uint64{3}})
			p.gradients(1, true, 2, 3)
			p.settled(1, true)
		}},
		"a parameter that was let go": {"K7", func(p *tape, guilty bool) {
			p.fact("kasmina", &evidencev2.RegistrationFact{Seed: someSeed, Parameters: []uint64{3}})
			if guilty {
				p.fact("kasmina", &evidencev2.RegistrationFact{Seed: someSeed, Parameters: []uint64{3}, Released: true})
			}
			p.gradients(1, true, 2, 3)
			p.settled(1, true)
		}},
		"a fossilized seed that learns": {"K7", func(p *tape, guilty bool) {
			p.fact("kasmina", &evidencev2.StageFact{Seed: someSeed, To: pick(guilty, telemetryv2.SeedStage_FOSSILIZED, telemetryv2.SeedStage_FINE_TUNING)})
			p.gradients(1, true, 2)
			p.settled(1, true)
		}},
		"a fossilized seed that changes": {"K7", func(p *tape, guilty bool) {
			p.fossil(1)
			p.fossil(pick[float32](guilty, 2, 1))
		}},
		"a kernel that is used again": {"K8", func(p *tape, guilty bool) {
			p.kernelFails(1)
			p.settled(1, false)
			p.usesKernel(2, pick(guilty, ok, paused))
		}},
		"a kernel that a restart brings back": {"K8", func(p *tape, guilty bool) {
			p.kernelFails(1)
			p.settled(1, false)
			if guilty {
				p.fact("kasmina", &evidencev2.KernelFaultFact{KernelArtifactId: "k", Durable: true})
			}
			p.event(trace.NodeStarted, "kasmina", nil)
			p.usesKernel(2, ok)
		}},
		"a kernel that stops an epoch": {"K8", func(p *tape, guilty bool) {
			p.kernelFails(1)
			if !guilty {
				p.settled(1, false)
			}
			p.wait(2 * stoppedFor)
			p.settled(2, false)
		}},
	})
}

const stoppedFor = 15e9
