package sim

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"

	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
)

const benchActors, benchPending = 64, 1000

// bareActor is what the yardstick calls.
type bareActor interface{ fire(at int64) int64 }

type bareTimer struct{ n uint64 }

func (b *bareTimer) fire(at int64) int64 {
	b.n++
	return at + 1 + int64(b.n*0x9e3779b97f4a7c15>>54)
}

// bareEvent is the least that an event can be.
type bareEvent struct {
	at   int64
	node int32
}

// BenchmarkBareLoop is the yardstick: 64 actors behind an interface, 1,000
// pending events, pop one, call, push one. No trace, no names, no checks.
func BenchmarkBareLoop(b *testing.B) {
	var actors [benchActors]bareActor
	for i := range actors {
		actors[i] = &bareTimer{n: uint64(i)}
	}
	var heap []bareEvent
	push := func(e bareEvent) {
		heap = append(heap, e)
		i := len(heap) - 1
		for i > 0 {
			p := (i - 1) / 2
			if heap[p].at <= e.at {
				break
			}
			heap[i] = heap[p]
			i = p
		}
		heap[i] = e
	}
	pop := func() bareEvent {
		top := heap[0]
		n := len(heap) - 1
		e := heap[n]
		heap = heap[:n]
		i := 0
		for {
			c := 2*i + 1
			if c >= n {
				break
			}
			if c+1 < n && heap[c+1].at < heap[c].at {
				c++
			}
			if e.at <= heap[c].at {
				break
			}
			heap[i] = heap[c]
			i = c
		}
		heap[i] = e
		return top
	}
	for i := range benchPending {
		push(bareEvent{int64(i), int32(i % benchActors)})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		e := pop()
		e.at = actors[e.node].fire(e.at)
		push(e)
	}
}

// timers is an actor that keeps some timers running.
type timers struct {
	env   actor.Env
	count int
	n     uint64
}

func (a *timers) Start() error {
	for i := range a.count {
		a.env.Clock.SetTimer("tick", int64(i), time.Duration(i+1))
	}
	return nil
}

func (a *timers) Receive(_ actor.ID, m canon.Message) error {
	a.n++
	a.env.Clock.SetTimer("tick", m.(*localv2.TimerFired).Arg, 1+time.Duration(a.n*0x9e3779b97f4a7c15>>54))
	return nil
}

func timerWorld(b *testing.B, callback bool) *World {
	var cfg Config
	cfg.Hosts = []Host{{Name: "h"}}
	for i := range benchActors {
		count := benchPending / benchActors
		if i < benchPending%benchActors {
			count++
		}
		cfg.Nodes = append(cfg.Nodes, Node{
			ID: actor.ID(fmt.Sprint("n", i)), Host: "h", Callback: callback,
			Make: func(env actor.Env) (actor.Actor, error) { return &timers{env: env, count: count}, nil },
		})
	}
	w, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := w.Run(time.Microsecond); err != nil {
		b.Fatal(err)
	}
	return w
}

func benchKernel(b *testing.B, callback bool) {
	w := timerWorld(b, callback)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		w.now = w.q.pop(&w.ev)
		w.step()
	}
	b.StopTimer()
	w.End()
}

// BenchmarkKernelCallback is one event of the kernel, trace hash included, for
// actors without a coroutine. Goal: at most 1.5 × BenchmarkBareLoop.
func BenchmarkKernelCallback(b *testing.B) { benchKernel(b, true) }

// BenchmarkKernelCoroutine is the same for actors with one. Goal: two
// BenchmarkSwitch more.
func BenchmarkKernelCoroutine(b *testing.B) { benchKernel(b, false) }

// BenchmarkSwitch is one switch into a coroutine or out of it.
func BenchmarkSwitch(b *testing.B) {
	next, stop := iter.Pull(func(yield func(int) bool) {
		for yield(1) {
		}
	})
	defer stop()
	for i := 0; i < b.N; i += 2 {
		next()
	}
}

// packet is a message of the size that the triad sends most.
func packet() *telemetryv2.SeedTelemetry {
	return &telemetryv2.SeedTelemetry{
		TelemetryId: "0123456789abcdef01234567", Seed: &telemetryv2.SeedRef{LayerId: 1, SeedId: 2},
		Epoch: 12, GlobalStep: 345, Stage: telemetryv2.SeedStage_GRAFTING, ActiveKernelId: "residual-8",
		Health:        &systemstatev2.SeedHealth{Status: 1, GradientVariance: 0.25, WeightDrift: 0.5},
		ChunkVariance: 0.1, GradientNorm: 1.5, LocalLoss: 0.7, AlphaMilli: 500, RegionId: "region-1", BatchCount: 8,
	}
}

// echo sends a packet back and forth.
type echo struct {
	env  actor.Env
	peer actor.ID
	m    *telemetryv2.SeedTelemetry
}

func (a *echo) Start() error {
	if a.env.Self == "n0" {
		a.env.Net.Send(a.peer, a.m, actor.SendOptions{Key: "hop"})
	}
	return nil
}

func (a *echo) Receive(from actor.ID, _ canon.Message) error {
	a.env.Net.Send(from, a.m, actor.SendOptions{Key: "hop"})
	return nil
}

// BenchmarkHop is one message from handler to handler: encoded, put on a link,
// checked, decoded, hashed. Goal: at most 1.3 × (BenchmarkHopParts + one
// BenchmarkKernelCallback + two BenchmarkSwitch).
func BenchmarkHop(b *testing.B) {
	d, err := disk.New(disk.Config{})
	if err != nil {
		b.Fatal(err)
	}
	cfg := Config{Hosts: []Host{{Name: "h", Disk: d}}}
	for i := range 2 {
		peer := actor.ID(fmt.Sprint("n", 1-i))
		cfg.Nodes = append(cfg.Nodes, Node{ID: actor.ID(fmt.Sprint("n", i)), Host: "h", Make: func(env actor.Env) (actor.Actor, error) {
			return &echo{env, peer, packet()}, nil
		}})
	}
	w, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := w.Run(time.Millisecond); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		w.now = w.q.pop(&w.ev)
		w.step()
	}
	b.StopTimer()
	w.End()
}

// BenchmarkHopParts is what a hop cannot do without: encoding with both
// checksums, and the checking decode.
func BenchmarkHopParts(b *testing.B) {
	c := wire.NewCodec()
	m := packet()
	e := &envelopev2.EventEnvelope{
		EventId: "0123456789abcdef01234567", SourceSubsystem: "kasmina", Priority: envelopev2.Priority_NORMAL,
		SequenceNumber: 77, ProducerIncarnation: 1, CreatedAt: &timestamppb.Timestamp{Seconds: 1736467200, Nanos: 5},
	}
	// No two messages have one id, nor one time: a decoder that sees the same
	// text again would be spared copying it.
	var ids [256]string
	for i := range ids {
		ids[i] = eventID(uint64(i) * 0x9e3779b97f4a7c15)
	}
	var buf []byte
	n := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		e.EventId, e.SequenceNumber = ids[n%256], n
		e.CreatedAt.Nanos = int32(n * 120_000 % 1e9)
		buf = c.Seal(buf[:0], e, m, nil)
		if _, _, err := c.Open(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTraceHash is the hash of one event that carries a packet.
func BenchmarkTraceHash(b *testing.B) {
	l := trace.NewLog()
	data := packet().AppendCanonical(nil)
	for b.Loop() {
		e := l.Next(1, trace.MessageSent)
		e.Node, e.Peer, e.Data = "kasmina", "tamiyo", data
		l.Commit()
	}
}
