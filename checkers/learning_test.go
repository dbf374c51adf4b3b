package checkers_test

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"testing"
	"time"

	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

var (
	oneSum = sha256.Sum256([]byte("one"))
	oneCRC = crc32.Checksum([]byte("one"), crc32.MakeTable(crc32.Castagnoli))
)

// two actions of one feature, and the expected reward.
var twoActions = []float32{0, 1, 0}

// told is an announcement that Tamiyo takes.
func (p *tape) told(offset int64, version string, s policyv2.PolicyStage) {
	b := p.publish("simic", "innovation.policy", version+s.String(), &policyv2.PolicyUpdate{Version: version, Stage: s, WeightsSha256: digestOf(twoActions)})
	p.mail("oona", "tamiyo", &busv2.Delivery{Group: "tamiyo", Topic: "innovation.policy", Offset: offset, Envelope: b})
	p.sent("tamiyo", "oona", &busv2.Ack{Group: "tamiyo", Consumer: "tamiyo", Topic: "innovation.policy", Offset: offset})
}

// chooses is a choice by a policy whose weights are known.
func (p *tape) chooses(version string, likelihood float64) {
	p.mail("simic", "tamiyo", &innovationv2.PolicyWeights{Version: version, Status: innovationv2.RequestStatus_DONE, Weights: twoActions, WeightsSha256: digestOf(twoActions)})
	p.fact("tamiyo", &evidencev2.ChoiceFact{Version: version, Action: 1, Likelihood: likelihood, Features: []float32{1}})
}

// drawn is a batch of reports that Simic was given.
func (p *tape) drawn(given, drawn, weight string, distinct int) {
	f := &evidencev2.SampleFact{Trainable: 100}
	for i := range 32 {
		id := drawn + string(rune('a'+i%distinct))
		p.mail("oona", "simic", &busv2.Delivery{Group: "simic-trainer", Topic: "innovation.field_reports", Offset: int64(i), Envelope: p.fieldReport(given + string(rune('a'+i%distinct)))})
		d := &evidencev2.DrawnExperience{ReportId: id, Share: 0.01, Weight: 1}
		if i == 0 {
			d.Share, d.Weight = 0.02, 0.7578582832551991 // half to the power of 0.4
			if weight != "" {
				d.Weight = 1
			}
		}
		f.Draws = append(f.Draws, d)
	}
	p.fact("simic", f)
}

func (p *tape) designed(interest float64) {
	p.sent("karn", "urza", &assetsv2.StoreBlueprint{RequestId: "b", Metadata: []*blueprintv2.MetadataEntry{{Key: "template", Value: "BP001"}},
		Announce: &eventsv2.BlueprintSubmittedEvent{TamiyoInterest: interest}})
}

// works is a job's way.
func (p *tape) works(subsystem string, states ...string) {
	for _, s := range states {
		p.fact(subsystem, &evidencev2.JobFact{JobId: "k", Subsystem: subsystem, State: s})
	}
}

const likely = 0.7310585786300049 // of the second action: e/(1+e)

// Each clause of the rows on what is learnt and what is asked for, broken alone.
func TestLearningAndRequests(t *testing.T) {
	holds(t, map[string]clause{
		"a report that nobody gave": {"I11", func(p *tape, guilty bool) { p.drawn("r", pick(guilty, "q", "r"), "", 16) }},
		"a rejected report": {"I11", func(p *tape, guilty bool) {
			p.fact("simic", &evidencev2.ReportFact{ReportId: pick(guilty, "ra", "xa"), Action: "REJECTED"})
			p.drawn("r", "r", "", 16)
		}},
		"the same again and again":   {"I11", func(p *tape, guilty bool) { p.drawn("r", "r", "", pick(guilty, 8, 16)) }},
		"a weight that is too large": {"I11", func(p *tape, guilty bool) { p.drawn("r", "r", pick(guilty, "wrong", ""), 16) }},
		"a policy that was rolled back": {"I11", func(p *tape, guilty bool) {
			p.told(1, "simic-1", policyv2.PolicyStage_TESTING)
			p.told(2, pick(guilty, "simic-1", "simic-0"), policyv2.PolicyStage_ROLLED_BACK)
			p.chooses("simic-1", likely)
		}},
		"a policy whose place is taken": {"I11", func(p *tape, guilty bool) {
			p.told(1, "simic-1", policyv2.PolicyStage_PRODUCTION)
			p.told(2, "simic-2", pick(guilty, policyv2.PolicyStage_PRODUCTION, policyv2.PolicyStage_TESTING))
			p.chooses("simic-1", likely)
		}},
		"a policy that comes again": {"I11", func(p *tape, guilty bool) {
			p.told(1, "simic-1", policyv2.PolicyStage_ROLLED_BACK)
			p.told(2, "simic-1", pick(guilty, policyv2.PolicyStage_ROLLED_BACK, policyv2.PolicyStage_PRODUCTION))
			p.chooses("simic-1", likely)
		}},
		"a probability of no weights": {"I11", func(p *tape, guilty bool) { p.chooses("simic-1", pick(guilty, 0.5, likely)) }},
		"a choice without weights": {"I11", func(p *tape, guilty bool) {
			p.chooses("simic-1", likely)
			p.fact("tamiyo", &evidencev2.ChoiceFact{Version: pick(guilty, "simic-2", "simic-1"), Action: 1, Likelihood: likely, Features: []float32{1}})
		}},
		"a stage that nobody hears of": {"I11", func(p *tape, guilty bool) {
			for _, v := range []string{"simic-1", "simic-2"} {
				p.fact("simic", &evidencev2.PolicyFact{Version: v, To: "TESTING"})
				p.told(1, v, policyv2.PolicyStage_TESTING)
				if !guilty || v == "simic-1" {
					p.accepted("simic", "innovation.policy", v+"TESTING", 1)
				}
			}
			p.wait(time.Minute)
			p.fact("simic", &evidencev2.ModeFact{})
		}},
		"a validation that took too long": {"I11", func(p *tape, guilty bool) {
			by := p.event(trace.TimerFired, "simic", nil)
			p.wait(pick(guilty, 2*time.Second, time.Second))
			p.factBy("simic", &evidencev2.PolicyFact{Version: "simic-1", From: "VALIDATING", To: "TESTING"}, by)
		}},
		"an expectation that is the sum": {"I11", func(p *tape, guilty bool) {
			p.fact("karn", &evidencev2.RewardFact{TemplateId: "BP001", ReportId: "a", Value: 0.125})
			p.fact("karn", &evidencev2.RewardFact{TemplateId: "BP001", ReportId: "b", Value: 0.125})
			p.designed(pick(guilty, 0.55, 0.55/3))
		}},
		"a petition without an answer": {"I12", func(p *tape, guilty bool) {
			p.mail("petitioner", "karn", &innovationv2.BlueprintRequest{RequestId: "q", MaxRisk: 0.5})
			if !guilty {
				p.sent("karn", "petitioner", &innovationv2.BlueprintReply{RequestId: "q", Status: innovationv2.RequestStatus_FALLBACK})
			}
			p.wait(time.Minute)
			p.fact("karn", &evidencev2.ModeFact{})
		}},
		"a design that the library does not have": {"I12", func(p *tape, guilty bool) {
			p.mail("urza", "karn", &assetsv2.StoreReply{AssetId: pick(guilty, "x", "b"), Status: assetsv2.AssetStatus_STORED})
			p.mail("petitioner", "karn", &innovationv2.BlueprintRequest{RequestId: "q", MaxRisk: 0.5})
			p.sent("karn", "petitioner", &innovationv2.BlueprintReply{RequestId: "q", Status: innovationv2.RequestStatus_DONE, BlueprintId: "b"})
		}},
		"a risky fallback": {"I12", func(p *tape, guilty bool) {
			p.mail("petitioner", "karn", &innovationv2.BlueprintRequest{RequestId: "q", MaxRisk: 0.5})
			p.sent("karn", "petitioner", &innovationv2.BlueprintReply{RequestId: "q", Status: innovationv2.RequestStatus_FALLBACK, RiskScore: pick(guilty, 0.6, 0.5)})
		}},
		"a kernel of nothing": {"I12", func(p *tape, guilty bool) {
			p.mail("petitioner", "tezzeret", &innovationv2.CompileRequest{RequestId: "q", BlueprintId: pick(guilty, "", "b")})
			p.sent("tezzeret", "petitioner", &innovationv2.CompileReply{RequestId: "q", Status: innovationv2.RequestStatus_QUEUED})
		}},
		"a kernel that is not there": {"I12", func(p *tape, guilty bool) {
			p.mail("urza", "tezzeret", &assetsv2.StoreReply{AssetId: pick(guilty, "x", "k"), Status: assetsv2.AssetStatus_EXISTS})
			p.mail("petitioner", "tezzeret", &innovationv2.CompileRequest{RequestId: "q", BlueprintId: "b", Pipeline: "fast"})
			p.sent("tezzeret", "petitioner", &innovationv2.CompileReply{RequestId: "q", Status: innovationv2.RequestStatus_DONE, KernelArtifactId: "k"})
		}},
		"a job that skips a state": {"I12", func(p *tape, guilty bool) {
			p.works("tezzeret", "QUEUED", "VALIDATING", "COMPILING", "SIGNING", pick(guilty, "READY", "COMPILED"))
		}},
		"a validation that leaves something out": {"I12", func(p *tape, guilty bool) {
			p.works("urabrask", "RECEIVED", "SAFETY", "SAFETY", "SAFETY", pick(guilty, "STRUCTURAL", "SAFETY"))
			p.works("urabrask", pick(guilty, "BENCHMARK", "STRUCTURAL"), pick(guilty, "VALIDATED", "BENCHMARK"))
		}},
		"a kernel with the digests of another": {"I3", func(p *tape, guilty bool) {
			p.stores("one", pick[byte](guilty, 1, 0))
		}},
		"a kernel of what is archived": {"I3", func(p *tape, guilty bool) {
			p.mail("tamiyo", "urza", &assetsv2.MoveAsset{RequestId: "m", AssetId: kernelIR, Blueprint: blueprintv2.BlueprintStatus_ARCHIVED})
			p.sent("urza", "tamiyo", &assetsv2.StoreReply{RequestId: "m", AssetId: kernelIR, Status: pick(guilty, assetsv2.AssetStatus_STORED, assetsv2.AssetStatus_REFUSED)})
			p.stores("one", 0)
		}},
		"a kernel whose bytes are damaged": {"I1", func(p *tape, guilty bool) {
			b := "ESPKERN\x01 and its code"
			p.stores(pick(guilty, b, "one"), 0)
			p.verdict("urabrask", "r", blueprintv2.KernelStatus_VALIDATED, true, assetsv2.AssetStatus_STORED)
		}},
		"a kernel that overflows": {"I1", func(p *tape, guilty bool) {
			bad := &blueprintv2.BlueprintIR{Nodes: []*blueprintv2.BlueprintIR_Node{{Id: "a", Op: "input"}}}
			for _, n := range []string{"b", "c", "d"} {
				from := bad.Nodes[len(bad.Nodes)-1].Id
				bad.Nodes = append(bad.Nodes, &blueprintv2.BlueprintIR_Node{Id: n, Op: pick(guilty, "mul", "add")})
				bad.Edges = append(bad.Edges, &blueprintv2.BlueprintIR_Edge{From: from, To: n}, &blueprintv2.BlueprintIR_Edge{From: from, To: n, Port: 1})
			}
			bad.Nodes = append(bad.Nodes, &blueprintv2.BlueprintIR_Node{Id: "e", Op: "output"})
			bad.Edges = append(bad.Edges, &blueprintv2.BlueprintIR_Edge{From: "d", To: "e"})
			sum := sha256.Sum256(bad.AppendCanonical(nil))
			p.mail("karn", "urza", &assetsv2.StoreBlueprint{RequestId: "b", Ir: bad})
			k := hex.EncodeToString(sum[:]) + "-h100-fast-espc-1"
			p.mail("urabrask", "urza", &assetsv2.StoreReport{RequestId: "r", KernelArtifactId: k, Status: blueprintv2.KernelStatus_VALIDATED,
				Report: &blueprintv2.UrabraskValidationReport{PassedValidation: true}})
			p.sent("urza", "urabrask", &assetsv2.StoreReply{RequestId: "r", AssetId: k, Status: assetsv2.AssetStatus_STORED})
		}},
		"a delivery of which the record was lost": {"W9", func(p *tape, guilty bool) {
			by := p.mail("oona", "karn", &busv2.Delivery{Group: "karn", Topic: "innovation.field_reports", Offset: 1})
			p.factBy("karn", &evidencev2.LogFact{Log: "karn", Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 1}, by)
			p.factBy("karn", &evidencev2.LogFact{Log: "karn", Action: pick(guilty, evidencev2.LogAction_LOG_POISONED, evidencev2.LogAction_LOG_DURABLE), Lsn: 1}, by)
			p.sentBy("karn", "oona", &busv2.Ack{Group: "karn", Consumer: "karn", Topic: "innovation.field_reports", Offset: 1}, by)
		}},
	})
}

// stores is a kernel that the library takes. flip alters its digest.
func (p *tape) stores(binary string, flip byte) {
	sum := sha256.Sum256([]byte(binary))
	sum[0] ^= flip
	p.mail("tezzeret", "urza", &assetsv2.StoreKernel{RequestId: "s", BlueprintId: kernelIR, Hardware: "h100", Toolchain: "espc-1", Binary: []byte(binary), BinarySha256: sum[:],
		BinaryCrc32C: crc32.Checksum([]byte(binary), crc32.MakeTable(crc32.Castagnoli)),
		Kernel:       &blueprintv2.CompiledKernelArtifact{Id: kernelID, CompilationPipeline: "fast"}})
	p.sent("urza", "tezzeret", &assetsv2.StoreReply{RequestId: "s", AssetId: kernelID, Status: assetsv2.AssetStatus_STORED})
}

// fieldReport is a published field report.
func (p *tape) fieldReport(id string) []byte {
	return p.seal(&envelopev2.EventEnvelope{EventId: id, Topic: "innovation.field_reports"}, &operationalv2.FieldReport{ReportId: id}, false)
}
