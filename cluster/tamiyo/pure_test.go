package tamiyo

import (
	"math"
	"testing"

	"github.com/esper-sim/espersim/cluster/graft"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

func TestJudge(t *testing.T) {
	for _, k := range []struct {
		v    Vitals
		want int
	}{
		{Vitals{}, 0},
		{Vitals{Gradient: 5, Memory: 0.8, LatencyMs: 100, Stability: 0.1}, 0},
		{Vitals{Gradient: 20}, 1},
		{Vitals{Gradient: 20, Stability: 0.5}, 2},
		{Vitals{Memory: 0.86}, 4},
		{Vitals{NotFinite: true}, 4},
		{Vitals{Gradient: math.NaN()}, 4},
		{Vitals{Gradient: 19, LatencyMs: 450, Stability: 0.45}, 4},
		{Vitals{Gradient: 20, LatencyMs: 500}, 2},
	} {
		if got := Judge(k.v); got.Level != k.want {
			t.Errorf("%+v is level %d (%.2f); want %d", k.v, got.Level, got.Score, k.want)
		}
	}
}

func TestPolicies(t *testing.T) {
	flat := []float64{0.5, 0.5, 0.5, 0.5}
	kernels := []string{"a", "b"}
	dormant := Seed{Ref: graft.Ref{Layer: 1, Seed: 1}, Stage: graft.Dormant}
	ready := Seed{Ref: graft.Ref{Layer: 1, Seed: 2}, Stage: graft.Evaluating, Ready: true}
	failing := Seed{Ref: graft.Ref{Layer: 1, Seed: 2}, Stage: graft.Evaluating, Failing: true}
	for _, k := range []struct {
		name   string
		policy Policy
		v      View
		want   []adaptationv2.SeedOperation
		back   bool
	}{
		{"plateau", heuristic{}, View{Epoch: 9, LastAdapted: -1, Loss: 0.5, Recent: flat, Seeds: []Seed{dormant}, Kernels: kernels},
			[]adaptationv2.SeedOperation{adaptationv2.SeedOperation_GERMINATE}, false},
		{"falling", heuristic{}, View{Epoch: 9, LastAdapted: -1, Loss: 0.3, Recent: flat, Seeds: []Seed{dormant}, Kernels: kernels}, nil, false},
		{"ready", heuristic{}, View{Epoch: 9, Loss: 0.3, Recent: flat, Seeds: []Seed{ready}}, []adaptationv2.SeedOperation{adaptationv2.SeedOperation_FINE_TUNE}, false},
		{"failing", heuristic{}, View{Epoch: 9, Loss: 0.3, Recent: flat, Seeds: []Seed{failing}}, []adaptationv2.SeedOperation{adaptationv2.SeedOperation_CULL}, false},
		{"explosion", idle{}, View{Loss: 8, Recent: flat}, nil, true},
		{"no number", busy{}, View{Loss: math.NaN()}, nil, true},
		{"nothing", idle{}, View{Loss: 1, Recent: flat, Seeds: []Seed{ready, dormant}, Kernels: kernels}, nil, false},
	} {
		var ops []adaptationv2.SeedOperation
		back := false
		for _, a := range k.policy.Decide(&k.v) {
			if a.Kind == MoveSeed {
				ops = append(ops, a.Op)
			}
			back = back || a.Kind == GoBack
		}
		if back != k.back || len(ops) != len(k.want) || len(ops) > 0 && ops[0] != k.want[0] {
			t.Errorf("%s: %v, back %v", k.name, ops, back)
		}
	}
}

func TestRestoredMindAgainstTheLog(t *testing.T) {
	m := newMind()
	m.add(&adaptation{id: "kept", since: 3})
	m.add(&adaptation{id: "told", since: 2})
	r := load(m.save("v"))
	undone := r.reconcile(4, []*adaptation{{id: "kept", since: 3}, {id: "late", since: 3}, {id: "undone", since: 4}}, map[string]bool{"told": true}, func(*adaptation) bool { return false })
	if len(undone) != 1 || undone[0].id != "undone" {
		t.Errorf("undone: %v", undone)
	}
	if len(r.open) != 3 || r.find("late") == nil || !r.find("told").reported || r.find("kept").reported {
		t.Errorf("open: %+v", r.open)
	}
}

// Going back is decided twice; then training goes on at half the rate, until an
// epoch after those goes well. From no number there is only going back.
func TestHeed(t *testing.T) {
	flat := []float64{0.01, 0.01, 0.01}
	var r rescues
	at := func(epoch int64, loss float64) (kind ActionKind) {
		v := &View{Epoch: epoch, Loss: loss, Recent: flat, LearningRate: 0.04}
		for _, a := range r.heed(idle{}.Decide(v), v) {
			if kind = a.Kind; kind == SetRate && a.Rate != 0.02 {
				t.Errorf("epoch %d: a rate of %v", epoch, a.Rate)
			}
		}
		return kind
	}
	for i, c := range []struct {
		epoch int64
		loss  float64
		want  ActionKind
	}{
		{9, 1, GoBack}, {8, 0.01, 0}, {9, 1, GoBack}, {9, 1, SetRate}, {10, 1, SetRate}, {11, 0.01, 0}, {12, 1, GoBack},
		{12, math.NaN(), GoBack}, {12, math.NaN(), GoBack}, {12, math.NaN(), GoBack},
	} {
		if got := at(c.epoch, c.loss); got != c.want {
			t.Errorf("step %d: %v, want %v", i, got, c.want)
		}
	}
}

// What an earlier rollback took back of which the log never heard is taken back, and
// not alive: the end of the next adaptation of its seed was reported as its own.
func TestUndoneBeforeTheLogHeardOfIt(t *testing.T) {
	var former, p participant
	former.backs = newest(append(older(nil, nil), back{2, 2}))
	p.backs = newest(append(older(former.saved(), nil), back{3, 5}))
	logged := []*adaptation{{id: "undone", since: 3, issued: 1}, {id: "alive", since: 3, issued: 2}, {id: "of an older version", since: 3}}
	m := newMind()
	undone := m.reconcile(5, logged, map[string]bool{}, p.tookBack)
	if len(undone) != 1 || undone[0].id != "undone" {
		t.Errorf("%d are taken back: %v", len(undone), undone)
	}
	if m.find("alive") == nil || m.find("of an older version") == nil || m.find("undone") != nil {
		t.Errorf("alive are %v", m.open)
	}
	// A life knows its own rollbacks best, and a checkpoint those before.
	p.backs = older([]*statev2.WentBack{{Generation: 2, Epoch: 2}, {Generation: 3, Epoch: 9}}, []back{{3, 5}})
	if len(p.backs) != 2 || p.backs[0] != (back{2, 2}) || p.backs[1] != (back{3, 5}) {
		t.Errorf("%v", p.backs)
	}
}
