package checkers_test

import (
	"math"
	"testing"

	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
)

// Each clause of J1, broken alone.
func TestCurriculum(t *testing.T) {
	const together, apart = policyv2.CurriculumMode_SYNCHRONIZED, policyv2.CurriculumMode_INDEPENDENT
	for name, c := range map[string]struct {
		m      *policyv2.CurriculumDecision
		guilty bool
	}{
		"a decision":           {&policyv2.CurriculumDecision{Mode: apart, Strategies: []string{"a"}, Confidence: 0.3, TaskStage: 6}, false},
		"a fallback":           {&policyv2.CurriculumDecision{Mode: together, Strategies: []string{"a"}, Confidence: 0.4, Fallback: true}, false},
		"no strategy":          {&policyv2.CurriculumDecision{Mode: together, Confidence: 1}, true},
		"one without a name":   {&policyv2.CurriculumDecision{Mode: together, Strategies: []string{"a", ""}, Confidence: 1}, true},
		"little confidence":    {&policyv2.CurriculumDecision{Mode: together, Strategies: []string{"a"}, Confidence: 0.29}, true},
		"no number":            {&policyv2.CurriculumDecision{Mode: together, Strategies: []string{"a"}, Confidence: math.NaN()}, true},
		"an independent one":   {&policyv2.CurriculumDecision{Mode: apart, Strategies: []string{"a"}, Confidence: 1, Fallback: true}, true},
		"an unsure fallback":   {&policyv2.CurriculumDecision{Mode: together, Strategies: []string{"a"}, Confidence: 0.35, Fallback: true}, true},
		"no mode":              {&policyv2.CurriculumDecision{Strategies: []string{"a"}, Confidence: 1}, true},
		"a stage that is none": {&policyv2.CurriculumDecision{Mode: together, Strategies: []string{"a"}, Confidence: 1, TaskStage: 7}, true},
		"another that is none": {&policyv2.CurriculumDecision{Mode: together, Strategies: []string{"a"}, Confidence: 1, StrategyStage: 7}, true},
	} {
		t.Run(name, func(t *testing.T) {
			list := found(t, "J1", func(p *tape) { p.publish("jace", "innovation.curriculum", "d", c.m) })
			if c.guilty != (len(list) > 0) {
				t.Errorf("%v", list)
			}
		})
	}
}
