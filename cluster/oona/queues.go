package oona

import "github.com/esper-sim/espersim/cluster/pressure"

// queue is one of the four of the innovation pipeline: a topic whose backlog is
// bounded.
type queue struct {
	name  string
	topic string
	limit int
}

// queues are the pipeline's (H6 6.3.1), by the topic that feeds each. Storing in
// the library is request and reply here, so that nothing queues for it on the
// bus; its bound holds for the reports that the plane's records are made from.
var queues = []queue{
	{"karn-tezzeret", "compilation.blueprint.submitted", 100},
	{"tezzeret-urabrask", "compilation.kernel.ready", 50},
	{"urabrask-validation", "validation.kernel.characterized", 25},
	{"urza-storage", "innovation.field_reports", 200},
}

// watcher is the group that only looks on. Producers notice nothing of it: what
// it has not ended yet holds nobody up.
const watcher = "nissa"

// queueOf is the queue that a topic feeds, or nil.
func queueOf(topic string) *queue {
	for i := range queues {
		if queues[i].topic == topic {
			return &queues[i]
		}
	}
	return nil
}

// works says whether the group of a cursor is one that a queue queues for.
func (c *cursor) works() bool { return c.group.durable && c.group.name != watcher }

// open is how many entries have not ended for the cursor's group.
func (c *cursor) open() int { return len(c.pending) + int(c.topic.next()-c.next) }

// backlog is what the slowest of a topic's working groups has not ended, without
// the emergencies if these do not count. A topic that nobody works on has none:
// its queue begins with its first worker.
func (t *topic) backlog(emergencies bool) (most int) {
	for _, c := range t.cursors {
		if !c.works() {
			continue
		}
		n := c.open()
		if !emergencies {
			n -= len(t.lanes[0]) - t.lanes.before(0, c.next)
			for _, p := range c.pending {
				if e := t.at(p.offset); e != nil && e.tier == 0 {
					n--
				}
			}
		}
		most = max(most, n)
	}
	return most
}

// backlog is that of all topics together.
func (s *state) backlog() (sum int) {
	for _, t := range s.topics {
		sum += t.backlog(true)
	}
	return sum
}

// lowest is the entry of a topic that goes first where one must go: of the
// lowest tier below the given one, and of these the newest. Only what was handed
// to nobody can go. -1: there is none.
func (t *topic) lowest(above uint8) int64 {
	from := t.next()
	for _, c := range t.cursors {
		if c.works() {
			from = min(from, c.floor())
		}
	}
	best, rank := int64(-1), above
	for at := t.next() - 1; at >= from; at-- {
		if r := t.at(at).rank(); r > rank && t.untouched(at) {
			best, rank = at, r
		}
	}
	return best
}

// untouched says whether an entry waits for every working group, and none has
// ever got it.
func (t *topic) untouched(offset int64) bool {
	for _, c := range t.cursors {
		if !c.works() || offset >= c.next {
			continue
		}
		if p := c.find(offset); p == nil || p.attempts > 0 {
			return false
		}
	}
	return true
}

// share of the depth, in percent, that each tier may fill (card 09). The table
// knows critical, high, normal and low; experimental counts as low.
var share = [tiers]int{100, 95, 75, 50, 50}

// The bounds of the conservative mode, in percent of the depth: 4000 and 1000 of
// 5000 (card 09).
const (
	conservativeAt = 80
	normalAt       = 20
)

// level is the back-pressure for a topic: that of the bus or of the topic's
// queue, whichever is fuller. staged is what is on its way into the log, in all
// and for the topic.
func (s *state) level(topic string, depth, staged, stagedHere int) pressure.Level {
	l := pressure.Of(s.backlog()+staged, depth)
	if q := queueOf(topic); q != nil {
		if t := s.findTopic(topic); t != nil {
			l = max(l, pressure.Of(t.backlog(false)+stagedHere, q.limit))
		}
	}
	return l
}
