package jace

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"

	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// Stages is how many stages a curriculum has.
const Stages = 7

// matrix says how well a strategy stage serves a task stage: 1 on the diagonal.
type matrix [Stages][Stages]float64

// standard is the matrix by definition: two tenths less for each stage that the
// two are apart.
func standard() (m matrix) {
	for t := range m {
		for s := range m[t] {
			m[t][s] = max(1-0.2*float64(max(t-s, s-t)), 0)
		}
	}
	return m
}

func (m *matrix) digest() []byte {
	b := make([]byte, 0, 8*Stages*Stages)
	for t := range m {
		for _, v := range m[t] {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func (m *matrix) proto() *statev2.CompatibilityMatrix {
	p := &statev2.CompatibilityMatrix{Sha256: m.digest()}
	for t := range m {
		p.Cells = append(p.Cells, m[t][:]...)
	}
	return p
}

// matrixFrom is the matrix that a message holds, if it is whole and is one.
func matrixFrom(p *statev2.CompatibilityMatrix) (m matrix, ok bool) {
	if len(p.Cells) != Stages*Stages {
		return m, false
	}
	for i, v := range p.Cells {
		if !(v >= 0 && v <= 1) || i/Stages == i%Stages && v != 1 {
			return m, false
		}
		m[i/Stages][i%Stages] = v
	}
	return m, bytes.Equal(m.digest(), p.Sha256)
}

// Least confidences (11.1).
const (
	leastConfidence = 0.3
	leastFallback   = 0.4
)

// situation is what a decision depends on.
type situation struct {
	task, strategy uint32
	strategies     []string
	confidence     float64 // of Simic's
	matrix         *matrix // nil: it is damaged
	stalled        bool    // no epoch has come for long
	silent         bool    // Simic has said nothing for long, or never
	cautious       bool    // conservative mode: nothing but SYNCHRONIZED
	refused        bool    // the breaker is open, or the budget is spent
}

// verdict is a decision, without its id.
type verdict struct {
	mode       policyv2.CurriculumMode
	strategies []string
	confidence float64
	fallback   string // why it is one; empty: it is none
}

// baseline is the strategy that is always there.
const baseline = "baseline"

func fallback(why string) verdict {
	return verdict{policyv2.CurriculumMode_SYNCHRONIZED, []string{baseline}, 0.5, why}
}

// decide is the whole rule.
func decide(s *situation) verdict {
	named := slices.DeleteFunc(slices.Clone(s.strategies), func(n string) bool { return n == "" })
	switch {
	case s.refused:
		return fallback("the breaker is open")
	case s.matrix == nil:
		return fallback("the matrix is damaged")
	case s.stalled:
		return fallback("the curriculum stalls")
	case s.silent:
		return fallback("there is no strategy")
	case len(named) == 0:
		return fallback("no strategy is named")
	case s.task >= Stages || s.strategy >= Stages:
		return fallback("there is no such stage")
	case !(s.confidence >= 0 && s.confidence <= 1):
		return fallback("the confidence is none")
	}
	fit := s.matrix[s.task][s.strategy]
	v := verdict{mode: policyv2.CurriculumMode_INDEPENDENT, strategies: named, confidence: fit * (0.5 + s.confidence/2)}
	switch {
	case s.cautious || fit >= 0.8:
		v.mode = policyv2.CurriculumMode_SYNCHRONIZED
	case fit >= 0.4 && s.task > s.strategy:
		v.mode = policyv2.CurriculumMode_TASK_DRIVEN
	case fit >= 0.4:
		v.mode = policyv2.CurriculumMode_STRATEGY_DRIVEN
	}
	if v.confidence < leastConfidence {
		return fallback("the stages are too far apart")
	}
	return v
}

// taskStage is the stage that a number of epochs amounts to: each stage takes
// twice as long as the one before, from the first eight epochs on.
func taskStage(epoch int64) uint32 {
	stage, until := uint32(0), int64(8)
	for epoch >= until && stage < Stages-1 {
		stage++
		until += 8 << stage
	}
	return stage
}
