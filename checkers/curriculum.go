package checkers

import (
	"fmt"
	"slices"

	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// curriculum judges J1 by what Jace publishes, whatever goes on around it.
type curriculum struct{}

func newCurriculum(Params) Checker { return curriculum{} }

func (curriculum) Invariants() []string { return []string{"J1"} }

func (curriculum) Observe(e *Event, j *Judge) {
	m, ok := e.Mail.Payload.(*policyv2.CurriculumDecision)
	if !ok || e.Kind != trace.MessageSent {
		return
	}
	why := ""
	switch {
	case len(m.Strategies) == 0 || slices.Contains(m.Strategies, ""):
		why = fmt.Sprintf("names the strategies %q", m.Strategies)
	case !(m.Confidence >= 0.3 && m.Confidence <= 1):
		why = fmt.Sprintf("has the confidence %g", m.Confidence)
	case m.Fallback && m.Mode != policyv2.CurriculumMode_SYNCHRONIZED:
		why = fmt.Sprintf("is a fallback and %v", m.Mode)
	case m.Fallback && m.Confidence < 0.4:
		why = fmt.Sprintf("is a fallback with the confidence %g", m.Confidence)
	case m.Mode < policyv2.CurriculumMode_SYNCHRONIZED || m.Mode > policyv2.CurriculumMode_INDEPENDENT:
		why = "has no mode"
	case m.TaskStage > 6 || m.StrategyStage > 6:
		why = fmt.Sprintf("is for the stages %d and %d; there are 0 to 6", m.TaskStage, m.StrategyStage)
	}
	if why != "" {
		j.Violate("J1", e.Node, fmt.Sprintf("the decision %s %s", m.DecisionId, why))
		return
	}
	j.Judged("J1")
}

func (curriculum) Finish(*Judge) {}
