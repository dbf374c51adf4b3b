package jace

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

func whole() *matrix { m := standard(); return &m }

func TestDecide(t *testing.T) {
	for name, c := range map[string]struct {
		s        situation
		mode     policyv2.CurriculumMode
		fallback bool
	}{
		"together":         {situation{task: 3, strategy: 3, confidence: 1}, policyv2.CurriculumMode_SYNCHRONIZED, false},
		"one apart":        {situation{task: 3, strategy: 2, confidence: 1}, policyv2.CurriculumMode_SYNCHRONIZED, false},
		"the task leads":   {situation{task: 4, strategy: 2, confidence: 1}, policyv2.CurriculumMode_TASK_DRIVEN, false},
		"the other leads":  {situation{task: 2, strategy: 4, confidence: 1}, policyv2.CurriculumMode_STRATEGY_DRIVEN, false},
		"unsure":           {situation{task: 1, strategy: 4, confidence: 0}, policyv2.CurriculumMode_SYNCHRONIZED, true},
		"worlds apart":     {situation{task: 0, strategy: 6, confidence: 1}, policyv2.CurriculumMode_SYNCHRONIZED, true},
		"cautious":         {situation{task: 4, strategy: 2, confidence: 1, cautious: true}, policyv2.CurriculumMode_SYNCHRONIZED, false},
		"stalled":          {situation{stalled: true, confidence: 1}, policyv2.CurriculumMode_SYNCHRONIZED, true},
		"silent":           {situation{silent: true, confidence: 1}, policyv2.CurriculumMode_SYNCHRONIZED, true},
		"refused":          {situation{refused: true, confidence: 1}, policyv2.CurriculumMode_SYNCHRONIZED, true},
		"no such stage":    {situation{strategy: 7, confidence: 1}, policyv2.CurriculumMode_SYNCHRONIZED, true},
		"no confidence":    {situation{confidence: math.NaN()}, policyv2.CurriculumMode_SYNCHRONIZED, true},
		"too much of it":   {situation{confidence: 2}, policyv2.CurriculumMode_SYNCHRONIZED, true},
		"independent ones": {situation{task: 0, strategy: 3, confidence: 1, matrix: apart()}, policyv2.CurriculumMode_INDEPENDENT, false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.s.matrix == nil {
				c.s.matrix = whole()
			}
			c.s.strategies = []string{"explore"}
			v := decide(&c.s)
			if v.mode != c.mode || (v.fallback != "") != c.fallback {
				t.Errorf("%+v, want %v, fallback %v", v, c.mode, c.fallback)
			}
		})
	}
}

// apart is a matrix in which stages three apart just suit each other.
func apart() *matrix {
	m := standard()
	m[0][3] = 0.35
	return &m
}

// Whatever the situation: a strategy, a confidence, and a fallback that is one.
func TestDecisionsAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &situation{task: rapid.Uint32Range(0, 8).Draw(t, "task"), strategy: rapid.Uint32().Draw(t, "strategy"),
			strategies: rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b"}), 0, 3).Draw(t, "strategies"),
			confidence: rapid.Float64().Draw(t, "confidence"), stalled: rapid.Bool().Draw(t, "stalled"), silent: rapid.Bool().Draw(t, "silent"),
			cautious: rapid.Bool().Draw(t, "cautious"), refused: rapid.Bool().Draw(t, "refused")}
		if rapid.Bool().Draw(t, "whole") {
			s.matrix = whole()
		}
		v := decide(s)
		if len(v.strategies) == 0 || !(v.confidence >= leastConfidence && v.confidence <= 1) {
			t.Fatalf("%+v", v)
		}
		for _, n := range v.strategies {
			if n == "" {
				t.Fatalf("%+v", v)
			}
		}
		if v.fallback != "" && (v.mode != policyv2.CurriculumMode_SYNCHRONIZED || v.confidence < leastFallback) {
			t.Fatalf("%+v", v)
		}
	})
}

// A matrix survives its encoding, and no changed byte of it does.
func TestMatrixOnDisk(t *testing.T) {
	b := whole().proto().AppendCanonical(nil)
	p := new(statev2.CompatibilityMatrix)
	if err := p.ParseCanonical(append([]byte(nil), b...)); err != nil {
		t.Fatal(err)
	}
	if m, ok := matrixFrom(p); !ok || m != standard() {
		t.Fatal("it is another one")
	}
	for i := range b {
		for bit := range 8 {
			c := append([]byte(nil), b...)
			c[i] ^= 1 << bit
			p := new(statev2.CompatibilityMatrix)
			if p.ParseCanonical(c) == nil {
				if _, ok := matrixFrom(p); ok {
					t.Fatalf("bit %d of byte %d is flipped, and nobody sees it", bit, i)
				}
			}
		}
	}
}

func FuzzMatrix(f *testing.F) {
	f.Add(whole().proto().AppendCanonical(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := new(statev2.CompatibilityMatrix)
		if p.ParseCanonical(b) != nil {
			return
		}
		if m, ok := matrixFrom(p); ok {
			for i := range m {
				if m[i][i] != 1 {
					t.Fatal("a matrix whose diagonal is not 1")
				}
			}
		}
	})
}

func TestCache(t *testing.T) {
	var c cache
	for i := range 12_000 {
		c.put(cached{fmt.Sprint(i), verdict{confidence: float64(i)}})
	}
	for l, want := range levels {
		if len(c.level[l]) != want {
			t.Errorf("level %d holds %d, want %d", l, len(c.level[l]), want)
		}
	}
	if v, ok := c.find("5000"); !ok || v.confidence != 5000 || c.level[0][levels[0]-1].key != "5000" {
		t.Error("what is found does not become the newest")
	}
	if _, ok := c.find("3"); ok {
		t.Error("the oldest is still there")
	}
	before := c.bytes()
	c.shrink()
	if _, ok := c.find("11999"); !ok || c.bytes() >= before {
		t.Error("memory pressure must spare the newest only")
	}
}

func TestBudget(t *testing.T) {
	b := &budget{allowed: 0.01, activate: 0.5}
	for range 1000 {
		b.count(true)
	}
	for range 3 {
		if b.evaluate() {
			t.Fatal("an unused budget is used")
		}
	}
	for range 6 {
		b.count(false)
	}
	if b.evaluate() || b.evaluate() || !b.evaluate() {
		t.Error("it takes three evaluations in a row")
	}
}

func TestTaskStage(t *testing.T) {
	for epoch, want := range map[int64]uint32{0: 0, 7: 0, 8: 1, 23: 1, 24: 2, 55: 2, 56: 3, 1 << 40: 6} {
		if got := taskStage(epoch); got != want {
			t.Errorf("epoch %d is in stage %d, want %d", epoch, got, want)
		}
	}
}
