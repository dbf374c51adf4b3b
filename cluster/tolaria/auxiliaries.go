package tolaria

import (
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/auxiliary"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
)

// How long a rollback waits for auxiliaries: for their votes once the core has
// voted, and for each to restore. They are none of those that training needs.
const (
	auxiliaryVotes = 300 * time.Millisecond
	auxiliaryTurn  = time.Second
)

// joins takes an auxiliary's word that it lives.
func (t *tolaria) joins(from actor.ID, m *rollbackv2.RollbackHeartbeat) {
	for i, p := range t.auxiliary() {
		if from == p.id && m.Subsystem == p.name && m.RollbackId == "" {
			t.heard[i] = t.env.Clock.Monotonic()
		}
	}
}

// auxiliary lists all that there could be, in the order of auxiliary.Names.
func (t *tolaria) auxiliary() [3]party {
	return [3]party{{name: auxiliary.Names[0], id: t.job.Emrakul}, {name: auxiliary.Names[1], id: t.job.Nissa}, {name: auxiliary.Names[2], id: t.job.Simic}}
}

// auxiliaries are those that live.
func (t *tolaria) auxiliaries() []*party {
	var list []*party
	now := t.env.Clock.Monotonic()
	for i, p := range t.auxiliary() {
		if t.heard[i] > 0 && now-t.heard[i] < auxiliary.Fresh {
			list = append(list, &p)
		}
	}
	return list
}

// all are the core's participants and the auxiliaries.
func (rb *rollback) all() []*party {
	if len(rb.aux) == 0 {
		return rb.parties
	}
	return append(rb.parties[:len(rb.parties):len(rb.parties)], rb.aux...)
}

// agreed says whether the rollback can be decided: the core is unanimous, since
// two of three would strand one, and auxiliaries have voted or had their time. If
// fewer than 0.66 of them say yes, it is done without any: they go back by the
// event.
func (rb *rollback) agreed(now time.Duration) bool {
	for _, p := range rb.parties {
		if !p.yes {
			return false
		}
	}
	voted, yes := 0, 0
	for _, p := range rb.aux {
		if p.yes {
			yes++
		}
		if p.yes || p.out {
			voted++
		}
	}
	if voted < len(rb.aux) && now-rb.since < auxiliaryVotes {
		return false
	}
	if 100*yes < 66*len(rb.aux) {
		rb.alone = true
		for _, p := range rb.aux {
			p.yes = false
		}
	}
	return true
}

// follow has the next auxiliary restore, and says whether none is left.
func (t *tolaria) follow() bool {
	rb := t.rb
	for rb.turn < len(rb.aux) && (rb.aux[rb.turn].restored || rb.aux[rb.turn].out || !rb.aux[rb.turn].yes) {
		rb.turn++
		rb.since, rb.attempt = t.env.Clock.Monotonic(), 0
	}
	if rb.turn == len(rb.aux) {
		return true
	}
	t.decide(rb.aux[rb.turn], rb.id, rollbackv2.Decision_COMMIT, rb.reason)
	return false
}
