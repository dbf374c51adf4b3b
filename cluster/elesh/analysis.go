package elesh

import (
	"slices"
	"strings"

	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
)

// analyse says which of a shard's candidates can go: those that are redundant,
// the most redundant first, and no more than the ratio allows of the shard.
// The floors hold for the whole, which only the coordinator sees.
func analyse(r *pruningv2.StructuralAnalysisRequest, redundancy float64) *pruningv2.StructuralAnalysisDecision {
	d := &pruningv2.StructuralAnalysisDecision{IdempotencyKey: strings.Clone(r.IdempotencyKey), CheckpointId: strings.Clone(r.CheckpointId), Ratio: r.Ratio}
	for _, c := range r.Candidates {
		if c.Redundancy >= redundancy && c.Redundancy <= 1 {
			d.Targets = append(d.Targets, &pruningv2.PruningTarget{ParameterId: strings.Clone(c.ParameterId), Structure: strings.Clone(c.Structure), Index: c.Index, Redundancy: c.Redundancy})
		}
	}
	slices.SortStableFunc(d.Targets, func(a, b *pruningv2.PruningTarget) int {
		switch {
		case a.Redundancy > b.Redundancy:
			return -1
		case a.Redundancy < b.Redundancy:
			return 1
		}
		return 0
	})
	if len(d.Targets) == 0 {
		d.SkippedReason = "nothing is redundant"
	}
	return d
}
