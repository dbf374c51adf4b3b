// Package elesh analyses structures for a pruning cycle: which of the candidates
// of one shard can go. It is a worker, one of several, and holds nothing over a
// restart: equal keys ask for the same work, and the work is a function of the
// request.
//
// A worker does one analysis at a time:
//
//	IDLE → ASSIGNED → RUNNING → DONE or FAILED
//
// A request that comes while it works is refused by silence, and asked again.
// What is past its deadline is answered with the reason for skipping it.
//
// The files: elesh.go handles mail, analysis.go is pure.
package elesh

import (
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	"github.com/esper-sim/espersim/gpu"
)

// Options of Elesh.
type Options struct {
	Limit      time.Duration `set:"limit" doc:"longest that an analysis may take"`
	Redundancy float64       `set:"redundancy" doc:"redundancy from which on a structure may go"`
}

// Defaults are the options of an Elesh that sets none.
func Defaults() *Options { return &Options{Limit: 30 * time.Second, Redundancy: 0.95} }

// remembered bounds the answers that are kept.
const remembered = 64

type elesh struct {
	env  actor.Env
	o    Options
	done []*pruningv2.StructuralAnalysisDecision // newest last
}

// New makes the constructor of a worker.
func New(_ *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) { return &elesh{env: env, o: o}, nil }
}

// Start implements actor.Actor.
func (*elesh) Start() error { return nil }

// Receive implements actor.Actor.
func (w *elesh) Receive(from actor.ID, m canon.Message) error {
	r, ok := m.(*pruningv2.StructuralAnalysisRequest)
	if !ok || r.IdempotencyKey == "" {
		return nil
	}
	for _, d := range w.done {
		if d.IdempotencyKey == r.IdempotencyKey {
			w.answer(from, d)
			return nil
		}
	}
	start := w.env.Clock.Monotonic()
	d := analyse(r, w.o.Redundancy)
	w.env.Clock.Work(gpu.Analysis, len(r.Candidates))
	took := w.env.Clock.Monotonic() - start
	d.AnalysisDuration = durations.From(took)
	if took > w.o.Limit {
		w.env.Probe.Reached("elesh/too-slow")
		d.Targets, d.SkippedReason = nil, "the analysis took too long"
	}
	if len(w.done) == remembered {
		w.done = append(w.done[:0], w.done[1:]...)
	}
	w.done = append(w.done, d)
	w.answer(from, d)
	return nil
}

func (w *elesh) answer(to actor.ID, d *pruningv2.StructuralAnalysisDecision) {
	w.env.Net.Send(to, d, actor.SendOptions{Key: "analysis/" + d.IdempotencyKey, CorrelationID: d.IdempotencyKey})
}
