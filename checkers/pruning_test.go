package checkers_test

import (
	"fmt"
	"testing"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
)

// prune is how a pruning cycle differs from a good one.
type prune struct {
	verdict     pruningv2.PruningVerdict // zero: GO
	early       bool                     // before epoch 31
	needed      bool                     // what is masked is not redundant
	unknown     bool
	many        int    // structures beyond the one
	structure   string // empty: channels
	outside     bool   // it is applied, and nothing is loaded
	resurrected bool   // it is applied after it was taken back
}

// prune makes a cycle with 30 parameters of 24 structures each.
func (p *tape) prune(r prune) {
	structure := "channel"
	if r.structure != "" {
		structure = r.structure
	}
	reply := &pruningv2.StatisticsReply{IdempotencyKey: "k"}
	for param := range 30 {
		for i := range 24 {
			t := &pruningv2.PruningTarget{ParameterId: fmt.Sprint("p", param), Structure: structure, Index: int32(i), Redundancy: 0.97}
			if r.needed {
				t.Redundancy = 0.9
			}
			reply.Candidates = append(reply.Candidates, t)
		}
	}
	p.mail("kasmina", "emrakul", reply)
	verdict := pruningv2.PruningVerdict_GO
	if r.verdict != 0 {
		verdict = r.verdict
	}
	p.mail("urabrask", "emrakul", &pruningv2.PruningValidation{IdempotencyKey: "k", Verdict: verdict})
	m := &pruningv2.PruningMask{IdempotencyKey: "k", Epoch: 31, Targets: reply.Candidates[:1+r.many]}
	if r.early {
		m.Epoch = 30
	}
	if r.unknown {
		m.Targets = []*pruningv2.PruningTarget{{ParameterId: "other", Structure: structure}}
	}
	p.sent("emrakul", "kasmina", m)
	apply := func(key string, load bool) {
		cause := p.sent("emrakul", "kasmina", m)
		if load {
			p.factBy("kasmina", &evidencev2.PruningFact{State: "LOADED"}, cause)
		}
		p.factBy("kasmina", &evidencev2.PruningFact{State: "MASKED", IdempotencyKey: key}, cause)
	}
	apply("k", !r.outside)
	if r.resurrected {
		p.sent("emrakul", "kasmina", &pruningv2.PruningMask{IdempotencyKey: "k:back", Epoch: 31})
		apply("k:back", true)
		apply("k", true)
	}
}

// Each clause of I9, broken alone.
func TestPruning(t *testing.T) {
	for _, c := range []struct {
		r      prune
		guilty bool
	}{
		{prune{}, false}, {prune{verdict: pruningv2.PruningVerdict_CONDITIONAL_GO}, false}, {prune{many: 3}, false},
		{prune{verdict: pruningv2.PruningVerdict_NO_GO}, true}, {prune{early: true}, true}, {prune{needed: true}, true}, {prune{unknown: true}, true},
		{prune{many: 4}, true}, {prune{structure: "head", many: 21}, false}, {prune{structure: "head", many: 22}, true},
		{prune{structure: "layer", many: 35}, false}, {prune{structure: "layer", many: 36}, true}, {prune{outside: true}, true}, {prune{resurrected: true}, true},
	} {
		t.Run(fmt.Sprintf("%+v", c.r), func(t *testing.T) {
			if list := found(t, "I9", func(p *tape) { p.prune(c.r) }); c.guilty != (len(list) > 0) {
				t.Errorf("%v", list)
			}
		})
	}
}
