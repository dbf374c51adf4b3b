package tamiyo

import (
	"math"
	"time"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
)

// capacityFor is how long the bus's word on the innovation pipeline is believed;
// it says it again for as long as the pipeline is not free.
const capacityFor = 15 * time.Second

// capacity is how much of the innovation pipeline is left.
type capacity struct {
	factor float64 // 1: all of it, and where nobody has said anything
	stamp  time.Time
	at     time.Duration // monotonic
}

// hear takes an update, unless it is older than the last.
func (c *capacity) hear(m *platformv2.CapacityUpdate, now time.Duration) {
	if m.State == platformv2.CapacityState_CAPACITY_STATE_UNSPECIFIED || !(m.Factor >= 0 && m.Factor <= 1) || !m.Timestamp.AsTime().After(c.stamp) {
		return
	}
	c.factor, c.stamp, c.at = m.Factor, m.Timestamp.AsTime(), now
}

// admits says whether a kernel may be asked for at the boundary of an epoch: at
// every one while the pipeline is free, at about the share of them that is left
// while it is not.
func (c *capacity) admits(epoch int64, now time.Duration) bool {
	if c.at == 0 || now-c.at >= capacityFor || c.factor >= 1 {
		return true
	}
	if c.factor <= 0 {
		return false
	}
	share := func(n int64) int64 { return int64(math.Floor(float64(n) * c.factor)) }
	return share(epoch+1) > share(epoch)
}
