package config

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
)

// Entries is a whole configuration, sorted by key.
type Entries []*operationsv2.ConfigEntry

// With is the configuration after a change. The old one stays as it is.
func (es Entries) With(change []*operationsv2.ConfigEntry) Entries {
	out := slices.Clone(es)
	for _, c := range change {
		i, found := out.find(c.Key)
		if found {
			out[i] = c
		} else {
			out = slices.Insert(out, i, c)
		}
	}
	return out
}

func (es Entries) find(key string) (int, bool) {
	return slices.BinarySearchFunc(es, key, func(e *operationsv2.ConfigEntry, k string) int { return cmp.Compare(e.Key, k) })
}

// Get is the entry of a key, or nil.
func (es Entries) Get(key string) *operationsv2.ConfigEntry {
	if i, found := es.find(key); found {
		return es[i]
	}
	return nil
}

// Digest identifies the configuration.
func (es Entries) Digest() [32]byte {
	return sha256.Sum256((&operationsv2.ConfigSnapshot{Entries: es}).AppendCanonical(nil))
}

// holding is what a subsystem has: the configuration at a revision, and the
// changes right after it.
type holding struct {
	base    uint64
	entries Entries
	changes []*operationsv2.ConfigChange
}

// tip is the newest revision that is held.
func (h *holding) tip() uint64 { return h.base + uint64(len(h.changes)) }

// has says whether a revision can be taken in force.
func (h *holding) has(revision uint64) bool { return revision >= h.base && revision <= h.tip() }

// add takes the change right after the tip. false: it is known, or there is a gap.
func (h *holding) add(c *operationsv2.ConfigChange) bool {
	if c.Revision != h.tip()+1 {
		return false
	}
	h.changes = append(h.changes, c)
	return true
}

// replace takes a snapshot, if it says more than is held.
func (h *holding) replace(s *operationsv2.ConfigSnapshot) bool {
	n := holding{base: s.Revision, entries: s.Entries}
	for _, c := range s.Announced {
		n.add(c)
	}
	switch {
	case n.base > h.tip(): // a gap: what was held leads nowhere
		*h = n
		return true
	case n.tip() > h.tip():
		for _, c := range n.changes {
			h.add(c)
		}
		return true
	}
	return false
}

// advance makes a held revision the base.
func (h *holding) advance(revision uint64) {
	for h.base < revision {
		h.entries = h.entries.With(h.changes[0].Entries)
		h.changes = h.changes[1:]
		h.base++
	}
}

// boundary is the beginning of an epoch.
type boundary struct {
	generation uint32
	epoch      int64
}

func (b boundary) compare(o boundary) int {
	return cmp.Or(cmp.Compare(b.generation, o.generation), cmp.Compare(b.epoch, o.epoch))
}

// question is the id under which Mycosynth is asked what the boundary has.
func (b boundary) question() string { return fmt.Sprint("boundary/", b.generation, "/", b.epoch) }
