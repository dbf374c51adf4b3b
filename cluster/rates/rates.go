// Package rates is the learning rates of a run: the controller, which is the one
// place where a rate changes (LR1; row T5), and the schedules that lead to a rate.
// It is pure: Tolaria has a controller, and whatever trains new parameters, such as
// a bed of kernels or a replay, asks [Fresh].
//
// Choices: card 01 says where a warm-up begins and how long it is, and not where it
// ends. New parameters are led to the rate of the host. A rate that is ordered with
// a warm-up is led to from the one in force, which what is trained is used to.
package rates

import (
	"math"

	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// WarmUp is how many epochs a warm-up takes, and freshShare the share of the rate
// with which parameters that are new begin: 0.1 for their group, 0.01 for the warm-up
// (card 01).
const (
	WarmUp     = 10
	freshShare = 0.1 * 0.01
)

// Fresh is the rate of parameters that are so many epochs old, where the controller's
// is rate.
func Fresh(rate float32, age int64) float32 {
	switch {
	case age >= WarmUp:
		return rate
	case age < 0:
		age = 0
	}
	share := float32(freshShare) + float32(float32(1-freshShare)*float32(age)/WarmUp)
	return float32(rate * share)
}

// warmed is the rate so many epochs after it was ordered with a warm-up.
func warmed(from, ordered float64, age int64) float64 {
	switch {
	case age+1 >= WarmUp:
		return ordered
	case age < 0:
		return from
	}
	return from + float64(float64(ordered-from)*float64(age+1)/WarmUp)
}

// The relative difference of two rates that are one, and its floor (LR3).
const (
	tolerance = 1e-6
	floor     = 1e-12
)

// Remembered is how many changes of the rate a controller remembers (card 01).
const Remembered = 1000

// The causes of changes that no command has.
const (
	ByJob    = "job"
	ByWarmUp = "warm-up"
)

// Controller changes the rate, and remembers how. Rates are those of the job, of
// checkpoints or of commands, and change at epoch boundaries only. The optimizer's
// parameter group has a copy, which is compared before it is used (LR3).
type Controller struct {
	Rate  float64 // in force
	Group float64 // what the optimizer would use

	ordered float64 // that was asked for last
	warming bool
	from    float64 // in force before the order
	since   int64   // the first epoch with the order
	history []*statev2.RateSnapshot
}

// New is a controller before the first epoch.
func New(rate float64) Controller {
	var c Controller
	c.Order(rate, 0, 1, ByJob, false)
	return c
}

// Order sets a rate from an epoch on, or begins the warm-up that leads to it.
func (c *Controller) Order(rate float64, epoch int64, generation uint32, cause string, warm bool) {
	c.ordered, c.warming, c.from, c.since = rate, warm, c.Rate, epoch
	if warm {
		rate = warmed(c.from, c.ordered, 0)
	}
	c.set(rate, epoch, generation, cause)
}

// Enter goes on with a warm-up. It may be told of an epoch again, and says whether
// the rate has changed.
func (c *Controller) Enter(epoch int64, generation uint32) bool {
	if !c.warming {
		return false
	}
	rate := warmed(c.from, c.ordered, epoch-c.since)
	c.warming = epoch-c.since+1 < WarmUp
	if rate == c.Rate {
		return false
	}
	c.set(rate, epoch, generation, ByWarmUp)
	return true
}

func (c *Controller) set(rate float64, epoch int64, generation uint32, cause string) {
	c.Rate, c.Group = rate, rate
	c.history = append(c.history, &statev2.RateSnapshot{Epoch: epoch, Generation: generation, LearningRate: rate, Cause: cause})
	if len(c.history) > Remembered {
		c.history = append(c.history[:0], c.history[len(c.history)-Remembered:]...)
	}
}

// Intact says whether the optimizer's rate is the controller's. One that is not
// is the controller's again: a rate of somebody else trains nothing.
func (c *Controller) Intact() bool {
	// NaN is no rate: the comparison is this way round for it.
	if math.Abs(c.Group-c.Rate) <= max(tolerance*math.Abs(c.Rate), floor) {
		return true
	}
	c.Group = c.Rate
	return false
}

// Warming says whether a warm-up is under way.
func (c *Controller) Warming() bool { return c.warming }

// History lists the changes that are remembered, oldest first. They are the
// controller's own.
func (c *Controller) History() []*statev2.RateSnapshot { return c.history }

// Save writes the controller into a checkpoint's part.
func (c *Controller) Save(m *statev2.HostState) {
	m.LearningRate = c.Rate
	m.Rates = &statev2.RateState{Ordered: c.ordered, Warming: c.warming, WarmUpRate: c.from, WarmUpEpoch: c.since,
		History: append([]*statev2.RateSnapshot(nil), c.history...)}
}

// Restore replaces the controller by that of a checkpoint: the rate, the warm-up
// under way, and what led to them. One that says no more than the rate is one of
// before there was more.
func (c *Controller) Restore(m *statev2.HostState) {
	*c = Controller{}
	s := m.Rates
	if s == nil {
		c.Order(m.LearningRate, m.Epoch, 0, ByJob, false)
		return
	}
	c.Rate, c.Group = m.LearningRate, m.LearningRate
	c.ordered, c.warming, c.from, c.since = s.Ordered, s.Warming, s.WarmUpRate, s.WarmUpEpoch
	c.history = append(c.history, s.History...)
}
