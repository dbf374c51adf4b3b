package urabrask

import (
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/assets"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/device"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/journal"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// Subsystem is Urabrask's name in messages and facts, and its consumer group.
const Subsystem = "urabrask"

// depth is the most kernels that wait (card 07).
const depth = 25

// Options of Urabrask.
type Options struct {
	Pause   time.Duration `set:"pause" doc:"between two steps of a validation, in which mail is handled"`
	Poll    time.Duration `set:"poll" doc:"how often it asks the library what waits"`
	Segment int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
}

// Defaults are the options of an Urabrask that sets none.
func Defaults() *Options {
	return &Options{Pause: 50 * time.Millisecond, Poll: 5 * time.Second, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

type urabrask struct {
	env     actor.Env
	job     *job.Job
	o       Options
	in      *inbox.Box
	library *assets.Client
	log     *journal.Log

	general    *breaker.Breaker
	structural *breaker.Breaker
	device     *device.Guard

	// What the log says.
	verdicts  map[string]*assetsv2.StoreReport // by kernel
	order     []string                         // of verdicts
	settled   map[string]bool
	latencies map[string][]float64 // of validated kernels by what they ran on, the newest last

	queue  []string
	run    *run // nil: none
	serial int64
	slow   string // the kernel that took too long last
}

// population is how many kernels the distribution of latencies is of.
const population = 256

// New makes the constructor of Urabrask for a job.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		u := &urabrask{env: env, job: j, o: o, in: inbox.New(env, j.Oona, Subsystem, 16, "compilation.kernel.ready")}
		u.forget()
		var err error
		if u.library, err = assets.New(env, j.Urza, j.Key[:]); err != nil {
			return nil, err
		}
		trips := func(t breaker.Transition) {
			env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: t.ID, From: t.From.String(), To: t.To.String()})
		}
		general, _ := breaker.Find(Subsystem, "general")
		structural, _ := breaker.Find(Subsystem, "structural")
		u.device = device.New(env, device.Options{Limit: 2 * longestRun, Segment: o.Segment, Timeout: o.Timeout})
		if u.general, err = breaker.New(general, trips); err != nil {
			return nil, err
		}
		if u.structural, err = breaker.New(structural, trips); err != nil {
			return nil, err
		}
		u.log = journal.New(env, journal.Options{Dir: Subsystem, Segment: o.Segment, Timeout: o.Timeout, Reset: u.forget,
			Apply: func(_ uint64, b []byte) error {
				r := new(statev2.UrabraskRecord)
				if err := r.ParseCanonical(b); err != nil {
					return err
				}
				u.apply(r)
				return nil
			},
			Opened: func() {
				for _, id := range u.order {
					u.deliver(id)
				}
				u.next()
			},
		})
		return u, nil
	}
}

func (u *urabrask) forget() {
	u.verdicts, u.settled = map[string]*assetsv2.StoreReport{}, map[string]bool{}
	u.order, u.latencies = nil, map[string][]float64{}
}

// apply enters a record.
func (u *urabrask) apply(r *statev2.UrabraskRecord) {
	if r.SettledKernelId != "" {
		u.settled[r.SettledKernelId] = true
		return
	}
	id := r.Verdict.GetKernelArtifactId()
	if u.verdicts[id] != nil || r.Verdict == nil {
		return
	}
	u.verdicts[id] = r.Verdict
	u.order = append(u.order, id)
	device := r.Verdict.GetAnnounce().GetHardwareProfile()
	for _, b := range r.Verdict.GetReport().GetBenchmarkResults() {
		if b.MetricName == "latency_ms" && r.Verdict.Status == blueprintv2.KernelStatus_VALIDATED {
			all := append(u.latencies[device], b.MetricValue)
			u.latencies[device] = all[max(len(all)-population, 0):]
		}
	}
}

// Start recovers the log, and asks the library what waits.
func (u *urabrask) Start() error {
	u.log.Open()
	u.device.Open()
	u.device.Tick()
	u.in.Renew()
	u.poll()
	return nil
}

// Receive implements actor.Actor.
func (u *urabrask) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		u.timer(m)
	case *busv2.Delivery:
		e, payload, ok := u.in.Open(m)
		if !ok {
			break
		}
		// What is not queued here is pending in the library, and found there.
		if k, is := payload.(*eventsv2.KernelReadyEvent); is {
			u.enqueue(strings.Clone(k.KernelArtifactId))
		}
		u.in.Ack(m, e)
		u.next()
	case *assetsv2.StoreReply, *assetsv2.FetchKernelReply, *assetsv2.ListPendingReply:
		u.library.Answer(from, m)
	case *assetsv2.KernelFault:
		if from == u.job.Kasmina { // nobody else runs kernels of the library
			u.fault(from, m)
		}
	case *pruningv2.PruningValidation:
		u.pruning(from, m)
	}
	return u.device.Exit()
}

func (u *urabrask) timer(m *localv2.TimerFired) {
	switch m.Name {
	case inbox.Timer:
		u.in.Renew()
	case assets.Timer:
		u.library.Tick()
	case journal.Timer:
		u.log.Open()
		u.device.Open()
	case device.Timer:
		if u.device.Tick(); u.device.Usable() && u.run == nil {
			u.next()
		}
	case "poll":
		u.poll()
	case "next":
		u.next()
	case "step":
		if u.run != nil && u.run.serial == m.Arg && u.run.b != nil {
			u.advance(u.run)
		}
	}
}

// enqueue takes a kernel into the queue, once, if there is room.
func (u *urabrask) enqueue(id string) {
	if u.verdicts[id] != nil {
		u.deliver(id)
		return
	}
	if u.run != nil && u.run.kernel == id || slices.Contains(u.queue, id) {
		return
	}
	if len(u.queue) >= depth && !urgent(id) {
		u.env.Probe.Reached("urabrask/full")
		return
	}
	u.queue = append(u.queue, id)
}

// poll asks the library for kernels that wait for their verdict.
func (u *urabrask) poll() {
	u.library.Ask("pending", &assetsv2.ListPending{Kernels: true, Limit: depth}, func(m canon.Message) {
		if r, ok := m.(*assetsv2.ListPendingReply); ok {
			for _, a := range r.Assets {
				u.enqueue(strings.Clone(a.AssetId))
			}
			u.next()
		}
	})
	u.env.Clock.SetTimer("poll", 0, u.o.Poll)
}

// fault puts a kernel that failed at work in quarantine, and answers when the
// library has done so.
func (u *urabrask) fault(from actor.ID, m *assetsv2.KernelFault) {
	id, kernel, why := strings.Clone(m.FaultId), strings.Clone(m.KernelArtifactId), strings.Clone(m.Detail)
	u.tell(kernel, "FAULT", why)
	u.library.Ask("quarantine/"+kernel, &assetsv2.MoveAsset{AssetId: kernel, Kernel: blueprintv2.KernelStatus_QUARANTINED, Reason: why}, func(m canon.Message) {
		r, ok := m.(*assetsv2.StoreReply)
		if !ok {
			return
		}
		u.env.Net.Send(from, &assetsv2.StoreReply{RequestId: id, AssetId: kernel, Status: r.Status, Reason: r.Reason},
			actor.SendOptions{Key: "fault-taken/" + id, CorrelationID: id})
	})
}
