package tezzeret

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/assets"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/device"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/journal"
	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// Subsystem is Tezzeret's name in messages and facts, and its consumer group.
const Subsystem = "tezzeret"

// Options of Tezzeret.
type Options struct {
	Hardware string        `set:"hardware" doc:"what it compiles for, unless it is told"`
	Pause    time.Duration `set:"pause" doc:"between two passes over a graph, in which mail is handled"`
	Poll     time.Duration `set:"poll" doc:"how often it asks the library what waits"`
	Idle     time.Duration `set:"idle" doc:"how long it has nothing to do before it compiles in the background; 0: never"`
	Older    int           `set:"older" doc:"in how many of its lives it has the compiler of an older release"`
	Segment  int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout  time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
}

// Defaults are the options of a Tezzeret that sets none.
func Defaults() *Options {
	return &Options{Hardware: "h100", Pause: 20 * time.Millisecond, Poll: 5 * time.Second, Segment: 256 << 10, Timeout: 500 * time.Millisecond}
}

// The breakers, and which of them an active job failed by.
const (
	breakNone   = -1
	breakMemory = iota - 1
	breakGPU
	breakTimeout
)

type tezzeret struct {
	env      actor.Env
	job      *job.Job
	o        Options
	in       *inbox.Box
	box      *outbox.Box
	library  *assets.Client
	log      *journal.Log
	jobs     jobs
	breakers [3]*breaker.Breaker
	device   *device.Guard

	active       []*active
	serial       int64
	conservative bool
	calmAt       time.Duration
	lastWork     time.Duration
	share        share
	toolchain    string // of the compiler that this release brings
	told         uint64 // statuses and reports to Nissa, in this life
}

// New makes the constructor of Tezzeret for a job.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		t := &tezzeret{env: env, job: j, o: o, jobs: newJobs(), toolchain: kernel.Toolchain,
			box: outbox.New(env, j.Oona, 64), in: inbox.New(env, j.Oona, Subsystem, 16, "compilation.blueprint.submitted")}
		if env.Incarnation <= uint64(max(o.Older, 0)) {
			t.toolchain = kernel.OlderToolchain
		}
		t.device = device.New(env, device.Options{Limit: time.Second, Segment: o.Segment, Timeout: o.Timeout})
		var err error
		if t.library, err = assets.New(env, j.Urza, j.Key[:]); err != nil {
			return nil, err
		}
		for i, name := range []string{"memory", "gpu", "timeout"} {
			s, _ := breaker.Find(Subsystem, name)
			if t.breakers[i], err = breaker.New(s, func(b breaker.Transition) {
				env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: b.ID, From: b.From.String(), To: b.To.String()})
			}); err != nil {
				return nil, err
			}
		}
		t.log = journal.New(env, journal.Options{Dir: Subsystem, Segment: o.Segment, Timeout: o.Timeout,
			Reset: func() {
				t.jobs = newJobs()
				// What is active was queued by records that are read again.
				for len(t.active) > 0 {
					t.library.Drop("ir/" + t.active[0].job.JobId)
					t.release(t.active[0], breakNone)
				}
			},
			Apply: func(txn uint64, b []byte) error {
				r := new(statev2.CompileJob)
				if err := r.ParseCanonical(b); err != nil {
					return err
				}
				t.jobs.apply(r)
				if txn != 0 {
					t.jobs.txn[r.JobId] = txn
				}
				return nil
			},
			Opened: func() {
				t.requeue()
				t.resume()
				t.fill()
			},
		})
		return t, nil
	}
}

// Start recovers the queue, and asks the library what else waits.
func (t *tezzeret) Start() error {
	t.log.Open()
	t.device.Open()
	t.device.Tick()
	t.in.Renew()
	t.poll()
	t.report()
	return nil
}

// Receive implements actor.Actor.
func (t *tezzeret) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		t.timer(m)
	case *busv2.Delivery:
		e, payload, ok := t.in.Open(m)
		if !ok {
			break
		}
		if s, is := payload.(*eventsv2.BlueprintSubmittedEvent); !is || t.submitted(s) {
			t.in.Ack(m, e)
		}
	case *assetsv2.StoreReply, *assetsv2.FetchBlueprintReply, *assetsv2.ListPendingReply:
		t.library.Answer(from, m)
	case *busv2.PublishAck:
		t.box.Acked(m)
	case *innovationv2.CompileRequest:
		t.request(from, m)
	}
	return t.device.Exit()
}

func (t *tezzeret) timer(m *localv2.TimerFired) {
	switch m.Name {
	case inbox.Timer:
		t.in.Renew()
	case assets.Timer:
		t.library.Tick()
	case journal.Timer:
		t.log.Open()
		t.device.Open()
	case device.Timer:
		if t.device.Tick(); len(t.active) == 0 {
			t.device.Tend()
		}
	case outbox.Timer:
		t.box.Tick()
	case "report":
		t.report()
	case "poll":
		t.poll()
	case "fill":
		t.mode()
		t.fill()
	case "pass":
		if a := t.find(m.Arg); a != nil && a.ir != nil {
			t.pass(a)
		}
	}
}

func (t *tezzeret) find(serial int64) *active {
	for _, a := range t.active {
		if a.serial == serial {
			return a
		}
	}
	return nil
}

// submitted queues the jobs of a blueprint, once. It says whether they are
// durable.
func (t *tezzeret) submitted(m *eventsv2.BlueprintSubmittedEvent) bool {
	if !t.log.Usable() {
		return false
	}
	hardware := t.o.Hardware
	if len(m.TargetHardware) > 0 {
		hardware = strings.Clone(m.TargetHardware[0])
	}
	id := strings.Clone(m.BlueprintId)
	tier := tierOf(m.TamiyoInterest, m.Tier)
	if len(m.Pipelines) == 0 {
		return len(t.jobs.of(id, hardware)) > 0 || t.admitJob(id, hardware, 0, tier, m.TamiyoInterest) != ""
	}
	ok := true
	for _, name := range m.Pipelines {
		p, known := kernel.PipelineOf(name)
		ok = ok && (!known || t.admitJob(id, hardware, p, tier, m.TamiyoInterest) != "")
	}
	return ok
}

// poll asks the library for blueprints without a kernel, whose event may have
// been missed or whose job was shed.
func (t *tezzeret) poll() {
	t.library.Ask("pending", &assetsv2.ListPending{Limit: depth}, func(m canon.Message) {
		r, ok := m.(*assetsv2.ListPendingReply)
		if !ok || !t.log.Usable() {
			return
		}
		for _, a := range r.Assets {
			if id := strings.Clone(a.BlueprintId); len(t.jobs.of(id, t.o.Hardware)) == 0 {
				t.env.Probe.Reached("tezzeret/found-pending")
				t.admitJob(id, t.o.Hardware, 0, tierOf(a.Interest, eventsv2.BlueprintTier_PRODUCTION), a.Interest)
			}
		}
	})
	if t.log.Usable() {
		t.resume()
		t.background()
	}
	t.env.Clock.SetTimer("poll", 0, t.o.Poll)
}

// background compiles again what could be better, where there is nothing else to
// do.
func (t *tezzeret) background() {
	now := t.env.Clock.Monotonic()
	if len(t.active) > 0 || len(t.jobs.in(queued)) > 0 {
		t.lastWork = now
		return
	}
	if t.o.Idle == 0 || t.conservative || now-t.lastWork < t.o.Idle {
		return
	}
	j, p := t.jobs.improvable(t.toolchain)
	if j == nil {
		return
	}
	if j.Toolchain != t.toolchain {
		t.env.Probe.Reached("tezzeret/older-toolchain")
	}
	t.admitJob(j.BlueprintId, j.Hardware, p, tierBackground, j.Interest)
}

// requeue puts the jobs that an older release has queued behind this one's
// compiler: their artifacts will be other ones. What it has compiled stays valid.
func (t *tezzeret) requeue() {
	for _, j := range t.jobs.in(queued) {
		if j.Toolchain == t.toolchain {
			continue
		}
		p, _ := kernel.PipelineOf(j.Pipeline)
		if t.log.Write(step(j, cancelled, "the compiler is "+t.toolchain+" now")) {
			t.admitJob(j.BlueprintId, j.Hardware, p, j.Tier, j.Interest)
		}
	}
}

// request answers a request for a compilation that no event announced.
func (t *tezzeret) request(from actor.ID, m *innovationv2.CompileRequest) {
	r := &innovationv2.CompileReply{RequestId: m.RequestId, Status: innovationv2.RequestStatus_QUEUED}
	p, known := kernel.PipelineOf(m.Pipeline)
	tier := tierNormal
	if m.Emergency {
		tier = tierEmergency
		if m.Pipeline == "" {
			p = kernel.Emergency
		}
	}
	switch {
	case m.BlueprintId == "" || m.Pipeline != "" && !known:
		r.Status, r.Reason = innovationv2.RequestStatus_REJECTED, fmt.Sprintf("no blueprint %q or pipeline %q", m.BlueprintId, m.Pipeline)
	case !t.log.Usable():
		r.Status, r.Reason = innovationv2.RequestStatus_BUSY, "the log is not open"
	default:
		r.KernelArtifactId = t.admitJob(strings.Clone(m.BlueprintId), strings.Clone(m.Hardware), p, tier, 1)
		if r.KernelArtifactId == "" {
			r.Status, r.Reason = innovationv2.RequestStatus_BUSY, "the queue is full"
		} else if j := t.jobs.byID[r.KernelArtifactId]; j != nil && j.State == ready {
			r.Status = innovationv2.RequestStatus_DONE
		}
	}
	t.env.Net.Send(from, r, actor.SendOptions{Key: "compile/" + r.RequestId, CorrelationID: r.RequestId})
}

// calm is how long conservative mode lasts after its cause.
const calm = 10 * time.Second

// mode enters conservative mode when a breaker is open or the device's memory is
// nearly full, and leaves it when that has been over for a while.
func (t *tezzeret) mode() {
	now := t.env.Clock.Monotonic()
	why := ""
	for _, b := range t.breakers {
		if b.State(now) == breaker.Open {
			why = "breaker " + b.Settings().ID() + " is open"
		}
	}
	if t.share.judge(now) {
		why = "it has taken much of the device for long"
	}
	if used, limit := t.device.Memory(); used > limit/5*4 {
		why = "the device's memory is nearly full"
	}
	if why != "" {
		t.calmAt = now + calm
		t.wake(calm)
	}
	on := why != "" || t.conservative && now < t.calmAt
	if on == t.conservative {
		return
	}
	t.conservative = on
	f := &evidencev2.ModeFact{Subsystem: Subsystem, From: "NORMAL", To: "CONSERVATIVE", Reason: why}
	if !on {
		f.From, f.To, f.Reason = f.To, f.From, "it has been calm"
	}
	t.env.Facts.Record(f)
}

func sha(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
