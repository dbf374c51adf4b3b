package oona

import (
	"testing"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
)

func TestCapacity(t *testing.T) {
	for _, c := range []struct {
		load   float64
		state  platformv2.CapacityState
		factor float64
	}{
		{0, platformv2.CapacityState_CAPACITY_NORMAL, 1}, {0.5, platformv2.CapacityState_CAPACITY_NORMAL, 1}, {0.51, platformv2.CapacityState_CAPACITY_DEGRADED, 0.7},
		{0.7, platformv2.CapacityState_CAPACITY_DEGRADED, 0.7}, {0.71, platformv2.CapacityState_CAPACITY_OVERLOADED, 0.3},
		{0.9, platformv2.CapacityState_CAPACITY_OVERLOADED, 0.3}, {0.91, platformv2.CapacityState_CAPACITY_EMERGENCY, 0.1}, {1.2, platformv2.CapacityState_CAPACITY_EMERGENCY, 0.1},
	} {
		if state, factor := capacityOf(c.load); state != c.state || factor != c.factor {
			t.Errorf("load %v: %v and %v, want %v and %v", c.load, state, factor, c.state, c.factor)
		}
	}
}
