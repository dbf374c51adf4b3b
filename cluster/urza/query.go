package urza

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"google.golang.org/protobuf/types/known/timestamppb"

	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
)

// The limits of a query (card 08).
const (
	DefaultResults = 10
	MostResults    = 100
	mostTags       = 64 // of each kind
)

// Identity is the kernel that is always there: it gives back what it gets.
const Identity = "identity"

// identity is the fallback.
func identity() *blueprintv2.CompiledKernelArtifact {
	return &blueprintv2.CompiledKernelArtifact{Id: Identity, Status: blueprintv2.KernelStatus_VALIDATED, CompilationPipeline: "none",
		KernelBinaryRef: "builtin/identity"}
}

// sentence is a query in SQL with its arguments. The rank of a kernel is how
// many preferred tags it has; of equals the faster is first, then the older. A
// kernel whose latency or memory was not measured is not within a limit on it.
func sentence(q *operationalv2.KernelQuery, after cursor, limit int) (string, []any) {
	var b strings.Builder
	var args []any
	marks := func(tags []string) string {
		for _, t := range tags {
			args = append(args, t)
		}
		return strings.TrimSuffix(strings.Repeat("?,", len(tags)), ",")
	}
	rank := "0"
	if len(q.PreferredTags) > 0 {
		rank = "(SELECT count(*) FROM store.tags t WHERE t.kernel = k.id AND t.tag IN (" + marks(distinct(q.PreferredTags)) + "))"
	}
	fmt.Fprintf(&b, "WITH k AS (SELECT k.*, %s AS rank, coalesce(k.latency, 1e300) AS slow FROM store.kernels k) SELECT id, blueprint, status, object, size, crc, body, rank, slow, seq FROM k WHERE k.status IN (%d, %d)",
		rank, blueprintv2.KernelStatus_VALIDATED, blueprintv2.KernelStatus_KERNEL_ACTIVE)
	and := func(sql string, values ...any) {
		b.WriteString(" AND " + sql)
		args = append(args, values...)
	}
	if q.BlueprintId != "" {
		and("k.blueprint = ?", q.BlueprintId)
	}
	if q.TargetGpuArch != "" {
		and("k.hardware = ?", q.TargetGpuArch)
	}
	if q.MaxLatencyMs != nil {
		and("k.latency <= ?", *q.MaxLatencyMs)
	}
	if q.MaxMemoryMb != nil {
		and("k.memory <= ?", *q.MaxMemoryMb)
	}
	if tags := distinct(q.RequiredTags); len(tags) > 0 {
		b.WriteString(" AND (SELECT count(*) FROM store.tags t WHERE t.kernel = k.id AND t.tag IN (" + marks(tags) + ")) = ?")
		args = append(args, len(tags))
	}
	if tags := distinct(q.ExcludedTags); len(tags) > 0 {
		b.WriteString(" AND NOT EXISTS (SELECT 1 FROM store.tags t WHERE t.kernel = k.id AND t.tag IN (" + marks(tags) + "))")
	}
	if after.set {
		and("(-rank, slow, seq) > (?, ?, ?)", -after.rank, after.slow, after.seq)
	}
	and("true ORDER BY rank DESC, slow, seq LIMIT ?", limit)
	return b.String(), args
}

// distinct are the tags without repetitions.
func distinct(tags []string) []string {
	t := slices.Clone(tags)
	slices.Sort(t)
	return slices.Compact(t)
}

// cursor is where a page ended: new kernels do not move those behind it.
type cursor struct {
	set  bool
	rank int64
	slow float64
	seq  int64
}

func (c cursor) String() string {
	return fmt.Sprintf("%d/%s/%d", c.rank, strconv.FormatFloat(c.slow, 'g', -1, 64), c.seq)
}

// parseCursor reads a page token.
func parseCursor(s string) (c cursor, err error) {
	if s == "" {
		return c, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return c, fmt.Errorf("the page token %q is none of this library's", s)
	}
	c.set = true
	var bad [3]error
	c.rank, bad[0] = strconv.ParseInt(parts[0], 10, 64)
	c.slow, bad[1] = strconv.ParseFloat(parts[1], 64)
	c.seq, bad[2] = strconv.ParseInt(parts[2], 10, 64)
	if err := errors.Join(bad[:]...); err != nil {
		return c, fmt.Errorf("the page token %q is none of this library's: %w", s, err)
	}
	return c, nil
}

// query answers a KernelQuery, with the identity kernel if the library cannot
// look.
func (u *urza) query(q *operationalv2.KernelQuery) *operationalv2.KernelQueryResult {
	r := &operationalv2.KernelQueryResult{QueryId: q.QueryId, Timestamp: timestamppb.New(u.env.Clock.Now())}
	fallback := func(why string) *operationalv2.KernelQueryResult {
		u.env.Probe.Reached("urza/fallback")
		r.MatchingKernels = []*blueprintv2.CompiledKernelArtifact{identity()}
		r.QuerySuccessful, r.Fallback, r.ErrorMessage, r.NextPageToken = true, true, why, ""
		return r
	}
	after, err := parseCursor(q.PageToken)
	switch {
	case err != nil:
		r.ErrorMessage = err.Error()
		return r
	case len(q.RequiredTags) > mostTags || len(q.PreferredTags) > mostTags || len(q.ExcludedTags) > mostTags:
		r.ErrorMessage = fmt.Sprintf("more than %d tags of a kind", mostTags)
		return r
	case u.log == nil:
		return fallback("the library is not open")
	}
	began := u.env.Clock.Monotonic()
	ticket, ok := u.breaker.Allow(began)
	if !ok {
		return fallback("the query breaker is open")
	}
	limit := int(q.Limit)
	if limit == 0 {
		limit = DefaultResults
	}
	limit = min(limit, MostResults)
	sql, args := sentence(q, after, limit+1)
	var last cursor
	more := false
	err = u.lib.db.Each(sql, args, func(s *sqlite3.Stmt) error {
		if len(r.MatchingKernels) == limit {
			more = true
			return nil
		}
		k := new(blueprintv2.CompiledKernelArtifact)
		if err := k.ParseCanonical(s.ColumnBlob(6, nil)); err != nil {
			return err
		}
		k.Status = blueprintv2.KernelStatus(s.ColumnInt(2))
		r.MatchingKernels = append(r.MatchingKernels, k)
		last = cursor{true, s.ColumnInt64(7), s.ColumnFloat(8), s.ColumnInt64(9)}
		return nil
	})
	took := u.env.Clock.Monotonic() - began
	// Over the budget the answer is late, but right: what it costs is the
	// breaker's count.
	u.breaker.Done(u.env.Clock.Monotonic(), ticket, err == nil && took <= u.breaker.Settings().OpTimeout)
	if err != nil {
		u.failed(err)
		return fallback(err.Error())
	}
	r.QuerySuccessful = true
	if more {
		r.NextPageToken = last.String()
	}
	return r
}

// fetchKernel reads a kernel's bytes, and checks them.
func (u *urza) fetchKernel(m *assetsv2.FetchKernel) *assetsv2.FetchKernelReply {
	r := &assetsv2.FetchKernelReply{RequestId: m.RequestId}
	row, err := u.lib.kernel(m.KernelArtifactId)
	switch {
	case err != nil:
		a := u.failed(err)
		r.Status, r.Reason = a.status, a.reason
		return r
	case row == nil:
		r.Status = assetsv2.AssetStatus_NOT_FOUND
		return r
	case row.status == blueprintv2.KernelStatus_REJECTED || row.status == blueprintv2.KernelStatus_QUARANTINED:
		// To whoever validates it is served before its verdict, to nobody after.
		r.Status, r.Reason = assetsv2.AssetStatus_REFUSED, fmt.Sprintf("it is %v", row.status)
		return r
	}
	b, err := u.objects.get(row.object, row.size)
	if err == nil && crc32.Checksum(b, castagnoli) != row.crc {
		err = &damaged{row.object, "its CRC-32C differs"}
	}
	k := new(blueprintv2.CompiledKernelArtifact)
	if err == nil {
		err = k.ParseCanonical(bytes.Clone(row.body))
	}
	if bad := (*damaged)(nil); errors.As(err, &bad) {
		u.env.Facts.Record(&evidencev2.AssetFact{AssetId: row.id, Action: "DAMAGED", Reason: err.Error()})
		r.Status, r.Reason = assetsv2.AssetStatus_DAMAGED, err.Error()
		return r
	}
	if err != nil {
		r.Status, r.Reason = assetsv2.AssetStatus_UNAVAILABLE, err.Error()
		return r
	}
	k.Status = row.status
	r.Status, r.Kernel, r.BlueprintId, r.Binary = assetsv2.AssetStatus_EXISTS, k, row.blueprint, b
	r.BinarySha256 = sha(b)
	return r
}

// fetchBlueprint reads a blueprint with all its variants.
func (u *urza) fetchBlueprint(m *assetsv2.FetchBlueprint) *assetsv2.FetchBlueprintReply {
	r := &assetsv2.FetchBlueprintReply{RequestId: m.RequestId}
	failed := func(err error) *assetsv2.FetchBlueprintReply {
		a := u.failed(err)
		r.Status, r.Reason = a.status, a.reason
		return r
	}
	row, err := u.lib.blueprint(m.BlueprintId)
	if err != nil {
		return failed(err)
	}
	if row == nil {
		r.Status = assetsv2.AssetStatus_NOT_FOUND
		return r
	}
	b := new(blueprintv2.Blueprint)
	if err := b.ParseCanonical(row.body); err != nil {
		r.Status, r.Reason = assetsv2.AssetStatus_DAMAGED, err.Error()
		return r
	}
	b.Status = row.status
	kernels, err := u.lib.kernels("blueprint = ? ORDER BY seq", row.id)
	if err != nil {
		return failed(err)
	}
	for _, k := range kernels {
		a := new(blueprintv2.CompiledKernelArtifact)
		if err := a.ParseCanonical(k.body); err != nil {
			r.Status, r.Reason = assetsv2.AssetStatus_DAMAGED, err.Error()
			return r
		}
		a.Status = k.status
		b.CompiledArtifacts = append(b.CompiledArtifacts, a)
	}
	if r.ParentBlueprintIds, err = u.lib.parents(row.id); err != nil {
		return failed(err)
	}
	if m.WithIr {
		ir, err := u.objects.get(row.id, row.irBytes)
		if bad := (*damaged)(nil); errors.As(err, &bad) {
			u.env.Facts.Record(&evidencev2.AssetFact{AssetId: row.id, Action: "DAMAGED", Reason: err.Error()})
			r.Status, r.Reason = assetsv2.AssetStatus_DAMAGED, err.Error()
			return r
		}
		if err != nil {
			r.Status, r.Reason = assetsv2.AssetStatus_UNAVAILABLE, err.Error()
			return r
		}
		r.Ir = new(blueprintv2.BlueprintIR)
		if err := r.Ir.ParseCanonical(ir); err != nil {
			r.Ir, r.Status, r.Reason = nil, assetsv2.AssetStatus_DAMAGED, err.Error()
			return r
		}
	}
	r.Status, r.Blueprint = assetsv2.AssetStatus_EXISTS, b
	return r
}

// listPending lists what waits for a compiler or a verdict.
func (u *urza) listPending(m *assetsv2.ListPending) *assetsv2.ListPendingReply {
	r := &assetsv2.ListPendingReply{RequestId: m.RequestId}
	limit := int(m.Limit)
	if limit == 0 || limit > MostResults {
		limit = MostResults
	}
	list, err := u.lib.pending(m.Kernels, limit)
	if err != nil {
		u.failed(err)
		return nil // no answer is no list: it will be asked for again
	}
	for _, w := range list {
		r.Assets = append(r.Assets, &assetsv2.PendingAsset{AssetId: w.id, BlueprintId: w.blueprint, Since: stamp(w.since), Interest: w.interest})
	}
	return r
}
