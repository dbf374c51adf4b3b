package checkers_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

var (
	kernelIR = strings.Repeat("a", 64)
	kernelID = kernelIR + "-h100-fast-espc-1"
)

// verdict is Urabrask's report on the kernel, and the library's answer.
func (p *tape) verdict(from, id string, status blueprintv2.KernelStatus, passed bool, answer assetsv2.AssetStatus) {
	p.mail(from, "urza", &assetsv2.StoreReport{RequestId: id, KernelArtifactId: kernelID, Status: status,
		Report: &blueprintv2.UrabraskValidationReport{PassedValidation: passed, GeneratedTags: []string{id}}})
	p.sent("urza", from, &assetsv2.StoreReply{RequestId: id, AssetId: kernelID, Status: answer})
}

// answers are a query and its answer.
func (p *tape) answers(q *operationalv2.KernelQuery, r *operationalv2.KernelQueryResult) {
	q.QueryId, r.QueryId = "q", "q"
	p.mail("tamiyo", "urza", q)
	p.sent("urza", "tamiyo", r)
}

func validated() *blueprintv2.CompiledKernelArtifact {
	return &blueprintv2.CompiledKernelArtifact{Id: kernelID, Status: blueprintv2.KernelStatus_VALIDATED,
		ValidationReport: &blueprintv2.UrabraskValidationReport{GeneratedTags: []string{"dense"}, PassedValidation: true,
			BenchmarkResults: []*blueprintv2.BenchmarkResult{{MetricName: "latency_ms", MetricValue: 2}}}}
}

func (p *tape) rate(node string, rate float64) {
	p.sent(node, "kasmina", &trainingv2.BackwardRequest{LearningRate: rate})
}

// libraryCases are more of the cases.
var libraryCases = map[string]func(p *tape, guilty bool){
	"C8": func(p *tape, guilty bool) {
		p.sent("operator", "tamiyo", &pausev2.PauseRequest{PauseId: "p", MaxDuration: &durationpb.Duration{Seconds: pick[int64](guilty, -1, 1)}})
	},
	"A7": func(p *tape, guilty bool) {
		for i := range pick(guilty, 11, 10) {
			id := fmt.Sprint("p", i)
			p.mail("operator", "tamiyo", &pausev2.PauseRequest{PauseId: id})
			p.sent("tamiyo", "operator", &pausev2.PauseAck{PauseId: id, State: pausev2.PauseState_PAUSING, GrantedQuota: 1000})
		}
	},
	"T5": func(p *tape, guilty bool) {
		p.rate("tolaria", 0.02)
		p.command(&adaptationv2.AdaptationCommand{CommandId: "lr", Command: &adaptationv2.AdaptationCommand_LrUpdate{
			LrUpdate: &adaptationv2.LearningRateUpdate{GroupRates: []*adaptationv2.LearningRateGroup{{LearningRate: 0.01}}}}})
		if !guilty {
			p.fact("tolaria", &evidencev2.CommandFact{CommandId: "lr", Subsystem: "tolaria", Status: "APPLIED"})
		}
		p.rate("tolaria", 0.01)
	},
	"I1": func(p *tape, guilty bool) {
		p.verdict("urabrask", "r1", blueprintv2.KernelStatus_VALIDATED, true, assetsv2.AssetStatus_STORED)
		if guilty {
			p.verdict("urabrask", "r2", blueprintv2.KernelStatus_REJECTED, false, assetsv2.AssetStatus_STORED)
		}
	},
	"I2": func(p *tape, guilty bool) {
		p.verdict("urabrask", "r1", blueprintv2.KernelStatus_VALIDATED, true, assetsv2.AssetStatus_STORED)
		p.answers(&operationalv2.KernelQuery{RequiredTags: []string{pick(guilty, "sparse", "dense")}},
			&operationalv2.KernelQueryResult{QuerySuccessful: true, MatchingKernels: []*blueprintv2.CompiledKernelArtifact{validated()}})
	},
	"R3": func(p *tape, guilty bool) {
		for _, status := range []blueprintv2.KernelStatus{blueprintv2.KernelStatus_VALIDATED, pick(guilty, blueprintv2.KernelStatus_BENCHMARKING, blueprintv2.KernelStatus_KERNEL_ACTIVE)} {
			if status == blueprintv2.KernelStatus_VALIDATED {
				p.mail("tezzeret", "urza", &assetsv2.StoreKernel{RequestId: "s", BlueprintId: kernelIR, Hardware: "h100", Toolchain: "espc-1", Binary: []byte("one"), BinarySha256: oneSum[:], BinaryCrc32C: oneCRC,
					Kernel: &blueprintv2.CompiledKernelArtifact{Id: kernelID, CompilationPipeline: "fast"}})
				p.sent("urza", "tezzeret", &assetsv2.StoreReply{RequestId: "s", AssetId: kernelID, Status: assetsv2.AssetStatus_STORED})
				p.verdict("urabrask", "r1", status, true, assetsv2.AssetStatus_STORED)
			} else if !guilty {
				p.mail("tezzeret", "urza", &assetsv2.MoveAsset{RequestId: "m", AssetId: kernelID, Kernel: status})
				p.sent("urza", "tezzeret", &assetsv2.StoreReply{RequestId: "m", AssetId: kernelID, Status: assetsv2.AssetStatus_STORED})
			}
			p.mail("kasmina", "urza", &assetsv2.FetchKernel{RequestId: "f", KernelArtifactId: kernelID})
			one := sha256.Sum256([]byte("one"))
			p.sent("urza", "kasmina", &assetsv2.FetchKernelReply{RequestId: "f", Status: assetsv2.AssetStatus_EXISTS, BlueprintId: kernelIR, Binary: []byte("one"), BinarySha256: one[:],
				Kernel: &blueprintv2.CompiledKernelArtifact{Id: kernelID, Status: status}})
		}
	},
	"I3": func(p *tape, guilty bool) {
		for _, b := range []string{"one", pick(guilty, "two", "one")} {
			sum := sha256.Sum256([]byte(b))
			p.mail("kasmina", "urza", &assetsv2.FetchKernel{RequestId: "f", KernelArtifactId: kernelID})
			p.sent("urza", "kasmina", &assetsv2.FetchKernelReply{RequestId: "f", Status: assetsv2.AssetStatus_EXISTS, BlueprintId: kernelIR, Binary: []byte(b), BinarySha256: sum[:],
				Kernel: &blueprintv2.CompiledKernelArtifact{Id: kernelID}})
		}
		p.sent("intruder", "kasmina", &assetsv2.FetchKernelReply{RequestId: "g", Status: assetsv2.AssetStatus_EXISTS, Binary: []byte("its own"),
			Kernel: &blueprintv2.CompiledKernelArtifact{Id: kernelID}}) // the library says nothing here
	},
}

// Each clause of the library's rows, of the rates', the quota's and the
// Durations', broken alone.
func TestTheLibraryAndTheLimits(t *testing.T) {
	ir := &blueprintv2.BlueprintIR{DesignIntent: "x"}
	sum := sha256.Sum256(ir.AppendCanonical(nil))
	holds(t, map[string]clause{
		"an answer within less than nothing": {"C8", func(p *tape, guilty bool) {
			p.sent("nissa", "tolaria", &telemetryv2.EmergencyNotice{RespondWithin: &durationpb.Duration{Nanos: pick[int32](guilty, -1, 1)}})
		}},
		"a time to live below zero": {"C8", func(p *tape, guilty bool) {
			p.sentBytes("tolaria", "oona", p.seal(&envelopev2.EventEnvelope{EventId: "e", Ttl: &durationpb.Duration{Seconds: pick[int64](guilty, -5, 5)}}, &eventsv2.EpochEvent{}, false))
		}},
		"a pause that is dearer than one may be": {"A7", func(p *tape, guilty bool) {
			p.sent("tamiyo", "operator", &pausev2.PauseAck{PauseId: "p", State: pausev2.PauseState_PAUSING, GrantedQuota: pick[uint32](guilty, 1001, 1000)})
		}},
		"a quota that comes back too soon": {"A7", func(p *tape, guilty bool) {
			libraryCases["A7"](p, false)
			p.wait(pick(guilty, 58*time.Second, 61*time.Second))
			p.sent("tamiyo", "operator", &pausev2.PauseAck{PauseId: "late", State: pausev2.PauseState_PAUSING, GrantedQuota: 1})
		}},
		"a pause with more calls than one may make": {"A7", func(p *tape, guilty bool) {
			p.fact("kasmina", &evidencev2.PauseFact{PauseId: "p", Subsystem: "kasmina", State: "PAUSED"})
			for i := range pick[int32](guilty, 1001, 1000) {
				for range 2 { // the same answer twice is one call
					p.sent("kasmina", "tolaria", &trainingv2.ForwardReply{Status: trainingv2.ReplyStatus_PAUSED, Step: step(0, i, 1)})
				}
			}
		}},
		"a rollback that forgets the rate": {"T5", func(p *tape, guilty bool) {
			p.rate("tolaria", 0.02)
			p.sent("tolaria", "kasmina", &trainingv2.BoundaryRequest{CheckpointId: "c", Epoch: 4})
			p.fact("tolaria", &evidencev2.RollbackFact{Step: evidencev2.RollbackStep_RB_RESTORED, Subsystem: "tolaria", CheckpointId: "c", Epoch: 4})
			p.rate("tolaria", pick(guilty, 0.01, 0.02))
		}},
		"a warm-up that is none": {"T5", func(p *tape, guilty bool) {
			p.rate("tolaria", 0.02)
			p.command(&adaptationv2.AdaptationCommand{CommandId: "lr", Command: &adaptationv2.AdaptationCommand_LrUpdate{
				LrUpdate: &adaptationv2.LearningRateUpdate{GroupRates: []*adaptationv2.LearningRateGroup{{LearningRate: 0.03}}, ApplyWarmup: true}}})
			p.fact("tolaria", &evidencev2.CommandFact{CommandId: "lr", Subsystem: "tolaria", Status: "APPLIED", Epoch: 4})
			p.sent("tolaria", "kasmina", &trainingv2.BackwardRequest{Step: step(5, 0, 1), LearningRate: pick(guilty, 0.03, 0.022)})
		}},
		"a history with a change too many": {"T5", func(p *tape, guilty bool) {
			told := func(restored bool, h ...*statev2.RateSnapshot) {
				sum := sha256.Sum256((&statev2.RateState{History: h}).AppendCanonical(nil))
				last := h[len(h)-1]
				p.fact("tolaria", &evidencev2.RateFact{Epoch: last.Epoch, Generation: last.Generation, LearningRate: last.LearningRate,
					Snapshots: uint32(len(h)), HistorySha256: sum[:], Restored: restored})
			}
			h := []*statev2.RateSnapshot{{Generation: 1, LearningRate: 0.02, Cause: "job"}, {Epoch: 4, Generation: 1, LearningRate: 0.03, Cause: "lr"}}
			told(false, h[0])
			p.sent("tolaria", "kasmina", &trainingv2.BoundaryRequest{CheckpointId: "c", Epoch: 3})
			p.command(&adaptationv2.AdaptationCommand{CommandId: "lr", Command: &adaptationv2.AdaptationCommand_LrUpdate{
				LrUpdate: &adaptationv2.LearningRateUpdate{GroupRates: []*adaptationv2.LearningRateGroup{{LearningRate: 0.03}}}}})
			p.fact("tolaria", &evidencev2.CommandFact{CommandId: "lr", Subsystem: "tolaria", Status: "APPLIED", Epoch: 4, Generation: 1})
			told(false, h...)
			p.fact("tolaria", &evidencev2.RollbackFact{Step: evidencev2.RollbackStep_RB_RESTORED, Subsystem: "tolaria", CheckpointId: "c", Epoch: 3})
			if guilty {
				h[1].LearningRate = 0.02 // the rate is back, and what led to it is not
				told(true, h...)
			} else {
				told(true, h[0])
			}
		}},
		"a kernel that is trained as if it were old": {"T5", func(p *tape, guilty bool) {
			seed := &telemetryv2.SeedRef{LayerId: 1, SeedId: 1}
			p.fact("kasmina", &evidencev2.StageFact{Seed: seed, To: telemetryv2.SeedStage_GERMINATED, Cause: evidencev2.StageCause_BY_COMMAND, Epoch: 4})
			p.sent("tolaria", "kasmina", &trainingv2.BackwardRequest{Step: step(6, 0, 1), LearningRate: 0.02})
			p.fact("kasmina", &evidencev2.GradientFact{Step: step(6, 0, 1), LayerId: 1, Held: true,
				Sets: []*evidencev2.GradientSet{{Seed: seed, LearningRate: pick(guilty, 0.02, 0.02*(0.001+0.999*0.2))}}})
		}},
		"a verdict of somebody else": {"I1", func(p *tape, guilty bool) {
			p.verdict(pick(guilty, "tezzeret", "urabrask"), "r", blueprintv2.KernelStatus_VALIDATED, true, assetsv2.AssetStatus_STORED)
		}},
		"a verdict against its report": {"I1", func(p *tape, guilty bool) {
			p.verdict("urabrask", "r", blueprintv2.KernelStatus_VALIDATED, !guilty, assetsv2.AssetStatus_STORED)
		}},
		"a kernel that waits again": {"I1", func(p *tape, guilty bool) {
			p.verdict("urabrask", "r", blueprintv2.KernelStatus_VALIDATED, true, assetsv2.AssetStatus_STORED)
			k := validated()
			k.Status = pick(guilty, blueprintv2.KernelStatus_BENCHMARKING, blueprintv2.KernelStatus_QUARANTINED)
			p.sent("urza", "kasmina", &assetsv2.FetchKernelReply{Status: assetsv2.AssetStatus_EXISTS, BlueprintId: kernelIR, Kernel: k, BinarySha256: emptySum})
		}},
		"a kernel that divides by zero": {"I1", func(p *tape, guilty bool) {
			bad := &blueprintv2.BlueprintIR{Nodes: []*blueprintv2.BlueprintIR_Node{{Id: "a", Op: "input"}, {Id: "b", Op: pick(guilty, "recip", "relu")}},
				Edges: []*blueprintv2.BlueprintIR_Edge{{From: "a", To: "b"}}}
			sum := sha256.Sum256(bad.AppendCanonical(nil))
			p.mail("karn", "urza", &assetsv2.StoreBlueprint{RequestId: "b", Ir: bad})
			k := hex.EncodeToString(sum[:]) + "-h100-fast-espc-1"
			p.mail("urabrask", "urza", &assetsv2.StoreReport{RequestId: "r", KernelArtifactId: k, Status: blueprintv2.KernelStatus_VALIDATED,
				Report: &blueprintv2.UrabraskValidationReport{PassedValidation: true}})
			p.sent("urza", "urabrask", &assetsv2.StoreReply{RequestId: "r", AssetId: k, Status: assetsv2.AssetStatus_STORED})
		}},
		"a delivery that is acknowledged too soon": {"W9", func(p *tape, guilty bool) {
			for _, node := range []string{"simic", "karn"} {
				cause := p.mail("oona", node, &busv2.Delivery{})
				p.factBy(node, &evidencev2.LogFact{Log: node, Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 1}, cause)
				if !guilty {
					p.factBy(node, &evidencev2.LogFact{Log: node, Action: evidencev2.LogAction_LOG_DURABLE, Lsn: 1}, cause)
				}
				p.sentBy(node, "oona", &busv2.Ack{Topic: "t", Group: "g"}, cause)
			}
		}},
		"a revision that is not durable": {"W9", func(p *tape, guilty bool) {
			cause := p.mail("oona", "kasmina", &busv2.Delivery{})
			p.factBy("kasmina", &evidencev2.LogFact{Log: "kasmina/config", Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 1}, cause)
			if !guilty {
				p.factBy("kasmina", &evidencev2.LogFact{Log: "kasmina/config", Action: evidencev2.LogAction_LOG_DURABLE, Lsn: 1}, cause)
			}
			p.sentBy("kasmina", "mycosynth", &operationsv2.ConfigAck{Subsystem: "kasmina", Revision: 1}, cause)
		}},
		"a cycle that goes on before its record": {"W9", func(p *tape, guilty bool) {
			cause := p.mail("oona", "emrakul", &busv2.Delivery{})
			p.factBy("emrakul", &evidencev2.LogFact{Log: "emrakul", Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 1}, cause)
			if !guilty {
				p.factBy("emrakul", &evidencev2.LogFact{Log: "emrakul", Action: evidencev2.LogAction_LOG_DURABLE, Lsn: 1}, cause)
			}
			p.factBy("emrakul", &evidencev2.PruningFact{IdempotencyKey: "k", State: "APPLYING"}, cause)
		}},
		"a good design in quarantine": {"I1", func(p *tape, guilty bool) {
			p.verdict("urabrask", "r", pick(guilty, blueprintv2.KernelStatus_VALIDATED, blueprintv2.KernelStatus_REJECTED), guilty, assetsv2.AssetStatus_STORED)
			p.fact("karn", &evidencev2.JobFact{Subsystem: "karn", JobId: kernelIR, State: "QUARANTINED", Reason: "rejected: it leaks"})
		}},
		"an excluded tag": {"I2", func(p *tape, guilty bool) {
			p.answers(&operationalv2.KernelQuery{ExcludedTags: []string{pick(guilty, "dense", "sparse")}}, &operationalv2.KernelQueryResult{MatchingKernels: []*blueprintv2.CompiledKernelArtifact{validated()}})
		}},
		"a slow kernel": {"I2", func(p *tape, guilty bool) {
			most := pick[int32](guilty, 1, 2)
			p.answers(&operationalv2.KernelQuery{MaxLatencyMs: &most}, &operationalv2.KernelQueryResult{MatchingKernels: []*blueprintv2.CompiledKernelArtifact{validated()}})
		}},
		"a kernel that was not measured": {"I2", func(p *tape, guilty bool) {
			q, most := &operationalv2.KernelQuery{}, int32(9)
			if guilty {
				q.MaxMemoryMb = &most
			}
			p.answers(q, &operationalv2.KernelQueryResult{MatchingKernels: []*blueprintv2.CompiledKernelArtifact{validated()}})
		}},
		"a kernel for other hardware": {"I2", func(p *tape, guilty bool) {
			p.answers(&operationalv2.KernelQuery{TargetGpuArch: pick(guilty, "a100", "h100")}, &operationalv2.KernelQueryResult{MatchingKernels: []*blueprintv2.CompiledKernelArtifact{validated()}})
		}},
		"a kernel in quarantine": {"I2", func(p *tape, guilty bool) {
			k := validated()
			k.Status = pick(guilty, blueprintv2.KernelStatus_QUARANTINED, blueprintv2.KernelStatus_KERNEL_ACTIVE)
			p.answers(&operationalv2.KernelQuery{}, &operationalv2.KernelQueryResult{MatchingKernels: []*blueprintv2.CompiledKernelArtifact{k}})
		}},
		"a fallback that is another kernel": {"I2", func(p *tape, guilty bool) {
			p.answers(&operationalv2.KernelQuery{}, &operationalv2.KernelQueryResult{Fallback: true, MatchingKernels: []*blueprintv2.CompiledKernelArtifact{{Id: pick(guilty, kernelID, "identity")}}})
		}},
		"a fallback in the best of health": {"I2", func(p *tape, guilty bool) {
			p.wait(pick(guilty, 2*time.Second, time.Millisecond))
			p.answers(&operationalv2.KernelQuery{}, &operationalv2.KernelQueryResult{Fallback: true, MatchingKernels: []*blueprintv2.CompiledKernelArtifact{{Id: "identity"}}})
		}},
		"a kernel that a query does not find": {"I2", func(p *tape, guilty bool) {
			p.verdict("urabrask", "r", blueprintv2.KernelStatus_VALIDATED, true, assetsv2.AssetStatus_STORED)
			p.answers(&operationalv2.KernelQuery{RequiredTags: []string{"r"}, ExcludedTags: []string{pick(guilty, "sparse", "r")}}, &operationalv2.KernelQueryResult{QuerySuccessful: true})
		}},
		"a kernel that a query need not find": {"I2", func(p *tape, guilty bool) {
			p.verdict("urabrask", "r", blueprintv2.KernelStatus_VALIDATED, true, assetsv2.AssetStatus_STORED)
			if !guilty {
				p.mail("kasmina", "urza", &assetsv2.MoveAsset{RequestId: "m", AssetId: kernelID, Kernel: blueprintv2.KernelStatus_QUARANTINED})
			}
			p.answers(&operationalv2.KernelQuery{}, &operationalv2.KernelQueryResult{QuerySuccessful: true})
		}},
		"a page that is not full": {"I2", func(p *tape, guilty bool) {
			p.verdict("urabrask", "dense", blueprintv2.KernelStatus_VALIDATED, true, assetsv2.AssetStatus_STORED)
			p.answers(&operationalv2.KernelQuery{Limit: pick[uint32](guilty, 2, 1)}, &operationalv2.KernelQueryResult{QuerySuccessful: true, NextPageToken: "1",
				MatchingKernels: []*blueprintv2.CompiledKernelArtifact{validated()}})
		}},
		"a kernel that does not last": {"I3", func(p *tape, guilty bool) {
			p.mail("tezzeret", "urza", &assetsv2.StoreKernel{RequestId: "s", BlueprintId: kernelIR, Hardware: "h100", Toolchain: "espc-1", Binary: []byte("one"), BinarySha256: oneSum[:], BinaryCrc32C: oneCRC,
				Kernel: &blueprintv2.CompiledKernelArtifact{Id: kernelID, CompilationPipeline: "fast"}})
			p.sent("urza", "tezzeret", &assetsv2.StoreReply{RequestId: "s", AssetId: kernelID, Status: assetsv2.AssetStatus_STORED})
			p.mail("kasmina", "urza", &assetsv2.FetchKernel{RequestId: "f", KernelArtifactId: kernelID})
			p.sent("urza", "kasmina", &assetsv2.FetchKernelReply{RequestId: "f", Status: pick(guilty, assetsv2.AssetStatus_DAMAGED, assetsv2.AssetStatus_UNAVAILABLE)})
		}},
		"an asset that comes and goes": {"R3", func(p *tape, guilty bool) {
			store := func(answer bool) {
				p.mail("tezzeret", "urza", &assetsv2.StoreKernel{RequestId: "s", BlueprintId: kernelIR, Kernel: &blueprintv2.CompiledKernelArtifact{Id: kernelID}})
				if answer {
					p.sent("urza", "tezzeret", &assetsv2.StoreReply{RequestId: "s", AssetId: kernelID, Status: assetsv2.AssetStatus_STORED})
				}
			}
			// Without an answer it may not be there, or be there later.
			store(guilty)
			p.event(trace.NodeStarted, "urza", nil)
			p.mail("kasmina", "urza", &assetsv2.FetchKernel{RequestId: "f", KernelArtifactId: kernelID})
			p.sent("urza", "kasmina", &assetsv2.FetchKernelReply{RequestId: "f", Status: assetsv2.AssetStatus_NOT_FOUND})
			store(!guilty)
		}},
		"an asset that is gone": {"I3", func(p *tape, guilty bool) {
			p.mail("tezzeret", "urza", &assetsv2.StoreKernel{RequestId: "s", BlueprintId: kernelIR, Hardware: "h100", Toolchain: "espc-1", Binary: []byte("one"), BinarySha256: oneSum[:], BinaryCrc32C: oneCRC,
				Kernel: &blueprintv2.CompiledKernelArtifact{Id: kernelID, CompilationPipeline: "fast"}})
			p.sent("urza", "tezzeret", &assetsv2.StoreReply{RequestId: "s", AssetId: kernelID, Status: pick(guilty, assetsv2.AssetStatus_STORED, assetsv2.AssetStatus_UNAVAILABLE)})
			p.mail("kasmina", "urza", &assetsv2.FetchKernel{RequestId: "f", KernelArtifactId: kernelID})
			p.sent("urza", "kasmina", &assetsv2.FetchKernelReply{RequestId: "f", Status: assetsv2.AssetStatus_NOT_FOUND})
		}},
		"a kernel under another name": {"I3", func(p *tape, guilty bool) {
			p.mail("tezzeret", "urza", &assetsv2.StoreKernel{RequestId: "s", BlueprintId: kernelIR, Hardware: pick(guilty, "a100", "h100"), Toolchain: "espc-1", Binary: []byte("one"), BinarySha256: oneSum[:], BinaryCrc32C: oneCRC,
				Kernel: &blueprintv2.CompiledKernelArtifact{Id: kernelID, CompilationPipeline: "fast"}})
			p.sent("urza", "tezzeret", &assetsv2.StoreReply{RequestId: "s", AssetId: kernelID, Status: assetsv2.AssetStatus_STORED})
		}},
		"a blueprint under another name": {"I3", func(p *tape, guilty bool) {
			p.mail("karn", "urza", &assetsv2.StoreBlueprint{RequestId: "s", Ir: ir})
			p.sent("urza", "karn", &assetsv2.StoreReply{RequestId: "s", AssetId: pick(guilty, kernelIR, hex.EncodeToString(sum[:])), Status: assetsv2.AssetStatus_STORED})
		}},
		"a blueprint with another graph": {"I3", func(p *tape, guilty bool) {
			p.mail("karn", "urza", &assetsv2.FetchBlueprint{RequestId: "f", BlueprintId: hex.EncodeToString(sum[:]), WithIr: true})
			p.sent("urza", "karn", &assetsv2.FetchBlueprintReply{RequestId: "f", Status: assetsv2.AssetStatus_EXISTS,
				Ir: pick(guilty, &blueprintv2.BlueprintIR{DesignIntent: "y"}, ir), Blueprint: &blueprintv2.Blueprint{Id: hex.EncodeToString(sum[:])}})
		}},
	})
}

var emptySum = func() []byte { s := sha256.Sum256(nil); return s[:] }()
