// Package outbox holds publications until the bus has acknowledged them: it
// sends them again, with growing patience, and never more of them than a
// limit.
//
// It lives in memory. What must survive a crash is logged by its owner first
// and put again under the same event id after a restart; the bus drops the
// second copy.
package outbox

import (
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/pressure"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Timer is the name of the timer that the owner passes to Tick.
const Timer = "outbox"

const (
	firstWait = 300 * time.Millisecond
	longest   = 2 * time.Second
)

// Letter is one publication. Message belongs to the box until it is done.
type Letter struct {
	ID      string // event id; also the identity of the message
	Topic   string
	Message canon.Message
	Options actor.SendOptions
	// Ordered: it is sent only when no earlier ordered letter of the topic
	// waits. Without that a lost first copy would stand behind its successor
	// in the bus's log.
	Ordered bool
	Tries   uint32 // most copies; 0: until acknowledged
	// Yields says that it can wait: the fuller the bus says that it is, the
	// further such letters are apart.
	Yields bool
	Done   func() // called when the bus has it; nil: nothing
}

type item struct {
	Letter
	sent   uint32
	tooNew uint32        // copies of it that the bus refused as too new
	held   bool          // it waits for its readers to be upgraded
	due    time.Duration // monotonic, of the next copy
}

// readers is what the bus said of the readers of a topic.
type readers struct {
	minor uint32        // that all of them know
	until time.Duration // when to ask again
}

// remember is how long the bus's word about readers is believed.
const remember = 5 * time.Second

// Box is an outbox.
type Box struct {
	env   actor.Env
	bus   actor.ID
	limit int
	items []*item
	reads map[string]readers // by topic
	full  pressure.Level
	since time.Duration // when the bus last said how full it is
	next  time.Duration // before then no new letter that yields is sent
	armed bool
	// Dropped counts letters that were given up.
	Dropped uint64
}

// New makes a box for at most limit letters to the bus.
func New(env actor.Env, bus actor.ID, limit int) *Box {
	return &Box{env: env, bus: bus, limit: limit}
}

// Len is how many letters wait.
func (b *Box) Len() int { return len(b.items) }

// Put takes a letter and sends it. A letter that is in the box already is not
// taken twice. A full box drops its oldest letter with a limit of tries, and
// takes one without a limit in any case: its owner has promised it.
func (b *Box) Put(l Letter) {
	for _, it := range b.items {
		if it.ID == l.ID {
			return
		}
	}
	if len(b.items) >= b.limit {
		victim := -1
		for i, it := range b.items {
			if it.Tries > 0 {
				victim = i
				break
			}
		}
		if victim < 0 && l.Tries > 0 {
			b.Dropped++
			return
		}
		if victim >= 0 {
			b.Dropped++
			b.remove(victim)
		}
	}
	it := &item{Letter: l}
	b.items = append(b.items, it)
	switch {
	case b.blocked(len(b.items) - 1):
	case b.yield(it):
		b.env.Probe.Reached("outbox/yields")
	default:
		b.send(it)
	}
	b.arm()
}

// apart is how far letters that yield are from each other when the bus is full.
const apart = 2 * time.Second

// yield says whether a letter that was not sent yet is to wait for a bus that is
// under pressure. What the bus said long ago is not believed.
func (b *Box) yield(it *item) bool {
	now := b.env.Clock.Monotonic()
	if !it.Yields || it.sent > 0 || b.full == 0 || now-b.since > remember {
		return false
	}
	if now < b.next {
		it.due = b.next
		return true
	}
	b.next = now + apart*time.Duration(b.full)/time.Duration(pressure.Full)
	return false
}

// blocked says whether an earlier ordered letter of the topic waits.
func (b *Box) blocked(i int) bool {
	it := b.items[i]
	if !it.Ordered {
		return false
	}
	for _, before := range b.items[:i] {
		// One that waits for an upgrade holds up nobody: that may take long.
		if before.Ordered && !before.held && before.Topic == it.Topic {
			return true
		}
	}
	return false
}

func (b *Box) send(it *item) {
	o := it.Options
	o.Key, o.EventID, o.Topic, o.Attempt = it.ID, it.ID, it.Topic, it.sent
	if r, ok := b.reads[it.Topic]; ok && b.env.Clock.Monotonic() < r.until && wire.Expressible(it.Message, r.minor) {
		o.As = &r.minor
	}
	b.env.Net.Send(b.bus, it.Message, o)
	wait := longest
	if it.sent < 3 {
		wait = firstWait << it.sent
	}
	it.sent++
	it.due = b.env.Clock.Monotonic() + min(wait, longest)
}

func (b *Box) remove(i int) { b.items = append(b.items[:i], b.items[i+1:]...) }

// Acked takes the bus's answer.
func (b *Box) Acked(a *busv2.PublishAck) {
	b.full, b.since = pressure.In(a.Reason), b.env.Clock.Monotonic()
	for i, it := range b.items {
		if it.ID != a.EventId {
			continue
		}
		if a.Status == busv2.PublishStatus_TOO_NEW {
			b.older(it, a)
			return
		}
		if a.Status == busv2.PublishStatus_REFUSED {
			// A bus whose disk is full refuses too: later it may not.
			if it.Tries > 0 && it.sent-it.tooNew >= it.Tries {
				b.Dropped++
				b.remove(i)
			}
			return
		}
		topic, ordered := it.Topic, it.Ordered
		b.remove(i)
		if it.Done != nil {
			it.Done()
		}
		if ordered {
			for _, next := range b.items {
				if next.Ordered && next.Topic == topic {
					if next.sent == 0 {
						b.send(next)
					}
					break
				}
			}
		}
		return
	}
}

// older publishes a letter anew, in the version that its readers know. One that
// would say something else then waits until they know more.
func (b *Box) older(it *item, a *busv2.PublishAck) {
	if it.tooNew++; it.tooNew > it.sent {
		it.tooNew = it.sent // an answer that came twice
	}
	if b.reads == nil {
		b.reads = map[string]readers{}
	}
	b.reads[it.Topic] = readers{minor: a.ReadsMinor, until: b.env.Clock.Monotonic() + remember}
	if !wire.Expressible(it.Message, a.ReadsMinor) {
		b.env.Probe.Reached("outbox/held")
		it.held = true
		it.due = b.env.Clock.Monotonic() + longest
		return
	}
	b.env.Probe.Reached("outbox/as-older")
	b.send(it)
}

// Tick sends what is due again. The owner calls it when Timer fires.
func (b *Box) Tick() {
	b.armed = false
	now := b.env.Clock.Monotonic()
	for i := 0; i < len(b.items); i++ {
		it := b.items[i]
		// A letter with few tries would run out of them sooner, and one that waits
		// for an upgrade has been refused.
		early := it.Tries == 0 && !it.held && b.env.Probe.Sometimes("outbox/resend-early")
		if b.blocked(i) || it.due > now && !early || b.yield(it) {
			continue
		}
		if it.Tries > 0 && it.sent-it.tooNew >= it.Tries {
			b.Dropped++
			b.remove(i)
			i--
			continue
		}
		b.send(it)
	}
	b.arm()
}

func (b *Box) arm() {
	if len(b.items) > 0 && !b.armed {
		b.armed = true
		b.env.Clock.SetTimer(Timer, 0, firstWait)
	}
}
