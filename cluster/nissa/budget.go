package nissa

import "time"

// objective is a share of events that must go well in thirty days.
type objective struct {
	name   string
	target float64
}

// objectives of card 10. There are no sockets inside the cluster; the service
// that has them counts into the last one.
var objectives = [...]objective{{"ingestion", 0.999}, {"query", 0.995}, {"alerts", 0.999}, {"sockets", 0.9995}}

const (
	ingestion = iota
	query
	alerting
)

// budgets count what went well and what did not, by the hour, over the window
// of thirty days.
type budgets struct {
	hours [len(objectives)][30 * 24]tally
}

type tally struct {
	hour      int64
	good, bad uint64
}

// meaningful is how many events a budget is judged by at least: a single one of
// a few says nothing about a share of a thousandth.
const meaningful = 1000

func (b *budgets) note(objective int, now time.Duration, ok bool) {
	h := int64(now / time.Hour)
	t := &b.hours[objective][h%int64(len(b.hours[0]))]
	if t.hour != h {
		*t = tally{hour: h}
	}
	if ok {
		t.good++
	} else {
		t.bad++
	}
}

// left is the share of an error budget that is not spent: 1 for all of it,
// negative when more than all is.
func (b *budgets) left(objective int, now time.Duration) float64 {
	h := int64(now / time.Hour)
	var good, bad uint64
	for _, t := range b.hours[objective] {
		if t.hour > h-int64(len(b.hours[0])) && t.hour <= h {
			good, bad = good+t.good, bad+t.bad
		}
	}
	if good+bad < meaningful {
		return 1
	}
	return 1 - float64(bad)/(float64(good+bad)*(1-objectives[objective].target))
}
