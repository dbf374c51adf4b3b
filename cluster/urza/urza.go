package urza

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Subsystem is Urza's name in facts.
const Subsystem = "urza"

// Options of Urza.
type Options struct {
	Journal     string        `set:"journal" oneof:"delete,truncate,persist,wal" doc:"SQLite's journal mode"`
	Synchronous string        `set:"synchronous" oneof:"normal,full,extra" doc:"SQLite's setting of how often it syncs"`
	Segment     int           `set:"segment" doc:"bytes a segment of the log"`
	Timeout     time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
	Reopen      time.Duration `set:"reopen" doc:"how long it waits before it opens files anew that failed"`
}

// Defaults are the options of an Urza that sets none.
func Defaults() *Options {
	return &Options{Journal: "truncate", Synchronous: "full", Segment: 64 << 10, Timeout: 500 * time.Millisecond, Reopen: 200 * time.Millisecond}
}

type urza struct {
	env actor.Env
	job *job.Job
	o   Options
	box *outbox.Box

	// Open as one, closed as one: log is nil while they are closed.
	log       *wal.Log
	lib       library
	objects   objects
	txn       uint64 // the transaction of the change under way
	committed uint64 // newest transaction with a COMMIT that the opening found

	breaker *breaker.Breaker
	refused error // damage of the log: why it stays closed
	reply   assetsv2.StoreReply
}

// New makes the constructor of Urza.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		s, _ := breaker.Find(Subsystem, "query")
		u := &urza{env: env, job: j, o: o, box: outbox.New(env, j.Oona, 1024), objects: objects{fs: env.FS.Within(o.Timeout), dir: "objects"}}
		var err error
		u.breaker, err = breaker.New(s, func(t breaker.Transition) {
			env.Facts.Record(&evidencev2.BreakerFact{Subsystem: Subsystem, Breaker: t.ID, From: t.From.String(), To: t.To.String()})
		})
		return u, err
	}
}

// Start opens the library. Damage or a disk that does not answer does not end
// the process: what needs the library is answered UNAVAILABLE until it opens.
func (u *urza) Start() error {
	u.open()
	return nil
}

// Receive implements actor.Actor.
func (u *urza) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		u.timer(m.Name)
	case *busv2.PublishAck:
		u.box.Acked(m)
	case *operationalv2.KernelQuery:
		u.env.Net.Send(from, u.query(m), actor.SendOptions{Key: "query-result/" + m.QueryId, CorrelationID: m.QueryId})
	case *assetsv2.StoreBlueprint:
		u.store(from, m.RequestId, m, func() (string, answer) { return u.storeBlueprint(m) })
	case *assetsv2.StoreKernel:
		u.store(from, m.RequestId, m, func() (string, answer) { return u.storeKernel(m) })
	case *assetsv2.StoreReport:
		u.store(from, m.RequestId, m, func() (string, answer) { return u.storeReport(m) })
	case *assetsv2.MoveAsset:
		u.store(from, m.RequestId, m, func() (string, answer) { return u.moveAsset(m) })
	case *assetsv2.FetchKernel:
		r := &assetsv2.FetchKernelReply{RequestId: m.RequestId, Status: assetsv2.AssetStatus_UNAVAILABLE, Reason: "the library is not open"}
		if u.log != nil {
			r = u.fetchKernel(m)
		}
		u.env.Net.Send(from, r, actor.SendOptions{Key: "kernel/" + m.RequestId, CorrelationID: m.RequestId})
	case *assetsv2.FetchBlueprint:
		r := &assetsv2.FetchBlueprintReply{RequestId: m.RequestId, Status: assetsv2.AssetStatus_UNAVAILABLE, Reason: "the library is not open"}
		if u.log != nil {
			r = u.fetchBlueprint(m)
		}
		u.env.Net.Send(from, r, actor.SendOptions{Key: "blueprint/" + m.RequestId, CorrelationID: m.RequestId})
	case *assetsv2.ListPending:
		if u.log != nil {
			if r := u.listPending(m); r != nil {
				u.env.Net.Send(from, r, actor.SendOptions{Key: "pending/" + m.RequestId, CorrelationID: m.RequestId})
			}
		}
	}
	return nil
}

func (u *urza) timer(name string) {
	switch name {
	case outbox.Timer:
		u.box.Tick()
	case "reopen":
		if u.log == nil {
			u.open()
		}
	case "announced":
		u.post()
	}
}

// writers are who may write what, by the name that the signature covers.
func writer(m canon.Message) []string {
	switch m.(type) {
	case *assetsv2.StoreBlueprint:
		return []string{"karn"}
	case *assetsv2.StoreKernel:
		return []string{"tezzeret"}
	case *assetsv2.StoreReport:
		return []string{"urabrask"}
	}
	return []string{"karn", "kasmina", "tamiyo", "tezzeret", "urabrask"}
}

// store does a write that is permitted and answers it. The request may come
// again: it is answered by what is there.
func (u *urza) store(from actor.ID, request string, m canon.Message, do func() (string, answer)) {
	var id string
	var a answer
	e, _ := u.env.Net.Incoming()
	switch {
	case e == nil || wire.Verify(e, u.job.Key[:]) != nil:
		a = refuse("the request is not signed with the key of the run")
	case !slices.Contains(writer(m), u.job.Role(actor.ID(e.SourceSubsystem))):
		a = refuse("%s may not write this", e.SourceSubsystem)
	case u.log == nil:
		a = answer{assetsv2.AssetStatus_UNAVAILABLE, "the library is not open"}
	default:
		id, a = do()
	}
	u.reply.RequestId, u.reply.AssetId, u.reply.Status, u.reply.Reason = request, id, a.status, a.reason
	u.env.Net.Send(from, &u.reply, actor.SendOptions{Key: "stored/" + request, CorrelationID: request})
}

// post publishes what is to be announced, until the bus has it.
func (u *urza) post() {
	if u.log == nil {
		return
	}
	list, err := u.lib.announcements()
	if err != nil {
		u.failed(err)
		return
	}
	for _, a := range list {
		m, err := announced(a)
		if err != nil {
			u.env.Log.Error("an announcement that nobody can read: " + err.Error())
			continue
		}
		u.box.Put(outbox.Letter{ID: a.event, Topic: a.topic, Message: m, Yields: true, Options: actor.SendOptions{RunID: u.job.RunID, Priority: urgency(m)},
			Done: func() {
				if u.log == nil {
					return // it is announced again after the opening; the bus drops the copy
				}
				if err := u.lib.announced(a.event); err != nil {
					u.failed(err)
					return
				}
				u.env.Facts.Record(&evidencev2.AssetFact{AssetId: a.event, Action: "ANNOUNCED"})
			}})
	}
}

// urgency is the priority of an announcement: a blueprint that Tamiyo wants much
// goes before others (H6 6.3.1).
func urgency(m canon.Message) envelopev2.Priority {
	if b, ok := m.(*eventsv2.BlueprintSubmittedEvent); ok && b.TamiyoInterest > 0.8 {
		return envelopev2.Priority_STRATEGIC
	}
	return envelopev2.Priority_NORMAL
}

// announced decodes an announcement.
func announced(a announcement) (canon.Message, error) {
	var m canon.Message
	switch a.topic {
	case submitted:
		m = new(eventsv2.BlueprintSubmittedEvent)
	case ready:
		m = new(eventsv2.KernelReadyEvent)
	case characterized:
		m = new(eventsv2.KernelCharacterizedEvent)
	default:
		return nil, fmt.Errorf("no topic of Urza's is called %q", a.topic)
	}
	return m, m.ParseCanonical(bytes.Clone(a.body))
}

func sha(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

func stamp(ms int64) *timestamppb.Timestamp { return timestamppb.New(time.UnixMilli(ms)) }
