package checkers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/esper-sim/espersim/checkers/models"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// assets judges R3: storing, judging, moving and reading assets of the library is
// linearizable. Assets are independent: each has a history of its own.
//
// An operation is called when its request is first sent, and has ended when the
// library's answer is sent. One that was taken up and not answered, or answered
// UNAVAILABLE, has an unknown outcome. A blueprint's other statuses follow from
// its kernels: of it only whether it is there and whether it is archived counts.
type assets struct {
	damaged bool
	picture func(string, func(io.Writer) error)
	sent    map[string]int64        // first sending of a request
	open    map[string]assetRequest // taken up by the library, by conversation
	keys    map[string]*assetHistory
	order   []string
	over    map[string]bool // histories that were too long, and are judged no further
}

type assetRequest struct {
	node  string // that took it up
	asset string
	kind  string // store, verdict, move, read
	to    string
	of    string // the blueprint of a kernel that is stored
	call  int64
}

type assetHistory struct {
	models.History
	last string // what the last operation saw or left
	// maybe are the changes that may still take effect, and again those that are
	// left out because an equal one may; see unknown.
	maybe map[[2]string]bool
	again []assetRequest
	moved bool
}

// longestAsset is how many operations of one asset are compared.
const longestAsset = 64

func newAssets(p Params) Checker {
	return &assets{damaged: p.Damaged, picture: p.Picture, sent: map[string]int64{}, open: map[string]assetRequest{}, keys: map[string]*assetHistory{}, over: map[string]bool{}}
}

func (*assets) Invariants() []string { return []string{"R3"} }

// present is the status of a blueprint that is there and not archived.
const present = "PRESENT"

func kernelStatus(s blueprintv2.KernelStatus) string { return s.String() }

func blueprintStatus(s blueprintv2.BlueprintStatus) string {
	if s == blueprintv2.BlueprintStatus_ARCHIVED {
		return s.String()
	}
	return present
}

// requestOf reads a request; ok is false for anything else.
func requestOf(m any) (id string, r assetRequest, ok bool) {
	switch m := m.(type) {
	case *assetsv2.StoreBlueprint:
		if m.Ir == nil {
			return "", r, false
		}
		sum := sha256.Sum256(m.Ir.AppendCanonical(nil))
		return m.RequestId, assetRequest{asset: hex.EncodeToString(sum[:]), kind: "store", to: present}, true
	case *assetsv2.StoreKernel:
		return m.RequestId, assetRequest{asset: m.GetKernel().GetId(), kind: "store", to: kernelStatus(blueprintv2.KernelStatus_PENDING_BENCHMARKING), of: m.BlueprintId}, true
	case *assetsv2.StoreReport:
		return m.RequestId, assetRequest{asset: m.KernelArtifactId, kind: "verdict", to: kernelStatus(m.Status)}, true
	case *assetsv2.MoveAsset:
		to := kernelStatus(m.Kernel)
		if !strings.Contains(m.AssetId, "-") {
			to = blueprintStatus(m.Blueprint)
		}
		return m.RequestId, assetRequest{asset: m.AssetId, kind: "move", to: to}, true
	case *assetsv2.FetchKernel:
		return m.RequestId, assetRequest{asset: m.KernelArtifactId, kind: "read"}, true
	case *assetsv2.FetchBlueprint:
		return m.RequestId, assetRequest{asset: m.BlueprintId, kind: "read"}, true
	case *operationalv2.KernelQuery:
		return m.QueryId, assetRequest{kind: "query"}, true
	}
	return "", r, false
}

func (c *assets) Observe(e *Event, j *Judge) {
	if c.damaged {
		return
	}
	switch e.Kind {
	case trace.NodeStarted:
		for _, k := range slices.Sorted(maps.Keys(c.open)) {
			if r := c.open[k]; r.node == e.Node {
				delete(c.open, k)
				c.unknown(r, j)
			}
		}
	case trace.MessageDelivered:
		if id, r, ok := requestOf(e.Mail.Payload); ok {
			k := conversation(e.Node, id)
			r.node, r.asset, r.of, r.call = e.Peer, strings.Clone(r.asset), strings.Clone(r.of), e.At
			if at, known := c.sent[k]; known {
				r.call = at
			}
			c.open[k] = r
		}
	case trace.MessageSent:
		if id, _, ok := requestOf(e.Mail.Payload); ok {
			if len(c.sent) > 4*remembered {
				clear(c.sent)
			}
			if k := conversation(e.Node, id); c.sent[k] == 0 {
				c.sent[k] = e.At
			}
			return
		}
		c.answered(e, j)
	}
}

func (c *assets) answered(e *Event, j *Judge) {
	take := func(id string) (assetRequest, bool) {
		k := conversation(e.Peer, id)
		r, ok := c.open[k]
		if !ok || r.node != e.Node {
			return r, false // a stranger's answer ends nothing
		}
		delete(c.open, k)
		return r, true
	}
	switch m := e.Mail.Payload.(type) {
	case *assetsv2.StoreReply:
		if r, ok := take(m.RequestId); ok {
			c.changed(r, m.Status, e.At, j)
		}
	case *assetsv2.FetchKernelReply:
		if r, ok := take(m.RequestId); ok {
			c.read(r, m.Status, kernelStatus(m.GetKernel().GetStatus()), e.At, j)
		}
	case *assetsv2.FetchBlueprintReply:
		if r, ok := take(m.RequestId); ok {
			c.read(r, m.Status, blueprintStatus(m.GetBlueprint().GetStatus()), e.At, j)
		}
	case *operationalv2.KernelQueryResult:
		if r, ok := take(m.QueryId); ok && m.QuerySuccessful && !m.Fallback {
			for _, k := range m.MatchingKernels {
				c.see(strings.Clone(k.Id), kernelStatus(k.Status), r.call, e.At, j)
			}
		}
	}
}

// changed is the end of a request to change something.
func (c *assets) changed(r assetRequest, s assetsv2.AssetStatus, now int64, j *Judge) {
	switch s {
	case assetsv2.AssetStatus_STORED:
		c.moves(r, j)
		c.add(r.asset, models.AssetChange(r.kind, r.to, r.call, now, false), r.to, j)
	case assetsv2.AssetStatus_EXISTS:
		if r.kind == "move" {
			c.see(r.asset, r.to, r.call, now, j)
		} else {
			c.add(r.asset, models.AssetExists(r.call, now), "", j)
		}
	case assetsv2.AssetStatus_NOT_FOUND:
		if r.of != "" {
			c.see(r.of, models.Absent, r.call, now, j)
		} else {
			c.see(r.asset, models.Absent, r.call, now, j)
		}
	case assetsv2.AssetStatus_UNAVAILABLE:
		c.unknown(r, j)
	}
}

// unknown enters a change that nobody was told of: it takes effect at some time,
// or never.
//
// Nothing takes an asset away, and only a move makes a kernel wait for a verdict
// again. Until there is one, of equal stores and equal verdicts only one can take
// effect, and the first may do so whenever a later one may: those add nothing but
// orders to try. Five in flight at once took longer than any time-out.
func (c *assets) unknown(r assetRequest, j *Judge) {
	if h := c.keys[r.asset]; h != nil && (r.kind == "store" || r.kind == "verdict") {
		k := [2]string{r.kind, r.to}
		if h.maybe[k] && (r.kind == "store" || !h.moved) {
			h.again = append(h.again, r)
			return
		}
		if h.maybe == nil {
			h.maybe = map[[2]string]bool{}
		}
		h.maybe[k] = true
	}
	if r.kind == "store" || r.kind == "verdict" || r.kind == "move" {
		c.moves(r, j)
		c.add(r.asset, models.AssetChange(r.kind, r.to, r.call, math.MaxInt64/2, true), "", j)
	}
}

// moves enters the verdicts that were left out once there is a move.
func (c *assets) moves(r assetRequest, j *Judge) {
	if r.kind != "move" || r.asset == "" || c.over[r.asset] {
		return
	}
	h := c.history(r.asset)
	if h.moved {
		return
	}
	h.moved = true
	for _, a := range h.again {
		if a.kind == "verdict" {
			c.add(a.asset, models.AssetChange(a.kind, a.to, a.call, math.MaxInt64/2, true), "", j)
		}
	}
	h.again = nil
}

func (c *assets) read(r assetRequest, s assetsv2.AssetStatus, status string, now int64, j *Judge) {
	switch s {
	case assetsv2.AssetStatus_EXISTS:
		c.see(r.asset, status, r.call, now, j)
	case assetsv2.AssetStatus_NOT_FOUND:
		c.see(r.asset, models.Absent, r.call, now, j)
	case assetsv2.AssetStatus_REFUSED:
		c.see(r.asset, models.Withheld, r.call, now, j)
	}
}

// see enters a read. One that saw what the operation before it saw or left adds
// nothing.
func (c *assets) see(asset, status string, call, done int64, j *Judge) {
	if h := c.keys[asset]; h != nil && h.last == status {
		return
	}
	c.add(asset, models.AssetRead(status, call, done), status, j)
}

func (c *assets) add(asset string, o models.Operation, saw string, j *Judge) {
	if asset == "" || c.over[asset] {
		return
	}
	h := c.history(asset)
	h.last = saw
	if h.Add(o); h.Len() >= longestAsset {
		c.over[asset] = true
		c.check(asset, j)
	}
}

func (c *assets) history(asset string) *assetHistory {
	h := c.keys[asset]
	if h == nil {
		h = &assetHistory{History: models.NewHistory(models.Asset())}
		c.keys[asset] = h
		c.order = append(c.order, asset)
	}
	return h
}

func (c *assets) check(asset string, j *Judge) {
	h := c.keys[asset]
	delete(c.keys, asset)
	if h == nil || h.Len() < 2 {
		return
	}
	switch result, detail := h.Cut(linearTimeout); result {
	case porcupine.Ok:
		j.Judged("R3")
	case porcupine.Illegal:
		j.Violate("R3", "", fmt.Sprintf("the history of the asset %.80s is not linearizable: %s", asset, detail))
		if c.picture != nil {
			c.picture("R3", h.Picture)
		}
	default:
		j.Violate("R3", "", fmt.Sprintf("asset %.80s: linearizability was not decided within %v: no verdict", asset, linearTimeout))
	}
}

// Finish implements Checker.
func (c *assets) Finish(j *Judge) {
	for _, k := range slices.Sorted(maps.Keys(c.open)) {
		c.unknown(c.open[k], j)
	}
	for _, asset := range c.order {
		c.check(asset, j)
	}
}
