package client

import (
	"fmt"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
)

// SparseOptions of a participant in pruning.
type SparseOptions struct {
	Load  time.Duration `set:"load" doc:"between two loads of a checkpoint"`
	Spoil int           `set:"spoil" doc:"every so many-th mask costs accuracy; 0: none"`
}

// SparseDefaults are the options of a participant that sets none.
func SparseDefaults() *SparseOptions { return &SparseOptions{Load: 3 * time.Second} }

// sparse has structures that can be masked. A mask waits until the next load of
// a checkpoint.
type sparse struct {
	env     actor.Env
	job     *job.Job
	o       SparseOptions
	waiting *pruningv2.PruningMask
	done    string          // key of the mask that was applied last
	past    map[string]bool // masks that came, and those that were taken back
	n       int
	drop    float64
}

// NewSparse makes the constructor of a participant in pruning.
func NewSparse(j *job.Job, o SparseOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &sparse{env: env, job: j, o: o, past: map[string]bool{}}, nil
	}
}

// Start implements actor.Actor.
func (s *sparse) Start() error {
	s.env.Clock.SetTimer("load", 0, s.o.Load)
	s.env.Clock.SetTimer("watch", 0, time.Second)
	return nil
}

// structures lists everything that could be masked, the same in each life.
func (s *sparse) structures() (list []*pruningv2.PruningTarget) {
	add := func(parameter int, structure string, n int) {
		for i := range n {
			r := float64(s.env.Rand.For("redundancy/"+structure, uint64(parameter), uint64(i))>>11) / (1 << 53)
			list = append(list, &pruningv2.PruningTarget{ParameterId: fmt.Sprint("p", parameter), Structure: structure, Index: int32(i), Redundancy: 0.8 + r/5})
		}
	}
	for p := range 20 {
		add(p, "channel", 24)
		add(p, "head", 4)
	}
	for p := range 20 {
		add(100+p, "layer", 1)
	}
	return list
}

// Receive implements actor.Actor.
func (s *sparse) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *pruningv2.StatisticsRequest:
		s.env.Net.Send(from, &pruningv2.StatisticsReply{IdempotencyKey: m.IdempotencyKey, CheckpointId: m.CheckpointId, Candidates: s.structures()},
			actor.SendOptions{Key: "statistics/" + m.IdempotencyKey})
	case *pruningv2.PruningMask:
		if m.IdempotencyKey == s.done {
			s.tell(0)
			break
		}
		w := new(pruningv2.PruningMask)
		if err := w.ParseCanonical(m.AppendCanonical(nil)); err == nil && !s.past[w.IdempotencyKey] {
			// One that was taken back must not come into force by a late copy.
			s.past[w.IdempotencyKey] = true
			s.past[strings.TrimSuffix(w.IdempotencyKey, ":back")] = true
			s.waiting = w
		}
	case *localv2.TimerFired:
		if m.Name == "watch" {
			if s.drop > 0 {
				s.tell(s.drop)
			}
			s.env.Clock.SetTimer("watch", 0, time.Second)
			break
		}
		s.load()
		s.env.Clock.SetTimer("load", 0, s.o.Load)
	}
	return nil
}

// load loads a checkpoint, and applies the mask that waits.
func (s *sparse) load() {
	tell := func(state string) {
		f := &evidencev2.PruningFact{Subsystem: string(s.env.Self), State: state}
		if s.waiting != nil {
			f.IdempotencyKey, f.CheckpointId, f.Epoch, f.Ratio = s.waiting.IdempotencyKey, s.waiting.CheckpointId, s.waiting.Epoch, s.waiting.Ratio
		}
		s.env.Facts.Record(f)
	}
	tell("LOADED")
	if s.waiting == nil {
		return
	}
	tell("MASKED")
	s.n++
	s.done, s.waiting, s.drop = s.waiting.IdempotencyKey, nil, 0
	if s.o.Spoil > 0 && s.n%s.o.Spoil == 0 {
		s.drop = 0.05
	}
	s.tell(0)
}

func (s *sparse) tell(drop float64) {
	s.env.Net.Send(s.job.Emrakul, &pruningv2.PruningOutcome{IdempotencyKey: s.done, Subsystem: string(s.env.Self), Applied: true, AccuracyDrop: drop},
		actor.SendOptions{Key: fmt.Sprint("outcome/", s.done, "/", drop)})
}

// ExaminerOptions of an examiner.
type ExaminerOptions struct {
	Strict int `set:"strict" doc:"every so many-th verdict is a NO_GO, and the one before it conditional; 0: all are a GO"`
}

// ExaminerDefaults are the options of an examiner that sets none.
func ExaminerDefaults() *ExaminerOptions { return &ExaminerOptions{Strict: 4} }

type examiner struct {
	env actor.Env
	o   ExaminerOptions
	n   int
	key string
}

// NewExaminer makes the constructor of an examiner.
func NewExaminer(o ExaminerOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) { return &examiner{env: env, o: o}, nil }
}

// Start implements actor.Actor.
func (*examiner) Start() error { return nil }

// Receive implements actor.Actor.
func (x *examiner) Receive(from actor.ID, m canon.Message) error {
	r, ok := m.(*pruningv2.PruningValidation)
	if !ok {
		return nil
	}
	if x.key != r.IdempotencyKey {
		x.n++
		x.key = string([]byte(r.IdempotencyKey))
	}
	a := &pruningv2.PruningValidation{IdempotencyKey: r.IdempotencyKey, CheckpointId: r.CheckpointId, Verdict: pruningv2.PruningVerdict_GO}
	if x.o.Strict > 0 {
		switch x.n % x.o.Strict {
		case 0:
			a.Verdict, a.Reason = pruningv2.PruningVerdict_NO_GO, "too much at once"
		case x.o.Strict - 1:
			a.Verdict = pruningv2.PruningVerdict_CONDITIONAL_GO
		}
	}
	x.env.Net.Send(from, a, actor.SendOptions{Key: "verdict/" + r.IdempotencyKey})
	return nil
}
