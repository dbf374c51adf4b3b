package karn

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/assets"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/journal"
	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// Subsystem is Karn's name in messages and facts, and its consumer group.
const Subsystem = "karn"

// Options of Karn.
type Options struct {
	Every    time.Duration `set:"every" doc:"between two designs that nobody asked for; 36m is 40 a day"`
	Count    int           `set:"count" doc:"most designs that nobody asked for; 0: no limit"`
	Reply    time.Duration `set:"reply" doc:"how long a request waits for the library before it is answered by a fallback"`
	Hardware string        `set:"hardware" doc:"what the designs are to be compiled for"`
	Segment  int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout  time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
}

// Defaults are the options of a Karn that sets none.
func Defaults() *Options {
	return &Options{Every: 36 * time.Minute, Reply: 800 * time.Millisecond, Hardware: "h100", Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

// patience is how long the library may be silent before that is a failure.
const patience = 3 * time.Second

// waiter is a request that is not answered.
type waiter struct {
	request string
	from    actor.ID
	risk    float64
	since   time.Duration
}

type karn struct {
	env     actor.Env
	job     *job.Job
	o       Options
	width   int // of the layers that designs are for
	in      *inbox.Box
	library *assets.Client
	log     *journal.Log
	breaker *breaker.Breaker
	m       memory

	tickets   map[string]breaker.Ticket // of designs on their way to the library
	began     map[string]time.Duration
	waiting   []waiter
	degraded  bool
	made      int // designs that nobody asked for, in this life
	exercised int
}

// New makes the constructor of Karn for a job.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		m, err := trainer.NewModel(j.Graph, j.Seed)
		if err != nil {
			return nil, err
		}
		if len(m.Grafts()) == 0 {
			return nil, fmt.Errorf("the network has no layer for kernels")
		}
		k := &karn{env: env, job: j, o: o, width: m.Grafts()[0].Width, m: newMemory(),
			in:      inbox.New(env, j.Oona, Subsystem, 16, "innovation.field_reports", "validation.kernel.characterized"),
			tickets: map[string]breaker.Ticket{}, began: map[string]time.Duration{}}
		if k.library, err = assets.New(env, j.Urza, j.Key[:]); err != nil {
			return nil, err
		}
		k.library.Slow = k.slow
		k.log = journal.New(env, journal.Options{Dir: Subsystem, Segment: o.Segment, Timeout: o.Timeout,
			Reset: func() { k.m = newMemory() },
			Apply: func(_ uint64, b []byte) error {
				r := new(statev2.KarnRecord)
				if err := r.ParseCanonical(b); err != nil {
					return err
				}
				k.m.apply(r)
				return nil
			},
			Opened: k.retry,
		})
		s, _ := breaker.Find(Subsystem, "default")
		k.breaker, err = breaker.New(s, func(t breaker.Transition) {
			env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: t.ID, From: t.From.String(), To: t.To.String()})
		})
		return k, err
	}
}

// Start recovers the log: designs that the library has not answered are asked
// about again.
func (k *karn) Start() error {
	k.log.Open()
	k.in.Renew()
	k.env.Clock.SetTimer("design", 0, k.o.Every)
	k.env.Clock.SetTimer("watch", 0, time.Second)
	return nil
}

// Receive implements actor.Actor.
func (k *karn) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		k.timer(m)
	case *busv2.Delivery:
		if e, payload, ok := k.in.Open(m); ok && k.event(payload) {
			k.in.Ack(m, e)
		}
	case *assetsv2.StoreReply:
		k.library.Answer(from, m)
	case *innovationv2.BlueprintRequest:
		k.request(from, m)
	}
	return nil
}

func (k *karn) timer(m *localv2.TimerFired) {
	switch m.Name {
	case inbox.Timer:
		k.in.Renew()
	case assets.Timer:
		k.library.Tick()
	case journal.Timer:
		k.log.Open()
	case "design":
		if k.o.Count == 0 || len(k.m.order) < k.o.Count {
			k.routine()
		}
		k.env.Clock.SetTimer("design", 0, k.o.Every)
	case "watch":
		k.retry()
		k.env.Clock.SetTimer("watch", 0, time.Second)
	case "reply":
		k.overdue()
	}
}

// routine makes a design that nobody asked for, one in twenty of them for the
// sandbox only.
func (k *karn) routine() {
	if k.made++; k.made%20 == 0 {
		k.exercise()
		return
	}
	if k.log.Usable() && k.mode() {
		k.generate("", k.m.stage(), adversarialRisk)
	}
}

// mode enters or leaves degraded mode, and says whether the breaker lets
// anything to the library.
func (k *karn) mode() bool {
	s := k.breaker.State(k.env.Clock.Monotonic())
	if on := s != breaker.Closed; on != k.degraded {
		k.degraded = on
		f := &evidencev2.ModeFact{Subsystem: Subsystem, From: "NORMAL", To: "CONSERVATIVE", Reason: "the library does not answer"}
		if !on {
			f.From, f.To, f.Reason = f.To, f.From, "it answers"
		}
		k.env.Facts.Record(f)
	}
	return s != breaker.Open
}

// retry asks about the designs that the library has not answered.
func (k *karn) retry() {
	if !k.mode() || !k.log.Usable() {
		return
	}
	for _, d := range k.m.order {
		if k.m.settled[d.BlueprintId] == 0 && !k.library.Asks(d.BlueprintId) {
			k.store(d)
		}
	}
}

// slow counts a silence of the library as a failure, once for each design.
func (k *karn) slow(id string) {
	now := k.env.Clock.Monotonic()
	since, known := k.began[id]
	if !known {
		k.began[id] = now
		return
	}
	if now-since >= patience {
		k.done(id, false)
		k.library.Drop(id) // retry asks again, if the breaker lets it
		k.mode()
	}
}

// done ends a call that the breaker admitted.
func (k *karn) done(id string, ok bool) {
	if t, admitted := k.tickets[id]; admitted {
		k.breaker.Done(k.env.Clock.Monotonic(), t, ok)
		delete(k.tickets, id)
	}
	delete(k.began, id)
	k.mode()
}

// request answers a request, now or when the library has the design.
func (k *karn) request(from actor.ID, m *innovationv2.BlueprintRequest) {
	if m.RequestId == "" || m.CurriculumStage >= Stages || !(m.MaxRisk >= 0 && m.MaxRisk <= 1) {
		k.reply(from, &innovationv2.BlueprintReply{RequestId: m.RequestId, Status: innovationv2.RequestStatus_REJECTED,
			Reason: fmt.Sprintf("want an id, a stage below %d and a risk from 0 to 1", Stages)})
		return
	}
	if i := slices.IndexFunc(k.waiting, func(w waiter) bool { return w.request == m.RequestId }); i >= 0 {
		k.waiting[i].from = from
		return
	}
	w := waiter{strings.Clone(m.RequestId), from, m.MaxRisk, k.env.Clock.Monotonic()}
	stage := m.CurriculumStage
	k.waiting = append(k.waiting, w)
	k.env.Clock.SetTimer("reply", 0, k.o.Reply)
	id, known := k.m.requests[w.request]
	if known && k.m.settled[id] != 0 {
		k.answer(w.request)
		return
	}
	if !known && (!k.log.Usable() || !k.mode() || k.generate(w.request, stage, w.risk) == nil) {
		k.answer(w.request)
	}
}

// overdue answers the requests that have waited long enough.
func (k *karn) overdue() {
	now := k.env.Clock.Monotonic()
	for _, w := range slices.Clone(k.waiting) {
		if now-w.since >= k.o.Reply {
			k.answer(w.request)
		}
	}
	if len(k.waiting) > 0 {
		k.env.Clock.SetTimer("reply", 0, max(k.waiting[0].since+k.o.Reply-now, time.Millisecond))
	}
}

// answer ends a request: with its design if the library has it, else with a
// template that is always there.
func (k *karn) answer(request string) {
	i := slices.IndexFunc(k.waiting, func(w waiter) bool { return w.request == request })
	if i < 0 {
		return
	}
	w := k.waiting[i]
	k.waiting = slices.Delete(k.waiting, i, i+1)
	r := &innovationv2.BlueprintReply{RequestId: request, Status: innovationv2.RequestStatus_DONE}
	d := k.m.designs[k.m.requests[request]]
	if d == nil || !k.m.stored(d.BlueprintId) {
		k.env.Probe.Reached("karn/fallback")
		t := fallback(k.m.scores(k.env.Clock.Now()), w.risk)
		r.Status, r.TemplateId, r.RiskScore = innovationv2.RequestStatus_FALLBACK, t.ID, t.Risk
		r.Reason = "the library has not taken a design"
		if ir, err := t.IR(k.width); err == nil {
			r.BlueprintId = kernel.ID(ir)
		}
	} else {
		r.BlueprintId, r.TemplateId, r.RiskScore = d.BlueprintId, d.TemplateId, d.RiskScore
	}
	k.reply(w.from, r)
}

func (k *karn) reply(to actor.ID, r *innovationv2.BlueprintReply) {
	k.env.Net.Send(to, r, actor.SendOptions{Key: "blueprint/" + r.RequestId, CorrelationID: r.RequestId})
}

// event takes a field report or a verdict. It says whether what follows is
// durable.
func (k *karn) event(m canon.Message) bool {
	if !k.log.Usable() {
		return false // whose design it is about is not known
	}
	switch m := m.(type) {
	case *operationalv2.FieldReport:
		d := k.m.designs[m.BlueprintId]
		return d == nil || k.earn(m.ReportId, d, reward(m.Outcome, m.PreMetric, m.PostMetric))
	case *eventsv2.KernelCharacterizedEvent:
		d := k.m.designs[m.BlueprintId]
		if d == nil {
			return true
		}
		id, why := strings.Clone(m.KernelArtifactId), strings.Clone(m.RejectionReason)
		if m.Verdict == eventsv2.KernelVerdict_KERNEL_VALIDATED {
			return k.earn("verdict/"+id, d, validatedReward)
		}
		if !k.earn("verdict/"+id, d, -0.5) {
			return false
		}
		k.quarantine(d.BlueprintId, "rejected: "+why)
		return k.log.Usable()
	}
	return true
}

// validatedReward is what a good verdict is worth.
const validatedReward = 0.125

// earn logs a reward, once for each report.
func (k *karn) earn(report string, d *statev2.KarnDesign, value float64) bool {
	if k.m.reported[report] {
		return true
	}
	if !k.log.Write(&statev2.KarnRecord{Reward: &statev2.KarnReward{ReportId: strings.Clone(report), BlueprintId: d.BlueprintId, TemplateId: d.TemplateId,
		Value: value, At: timestamppb.New(k.env.Clock.Now())}}) {
		return false
	}
	k.env.Facts.Record(&evidencev2.RewardFact{TemplateId: d.TemplateId, ReportId: report, Value: value})
	return true
}
