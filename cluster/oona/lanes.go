package oona

import (
	"sort"
	"time"

	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
)

// tiers is how many there are: 0 Emergency, 1 Strategic, 2 Normal,
// 3 Experimental, 4 Background. The lowest number goes first.
const tiers = 5

// ageing is how old an entry is when it is raised by one tier: once, and never
// to the tier of emergencies, which age must not dilute.
const ageing = 5 * time.Minute

// tierOf is the tier of a priority; what says nothing is normal.
func tierOf(p envelopev2.Priority) uint8 {
	if p < envelopev2.Priority_BACKGROUND || p > envelopev2.Priority_EMERGENCY {
		p = envelopev2.Priority_NORMAL
	}
	return uint8(envelopev2.Priority_EMERGENCY - p)
}

// tierIn is the tier of published bytes. An entry that nobody can decode is
// normal: whoever gets it finds out.
func tierIn(bytes []byte) uint8 {
	var e envelopev2.EventEnvelope
	if e.ParseCanonical(bytes) != nil {
		return tierOf(0)
	}
	return tierOf(e.Priority)
}

// rank is the tier that an entry counts for.
func (e *entry) rank() uint8 {
	if e.aged && e.tier > 1 {
		return e.tier - 1
	}
	return e.tier
}

// lanes are the offsets of a topic's kept entries by tier, each in order.
type lanes [tiers][]int64

func (l *lanes) add(tier uint8, offset int64) { l[tier] = append(l[tier], offset) }

// trim lets go of the offsets before one.
func (l *lanes) trim(before int64) {
	for t := range l {
		l[t] = l[t][l.before(t, before):]
	}
}

// before is how many offsets of a tier are smaller than one.
func (l *lanes) before(tier int, offset int64) int {
	lane := l[tier]
	return sort.Search(len(lane), func(i int) bool { return lane[i] >= offset })
}

// waiting is the entry that a group is to get next in a topic: the one of the
// lowest tier, and of these the oldest. What nobody works on any more stands
// with what was never handed out. -1: there is none that is due.
//
// Within a tier no entry is older than one before it, so that the first of each
// lane is the one that age may have raised.
func (c *cursor) waiting(now int64) int64 {
	best, rank := int64(-1), uint8(tiers)
	if c.orphans > 0 {
		for _, p := range c.pending {
			if p.owner != nil || p.due > now {
				continue
			}
			r := uint8(0) // an entry that is gone is to be ended
			if e := c.topic.at(p.offset); e != nil {
				r = e.rank()
			}
			if r < rank {
				best, rank = p.offset, r
			}
		}
	}
	for t := range c.topic.lanes {
		lane := c.topic.lanes[t]
		i := 0
		if len(lane) > 0 && lane[0] < c.next {
			i = c.topic.lanes.before(t, c.next)
		}
		if i == len(lane) {
			continue
		}
		r := c.topic.at(lane[i]).rank()
		if r < rank || r == rank && lane[i] < best {
			best, rank = lane[i], r
		}
	}
	return best
}

// age raises what has become old and still waits for somebody. It says which
// offsets were raised. An entry that has ended for everybody stays what it was.
func (t *topic) age(now int64) (raised []int64) {
	t.young = max(t.young, t.first)
	for ; t.young < t.next(); t.young++ {
		e := t.at(t.young)
		if now-e.received < int64(ageing) {
			break
		}
		if e.tier > 1 && !e.aged && t.wanted(t.young) {
			e.aged = true
			raised = append(raised, t.young)
		}
	}
	return raised
}

// wanted says whether an entry has not ended for some group.
func (t *topic) wanted(offset int64) bool {
	for _, c := range t.cursors {
		if offset >= c.next || c.find(offset) != nil {
			return true
		}
	}
	return false
}
