package nissa

import (
	"fmt"
	"maps"
	"slices"
	"time"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// alert is one case of a rule:
//
//	PENDING → FIRING          when its condition has held for long enough
//	FIRING → ACKED, SILENCED  by an operator; ACKED → SILENCED too
//	any of these → RESOLVED   when the condition does not hold any more
//
// One that is PENDING vanishes without a word. RESOLVED is the end; the same
// case is another alert next time.
type alert struct {
	key   string
	since time.Duration // of the condition
	event *platformv2.AlertEvent
}

// alertLimit bounds the alerts at one time: labels come from outside.
const alertLimit = 1000

// alerts are those that have not ended, by rule and labels.
type alerts struct {
	open    map[string]*alert
	dropped uint64
}

func newAlerts() *alerts { return &alerts{open: map[string]*alert{}} }

// change is a transition: it takes effect with [alerts.enter], when it is
// durable.
type change struct {
	key   string
	since time.Duration
	event *platformv2.AlertEvent
}

// evaluate says what the present findings change. name makes an id for a new
// alert.
func (a *alerts) evaluate(b *book, budgets *budgets, now time.Duration, name func(key string) string) (out []change) {
	held := map[string]bool{}
	for i := range rules {
		r := &rules[i]
		for _, f := range r.find(b, budgets, now) {
			key := r.name + labelText(f.labels)
			held[key] = true
			x := a.open[key]
			switch {
			case x == nil && len(a.open)+len(out) >= alertLimit:
				a.dropped++
			case x == nil:
				e := &platformv2.AlertEvent{AlertId: name(key), Rule: r.name, Severity: r.severity, State: platformv2.AlertState_PENDING, Value: f.value, Detail: f.detail}
				for _, l := range f.labels {
					e.Labels = append(e.Labels, &telemetryv2.Label{Key: l.key, Value: l.value})
				}
				if r.lasting == 0 {
					e.State = platformv2.AlertState_FIRING
				}
				out = append(out, change{key, now, e})
			case x.event.State == platformv2.AlertState_PENDING && now-x.since >= r.lasting:
				out = append(out, change{key, x.since, with(x.event, platformv2.AlertState_FIRING, f)})
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(a.open)) {
		x := a.open[key]
		if held[key] {
			continue
		}
		if x.event.State == platformv2.AlertState_PENDING {
			delete(a.open, key)
			continue
		}
		out = append(out, change{key, x.since, with(x.event, platformv2.AlertState_RESOLVED, finding{value: x.event.Value, detail: x.event.Detail})})
	}
	return out
}

// command is an operator's: acknowledge, or silence.
func (a *alerts) command(id string, to platformv2.AlertState) (change, error) {
	for _, key := range slices.Sorted(maps.Keys(a.open)) {
		x := a.open[key]
		if x.event.AlertId != id {
			continue
		}
		s := x.event.State
		switch {
		case s == to:
			return change{}, errSame
		case s == platformv2.AlertState_FIRING && (to == platformv2.AlertState_ACKED || to == platformv2.AlertState_SILENCED),
			s == platformv2.AlertState_ACKED && to == platformv2.AlertState_SILENCED:
			return change{key, x.since, with(x.event, to, finding{value: x.event.Value, detail: x.event.Detail})}, nil
		}
		return change{}, fmt.Errorf("an alert that is %s does not become %s", s, to)
	}
	return change{}, fmt.Errorf("no alert %q is open", id)
}

// errSame: the command came again.
var errSame = fmt.Errorf("it is so already")

// enter takes a change. It is where recovery begins, too.
func (a *alerts) enter(c change) {
	if c.event.State == platformv2.AlertState_RESOLVED {
		delete(a.open, c.key)
		return
	}
	a.open[c.key] = &alert{key: c.key, since: c.since, event: c.event}
}

// keyOf is the key of an alert that was read back.
func keyOf(e *platformv2.AlertEvent) string {
	var labels []label
	for _, l := range e.Labels {
		labels = append(labels, label{l.Key, l.Value})
	}
	return e.Rule + labelText(labels)
}

// list is all open alerts, by key.
func (a *alerts) list() (out []*platformv2.AlertEvent) {
	for _, key := range slices.Sorted(maps.Keys(a.open)) {
		out = append(out, a.open[key].event)
	}
	return out
}

// with is a copy of an alert in another state.
func with(e *platformv2.AlertEvent, s platformv2.AlertState, f finding) *platformv2.AlertEvent {
	return &platformv2.AlertEvent{AlertId: e.AlertId, Rule: e.Rule, Severity: e.Severity, State: s, Value: f.value, Detail: f.detail, Labels: e.Labels, RaisedAt: e.RaisedAt}
}
