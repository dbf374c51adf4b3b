package checkers

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// library judges I1, I2 and I3 by what the asset library was asked and what it
// answered.
//
// I1: a kernel gets its verdict once, by a report of Urabrask's, and is validated
// exactly where that report says that it passed.
// I2: a query is answered with kernels that are all that it asks for, and with all
// that are, or with the identity as a flagged fallback, where something fails.
// I3: an asset is named by what it is of, and what was acknowledged once is never
// gone and never another.
type library struct {
	libraries map[string]bool // nodes that were asked for assets
	damaged   bool
	requests  map[string]request                    // to the library, by sender and id
	queries   map[string]*operationalv2.KernelQuery // by asker and id
	verdicts  map[string]*verdictOf                 // by kernel
	digests   map[string][sha256.Size]byte          // of what was served or taken in, by asset
	owned     map[string]uint64                     // assets that the library said it has
	settled   func(int64) bool
	// shelf are the kernels that a query must find if it asks for what they are:
	// those that the library said are validated, and nobody moved since.
	shelf map[string]*blueprintv2.CompiledKernelArtifact
	moved map[string]bool // kernels of which somebody asked that they be moved
	// rejected are the blueprints with a kernel that Urabrask rejects.
	rejected map[string]bool
	// bad says of blueprints why nothing that is compiled of them may pass.
	bad map[string]string
	// over are the blueprints that the library said are archived or invalid, and
	// since when: nothing is compiled of those any more.
	over map[string]int64
	// broken are the kernels whose bytes do not have the checksum that they end with.
	broken map[string]bool
}

// request is what the library was asked, as far as its answer must fit.
type request struct {
	asset                  string
	must                   string // the id that the asset has by rights; empty: it is not known
	verdict                blueprintv2.KernelStatus
	passed                 bool
	report                 [sha256.Size]byte
	of                     *blueprintv2.UrabraskValidationReport
	isReport, fromUrabrask bool
	digest                 [sha256.Size]byte
	known                  bool   // digest is set
	wrong                  string // why it must be refused
	at                     int64
	to                     blueprintv2.BlueprintStatus
}

// verdictOf is what is known of a kernel's verdict.
type verdictOf struct {
	offered map[blueprintv2.KernelStatus]bool // by Urabrask's reports that say the same twice
	given   blueprintv2.KernelStatus          // 0: not seen yet, PENDING_BENCHMARKING
	has     bool
	stored  bool // the library said so
	report  [sha256.Size]byte
}

func newLibrary(p Params) Checker {
	return &library{libraries: map[string]bool{}, damaged: p.Damaged, settled: p.Settled, shelf: map[string]*blueprintv2.CompiledKernelArtifact{}, moved: map[string]bool{}, rejected: map[string]bool{}, bad: map[string]string{}, over: map[string]int64{}, broken: map[string]bool{}, requests: map[string]request{}, queries: map[string]*operationalv2.KernelQuery{}, verdicts: map[string]*verdictOf{},
		digests: map[string][sha256.Size]byte{}, owned: map[string]uint64{}}
}

func (*library) Invariants() []string { return []string{"I1", "I2", "I3"} }

// key is of a conversation. Its parts outlive the message.
func conversation(node, id string) string { return node + "\x00" + id }

func (c *library) verdict(kernel string) *verdictOf {
	v := c.verdicts[kernel]
	if v == nil {
		v = &verdictOf{offered: map[blueprintv2.KernelStatus]bool{}}
		c.verdicts[strings.Clone(kernel)] = v
	}
	return v
}

func digestOf(m canon.Message) [sha256.Size]byte { return sha256.Sum256(m.AppendCanonical(nil)) }

func (c *library) Observe(e *Event, j *Judge) {
	if e.Kind == trace.MessageDelivered {
		c.asked(e)
		return
	}
	if e.Kind == trace.FactDeclared {
		if f, ok := e.Fact.(*evidencev2.JobFact); ok {
			c.quarantined(e, f, j)
		}
		return
	}
	if len(c.libraries) > 0 && !c.libraries[e.Node] {
		return // whoever was never asked is no library, whatever it says
	}
	switch m := e.Mail.Payload.(type) {
	case *assetsv2.StoreReply:
		c.stored(e, m, j)
	case *assetsv2.FetchKernelReply:
		c.fetched(e, m, j)
	case *assetsv2.FetchBlueprintReply:
		c.blueprint(e, m, j)
	case *operationalv2.KernelQueryResult:
		c.result(e, m, j)
	case *eventsv2.KernelCharacterizedEvent:
		to := blueprintv2.KernelStatus_REJECTED
		if m.Verdict == eventsv2.KernelVerdict_KERNEL_VALIDATED {
			to = blueprintv2.KernelStatus_VALIDATED
		}
		c.shown(e, m.KernelArtifactId, to, j)
	}
}

// asked notes what reaches the library.
func (c *library) asked(e *Event) {
	if len(c.requests) > remembered {
		clear(c.requests)
	}
	note := func(id string, r request) {
		r.asset = strings.Clone(r.asset)
		c.libraries[e.Peer] = true
		c.requests[conversation(e.Node, id)] = r
	}
	switch m := e.Mail.Payload.(type) {
	case *assetsv2.StoreBlueprint:
		if m.Ir != nil {
			d := digestOf(m.Ir)
			note(m.RequestId, request{must: hex.EncodeToString(d[:]), digest: d, known: true})
			if why := unsound(m.Ir); why != "" {
				c.bad[hex.EncodeToString(d[:])] = why
			}
		}
	case *assetsv2.StoreKernel:
		r := request{asset: m.GetKernel().GetId(), digest: sha256.Sum256(m.Binary), known: true, at: e.At,
			must: strings.Join([]string{m.BlueprintId, m.Hardware, m.GetKernel().GetCompilationPipeline(), m.Toolchain}, "-")}
		if string(m.BinarySha256) != string(r.digest[:]) || m.BinaryCrc32C != crc32.Checksum(m.Binary, castagnoli) {
			r.wrong = "its digests are those of other bytes"
		} else if since, over := c.over[m.BlueprintId]; over && since < e.At {
			r.wrong = "its blueprint is archived or invalid"
		}
		note(m.RequestId, r)
		if broken(m.Binary) {
			c.broken[r.must] = true
		}
	case *assetsv2.StoreReport:
		r := request{asset: m.KernelArtifactId, verdict: m.Status, passed: m.GetReport().GetPassedValidation(), isReport: true, fromUrabrask: e.Node == "urabrask"}
		if m.Report != nil {
			r.report = digestOf(m.Report)
			of := new(blueprintv2.UrabraskValidationReport)
			if of.ParseCanonical(m.Report.AppendCanonical(nil)) == nil {
				r.of = of
			}
		}
		note(m.RequestId, r)
		if r.fromUrabrask && !r.passed {
			c.rejected[strings.Clone(blueprintOf(m.KernelArtifactId))] = true
		}
		if r.fromUrabrask && r.passed == (r.verdict == blueprintv2.KernelStatus_VALIDATED) {
			c.verdict(m.KernelArtifactId).offered[m.Status] = true
		}
	case *assetsv2.MoveAsset:
		note(m.RequestId, request{asset: m.AssetId, to: m.Blueprint})
		c.moved[strings.Clone(m.AssetId)] = true
		delete(c.shelf, m.AssetId)
	case *assetsv2.FetchKernel:
		note(m.RequestId, request{asset: m.KernelArtifactId})
	case *assetsv2.FetchBlueprint:
		note(m.RequestId, request{asset: m.BlueprintId})
	case *operationalv2.KernelQuery:
		if len(c.queries) > remembered {
			clear(c.queries)
		}
		q := new(operationalv2.KernelQuery)
		if q.ParseCanonical(m.AppendCanonical(nil)) == nil {
			c.queries[conversation(e.Node, q.QueryId)] = q
		}
	}
}

func (c *library) stored(e *Event, m *assetsv2.StoreReply, j *Judge) {
	r, known := c.requests[conversation(e.Peer, m.RequestId)]
	if !known {
		return
	}
	switch m.Status {
	case assetsv2.AssetStatus_NOT_FOUND:
		// Of a kernel it says that its blueprint is not there.
		if r.must == "" {
			c.gone(e, r.asset, j)
		}
		return
	case assetsv2.AssetStatus_STORED, assetsv2.AssetStatus_EXISTS:
	default:
		return
	}
	switch {
	case r.wrong != "" && m.Status == assetsv2.AssetStatus_STORED:
		j.Violate("I3", e.Node, fmt.Sprintf("it takes the kernel %.80s in, and %s", m.AssetId, r.wrong))
		return
	case r.to == blueprintv2.BlueprintStatus_INVALID || r.to == blueprintv2.BlueprintStatus_ARCHIVED:
		if _, known := c.over[r.asset]; !known {
			c.over[r.asset] = e.At
		}
	case r.isReport:
		c.report(e, r, m.Status == assetsv2.AssetStatus_STORED, j)
		return
	case r.must != "" && m.AssetId != r.must:
		j.Violate("I3", e.Node, fmt.Sprintf("it takes an asset in as %.80s, which by its contents is %.80s", m.AssetId, r.must))
		return
	}
	c.owned[strings.Clone(m.AssetId)] = e.Seq
	if r.known {
		c.same(e, m.AssetId, r.digest, j)
	}
}

// report judges a verdict that the library took.
func (c *library) report(e *Event, r request, first bool, j *Judge) {
	v := c.verdict(r.asset)
	switch {
	case !r.fromUrabrask:
		j.Violate("I1", e.Node, fmt.Sprintf("the kernel %.80s has its verdict from somebody else than Urabrask", r.asset))
	case r.passed != (r.verdict == blueprintv2.KernelStatus_VALIDATED):
		j.Violate("I1", e.Node, fmt.Sprintf("the kernel %.80s is %v, and its report says passed %v", r.asset, r.verdict, r.passed))
	case r.passed && c.bad[blueprintOf(r.asset)] != "":
		j.Violate("I1", e.Node, fmt.Sprintf("the kernel %.80s is validated, and its design %s", r.asset, c.bad[blueprintOf(r.asset)]))
	case r.passed && c.broken[r.asset]:
		j.Violate("I1", e.Node, fmt.Sprintf("the kernel %.80s is validated, and its bytes do not have their checksum", r.asset))
	case first && v.stored && v.report != r.report:
		j.Violate("I1", e.Node, fmt.Sprintf("the kernel %.80s gets a second verdict", r.asset))
	case v.has && v.given != r.verdict:
		j.Violate("I1", e.Node, fmt.Sprintf("the kernel %.80s is %v, and was %v before", r.asset, r.verdict, v.given))
	default:
		v.has, v.given, v.stored, v.report = true, r.verdict, true, r.report
		if r.passed && r.of != nil && !c.moved[r.asset] {
			c.shelf[r.asset] = &blueprintv2.CompiledKernelArtifact{Id: r.asset, Status: blueprintv2.KernelStatus_VALIDATED, ValidationReport: r.of}
		}
		j.Judged("I1")
	}
}

// blueprintOf is the blueprint that a kernel's id names.
func blueprintOf(kernel string) string {
	ir, _, _ := strings.Cut(kernel, "-")
	return ir
}

// broken says of a kernel's bytes that they are in the format of kernels
// (cluster/kernel), and do not end with their CRC-32C.
func broken(b []byte) bool {
	n := len(b) - 4
	return n > 8 && string(b[:7]) == "ESPKERN" && binary.LittleEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli)
}

// highest is the greatest power of its input that a float32 holds where the input
// may be a million.
const highest = 6

// degree is the power of its input that a design computes, if it is made of sums
// and products alone; else 0.
func degree(ir *blueprintv2.BlueprintIR) int {
	ops, from := map[string]string{}, map[string][]string{}
	for _, n := range ir.Nodes {
		ops[n.GetId()] = n.GetOp()
	}
	for _, e := range ir.Edges {
		from[e.GetTo()] = append(from[e.GetTo()], e.GetFrom())
	}
	var of func(id string, deep int) int
	of = func(id string, deep int) int {
		d := 0
		for _, f := range from[id] {
			n := 0
			if deep < len(ops) && deep < 32 { // not a circle
				n = of(f, deep+1)
			}
			switch {
			case n == 0:
				return 0
			case ops[id] == "mul":
				d += n
			default:
				d = max(d, n)
			}
		}
		switch ops[id] {
		case "input":
			return 1
		case "mul", "add", "output":
			return min(d, highest+1)
		}
		return 0
	}
	for id, op := range ops {
		if op == "output" {
			return of(id, 0)
		}
	}
	return 0
}

// unsound says what is wrong with a design whatever it is compiled to: it keeps
// the device's memory, divides by its input, which may be zero, or overflows where
// its input is large.
func unsound(ir *blueprintv2.BlueprintIR) string {
	inputs, divide := map[string]bool{}, map[string]bool{}
	for _, n := range ir.Nodes {
		switch n.GetOp() {
		case "input":
			inputs[n.Id] = true
		case "recip":
			divide[n.Id] = true
		case "retain":
			if slices.ContainsFunc(n.Attributes, func(l *telemetryv2.Label) bool { return l.GetKey() == "bytes" && len(l.Value) > 6 }) {
				return "keeps megabytes of the device"
			}
		}
	}
	if slices.ContainsFunc(ir.Edges, func(e *blueprintv2.BlueprintIR_Edge) bool { return inputs[e.GetFrom()] && divide[e.To] }) {
		return "divides by its input"
	}
	if degree(ir) > highest {
		return "overflows where its input is a million"
	}
	return ""
}

// quarantined judges that a verdict is taken for what it is: a design counts as
// rejected only where a kernel of it was.
func (c *library) quarantined(e *Event, f *evidencev2.JobFact, j *Judge) {
	if f.Subsystem != "karn" || f.State != "QUARANTINED" || !strings.HasPrefix(f.Reason, "rejected") {
		return
	}
	if !c.rejected[f.JobId] {
		j.Violate("I1", e.Node, fmt.Sprintf("the design %.16s counts as rejected, and no report of Urabrask's says that of a kernel of it", f.JobId))
		return
	}
	j.Judged("I1")
}

// shown judges a status in which the library shows a kernel.
func (c *library) shown(e *Event, kernel string, s blueprintv2.KernelStatus, j *Judge) {
	v := c.verdict(kernel)
	var of blueprintv2.KernelStatus
	switch s {
	case blueprintv2.KernelStatus_VALIDATED, blueprintv2.KernelStatus_KERNEL_ACTIVE, blueprintv2.KernelStatus_QUARANTINED:
		of = blueprintv2.KernelStatus_VALIDATED
	case blueprintv2.KernelStatus_REJECTED:
		of = blueprintv2.KernelStatus_REJECTED
	case blueprintv2.KernelStatus_PENDING_BENCHMARKING, blueprintv2.KernelStatus_BENCHMARKING:
		if v.has {
			j.Violate("I1", e.Node, fmt.Sprintf("the kernel %.80s is %v, and has had its verdict, %v", kernel, s, v.given))
		}
		return
	default:
		return // RETIRED may follow either
	}
	switch {
	case !v.offered[of]:
		j.Violate("I1", e.Node, fmt.Sprintf("the kernel %.80s is shown as %v, and no report of Urabrask's says that", kernel, s))
	case v.has && v.given != of:
		j.Violate("I1", e.Node, fmt.Sprintf("the kernel %.80s is shown as %v, and its verdict was %v", kernel, s, v.given))
	default:
		v.has, v.given = true, of
		j.Judged("I1")
	}
}

// same judges that an asset's bytes are what they were.
func (c *library) same(e *Event, asset string, sum [sha256.Size]byte, j *Judge) {
	if have, known := c.digests[asset]; known && have != sum {
		j.Violate("I3", e.Node, fmt.Sprintf("the asset %.80s has other bytes than before", asset), c.owned[asset])
		return
	}
	c.digests[strings.Clone(asset)] = sum
	j.Judged("I3")
}

// gone judges the word that an asset is not there.
func (c *library) gone(e *Event, asset string, j *Judge) {
	if seq, had := c.owned[asset]; had && !c.damaged {
		j.Violate("I3", e.Node, fmt.Sprintf("the asset %.80s was in the library, and is gone", asset), seq)
	}
}

func (c *library) fetched(e *Event, m *assetsv2.FetchKernelReply, j *Judge) {
	r := c.requests[conversation(e.Peer, m.RequestId)]
	switch m.Status {
	case assetsv2.AssetStatus_NOT_FOUND:
		c.gone(e, r.asset, j)
	case assetsv2.AssetStatus_DAMAGED:
		if seq, had := c.owned[r.asset]; had && !c.damaged {
			j.Violate("I3", e.Node, fmt.Sprintf("the asset %.80s was in the library, and is damaged on a disk that keeps what it has", r.asset), seq)
		}
	case assetsv2.AssetStatus_EXISTS:
		id := m.GetKernel().GetId()
		sum := sha256.Sum256(m.Binary)
		if r.asset != "" && id != r.asset || !strings.HasPrefix(id, m.BlueprintId+"-") || string(m.BinarySha256) != string(sum[:]) {
			j.Violate("I3", e.Node, fmt.Sprintf("asked for the kernel %.80s it gives out %.80s of the blueprint %.16s, whose digest is %x", r.asset, id, m.BlueprintId, sum[:4]))
			return
		}
		c.owned[strings.Clone(id)] = e.Seq
		c.same(e, id, sum, j)
		c.shown(e, id, m.Kernel.Status, j)
	}
}

func (c *library) blueprint(e *Event, m *assetsv2.FetchBlueprintReply, j *Judge) {
	r := c.requests[conversation(e.Peer, m.RequestId)]
	switch m.Status {
	case assetsv2.AssetStatus_NOT_FOUND:
		c.gone(e, r.asset, j)
	case assetsv2.AssetStatus_DAMAGED:
		if seq, had := c.owned[r.asset]; had && !c.damaged {
			j.Violate("I3", e.Node, fmt.Sprintf("the asset %.80s was in the library, and is damaged on a disk that keeps what it has", r.asset), seq)
		}
	case assetsv2.AssetStatus_EXISTS:
		id := m.GetBlueprint().GetId()
		c.owned[strings.Clone(id)] = e.Seq
		if m.Ir == nil {
			return
		}
		sum := digestOf(m.Ir)
		if id != hex.EncodeToString(sum[:]) || r.asset != "" && r.asset != id {
			j.Violate("I3", e.Node, fmt.Sprintf("the blueprint %.16s has an IR with the digest %x", id, sum[:8]))
			return
		}
		c.same(e, id, sum, j)
	}
}

func (c *library) result(e *Event, m *operationalv2.KernelQueryResult, j *Judge) {
	q := c.queries[conversation(e.Peer, m.QueryId)]
	if q == nil {
		return
	}
	if m.Fallback {
		if len(m.MatchingKernels) != 1 || m.MatchingKernels[0].Id != "identity" {
			j.Violate("I2", e.Node, fmt.Sprintf("the fallback for the query %s is not the identity kernel", m.QueryId))
			return
		}
		if c.settled != nil && e.At > starting && c.settled(max(e.At-reopened, 0)) {
			j.Violate("I2", e.Node, fmt.Sprintf("the query %s gets the fallback, and nothing has failed for long: %s", m.QueryId, m.ErrorMessage))
			return
		}
		j.Judged("I2")
		return
	}
	for _, k := range m.MatchingKernels {
		if why := unfit(q, k); why != "" {
			j.Violate("I2", e.Node, fmt.Sprintf("the query %s is answered with the kernel %.80s, %s", m.QueryId, k.Id, why))
			return
		}
		j.Judged("I2")
		c.shown(e, k.Id, k.Status, j)
	}
	if m.QuerySuccessful && !c.damaged {
		c.complete(e, q, m, j)
	}
}

// reopened is how long after all is well the library may still say that it cannot
// look: it opens its files anew, and its breaker probes. Where nothing ever fails
// it may while it is starting.
const (
	reopened = int64(40 * time.Second)
	starting = int64(time.Second)
)

// complete judges that the first page of an answer leaves nothing out: it is full,
// or it has all that fits.
func (c *library) complete(e *Event, q *operationalv2.KernelQuery, m *operationalv2.KernelQueryResult, j *Judge) {
	switch {
	case q.PageToken != "":
		return
	case m.NextPageToken != "":
		if q.Limit > 0 && len(m.MatchingKernels) < int(q.Limit) {
			j.Violate("I2", e.Node, fmt.Sprintf("the query %s is answered with %d kernels of at most %d, and more are on the next page", m.QueryId, len(m.MatchingKernels), q.Limit))
		}
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.shelf)) {
		if unfit(q, c.shelf[id]) == "" && !slices.ContainsFunc(m.MatchingKernels, func(k *blueprintv2.CompiledKernelArtifact) bool { return k.Id == id }) {
			j.Violate("I2", e.Node, fmt.Sprintf("the query %s is answered without the kernel %.80s, which is what it asks for", m.QueryId, id))
			return
		}
	}
}

// unfit says why a kernel is no answer to a query; "" if it is one.
func unfit(q *operationalv2.KernelQuery, k *blueprintv2.CompiledKernelArtifact) string {
	tags := k.GetValidationReport().GetGeneratedTags()
	for _, t := range q.RequiredTags {
		if !slices.Contains(tags, t) {
			return fmt.Sprintf("which lacks the tag %q", t)
		}
	}
	for _, t := range q.ExcludedTags {
		if slices.Contains(tags, t) {
			return fmt.Sprintf("which has the tag %q", t)
		}
	}
	for _, l := range []struct {
		name  string
		limit *int32
	}{{"latency_ms", q.MaxLatencyMs}, {"memory_mb", q.MaxMemoryMb}} {
		if l.limit == nil {
			continue
		}
		v, measured := 0.0, false
		for _, b := range k.GetValidationReport().GetBenchmarkResults() {
			if b.GetMetricName() == l.name && !measured {
				v, measured = b.MetricValue, true
			}
		}
		if !measured || !(v <= float64(*l.limit)) {
			return fmt.Sprintf("whose %s is %v; at most %d was asked for", l.name, v, *l.limit)
		}
	}
	if k.Status != blueprintv2.KernelStatus_VALIDATED && k.Status != blueprintv2.KernelStatus_KERNEL_ACTIVE {
		return fmt.Sprintf("which is %v", k.Status)
	}
	at := strings.IndexByte(k.Id, '-')
	if at < 0 {
		return "which is named by no IR, hardware, pipeline and toolchain"
	}
	if q.BlueprintId != "" && k.Id[:at] != q.BlueprintId {
		return "which is of another blueprint"
	}
	if q.TargetGpuArch != "" && !strings.HasPrefix(k.Id[at+1:], q.TargetGpuArch+"-") {
		return "which is for other hardware than " + q.TargetGpuArch
	}
	return ""
}

func (*library) Finish(*Judge) {}
