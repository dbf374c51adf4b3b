package karn

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

var then = time.Date(2025, 1, 10, 0, 0, 0, 0, time.UTC)

func TestPatternsOf(t *testing.T) {
	for text, want := range map[string][]string{
		"dense:4 relu dense": {"dense:4", "relu", "dense:4 relu", "dense", "relu dense"},
		"relu relu relu":     {"relu", "relu relu"},
		"(dense:6 | dense:6 gate)* dense": {"dense:6", "gate", "dense:6 gate", "*",
			"dense", "* dense"},
		"": nil,
	} {
		if got := patternsOf(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// What did well is expected of designs that are built alike, and forgotten after
// a week.
func TestPatternsTeach(t *testing.T) {
	l := newLibrary()
	l.learn("dense:4 relu dense", 0.9, then)
	l.learn("dense:4 relu dense", 0.9, then)
	l.learn("norm softsign", -0.5, then)
	near, other, bad := l.expect("dense:8 relu dense", then), l.expect("clip", then), l.expect("norm softsign", then)
	if !(near > other && other == prior && bad < prior) {
		t.Errorf("alike %v, unlike %v, bad %v", near, other, bad)
	}
	if v := l.expect("dense:8 relu dense", then.Add(patternTTL)); v != prior {
		t.Errorf("after a week %v is expected", v)
	}
	l.learn("relu", -0.5, then.Add(patternTTL))
	if p := l.held["relu"]; p.count != 1 {
		t.Errorf("%d rewards of relu are remembered, one of them for a week", p.count)
	}
}

func TestPatternLimit(t *testing.T) {
	l := newLibrary()
	l.learn("first", 1, then)
	for i := range mostPatterns {
		l.learn("first", 1, then)
		l.learn(fmt.Sprint("w", i), 1, then)
	}
	if len(l.held) != mostPatterns || len(l.order) != mostPatterns {
		t.Fatalf("%d patterns, %d in order", len(l.held), len(l.order))
	}
	if _, ok := l.held["first"]; !ok {
		t.Error("what is spoken of all the time was forgotten")
	}
	if _, ok := l.held["w0"]; ok {
		t.Error("what was spoken of longest ago is still known")
	}
}

// The log says what the library holds: rewards of a mutation teach its own
// patterns, and the template that is built like it is chosen.
func TestPatternsFromTheLog(t *testing.T) {
	m := newMemory()
	for i, text := range []string{"BP008", "BP008", "BP008"} {
		id := fmt.Sprint("d", i)
		m.apply(&statev2.KarnRecord{Design: &statev2.KarnDesign{BlueprintId: id, TemplateId: text, Variant: uint64(i)}})
		m.apply(&statev2.KarnRecord{Reward: &statev2.KarnReward{ReportId: id, BlueprintId: id, TemplateId: text, Value: 0.9, At: timestamppb.New(then)}})
	}
	m.apply(&statev2.KarnRecord{Reward: &statev2.KarnReward{ReportId: "d0", BlueprintId: "d0", TemplateId: "BP008", Value: 0.9, At: timestamppb.New(then)}})
	if p := m.patterns.held["clip"]; p.count == 0 || p.count > 3 {
		t.Errorf("%d rewards of clip", p.count)
	}
	scores := m.scores(then.Add(48 * time.Hour)) // no reward counts for itself any more
	if s := scores["BP008"]; s.count != 0 || s.expected <= prior || s.used != 3 {
		t.Errorf("%+v", s)
	}
	if scores["BP009"].expected != prior {
		t.Errorf("of a scale %v is expected", scores["BP009"].expected)
	}
}
