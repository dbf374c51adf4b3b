package nissa

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/auxiliary"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/config"
	"github.com/esper-sim/espersim/cluster/contract"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Subsystem is Nissa's name in messages and facts, and her consumer group.
const Subsystem = "nissa"

// Topics of her own and of the bus.
const (
	alertTopic  = "operations.alerts"
	deadLetters = "bus.dead-letters"
)

// Options of Nissa.
type Options struct {
	Series   int           `set:"series" doc:"most series that are kept, and most samples of the registry"`
	Points   int           `set:"points" doc:"most points that are kept, in all resolutions together"`
	Evaluate time.Duration `set:"evaluate" doc:"between two evaluations of the rules"`
	Flush    time.Duration `set:"flush" doc:"how long audit records gather before one sync makes them durable"`
	Calm     time.Duration `set:"calm" doc:"how long she must be in health before conservative mode ends"`
	Requests int           `set:"requests" doc:"queries a minute that are answered"`
	Config   bool          `set:"config" doc:"she follows the configuration"`
	Reopen   time.Duration `set:"reopen" doc:"how long she waits before she opens a log anew that failed"`
	Segment  int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout  time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
	Versions bool          `set:"versions" doc:"it tells Leyline which version of the contracts it speaks"`
}

// Defaults are the options of a Nissa that sets none.
func Defaults() *Options {
	return &Options{Series: 1_000_000, Points: 4_000_000, Evaluate: time.Second, Flush: 20 * time.Millisecond, Calm: 5 * time.Minute,
		Requests: 1000, Reopen: 500 * time.Millisecond, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

// mode of Nissa.
type mode uint8

const (
	normal       mode = iota
	conservative      // smaller batches, fewer entries in flight
	emergency         // the log cannot be written: nothing is taken from the bus
)

func (m mode) String() string { return [...]string{"NORMAL", "CONSERVATIVE", "EMERGENCY"}[m] }

// By mode: entries in flight, and records a sync. In EMERGENCY mode nothing is
// taken, but the bus must go on to know the group: one that it forgot in a crash
// would have its entries trimmed.
var (
	inFlight = [...]uint32{200, 50, 1}
	batch    = [...]int{1000, 100, 100}
)

type nissa struct {
	env     actor.Env
	job     *job.Job
	o       Options
	in      *inbox.Box
	box     *outbox.Box
	speaks  *contract.Box // nil: it tells nobody
	conf    *config.Box   // nil: she follows none
	codec   *wire.Codec
	journal journal
	back    *auxiliary.Party

	book    *book
	alerts  *alerts
	budgets budgets
	letters *letters
	breaker *breaker.Breaker // of the log

	mode     mode
	healthy  time.Duration // since when there is no cause for another mode
	owed     []*owed       // acknowledgements that wait for a sync
	flushing bool
	replay   map[string]int64 // by topic: what is still to be read of the bus's log
	started  time.Duration
	raised   uint64 // alerts of this life
	queries  tick   // in this minute
	depths   map[string]uint64
	packet   *systemstatev2.SystemStatePacket
	shown    epochSeen // which epoch it is of, as she reads it
	topics   []string
}

// owed is an acknowledgement.
type owed struct {
	d busv2.Delivery
	e envelopev2.EventEnvelope
}

// New makes the constructor of Nissa.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		n := &nissa{env: env, job: j, o: o, box: outbox.New(env, j.Oona, 1024), codec: wire.NewCodecAs(env.Schema),
			book: newBook(o.Series, o.Points), alerts: newAlerts(), letters: newLetters(), depths: map[string]uint64{}}
		n.journal = journal{env: env, o: &n.o}
		n.back = auxiliary.New(env, j.Tolaria, Subsystem, n.goBack)
		if o.Config {
			n.conf = config.New(env, j, Subsystem, config.Options{Segment: o.Segment, Timeout: o.Timeout, Facts: command.LogFacts(env.Facts, Subsystem+"/config")})
		}
		for _, t := range slices.Sorted(maps.Keys(wire.Topics)) {
			if t != alertTopic {
				n.topics = append(n.topics, t)
			}
		}
		n.topics = append(n.topics, deadLetters)
		n.in = inbox.New(env, j.Oona, Subsystem, inFlight[normal], n.topics...)
		var err error
		if o.Versions {
			if n.speaks, err = contract.New(env, j, Subsystem); err != nil {
				return nil, err
			}
		}
		s, _ := breaker.Find(Subsystem, "default")
		n.breaker, err = breaker.New(s, func(t breaker.Transition) {
			env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: t.ID, From: t.From.String(), To: t.To.String()})
		})
		return n, err
	}
}

// Start opens the log, and reads what the bus still has.
func (n *nissa) Start() error {
	n.started = n.env.Clock.Monotonic()
	n.healthy = n.started
	n.replay = map[string]int64{}
	for _, t := range n.topics {
		n.replay[t] = 1
	}
	n.open()
	n.in.Renew()
	n.conf.Start()
	n.speaks.Start()
	n.back.Start()
	n.read()
	n.env.Clock.SetTimer("evaluate", 0, n.o.Evaluate)
	return nil
}

// open opens the log. Until it is open, she takes nothing: the bus keeps it.
func (n *nissa) open() {
	now := n.env.Clock.Monotonic()
	ticket, ok := n.breaker.Allow(now)
	if ok {
		err := n.journal.start()
		n.breaker.Done(n.env.Clock.Monotonic(), ticket, err == nil)
		if err == nil {
			n.recall()
			if n.mode == emergency {
				n.enter(conservative, "the log is open again")
			}
			return
		}
	}
	n.enter(emergency, "the log cannot be written")
	if n.journal.refused == nil {
		n.env.Clock.SetTimer("reopen", 0, n.o.Reopen)
	}
}

// recall takes up the alerts that have not ended, and publishes what the bus may
// not have.
func (n *nissa) recall() {
	now := n.env.Clock.Monotonic()
	was := n.alerts.open
	n.alerts.open = map[string]*alert{}
	for _, key := range slices.Sorted(maps.Keys(n.journal.open)) {
		since := now
		if a := was[key]; a != nil {
			since = a.since
		}
		n.alerts.enter(change{key, since, n.journal.open[key]})
	}
	for _, e := range n.journal.waiting {
		n.publish(e)
	}
}

// failed closes the log after an error that leaves it unknown what it holds.
// What is owed comes again.
func (n *nissa) failed() {
	n.env.Probe.Reached("nissa/reopen")
	n.owed = nil
	n.journal.log = nil
	n.enter(emergency, "the log cannot be written")
	n.env.Clock.SetTimer("reopen", 0, n.o.Reopen)
}

func (n *nissa) enter(m mode, why string) {
	if m != normal {
		n.healthy = n.env.Clock.Monotonic()
	}
	if n.mode == m {
		return
	}
	n.env.Facts.Record(&evidencev2.ModeFact{Subsystem: Subsystem, From: n.mode.String(), To: m.String(), Reason: why})
	n.mode = m
	n.in.Limit(inFlight[m])
}

// Receive implements actor.Actor.
func (n *nissa) Receive(from actor.ID, m canon.Message) error {
	if n.conf.Receive(m) || n.speaks.Receive(m) || n.back.Receive(from, m) {
		return nil
	}
	switch m := m.(type) {
	case *localv2.TimerFired:
		n.timer(m.Name)
	case *busv2.Delivery:
		n.deliver(m)
	case *busv2.PublishAck:
		n.box.Acked(m)
	case *busv2.LogSlice:
		n.slice(m)
	case *systemstatev2.SystemStatePacket:
		n.state(m)
	case *telemetryv2.EmergencyNotice:
		n.notice(m)
	case *operationsv2.MetricsQuery:
		n.env.Net.Send(from, n.series(m), actor.SendOptions{Key: "metrics/" + m.QueryId, CorrelationID: m.QueryId})
	case *operationsv2.StatusQuery:
		if r := n.status(m); r != nil {
			n.env.Net.Send(from, r, actor.SendOptions{Key: "status/" + m.QueryId, CorrelationID: m.QueryId})
		}
	case *operationsv2.AlertCommand:
		n.command(m)
	}
	return nil
}

func (n *nissa) timer(name string) {
	switch name {
	case inbox.Timer:
		n.in.Renew()
	case outbox.Timer:
		n.box.Tick()
	case "flush":
		n.flushing = false
		n.flush()
	case "reopen":
		if n.journal.log == nil {
			n.open()
		}
	case "evaluate":
		n.evaluate()
		every := time.Duration(n.conf.Int(config.EvaluateEvery, int(n.o.Evaluate/time.Millisecond))) * time.Millisecond
		n.env.Clock.SetTimer("evaluate", 0, every)
	}
}

// deliver takes an entry. What belongs into the audit trail is acknowledged when
// its record is durable.
func (n *nissa) deliver(d *busv2.Delivery) {
	if n.journal.log == nil {
		return // it comes again
	}
	now := n.env.Clock.Monotonic()
	if d.Topic == deadLetters {
		n.dead(d)
		return
	}
	e, m, ok := n.in.Open(d)
	n.budgets.note(ingestion, now, ok)
	if !ok {
		return
	}
	n.book.take(d.Topic, d.Offset, e, m, now, n.env.Clock.Now().UnixMilli())
	if ev, ok := m.(*eventsv2.EpochEvent); ok {
		n.back.Event(ev)
	}
	if ev, ok := m.(*eventsv2.EpochEvent); ok && n.conf != nil && ev.Phase == eventsv2.EpochPhase_STARTED {
		n.conf.Hear(ev.RollbackGeneration, ev.Epoch, ev.ConfigRevision)
	}
	r := record(d.Topic, e, m)
	if r == nil {
		n.in.Ack(d, e)
		return
	}
	n.audit(r)
	n.owe(d, e.EventId)
}

// goBack enters a rollback into the audit trail, durably. What was measured stays:
// it was so, and the event says that it was undone.
func (n *nissa) goBack(to auxiliary.Point) bool {
	if to.RollbackID == "" {
		return true // the event itself belongs into the trail
	}
	n.audit(&operationsv2.AuditRecord{EventId: "rollback/" + to.RollbackID, Principal: "tolaria", Action: "rollback", Subject: to.RollbackID,
		Outcome: fmt.Sprintf("back to epoch %d in generation %d", to.Epoch, to.Generation), RecordedAt: stamp(n.env)})
	return n.sync()
}

// dead takes a dead letter: bytes that some group could not end.
func (n *nissa) dead(d *busv2.Delivery) {
	e, m, err := n.codec.Open(d.Envelope)
	n.letters.add(d.Offset, n.env.Clock.Monotonic(), d.Envelope, err == nil)
	if err == nil {
		// It may be one that was given up on for Nissa herself.
		if r := record(e.Topic, e, m); r != nil {
			n.audit(r)
		}
	}
	id := fmt.Sprint(deadLetters, "/", d.Offset)
	r := &operationsv2.AuditRecord{EventId: id, Principal: "unknown", Action: "dead-letter", Subject: id, Outcome: "not readable", RecordedAt: stamp(n.env)}
	if err == nil {
		r.Principal, r.Subject, r.Outcome = e.SourceSubsystem, e.EventId, "readable"
	}
	n.audit(r)
	n.owe(d, id)
}

// audit adds a record to the trail, unless the event has one.
func (n *nissa) audit(r *operationsv2.AuditRecord) {
	if n.journal.log == nil || r.EventId != "" && n.journal.ids[r.EventId] {
		return
	}
	r.SequenceNumber = n.journal.next
	if err := n.journal.append(&statev2.NissaRecord{Audit: r}); err != nil {
		n.failed()
	}
}

// owe acknowledges an entry after the next sync.
func (n *nissa) owe(d *busv2.Delivery, event string) {
	if n.journal.log == nil {
		return
	}
	o := new(owed)
	o.d.Group, o.d.Topic, o.d.Offset, o.d.Attempt, o.d.ClaimGeneration = d.Group, d.Topic, d.Offset, d.Attempt, d.ClaimGeneration
	o.e.EventId = event
	n.owed = append(n.owed, o)
	if len(n.owed) >= batch[n.mode] {
		n.flush()
	} else if !n.flushing {
		n.flushing = true
		n.env.Clock.SetTimer("flush", 0, n.o.Flush)
	}
}

// sync makes what was appended durable.
func (n *nissa) sync() bool {
	if n.journal.log == nil {
		return false
	}
	if err := n.journal.log.Sync(); err != nil {
		n.failed()
		return false
	}
	return true
}

func (n *nissa) flush() {
	if len(n.owed) == 0 || !n.sync() {
		return
	}
	for _, o := range n.owed {
		n.in.Ack(&o.d, &o.e)
	}
	n.owed = nil
}

// notice counts an emergency, and puts it into the trail.
func (n *nissa) notice(m *telemetryv2.EmergencyNotice) {
	id := "notice/" + m.NoticeId
	if n.journal.ids[id] {
		return
	}
	n.book.count("esper_emergencies_total", "Emergency notices.", m.RaisedAt.AsTime().UnixMilli(), 1, label{"level", m.Level.String()}, label{"source", m.Source})
	n.audit(&operationsv2.AuditRecord{EventId: id, Principal: m.Source, Action: "emergency", Subject: m.Action.String(), Outcome: m.Reason, RecordedAt: stamp(n.env)})
	n.sync()
}

// evaluate looks at everything that time brings about.
func (n *nissa) evaluate() {
	now := n.env.Clock.Monotonic()
	n.letters.tick(now, func(b []byte) bool { _, _, err := n.codec.Open(b); return err == nil })
	n.health(now)
	if len(n.replay) > 0 && now-n.started < replayLimit {
		n.read()
		return // what is not read yet would look as if it had ended
	}
	if int64(now/time.Second)%5 == 0 {
		n.askDepth()
	}
	if n.journal.log == nil {
		return // nothing may be told that is not durable
	}
	list := n.alerts.evaluate(n.book, &n.budgets, now, func(key string) string {
		n.raised++
		return fmt.Sprint("alert/", key, "/", n.env.Incarnation, "-", n.raised)
	})
	n.change(list...)
}

// change makes changes of alerts durable, and publishes them.
func (n *nissa) change(list ...change) bool {
	for _, c := range list {
		if c.event.RaisedAt == nil {
			c.event.RaisedAt = stamp(n.env)
		}
		if c.event.State == platformv2.AlertState_PENDING {
			continue // it is nothing yet, and is forgotten by a restart
		}
		if err := n.journal.append(&statev2.NissaRecord{Alert: c.event}); err != nil {
			n.failed()
			return false
		}
	}
	if len(list) == 0 {
		return true
	}
	if !n.sync() {
		return false
	}
	for _, c := range list {
		n.alerts.enter(c)
		if c.event.State != platformv2.AlertState_PENDING {
			n.publish(c.event)
		}
	}
	return true
}

func (n *nissa) publish(e *platformv2.AlertEvent) {
	id, began := publicationID(e), n.env.Clock.Monotonic()
	n.box.Put(outbox.Letter{ID: id, Topic: alertTopic, Message: e, Ordered: true,
		Options: actor.SendOptions{RunID: n.job.RunID},
		Done: func() {
			now := n.env.Clock.Monotonic()
			n.budgets.note(alerting, now, now-began < 10*time.Second)
			if n.journal.log != nil {
				// Not synced: losing it costs a copy, which the bus drops.
				if err := n.journal.append(&statev2.NissaRecord{PublishedEventId: id}); err != nil {
					n.failed()
				}
			}
		}})
}

// health chooses the mode.
func (n *nissa) health(now time.Duration) {
	why := ""
	switch {
	case n.journal.log == nil:
		return // emergency, until it is open
	case n.book.series.full() >= 0.9:
		why = "the store is nearly full"
	}
	for i := range objectives {
		if n.budgets.left(i, now) < 0.25 {
			why = "the error budget of " + objectives[i].name + " is nearly spent"
		}
	}
	switch {
	case why != "":
		n.enter(conservative, why)
	case n.mode == conservative && now-n.healthy >= n.o.Calm:
		n.enter(normal, "it has been in health")
	}
}
