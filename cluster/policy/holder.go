package policy

import (
	"bytes"

	"github.com/esper-sim/espersim/cluster/actor"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
)

// Holder is the receiver's side of a release: it knows what was announced, asks
// for the weights, takes only those with the announced digest, and says which
// policy a decision falls to. It lives in memory; its owner logs announcements
// before it acknowledges them, and hands them over again after a restart.
type Holder struct {
	env    actor.Env
	simic  actor.ID
	inUse  *held // in production
	tested *held // on its share of the decisions
	asked  uint32
}

type held struct {
	version string
	digest  []byte
	share   float64
	net     *Net // nil: the weights have not come yet
}

// NewHolder makes the holder of a process.
func NewHolder(env actor.Env, simic actor.ID) *Holder { return &Holder{env: env, simic: simic} }

// Announce takes an announcement. A version that is put into production takes
// the place of the one before: that is also how one is rolled back.
func (h *Holder) Announce(m *policyv2.PolicyUpdate) {
	next := &held{version: m.Version, digest: bytes.Clone(m.WeightsSha256), share: m.Share}
	for _, old := range []*held{h.inUse, h.tested} {
		if old != nil && old.version == m.Version && bytes.Equal(old.digest, m.WeightsSha256) {
			next.net = old.net
		}
	}
	drop := h.tested != nil && h.tested.version == m.Version
	switch m.Stage {
	case policyv2.PolicyStage_TESTING, policyv2.PolicyStage_STAGED:
		h.tested = next
	case policyv2.PolicyStage_PRODUCTION:
		h.inUse = next
		if drop {
			h.tested = nil
		}
	default:
		if drop {
			h.tested = nil
		}
		if h.inUse != nil && h.inUse.version == m.Version {
			h.inUse = nil
		}
	}
	h.Ask()
}

// Ask asks for weights that are missing. The owner calls it now and again.
func (h *Holder) Ask() {
	for _, p := range []*held{h.inUse, h.tested} {
		if p != nil && p.net == nil {
			h.env.Net.Send(h.simic, &innovationv2.FetchPolicy{RequestId: "fetch/" + p.version, Version: p.version},
				actor.SendOptions{Key: "fetch-policy/" + p.version, Attempt: h.asked})
			h.asked++
		}
	}
}

// Take takes weights. Those that are not what was announced are dropped.
func (h *Holder) Take(m *innovationv2.PolicyWeights) {
	for _, p := range []*held{h.inUse, h.tested} {
		if p == nil || p.version != m.Version || p.net != nil || m.Status != innovationv2.RequestStatus_DONE {
			continue
		}
		if !bytes.Equal(Digest(m.Weights), p.digest) {
			h.env.Probe.Reached("policy/wrong-digest")
			continue
		}
		if n, err := Load(m.Weights); err == nil {
			p.net = n
		}
	}
}

// Decision is a choice of a policy.
type Decision struct {
	Version    string // empty: none was asked, and the choice stays as it was
	Action     uint32
	Likelihood float64
}

// Decide chooses for a decision with 64 random bits of its own.
func (h *Holder) Decide(x [Width]float32, lot, draw uint64) Decision {
	p := h.inUse
	if t := h.tested; t != nil && t.net != nil && float64(lot>>11)/(1<<53) < t.share {
		p = t
	}
	if p == nil || p.net == nil {
		return Decision{}
	}
	prob := p.net.Probabilities(x)
	a := Choose(prob, draw)
	h.env.Facts.Record(&evidencev2.ChoiceFact{Version: p.version, Action: a, Likelihood: float64(prob[a]), Features: x[:]})
	return Decision{Version: p.version, Action: a, Likelihood: float64(prob[a])}
}

// Versions lists the versions that decide, the one in production first.
func (h *Holder) Versions() []string {
	var list []string
	for _, p := range []*held{h.inUse, h.tested} {
		if p != nil {
			list = append(list, p.version)
		}
	}
	return list
}
