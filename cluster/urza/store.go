package urza

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// MaxKernel is the most bytes of a kernel (card 08).
const MaxKernel = 100 << 20

// The topics of what Urza announces.
const (
	submitted     = "compilation.blueprint.submitted"
	ready         = "compilation.kernel.ready"
	characterized = "validation.kernel.characterized"
)

// KernelID names a kernel: IR, hardware, pipeline and toolchain, each in full.
func KernelID(ir, hardware, pipeline, toolchain string) string {
	return strings.Join([]string{ir, hardware, pipeline, toolchain}, "-")
}

// answer is what a request came to.
type answer struct {
	status assetsv2.AssetStatus
	reason string
}

func refuse(format string, args ...any) answer {
	return answer{assetsv2.AssetStatus_REFUSED, fmt.Sprintf(format, args...)}
}

// storeBlueprint stores a design. Its announcement is Urza's; what the request
// says of itself in it must be true.
func (u *urza) storeBlueprint(m *assetsv2.StoreBlueprint) (id string, a answer) {
	if m.Ir == nil || len(m.Ir.Nodes) == 0 {
		return m.BlueprintId, refuse("the design has no nodes")
	}
	if why := canonicalIR(m.Ir); why != "" {
		return m.BlueprintId, refuse("%s", why)
	}
	ir := m.Ir.AppendCanonical(nil)
	id = digest(ir)
	switch {
	case m.BlueprintId != "" && m.BlueprintId != id:
		return m.BlueprintId, refuse("its IR has the digest %s", id)
	case m.RiskScore < 0 || m.RiskScore > 1:
		return id, refuse("a risk of %v is not from 0 to 1", m.RiskScore)
	case m.RiskScore > MaxRisk:
		// Adversarial designs never leave the sandbox (I6).
		return id, refuse("a risk of %v is that of an adversarial design; at most %v is stored", m.RiskScore, MaxRisk)
	case !slices.IsSorted(m.ParentBlueprintIds) || slices.Contains(m.ParentBlueprintIds, id):
		return id, refuse("its parents are not sorted, or it is its own")
	}
	have, err := u.lib.blueprint(id)
	if err != nil {
		return id, u.failed(err)
	}
	if have != nil {
		return id, answer{assetsv2.AssetStatus_EXISTS, ""}
	}
	for _, p := range m.ParentBlueprintIds {
		parent, err := u.lib.blueprint(p)
		if err != nil {
			return id, u.failed(err)
		}
		if parent == nil {
			// A parent is there before its child: lineage has no cycles.
			return id, refuse("its parent %.16s is not in the library", p)
		}
	}
	now := u.env.Clock.Now()
	b := &blueprintv2.Blueprint{Id: id, Status: blueprintv2.BlueprintStatus_UNVALIDATED, ArchitectureRef: "object/" + id,
		CreatedAt: timestamppb.New(now), CreatorSubsystem: m.CreatorSubsystem, Metadata: m.Metadata}
	row := &blueprintRow{id: id, status: b.Status, risk: m.RiskScore, irBytes: len(ir), since: now.UnixMilli(), body: b.AppendCanonical(nil)}
	sum, _ := hex.DecodeString(id) // it was encoded just now
	e := &eventsv2.BlueprintSubmittedEvent{BlueprintId: id, IrSha256: sum, ArchitectureRef: b.ArchitectureRef, CreatorSubsystem: m.CreatorSubsystem,
		ParentBlueprintIds: m.ParentBlueprintIds, Tier: tier(m.RiskScore), RiskScore: m.RiskScore, CurriculumStage: int32(m.CurriculumStage),
		SubmittedAt: timestamppb.New(now)}
	if m.Announce != nil {
		e.TamiyoInterest, e.Pipelines, e.TargetHardware = m.Announce.TamiyoInterest, m.Announce.Pipelines, m.Announce.TargetHardware
		row.interest = m.Announce.TamiyoInterest
	}
	return id, u.carry(id, "blueprint", [][]byte{ir}, func() error {
		return errors.Join(u.lib.addBlueprint(row, m.ParentBlueprintIds),
			u.lib.announce(announcement{"blueprint-submitted/" + id, submitted, e.AppendCanonical(nil)}))
	}, &evidencev2.AssetFact{AssetId: id, Action: "STORED", To: b.Status.String()})
}

// MaxRisk is the greatest risk of a design that is stored: above it are the
// adversarial ones (card 05).
const MaxRisk = 0.8

// tier is what a design of a risk may be used for.
func tier(risk float64) eventsv2.BlueprintTier {
	if risk > 0.5 {
		return eventsv2.BlueprintTier_EXPERIMENTAL
	}
	return eventsv2.BlueprintTier_PRODUCTION
}

// canonicalIR says why a graph is not in the one form that its id is taken of.
func canonicalIR(ir *blueprintv2.BlueprintIR) string {
	for i, n := range ir.Nodes {
		if n.GetId() == "" || i > 0 && ir.Nodes[i-1].Id >= n.Id {
			return fmt.Sprintf("node %d: nodes are sorted by their ids, each once", i)
		}
	}
	has := func(id string) bool {
		_, ok := slices.BinarySearchFunc(ir.Nodes, id, func(n *blueprintv2.BlueprintIR_Node, id string) int { return strings.Compare(n.Id, id) })
		return ok
	}
	for i, e := range ir.Edges {
		if !has(e.GetFrom()) || !has(e.GetTo()) {
			return fmt.Sprintf("edge %d: it joins %q and %q, which are not both nodes", i, e.GetFrom(), e.GetTo())
		}
		if i > 0 && compareEdges(ir.Edges[i-1], e) >= 0 {
			return fmt.Sprintf("edge %d: edges are sorted by from, to and port, each once", i)
		}
	}
	return ""
}

func compareEdges(a, b *blueprintv2.BlueprintIR_Edge) int {
	if c := strings.Compare(a.From, b.From); c != 0 {
		return c
	}
	if c := strings.Compare(a.To, b.To); c != 0 {
		return c
	}
	return int(a.Port) - int(b.Port)
}

// storeKernel stores a compiled kernel and its bytes.
func (u *urza) storeKernel(m *assetsv2.StoreKernel) (id string, a answer) {
	if m.Kernel == nil {
		return "", refuse("there is no kernel")
	}
	id = m.Kernel.Id
	pipeline := m.Kernel.CompilationPipeline
	name := digest(m.Binary)
	sum, _ := hex.DecodeString(name)
	switch {
	case len(m.Binary) == 0 || len(m.Binary) > MaxKernel:
		return id, refuse("a kernel of %d bytes; want 1 to %d", len(m.Binary), MaxKernel)
	case !bytes.Equal(sum, m.BinarySha256) || crc32.Checksum(m.Binary, castagnoli) != m.BinaryCrc32C:
		return id, refuse("its bytes do not have its digests")
	case pipeline == "" || m.Hardware == "" || m.Toolchain == "":
		return id, refuse("pipeline, hardware and toolchain must all be named")
	case id != KernelID(m.BlueprintId, m.Hardware, pipeline, m.Toolchain):
		return id, refuse("its id is not %s", KernelID(m.BlueprintId, m.Hardware, pipeline, m.Toolchain))
	}
	of, err := u.lib.blueprint(m.BlueprintId)
	if err != nil {
		return id, u.failed(err)
	}
	if of == nil {
		return id, answer{assetsv2.AssetStatus_NOT_FOUND, "its blueprint is not in the library"}
	}
	have, err := u.lib.kernel(id)
	switch {
	case err != nil:
		return id, u.failed(err)
	case have != nil && have.object == name:
		return id, answer{assetsv2.AssetStatus_EXISTS, ""}
	case have != nil:
		return id, answer{assetsv2.AssetStatus_CONFLICT, "there is another artifact of this IR, hardware, pipeline and toolchain"}
	case of.status == blueprintv2.BlueprintStatus_INVALID || of.status == blueprintv2.BlueprintStatus_ARCHIVED:
		return id, refuse("its blueprint is %v", of.status)
	}
	now := u.env.Clock.Now()
	k := &blueprintv2.CompiledKernelArtifact{Id: id, Status: blueprintv2.KernelStatus_PENDING_BENCHMARKING, CompilationPipeline: pipeline,
		KernelBinaryRef: "object/" + name, CompilationMetadata: m.Kernel.CompilationMetadata}
	row := &kernelRow{id: id, blueprint: m.BlueprintId, status: k.Status, ir: m.BlueprintId, pipeline: pipeline, hardware: m.Hardware,
		toolchain: m.Toolchain, object: name, size: len(m.Binary), crc: m.BinaryCrc32C, since: now.UnixMilli(), body: k.AppendCanonical(nil)}
	e := &eventsv2.KernelReadyEvent{KernelArtifactId: id, BlueprintId: m.BlueprintId, Pipeline: pipeline, KernelBinaryRef: k.KernelBinaryRef,
		BinarySha256: sum, BinarySizeBytes: int64(len(m.Binary)), TargetHardware: m.Hardware, ToolchainHash: m.Toolchain,
		Compilation: m.Kernel.CompilationMetadata, WalTransactionId: m.WalTransactionId, ReadyAt: timestamppb.New(now)}
	if m.Announce != nil {
		e.Conservative, e.Signature = m.Announce.Conservative, m.Announce.Signature
	}
	return id, u.carry(id, "kernel", [][]byte{m.Binary}, func() error {
		err := errors.Join(u.lib.addKernel(row), u.lib.announce(announcement{"kernel-ready/" + id, ready, e.AppendCanonical(nil)}))
		if of.status == blueprintv2.BlueprintStatus_UNVALIDATED || of.status == blueprintv2.BlueprintStatus_COMPILING {
			err = errors.Join(err, u.lib.move("blueprints", of.id, int32(of.status), int32(blueprintv2.BlueprintStatus_COMPILED), now, "it has a kernel"))
		}
		return err
	}, &evidencev2.AssetFact{AssetId: id, Action: "STORED", To: k.Status.String()})
}

// storeReport gives a kernel its verdict, once.
func (u *urza) storeReport(m *assetsv2.StoreReport) (id string, a answer) {
	id = m.KernelArtifactId
	passed := m.Status == blueprintv2.KernelStatus_VALIDATED
	switch {
	case !passed && m.Status != blueprintv2.KernelStatus_REJECTED:
		return id, refuse("%v is no verdict; want VALIDATED or REJECTED", m.Status)
	case m.Report == nil || m.Report.PassedValidation != passed:
		return id, refuse("the report does not say what the status does")
	}
	have, err := u.lib.kernel(id)
	switch {
	case err != nil:
		return id, u.failed(err)
	case have == nil:
		return id, answer{assetsv2.AssetStatus_NOT_FOUND, "the kernel is not in the library"}
	}
	k := new(blueprintv2.CompiledKernelArtifact)
	if err := k.ParseCanonical(bytes.Clone(have.body)); err != nil {
		return id, answer{assetsv2.AssetStatus_DAMAGED, err.Error()}
	}
	if !undecided(have.status) {
		if k.ValidationReport != nil && bytes.Equal(k.ValidationReport.AppendCanonical(nil), m.Report.AppendCanonical(nil)) {
			return id, answer{assetsv2.AssetStatus_EXISTS, ""}
		}
		return id, answer{assetsv2.AssetStatus_CONFLICT, fmt.Sprintf("it has its verdict: it is %v", have.status)}
	}
	report := m.Report.AppendCanonical(nil)
	from := have.status
	k.Status, k.ValidationReport = m.Status, m.Report
	row := *have
	row.status, row.body = m.Status, k.AppendCanonical(nil)
	sum, _ := hex.DecodeString(digest(report))
	now := u.env.Clock.Now()
	e := &eventsv2.KernelCharacterizedEvent{KernelArtifactId: id, BlueprintId: have.blueprint, Verdict: eventsv2.KernelVerdict_KERNEL_REJECTED,
		ReportRef: "object/" + digest(report), ReportSha256: sum, Tags: m.Report.GeneratedTags, Benchmarks: m.Report.BenchmarkResults,
		CharacterizedAt: timestamppb.New(now)}
	if passed {
		e.Verdict = eventsv2.KernelVerdict_KERNEL_VALIDATED
	}
	if p := m.Announce; p != nil {
		e.RiskScore, e.Confidence, e.Mode, e.RejectionReason = p.RiskScore, p.Confidence, p.Mode, p.RejectionReason
		e.ValidationDuration, e.HardwareProfile = p.ValidationDuration, p.HardwareProfile
	}
	return id, u.carry(id, "report", [][]byte{report}, func() error {
		err := errors.Join(u.lib.judge(&row, m.Report.GeneratedTags, benchmark(m.Report, "latency_ms"), benchmark(m.Report, "memory_mb")),
			u.lib.move("kernels", id, int32(from), int32(m.Status), now, "verdict"),
			u.lib.announce(announcement{"kernel-characterized/" + id, characterized, e.AppendCanonical(nil)}))
		of, bad := u.lib.blueprint(have.blueprint)
		if err = errors.Join(err, bad); err != nil {
			return err
		}
		if passed && (of.status == blueprintv2.BlueprintStatus_COMPILED || of.status == blueprintv2.BlueprintStatus_VALIDATING) {
			return u.lib.move("blueprints", of.id, int32(of.status), int32(blueprintv2.BlueprintStatus_BLUEPRINT_VALIDATED), now, "it has a validated kernel")
		}
		return nil
	}, &evidencev2.AssetFact{AssetId: id, Action: "MOVED", From: from.String(), To: m.Status.String()})
}

// benchmark is a measured value, or nil: unlimited is not 0 (defect 51).
func benchmark(r *blueprintv2.UrabraskValidationReport, name string) any {
	for _, b := range r.BenchmarkResults {
		if b.GetMetricName() == name {
			return b.MetricValue
		}
	}
	return nil
}

// moveAsset changes a status along an edge.
func (u *urza) moveAsset(m *assetsv2.MoveAsset) (id string, a answer) {
	id = m.AssetId
	k, err := u.lib.kernel(id)
	if err != nil {
		return id, u.failed(err)
	}
	now := u.env.Clock.Now()
	if k != nil {
		to := m.Kernel
		switch {
		case k.status == to:
			return id, answer{assetsv2.AssetStatus_EXISTS, ""}
		case !mayMove(kernelEdges, k.status, to):
			return id, refuse("no edge leads from %v to %v", k.status, to)
		}
		return id, u.carry(id, "move", nil, func() error {
			return u.lib.move("kernels", id, int32(k.status), int32(to), now, m.Reason)
		}, &evidencev2.AssetFact{AssetId: id, Action: "MOVED", From: k.status.String(), To: to.String(), Reason: m.Reason})
	}
	b, err := u.lib.blueprint(id)
	switch {
	case err != nil:
		return id, u.failed(err)
	case b == nil:
		return id, answer{assetsv2.AssetStatus_NOT_FOUND, "nothing in the library has this id"}
	}
	to := m.Blueprint
	switch {
	case b.status == to:
		return id, answer{assetsv2.AssetStatus_EXISTS, ""}
	case !mayMove(blueprintEdges, b.status, to):
		return id, refuse("no edge leads from %v to %v", b.status, to)
	}
	return id, u.carry(id, "move", nil, func() error {
		return u.lib.move("blueprints", id, int32(b.status), int32(to), now, m.Reason)
	}, &evidencev2.AssetFact{AssetId: id, Action: "MOVED", From: b.status.String(), To: to.String(), Reason: m.Reason})
}

// carry makes one change durable: what it is about in the log, its objects, its
// metadata, and that it is done. It is all there or not at all, and what it
// returns is true after every crash.
func (u *urza) carry(id, action string, contents [][]byte, metadata func() error, fact canon.Message) answer {
	r := &statev2.AssetRecord{AssetId: id, Action: action}
	for _, b := range contents {
		r.Objects = append(r.Objects, digest(b))
	}
	if err := u.intend(r); err != nil {
		return u.abandon(err)
	}
	for _, b := range contents {
		if _, err := u.objects.put(b); err != nil {
			return u.abandon(err)
		}
	}
	u.env.Probe.Reached("urza/object-without-metadata")
	if err := u.lib.db.Transact(func() error { return errors.Join(u.lib.change(u.txn, id, action), metadata()) }); err != nil {
		return u.abandon(err)
	}
	u.env.Probe.Reached("urza/metadata-without-commit")
	if _, err := u.log.Commit(nil); err != nil {
		// The metadata stands. The next start gives it its COMMIT; until then
		// nobody is told.
		return u.failed(err)
	}
	u.env.Facts.Record(fact)
	u.trim()
	u.post()
	return answer{assetsv2.AssetStatus_STORED, ""}
}

// intend makes durable what is about to be done.
func (u *urza) intend(r *statev2.AssetRecord) error {
	id, err := u.log.Begin(recordKind, 0, []byte(u.env.Self))
	if err != nil {
		return err
	}
	u.txn = uint64(id)
	if _, err := u.log.Data(recordKind, r.AppendCanonical(nil)); err != nil {
		return err
	}
	return u.log.Sync()
}

// abandon gives up a change before its metadata stands. A full disk leaves the
// library as it is; after any other error its files are opened anew.
func (u *urza) abandon(err error) answer {
	if errors.Is(err, actor.ErrNoSpace) && u.log.InTxn() {
		u.env.Probe.Reached("urza/no-space")
		if bad := u.log.Abort(); bad == nil && u.lib.db.GetAutocommit() {
			return answer{assetsv2.AssetStatus_UNAVAILABLE, err.Error()}
		}
	}
	return u.failed(err)
}
