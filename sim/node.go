package sim

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu/simulated"
	"github.com/esper-sim/espersim/sim/trace"
)

// state is what a node can do with an event.
type state uint8

const (
	down      state = iota // no process; mail is lost
	starting               // in its constructor or Start
	idle                   // waiting for mail
	running                // inside a handler, now
	suspended              // inside a handler, until a wake event
)

// node is one process.
type node struct {
	w    *World
	spec Node
	host *host
	idx  int32
	src  Source
	sum  uint64 // of the name, for the trace's hash

	state   state
	life    uint32 // incarnation; 0 before the first start
	dead    bool   // the latch: every call of the actor unwinds
	paused  bool
	wakeDue bool
	slow    int64 // work and file operations take this many times as long, in 1/1000
	sleep   uint32
	inbox   []event
	head    int

	accels []*simulated.Context // of this life
	act    actor.Actor
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	work   event // what the coroutine is to handle
	began  bool  // the actor was constructed and Start returned
	exit   error // why the coroutine ended by itself
	panic  bool

	cause    uint64
	taint    uint64
	codec    *wire.Codec
	envelope *envelopev2.EventEnvelope
	bytes    []byte
	fired    localv2.TimerFired
	timers   timerTable
	sequence map[string]int64 // of publications, by topic
	direct   int64            // of direct messages
	peers    []peer
	ops      int
	crashAt  []opCrash

	sendCrashes []sendCrash
}

// sendCrash is a crash that waits for a message of the node.
type sendCrash struct {
	left    int
	kind    string
	restart time.Duration
	done    func()
	taint   uint64
}

// peer is a correspondent of a node.
type peer struct {
	id  actor.ID
	idx int32
}

// opCrash is a crash that waits for an I/O operation of the node.
type opCrash struct {
	left    int // operations to go, over all lives
	host    bool
	restart time.Duration
	done    func()
	taint   uint64
}

func newNode(w *World, spec Node, h *host, idx int32) *node {
	if spec.Schema == (wire.Version{}) {
		spec.Schema = wire.Newest
	}
	return &node{
		w: w, spec: spec, host: h, idx: idx,
		src:      w.src.node(string(spec.ID)),
		sum:      trace.NodeSum(string(spec.ID)),
		slow:     1000,
		codec:    wire.NewCodecAs(spec.Schema),
		timers:   timerTable{seed: uint64(idx)},
		sequence: make(map[string]int64),
	}
}

// killed unwinds a dead actor's stack up to its coroutine.
type killed struct{}

// start begins a new life.
func (n *node) start() {
	w := n.w
	n.life++
	n.state, n.dead, n.began, n.exit, n.panic = starting, false, false, nil, false
	n.ops, n.wakeDue = 0, false
	n.inbox, n.head = n.inbox[:0], 0
	n.timers.reset()
	e := w.log.Next(w.now, trace.NodeStarted)
	e.Node, e.Incarnation, e.Text = string(n.spec.ID), n.life, n.host.spec.Name
	if v := n.spec.Schema; v != wire.Newest {
		e.Arg = trace.SchemaArg(v.Major, v.Minor)
	}
	n.cause = w.log.Commit()
	if n.spec.Callback {
		n.call(n.boot)
		return
	}
	n.next, n.stop = iter.Pull(n.run)
	n.resume()
}

// run is the coroutine of one life.
func (n *node) run(yield func(struct{}) bool) {
	n.yield = yield
	defer n.caught()
	n.boot()
	for n.exit == nil {
		n.idle()
		n.handle(&n.work)
	}
}

// call runs f as a piece of a callback node's life.
func (n *node) call(f func()) {
	n.w.current = n
	func() {
		defer n.caught()
		f()
	}()
	n.w.current = nil
	n.settle()
}

// guarded handles an event of a callback node without a closure, which would
// be allocated for each.
func (n *node) guarded(ev *event) {
	defer n.caught()
	n.handle(ev)
}

// caught is deferred around everything an actor does: it turns a panic of the
// actor into the end of its life.
func (n *node) caught() { n.ended(recover()) }

// ended notes what a life ended with, if it ended by a panic.
func (n *node) ended(r any) {
	if r == nil {
		return
	}
	if _, ok := r.(killed); ok {
		return
	}
	n.panic = true
	n.exit = fmt.Errorf("panic: %v at %s", r, panicSite(debug.Stack()))
}

// panicSite is the first frame below the panic that belongs to the actor. The
// whole stack holds addresses, which differ from run to run.
func panicSite(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") && i+3 < len(lines) {
			for _, f := range lines[i+2:] {
				if !strings.HasPrefix(f, "\t") && f != "" && !strings.HasPrefix(f, "runtime.") {
					if p := strings.LastIndex(f, "("); p > 0 {
						f = f[:p]
					}
					return f
				}
			}
		}
	}
	return "an unknown place"
}

func (n *node) boot() {
	a, err := n.spec.Make(n.env())
	if err == nil {
		n.act = a
		err = a.Start()
	}
	n.alive()
	if err != nil {
		n.exit = err
		return
	}
	n.began = true
	e := n.w.log.Next(n.w.now, trace.NodeReady)
	e.Node, e.Incarnation = string(n.spec.ID), n.life
	n.w.log.Commit()
}

// alive unwinds a dead actor: the latch that every call on Env checks.
func (n *node) alive() {
	if n.dead {
		panic(killed{})
	}
}

// idle gives the thread back until there is mail.
func (n *node) idle() {
	n.state = idle
	if !n.yield(struct{}{}) {
		panic(killed{})
	}
	n.state = running
}

// suspend gives the thread back for d of true virtual time.
func (n *node) suspend(d int64) {
	n.alive()
	if n.spec.Callback {
		panic(fmt.Sprintf("%s is a callback node and must not do anything that takes time", n.spec.ID))
	}
	if d < 0 {
		d = 0
	}
	n.sleep++
	n.w.push(n.w.now+d, trace.String(3, string(n.spec.ID)), &event{
		kind: evWake, node: n.idx, life: n.life, gen: n.sleep,
	})
	n.await()
}

// await gives the thread back until something resumes the node.
func (n *node) await() {
	n.state = suspended
	if !n.yield(struct{}{}) {
		panic(killed{})
	}
	n.alive()
	n.state = running
}

// resume runs the coroutine until it gives the thread back, and then whatever
// mail has gathered.
func (n *node) resume() {
	for {
		n.w.current = n
		_, more := n.next()
		n.w.current = nil
		if !more {
			n.settle()
			return
		}
		if n.state != idle || n.paused || n.head == len(n.inbox) {
			return
		}
		n.work = n.inbox[n.head]
		n.inbox[n.head] = event{}
		n.head++
		if n.head == len(n.inbox) {
			n.inbox, n.head = n.inbox[:0], 0
		}
	}
}

// settle ends a life whose coroutine has returned or whose callback failed.
func (n *node) settle() {
	if n.spec.Callback && n.exit == nil && !n.dead {
		n.state = idle
		return
	}
	if n.state == down {
		return
	}
	n.bury()
	if n.exit != nil && !n.dead {
		e := n.w.log.Next(n.w.now, trace.NodeExited)
		e.Node, e.Incarnation, e.Text, e.Cause = string(n.spec.ID), n.life, n.exit.Error(), n.cause
		var meant *actor.Exit
		switch {
		case n.panic:
			e.Arg = 1
		case errors.As(n.exit, &meant):
			e.Arg = 2
		}
		n.w.log.Commit()
		if meant != nil && meant.Reboot {
			n.w.reboot(n)
			return
		}
		n.restartAfter(n.spec.Restart)
	}
}

// bury forgets everything that a process has in memory.
func (n *node) bury() {
	n.state = down
	n.act, n.next, n.stop, n.yield = nil, nil, nil, nil
	n.closeDevices()
	n.envelope, n.bytes = nil, nil
	for i := n.head; i < len(n.inbox); i++ {
		n.w.release(n.inbox[i].data)
		n.inbox[i] = event{}
	}
	n.inbox, n.head = n.inbox[:0], 0
	n.work = event{}
	n.timers.reset()
	n.paused, n.wakeDue = false, false
}

func (n *node) restartAfter(d time.Duration) {
	if d < 0 {
		return
	}
	n.w.push(n.w.now+int64(d), trace.String(2, string(n.spec.ID)), &event{
		kind: evStart, node: n.idx, life: n.life, taint: n.taint,
	})
}

// kill ends the process at once, wherever it is. If the thread is inside the
// process, the caller unwinds it with alive.
func (n *node) kill() {
	if n.state == down {
		return
	}
	n.dead = true
	if n.w.current == n {
		return
	}
	if !n.spec.Callback {
		n.stop()
	}
	n.bury()
}

// arrive takes an event that has reached a living node.
func (n *node) arrive(ev *event) {
	if n.state != idle || n.paused || n.head < len(n.inbox) {
		n.inbox = append(n.inbox, *ev)
		return
	}
	if n.spec.Callback {
		n.state = running
		n.w.current = n
		n.handle(ev) // a panic ends up in World.spin
		n.w.current = nil
		n.settle()
		return
	}
	n.work = *ev
	n.resume()
}

// callback handles an event on the kernel's own stack.
func (n *node) callback(ev *event) {
	n.state = running
	n.w.current = n
	n.guarded(ev)
	n.w.current = nil
	n.settle()
}

// drain goes on with what gathered while the node was paused.
func (n *node) drain() {
	if n.wakeDue {
		n.wakeDue = false
		n.resume()
		return
	}
	for n.state == idle && !n.paused && n.head < len(n.inbox) {
		ev := n.inbox[n.head]
		n.head++
		if n.head == len(n.inbox) {
			n.inbox, n.head = n.inbox[:0], 0
		}
		if n.spec.Callback {
			n.callback(&ev)
		} else {
			n.work = ev
			n.resume()
		}
	}
}

// handle gives one event to the actor.
func (n *node) handle(ev *event) {
	switch ev.kind {
	case evTimer:
		n.handleTimer(ev)
	case evMail:
		n.handleMail(ev)
	}
	n.alive()
}

func (n *node) handleTimer(ev *event) {
	t := n.timers.take(ev)
	if t == nil {
		return // stopped or set again while it waited in the inbox
	}
	e := n.w.log.Next(n.w.now, trace.TimerFired)
	e.From(string(n.spec.ID), n.life, n.sum)
	e.Text, e.Arg, e.Cause = t.name, t.arg, ev.cause
	n.cause = n.w.log.Commit()
	if n.w.cfg.Decisions != nil {
		// A timer is how a node notices mail that did not come: silence, too,
		// has a cause, in whoever might have written.
		for _, p := range n.peers {
			n.taint |= n.w.nodes[p.idx].taint
		}
	}
	n.fired.Name, n.fired.Arg = t.name, t.arg
	n.receive(n.spec.ID, &n.fired)
}

func (n *node) handleMail(ev *event) {
	w := n.w
	from := w.nodes[ev.from]
	n.taint |= ev.taint
	env, m, err := n.codec.Open(ev.data)
	if err != nil {
		e := w.log.Next(w.now, trace.MessageRefused)
		e.Node, e.Peer, e.Incarnation = string(from.spec.ID), string(n.spec.ID), n.life
		e.Cause, e.Text, e.Data = ev.cause, err.Error(), ev.data
		w.log.Commit()
		w.release(ev.data)
		return
	}
	e := w.log.Next(w.now, trace.MessageDelivered)
	e.From(string(from.spec.ID), n.life, from.sum)
	e.Peer, e.Cause, e.Data = string(n.spec.ID), ev.cause, ev.data
	w.mail.Envelope, w.mail.Payload = env, m
	e.Value = &w.mail
	n.cause = w.log.Commit()
	n.envelope, n.bytes = env, ev.data
	n.receive(from.spec.ID, m)
	n.envelope, n.bytes = nil, nil
	w.release(ev.data)
}

func (n *node) receive(from actor.ID, m canon.Message) {
	if err := n.act.Receive(from, m); err != nil {
		n.alive()
		n.exit = err
	}
}
