package simic

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/policy"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

var kernels = []string{"residual-4", "residual-6", "residual-8"}

func good() *operationalv2.FieldReport {
	return &operationalv2.FieldReport{ReportId: "report/c1", BlueprintId: "b", KernelArtifactId: "residual-6", SeedId: "1/2",
		PreMetric: 2, PostMetric: 1, Outcome: "FOSSILIZED"}
}

func TestValidate(t *testing.T) {
	if err := validate(good(), kernels); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*operationalv2.FieldReport){
		"no id":          func(m *operationalv2.FieldReport) { m.ReportId = "" },
		"no command":     func(m *operationalv2.FieldReport) { m.ReportId = "report/" },
		"no blueprint":   func(m *operationalv2.FieldReport) { m.BlueprintId = "" },
		"no seed":        func(m *operationalv2.FieldReport) { m.SeedId = "" },
		"an odd seed":    func(m *operationalv2.FieldReport) { m.SeedId = "left" },
		"an odd kernel":  func(m *operationalv2.FieldReport) { m.KernelArtifactId = "k" },
		"an odd outcome": func(m *operationalv2.FieldReport) { m.Outcome = "WON" },
		"NaN":            func(m *operationalv2.FieldReport) { m.PostMetric = math.NaN() },
		"infinite":       func(m *operationalv2.FieldReport) { m.PreMetric = math.Inf(1) },
		"a likelihood of 2": func(m *operationalv2.FieldReport) {
			m.EvalMetrics = []*operationalv2.EvaluationMetric{{MetricName: "policy/a", MetricValue: 2}}
		},
	} {
		m := good()
		spoil(m)
		if validate(m, kernels) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestReward(t *testing.T) {
	for _, c := range []struct {
		outcome   string
		pre, post float64
		want      float32
	}{
		{"FOSSILIZED", 2, 1, 1.05}, {"CULLED", 2, 2, -0.5}, {"ROLLED_BACK", 1, 9, -1.1}, {"CANCELLED", 0, 0, -0.1},
	} {
		m := good()
		m.Outcome, m.PreMetric, m.PostMetric = c.outcome, c.pre, c.post
		if x := reward(m, kernels, 5); x.Reward < c.want-1e-6 || x.Reward > c.want+1e-6 || x.Action != 1 || x.StoredMs != 5 || x.CommandId != "c1" {
			t.Errorf("%s: %v, want the reward %g", c.outcome, x, c.want)
		}
	}
	m := good()
	m.EvalMetrics = []*operationalv2.EvaluationMetric{{MetricName: "latency", MetricValue: 1}, {MetricName: "policy/simic-3", MetricValue: 0.25}}
	if x := reward(m, kernels, 0); x.Reward > 1.01 || x.PolicyVersion != "simic-3" || x.Likelihood != 0.25 {
		t.Errorf("%v", x)
	}
}

// The buffer against a plain list: its limit, its expiry, its held-out fifth.
func TestBuffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(10, 60).Draw(t, "limit")
		b := newBuffer(limit, time.Minute)
		var model []entry
		now := time.Duration(0)
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				n++
				x := &statev2.Experience{ReportId: fmt.Sprint("report/", n)}
				b.add(x, now)
				if model = append(model, entry{Experience: x, stored: now}); len(model) > limit {
					model = model[limit/10:]
				}
			},
			"wait": func(t *rapid.T) {
				now += time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second
				b.expire(now)
				for len(model) > 0 && now-model[0].stored >= time.Minute {
					model = model[1:]
				}
			},
			"learn": func(t *rapid.T) {
				for _, d := range b.sample(8, func(i int) uint64 { return rapid.Uint64().Draw(t, "lot") }) {
					if heldOut(b.entries[d.at].ReportId) {
						t.Fatal("it trains on what it is validated by")
					}
					if !(d.weight > 0 && d.weight <= 1) {
						t.Fatalf("weight %g", d.weight)
					}
					b.learnt(d.at, rapid.Float32Range(-3, 3).Draw(t, "error"))
				}
			},
			"": func(t *rapid.T) {
				if len(b.entries) != len(model) || len(model) > limit {
					t.Fatalf("%d entries, want %d of at most %d", len(b.entries), len(model), limit)
				}
				for i := range model {
					if b.entries[i].ReportId != model[i].ReportId {
						t.Fatalf("entry %d is %s, want %s", i, b.entries[i].ReportId, model[i].ReportId)
					}
				}
				if batch, _ := b.validation(); len(batch)+b.trainable() != len(model) {
					t.Fatalf("%d for validation and %d for training of %d", len(batch), b.trainable(), len(model))
				}
			},
		})
	})
}

// What was surprising is drawn more often than what was not, and by how much is
// what the weights take back.
func TestSampleByPriority(t *testing.T) {
	b := newBuffer(100, time.Hour)
	for i := 0; len(b.entries) < 2; i++ {
		if id := fmt.Sprint("report/", i); !heldOut(id) {
			b.add(&statev2.Experience{ReportId: id}, 0)
		}
	}
	b.learnt(0, 1)
	b.learnt(1, 0.1)
	var hits [2]int
	var weights [2]float32
	for _, d := range b.sample(1000, func(i int) uint64 { return uint64(i) * (math.MaxUint64 / 1000) }) {
		hits[d.at]++
		weights[d.at] = d.weight
	}
	// (1.01/0.11)^0.6 is 3.78.
	if r := float64(hits[0]) / float64(hits[1]); r < 3.6 || r > 4 {
		t.Errorf("drawn %v times", hits)
	}
	// 3.78^-0.4 is 0.587.
	if weights[1] != 1 || weights[0] < 0.57 || weights[0] > 0.6 {
		t.Errorf("weights %v", weights)
	}
}

func held(reward float32, action uint32, n int) (e *evidence) {
	e = &evidence{limit: 0.05, digest: policy.Digest(make([]float32, policy.Size))}
	for i := range n {
		x := policy.Features(1, 1, int32(i%3))
		e.batch = append(e.batch, policy.Sample{Features: x, Action: uint32(i) % policy.Actions, Likelihood: 1.0 / 3, Reward: -0.5, Weight: 1})
		e.harmful = append(e.harmful, false)
		if e.batch[i].Action == action {
			e.batch[i].Reward = reward
		}
	}
	return e
}

// Each stage stops the policy that it is there for.
func TestExamine(t *testing.T) {
	even := make([]float32, policy.Size) // every kernel alike
	only := func(a int) []float32 {      // nearly always the same one
		w := make([]float32, policy.Size)
		w[a*policy.Width] = 9
		return w
	}
	for name, c := range map[string]struct {
		weights []float32
		e       func(*evidence)
		stops   string
	}{
		"no better than chance is good enough": {even, func(*evidence) {}, ""},
		"the best one":                         {only(0), func(*evidence) {}, ""},
		"nothing to judge by":                  {even, func(e *evidence) { e.batch, e.harmful = nil, nil }, "performance"},
		"worse than chance":                    {only(1), func(*evidence) {}, "performance"},
		"harmful": {only(0), func(e *evidence) {
			for i := range e.batch {
				e.harmful[i] = e.batch[i].Action == 0
			}
		}, "safety"},
		"worse than what is in use": {even, func(e *evidence) { e.inUse, _ = policy.Load(only(0)) }, "regression"},
		"not what was trained":      {only(0), func(e *evidence) { e.digest = []byte("other") }, "security"},
		"judged by a bribe": {even, func(e *evidence) {
			for i := range e.batch {
				e.batch[i].Reward = 5
			}
		}, "security"},
		"no policy": {even[1:], func(*evidence) {}, "performance"},
	} {
		t.Run(name, func(t *testing.T) {
			e := held(1, 0, 30)
			if len(c.weights) == policy.Size {
				e.digest = policy.Digest(c.weights)
			}
			c.e(e)
			v := examine(c.weights, e)
			last := v.checks[len(v.checks)-1]
			if v.passed() != (c.stops == "") || !last.Passed && last.Name != c.stops {
				t.Errorf("%v, want it to stop at %q", v.checks, c.stops)
			}
		})
	}
}

func TestReleased(t *testing.T) {
	o := Defaults()
	for _, c := range []struct {
		stage           policyv2.PolicyStage
		decisions, good int64
		elapsed         time.Duration
		want            policyv2.PolicyStage
	}{
		{policyv2.PolicyStage_TESTING, 100, 80, 23 * time.Hour, policyv2.PolicyStage_TESTING},
		{policyv2.PolicyStage_TESTING, 100, 80, 24 * time.Hour, policyv2.PolicyStage_STAGED},
		{policyv2.PolicyStage_TESTING, 99, 99, 24 * time.Hour, policyv2.PolicyStage_TESTING},
		{policyv2.PolicyStage_TESTING, 99, 99, 48 * time.Hour, policyv2.PolicyStage_ROLLED_BACK},
		{policyv2.PolicyStage_TESTING, 100, 79, time.Second, policyv2.PolicyStage_ROLLED_BACK},
		{policyv2.PolicyStage_TESTING, 10, 0, time.Second, policyv2.PolicyStage_TESTING},
		{policyv2.PolicyStage_STAGED, 100, 80, 59 * time.Second, policyv2.PolicyStage_STAGED},
		{policyv2.PolicyStage_STAGED, 100, 80, time.Minute, policyv2.PolicyStage_PRODUCTION},
		{policyv2.PolicyStage_STAGED, 200, 150, time.Minute, policyv2.PolicyStage_ROLLED_BACK},
	} {
		got, _ := released(&statev2.PolicyRecord{Stage: c.stage, Decisions: c.decisions, Successes: c.good}, c.elapsed, o)
		if got != c.want {
			t.Errorf("%v: it goes to %v", c, got)
		}
	}
}

// A crash may fall between the two records of a withdrawal. There is a version in
// production behind each of them.
func TestAWithdrawalLeavesOneInProduction(t *testing.T) {
	before := &statev2.PolicyRecord{Version: "simic-1", Stage: policyv2.PolicyStage_STAGED, Reason: reserve + "simic-2"}
	failing := &statev2.PolicyRecord{Version: "simic-2", Previous: "simic-1", Stage: policyv2.PolicyStage_PRODUCTION, Decisions: 10}
	log := map[string]policyv2.PolicyStage{before.Version: before.Stage, failing.Version: failing.Stage}
	for _, r := range withdrawn(failing, before) {
		log[r.Version] = r.Stage
		if log["simic-1"] != policyv2.PolicyStage_PRODUCTION && log["simic-2"] != policyv2.PolicyStage_PRODUCTION {
			t.Errorf("behind the record of %s nothing is in production: %v", r.Version, log)
		}
	}
	if log["simic-1"] != policyv2.PolicyStage_PRODUCTION || log["simic-2"] != policyv2.PolicyStage_ROLLED_BACK {
		t.Errorf("in the end: %v", log)
	}
	if alone := withdrawn(failing, nil); len(alone) != 1 || alone[0].Stage != policyv2.PolicyStage_ROLLED_BACK {
		t.Errorf("without an earlier one: %v", alone)
	}
}
