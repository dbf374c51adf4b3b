// Package live runs the actors of a cluster for real: one goroutine and one
// mailbox an actor, the real clock, real files. It provides the same seam as
// the simulator and knows nothing of it, so that what was tested is what runs.
//
// It is small on purpose: all actors live in one process and mail never
// leaves it. Every message is encoded, checked and decoded all the same.
package live

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
	"github.com/esper-sim/espersim/sim/trace"
)

// Node is one process of the cluster.
type Node struct {
	ID   actor.ID
	Make actor.Constructor
}

// Config is a host before it runs.
type Config struct {
	Folder string // each node gets a folder of its own below it
	Nodes  []Node
	Device gpu.Device
	Log    *zap.Logger
	// Trace, if set, sees the run's events; it is called by one goroutine at
	// a time.
	Trace *trace.Log
	// Restart is how long after an error an actor is constructed anew.
	Restart time.Duration
	// Began is when the run began, for a host that goes on with a run that an
	// earlier process began; zero: now.
	Began time.Time
	// Life is how many processes of the run there were before: incarnations
	// count on from there.
	Life uint64
}

// Host runs actors until its context ends.
type Host struct {
	cfg   Config
	began time.Time
	nodes map[actor.ID]*node

	mu  sync.Mutex // around the trace
	log *trace.Log
}

// New makes the nodes' folders and mailboxes.
func New(cfg Config) (*Host, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Restart == 0 {
		cfg.Restart = 200 * time.Millisecond
	}
	if cfg.Trace == nil {
		cfg.Trace = trace.NewLog()
	}
	h := &Host{cfg: cfg, nodes: make(map[actor.ID]*node), log: cfg.Trace, began: cfg.Began}
	if h.began.IsZero() {
		h.began = time.Now()
	}
	for _, n := range cfg.Nodes {
		if h.nodes[n.ID] != nil {
			return nil, fmt.Errorf("node %q is declared twice", n.ID)
		}
		dir := filepath.Join(cfg.Folder, string(n.ID))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		files, err := NewFiles(dir)
		if err != nil {
			return nil, err
		}
		files.failed = func(err error) {
			h.event(trace.DiskOperation, func(e *trace.Event) { e.Node, e.Text = string(n.ID), "file failed: "+err.Error() })
		}
		h.nodes[n.ID] = &node{
			h: h, spec: n, files: files, mail: make(chan letter, mailbox),
			timers: make(map[timerKey]*time.Timer), codec: wire.NewCodec(), seal: wire.NewCodec(),
			sequence: make(map[string]int64), life: cfg.Life * livesPerProcess,
		}
	}
	return h, nil
}

// livesPerProcess keeps the incarnations of two processes apart.
const livesPerProcess = 1000

// mailbox is how many letters wait at a node; what comes beyond is lost, as on
// any network. Actors resend.
const mailbox = 4096

// Run runs every node until the context ends, and returns when all have
// stopped.
func (h *Host) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, n := range h.nodes {
		wg.Go(func() { n.live(ctx) })
	}
	wg.Wait()
}

// event writes one event to the trace.
func (h *Host) event(k trace.Kind, fill func(*trace.Event)) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.log.Next(int64(time.Since(h.began)), k)
	fill(e)
	return h.log.Commit()
}

type letter struct {
	from  actor.ID
	data  []byte
	cause uint64
	timer *timerKey
	gen   uint64
	life  uint64
}

type timerKey struct {
	name string
	arg  int64
}

type node struct {
	h        *Host
	spec     Node
	files    *Files
	mail     chan letter
	life     uint64
	cause    uint64
	codec    *wire.Codec // for what comes in
	seal     *wire.Codec // for what goes out
	envelope *envelopev2.EventEnvelope
	bytes    []byte
	timers   map[timerKey]*time.Timer
	gens     map[timerKey]uint64
	gen      uint64
	sequence map[string]int64
	sent     uint64
	facts    []byte
}

// live constructs the actor, feeds it, and constructs it anew after an error.
func (n *node) live(ctx context.Context) {
	for ctx.Err() == nil {
		n.life++
		n.h.event(trace.NodeStarted, func(e *trace.Event) {
			e.Node, e.Incarnation, e.Text = string(n.spec.ID), uint32(n.life), "live"
		})
		err := n.once(ctx)
		n.stopTimers()
		if ctx.Err() != nil {
			return
		}
		n.h.event(trace.NodeExited, func(e *trace.Event) {
			e.Node, e.Incarnation, e.Text = string(n.spec.ID), uint32(n.life), err.Error()
		})
		select {
		case <-ctx.Done():
		case <-time.After(n.h.cfg.Restart):
		}
	}
}

func (n *node) once(ctx context.Context) error {
	n.gens = make(map[timerKey]uint64)
	a, err := n.spec.Make(n.env())
	if err != nil {
		return err
	}
	if err := a.Start(); err != nil {
		return err
	}
	n.h.event(trace.NodeReady, func(e *trace.Event) { e.Node, e.Incarnation = string(n.spec.ID), uint32(n.life) })
	var fired localv2.TimerFired
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-n.mail:
			if l.timer != nil {
				if l.life != n.life || n.gens[*l.timer] != l.gen {
					continue // stopped or set again meanwhile
				}
				delete(n.gens, *l.timer)
				fired.Name, fired.Arg = l.timer.name, l.timer.arg
				n.cause = n.h.event(trace.TimerFired, func(e *trace.Event) {
					e.Node, e.Incarnation, e.Text, e.Arg = string(n.spec.ID), uint32(n.life), fired.Name, fired.Arg
				})
				err = a.Receive(n.spec.ID, &fired)
			} else {
				err = n.open(a, l)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (n *node) open(a actor.Actor, l letter) error {
	env, m, err := n.codec.Open(l.data)
	if err != nil {
		n.h.event(trace.MessageRefused, func(e *trace.Event) {
			e.Node, e.Peer, e.Cause, e.Text, e.Data = string(l.from), string(n.spec.ID), l.cause, err.Error(), l.data
		})
		return nil
	}
	n.cause = n.h.event(trace.MessageDelivered, func(e *trace.Event) {
		e.Node, e.Peer, e.Incarnation, e.Cause, e.Data = string(l.from), string(n.spec.ID), uint32(n.life), l.cause, l.data
	})
	n.envelope, n.bytes = env, l.data
	err = a.Receive(l.from, m)
	n.envelope, n.bytes = nil, nil
	return err
}

func (n *node) stopTimers() {
	for k, t := range n.timers {
		t.Stop()
		delete(n.timers, k)
	}
}

func (n *node) env() actor.Env {
	clock := liveClock{n}
	// Kernels are computed on the processor; see package simulated.
	var devices []actor.Device
	if n.h.cfg.Device != nil {
		chip := simulated.NewChip(simulated.Config{Profile: n.h.cfg.Device, Now: clock.Monotonic})
		devices = []actor.Device{{Accel: chip.Open(simulated.Process{}), Health: chip}}
	}
	return actor.Env{
		Self: n.spec.ID, Clock: clock, Net: liveNet{n}, FS: n.files, GPU: n.h.cfg.Device, Devices: devices,
		Rand: liveRandom{}, Log: n.h.cfg.Log.Named(string(n.spec.ID)), Facts: liveFacts{n},
		Probe: liveProbe{}, Incarnation: n.life, Schema: wire.Newest,
	}
}

type (
	liveClock  struct{ n *node }
	liveNet    struct{ n *node }
	liveFacts  struct{ n *node }
	liveRandom struct{}
	liveProbe  struct{}
)

func (liveClock) Now() time.Time             { return time.Now() }
func (c liveClock) Monotonic() time.Duration { return time.Since(c.n.h.began) }

func (c liveClock) SetTimer(name string, arg int64, d time.Duration) {
	n, k := c.n, timerKey{name, arg}
	if t := n.timers[k]; t != nil {
		t.Stop()
	}
	n.gen++
	gen, life := n.gen, n.life
	n.gens[k] = gen
	n.timers[k] = time.AfterFunc(d, func() {
		// A full mailbox delays a timer, and never loses it.
		n.mail <- letter{timer: &k, gen: gen, life: life}
	})
}

func (c liveClock) StopTimer(name string, arg int64) {
	k := timerKey{name, arg}
	if t := c.n.timers[k]; t != nil {
		t.Stop()
		delete(c.n.timers, k)
	}
	delete(c.n.gens, k)
}

// Work charges nothing: live, time passes by itself.
func (liveClock) Work(gpu.Work, int) {}

func (s liveNet) Incoming() (*envelopev2.EventEnvelope, []byte) { return s.n.envelope, s.n.bytes }

func (s liveNet) Send(to actor.ID, m canon.Message, o actor.SendOptions) {
	n := s.n
	e := n.seal.Scratch()
	n.sent++
	e.EventId = o.EventID
	if e.EventId == "" {
		e.EventId = fmt.Sprintf("%s-%s-%d", n.spec.ID, hex.EncodeToString(processID[:]), n.sent)
	}
	e.SourceSubsystem = string(n.spec.ID)
	e.CreatedAt = timestamppb.Now()
	// A time to live that no Duration has, over 10,000 years, is none.
	if ttl, err := durations.FromMS(o.TTLMillis); err == nil && o.TTLMillis > 0 {
		e.Ttl = ttl
	}
	e.Topic, e.CorrelationId, e.ReplyTo, e.CausationId = o.Topic, o.CorrelationID, o.ReplyTo, o.CausationID
	e.PartitionKey, e.TrainingRunId, e.Epoch = o.PartitionKey, o.RunID, o.Epoch
	e.Priority = o.Priority
	if e.Priority == 0 {
		e.Priority = envelopev2.Priority_NORMAL
	}
	e.MaxAttempts = o.MaxAttempts
	n.sequence[o.Topic]++
	e.SequenceNumber = n.sequence[o.Topic]
	e.ProducerIncarnation = int64(n.life)
	var signer wire.Signer
	if o.Auth != nil {
		signer = o.Auth
	}
	b := n.seal.SealAs(wire.Newest.Writes(o.As), nil, e, m, signer)
	cause := n.h.event(trace.MessageSent, func(t *trace.Event) {
		t.Node, t.Peer, t.Incarnation, t.Cause, t.Data = string(n.spec.ID), string(to), uint32(n.life), n.cause, b
	})
	why := "there is no such node"
	if peer := n.h.nodes[to]; peer != nil {
		select {
		case peer.mail <- letter{from: n.spec.ID, data: b, cause: cause}:
			return
		default:
			why = "the mailbox is full"
		}
	}
	n.h.event(trace.MessageDropped, func(t *trace.Event) {
		t.Node, t.Peer, t.Cause, t.Text = string(n.spec.ID), string(to), cause, why
	})
}

func (f liveFacts) Record(m canon.Message) {
	n := f.n
	n.facts = m.AppendCanonical(n.facts[:0])
	n.h.event(trace.FactDeclared, func(e *trace.Event) {
		e.Node, e.Incarnation, e.Cause, e.Text, e.Data = string(n.spec.ID), uint32(n.life), n.cause, m.FullName(), n.facts
	})
}

func (liveProbe) Reached(string)        {}
func (liveProbe) Sometimes(string) bool { return false }
