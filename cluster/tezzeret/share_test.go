package tezzeret

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever is compiled, as soon as it may, takes no more of the device than its
// share and what one use takes.
func TestShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s share
		now, sum, longest := time.Duration(0), time.Duration(0), time.Duration(0)
		most := rapid.SampledFrom([]float64{mostShare, conservativeShare}).Draw(t, "most")
		for range rapid.IntRange(1, 50).Draw(t, "uses") {
			now += s.wait(now) + time.Duration(rapid.IntRange(0, 3000).Draw(t, "idle"))*time.Millisecond
			took := time.Duration(rapid.IntRange(1, 900).Draw(t, "took")) * time.Millisecond
			began := now
			now += took * time.Duration(rapid.IntRange(1, 4).Draw(t, "rest"))
			sum, longest = sum+took, max(longest, took)
			s.note(began, now, took, most)
			if limit := time.Duration(most*float64(now)) + longest; sum > limit {
				t.Fatalf("at %v it has used %v; at most %v", now, sum, limit)
			}
		}
	})
}

// A pass that was interrupted costs no more of the share than a slow one.
func TestInterruptedPass(t *testing.T) {
	const cost = 66 * time.Millisecond
	if got := onDevice(cost, cost); got != cost/parts {
		t.Errorf("a pass takes %v of the device", got)
	}
	if got := onDevice(4*cost, cost); got != 4*cost/parts {
		t.Errorf("a pass on a slow device takes %v of it", got)
	}
	var s share
	began, now := time.Second, 4*time.Minute
	s.note(began, now, onDevice(now-began, cost), mostShare)
	if wait := s.wait(now); wait > 0 {
		t.Errorf("after an interruption of minutes it waits %v", wait)
	}
}

// Only what is high for five minutes is a reason to be careful.
func TestHighShare(t *testing.T) {
	var s share
	now := time.Duration(0)
	until := func(end time.Duration, took time.Duration) (high bool) {
		for ; now < end; now += time.Second {
			s.note(now, now, took, 1)
			high = s.judge(now)
		}
		return high
	}
	if until(5*time.Minute, 240*time.Millisecond) {
		t.Error("after less than five minutes")
	}
	if !until(7*time.Minute, 240*time.Millisecond) {
		t.Error("not after six minutes")
	}
	if until(9*time.Minute, 100*time.Millisecond) {
		t.Error("it is not high any more")
	}
}
