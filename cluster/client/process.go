package client

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/contract"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
)

// ProcessOptions of a process.
type ProcessOptions struct {
	Every time.Duration `set:"every" doc:"between two reports"`
	Wrong time.Duration `set:"wrong" doc:"how long after its start its descriptor set is another one; 0: never"`
	For   time.Duration `set:"for" doc:"for how long it is"`
}

// ProcessDefaults are the options of a process that sets none.
func ProcessDefaults() *ProcessOptions {
	return &ProcessOptions{Every: time.Second, For: 8 * time.Second}
}

// process tells Leyline what it speaks. For a while it tells the digest of schemas
// that somebody has changed.
type process struct {
	env     actor.Env
	job     *job.Job
	o       ProcessOptions
	digest  []byte
	n       int
	started time.Duration
}

// NewProcess makes the constructor of a process.
func NewProcess(j *job.Job, o ProcessOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		t, err := contract.Load()
		return &process{env: env, job: j, o: o, digest: t.Digest(env.Schema)}, err
	}
}

// Start implements actor.Actor.
func (p *process) Start() error {
	p.started = p.env.Clock.Monotonic()
	p.env.Clock.SetTimer("tell", 0, p.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (p *process) Receive(_ actor.ID, m canon.Message) error {
	if _, ok := m.(*localv2.TimerFired); !ok {
		return nil
	}
	p.n++
	digest := append([]byte(nil), p.digest...)
	life := p.env.Clock.Monotonic() - p.started
	if p.o.Wrong > 0 && life >= p.o.Wrong && life < p.o.Wrong+p.o.For && len(digest) > 0 {
		digest[0] ^= 1
	}
	id := fmt.Sprint("version/", p.env.Self, "/", p.env.Incarnation, "/", p.n)
	p.env.Net.Send(p.job.Leyline, &operationsv2.VersionQuery{QueryId: id, Subsystem: string(p.env.Self), SchemaMajor: p.env.Schema.Major, SchemaMinor: p.env.Schema.Minor,
		DescriptorSetSha256: digest}, actor.SendOptions{Key: id})
	p.env.Clock.SetTimer("tell", 0, p.o.Every)
	return nil
}
