package jace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	"github.com/esper-sim/espersim/gpu"
)

// Subsystem is Jace's name in facts, and its consumer group.
const Subsystem = "jace"

// The topics that Jace speaks and hears on.
const (
	epochs     = "system.events.epoch"
	strategies = "innovation.strategy"
	releases   = "innovation.policy"
	decisions  = "innovation.curriculum"
)

// opBudget is card 11's: 18 ms a decision.
const opBudget = 18 * time.Millisecond

// Options of Jace.
type Options struct {
	Memory  int           `set:"memory" doc:"bytes that the decision caches may take"`
	Stall   time.Duration `set:"stall" doc:"how long no epoch may come before the curriculum counts as stalled"`
	Silence time.Duration `set:"silence" doc:"how long Simic's word on its strategies is believed"`
	Verify  time.Duration `set:"verify" doc:"between two readings of the matrix"`
	Timeout time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
}

// Defaults are the options of a Jace that sets none.
func Defaults() *Options {
	return &Options{Memory: 512 << 20, Stall: 10 * time.Second, Silence: 5 * time.Minute, Verify: 5 * time.Second, Timeout: 500 * time.Millisecond}
}

type jace struct {
	env actor.Env
	job *job.Job
	o   Options
	in  *inbox.Box
	box *outbox.Box

	matrix  *matrix // nil: there is none
	cache   cache
	breaker *breaker.Breaker
	budgets []*budget

	epoch      int64
	epochAt    time.Duration
	heard      bool // an epoch, in this life
	strategy   innovationv2.StrategyEvent
	strategyAt time.Duration
	told       bool // of a strategy, in this life
	n          uint64

	cautious bool
	calmAt   time.Duration
}

// New makes the constructor of Jace.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		row, _ := breaker.Find(Subsystem, "default")
		b, err := breaker.New(row, func(t breaker.Transition) {
			env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: t.ID, From: t.From.String(), To: t.To.String()})
		})
		return &jace{env: env, job: j, o: o, in: inbox.New(env, j.Oona, Subsystem, 32, epochs, strategies, releases),
			box: outbox.New(env, j.Oona, 64), breaker: b, budgets: budgets()}, err
	}
}

// Start implements actor.Actor.
func (j *jace) Start() error {
	j.load()
	j.in.Renew()
	j.env.Clock.SetTimer("verify", 0, j.o.Verify)
	j.env.Clock.SetTimer("stall", 0, j.o.Stall)
	return nil
}

// Receive implements actor.Actor.
func (j *jace) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case outbox.Timer:
			j.box.Tick()
		case inbox.Timer:
			j.in.Renew()
		case "verify":
			j.load()
			j.review()
			j.env.Clock.SetTimer("verify", 0, j.o.Verify)
		case "stall":
			j.decide()
			j.env.Clock.SetTimer("stall", 0, j.o.Stall)
		}
	case *busv2.PublishAck:
		j.box.Acked(m)
	case *busv2.Delivery:
		if e, p, ok := j.in.Open(m); ok {
			j.hear(p)
			j.in.Ack(m, e)
		}
	}
	return nil
}

// hear takes in where the curricula stand. Nothing of it is kept over a restart:
// the next epoch says it again, and until then decisions fall back.
func (j *jace) hear(m canon.Message) {
	now := j.env.Clock.Monotonic()
	switch m := m.(type) {
	case *eventsv2.EpochEvent:
		if m.Phase != eventsv2.EpochPhase_COMPLETED {
			return
		}
		j.epoch, j.epochAt, j.heard = m.Epoch, now, true
		j.env.Clock.SetTimer("stall", 0, j.o.Stall)
		j.decide()
	case *innovationv2.StrategyEvent:
		s := &j.strategy
		s.StrategyStage, s.Confidence, s.Strategies = m.StrategyStage, m.Confidence, s.Strategies[:0]
		for _, n := range m.Strategies {
			s.Strategies = append(s.Strategies, strings.Clone(n))
		}
		j.strategyAt, j.told = now, true
		j.decide()
	case *policyv2.PolicyUpdate:
		// A release is progress that Simic's own stage follows.
		j.strategyAt = now
	}
}

// situation is how things stand.
func (j *jace) situation() *situation {
	now := j.env.Clock.Monotonic()
	return &situation{task: taskStage(j.epoch), strategy: j.strategy.StrategyStage, strategies: j.strategy.Strategies, confidence: j.strategy.Confidence,
		matrix: j.matrix, stalled: !j.heard || now-j.epochAt >= j.o.Stall, silent: !j.told || now-j.strategyAt >= j.o.Silence, cautious: j.cautious}
}

// decide decides and publishes. A decision that takes longer than its budget
// counts as failed, and is replaced by the fallback: it comes too late for what
// it was made for.
func (j *jace) decide() {
	s := j.situation()
	start := j.env.Clock.Monotonic()
	t, ok := j.breaker.Allow(start)
	v := decide(&situation{refused: true})
	intime := true
	if ok {
		v = j.remembered(s)
		end := j.env.Clock.Monotonic()
		intime = end-start <= opBudget
		j.breaker.Done(end, t, intime)
		if !intime {
			v = fallback("the decision took too long")
		}
	}
	j.budgets[0].count(intime)
	j.budgets[1].count(ok && intime && s.matrix != nil)
	j.budgets[2].count(v.fallback == "" || s.stalled || s.silent)
	j.publish(s, v)
}

// remembered decides, or finds what was decided in the same situation.
func (j *jace) remembered(s *situation) verdict {
	if s.matrix == nil || s.stalled || s.silent {
		return decide(s)
	}
	key := fmt.Sprintf("%d/%d/%t/%g/%q", s.task, s.strategy, s.cautious, s.confidence, s.strategies)
	if v, ok := j.cache.find(key); ok {
		return v
	}
	j.env.Clock.Work(gpu.Curriculum, 1)
	v := decide(s)
	j.cache.put(cached{key, v})
	if j.cache.bytes() > j.o.Memory {
		j.env.Probe.Reached("jace/memory")
		j.cache.shrink()
	}
	return v
}

func (j *jace) publish(s *situation, v verdict) {
	j.n++
	if v.fallback == "" && j.env.Incarnation > 1 {
		j.env.Probe.Reached("jace/told-again")
	}
	id := fmt.Sprint("curriculum/", j.env.Incarnation, "/", j.n)
	j.box.Put(outbox.Letter{ID: id, Topic: decisions, Tries: 3, Options: actor.SendOptions{RunID: j.job.RunID, Epoch: j.epoch},
		Message: &policyv2.CurriculumDecision{DecisionId: id, Mode: v.mode, Strategies: slices.Clone(v.strategies), Confidence: v.confidence,
			Fallback: v.fallback != "", TaskStage: s.task, StrategyStage: min(s.strategy, Stages-1)}})
}

// review enters caution when a budget is used up, and leaves it when things have
// been well for a while.
func (j *jace) review() {
	now := j.env.Clock.Monotonic()
	spent := ""
	for _, b := range j.budgets {
		if b.evaluate() {
			spent = b.name
		}
	}
	closed := j.breaker.State(now) == breaker.Closed
	switch {
	case !j.cautious && spent != "" && now >= j.calmAt:
		j.mode(true, "the budget of "+spent+" is used")
		j.calmAt = now + cooldown
	case j.cautious && closed && now >= j.calmAt:
		j.mode(false, "it has been calm")
		j.budgets, j.calmAt = budgets(), now+cooldown
	}
}

func (j *jace) mode(on bool, why string) {
	j.cautious = on
	f := &evidencev2.ModeFact{Subsystem: Subsystem, From: "NORMAL", To: "CONSERVATIVE", Reason: why}
	if !on {
		f.From, f.To = f.To, f.From
	}
	j.env.Facts.Record(f)
}
