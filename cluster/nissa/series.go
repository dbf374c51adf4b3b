package nissa

import "sort"

// resolution is one step of the roll-ups: points this far apart, kept for so
// long.
type resolution struct{ step, keep int64 } // ms

const second, minute, hour, day = int64(1000), 60 * int64(1000), 3600 * int64(1000), 24 * 3600 * int64(1000)

// resolutions of card 10, the finest first.
var resolutions = []resolution{
	{second, 6 * hour}, {minute, 24 * hour}, {5 * minute, 7 * day}, {hour, 30 * day}, {day, 365 * day},
}

// point sums up what fell into one step. Its fields do not depend on the order
// in which it did.
type point struct {
	slot   int64 // number of the step
	at     int64 // ms: of the newest value
	value  float64
	lo, hi float64
	count  uint64
}

func (p *point) add(at int64, v float64, n uint64) {
	if p.count == 0 {
		*p = point{slot: p.slot, at: at, value: v, lo: v, hi: v, count: n}
		return
	}
	if at > p.at || at == p.at && v > p.value {
		p.at, p.value = at, v
	}
	p.lo, p.hi = min(p.lo, v), max(p.hi, v)
	p.count += n
}

// series is one metric over time: the points of each resolution, sorted. That of
// a counter says how much was counted in each step, and nothing else.
type series struct {
	counts bool
	points [5][]point
	newest int64
}

// store is the time-series store. It holds at most limit series and budget
// points. Where the budget is used up, a series that takes a new point gives up
// its oldest of the same resolution for it; a series that has none there takes
// none.
type store struct {
	all     map[string]*series
	limit   int
	budget  int
	points  int
	refused uint64
}

func newStore(limit, budget int) *store {
	return &store{all: map[string]*series{}, limit: limit, budget: budget}
}

// full says how full the store is, from 0 to 1.
func (s *store) full() float64 {
	return max(float64(len(s.all))/float64(max(s.limit, 1)), float64(s.points)/float64(max(s.budget, 1)))
}

// set enters a value with its stamp in ms. It may come late, and out of order.
func (s *store) set(name string, at int64, v float64) { s.add(name, at, v, 1, false) }

// count enters what a counter has counted.
func (s *store) count(name string, at int64, n uint64) { s.add(name, at, 0, n, true) }

func (s *store) add(name string, at int64, v float64, n uint64, counts bool) {
	x := s.all[name]
	if x == nil {
		if len(s.all) >= s.limit {
			s.refused++
			return
		}
		x = &series{newest: at, counts: counts}
		s.all[name] = x
	}
	x.newest = max(x.newest, at)
	for i, r := range resolutions {
		s.enter(x, i, r, at, v, n)
	}
}

func (s *store) enter(x *series, i int, r resolution, at int64, v float64, c uint64) {
	ps := x.points[i]
	// What is too old goes, and what comes too late stays out.
	k := 0
	for k < len(ps) && ps[k].slot*r.step <= x.newest-r.keep {
		k++
	}
	if k > 0 {
		s.points -= k
		ps = append(ps[:0], ps[k:]...)
	}
	slot := floor(at, r.step)
	if slot*r.step <= x.newest-r.keep {
		x.points[i] = ps
		return
	}
	n := sort.Search(len(ps), func(j int) bool { return ps[j].slot >= slot })
	if n == len(ps) || ps[n].slot != slot {
		if s.points >= s.budget {
			if n == 0 { // older than all that is there, or the first
				s.refused++
				x.points[i] = ps
				return
			}
			copy(ps, ps[1:n])
			n--
			ps[n] = point{slot: slot}
		} else {
			ps = append(ps, point{})
			copy(ps[n+1:], ps[n:])
			ps[n] = point{slot: slot}
			s.points++
		}
	}
	ps[n].add(at, v, c)
	x.points[i] = ps
}

func floor(at, step int64) int64 {
	q := at / step
	if at%step < 0 {
		q--
	}
	return q
}

// read is a series from one stamp to another, both included, in the finest
// resolution that still has all of it, but no finer than step ms. It returns
// that resolution's step.
func (s *store) read(name string, from, to, step int64) ([]point, int64) {
	x := s.all[name]
	if x == nil {
		return nil, 0
	}
	for i, r := range resolutions {
		last := i == len(resolutions)-1
		if !last && (r.step < step || from <= x.newest-r.keep && from > 0) {
			continue
		}
		ps := x.points[i]
		a := sort.Search(len(ps), func(j int) bool { return ps[j].at >= from })
		b := sort.Search(len(ps), func(j int) bool { return ps[j].at > to })
		if a >= b {
			return nil, r.step
		}
		return ps[a:b], r.step
	}
	return nil, 0
}
