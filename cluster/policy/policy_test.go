package policy_test

import (
	"encoding/hex"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/policy"
	"github.com/esper-sim/espersim/contracts/canon"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
)

// situation is one of two, each with its own best kernel.
func situation(i int) ([policy.Width]float32, uint32) {
	return policy.Features(1.5, 1, int32(1+i%2)), uint32(1 - i%2)
}

// lesson is the i-th experience of somebody who chooses in turn.
func lesson(i int) policy.Sample {
	x, best := situation(i)
	s := policy.Sample{Features: x, Action: uint32(i/2) % policy.Actions, Likelihood: 1.0 / policy.Actions, Reward: -0.5, Weight: 1}
	if s.Action == best {
		s.Reward = 1
	}
	return s
}

func trained(steps int) *policy.Net {
	n := new(policy.Net)
	for k := range steps {
		var batch []policy.Sample
		for i := range 30 {
			batch = append(batch, lesson(k*30+i))
		}
		n.Step(batch)
	}
	return n
}

// A policy learns which kernel is the best one where, from choices that it did
// not make itself.
func TestStepLearns(t *testing.T) {
	n := trained(1500)
	for i := range 2 {
		x, best := situation(i)
		if p := n.Probabilities(x); p[best] < 0.8 {
			t.Errorf("situation %d: the best kernel has the probability %g of %v", i, p[best], p)
		}
	}
	var batch []policy.Sample
	for i := range 60 {
		batch = append(batch, lesson(i))
	}
	value, _, plain, _ := n.Estimate(batch, func(int) bool { return false })
	if value < plain+0.5 {
		t.Errorf("it is estimated to earn %g, and chance earns %g", value, plain)
	}
}

// The weights are the same bits on every machine.
func TestStepIsDeterministic(t *testing.T) {
	const want = "c131e1938557634fb767480f39010414a5edb2f3d3d2eae26efbda59e3ddc0b5"
	if got := hex.EncodeToString(policy.Digest(trained(200).Weights())); got != want {
		t.Errorf("200 steps give weights with the digest %s, want %s", got, want)
	}
}

// Whatever the inputs, the probabilities are some, and a choice is an action.
func TestProbabilitiesAreSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SliceOfN(rapid.Float32Range(-policy.Bound, policy.Bound), policy.Size, policy.Size).Draw(t, "weights")
		n, err := policy.Load(w)
		if err != nil {
			t.Fatal(err)
		}
		x := policy.Features(rapid.Float64().Draw(t, "loss"), rapid.Int32().Draw(t, "layer"), rapid.Int32().Draw(t, "seed"))
		for _, v := range x {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("features %v", x)
			}
		}
		var sum float32
		for _, q := range n.Probabilities(x) {
			if !(q >= 0 && q <= 1) {
				t.Fatalf("probability %g", q)
			}
			sum += q
		}
		if sum < 0.999 || sum > 1.001 {
			t.Fatalf("they add up to %g", sum)
		}
		if a := policy.Choose(n.Probabilities(x), rapid.Uint64().Draw(t, "lot")); a >= policy.Actions {
			t.Fatalf("action %d", a)
		}
	})
}

func TestLoadRefuses(t *testing.T) {
	good := make([]float32, policy.Size)
	for name, spoil := range map[string]func([]float32) []float32{
		"too few":   func(w []float32) []float32 { return w[1:] },
		"too many":  func(w []float32) []float32 { return append(w, 0) },
		"NaN":       func(w []float32) []float32 { w[3] = float32(math.NaN()); return w },
		"infinite":  func(w []float32) []float32 { w[3] = float32(math.Inf(-1)); return w },
		"too large": func(w []float32) []float32 { w[3] = policy.Bound + 1; return w },
	} {
		if _, err := policy.Load(spoil(append([]float32(nil), good...))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := policy.Load(good); err != nil {
		t.Error(err)
	}
}

// sink is a network that remembers which versions were asked for.
type sink struct{ asked []string }

func (s *sink) Send(_ actor.ID, m canon.Message, _ actor.SendOptions) {
	if f, ok := m.(*innovationv2.FetchPolicy); ok {
		s.asked = append(s.asked, f.Version)
	}
}
func (*sink) Incoming() (*envelopev2.EventEnvelope, []byte) { return nil, nil }

type quiet struct{}

func (quiet) Reached(string)        {}
func (quiet) Sometimes(string) bool { return false }

// choices remembers which versions were said to choose.
type choices struct{ versions []string }

func (c *choices) Record(m canon.Message) {
	if f, ok := m.(*evidencev2.ChoiceFact); ok {
		c.versions = append(c.versions, f.Version)
	}
}

func announce(version string, s policyv2.PolicyStage, share float64, w []float32) *policyv2.PolicyUpdate {
	return &policyv2.PolicyUpdate{Version: version, Stage: s, Share: share, WeightsSha256: policy.Digest(w)}
}

// A release, seen by its receiver: the share, wrong weights, the switch, and the
// way back.
func TestHolder(t *testing.T) {
	net := new(sink)
	said := new(choices)
	h := policy.NewHolder(actor.Env{Net: net, Probe: quiet{}, Facts: said}, "simic")
	one, two := make([]float32, policy.Size), make([]float32, policy.Size)
	two[0] = 1
	x := policy.Features(1, 1, 1)
	version := func(lot float64) string { return h.Decide(x, uint64(lot*(1<<63))<<1, 0).Version }
	give := func(v string, w []float32) {
		h.Take(&innovationv2.PolicyWeights{Version: v, Status: innovationv2.RequestStatus_DONE, Weights: w})
	}
	if version(0) != "" {
		t.Error("it decides before anything was announced")
	}
	h.Announce(announce("a", policyv2.PolicyStage_TESTING, 0.25, one))
	if len(net.asked) != 1 || version(0.1) != "" {
		t.Errorf("asked for %v; decided by %q without weights", net.asked, version(0.1))
	}
	give("a", two)
	if version(0.1) != "" {
		t.Error("it took other weights than were announced")
	}
	give("a", one)
	if len(said.versions) > 0 {
		t.Errorf("%v are said to have chosen", said.versions)
	}
	if version(0.1) != "a" || version(0.3) != "" {
		t.Errorf("a share of a quarter: %q at 0.1, %q at 0.3", version(0.1), version(0.3))
	}
	h.Announce(announce("a", policyv2.PolicyStage_PRODUCTION, 1, one))
	if version(0.9) != "a" {
		t.Error("in production it decides everything, without asking for its weights again")
	}
	h.Announce(announce("b", policyv2.PolicyStage_TESTING, 0.25, two))
	give("b", two)
	if version(0.1) != "b" || version(0.3) != "a" {
		t.Errorf("two at once: %q at 0.1, %q at 0.3", version(0.1), version(0.3))
	}
	h.Announce(announce("b", policyv2.PolicyStage_PRODUCTION, 1, two))
	h.Announce(announce("b", policyv2.PolicyStage_ROLLED_BACK, 0, two))
	if version(0.1) != "" {
		t.Error("one that was rolled back decides")
	}
	h.Announce(announce("a", policyv2.PolicyStage_PRODUCTION, 1, one))
	if version(0.1) != "" {
		t.Error("it decides without weights")
	}
	give("a", one)
	if version(0.1) != "a" {
		t.Error("the version before is not back")
	}
}
