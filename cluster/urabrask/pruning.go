package urabrask

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	"github.com/esper-sim/espersim/gpu"
)

// The caps of a structural validation (card 07).
const (
	mostMasked     = 0.5  // of all structures
	leastRetention = 0.95 // of the accuracy
	mostFragments  = 0.8  // masked parameters a masked structure
)

// pruning answers Emrakul's question about a mask. The verdict is a function of
// the question, so that it need not be remembered; while the structural breaker
// is open there is none, and Emrakul asks again.
func (u *urabrask) pruning(from actor.ID, m *pruningv2.PruningValidation) {
	if from != u.job.Emrakul || m.IdempotencyKey == "" || m.Verdict != pruningv2.PruningVerdict_PRUNING_VERDICT_UNSPECIFIED ||
		u.structural.State(u.env.Clock.Monotonic()) == breaker.Open {
		return
	}
	key, checkpoint := m.IdempotencyKey, m.CheckpointId
	verdict, why := judgePruning(m, u.env.Clock.Now())
	u.env.Clock.Work(gpu.Validate, len(m.Targets))
	u.env.Probe.Reached("urabrask/pruning")
	u.env.Net.Send(from, &pruningv2.PruningValidation{IdempotencyKey: key, CheckpointId: checkpoint, Verdict: verdict, Reason: why},
		actor.SendOptions{Key: "pruning/" + key, CorrelationID: key})
}

// judgePruning is the verdict on a mask: NO_GO for one that contradicts itself,
// masks too much, or is estimated to cost too much accuracy; CONDITIONAL_GO, which
// is half of it, for one that tears single structures out of many parameters.
func judgePruning(m *pruningv2.PruningValidation, now time.Time) (pruningv2.PruningVerdict, string) {
	no := func(format string, a ...any) (pruningv2.PruningVerdict, string) {
		return pruningv2.PruningVerdict_NO_GO, fmt.Sprintf(format, a...)
	}
	switch {
	case len(m.Targets) == 0:
		return no("it masks nothing")
	case m.Deadline != nil && now.After(m.Deadline.AsTime()):
		return no("it is too late for a verdict")
	case !(m.Ratio > 0 && m.Ratio <= mostMasked):
		return no("%.3f of all structures; at most %.1f may be masked", m.Ratio, mostMasked)
	}
	type structure struct {
		parameter, kind string
		index           int32
	}
	seen := make(map[structure]bool, len(m.Targets))
	parameters := make(map[string]bool)
	lost := 0.0
	for _, t := range m.Targets {
		s := structure{t.ParameterId, t.Structure, t.Index}
		if !(t.Redundancy >= 0 && t.Redundancy <= 1) || seen[s] {
			return no("%s %d of %s is masked twice, or its redundancy is no share", t.Structure, t.Index, t.ParameterId)
		}
		seen[s], parameters[t.ParameterId] = true, true
		lost += 1 - t.Redundancy
	}
	n := float64(len(m.Targets))
	if kept := 1 - float64(m.Ratio*lost)/n; kept < leastRetention {
		return no("it keeps %.3f of the accuracy; %.2f is the least", kept, leastRetention)
	}
	if float64(len(parameters))/n > mostFragments {
		return pruningv2.PruningVerdict_CONDITIONAL_GO, "it is scattered over many parameters: half of it first"
	}
	return pruningv2.PruningVerdict_GO, ""
}
