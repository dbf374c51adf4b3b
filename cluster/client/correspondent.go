package client

import (
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/policy"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
)

// CorrespondentOptions of a correspondent.
type CorrespondentOptions struct {
	Every time.Duration `set:"every" doc:"between two reports"`
	Count int           `set:"count" doc:"reports in all"`
	Wrong int           `set:"wrong" doc:"every so many-th report breaks a rule; 0: none"`
	Again int           `set:"again" doc:"every so many-th report is published as two events; 0: none"`
	Turn  time.Duration `set:"turn" doc:"when another kernel begins to be the best; 0: never"`
}

// CorrespondentDefaults are the options of a correspondent that sets none.
func CorrespondentDefaults() *CorrespondentOptions {
	return &CorrespondentOptions{Every: 50 * time.Millisecond, Count: 2000}
}

// correspondent makes up adaptations: in each situation one kernel nearly always
// succeeds, and the others seldom do. It chooses in turn, or as a policy says.
type correspondent struct {
	env    actor.Env
	job    *job.Job
	o      CorrespondentOptions
	in     *inbox.Box
	box    *outbox.Box
	holder *policy.Holder
	n      int64
	totals map[string]*innovationv2.PolicyVerdict
}

// NewCorrespondent makes the constructor of a correspondent.
func NewCorrespondent(j *job.Job, o CorrespondentOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &correspondent{env: env, job: j, o: o, in: inbox.New(env, j.Oona, string(env.Self), 16, "innovation.policy"), box: outbox.New(env, j.Oona, 4096),
			holder: policy.NewHolder(env, j.Simic), totals: map[string]*innovationv2.PolicyVerdict{}}, nil
	}
}

// Start implements actor.Actor.
func (r *correspondent) Start() error {
	r.in.Renew()
	r.env.Clock.SetTimer("report", 0, r.o.Every)
	r.env.Clock.SetTimer("tell", 0, time.Second)
	return nil
}

// Receive implements actor.Actor.
func (r *correspondent) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case outbox.Timer:
			r.box.Tick()
		case inbox.Timer:
			r.in.Renew()
		case "report":
			r.report()
		case "tell":
			r.tell()
		}
	case *busv2.PublishAck:
		r.box.Acked(m)
	case *busv2.Delivery:
		if e, p, ok := r.in.Open(m); ok {
			if u, ok := p.(*policyv2.PolicyUpdate); ok {
				r.holder.Announce(u)
			}
			r.in.Ack(m, e)
		}
	case *innovationv2.PolicyWeights:
		r.holder.Take(m)
	}
	return nil
}

// tell tells Simic what became of its policies' choices, and asks for weights
// that are missing.
func (r *correspondent) tell() {
	r.holder.Ask()
	for _, v := range r.holder.Versions() {
		if t := r.totals[v]; t != nil {
			r.env.Net.Send(r.job.Simic, t, actor.SendOptions{Key: fmt.Sprint("verdict/", v, "/", t.Decisions)})
		}
	}
	r.env.Clock.SetTimer("tell", 0, time.Second)
}

func (r *correspondent) random(what string) uint64 {
	return r.env.Rand.For(what, uint64(r.n), r.env.Incarnation)
}

// report makes up the next adaptation.
func (r *correspondent) report() {
	if r.n >= int64(r.o.Count) {
		return
	}
	r.n++
	seed := int32(1 + r.random("seed")%4)
	loss := 3 * float64(r.random("loss")>>11) / (1 << 53)
	kernels := r.job.KernelIDs()
	d := r.holder.Decide(policy.Features(loss, 1, seed), r.random("lot"), r.random("draw"))
	if d.Version == "" {
		d.Action = uint32(r.n) % uint32(len(kernels))
	}
	best := uint32(seed & 1)
	if r.o.Turn > 0 && r.env.Clock.Monotonic() >= r.o.Turn {
		best = 2
	}
	outcome, post := "CULLED", loss
	switch luck := r.random("luck") % 100; {
	case d.Action == best && luck < 95, luck < 20:
		outcome, post = "FOSSILIZED", loss*0.8
	case luck > 97:
		outcome = "ROLLED_BACK"
	}
	id := fmt.Sprint("report/", r.env.Self, "-", r.env.Incarnation, "-", r.n)
	m := &operationalv2.FieldReport{ReportId: id, BlueprintId: "blueprint/" + kernels[d.Action], KernelArtifactId: kernels[d.Action],
		SeedId: fmt.Sprint("1/", seed), PreMetric: loss, PostMetric: post, Outcome: outcome, Timestamp: timestamppb.New(r.env.Clock.Now())}
	if d.Version != "" {
		m.EvalMetrics = append(m.EvalMetrics, &operationalv2.EvaluationMetric{MetricName: "policy/" + d.Version, MetricValue: d.Likelihood})
		t := r.totals[d.Version]
		if t == nil {
			t = &innovationv2.PolicyVerdict{Version: strings.Clone(d.Version), Subsystem: "tamiyo"}
			r.totals[t.Version] = t
		}
		t.Decisions++
		if outcome == "FOSSILIZED" {
			t.Successes++
		}
	}
	if r.o.Wrong > 0 && r.n%int64(r.o.Wrong) == 0 {
		spoil(m, r.n/int64(r.o.Wrong))
	}
	r.post(id, m)
	if r.o.Again > 0 && r.n%int64(r.o.Again) == 0 {
		r.post(id+"/again", m)
	}
	r.env.Clock.SetTimer("report", 0, r.o.Every)
}

func (r *correspondent) post(event string, m *operationalv2.FieldReport) {
	r.box.Put(outbox.Letter{ID: event, Topic: "innovation.field_reports", Message: m,
		Options: actor.SendOptions{RunID: r.job.RunID, MaxAttempts: 10_000}})
}

// spoil has a report break a rule, another one each time.
func spoil(m *operationalv2.FieldReport, n int64) {
	switch n % 5 {
	case 0:
		m.Outcome = "PROSPERED"
	case 1:
		m.PreMetric = math.NaN()
	case 2:
		m.KernelArtifactId = "unknown"
	case 3:
		m.SeedId = "here"
	case 4:
		m.EvalMetrics = append(m.EvalMetrics, &operationalv2.EvaluationMetric{MetricName: "policy/none", MetricValue: 7})
	}
}
