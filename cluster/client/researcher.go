package client

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
)

// ResearcherOptions of a researcher.
type ResearcherOptions struct {
	Every time.Duration `set:"every" doc:"between two questions"`
	Wait  time.Duration `set:"wait" doc:"how long it waits for an answer before it asks something else"`
	Count int           `set:"count" doc:"assets of donors that it asks about"`
}

// ResearcherDefaults are the options of a researcher that sets none.
func ResearcherDefaults() *ResearcherOptions {
	return &ResearcherOptions{Every: 60 * time.Millisecond, Wait: 800 * time.Millisecond, Count: 50}
}

// researcher asks the asset library, one question at a time: for kernels by
// tags and limits, page by page; for a kernel's bytes; for a blueprint with its
// variants. A question whose answer does not come is given up, and its id is
// never used again.
type researcher struct {
	env   actor.Env
	job   *job.Job
	o     ResearcherOptions
	count int64
	open  string
	query operationalv2.KernelQuery
}

// NewResearcher makes the constructor of a researcher.
func NewResearcher(j *job.Job, o ResearcherOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) { return &researcher{env: env, job: j, o: o}, nil }
}

// Start implements actor.Actor.
func (r *researcher) Start() error {
	r.env.Clock.SetTimer("ask", 0, r.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (r *researcher) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		r.ask()
	case *operationalv2.KernelQueryResult:
		if m.QueryId != r.open {
			break
		}
		if m.NextPageToken != "" {
			r.query.PageToken = m.NextPageToken
			r.send(&r.query)
			break
		}
		r.answered(m.QueryId)
	case *assetsv2.FetchKernelReply:
		r.answered(m.RequestId)
	case *assetsv2.FetchBlueprintReply:
		r.answered(m.RequestId)
	}
	return nil
}

func (r *researcher) answered(id string) {
	if id == r.open && id != "" {
		r.open = ""
		r.env.Clock.SetTimer("ask", 0, r.o.Every)
	}
}

// ask asks the next question. Which one is a function of its number.
func (r *researcher) ask() {
	draw := r.env.Rand.For("question", uint64(r.count), r.env.Incarnation)
	n := 1 + int(draw>>8)%max(r.o.Count, 1)
	switch draw % 4 {
	case 0:
		r.send(&assetsv2.FetchKernel{KernelArtifactId: KernelOf(n)})
	case 1:
		r.send(&assetsv2.FetchBlueprint{BlueprintId: DesignID(n), WithIr: draw&64 != 0})
	default:
		r.query = operationalv2.KernelQuery{PreferredTags: []string{"rank-1"}, Limit: 4}
		if draw&1024 != 0 {
			r.query.RequiredTags = []string{"dense"}
		}
		if draw&2048 != 0 {
			r.query.ExcludedTags = []string{"rank-2"}
		}
		if draw&4096 != 0 {
			latency := int32(3)
			r.query.MaxLatencyMs = &latency
		}
		if draw&8192 != 0 {
			memory := int32(5)
			r.query.MaxMemoryMb = &memory
		}
		if draw&16384 != 0 {
			r.query.BlueprintId = DesignID(n)
		}
		if draw&32768 != 0 {
			r.query.TargetGpuArch = "h100"
		}
		r.send(&r.query)
	}
}

func (r *researcher) send(m canon.Message) {
	r.count++
	r.open = fmt.Sprint(r.env.Self, "/", r.env.Incarnation, "/", r.count)
	switch m := m.(type) {
	case *assetsv2.FetchKernel:
		m.RequestId = r.open
	case *assetsv2.FetchBlueprint:
		m.RequestId = r.open
	case *operationalv2.KernelQuery:
		m.QueryId = r.open
	}
	r.env.Net.Send(r.job.Urza, m, actor.SendOptions{Key: fmt.Sprint("question/", r.count)})
	r.env.Clock.SetTimer("ask", 0, r.o.Wait)
}
