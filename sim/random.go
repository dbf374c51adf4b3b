package sim

import (
	"math/bits"

	"github.com/esper-sim/espersim/sim/trace"
)

// A Source makes keyed random values: a value is a hash of the run seed, a
// purpose and the identity of the thing decided on. There is no stream, so no
// decision shifts another: removing one fault from a plan leaves every
// decision outside its causal future as it was.
type Source struct{ seed uint64 }

// NewSource is the source of a run seed.
func NewSource(seed uint64) Source {
	return Source{trace.Mix(0x9e3779b97f4a7c15, seed)}
}

// At is the value for a purpose and an identity.
func (s Source) At(purpose string, a, b uint64) uint64 {
	return trace.Mix(trace.Mix(trace.String(s.seed, purpose), a), b)
}

// For is At, for the interfaces that name it so.
func (s Source) For(purpose string, a, b uint64) uint64 { return s.At(purpose, a, b) }

// node narrows the source to one node, for what the node itself draws.
func (s Source) node(id string) Source { return Source{trace.String(s.seed, id)} }

// below maps a draw to 0 ≤ x < n without bias worth measuring.
func below(draw uint64, n uint64) uint64 {
	hi, _ := bits.Mul64(draw, n)
	return hi
}

// chance says whether an event of probability p happens under the draw.
func chance(draw uint64, p float64) bool {
	if p >= 1 {
		return true
	}
	// 53 bits, exact in a float64.
	return float64(draw>>11)*(1.0/(1<<53)) < p
}

// occurrences counts how often an identity has been seen, so that the second
// of two equal messages gets a decision of its own. It forgets identities that
// were not seen for a whole period of virtual time: a run that lasts ten times
// longer must not need more memory.
type occurrences struct {
	young, old counts
	period     int64 // index of the period that young belongs to
}

const occurrencePeriod = int64(20e9) // ns

func newOccurrences() occurrences { return occurrences{young: newCounts(), old: newCounts()} }

// next returns how often id was seen before, and counts it.
func (o *occurrences) next(now int64, id uint64) uint32 {
	// The period is absolute, so that what else happens in a run does not
	// change when an identity is forgotten.
	if p := now / occurrencePeriod; p != o.period {
		o.old, o.young = o.young, o.old
		o.young.clear()
		if p != o.period+1 {
			o.old.clear()
		}
		o.period = p
	}
	slot := o.young.slot(id)
	if slot.n == 0 {
		before := o.old.get(id)
		slot.n = before + 1
		o.young.grow()
		return before
	}
	slot.n++
	return slot.n - 1
}

// counts maps identities, which are hashes already, to how often they were
// seen. It is open addressing with linear probing: a third of the time of a
// built-in map.
type counts struct {
	slots []count
	used  int
}

type count struct {
	id uint64
	n  uint32 // 0: the slot is free
}

func newCounts() counts { return counts{slots: make([]count, 256)} }

// slot finds the slot of id, or a free one that it takes for it.
func (c *counts) slot(id uint64) *count {
	mask := uint64(len(c.slots) - 1)
	for i := id & mask; ; i = (i + 1) & mask {
		s := &c.slots[i]
		if s.n == 0 {
			s.id = id
			c.used++
			return s
		}
		if s.id == id {
			return s
		}
	}
}

func (c *counts) get(id uint64) uint32 {
	mask := uint64(len(c.slots) - 1)
	for i := id & mask; ; i = (i + 1) & mask {
		s := &c.slots[i]
		if s.n == 0 || s.id == id {
			return s.n
		}
	}
}

// grow keeps at least half of the slots free.
func (c *counts) grow() {
	if 2*c.used < len(c.slots) {
		return
	}
	old := c.slots
	c.slots, c.used = make([]count, 2*len(old)), 0
	for _, s := range old {
		if s.n > 0 {
			*c.slot(s.id) = s
		}
	}
}

func (c *counts) clear() {
	clear(c.slots)
	c.used = 0
}

// Named narrows the source to one thing with a name, such as a host's disk.
func (s Source) Named(name string) Source { return s.node("named " + name) }
