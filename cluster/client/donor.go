package client

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// DonorOptions of a donor.
type DonorOptions struct {
	What   string        `set:"what" oneof:"blueprints,hostile,flawed,kernels,reports,moves,archive" doc:"what it stores; hostile: designs of which most are bad; flawed: kernels of the good ones, with a wrong checksum; archive: it archives blueprints; a node may store what its name may: karn, tezzeret, urabrask"`
	Count  int           `set:"count" doc:"assets that it stores"`
	Every  time.Duration `set:"every" doc:"between two assets"`
	Bytes  int           `set:"bytes" doc:"most bytes of a kernel"`
	Resend time.Duration `set:"resend" doc:"how long it waits for an answer before it asks again"`
	Wrong  int           `set:"wrong" doc:"every so many-th request is one that must be refused; 0: none"`
}

// DonorDefaults are the options of a donor that sets none.
func DonorDefaults() *DonorOptions {
	return &DonorOptions{What: "blueprints", Count: 50, Every: 100 * time.Millisecond, Bytes: 3000, Resend: 400 * time.Millisecond}
}

// donor fills the asset library, in place of the subsystems that do. Assets are
// numbered, and each is a function of its number, so donors of blueprints,
// kernels and reports agree without a word. What depends on another asset that
// is not there yet is asked for again.
type donor struct {
	env     actor.Env
	job     *job.Job
	o       DonorOptions
	signer  *command.Signer
	next    int // number of the asset that is being stored, from 1
	attempt uint32
}

// NewDonor makes the constructor of a donor.
func NewDonor(j *job.Job, o DonorOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		s, err := command.NewSigner(env, j.Key[:])
		return &donor{env: env, job: j, o: o, next: 1, signer: s}, err
	}
}

// Start implements actor.Actor.
func (d *donor) Start() error {
	d.env.Clock.SetTimer("give", 0, d.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (d *donor) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		d.give()
	case *assetsv2.StoreReply:
		if m.RequestId != d.id() {
			break
		}
		switch m.Status {
		case assetsv2.AssetStatus_UNAVAILABLE, assetsv2.AssetStatus_NOT_FOUND:
			return nil // later
		}
		d.next++
		d.attempt = 0
		d.env.Clock.SetTimer("give", 0, d.o.Every)
	}
	return nil
}

func (d *donor) id() string {
	return fmt.Sprint(d.env.Self, "/", d.env.Incarnation, "/", d.next)
}

func (d *donor) give() {
	if d.next > d.o.Count {
		return
	}
	m := d.request()
	d.env.Net.Send(d.job.Urza, m, actor.SendOptions{Key: "store/" + d.id(), Attempt: d.attempt, Auth: d.signer})
	d.attempt++
	d.env.Clock.SetTimer("give", 0, d.o.Resend)
}

// Design is the n-th blueprint's graph.
func Design(n int) *blueprintv2.BlueprintIR {
	return &blueprintv2.BlueprintIR{DesignIntent: fmt.Sprint("design ", n), SchemaVersion: 1, ParameterCount: int64(16 * n),
		Nodes: []*blueprintv2.BlueprintIR_Node{{Id: "in", Op: "input", OutShape: []int64{8}}, {Id: "mix", Op: "dense", InShape: []int64{8}, OutShape: []int64{int64(4 + n%5)}},
			{Id: "out", Op: "output", InShape: []int64{8}}},
		Edges: []*blueprintv2.BlueprintIR_Edge{{From: "in", To: "mix"}, {From: "mix", To: "out"}}}
}

// kinds of hostile designs.
const kinds = 8

// hostile is the n-th design of somebody who lies about its risk: in turn a sound
// one, one that overflows, divides by zero, keeps the device's memory, vanishes,
// does not compile, overflows where its input is large, or keeps more memory than
// there is.
func hostile(n int) *blueprintv2.BlueprintIR {
	const width = 12
	constant := func(name, value string) []*telemetryv2.Label {
		return []*telemetryv2.Label{{Key: name, Value: value}}
	}
	node := func(id, op string, attributes []*telemetryv2.Label) *blueprintv2.BlueprintIR_Node {
		return &blueprintv2.BlueprintIR_Node{Id: id, Op: op, InShape: []int64{width}, OutShape: []int64{width}, Attributes: attributes}
	}
	ir := &blueprintv2.BlueprintIR{DesignIntent: fmt.Sprint("hostile ", n), SchemaVersion: 1, Nodes: []*blueprintv2.BlueprintIR_Node{
		{Id: "a", Op: "input", OutShape: []int64{width}}, node("b", "dense", nil), node("c", "relu", nil), node("d", "dense", nil), {Id: "e", Op: "output", InShape: []int64{width}}},
		Edges: []*blueprintv2.BlueprintIR_Edge{{From: "a", To: "b"}, {From: "b", To: "c"}, {From: "c", To: "d"}, {From: "d", To: "e"}}}
	switch n % kinds {
	case 1:
		ir.Nodes[2] = node("c", "gain", constant("gain", "3e38"))
	case 2:
		ir.Nodes[1] = node("b", "recip", nil)
	case 3:
		ir.Nodes[2] = node("c", "retain", constant("bytes", "300000000"))
	case 4:
		ir.Nodes[2] = node("c", "gain", constant("gain", "1e-30"))
	case 5:
		ir.Nodes[2] = node("c", "divine", nil)
	case 6:
		ir.Edges = nil
		for i, id := range []string{"b", "c", "d"} {
			ir.Nodes[i+1] = node(id, "mul", nil)
			from := ir.Nodes[i].Id
			ir.Edges = append(ir.Edges, &blueprintv2.BlueprintIR_Edge{From: from, To: id}, &blueprintv2.BlueprintIR_Edge{From: from, To: id, Port: 1})
		}
		ir.Edges = append(ir.Edges, &blueprintv2.BlueprintIR_Edge{From: "d", To: "e"})
	case 7:
		// No device has room for so many.
		at := "a"
		nodes, edges := ir.Nodes[:1:1], ir.Edges[:0:0]
		for i := range 24 {
			id := fmt.Sprintf("b%02d", i)
			nodes = append(nodes, node(id, "retain", constant("bytes", "2000000000")))
			edges = append(edges, &blueprintv2.BlueprintIR_Edge{From: at, To: id})
			at = id
		}
		ir.Nodes = append(nodes, ir.Nodes[4])
		ir.Edges = append(edges, &blueprintv2.BlueprintIR_Edge{From: at, To: "e"})
	}
	return ir
}

func hexDigest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// DesignID is the id of the n-th blueprint.
func DesignID(n int) string { return hexDigest(Design(n).AppendCanonical(nil)) }

// pipelines in which the n-th kernel may have been compiled.
var pipelines = []string{"fast", "standard", "aggressive"}

// KernelOf is the id of the n-th kernel: of the blueprint with that number.
func KernelOf(n int) string {
	return strings.Join([]string{DesignID(n), "h100", pipelines[n%len(pipelines)], "tc-1"}, "-")
}

func (d *donor) request() canon.Message {
	n := d.next
	wrong := d.o.Wrong > 0 && n%d.o.Wrong == 0
	switch d.o.What {
	case "kernels":
		// A function of the number alone: what comes twice is the same.
		b := make([]byte, 1+n*977%max(d.o.Bytes, 1))
		for i := range b {
			b[i] = byte(n*131 + i*7 + i>>8)
		}
		sum := sha256.Sum256(b)
		m := &assetsv2.StoreKernel{RequestId: d.id(), BlueprintId: DesignID(n), Hardware: "h100", Toolchain: "tc-1",
			Kernel: &blueprintv2.CompiledKernelArtifact{Id: KernelOf(n), CompilationPipeline: pipelines[n%len(pipelines)],
				CompilationMetadata: &blueprintv2.CompilationRecord{Pipeline: pipelines[n%len(pipelines)], ToolchainVersion: "tc-1"}},
			Binary: b, BinarySha256: sum[:], BinaryCrc32C: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))}
		if wrong {
			m.BinaryCrc32C++
		}
		return m
	case "flawed":
		return d.flawed(kinds * n)
	case "archive":
		return &assetsv2.MoveAsset{RequestId: d.id(), AssetId: DesignID(n), Blueprint: blueprintv2.BlueprintStatus_ARCHIVED, Reason: "nobody wants it"}
	case "reports":
		passed := n%4 != 0
		m := &assetsv2.StoreReport{RequestId: d.id(), KernelArtifactId: KernelOf(n), Status: blueprintv2.KernelStatus_REJECTED,
			Report: &blueprintv2.UrabraskValidationReport{PassedValidation: passed, GeneratedTags: []string{fmt.Sprint("rank-", n%3), "dense"},
				BenchmarkResults: []*blueprintv2.BenchmarkResult{{MetricName: "latency_ms", MetricValue: float64(n%7) + 0.5}, {MetricName: "memory_mb", MetricValue: float64(n % 11)}}}}
		if passed != wrong {
			m.Status = blueprintv2.KernelStatus_VALIDATED
		}
		return m
	case "moves":
		m := &assetsv2.MoveAsset{RequestId: d.id(), AssetId: KernelOf(n), Kernel: blueprintv2.KernelStatus_QUARANTINED, Reason: "a fault"}
		if n%3 == 0 {
			m.Kernel = blueprintv2.KernelStatus_RETIRED
		}
		return m
	}
	if d.o.What == "hostile" {
		return &assetsv2.StoreBlueprint{RequestId: d.id(), Ir: hostile(n), CreatorSubsystem: "karn", RiskScore: 0.1}
	}
	m := &assetsv2.StoreBlueprint{RequestId: d.id(), Ir: Design(n), CreatorSubsystem: "karn", RiskScore: float64(n%8) / 10}
	if n > 2 && n%2 == 0 {
		m.ParentBlueprintIds = []string{DesignID(n / 2)}
	}
	if wrong {
		m.BlueprintId = DesignID(n + 1)
	}
	return m
}

// flawed hands in a kernel of the n-th hostile design, a sound one. Its bytes have
// their digests, and do not have the checksum that they end with.
func (d *donor) flawed(n int) canon.Message {
	ir := hostile(n)
	k, err := kernel.Compile(ir, kernel.Fast, "h100", "tc-1")
	if err != nil {
		d.env.Log.Error(err.Error())
		return &assetsv2.StoreKernel{RequestId: d.id()}
	}
	b := k.Encode()
	b[len(b)-1] ^= 1
	sum, p := sha256.Sum256(b), kernel.Fast.String()
	return &assetsv2.StoreKernel{RequestId: d.id(), BlueprintId: kernel.ID(ir), Hardware: "h100", Toolchain: "tc-1",
		Kernel: &blueprintv2.CompiledKernelArtifact{Id: strings.Join([]string{kernel.ID(ir), "h100", p, "tc-1"}, "-"), CompilationPipeline: p,
			CompilationMetadata: &blueprintv2.CompilationRecord{Pipeline: p, ToolchainVersion: "tc-1"}},
		Binary: b, BinarySha256: sum[:], BinaryCrc32C: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))}
}
