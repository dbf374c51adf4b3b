package narset

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
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
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// Subsystem is Narset's name in messages, and her consumer group.
const Subsystem = "narset"

// Topics that Narset hears and speaks on.
const (
	telemetry = "telemetry.seed.health"
	summaries = "telemetry.region.summaries"
	epochs    = "system.events.epoch"
)

// Options of Narset.
type Options struct {
	FanIn    int           `set:"fan-in" doc:"most reports a summary"`
	Wait     time.Duration `set:"wait" doc:"how long a report waits for others of its region"`
	Config   bool          `set:"config" doc:"she follows the configuration"`
	Reopen   time.Duration `set:"reopen" doc:"how long it waits before it opens a log anew that failed"`
	Segment  int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout  time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
	Versions bool          `set:"versions" doc:"it tells Leyline which version of the contracts it speaks"`
}

// Defaults are the options of a Narset that sets none.
func Defaults() *Options {
	return &Options{FanIn: 32, Wait: time.Second, Reopen: 500 * time.Millisecond, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

// region is what waits to be summed up.
type region struct {
	reports []report
	acks    []*ack
	since   time.Duration
}

// ack is an acknowledgement that waits for the summary to be durable.
type ack struct {
	d busv2.Delivery
	e envelopev2.EventEnvelope
}

type narset struct {
	env     actor.Env
	job     *job.Job
	o       Options
	in      *inbox.Box
	box     *outbox.Box
	speaks  *contract.Box // nil: it tells nobody
	conf    *config.Box   // nil: she follows none
	journal journal
	regions map[string]*region
	held    map[string]bool // reports that wait
	count   uint64          // of summaries in this life
	origin  []raised        // of emergencies
}

// raised says who waits for the acknowledgements of a notice.
type raised struct {
	notice string
	by     actor.ID
}

// New makes the constructor of Narset.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		n := &narset{env: env, job: j, o: o, box: outbox.New(env, j.Oona, 1024), regions: map[string]*region{}, held: map[string]bool{}}
		n.journal = journal{env: env, o: &n.o}
		if o.Config {
			n.conf = config.New(env, j, Subsystem, config.Options{Segment: o.Segment, Timeout: o.Timeout, Facts: command.LogFacts(env.Facts, Subsystem+"/config")})
		}
		n.in = inbox.New(env, j.Oona, Subsystem, uint32(max(4*o.FanIn, 1)), n.topics()...)
		var err error
		if o.Versions {
			n.speaks, err = contract.New(env, j, Subsystem)
		}
		return n, err
	}
}

// topics are what Narset hears: epochs only for the sake of the configuration.
func (n *narset) topics() []string {
	if n.o.Config {
		return []string{telemetry, epochs}
	}
	return []string{telemetry}
}

// Start implements actor.Actor.
func (n *narset) Start() error {
	n.open()
	n.in.Renew()
	n.conf.Start()
	n.speaks.Start()
	return nil
}

// open opens the log. Until it is open, nothing is taken: the bus keeps it. It
// must go on to know the group, so the subscription is renewed, for one entry at a
// time. Emergencies need no log.
func (n *narset) open() {
	if err := n.journal.start(); err != nil {
		n.in.Limit(1)
		if n.journal.refused == nil {
			n.env.Clock.SetTimer("reopen", 0, n.o.Reopen)
		}
		return
	}
	n.in.Limit(uint32(max(4*n.o.FanIn, 1)))
	for _, e := range n.journal.waiting {
		n.publish(e.s)
	}
}

// failed closes the log after an error that leaves it unknown what it holds.
// What waits comes again.
func (n *narset) failed() {
	n.env.Probe.Reached("narset/reopen")
	n.journal.log = nil
	n.in.Limit(1)
	clear(n.regions)
	clear(n.held)
	n.env.Clock.SetTimer("reopen", 0, n.o.Reopen)
}

// Receive implements actor.Actor.
func (n *narset) Receive(from actor.ID, m canon.Message) error {
	if n.conf.Receive(m) || n.speaks.Receive(m) {
		return nil
	}
	switch m := m.(type) {
	case *localv2.TimerFired:
		n.timer(m.Name)
	case *busv2.PublishAck:
		n.box.Acked(m)
	case *busv2.Delivery:
		n.deliver(m)
	case *telemetryv2.EmergencyNotice:
		n.forward(from, m)
	case *pausev2.PauseAck:
		n.back(m)
	}
	return nil
}

func (n *narset) timer(name string) {
	switch name {
	case inbox.Timer:
		n.in.Renew()
	case outbox.Timer:
		n.box.Tick()
	case "reopen":
		if n.journal.log == nil {
			n.open()
		}
	case "sum":
		n.sweep()
	}
}

// deliver takes a report into its region.
func (n *narset) deliver(d *busv2.Delivery) {
	if n.journal.log == nil {
		return // it comes again
	}
	e, p, ok := n.in.Open(d)
	if !ok {
		return
	}
	if ev, ok := p.(*eventsv2.EpochEvent); ok && n.conf != nil && ev.Phase == eventsv2.EpochPhase_STARTED {
		n.conf.Hear(ev.RollbackGeneration, ev.Epoch, ev.ConfigRevision)
	}
	m, ok := p.(*telemetryv2.SeedTelemetry)
	switch {
	case !ok || m.TelemetryId == "" || n.journal.known[m.TelemetryId]:
		n.in.Ack(d, e) // nothing to sum up, or it was
		return
	case n.held[m.TelemetryId]:
		return // it waits: it is acknowledged with its summary
	}
	name := regionOf(m)
	r := n.regions[name]
	if r == nil {
		r = new(region)
		n.regions[name] = r
	}
	if len(r.reports) == 0 {
		r.since = n.env.Clock.Monotonic()
		n.env.Clock.SetTimer("sum", 0, n.o.Wait/4)
	}
	a := new(ack)
	a.d.Group, a.d.Topic, a.d.Offset, a.d.Attempt, a.d.ClaimGeneration = d.Group, d.Topic, d.Offset, d.Attempt, d.ClaimGeneration
	a.e.EventId = e.EventId
	r.reports, r.acks = append(r.reports, reportOf(m)), append(r.acks, a)
	n.held[m.TelemetryId] = true
	if len(r.reports) >= n.conf.Int(config.FanIn, n.o.FanIn) {
		n.sum(name)
	}
}

// sweep sums up what has waited for long enough.
func (n *narset) sweep() {
	now, more := n.env.Clock.Monotonic(), false
	for _, name := range slices.Sorted(maps.Keys(n.regions)) {
		r := n.regions[name]
		switch {
		case r == nil || len(r.reports) == 0: // a failed log has taken it
		case now-r.since >= n.o.Wait:
			n.sum(name)
		default:
			more = true
		}
	}
	if more {
		n.env.Clock.SetTimer("sum", 0, n.o.Wait/4)
	}
}

// sum makes a summary of a region durable, acknowledges what is in it, and
// publishes it.
func (n *narset) sum(name string) {
	r := n.regions[name]
	delete(n.regions, name)
	n.count++
	s := summarize(fmt.Sprint("summary/", name, "/", n.env.Incarnation, "/", n.count), name, r.reports)
	err := n.journal.append(&statev2.NarsetRecord{Summary: s})
	if err == nil {
		err = n.journal.log.Sync()
	}
	if err != nil {
		n.failed()
		return
	}
	for i, a := range r.acks {
		delete(n.held, r.reports[i].id)
		n.in.Ack(&a.d, &a.e)
	}
	n.publish(s)
	if err := n.journal.trim(); err != nil {
		n.failed()
	}
}

func (n *narset) publish(s *operationsv2.RegionSummary) {
	n.box.Put(outbox.Letter{ID: s.SummaryId, Topic: summaries, Message: s, Yields: true, Options: actor.SendOptions{RunID: n.job.RunID, Epoch: s.LastEpoch},
		Done: func() {
			if n.journal.log == nil {
				return
			}
			// Not synced: losing it costs a copy, which the bus drops.
			if err := n.journal.append(&statev2.NarsetRecord{PublishedEventId: s.SummaryId}); err != nil {
				n.failed()
			}
		}})
}

// forward passes an emergency on as it is, before anything else is done.
func (n *narset) forward(from actor.ID, m *telemetryv2.EmergencyNotice) {
	e, _ := n.env.Net.Incoming()
	o := actor.SendOptions{Priority: envelopev2.Priority_EMERGENCY, RunID: n.job.RunID}
	if e != nil {
		o.CausationID = e.EventId
	}
	for _, to := range []actor.ID{n.job.Tamiyo, n.job.Nissa} {
		o.Key = "emergency/" + string(to) + "/" + m.NoticeId
		n.env.Net.Send(to, m, o)
	}
	n.origin = slices.DeleteFunc(n.origin, func(r raised) bool { return r.notice == m.NoticeId })
	n.origin = append(n.origin, raised{m.NoticeId, from})
	n.origin = n.origin[max(len(n.origin)-64, 0):]
}

// back carries an acknowledgement to who raised the emergency.
func (n *narset) back(m *pausev2.PauseAck) {
	for _, r := range n.origin {
		if r.notice == m.PauseId {
			n.env.Net.Send(r.by, m, actor.SendOptions{Key: "emergency-ack/" + m.Subsystem + "/" + m.PauseId})
		}
	}
}
