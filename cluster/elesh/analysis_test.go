package elesh

import (
	"testing"

	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
)

func TestAnalyse(t *testing.T) {
	c := func(i int32, r float64) *pruningv2.PruningTarget {
		return &pruningv2.PruningTarget{ParameterId: "p", Structure: "channel", Index: i, Redundancy: r}
	}
	d := analyse(&pruningv2.StructuralAnalysisRequest{IdempotencyKey: "k", Candidates: []*pruningv2.PruningTarget{c(1, 0.95), c(2, 0.94), c(3, 0.99), c(4, 1.5)}}, 0.95)
	if len(d.Targets) != 2 || d.Targets[0].Index != 3 || d.Targets[1].Index != 1 || d.IdempotencyKey != "k" || d.SkippedReason != "" {
		t.Errorf("%v", d)
	}
	if d := analyse(&pruningv2.StructuralAnalysisRequest{Candidates: []*pruningv2.PruningTarget{c(1, 0.5)}}, 0.95); d.SkippedReason == "" || len(d.Targets) > 0 {
		t.Errorf("nothing is redundant, and it says %v", d)
	}
}
