package mycosynth

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/cluster/config"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// answers is how many answers are remembered.
const answers = 1024

// most entries of one revision.
const most = 16

// state is what the log says.
type state struct {
	revision uint64 // in force
	entries  config.Entries
	decision *operationsv2.ConfigDecision // by which; nil: none
	open     *operationsv2.ConfigChange   // announced, and not decided; nil: none
	sealed   bool                         // every live subsystem has the open one
	queue    []*operationsv2.ConfigEntry  // accepted, and not announced
	replies  map[string]*operationsv2.ConfigReply
	order    []string
}

func newState() *state { return &state{replies: map[string]*operationsv2.ConfigReply{}} }

// version is the newest version of a key, whether in force, announced or queued.
func (s *state) version(key string) uint64 {
	for i := len(s.queue) - 1; i >= 0; i-- {
		if s.queue[i].Key == key {
			return s.queue[i].Version
		}
	}
	if s.open != nil {
		for _, e := range s.open.Entries {
			if e.Key == key {
				return e.Version
			}
		}
	}
	if e := s.entries.Get(key); e != nil {
		return e.Version
	}
	return 0
}

// consider says what a request comes to.
func (s *state) consider(m *operationsv2.ConfigRequest) *operationsv2.ConfigReply {
	r := &operationsv2.ConfigReply{RequestId: m.RequestId, Version: s.version(m.Key)}
	if err := config.Check(m.Key, m.Value); err != nil {
		r.Reason = err.Error()
	} else if m.ExpectedVersion != r.Version {
		r.Reason = fmt.Sprintf("%s has version %d, not %d", m.Key, r.Version, m.ExpectedVersion)
	} else {
		r.Accepted = true
		r.Version++
	}
	return r
}

// next is the revision that the queue makes: at most one entry a key.
func (s *state) next(epoch int64, generation uint32) *operationsv2.ConfigChange {
	c := &operationsv2.ConfigChange{Revision: s.revision + 1, EffectiveEpoch: epoch, RollbackGeneration: generation}
	for _, e := range s.queue {
		if len(c.Entries) == most || slices.ContainsFunc(c.Entries, func(x *operationsv2.ConfigEntry) bool { return x.Key == e.Key }) {
			break
		}
		c.Entries = append(c.Entries, e)
	}
	slices.SortFunc(c.Entries, func(a, b *operationsv2.ConfigEntry) int { return cmp.Compare(a.Key, b.Key) })
	return c
}

// apply enters a record of the log.
func (s *state) apply(m *statev2.MycosynthRecord) {
	switch {
	case m.Reply != nil:
		if m.Reply.Accepted && m.Request != nil {
			s.queue = append(s.queue, &operationsv2.ConfigEntry{Key: m.Request.Key, Value: m.Request.Value, Version: m.Reply.Version})
		}
		if s.replies[m.Reply.RequestId] == nil {
			s.order = append(s.order, m.Reply.RequestId)
			if len(s.order) > answers {
				delete(s.replies, s.order[0])
				s.order = s.order[1:]
			}
		}
		s.replies[m.Reply.RequestId] = m.Reply
	case m.Change != nil:
		s.open, s.sealed = m.Change, false
		s.queue = s.queue[min(len(m.Change.Entries), len(s.queue)):]
	case m.Sealed != 0:
		s.sealed = s.open != nil && s.open.Revision == m.Sealed
	case m.Decision != nil:
		if s.open != nil && s.open.Revision == m.Decision.Revision {
			s.entries = s.entries.With(s.open.Entries)
			s.revision, s.decision = m.Decision.Revision, m.Decision
			s.open, s.sealed = nil, false
		}
	}
}

// snapshot is everything, for who lacks something.
func (s *state) snapshot(request string) *operationsv2.ConfigSnapshot {
	m := &operationsv2.ConfigSnapshot{RequestId: request, Revision: s.revision, Entries: s.entries}
	if s.open != nil {
		m.Announced = append(m.Announced, s.open)
	}
	return m
}
