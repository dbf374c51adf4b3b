package tolaria

import (
	"math"

	"github.com/esper-sim/espersim/cluster/breaker"
)

// rates is the learning-rate controller: the one place where a rate changes
// (LR1; row T5). Rates are those of the job, of checkpoints or of commands. The
// optimizer's parameter group has a copy, which the controller compares with its
// own before it is used (LR3).
type rates struct {
	rate  float64 // that was ordered last
	group float64 // what the optimizer would use
	guard *breaker.Breaker
}

// The relative difference of two rates that are one, and its floor (card 01).
const (
	rateTolerance = 1e-6
	rateFloor     = 1e-12
)

// set changes the rate.
func (r *rates) set(rate float64) { r.rate, r.group = rate, rate }

// intact says whether the optimizer's rate is the controller's. One that is not
// is the controller's again: a rate of somebody else trains nothing.
func (r *rates) intact() bool {
	// NaN is no rate: the comparison is this way round for it.
	if math.Abs(r.group-r.rate) <= max(rateTolerance*math.Abs(r.rate), rateFloor) {
		return true
	}
	r.group = r.rate
	return false
}

// checkRates looks at the optimizer's rate before a step. Three that were wrong
// in a row open the breaker lr_integrity, and with it conservative mode begins.
func (t *tolaria) checkRates() {
	if t.env.Probe.Sometimes("foreign-rate") {
		t.rates.group *= 2
	}
	now := t.env.Clock.Monotonic()
	ticket, closed := t.rates.guard.Allow(now)
	ok := t.rates.intact()
	if !ok {
		t.env.Probe.Reached("tolaria/foreign-rate")
		t.env.Log.Warn("the optimizer had a rate that the controller has not set")
	}
	if closed {
		t.rates.guard.Done(now, ticket, ok)
	}
}
