package client

import (
	"fmt"
	"math"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
)

// StrategistOptions of a strategist.
type StrategistOptions struct {
	Every  time.Duration `set:"every" doc:"between two strategies"`
	Stages int           `set:"stages" doc:"how many stages it tells of, from 0 on"`
	Wrong  int           `set:"wrong" doc:"every so many-th strategy is none: without a name, of no stage, of no confidence; 0: none"`
}

// StrategistDefaults are the options of a strategist that sets none.
func StrategistDefaults() *StrategistOptions {
	return &StrategistOptions{Every: 2 * time.Second, Stages: 7}
}

// strategist tells Jace of strategies, in the place of Simic: stages that come
// and go, and some that are none.
type strategist struct {
	env actor.Env
	job *job.Job
	o   StrategistOptions
	box *outbox.Box
	n   int
}

// NewStrategist makes the constructor of a strategist.
func NewStrategist(j *job.Job, o StrategistOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &strategist{env: env, job: j, o: o, box: outbox.New(env, j.Oona, 64)}, nil
	}
}

// Start implements actor.Actor.
func (s *strategist) Start() error {
	s.env.Clock.SetTimer("tell", 0, s.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (s *strategist) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *busv2.PublishAck:
		s.box.Acked(m)
	case *localv2.TimerFired:
		if m.Name == outbox.Timer {
			s.box.Tick()
			return nil
		}
		s.tell()
		s.env.Clock.SetTimer("tell", 0, s.o.Every)
	}
	return nil
}

func (s *strategist) tell() {
	s.n++
	id := fmt.Sprint("strategy/", s.env.Self, "-", s.env.Incarnation, "-", s.n)
	m := &innovationv2.StrategyEvent{EventId: id, StrategyStage: uint32(s.env.Rand.For("stage", uint64(s.n), s.env.Incarnation) % uint64(max(s.o.Stages, 1))),
		Strategies: []string{"explore", "compare", "exploit"}[s.n%2 : 2+s.n%2], Confidence: float64(s.n%5) / 4}
	if s.o.Wrong > 0 && s.n%s.o.Wrong == 0 {
		switch s.n / s.o.Wrong % 6 {
		case 0:
			m.Strategies = nil
		case 1:
			m.Strategies = []string{"", ""}
		case 2:
			m.StrategyStage = 7
		case 3:
			m.StrategyStage = math.MaxUint32
		case 4:
			m.Confidence = math.NaN()
		case 5:
			m.Confidence = -3
		}
	}
	s.box.Put(outbox.Letter{ID: id, Topic: "innovation.strategy", Message: m, Tries: 10, Yields: true, Options: actor.SendOptions{RunID: s.job.RunID}})
}
