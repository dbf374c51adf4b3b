package pressure_test

import (
	"testing"

	"github.com/esper-sim/espersim/cluster/pressure"
)

// The figures of card 09, and what lies between them.
func TestOf(t *testing.T) {
	for _, c := range []struct {
		used, limit int
		want        pressure.Level
	}{{0, 100, 0}, {50, 100, 0}, {75, 100, 50}, {90, 100, 80}, {100, 100, 100}, {150, 100, 100}, {60, 100, 20}, {5, 0, 0}, {24, 25, 92}} {
		if got := pressure.Of(c.used, c.limit); got != c.want {
			t.Errorf("%d of %d: %d, want %d", c.used, c.limit, got, c.want)
		}
	}
}

// What is told is what is read.
func TestIn(t *testing.T) {
	for l := pressure.Level(0); l <= pressure.Full; l++ {
		if got := pressure.In(l.String()); got != l {
			t.Errorf("%d is read as %d", l, got)
		}
		if got := pressure.In("the queue is full; " + l.String()); got != l {
			t.Errorf("%d behind a reason is read as %d", l, got)
		}
	}
	for _, bad := range []string{"", "pressure", "pressure=", "pressure=x", "pressure=-3"} {
		if got := pressure.In(bad); got != 0 {
			t.Errorf("%q is read as %d", bad, got)
		}
	}
	if pressure.In("pressure=900") != pressure.Full {
		t.Error("a level over the top is not the top")
	}
}
