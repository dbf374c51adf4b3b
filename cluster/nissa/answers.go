package nissa

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// replayLimit is how long a restart waits for the bus's log before it evaluates
// rules without it.
const replayLimit = 15 * time.Second

// page is how many entries of the bus's log are read at once.
const page = 200

// beyond is an offset at which no log has anything: an answer without entries
// says how long the log is.
const beyond = int64(1) << 60

// seedTopic is the topic that the bus keeps for 72 hours, whatever its length.
const seedTopic = "telemetry.seed.health"

// read asks for what is still to be read of the bus's log.
func (n *nissa) read() {
	for _, t := range slices.Sorted(maps.Keys(n.replay)) {
		n.env.Net.Send(n.job.Oona, &busv2.ReadLog{QueryId: "replay/" + t, Topic: t, FromOffset: n.replay[t], MaxEntries: page},
			actor.SendOptions{Key: fmt.Sprint("replay/", t, "/", n.replay[t])})
	}
}

func (n *nissa) askDepth() {
	for _, t := range n.topics {
		n.env.Net.Send(n.job.Oona, &busv2.ReadLog{QueryId: "depth", Topic: t, FromOffset: beyond, MaxEntries: 1}, actor.SendOptions{Key: "depth/" + t})
	}
}

// slice takes a part of the bus's log, or its length.
func (n *nissa) slice(m *busv2.LogSlice) {
	if m.Topic != seedTopic { // it is kept for its time, and no backlog
		n.depths[m.Topic] = uint64(max(m.NextOffset-m.FirstOffset, 0))
	}
	n.book.watch.depth = 0
	for _, d := range n.depths {
		n.book.watch.depth += d
	}
	at, ok := n.replay[m.Topic]
	if !ok || m.QueryId != "replay/"+m.Topic {
		return
	}
	now, wall := n.env.Clock.Monotonic(), n.env.Clock.Now().UnixMilli()
	for _, entry := range m.Entries {
		e, p, err := n.codec.Open(entry.Envelope)
		if m.Topic == deadLetters {
			n.letters.add(entry.Offset, now, entry.Envelope, err == nil)
		} else if err == nil {
			n.book.take(m.Topic, entry.Offset, e, p, now, wall)
			if r := record(m.Topic, e, p); r != nil {
				// It is in the trail already, unless the bus gave up on delivering it.
				n.audit(r)
			}
		}
		at = max(at, entry.Offset+1)
	}
	at = max(at, m.FirstOffset)
	if at >= m.NextOffset {
		delete(n.replay, m.Topic)
		if len(n.replay) == 0 {
			n.sync()
			n.env.Probe.Reached("nissa/replayed")
		}
		return
	}
	if at > n.replay[m.Topic] {
		n.replay[m.Topic] = at
		n.env.Net.Send(n.job.Oona, &busv2.ReadLog{QueryId: m.QueryId, Topic: m.Topic, FromOffset: at, MaxEntries: page},
			actor.SendOptions{Key: fmt.Sprint("replay/", m.Topic, "/", at)})
	}
}

// state keeps the newest state of the run. Which one that is she decides by what
// she can read: the copy that she shows has the fields of newer versions, too, and
// to compare with those would keep the first one for ever.
func (n *nissa) state(m *systemstatev2.SystemStatePacket) {
	if n.packet != nil && (m.RollbackGeneration < n.shown.generation || m.RollbackGeneration == n.shown.generation && m.Epoch < n.shown.epoch) {
		return
	}
	c := new(systemstatev2.SystemStatePacket)
	if err := c.ParseCanonical(m.AppendCanonical(nil)); err == nil {
		n.packet, n.shown = c, epochSeen{generation: m.RollbackGeneration, epoch: m.Epoch}
	}
}

// admit says whether a query is within the limit of a minute.
func (n *nissa) admit() bool {
	now := n.env.Clock.Monotonic()
	if now-n.queries.at >= time.Minute {
		n.queries = tick{at: now}
	}
	n.queries.n++
	ok := int(n.queries.n) <= n.o.Requests
	n.budgets.note(query, now, ok)
	return ok
}

// series answers with the registry, with one series, or with logs, which is for
// operators.
func (n *nissa) series(q *operationsv2.MetricsQuery) *operationsv2.MetricsReply {
	r := &operationsv2.MetricsReply{QueryId: q.QueryId}
	if !n.admit() {
		r.Error = fmt.Sprintf("more than %d requests a minute", n.o.Requests)
		return r
	}
	if q.Series == "" {
		r.Text = n.book.metrics.text() + n.own()
		return r
	}
	if source, ok := strings.CutPrefix(q.Series, logSeries); ok && (source == "" || source[0] == '/') {
		e, _ := n.env.Net.Incoming()
		if who := roleOf(n.job, e, n.env.Clock.Now()); who < operator {
			n.env.Probe.Reached("nissa/role")
			r.Error = fmt.Sprintf("logs are for an operator; you are a %v", who)
			return r
		}
		n.env.Probe.Reached("nissa/logs")
		from, to := int64(0), int64(1)<<60
		if q.From != nil {
			from = q.From.AsTime().UnixMilli()
		}
		if q.To != nil {
			to = q.To.AsTime().UnixMilli()
		}
		r.Text = n.book.logs.text(strings.TrimPrefix(source, "/"), from, to)
		return r
	}
	x := n.book.series.all[q.Series]
	if x == nil {
		r.Error = fmt.Sprintf("no series %q", q.Series)
		return r
	}
	from, to := int64(0), x.newest
	if q.From != nil {
		from = q.From.AsTime().UnixMilli()
	}
	if q.To != nil {
		to = q.To.AsTime().UnixMilli()
	}
	points, step := n.book.series.read(q.Series, from, to, int64(q.StepMs))
	r.StepMs = uint32(step)
	for _, p := range points[max(len(points)-maxSamples, 0):] {
		v := p.value
		if x.counts {
			v = float64(p.count)
		}
		r.Samples = append(r.Samples, &operationsv2.Sample{TimestampMs: p.at, Value: v})
	}
	return r
}

// maxSamples bounds one answer; the newest are given.
const maxSamples = 5000

// own is what Nissa tells of herself. It is no function of the bus, so it is not
// in the registry.
func (n *nissa) own() string {
	var b strings.Builder
	at := n.env.Clock.Now().UnixMilli()
	line := func(name, help string, v float64) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n%s %s %d\n", name, help, name, name, number(v), at)
	}
	line("nissa_alerts_open", "Alerts that have not ended.", float64(len(n.alerts.open)))
	line("nissa_audit_records", "Records of the audit trail.", float64(n.journal.next-1))
	line("nissa_bus_depth", "Entries that the bus keeps.", float64(n.book.watch.depth))
	line("nissa_dead_letters", "Dead letters of the last day.", float64(len(n.letters.list)))
	line("nissa_mode", "0 normal, 1 conservative, 2 emergency.", float64(n.mode))
	line("nissa_refused_samples", "Samples that found no room.", float64(n.book.metrics.refused+n.book.series.refused))
	line("nissa_series", "Series that are kept.", float64(len(n.book.series.all)))
	return b.String()
}

// status answers with the newest state of the run, and what she knows besides.
// Without a state yet, that is left out.
func (n *nissa) status(q *operationsv2.StatusQuery) *operationsv2.StatusReply {
	if !n.admit() {
		return nil
	}
	r := &operationsv2.StatusReply{QueryId: q.QueryId, State: n.packet, Alerts: n.alerts.list(), DeadLetters: uint64(len(n.letters.list))}
	now := n.env.Clock.Monotonic()
	for _, who := range slices.Sorted(maps.Keys(n.book.watch.health)) {
		if v := n.book.watch.health[who]; now-v.since < stale {
			r.Health = append(r.Health, &platformv2.HealthSummaryReport{Domain: who, Subsystems: []string{who}, Health: v.report})
		}
	}
	own := &telemetryv2.HealthReport{Status: telemetryv2.HealthStatus_HEALTHY, Summary: n.mode.String(), Conservative: n.mode != normal,
		Breakers: []*telemetryv2.BreakerState{{Name: "log", State: n.breaker.State(now).String()}}}
	if n.mode != normal {
		own.Status = telemetryv2.HealthStatus_DEGRADED
	}
	if why := n.speaks.Trouble(); why != "" {
		own.Status, own.Summary = telemetryv2.HealthStatus_UNHEALTHY, why
	}
	r.Health = append(r.Health, &platformv2.HealthSummaryReport{Domain: Subsystem, Subsystems: []string{Subsystem}, Health: own, Timestamp: stamp(n.env)})
	return r
}

// command acknowledges or silences an alert, for an operator whose request is
// signed. What changes is published; the answer is that.
func (n *nissa) command(m *operationsv2.AlertCommand) {
	e, _ := n.env.Net.Incoming()
	if e == nil || n.journal.log == nil || n.journal.ids["command/"+m.CommandId] {
		return
	}
	outcome := m.State.String()
	who := roleOf(n.job, e, n.env.Clock.Now())
	var c change
	var err error
	switch {
	case who == viewer:
		n.env.Probe.Reached("nissa/role")
		err = errors.New("a viewer changes nothing")
	case who < admin && m.State == platformv2.AlertState_SILENCED:
		n.env.Probe.Reached("nissa/role")
		err = errors.New("only an admin silences an alert")
	case m.Principal == "":
		err = errors.New("it does not say for whom it is")
	default:
		c, err = n.alerts.command(m.AlertId, m.State)
	}
	if err != nil {
		outcome = err.Error()
	}
	id := "command/" + m.CommandId
	if who == viewer {
		id = "" // somebody else's words must not use up an id
	}
	n.audit(&operationsv2.AuditRecord{EventId: id, Principal: m.Principal, Action: "alert-command", Subject: m.AlertId, Outcome: outcome, RecordedAt: stamp(n.env)})
	if err != nil {
		n.sync()
		return
	}
	n.change(c)
}
