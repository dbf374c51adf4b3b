package rates

import (
	"fmt"
	"math"
	"testing"

	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// A rate in the optimizer that the controller has not set is the controller's
// again before it is used; rounding is no change.
func TestRatesAreTheControllers(t *testing.T) {
	for group, intact := range map[float64]bool{0.02: true, 0.02 * (1 + 5e-7): true, 0.02 * (1 + 2e-6): false, 0: false, math.NaN(): false, math.Inf(1): false} {
		c := New(0.02)
		c.Group = group
		if got := c.Intact(); got != intact {
			t.Errorf("%v is intact: %v", group, got)
		}
		if !intact && c.Group != 0.02 {
			t.Errorf("%v stays, as %v", group, c.Group)
		}
	}
}

// A warm-up leads in ten equal steps from the rate in force to the ordered one; an
// order without one is in force at once, and an order in between begins where the
// warm-up stands.
func TestWarmUp(t *testing.T) {
	c := New(0.01)
	c.Order(0.02, 5, 1, "up", true)
	for k := int64(0); k < 14; k++ {
		c.Enter(5+k, 1)
		c.Enter(5+k, 1) // told again
		want := 0.02
		if k < 9 {
			want = 0.01 + 0.01*float64(k+1)/10
		}
		if math.Abs(c.Rate-want) > 1e-12 || c.Group != c.Rate {
			t.Errorf("%d epochs after the order it is %v, want %v", k, c.Rate, want)
		}
		if c.Warming() != (k < 9) {
			t.Errorf("%d epochs after the order it is warming: %v", k, c.Warming())
		}
	}
	if n := len(c.History()); n != 11 {
		t.Errorf("%d snapshots, want the first and ten", n)
	}
	c.Order(0.03, 20, 1, "up", true)
	c.Enter(20, 1)
	c.Order(0.005, 21, 1, "down", false)
	if c.Enter(21, 1); c.Rate != 0.005 || c.Warming() {
		t.Errorf("set at once it is %v", c.Rate)
	}
}

// New parameters begin at a thousandth and have the whole rate after ten epochs.
func TestFresh(t *testing.T) {
	for age, want := range map[int64]float64{-1: 0.001, 0: 0.001, 1: 0.1009, 5: 0.5005, 9: 0.9001, 10: 1, 1000: 1} {
		if got := float64(Fresh(1, age)); math.Abs(got-want) > 1e-6 {
			t.Errorf("after %d epochs %v, want %v", age, got, want)
		}
	}
	if Fresh(0.017, 10) != 0.017 {
		t.Error("the whole rate is not the rate")
	}
}

// A restored controller goes on as the saved one: in the middle of a warm-up, and
// with a history at its limit.
func TestRestoreGoesOn(t *testing.T) {
	c := New(0.01)
	for i := range int64(1200) {
		c.Order(0.01+0.00001*float64(i), i, 2, fmt.Sprint("c", i), false)
	}
	c.Order(0.03, 1300, 2, "last", true)
	c.Enter(1303, 2)
	var m, again statev2.HostState
	c.Save(&m)
	if err := again.ParseCanonical(m.AppendCanonical(nil)); err != nil {
		t.Fatal(err)
	}
	var r Controller
	r.Restore(&again)
	if n := len(r.History()); n != Remembered || r.History()[n-1].Cause != ByWarmUp || r.History()[0].Cause != "c202" {
		t.Fatalf("%d snapshots from %v to %v", n, r.History()[0], r.History()[n-1])
	}
	for e := int64(1303); e < 1315; e++ {
		c.Enter(e, 3)
		r.Enter(e, 3)
		var a, b statev2.HostState
		c.Save(&a)
		r.Save(&b)
		if string(a.AppendCanonical(nil)) != string(b.AppendCanonical(nil)) {
			t.Fatalf("epoch %d: %v and %v", e, &a, &b)
		}
	}
	if r.Rate != 0.03 {
		t.Errorf("it ends at %v", r.Rate)
	}
}

// A checkpoint of before there were warm-ups has its rate.
func TestRestoreOfOlderCheckpoint(t *testing.T) {
	c := New(0.01)
	c.Order(0.02, 5, 1, "up", true)
	c.Restore(&statev2.HostState{LearningRate: 0.007, Epoch: 3})
	if c.Enter(4, 1); c.Rate != 0.007 || c.Group != 0.007 || c.Warming() {
		t.Errorf("%+v", c)
	}
}
