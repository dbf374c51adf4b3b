package simic

import (
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/auxiliary"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
)

// Subsystem is Simic's name in facts, and Group its consumer group.
const (
	Subsystem = "simic"
	Group     = "simic-trainer"
)

// The topics that Simic speaks and hears on.
const (
	reports    = "innovation.field_reports"
	curriculum = "innovation.curriculum"
	releases   = "innovation.policy"
	strategies = "innovation.strategy"
)

// inFlight is how many reports are taken in at once (card 04).
const inFlight = 100

// Budgets of card 04.
const (
	stepBudget     = 500 * time.Millisecond
	sampleBudget   = 50 * time.Millisecond
	validateBudget = time.Second
	reportBudget   = 20 * time.Millisecond
)

// Options of Simic.
type Options struct {
	Capacity   int           `set:"capacity" doc:"experiences that are kept"`
	TTL        time.Duration `set:"ttl" doc:"how long an experience may be trained on"`
	Cleanup    time.Duration `set:"cleanup" doc:"between two searches for expired experiences"`
	Min        int           `set:"min" doc:"experiences that there must be before any is sampled"`
	Batch      int           `set:"batch" doc:"experiences of a training step"`
	Every      time.Duration `set:"every" doc:"between two training steps"`
	Steps      int           `set:"steps" doc:"training steps between two candidates"`
	Linger     time.Duration `set:"linger" doc:"how long reports may wait for others to be made durable with"`
	Share      float64       `set:"share" doc:"share of Tamiyo's decisions that a test gets"`
	Test       time.Duration `set:"test" doc:"how long a test takes at least"`
	Decisions  int           `set:"decisions" doc:"outcomes that a test takes at least"`
	Success    float64       `set:"success" doc:"share of outcomes below which a policy is rolled back"`
	Stage      time.Duration `set:"stage" doc:"how long a policy is staged before it goes into production"`
	Regression float64       `set:"regression" doc:"share of its predecessor's reward that a policy may lose"`
	Segment    int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout    time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
	Reopen     time.Duration `set:"reopen" doc:"how long it waits before it opens a log anew that failed"`
}

// Defaults are the options of a Simic that sets none.
func Defaults() *Options {
	return &Options{Capacity: 100_000, TTL: time.Hour, Cleanup: 100 * time.Second, Min: 1000, Batch: 32, Every: time.Second, Steps: 100,
		Linger: 50 * time.Millisecond, Share: 0.1, Test: 24 * time.Hour, Decisions: 100, Success: 0.8, Stage: time.Minute, Regression: 0.05,
		Segment: 256 << 10, Timeout: 500 * time.Millisecond, Reopen: 200 * time.Millisecond}
}

type simic struct {
	env     actor.Env
	job     *job.Job
	o       Options
	in      *inbox.Box
	box     *outbox.Box
	journal journal
	back    *auxiliary.Party

	waiting []*taken                 // reports that are not acknowledged: they wait for a sync, or for the disk
	entered map[string]time.Duration // since when a policy stands in its stage, in this life
	told    int                      // strategy stage that was told last
	word    uint64                   // how many times one was told, in this life

	curriculum   policyv2.CurriculumMode // Jace's, as it said last in this life
	breakers     map[string]*breaker.Breaker
	conservative bool
}

// breakerNames are Simic's breakers in the order in which they are looked at.
var breakerNames = []string{"training", "storage", "sampling", "report_processing"}

// New makes the constructor of Simic.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		s := &simic{env: env, job: j, o: o, in: inbox.New(env, j.Oona, Group, inFlight, reports, curriculum), box: outbox.New(env, j.Oona, 64),
			entered: map[string]time.Duration{}, told: -1, breakers: map[string]*breaker.Breaker{}}
		s.journal = journal{env: env, o: &s.o}
		s.journal.clear()
		s.back = auxiliary.New(env, j.Tolaria, Subsystem, s.goBack)
		for _, name := range breakerNames {
			row, _ := breaker.Find(Subsystem, name)
			b, err := breaker.New(row, func(t breaker.Transition) {
				env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: t.ID, From: t.From.String(), To: t.To.String()})
			})
			if err != nil {
				return nil, err
			}
			s.breakers[name] = b
		}
		return s, nil
	}
}

// Start opens the log. A disk that does not answer does not end the process:
// reports are taken in once it does.
func (s *simic) Start() error {
	s.open()
	s.in.Renew()
	s.back.Start()
	s.env.Clock.SetTimer("train", 0, s.o.Every)
	s.env.Clock.SetTimer("release", 0, time.Second)
	s.env.Clock.SetTimer("cleanup", 0, s.o.Cleanup)
	s.env.Clock.SetTimer("strategy", 0, strategyEvery)
	return nil
}

// open opens the log and takes up what was not finished. The storage breaker
// bounds how often that is tried.
func (s *simic) open() {
	t, ok := s.breakers["storage"].Allow(s.env.Clock.Monotonic())
	if ok {
		ok = s.journal.open()
		s.breakers["storage"].Done(s.env.Clock.Monotonic(), t, ok)
	}
	if !ok {
		if s.journal.refused == nil {
			s.env.Clock.SetTimer("reopen", 0, s.o.Reopen)
		}
		return
	}
	clear(s.entered)
	for _, p := range s.journal.policies {
		s.declare(p, p.Stage)
	}
	s.announce()
	s.strategy(true)
	s.takeIn()
}

// Receive implements actor.Actor.
func (s *simic) Receive(from actor.ID, m canon.Message) error {
	if s.back.Receive(from, m) {
		return nil
	}
	switch m := m.(type) {
	case *localv2.TimerFired:
		s.timer(m.Name)
	case *busv2.Delivery:
		s.deliver(m)
	case *busv2.PublishAck:
		s.box.Acked(m)
	case *innovationv2.FetchPolicy:
		s.fetch(from, m)
	case *innovationv2.PolicyVerdict:
		s.verdict(from, m)
	}
	return nil
}

func (s *simic) timer(name string) {
	switch name {
	case outbox.Timer:
		s.box.Tick()
	case inbox.Timer:
		s.in.Renew()
	case "reopen":
		if s.journal.log == nil {
			s.open()
		}
	case "flush":
		s.flush()
	case "train":
		s.train()
		s.env.Clock.SetTimer("train", 0, s.pace())
	case "release":
		s.progress()
		s.mode()
		s.env.Clock.SetTimer("release", 0, time.Second)
	case "strategy":
		if s.journal.log != nil {
			s.strategy(true)
		}
		s.env.Clock.SetTimer("strategy", 0, strategyEvery)
	case "cleanup":
		s.journal.buffer.expire(s.env.Clock.Monotonic())
		if !s.journal.trim() {
			s.lost()
		}
		s.env.Clock.SetTimer("cleanup", 0, s.o.Cleanup)
	}
}

func (s *simic) deliver(d *busv2.Delivery) {
	e, m, ok := s.in.Open(d)
	if !ok {
		return
	}
	switch m := m.(type) {
	case *operationalv2.FieldReport:
		s.report(d, e, m)
	case *policyv2.CurriculumDecision:
		s.follow(m)
		s.in.Ack(d, e)
	default:
		s.in.Ack(d, e)
	}
}

// lost is called when the log has failed: what was noted and not made durable is
// taken in again once it is open.
func (s *simic) lost() {
	t, ok := s.breakers["storage"].Allow(s.env.Clock.Monotonic())
	if ok {
		s.breakers["storage"].Done(s.env.Clock.Monotonic(), t, false)
	}
	s.env.Clock.SetTimer("reopen", 0, s.o.Reopen)
}

// guarded runs work under a breaker, and counts it as failed if it says so or
// takes longer than its budget.
func (s *simic) guarded(name string, budget time.Duration, work func() bool) bool {
	b := s.breakers[name]
	start := s.env.Clock.Monotonic()
	t, ok := b.Allow(start)
	if !ok {
		return false
	}
	ok = work()
	end := s.env.Clock.Monotonic()
	b.Done(end, t, ok && end-start <= budget)
	return ok
}

// mode enters or leaves conservative mode: batches of half the size while any
// breaker is not closed.
func (s *simic) mode() {
	on, why := false, ""
	for _, name := range breakerNames {
		if s.breakers[name].State(s.env.Clock.Monotonic()) != breaker.Closed {
			on, why = true, "the breaker "+name+" is not closed"
			break
		}
	}
	if on == s.conservative {
		return
	}
	s.conservative = on
	f := &evidencev2.ModeFact{Subsystem: Subsystem, From: "NORMAL", To: "CONSERVATIVE", Reason: why}
	if !on {
		f.From, f.To = f.To, f.From
	}
	s.env.Facts.Record(f)
}
