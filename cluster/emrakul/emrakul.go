// Package emrakul coordinates the pruning of checkpoints: statistics from the
// participant that holds the structures, which is Kasmina, analysis by Elesh's
// workers, a verdict of Urabrask's, and masks, which Tolaria applies when training
// goes on from a checkpoint.
//
//	IDLE → COLLECTING → ANALYSING → AGGREGATING → VALIDATING → APPLYING → MONITORING → IDLE
//
// and from each of them to SKIPPED, or, once a mask is out, to ROLLING_BACK. The
// state is logged before anything follows from it. A restart skips a cycle that
// had no verdict yet, and goes on with one whose mask is out.
//
// What it promises: no mask before epoch 31 or from 121 on, none without a GO,
// none beyond the limits and floors; every cycle ends applied, skipped or rolled
// back; no checkpoint waits for any of it. Structures are masked, never removed:
// a mask that costs accuracy is taken back.
//
// Choices: limits are the stricter of cards 12 and 13; a CONDITIONAL_GO is for
// half of what was asked; a shard whose worker does not answer is left out, and
// three cycles in a row that fail open a breaker.
//
// The files: emrakul.go handles mail, cycle.go drives a cycle, plan.go is pure.
package emrakul

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/auxiliary"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// Subsystem is Emrakul's name in facts, and its consumer group.
const Subsystem = "emrakul"

// Options of Emrakul.
type Options struct {
	Participant string        `set:"participant" doc:"node that measures the structures and masks them; empty: Kasmina measures, Tolaria masks"`
	Workers     int           `set:"workers" doc:"workers: elesh-1 and so on"`
	Collect     time.Duration `set:"collect" doc:"longest that the statistics may take"`
	Analyse     time.Duration `set:"analyse" doc:"longest that the analysis may take, all workers together"`
	Validate    time.Duration `set:"validate" doc:"longest that Urabrask's verdict may take"`
	Apply       time.Duration `set:"apply" doc:"longest that a participant may take to load a checkpoint with a mask"`
	Monitor     time.Duration `set:"monitor" doc:"how long a mask is watched"`
	Drop        float64       `set:"drop" doc:"drop of the accuracy that takes a mask back"`
	Segment     int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout     time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
}

// Defaults are the options of an Emrakul that sets none.
func Defaults() *Options {
	return &Options{Workers: 4, Collect: 10 * time.Second, Analyse: 5 * time.Minute, Validate: 60 * time.Second, Apply: 2 * time.Minute,
		Monitor: 30 * time.Second, Drop: 0.02, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

type emrakul struct {
	env actor.Env
	job *job.Job
	o   Options
	in  *inbox.Box

	measures, masks actor.ID // who has the structures, and who masks them

	back *auxiliary.Party

	log     *wal.Log
	refused error
	buf     []byte

	now     *statev2.PruningRecord // the cycle, as it was logged last
	applied *pruningv2.PruningMask // in force at the participant, as far as is known
	before  *pruningv2.PruningMask // in force before the mask that is out
	kept    kept
	breaker *breaker.Breaker
	ticket  breaker.Ticket
	work    work
}

// New makes the constructor of Emrakul.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		measures, masks := actor.ID(o.Participant), actor.ID(o.Participant)
		if o.Participant == "" {
			measures, masks = j.Kasmina, j.Tolaria
		}
		o.Workers = max(o.Workers, 1)
		// Three failures in a row (card 12), which the table of the companions
		// does not have.
		b, err := breaker.New(breaker.Settings{Owner: Subsystem, Name: "cycle", Failures: 3, Recovery: time.Minute, Probes: 1, Successes: 1}, func(t breaker.Transition) {
			env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: t.ID, From: t.From.String(), To: t.To.String()})
		})
		m := &emrakul{measures: measures, masks: masks, env: env, job: j, o: o, breaker: b, in: inbox.New(env, j.Oona, Subsystem, 16, "system.events.epoch")}
		m.back = auxiliary.New(env, j.Tolaria, Subsystem, m.goBack)
		return m, err
	}
}

// Start implements actor.Actor.
func (m *emrakul) Start() error {
	m.open()
	m.in.Renew()
	m.back.Start()
	m.env.Clock.SetTimer("tick", 0, every)
	return nil
}

// open reads the log and takes up the cycle that it ends with.
func (m *emrakul) open() {
	m.log, m.now, m.applied, m.before, m.work, m.kept = nil, nil, nil, nil, work{}, kept{}
	if m.refused != nil {
		return
	}
	log, err := wal.Open(m.env.FS, Subsystem, wal.Options{Firm: true, SegmentSize: int64(m.o.Segment), Deadline: m.o.Timeout, Clock: m.env.Clock,
		Probe: m.env.Probe, Facts: command.LogFacts(m.env.Facts, string(m.env.Self)),
		Replay: func(r wal.Record) error {
			p := new(statev2.PruningRecord)
			if err := p.ParseCanonical(append([]byte(nil), r.Payload...)); err != nil {
				return &wal.CorruptionError{LSN: r.LSN, Reason: "it is no record of Emrakul's", Err: err}
			}
			m.enter(p, r.LSN)
			return nil
		}})
	var damage *wal.CorruptionError
	if errors.As(err, &damage) {
		m.refused = err
	}
	if err != nil {
		return
	}
	m.log = log
	m.resume()
}

// enter takes a record in.
func (m *emrakul) enter(p *statev2.PruningRecord, at wal.LSN) {
	m.kept.enter(p.State, at)
	switch p.State {
	case applying:
		m.before = m.applied
		m.applied = p.Mask
	case rollingBack:
		m.applied = p.Mask
	}
	m.now = p
}

// write logs where the cycle stands, and tells of it. false: it is not known to
// stand there, and nothing may follow.
func (m *emrakul) write(p *statev2.PruningRecord) bool {
	if m.log == nil {
		return false
	}
	m.buf = p.AppendCanonical(m.buf[:0])
	at, err := m.log.Append(1, p.Epoch, m.buf)
	if err == nil {
		err = m.log.Sync()
	}
	if err != nil {
		m.env.Probe.Reached("emrakul/reopen")
		m.log = nil // the next tick opens it anew
		return false
	}
	m.enter(p, at)
	m.trim()
	m.env.Facts.Record(&evidencev2.PruningFact{IdempotencyKey: p.IdempotencyKey, Subsystem: Subsystem, State: p.State, CheckpointId: p.CheckpointId,
		Epoch: p.Epoch, Ratio: p.Mask.GetRatio(), Reason: p.Reason})
	return true
}

// Receive implements actor.Actor.
func (m *emrakul) Receive(from actor.ID, msg canon.Message) error {
	if m.back.Receive(from, msg) {
		return nil
	}
	switch x := msg.(type) {
	case *localv2.TimerFired:
		if x.Name == inbox.Timer {
			m.in.Renew()
			return nil
		}
		if m.log == nil {
			m.open()
		}
		m.tick()
		m.env.Clock.SetTimer("tick", 0, every)
	case *busv2.Delivery:
		e, p, ok := m.in.Open(x)
		if !ok {
			return nil
		}
		// Where an event names no checkpoint, the rhythm of the job says when one
		// is made, and its epoch is its name.
		ev, ok := p.(*eventsv2.EpochEvent)
		if ok && !m.back.Event(ev) {
			return nil // it comes again
		}
		if ok && ev.Phase == eventsv2.EpochPhase_COMPLETED {
			if ev.CheckpointId != "" {
				m.begin(strings.Clone(ev.CheckpointId), ev.Epoch, ev.RollbackGeneration)
			} else if ev.Epoch%int64(max(m.job.Checkpoint, 1)) == 0 {
				m.begin(fmt.Sprint("epoch-", ev.Epoch), ev.Epoch, ev.RollbackGeneration)
			}
		}
		m.in.Ack(x, e)
	case *pruningv2.StatisticsReply:
		m.collected(from, x)
	case *pruningv2.StructuralAnalysisDecision:
		m.analysed(from, x)
	case *pruningv2.PruningValidation:
		m.validated(from, x)
	case *pruningv2.PruningOutcome:
		m.outcome(from, x)
	}
	return nil
}

// key is the idempotency key of a cycle.
func (m *emrakul) key(checkpoint string, epoch int64, generation uint32) string {
	return fmt.Sprintf("%d:%s:%s-%d", epoch, checkpoint, m.job.RunID, generation)
}
