package nissa

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
)

// rule is a condition that an alert stands for while it holds.
type rule struct {
	name     string
	severity platformv2.AlertSeverity
	lasting  time.Duration // how long it must hold
	find     func(b *book, budgets *budgets, now time.Duration) []finding
}

// finding is one case in which a rule's condition holds.
type finding struct {
	labels []label
	value  float64
	detail string
}

// stale is after how long a subsystem's report of its health says nothing any
// more.
const stale = time.Minute

// Limits of the rules of card 10.
const (
	boundaryLimit  = 18 * time.Millisecond
	recent         = 5 * time.Minute
	isolationLimit = 3
	depthLimit     = 4000
	errorRate      = 0.05
	enoughResults  = 20 // fewer say nothing about a rate
	budgetLimit    = 0.1
)

// rules are those of card 10, and the contract's (row L6).
var rules = []rule{
	{"epoch-boundary-slow", platformv2.AlertSeverity_ALERT_WARNING, 0, func(b *book, _ *budgets, _ time.Duration) []finding {
		slowest := time.Duration(0)
		for _, e := range b.watch.epochs {
			if e.boundary <= boundaryLimit {
				return nil
			}
			slowest = max(slowest, e.boundary)
		}
		if len(b.watch.epochs) < 3 {
			return nil
		}
		return []finding{{value: slowest.Seconds(), detail: "three epoch boundaries in a row took more than " + boundaryLimit.String()}}
	}},
	{"isolation-violations", platformv2.AlertSeverity_ALERT_CRITICAL, 0, func(b *book, _ *budgets, now time.Duration) []finding {
		if n := b.watch.isolation.sum(now - recent); n >= isolationLimit {
			return []finding{{value: float64(n), detail: fmt.Sprintf("%d isolation violations in %v", n, recent)}}
		}
		return nil
	}},
	{"bus-depth", platformv2.AlertSeverity_ALERT_WARNING, 2 * time.Minute, func(b *book, _ *budgets, _ time.Duration) []finding {
		if b.watch.depth > depthLimit {
			return []finding{{value: float64(b.watch.depth), detail: "the bus keeps " + strconv.FormatUint(b.watch.depth, 10) + " entries"}}
		}
		return nil
	}},
	{"tezzeret-conservative", platformv2.AlertSeverity_ALERT_WARNING, 15 * time.Minute, func(b *book, _ *budgets, now time.Duration) []finding {
		if v := b.watch.health["tezzeret"]; v != nil && now-v.since < stale && v.report.Conservative {
			return []finding{{value: 1, detail: "compilation is in conservative mode"}}
		}
		return nil
	}},
	{"breaker-open", platformv2.AlertSeverity_ALERT_CRITICAL, 0, func(b *book, _ *budgets, now time.Duration) (out []finding) {
		for _, who := range slices.Sorted(maps.Keys(b.watch.health)) {
			v := b.watch.health[who]
			if now-v.since >= stale {
				continue
			}
			for _, s := range v.breakers {
				if s.State == "OPEN" {
					out = append(out, finding{[]label{{"breaker", s.Name}, {"subsystem", who}}, 1, "the breaker " + s.Name + " of " + who + " is open"})
				}
			}
		}
		return out
	}},
	{"error-rate", platformv2.AlertSeverity_ALERT_WARNING, 0, func(b *book, _ *budgets, now time.Duration) []finding {
		all, bad := b.watch.results.sum(now-recent), b.watch.failures.sum(now-recent)
		if all >= enoughResults && float64(bad) > errorRate*float64(all) {
			return []finding{{value: float64(bad) / float64(all), detail: fmt.Sprintf("%d of %d commands in %v were refused or expired", bad, all, recent)}}
		}
		return nil
	}},
	{"error-budget", platformv2.AlertSeverity_ALERT_CRITICAL, 0, func(_ *book, budgets *budgets, now time.Duration) (out []finding) {
		for i := range objectives {
			if left := budgets.left(i, now); left < budgetLimit {
				out = append(out, finding{[]label{{"objective", objectives[i].name}}, left, "less than a tenth of the error budget is left"})
			}
		}
		return out
	}},
	{"contract-mismatch", platformv2.AlertSeverity_ALERT_CRITICAL, 0, func(b *book, _ *budgets, now time.Duration) (out []finding) {
		// Leyline repeats what is wrong: what it does not tell any more is over, or
		// nobody knows.
		for _, who := range slices.Sorted(maps.Keys(b.watch.contracts)) {
			if c := b.watch.contracts[who]; c.bad && now-c.since < stale {
				out = append(out, finding{[]label{{"subsystem", who}}, 1, c.detail})
			}
		}
		return out
	}},
}
