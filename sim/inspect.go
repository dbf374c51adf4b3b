package sim

import (
	"cmp"
	"slices"
	"time"
)

// NodeView is what can be seen of a node from outside: nothing of what its
// process has in memory, which only its messages, facts and files tell.
type NodeView struct {
	Name       string
	Host       string
	State      string // down, starting, idle, running or suspended
	Life       uint32 // 0: it was never started
	Paused     bool
	Slow       float64 // work takes so many times as long
	Version    string  // of the contracts
	Operations int     // of this life, on its files
	Inbox      int     // messages and timers that wait for the process
	Timers     []TimerView
}

// TimerView is a timer that is running.
type TimerView struct {
	Name string
	Arg  int64
	Due  time.Duration // in true virtual time
}

// MailView is a message that was sent and has not arrived.
type MailView struct {
	From, To string
	Arrives  time.Duration
	Sent     uint64 // the event of its sending
	Data     []byte // a copy
}

var stateNames = [...]string{"down", "starting", "idle", "running", "suspended"}

// Nodes lists the names of the nodes, in the order of their declaration.
func (w *World) Nodes() []string {
	list := make([]string, len(w.nodes))
	for i, n := range w.nodes {
		list[i] = string(n.spec.ID)
	}
	return list
}

// View is what can be seen of a node now.
func (w *World) View(name string) (*NodeView, error) {
	n, err := w.lookup(NodeID(name))
	if err != nil {
		return nil, err
	}
	v := &NodeView{Name: name, Host: n.host.spec.Name, State: stateNames[n.state], Life: n.life, Paused: n.paused,
		Slow: float64(n.slow) / 1000, Version: n.spec.Schema.String(), Operations: n.ops, Inbox: len(n.inbox) - n.head}
	for _, k := range w.q.keys {
		ev := &w.q.slab[k.tie&slotMask]
		if ev.kind != evTimer || ev.node != n.idx || ev.life != n.life || n.state == down || !n.timers.due(ev) {
			continue
		}
		s := &n.timers.slots[ev.slot]
		v.Timers = append(v.Timers, TimerView{s.name, s.arg, time.Duration(k.at)})
	}
	slices.SortFunc(v.Timers, func(a, b TimerView) int {
		return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arg, b.Arg))
	})
	return v, nil
}

// InFlight lists the messages on their way, in the order of their arrival.
// What stands in an inbox has arrived.
func (w *World) InFlight() []MailView {
	keys := slices.Clone(w.q.keys)
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.tie, b.tie)) })
	var list []MailView
	for _, k := range keys {
		if ev := &w.q.slab[k.tie&slotMask]; ev.kind == evMail {
			list = append(list, MailView{From: string(w.nodes[ev.from].spec.ID), To: string(w.nodes[ev.node].spec.ID),
				Arrives: time.Duration(k.at), Sent: ev.cause, Data: slices.Clone(ev.data)})
		}
	}
	return list
}

// Next is when the next event of the queue is due; ok is false where nothing is
// left to happen.
func (w *World) Next() (at time.Duration, ok bool) {
	if w.q.len() == 0 {
		return 0, false
	}
	return time.Duration(w.q.next()), true
}

// Before is how many events the trace had when the event of the queue began
// that was handled last: where a run to there would have stopped before it.
func (w *World) Before() uint64 { return w.before }

// Resume lets Run go on after Stop.
func (w *World) Resume() { w.stopped = false }
