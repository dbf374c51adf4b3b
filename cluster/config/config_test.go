package config

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		key, value string
		ok         bool
	}{
		{FanIn, "32", true}, {FanIn, "33", false}, {FanIn, "0", false}, {TelemetryEvery, "0", true}, {CommandTTL, "", false}, {CommandTTL, "1.5", false},
		{EvaluateEvery, "-1", false}, {"tolaria/nothing", "1", false}, {CheckpointEvery, "100", true},
	} {
		if err := Check(c.key, c.value); (err == nil) != c.ok {
			t.Errorf("%s=%q: %v", c.key, c.value, err)
		}
	}
}

func revision(n uint64) *operationsv2.ConfigChange {
	return &operationsv2.ConfigChange{Revision: n, Entries: []*operationsv2.ConfigEntry{{Key: fmt.Sprint("k", n%3), Value: fmt.Sprint(n), Version: n}}}
}

// at is the whole configuration at a revision.
func at(n uint64) Entries {
	var es Entries
	for r := uint64(1); r <= n; r++ {
		es = es.With(revision(r).Entries)
	}
	return es
}

// Whatever comes in whatever order, what is held at a revision is what was
// announced up to it, and nothing that is held is lost but by a crossing.
func TestHolding(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var h holding
		force := uint64(0) // at Mycosynth
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			tip := h.tip()
			switch rapid.IntRange(0, 3).Draw(r, "what") {
			case 0:
				n := rapid.Uint64Range(1, force+3).Draw(r, "change")
				if took := h.add(revision(n)); took != (n == tip+1) {
					r.Fatalf("revision %d on top of %d: %v", n, tip, took)
				}
			case 1:
				force = rapid.Uint64Range(force, force+3).Draw(r, "force")
				s := &operationsv2.ConfigSnapshot{Revision: force, Entries: at(force)}
				if rapid.Bool().Draw(r, "open") {
					s.Announced = append(s.Announced, revision(force+1))
				}
				h.replace(s)
				if h.tip() < max(tip, force) {
					r.Fatalf("a snapshot of %d made %d of %d", force, h.tip(), tip)
				}
			default:
				if n := rapid.Uint64Range(0, force+3).Draw(r, "cross"); h.has(n) {
					h.advance(n)
					if h.base != n {
						r.Fatalf("at %d after crossing into %d", h.base, n)
					}
				}
			}
			if h.entries.Digest() != at(h.base).Digest() {
				r.Fatalf("revision %d: %v, want %v", h.base, h.entries, at(h.base))
			}
			if h.tip() < tip {
				r.Fatalf("it held %d, and holds %d", tip, h.tip())
			}
		}
	})
}

func TestWithKeepsTheOld(t *testing.T) {
	a := at(3)
	b := slices.Clone(a)
	_ = a.With(revision(4).Entries)
	if !slices.Equal(a, b) {
		t.Error("a change has altered the configuration before it")
	}
	if e := a.Get("k1"); e == nil || e.Value != "1" || a.Get("nothing") != nil {
		t.Error(a)
	}
}

// A nil box follows nothing, and holds nobody up.
func TestNone(t *testing.T) {
	var b *Box
	b.Start()
	if b.Receive(nil) || !b.Cross(1, 1, 7) || !b.Ready(7) || b.Durable(0) || b.Int(FanIn, 5) != 5 {
		t.Error("a nil box does something")
	}
}
