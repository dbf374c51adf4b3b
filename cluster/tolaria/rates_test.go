package tolaria

import (
	"math"
	"testing"
)

// A rate in the optimizer that the controller has not set is the controller's
// again before it is used; rounding is no change.
func TestRatesAreTheControllers(t *testing.T) {
	var r rates
	for group, intact := range map[float64]bool{0.02: true, 0.02 * (1 + 5e-7): true, 0.02 * (1 + 2e-6): false, 0: false, math.NaN(): false, math.Inf(1): false} {
		r.set(0.02)
		r.group = group
		if got := r.intact(); got != intact {
			t.Errorf("%v is intact: %v", group, got)
		}
		if !intact && r.group != 0.02 {
			t.Errorf("%v stays, as %v", group, r.group)
		}
	}
}
