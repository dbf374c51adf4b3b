// Package sim runs actors deterministically in virtual time: one thread of
// control, keyed randomness, simulated network, disks and clocks.
//
// A [World] holds hosts (disks, clock, device), nodes (processes on hosts) and
// the links between them. It is a single-threaded loop over a queue of events;
// an actor's life is a coroutine on that thread, which suspends at every
// operation on files and at every charge of compute time, so that a crash, a
// partition or a full disk can fall into any gap.
//
// Faults are primitives here (crash this node, cut this link from now); what
// they are called, and when they happen, is the business of package faults.
package sim

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Epoch is the wall-clock time at which every run begins.
var Epoch = time.Date(2025, time.January, 10, 0, 0, 0, 0, time.UTC)

// A Host carries processes, a disk, a clock and a device. Hosts stand in racks.
type Host struct {
	Name   string
	Rack   string
	Disk   *disk.Disk
	Device gpu.Device
	Chips  []*simulated.Chip // what processes compute on; none: they have none
	Store  StoreLatency
}

// A Node is one process on a host.
type Node struct {
	ID   actor.ID
	Host string
	Make actor.Constructor
	// Callback nodes run without a coroutine: they neither use files nor
	// charge work. An actor that only sends and sets timers is three times
	// cheaper that way.
	Callback bool
	// Restart is how long after a crash or an exit the node starts again;
	// negative: it stays down until a fault ends or a plan starts it.
	Restart time.Duration
	// Schema is the version of the contracts that the node speaks; zero: the
	// newest.
	Schema wire.Version
}

// Config is a world before it runs.
type Config struct {
	Name  string // of the scenario, for the trace
	Seed  uint64
	Hosts []Host
	Nodes []Node
	Link  Link // every pair of nodes, unless Links names the pair
	Links map[[2]actor.ID]Link
	Trace *trace.Log
	Log   *zap.Logger // nil: none
	// Sometimes is the probability of each Probe.Sometimes site; 0: never.
	Sometimes float64
	// Sites is the probability of single sites, in every node; it goes before
	// Sometimes.
	Sites map[string]float64
	// Poison overwrites every received message after its handler returned, so
	// that an actor that kept one is found out.
	Poison bool
	// Decisions, if set, sees every random decision; see [Decision].
	Decisions func(Decision)
	// Deviate, if set, is asked about every message that a link would deliver,
	// and may have it otherwise. It is for a search that enumerates schedules: a
	// run without it does not know that it exists.
	Deviate func(Transit) Deviation
}

// Transit is a message on its way, as the link would have it.
type Transit struct {
	From, To actor.ID
	Type     string        // full name of the payload
	Seq      uint64        // of its MessageSent in the trace
	Sent     time.Duration // since the run began
	Arrives  time.Duration
}

// Deviation is what becomes of a message instead. The zero value changes
// nothing.
type Deviation struct {
	Lose  bool          // it vanishes
	Delay time.Duration // it arrives so much later, and what is behind it overtakes it
	Copy  time.Duration // a second one arrives so much after the first
	// Crash kills the receiver just before the arrival. Its node starts again as
	// its own setting says.
	Crash bool
}

// A Decision is one random decision: what it was about and what it came to.
// Taint has bit k set if it lies in the causal future of the plan's step k.
type Decision struct {
	Purpose    string
	Identity   uint64
	Occurrence uint32
	Value      uint64
	Taint      uint64
}

// event is one pending event: a value of 64 bytes, one cache line, never boxed.
type event struct {
	kind  eventKind
	node  int32 // receiver
	from  int32
	slot  int32  // of a timer: in the node's table; of a call: in the world's
	life  uint32 // incarnation that the event is meant for
	gen   uint32 // of a timer or a wake
	cause uint64
	taint uint64
	data  []byte // of a message
}

type eventKind uint8

const (
	evMail eventKind = iota + 1
	evTimer
	evWake // a suspended coroutine goes on
	evStart
	evCall
)

// World is a running simulation. It is used from one goroutine.
type World struct {
	cfg     Config
	src     Source
	now     int64
	q       queue
	ev      event // the event being handled; a field, so that it does not escape
	soon    event // the event being scheduled, for the same reason
	log     *trace.Log
	hosts   []*host
	nodes   []*node
	current *node // whose code the thread is in, if any
	byID    map[actor.ID]int32
	rules   []*linkRule
	sites   []*siteRule
	links   []*link // by sender and receiver, made when first used
	seen    occurrences

	calls     []func() // of pending evCall events
	freeCalls []int32

	buffers [][]byte
	factBuf []byte
	out     envelopev2.EventEnvelope
	created timestamppb.Timestamp
	ttl     durationpb.Duration
	codec   *wire.Codec
	mail    wire.Mail
	auth    envelopev2.Auth

	stopped  bool
	before   uint64 // events of the trace when the last event of the queue began
	probes   map[string]uint64
	messages uint64
	nextRule int
	zap      *zap.Logger
}

// New builds a world. Errors say which part of the configuration is wrong.
func New(cfg Config) (*World, error) {
	if cfg.Trace == nil {
		cfg.Trace = trace.NewLog()
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	w := &World{
		cfg:    cfg,
		src:    NewSource(cfg.Seed),
		log:    cfg.Trace,
		byID:   make(map[actor.ID]int32),
		seen:   newOccurrences(),
		codec:  wire.NewCodec(),
		probes: make(map[string]uint64),
	}
	w.zap = cfg.Log.WithOptions(zap.WithClock(zapClock{w}))
	hosts := make(map[string]*host)
	for _, h := range cfg.Hosts {
		if _, dup := hosts[h.Name]; dup {
			return nil, fmt.Errorf("host %q is declared twice", h.Name)
		}
		hh := newHost(h)
		for i, c := range h.Chips {
			c.Clock(func() time.Duration { return time.Duration(hh.monotonic(w.now)) })
			c.Watch(func(k simulated.Change) { w.changed(hh, i, k) })
		}
		hosts[h.Name] = hh
		w.hosts = append(w.hosts, hh)
	}
	for _, n := range cfg.Nodes {
		h := hosts[n.Host]
		if h == nil {
			return nil, fmt.Errorf("node %q is on host %q, which is not declared", n.ID, n.Host)
		}
		if _, dup := w.byID[n.ID]; dup {
			return nil, fmt.Errorf("node %q is declared twice", n.ID)
		}
		if n.Make == nil {
			return nil, fmt.Errorf("node %q has no constructor", n.ID)
		}
		if err := h.makeRoot(n); err != nil {
			return nil, fmt.Errorf("node %q: %w", n.ID, err)
		}
		nn := newNode(w, n, h, int32(len(w.nodes)))
		w.byID[n.ID] = nn.idx
		w.nodes = append(w.nodes, nn)
		h.nodes = append(h.nodes, nn)
	}
	w.links = make([]*link, len(w.nodes)*len(w.nodes))
	return w, nil
}

// Now is the true virtual time since the run began.
func (w *World) Now() time.Duration { return time.Duration(w.now) }

// Hash is the hash of the run so far.
func (w *World) Hash() trace.Hash { return w.log.Hash() }

// Trace is the log that the world writes to.
func (w *World) Trace() *trace.Log { return w.log }

// Messages is how many messages were sent so far.
func (w *World) Messages() uint64 { return w.messages }

// Probes is how often each probe was reached.
func (w *World) Probes() map[string]uint64 { return w.probes }

// Stop ends Run after the current event. A checker's violation calls it.
func (w *World) Stop() { w.stopped = true }

// At runs f at a time of the run, between events. Key breaks ties with other
// events of that time.
func (w *World) At(at time.Duration, key uint64, f func()) {
	slot := int32(len(w.calls))
	if n := len(w.freeCalls); n > 0 {
		slot = w.freeCalls[n-1]
		w.freeCalls = w.freeCalls[:n-1]
		w.calls[slot] = f
	} else {
		w.calls = append(w.calls, f)
	}
	w.push(max(int64(at), w.now), trace.Mix(key, 7), &event{kind: evCall, slot: slot})
}

// ErrRunaway means that a run handled more events than any honest one does
// without virtual time going on.
var ErrRunaway = errors.New("events without end at one instant of virtual time")

const runawayLimit = 200_000

// Run starts every node that was never started and runs the world until the
// given time, until Stop, or until nothing is left to happen.
func (w *World) Run(until time.Duration) error {
	if w.log.Len() == 0 {
		e := w.log.Next(0, trace.RunStarted)
		e.Text, e.Arg = w.cfg.Name, int64(w.cfg.Seed)
		w.log.Commit()
		for _, n := range w.nodes {
			w.push(w.now, trace.String(1, string(n.spec.ID)), &event{kind: evStart, node: n.idx})
		}
	}
	for {
		again, err := w.spin(int64(until))
		if err != nil {
			return err
		}
		if !again {
			break
		}
	}
	if !w.stopped && w.now < int64(until) {
		w.now = int64(until)
	}
	return nil
}

// spin handles events until the given time. again is true where a callback
// node panicked: its life has ended, and the world goes on. One deferred call
// for all events costs less than one for each.
func (w *World) spin(until int64) (again bool, err error) {
	defer func() {
		n := w.current
		if n == nil || !n.spec.Callback {
			return // a panic is the kernel's own, and not to be hidden
		}
		n.ended(recover())
		w.current = nil
		n.settle()
		again = true
	}()
	same := 0
	for w.q.len() > 0 && !w.stopped {
		at := w.q.next()
		if at > until {
			break
		}
		if at > w.now {
			same = 0
		} else if same++; same > runawayLimit {
			return false, fmt.Errorf("%w: %s", ErrRunaway, trace.Stamp(w.now))
		}
		w.now = w.q.pop(&w.ev)
		w.step()
	}
	return false, nil
}

// End closes the trace and lets go of every coroutine. The world cannot run
// any more.
func (w *World) End() {
	for _, n := range w.nodes {
		n.kill()
	}
	e := w.log.Next(w.now, trace.RunEnded)
	e.Arg = int64(w.log.Len())
	w.log.Commit()
	w.stopped = true
}

func (w *World) push(at int64, tie uint64, ev *event) { w.q.push(at, tie, ev) }

// step handles w.ev.
func (w *World) step() {
	ev := &w.ev
	w.before = w.log.Len()
	switch ev.kind {
	case evCall:
		f := w.calls[ev.slot]
		w.calls[ev.slot] = nil
		w.freeCalls = append(w.freeCalls, ev.slot)
		f()
	case evStart:
		n := w.nodes[ev.node]
		if n.state == down && ev.life == n.life {
			n.taint |= ev.taint
			n.start()
		}
	case evWake:
		n := w.nodes[ev.node]
		if ev.life == n.life && n.state == suspended && ev.gen == n.sleep {
			if n.paused {
				n.wakeDue = true
				return
			}
			n.resume()
		}
	case evTimer:
		n := w.nodes[ev.node]
		if ev.life == n.life && n.state != down && n.timers.due(ev) {
			n.arrive(ev)
		}
	case evMail:
		n := w.nodes[ev.node]
		switch {
		case w.cut(ev.from, ev.node):
			w.dropped(ev, "partitioned")
		case n.state == down:
			w.dropped(ev, "the node is down")
		default:
			n.arrive(ev)
		}
	}
}

func (w *World) dropped(ev *event, why string) {
	e := w.log.Next(w.now, trace.MessageDropped)
	e.Node, e.Peer = string(w.nodes[ev.from].spec.ID), string(w.nodes[ev.node].spec.ID)
	e.Cause, e.Text = ev.cause, why
	w.log.Commit()
	w.release(ev.data)
	ev.data = nil
}

func (w *World) buffer() []byte {
	if n := len(w.buffers); n > 0 {
		b := w.buffers[n-1]
		w.buffers = w.buffers[:n-1]
		return b[:0]
	}
	return make([]byte, 0, 512)
}

func (w *World) release(b []byte) {
	if b == nil {
		return
	}
	if w.cfg.Poison {
		b = b[:cap(b)]
		for i := range b {
			b[i] = 0xdb
		}
	}
	w.buffers = append(w.buffers, b[:0])
}

// decide makes one keyed decision about an identity.
func (w *World) decide(purpose string, identity uint64, occurrence uint32, taint uint64) uint64 {
	v := w.src.At(purpose, identity, uint64(occurrence))
	if w.cfg.Decisions != nil {
		w.cfg.Decisions(Decision{purpose, identity, occurrence, v, taint})
	}
	return v
}

func (w *World) lookup(id actor.ID) (*node, error) {
	i, ok := w.byID[id]
	if !ok {
		return nil, fmt.Errorf("unknown node %q", id)
	}
	return w.nodes[i], nil
}

func (w *World) host(name string) (*host, error) {
	for _, h := range w.hosts {
		if h.spec.Name == name {
			return h, nil
		}
	}
	return nil, fmt.Errorf("unknown host %q", name)
}

// fact records what an actor claims.
func (n *node) fact(m canon.Message) {
	w := n.w
	w.factBuf = m.AppendCanonical(w.factBuf[:0])
	e := w.log.Next(w.now, trace.FactDeclared)
	e.Node, e.Incarnation, e.Cause = string(n.spec.ID), n.life, n.cause
	e.Text, e.Data, e.Value = m.FullName(), w.factBuf, m
	w.log.Commit()
}
