package models_test

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/esper-sim/espersim/checkers/models"
)

// piece is operations that end with a cut.
type piece []models.Operation

func outcome(t *testing.T, status string, call, done int64) models.Operation {
	t.Helper()
	o, ok := models.CommandOutcome(status, call, done)
	if !ok {
		t.Fatalf("%s is no outcome", status)
	}
	return o
}

// TestCuts: a history that is checked piece by piece is judged like the whole.
func TestCuts(t *testing.T) {
	read := models.RegisterRead
	write := func(client int, value string, call, done int64) models.Operation {
		return models.RegisterWrite(client, value, call, done, false)
	}
	maybe := func(value string, call, done int64) models.Operation {
		return models.RegisterWrite(0, value, call, done, true)
	}
	for _, c := range []struct {
		name   string
		model  models.Model
		pieces []piece
		legal  bool // of the last piece; those before it are
	}{
		{"a read of the last write", models.Register(), []piece{{write(0, "a", 1, 2), read(1, "a", 3, 4)}}, true},
		{"a read of nothing before a write", models.Register(), []piece{{read(1, "", 1, 2)}, {write(0, "a", 3, 4)}}, true},
		{"a stale read", models.Register(), []piece{{write(0, "a", 1, 2), write(0, "b", 3, 4), read(1, "a", 5, 6)}}, false},
		{"a stale read after a cut", models.Register(), []piece{{write(0, "a", 1, 2), write(0, "b", 3, 4)}, {read(1, "a", 5, 6)}}, false},
		{"the last write after a cut", models.Register(), []piece{{write(0, "a", 1, 2), write(0, "b", 3, 4)}, {read(1, "b", 5, 6)}}, true},
		{"either of two writes that overlap", models.Register(), []piece{{write(0, "a", 1, 4), write(1, "b", 2, 3)}, {read(1, "a", 5, 6)}}, true},
		{"not both, one after the other and back", models.Register(), []piece{{write(0, "a", 1, 4), write(1, "b", 2, 3)}, {read(1, "a", 5, 6), read(1, "b", 7, 8)}}, false},
		{"an unknown write that took effect", models.Register(), []piece{{write(0, "a", 1, 2), maybe("b", 3, 4)}, {read(1, "b", 5, 6), read(1, "b", 7, 8)}}, true},
		{"an unknown write that never did", models.Register(), []piece{{write(0, "a", 1, 2), maybe("b", 3, 4)}, {read(1, "a", 5, 6)}}, true},
		{"an unknown write undone", models.Register(), []piece{{write(0, "a", 1, 2), maybe("b", 3, 4), read(1, "b", 5, 6), read(1, "a", 7, 8)}}, false},
		{"appended and read", models.Log(), []piece{{models.LogAppend("a", 1, 1, 2), models.LogAppend("b", 2, 1, 3), models.LogRead(1, []string{"a", "b"}, 3, 4, 5)}}, true},
		{"two at one offset", models.Log(), []piece{{models.LogAppend("a", 1, 1, 2), models.LogAppend("b", 1, 1, 3)}}, false},
		{"an append that leaves a gap", models.Log(), []piece{{models.LogAppend("a", 2, 1, 2)}}, false},
		{"appends that overlap, told in the other order", models.Log(), []piece{{models.LogAppend("b", 2, 1, 3), models.LogAppend("a", 1, 2, 4)}}, true},
		{"appends one after the other in the wrong order", models.Log(), []piece{{models.LogAppend("b", 2, 1, 2), models.LogAppend("a", 1, 3, 4)}}, false},
		{"a stale reading of a log", models.Log(), []piece{{models.LogAppend("a", 1, 1, 2), models.LogRead(0, nil, 1, 3, 4)}}, false},
		{"a reading of another event", models.Log(), []piece{{models.LogAppend("a", 1, 1, 2), models.LogRead(1, []string{"b"}, 2, 3, 4)}}, false},
		{"a stale reading after a cut", models.Log(), []piece{{models.LogAppend("a", 1, 1, 2)}, {models.LogRead(0, nil, 1, 3, 4)}}, false},
		{"an offset that is taken, after a cut", models.Log(), []piece{{models.LogAppend("a", 1, 1, 2)}, {models.LogAppend("b", 2, 3, 4), models.LogAppend("a", 1, 3, 5)}}, true},
		{"applied once", models.Command(), []piece{{models.CommandIssued(1), outcome(t, "APPLIED", 2, 3)}}, true},
		{"applied twice", models.Command(), []piece{{models.CommandIssued(1), outcome(t, "APPLIED", 2, 3), outcome(t, "APPLIED", 4, 5)}}, false},
		{"applied before it was issued", models.Command(), []piece{{outcome(t, "APPLIED", 1, 2), models.CommandIssued(3)}}, false},
		{"rejected after it was applied", models.Command(), []piece{{models.CommandIssued(1), outcome(t, "APPLIED", 2, 3), outcome(t, "REJECTED", 4, 5)}}, false},
		{"a duplicate after it was applied", models.Command(), []piece{{models.CommandIssued(1), outcome(t, "APPLIED", 2, 3), outcome(t, "DUPLICATE", 4, 5)}}, true},
		{"confirmed and applied", models.Command(), []piece{{models.CommandIssued(1), outcome(t, "AWAITING_CONFIRMATION", 2, 3), outcome(t, "APPLIED", 4, 5)}}, true},
	} {
		h := models.NewHistory(c.model)
		for i, p := range c.pieces {
			for _, o := range p {
				h.Add(o)
			}
			result, detail := h.Cut(5 * time.Second)
			legal := c.legal || i < len(c.pieces)-1
			if want := map[bool]porcupine.CheckResult{true: porcupine.Ok, false: porcupine.Illegal}[legal]; result != want {
				t.Errorf("%s, piece %d: %v, want %v: %s", c.name, i+1, result, want, detail)
			}
			if (detail == "") != (result == porcupine.Ok) {
				t.Errorf("%s: result %v with the detail %q", c.name, result, detail)
			}
		}
	}
}
