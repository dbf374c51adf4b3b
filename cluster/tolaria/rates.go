package tolaria

import (
	"crypto/sha256"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// checkRates looks at the optimizer's rate before a step. Three that were wrong
// in a row open the breaker lr_integrity, and with it conservative mode begins.
func (t *tolaria) checkRates() {
	if t.env.Probe.Sometimes("foreign-rate") {
		t.rates.Group *= 2
	}
	now := t.env.Clock.Monotonic()
	ticket, closed := t.guard.Allow(now)
	ok := t.rates.Intact()
	if !ok {
		t.env.Probe.Reached("tolaria/foreign-rate")
		t.env.Log.Warn("the optimizer had a rate that the controller has not set")
	}
	if closed {
		t.guard.Done(now, ticket, ok)
	}
}

// tellRates declares the rate that is in force from an epoch on, and what the
// controller remembers, where that has changed since it was told.
func (t *tolaria) tellRates(epoch int64, restored bool) {
	h := t.rates.History()
	if len(h) == 0 || !restored && h[len(h)-1] == t.told {
		return
	}
	t.told = h[len(h)-1]
	if t.rates.Warming() {
		t.env.Probe.Reached("tolaria/warm-up")
		if restored {
			t.env.Probe.Reached("tolaria/warm-up-restored")
		}
	}
	sum := sha256.Sum256((&statev2.RateState{History: h}).AppendCanonical(nil))
	t.env.Facts.Record(&evidencev2.RateFact{Epoch: epoch, Generation: t.gen, LearningRate: t.rates.Rate, Snapshots: uint32(len(h)),
		HistorySha256: sum[:], Restored: restored})
}
