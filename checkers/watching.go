package checkers

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// watching judges J4: who asks Nissa is answered, and what she answers is what
// reached her.
//
// What reached her is read from the messages: the deliveries and the slices of the
// bus's log that came in her present life, each event once. Her counters are held
// against that, event by event; her series against the same, in the resolution
// that card 10 keeps for as long; the state that she shows against the newest that
// she was sent; the length of her trail against the events that belong into it;
// and what becomes of an alert by an operator against the commands that were
// signed. Where it depends on a moment whether she has taken something, both is
// right: what she has acknowledged counts for certain, what has come may.
type watching struct {
	p     Params
	last  int64
	codec *wire.Codec
	life  watched
	mode  string

	// Over all lives: who changes something belongs into the trail.
	trail    map[string]bool // events that came, and belong there
	entered  map[string]bool // those of them that she has acknowledged
	others   map[string]bool // what else is entered, at most once each
	spare    int             // what is entered each time
	commands map[string]bool // alert and state that a signed command has asked for
	alerts   map[string]platformv2.AlertState
	due      map[string]asked // by alert and state: the first command that must lead to it
}

// watched is a life of Nissa's.
type watched struct {
	began   int64
	events  map[string]*counted         // by event id
	counts  map[string]span             // by counter
	places  map[string]map[int64]string // by topic and offset: the event that came
	pages   map[string]int64            // by topic: up to where the log was read; -1: to its end
	kept    map[string][2]int64         // by topic: what the bus has said that it keeps
	queries map[string]asked
	series  map[string]*operationsv2.MetricsQuery
	state   *position
	full    bool // something found no room
	asks    int
}

// counted is an event, and what it counts for.
type counted struct {
	names   []string
	certain bool
}

// span is how often something has happened: for certain, and at most.
type span struct{ least, most uint64 }

type asked struct {
	at  int64
	seq uint64
}

func newWatching(p Params) Checker {
	return &watching{p: p, codec: wire.NewCodec(), life: newWatched(0), trail: map[string]bool{}, entered: map[string]bool{}, others: map[string]bool{},
		commands: map[string]bool{}, alerts: map[string]platformv2.AlertState{}, due: map[string]asked{}}
}

func newWatched(at int64) watched {
	return watched{began: at, events: map[string]*counted{}, counts: map[string]span{}, places: map[string]map[int64]string{}, pages: map[string]int64{},
		kept: map[string][2]int64{}, queries: map[string]asked{}, series: map[string]*operationsv2.MetricsQuery{}}
}

func (*watching) Invariants() []string { return []string{"J4"} }

// watcher is the node that is judged.
const watcher = "nissa"

// The times of the clauses that want calm: how long an answer may take, and how
// long a start until she has read what the bus keeps.
const (
	replyWithin = int64(time.Second)
	readWithin  = int64(20 * time.Second)
	mostSamples = 5000 // in one answer
)

func (c *watching) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.NodeStarted:
		if e.Node == watcher {
			c.life, c.mode = newWatched(e.At), ""
			clear(c.due)
		}
	case trace.NodeCrashed, trace.NodeExited, trace.NodePaused:
		if e.Node == watcher {
			clear(c.life.queries)
			clear(c.due)
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.ModeFact); ok && f.Subsystem == watcher {
			c.mode = f.To
		}
	case trace.MessageDelivered:
		if e.Peer == watcher {
			c.overdue(e, j)
			c.came(e)
		}
	case trace.MessageSent:
		if e.Node == watcher {
			c.said(e, j)
		}
	}
}

func (c *watching) calm(since int64) bool { return c.p.Settled != nil && c.p.Settled(max(since, 0)) }

// overdue judges that who asked was answered.
func (c *watching) overdue(e *Event, j *Judge) {
	for _, id := range slices.Sorted(maps.Keys(c.life.queries)) {
		q := c.life.queries[id]
		if e.At-q.at <= replyWithin {
			continue
		}
		delete(c.life.queries, id)
		if c.calm(q.at - int64(5*time.Second)) {
			j.Violate("J4", watcher, fmt.Sprintf("it does not answer the query %s", id), q.seq)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.due)) {
		q := c.due[key]
		if e.At-q.at <= 5*replyWithin {
			continue
		}
		delete(c.due, key)
		if c.calm(q.at) && c.mode != "EMERGENCY" {
			j.Violate("J4", watcher, fmt.Sprintf("an operator has signed that %s, and it does not become so", strings.ReplaceAll(key, "\x00", " is to be ")), q.seq)
		}
	}
}

// came takes in what reaches Nissa.
func (c *watching) came(e *Event) {
	l := &c.life
	switch m := e.Mail.Payload.(type) {
	case *busv2.Delivery:
		c.place(m.Topic, m.Offset, "")
		if m.Topic == "bus.dead-letters" {
			c.deadLetter(m)
		} else if e.Inner != nil && m.Group == watcher {
			c.place(m.Topic, m.Offset, e.Inner.Envelope.EventId)
			c.event(m.Topic, e.Inner.Envelope, e.Inner.Payload, false)
		}
	case *busv2.LogSlice:
		c.slice(m)
	case *systemstatev2.SystemStatePacket:
		if p := l.state; p == nil || m.RollbackGeneration > p.gen || m.RollbackGeneration == p.gen && m.Epoch > p.epoch {
			l.state = &position{epoch: m.Epoch, gen: m.RollbackGeneration, seq: e.Seq}
		}
	case *telemetryv2.EmergencyNotice:
		c.others["notice/"+m.NoticeId] = true
	case *rollbackv2.RollbackDecision:
		c.others["rollback/"+m.RollbackId] = true
	case *operationsv2.MetricsQuery:
		l.asks++
		l.queries[strings.Clone(m.QueryId)] = asked{at: e.At, seq: e.Seq}
		if q := new(operationsv2.MetricsQuery); q.ParseCanonical(m.AppendCanonical(nil)) == nil && m.Series != "" {
			q.QueryId, q.Series = strings.Clone(q.QueryId), strings.Clone(q.Series)
			l.series[q.QueryId] = q
		}
	case *operationsv2.StatusQuery:
		if l.asks++; l.asks < 1000 { // of more a minute none is owed an answer
			l.queries[strings.Clone(m.QueryId)] = asked{at: e.At, seq: e.Seq}
		}
	case *operationsv2.AlertCommand:
		c.command(e, m)
	}
}

func (c *watching) place(topic string, offset int64, event string) {
	if c.life.places[topic] == nil {
		c.life.places[strings.Clone(topic)] = map[int64]string{}
	}
	if event != "" || c.life.places[topic][offset] == "" {
		c.life.places[topic][offset] = strings.Clone(event)
	}
}

// event counts an event that came. What came twice counts once.
func (c *watching) event(topic string, e *envelopev2.EventEnvelope, m canon.Message, certain bool) {
	if belongs(m) && !c.trail[e.EventId] {
		c.trail[strings.Clone(e.EventId)] = true
	}
	was := c.life.events[e.EventId]
	if was == nil {
		was = &counted{names: countersOf(topic, e, m)}
		c.life.events[strings.Clone(e.EventId)] = was
		for _, name := range was.names {
			s := c.life.counts[name]
			s.most++
			c.life.counts[name] = s
		}
	}
	if certain {
		c.life.certain(was)
	}
}

// certain: an event was acknowledged or read, and counts.
func (l *watched) certain(w *counted) {
	if w == nil || w.certain {
		return
	}
	w.certain = true
	for _, name := range w.names {
		s := l.counts[name]
		s.least++
		l.counts[name] = s
	}
}

// deadLetter: the letter is entered, and so is what is in it.
func (c *watching) deadLetter(m *busv2.Delivery) {
	c.others[fmt.Sprint("bus.dead-letters/", m.Offset)] = true
	if env, inner, err := c.codec.Open(m.Envelope); err == nil && belongs(inner) {
		c.others[strings.Clone(env.EventId)] = true
	}
}

// slice takes a page of the log, which a start reads to its end.
func (c *watching) slice(m *busv2.LogSlice) {
	l := &c.life
	if m.QueryId == "depth" {
		l.kept[strings.Clone(m.Topic)] = [2]int64{m.FirstOffset, m.NextOffset}
		return
	}
	at := l.pages[m.Topic]
	for _, x := range m.Entries {
		env, inner, err := c.codec.Open(x.Envelope)
		c.place(m.Topic, x.Offset, "")
		if m.Topic != "bus.dead-letters" && err == nil {
			c.place(m.Topic, x.Offset, env.EventId)
			c.event(m.Topic, env, inner, at >= 0)
		}
		if at >= 0 {
			at = max(at, x.Offset+1)
		}
	}
	if at = max(at, m.FirstOffset); l.pages[m.Topic] >= 0 {
		if at >= m.NextOffset {
			at = -1
		}
		l.pages[strings.Clone(m.Topic)] = at
	}
}

// command takes an operator's. Only one that is signed, of who may, has an effect.
func (c *watching) command(e *Event, m *operationsv2.AlertCommand) {
	c.spare++
	if c.p.Key == nil || m.Principal == "" {
		return
	}
	may := c.signedAs(e, "admin") || m.State != platformv2.AlertState_SILENCED && c.signedAs(e, "operator")
	if !may {
		return
	}
	key := m.AlertId + "\x00" + m.State.String()
	c.commands[key] = true
	is := c.alerts[m.AlertId]
	if c.due[key].at > 0 {
		return
	}
	if is == platformv2.AlertState_FIRING || is == platformv2.AlertState_ACKED && m.State == platformv2.AlertState_SILENCED {
		c.due[key] = asked{at: e.At, seq: e.Seq}
	}
}

// signedAs says whether an envelope is signed with the key of a role: whoever has
// the one's cannot sign for another.
func (c *watching) signedAs(e *Event, role string) bool {
	key := sha256.Sum256(append(append([]byte("espersim role "), c.p.Key...), role...))
	env := e.Mail.Envelope
	return env.GetAuth() != nil && env.Auth.KeyId == role && wire.Verify(env, key[:]) == nil
}

// said judges what Nissa sends.
func (c *watching) said(e *Event, j *Judge) {
	l := &c.life
	switch m := e.Mail.Payload.(type) {
	case *busv2.Ack:
		if id := l.places[m.Topic][m.Offset]; id != "" && m.Group == watcher {
			if c.trail[id] {
				c.entered[id] = true
			}
			l.certain(l.events[id])
		}
	case *operationsv2.MetricsReply:
		delete(l.queries, m.QueryId)
		q := l.series[m.QueryId]
		delete(l.series, m.QueryId)
		switch {
		case q != nil && strings.HasPrefix(q.Series, "logs"): // words of people's
		case m.Text != "":
			c.text(e, m.Text, j)
		case q != nil && m.Error == "":
			c.samples(e, q, m, j)
		}
	case *operationsv2.StatusReply:
		delete(l.queries, m.QueryId)
		c.status(e, m, j)
	case *platformv2.AlertEvent:
		c.alert(e, m, j)
	}
}

// text judges the registry: each counter that follows from the events is as high
// as they are many.
func (c *watching) text(e *Event, text string, j *Judge) {
	l, shown := &c.life, map[string]uint64{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] == "#" {
			continue
		}
		name := strings.Join(f[:len(f)-2], " ")
		if v, err := strconv.ParseFloat(f[len(f)-2], 64); err == nil && v >= 0 {
			shown[name] = uint64(v)
		}
	}
	if l.full = shown["nissa_refused_samples"] > 0; l.full {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(l.counts)) {
		if n, s := shown[name], l.counts[name]; n < s.least || n > s.most {
			j.Violate("J4", e.Node, fmt.Sprintf("it counts %d of %s; of what has reached it, %d to %d are", n, name, s.least, s.most))
			return
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		if _, known := l.counts[name]; !known && (strings.HasPrefix(name, "esper_events_total{") || strings.HasPrefix(name, "esper_epoch_events_total{")) {
			j.Violate("J4", e.Node, fmt.Sprintf("it counts %d of %s, of which nothing has reached it", shown[name], name))
			return
		}
	}
	if n := shown["nissa_audit_records"]; c.mode != "EMERGENCY" && !c.p.Damaged {
		if least, most := uint64(len(c.entered)), uint64(len(c.trail)+len(c.others)+c.spare); n < least || n > most {
			j.Violate("J4", e.Node, fmt.Sprintf("its trail has %d records; %d events that belong there were acknowledged, and %d came", n, least, most))
			return
		}
	}
	if !c.whole(e, j) {
		return
	}
	j.Judged("J4")
}

// whole judges that a start has read what the bus keeps.
func (c *watching) whole(e *Event, j *Judge) bool {
	l := &c.life
	if e.At-l.began < readWithin || !c.calm(e.At-readWithin) || c.mode != "" && c.mode != "NORMAL" {
		return true
	}
	for _, topic := range slices.Sorted(maps.Keys(l.kept)) {
		for at := l.kept[topic][0]; at < l.kept[topic][1]-64; at++ {
			if _, came := l.places[topic][at]; !came {
				j.Violate("J4", e.Node, fmt.Sprintf("the bus keeps offset %d of %s, and it has never read it", at, topic))
				return false
			}
		}
	}
	return true
}

// samples judges a series: that of a counter says when what was counted.
func (c *watching) samples(e *Event, q *operationsv2.MetricsQuery, m *operationsv2.MetricsReply, j *Judge) {
	s, known := c.life.counts[q.Series]
	if !known || c.life.full || q.From != nil || q.To != nil || q.StepMs > 1000 {
		return
	}
	// Of six hours there is all, by the second; of more samples than an answer has
	// room for, the newest are given.
	sum, last := uint64(0), int64(-1)
	for _, x := range m.Samples {
		if x.TimestampMs/1000 <= last/1000 && last >= 0 {
			j.Violate("J4", e.Node, fmt.Sprintf("two samples of %s are of one second, or not in order", q.Series))
			return
		}
		last = x.TimestampMs
		sum += uint64(x.Value)
	}
	least := s.least
	if len(m.Samples) >= mostSamples || e.At > int64(6*time.Hour) {
		least = 0
	}
	if m.StepMs != 1000 || sum < least || sum > s.most {
		j.Violate("J4", e.Node, fmt.Sprintf("the series %s has %d in steps of %d ms; of what has reached it, %d to %d are", q.Series, sum, m.StepMs, s.least, s.most))
		return
	}
	j.Judged("J4")
}

// status judges that the state of the run is the newest that came.
func (c *watching) status(e *Event, m *operationsv2.StatusReply, j *Judge) {
	is, want := m.State, c.life.state
	switch {
	case want == nil && is == nil:
	case want == nil || is == nil:
		j.Violate("J4", e.Node, fmt.Sprintf("it shows a state of the run: %v; one has reached it: %v", is != nil, want != nil))
		return
	// To a reader of an older version a state has no generation; she shows the
	// bytes as they came.
	case want.gen > 0 && is.RollbackGeneration != want.gen || is.Epoch != want.epoch:
		j.Violate("J4", e.Node, fmt.Sprintf("it shows the state of epoch %d in generation %d, and has that of epoch %d in generation %d", is.Epoch, is.RollbackGeneration, want.epoch, want.gen), want.seq)
		return
	}
	j.Judged("J4")
}

// alert judges that only who may has an alert acknowledged or silenced.
func (c *watching) alert(e *Event, m *platformv2.AlertEvent, j *Judge) {
	key := m.AlertId + "\x00" + m.State.String()
	switch m.State {
	case platformv2.AlertState_ACKED, platformv2.AlertState_SILENCED:
		if c.p.Key != nil && !c.commands[key] {
			j.Violate("J4", e.Node, fmt.Sprintf("the alert %s is %v, and nobody who may has signed that", m.AlertId, m.State))
			return
		}
		j.Judged("J4")
	case platformv2.AlertState_RESOLVED:
		for _, to := range []platformv2.AlertState{platformv2.AlertState_ACKED, platformv2.AlertState_SILENCED} {
			delete(c.due, m.AlertId+"\x00"+to.String())
		}
	}
	delete(c.due, key)
	c.alerts[strings.Clone(m.AlertId)] = m.State
}

// belongs says whether an event belongs into the trail: somebody changes
// something, or it is what came of that.
func belongs(m canon.Message) bool {
	switch m := m.(type) {
	case *adaptationv2.AdaptationCommand, *adaptationv2.CommandResult, *operationalv2.FieldReport, *eventsv2.KernelCharacterizedEvent,
		*eventsv2.BlueprintSubmittedEvent, *operationsv2.ConfigChange:
		return true
	case *eventsv2.EpochEvent:
		return m.Phase == eventsv2.EpochPhase_PAUSED || m.Phase == eventsv2.EpochPhase_RESUMED || m.Phase == eventsv2.EpochPhase_ROLLED_BACK
	}
	return false
}

// countersOf names the counters that an event adds one to, as the text has them.
func countersOf(topic string, e *envelopev2.EventEnvelope, m canon.Message) []string {
	short := m.FullName()[strings.LastIndexByte(m.FullName(), '.')+1:]
	list := []string{fmt.Sprintf("esper_events_total{source=%q,topic=%q,type=%q}", e.SourceSubsystem, topic, short)}
	switch m := m.(type) {
	case *eventsv2.EpochEvent:
		list = append(list, fmt.Sprintf("esper_epoch_events_total{phase=%q}", m.Phase.String()))
		if _, err := durations.To(m.BoundaryDuration); m.Phase == eventsv2.EpochPhase_COMPLETED && m.BoundaryDuration != nil && err == nil {
			list = append(list, "esper_boundary_seconds_count")
		}
	case *adaptationv2.CommandResult:
		list = append(list, fmt.Sprintf("esper_command_results_total{status=%q,subsystem=%q}", m.Status.String(), m.Subsystem))
	case *adaptationv2.AdaptationCommand:
		list = append(list, fmt.Sprintf("esper_commands_total{topic=%q}", topic))
	case *telemetryv2.SeedTelemetry:
		seed := fmt.Sprint(m.Seed.GetLayerId(), "/", m.Seed.GetSeedId())
		list = append(list, fmt.Sprintf("esper_seed_reports_total{seed=%q,stage=%q}", seed, m.Stage.String()))
		if _, err := durations.To(m.ExecLatency); m.ExecLatency != nil && err == nil {
			list = append(list, fmt.Sprintf("esper_seed_latency_seconds_count{seed=%q}", seed))
		}
	case *eventsv2.KernelCharacterizedEvent:
		list = append(list, fmt.Sprintf("esper_kernel_verdicts_total{verdict=%q}", m.Verdict.String()))
	}
	return list
}

// Finish implements Checker.
func (c *watching) Finish(j *Judge) {}
