package tamiyo

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
)

// As much as is left of the pipeline, as many boundaries ask for a kernel, for as
// long as that is believed.
func TestCapacityAdmits(t *testing.T) {
	stamp := time.Unix(1700000000, 0)
	var c capacity
	admitted := func(now time.Duration) (n int) {
		for e := range int64(100) {
			if c.admits(e, now) {
				n++
			}
		}
		return n
	}
	if n := admitted(time.Second); n != 100 {
		t.Errorf("with no word, %d of 100", n)
	}
	for i, x := range []struct {
		factor float64
		want   int
	}{{0.7, 70}, {0.3, 30}, {0.1, 10}, {0, 0}, {1, 100}} {
		c.hear(&platformv2.CapacityUpdate{State: platformv2.CapacityState_CAPACITY_DEGRADED, Factor: x.factor, Timestamp: timestamppb.New(stamp.Add(time.Duration(i) * time.Second))}, time.Second)
		if n := admitted(2 * time.Second); n != x.want {
			t.Errorf("with %v left, %d of 100", x.factor, n)
		}
	}
	c.hear(&platformv2.CapacityUpdate{State: platformv2.CapacityState_CAPACITY_EMERGENCY, Factor: 0, Timestamp: timestamppb.New(stamp)}, 2*time.Second)
	if n := admitted(3 * time.Second); n != 100 {
		t.Errorf("an older word counts: %d of 100", n)
	}
	c.hear(&platformv2.CapacityUpdate{State: platformv2.CapacityState_CAPACITY_EMERGENCY, Factor: 0, Timestamp: timestamppb.New(stamp.Add(time.Minute))}, 2*time.Second)
	if c.admits(1, 3*time.Second) || !c.admits(1, 2*time.Second+capacityFor) {
		t.Error("a word is believed for as long as it is")
	}
}
