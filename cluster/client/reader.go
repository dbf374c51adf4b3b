package client

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// ReaderOptions of a reader.
type ReaderOptions struct {
	Every time.Duration `set:"every" doc:"between two reads"`
	Wait  time.Duration `set:"wait" doc:"how long it waits for an answer before it reads anew"`
}

// ReaderDefaults are the options of a reader that sets none.
func ReaderDefaults() *ReaderOptions {
	return &ReaderOptions{Every: 200 * time.Millisecond, Wait: time.Second}
}

// reader reads the newest checkpoint as a register, one read at a time. A read
// whose answer does not come is given up, and may have happened or not; its
// query id is never used again.
type reader struct {
	env   actor.Env
	job   *job.Job
	o     ReaderOptions
	count int64
	open  string
}

// NewReader makes the constructor of a reader.
func NewReader(j *job.Job, o ReaderOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) { return &reader{env: env, job: j, o: o}, nil }
}

// Start implements actor.Actor.
func (r *reader) Start() error {
	r.env.Clock.SetTimer("read", 0, r.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (r *reader) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		r.count++
		r.open = fmt.Sprint(r.env.Self, "/", r.env.Incarnation, "/", r.count)
		r.env.Net.Send(r.job.Tolaria, &trainingv2.CheckpointQuery{QueryId: r.open}, actor.SendOptions{Key: fmt.Sprint("read/", r.count)})
		r.env.Clock.SetTimer("read", 0, r.o.Wait)
	case *trainingv2.CheckpointInfo:
		if m.QueryId == r.open && r.open != "" {
			r.open = ""
			r.env.Clock.SetTimer("read", 0, r.o.Every)
		}
	}
	return nil
}
