package sim

import (
	"strings"
	"time"

	"github.com/esper-sim/espersim/sim/trace"
)

// Link is what a link does when nothing disturbs it. It delivers in order.
type Link struct {
	Latency Latency
	Loss    float64 // probability that a message vanishes
}

// Latency is a distribution of delays by four of its quantiles, linear in
// between. A table, since the exponential function of the standard library
// chooses its instructions by processor.
type Latency struct {
	Min, P50, P99, Max time.Duration
}

// DefaultLatency is that of a rack's network.
var DefaultLatency = Latency{
	Min: 50 * time.Microsecond, P50: 120 * time.Microsecond,
	P99: 900 * time.Microsecond, Max: 5 * time.Millisecond,
}

// at is the delay under a draw.
func (l Latency) at(draw uint64) int64 {
	const half, p99 = uint64(1) << 63, ^uint64(0) / 100 * 99
	lerp := func(lo, hi time.Duration, part, whole uint64) int64 {
		if hi <= lo {
			return int64(lo)
		}
		return int64(lo) + int64(below(part*(^uint64(0)/whole), uint64(hi-lo)))
	}
	switch {
	case draw < half:
		return lerp(l.Min, l.P50, draw, half)
	case draw < p99:
		return lerp(l.P50, l.P99, draw-half, p99-half)
	}
	return lerp(l.P99, l.Max, draw-p99, ^uint64(0)-p99)
}

// link is the state of one direction between two nodes.
type link struct {
	spec     Link
	lastFree int64 // when the last message in order arrives
}

func (w *World) link(from, to int32) *link {
	i := int(from)*len(w.nodes) + int(to)
	l := w.links[i]
	if l == nil {
		l = &link{spec: w.cfg.Link}
		if s, ok := w.cfg.Links[[2]NodeID{w.nodes[from].spec.ID, w.nodes[to].spec.ID}]; ok {
			l.spec = s
		}
		if l.spec.Latency == (Latency{}) {
			l.spec.Latency = DefaultLatency
		}
		w.links[i] = l
	}
	return l
}

// linkRule is a fault that holds on some links.
type linkRule struct {
	id    int
	spec  LinkFault
	both  bool // the opposite direction too
	taint uint64
	left  int // how often it may still fire; negative: no limit
	fired uint64
}

// LinkEffect is what a fault does to messages.
type LinkEffect uint8

// The effects of link faults.
const (
	LinkCut       LinkEffect = iota + 1 // nothing passes
	LinkDrop                            // a message vanishes
	LinkDelay                           // a message takes longer, the ones behind it too
	LinkReorder                         // a message takes longer, and others overtake it
	LinkDuplicate                       // a message arrives a second time, later
	LinkCorrupt                         // one bit of the encoded bytes is flipped
)

// LinkFault is a fault on the links that it selects. Empty selectors match
// everything.
type LinkFault struct {
	Effect LinkEffect
	From   []string // names of nodes
	To     []string
	Type   string        // full name of the payload or its last part; a * at the end matches any rest
	Rate   float64       // probability for each message; 0 counts as 1
	Delay  time.Duration // for delay, reorder and duplicate: the most
	Count  int           // how many messages it hits at most; 0: no limit
	Taint  uint64
}

func contains(names []string, n string) bool {
	if len(names) == 0 {
		return true
	}
	for _, s := range names {
		if s == n {
			return true
		}
	}
	return false
}

func typeMatches(want, full string) bool {
	if want == "" || want == full {
		return true
	}
	if p, ok := strings.CutSuffix(want, "*"); ok {
		return strings.HasPrefix(full, p) || strings.HasPrefix(full[strings.LastIndexByte(full, '.')+1:], p)
	}
	n := len(full) - len(want)
	return n > 0 && full[n-1] == '.' && full[n:] == want
}

func (r *linkRule) selects(from, to *node) bool {
	a, b := string(from.spec.ID), string(to.spec.ID)
	return contains(r.spec.From, a) && contains(r.spec.To, b) ||
		r.both && contains(r.spec.From, b) && contains(r.spec.To, a)
}

// cut says whether a link is cut now.
func (w *World) cut(from, to int32) bool {
	for _, r := range w.rules {
		if r.spec.Effect == LinkCut && r.selects(w.nodes[from], w.nodes[to]) {
			r.fired++
			w.nodes[to].taint |= r.taint
			return true
		}
	}
	return false
}

// transmit decides what a link does to a message, and schedules its arrival.
func (w *World) transmit(from, to *node, kind string, b []byte, cause, identity uint64, occurrence uint32) {
	l := w.link(from.idx, to.idx)
	ev := event{kind: evMail, node: to.idx, from: from.idx, cause: cause, taint: from.taint, data: b}
	draw := w.decide("latency", identity, occurrence, from.taint)
	delay := l.spec.Latency.at(draw)
	if l.spec.Loss > 0 && chance(w.decide("loss", identity, occurrence, from.taint), l.spec.Loss) {
		w.dropped(&ev, "lost")
		return
	}
	inOrder, copies := true, int64(0)
	for _, r := range w.rules {
		if !r.selects(from, to) || r.left == 0 || !typeMatches(r.spec.Type, kind) {
			continue
		}
		if r.spec.Effect == LinkCut {
			r.fired++
			from.taint |= r.taint
			to.taint |= r.taint
			w.dropped(&ev, "partitioned")
			return
		}
		v := w.decide(effectPurposes[r.spec.Effect], identity, occurrence, from.taint|r.taint)
		if r.spec.Rate > 0 && !chance(v, r.spec.Rate) {
			continue
		}
		r.fired++
		if r.left > 0 {
			r.left--
		}
		ev.taint |= r.taint
		to.taint |= r.taint
		extra := int64(below(trace.Mix(v, 1), uint64(max(int64(r.spec.Delay), 1)))) + 1
		switch r.spec.Effect {
		case LinkDrop:
			w.dropped(&ev, "dropped")
			return
		case LinkDelay:
			delay += extra
		case LinkReorder:
			delay += extra
			inOrder = false
		case LinkDuplicate:
			copies = extra
		case LinkCorrupt:
			bit := below(trace.Mix(v, 2), uint64(len(b))*8)
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	at := w.now + delay
	if inOrder {
		at = max(at, l.lastFree)
		l.lastFree = at
	}
	tie := trace.Mix(identity, uint64(occurrence))
	if w.cfg.Deviate != nil {
		d := w.cfg.Deviate(Transit{from.spec.ID, to.spec.ID, kind, cause, time.Duration(w.now), time.Duration(at)})
		if d.Lose {
			w.dropped(&ev, "dropped")
			return
		}
		at += int64(d.Delay)
		copies += int64(d.Copy)
		if d.Crash {
			w.At(time.Duration(at-1), identity, func() { w.crashNode(to, to.spec.Restart) })
		}
	}
	if copies > 0 {
		again := ev
		again.data = append(w.buffer(), b...)
		w.push(at+copies, trace.Mix(tie, 1), &again)
	}
	w.push(at, tie, &ev)
}

var effectPurposes = [...]string{"", "cut", "drop", "delay", "reorder", "duplicate", "corrupt"}
