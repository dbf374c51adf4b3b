package simulated

import (
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/gpu"
)

// Fault is a rule of what goes wrong from now on, until it is lifted. What it hits
// are launches; for OutOfMemory allocations and loads, for FalseHealth samples. A
// throttled device is so for as long as the rule is in force.
type Fault struct {
	Class gpu.Class
	// Skip lets so many candidates pass first. Those with Skip ≤ n are hit, each
	// with the probability Rate (0: all), and Limit at most (0: no limit).
	Skip, Limit uint64
	Rate        float64
	// Factor is how many times slower a throttled device is; 0 is 2.
	Factor float64
	// Xid that is reported; 0: the class's first.
	Xid int
}

type rule struct {
	Fault
	id     int
	seen   uint64
	fired  uint64
	lifted bool
}

// Inject puts a fault in force; the number is for Lift.
func (c *Chip) Inject(f Fault) (int, error) {
	if _, ok := gpu.ByClassName(f.Class.String()); !ok {
		return 0, fmt.Errorf("unknown class %d", f.Class)
	}
	if f.Class == gpu.InvalidHandle || f.Class == gpu.NotInitialized {
		return 0, fmt.Errorf("%s is no fault of a device", f.Class)
	}
	if !(f.Rate >= 0 && f.Rate <= 1) {
		return 0, fmt.Errorf("rate %v: want one from 0 to 1", f.Rate)
	}
	if xids := f.Class.Trait().Xids; f.Xid != 0 && !slices.Contains(xids, f.Xid) {
		return 0, fmt.Errorf("Xid %d does not announce %s; these do: %v", f.Xid, f.Class, xids)
	}
	r := &rule{Fault: f, id: len(c.rules) + 1}
	c.rules = append(c.rules, r)
	if f.Class == gpu.Throttled {
		c.report(f.Class, 0, "clocks are lowered")
	}
	return r.id, nil
}

// Lift ends a fault. What it has done stays done.
func (c *Chip) Lift(id int) {
	if id >= 1 && id <= len(c.rules) {
		c.rules[id-1].lifted = true
	}
}

// Fired is how often a fault has changed something, lifted or not.
func (c *Chip) Fired(id int) uint64 {
	if id >= 1 && id <= len(c.rules) {
		return c.rules[id-1].fired
	}
	return 0
}

// hit is the rule of a class that hits the n-th candidate, or nil.
func (c *Chip) hit(class gpu.Class, n uint64) *rule {
	for _, r := range c.rules {
		if r.Class != class || r.lifted {
			continue
		}
		r.seen++
		if r.seen <= r.Skip || r.Limit > 0 && r.fired >= r.Limit {
			continue
		}
		if r.Rate > 0 && r.Rate < 1 && (c.c.Keyed == nil || float64(c.draw("gpu/"+class.String(), n, uint64(r.id))>>11)/(1<<53) >= r.Rate) {
			continue
		}
		r.fired++
		return r
	}
	return nil
}

func (c *Chip) draw(purpose string, a, b uint64) uint64 {
	if c.c.Keyed == nil {
		return 0
	}
	return c.c.Keyed.For(purpose, a, b)
}

// share is a draw as a number from 0 to 1.
func (c *Chip) share(purpose string, n uint64) float64 {
	return float64(c.draw(purpose, n, 0)>>11) / (1 << 53)
}

// throttle is how many times slower the chip is now.
func (c *Chip) throttle() float64 {
	f := 1.0
	for _, r := range c.rules {
		if r.Class == gpu.Throttled && !r.lifted {
			slower := r.Factor
			if slower == 0 {
				slower = 2
			}
			f = max(f, slower)
		}
	}
	return f
}
