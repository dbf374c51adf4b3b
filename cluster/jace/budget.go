package jace

import "time"

// budget is one service-level objective: which share of the operations may
// fail, and at which use of it Jace becomes cautious.
type budget struct {
	name     string
	allowed  float64
	activate float64
	all, bad int
	over     int // evaluations in a row at which it was used that far
}

// budgets are card 11's: of latency, success and fallbacks.
func budgets() []*budget {
	return []*budget{
		{name: "latency", allowed: 0.001, activate: 0.8},
		{name: "success", allowed: 0.01, activate: 0.5},
		{name: "fallback", allowed: 0.005, activate: 0.7},
	}
}

// window is how many operations a budget looks back on: then both counts are
// halved, so that what is long ago fades.
const window = 2000

func (b *budget) count(ok bool) {
	if b.all++; !ok {
		b.bad++
	}
	if b.all >= window {
		b.all, b.bad = b.all/2, b.bad/2
	}
}

// evaluate says whether the budget was used up to its activation three times in
// a row.
func (b *budget) evaluate() bool {
	if b.all > 0 && float64(b.bad) >= b.activate*b.allowed*float64(b.all) && b.bad > 0 {
		b.over++
	} else {
		b.over = 0
	}
	return b.over >= 3
}

// cooldown is how long caution lasts at least, and how long a budget then rests.
const cooldown = 300 * time.Second
