package compat

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// span is a range of numbers, both ends included.
type span struct{ first, last int64 }

func (s span) String() string {
	if s.first == s.last {
		return fmt.Sprint(s.first)
	}
	return fmt.Sprintf("%d to %d", s.first, s.last)
}

// reserved is what a message or an enum reserves, and what it uses.
type reserved struct {
	at     protoreflect.Descriptor
	spans  []span
	names  []protoreflect.Name
	used   map[int64]protoreflect.Descriptor
	byName map[protoreflect.Name]protoreflect.Descriptor
}

func ofMessage(m protoreflect.MessageDescriptor) reserved {
	r := reserved{at: m, used: map[int64]protoreflect.Descriptor{}, byName: map[protoreflect.Name]protoreflect.Descriptor{}}
	for i := range m.ReservedRanges().Len() {
		v := m.ReservedRanges().Get(i)
		r.spans = append(r.spans, span{int64(v[0]), int64(v[1]) - 1})
	}
	for i := range m.ReservedNames().Len() {
		r.names = append(r.names, m.ReservedNames().Get(i))
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		r.used[int64(f.Number())], r.byName[f.Name()] = f, f
	}
	return r
}

func ofEnum(e protoreflect.EnumDescriptor) reserved {
	r := reserved{at: e, used: map[int64]protoreflect.Descriptor{}, byName: map[protoreflect.Name]protoreflect.Descriptor{}}
	for i := range e.ReservedRanges().Len() {
		v := e.ReservedRanges().Get(i)
		r.spans = append(r.spans, span{int64(v[0]), int64(v[1])})
	}
	for i := range e.ReservedNames().Len() {
		r.names = append(r.names, e.ReservedNames().Get(i))
	}
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		r.used[int64(v.Number())], r.byName[v.Name()] = v, v
	}
	return r
}

func (d *differ) messageReservations() {
	for _, p := range d.messagePairs {
		d.reservations(ofMessage(p.old), ofMessage(p.new))
	}
}

func (d *differ) enumReservations() {
	for _, p := range d.enumPairs {
		d.reservations(ofEnum(p.old), ofEnum(p.new))
	}
}

func (d *differ) reservations(old, new reserved) {
	taken := without(old.spans, new.spans)
	for _, n := range sortedNumbers(new.used) {
		if u := new.used[n]; covers(old.spans, n) {
			c := d.add(ReservedNumberReused, d.new, u, fmt.Sprintf("%s uses number %d, which was reserved", u.FullName(), n))
			c.where.note = reuseNote
			taken = without(taken, []span{{n, n}})
		}
	}
	lost := func(s *schema.Schema, what string) {
		d.add(ReservationRemoved, s, new.at, fmt.Sprintf("%s no longer reserves %s", new.at.FullName(), what))
	}
	if len(taken) > 0 {
		lost(d.new, joined(taken))
	}
	for _, n := range old.names {
		switch u := new.byName[n]; {
		case u != nil:
			c := d.add(ReservedNameReused, d.new, u, fmt.Sprintf("%s uses a name that was reserved", u.FullName()))
			c.where.note = reuseNote
		case !slices.Contains(new.names, n):
			lost(d.new, fmt.Sprintf("the name %q", n))
		}
	}
	// What the old schema used is reserved with its removal, and told there.
	var used []span
	for _, n := range sortedNumbers(old.used) {
		used = append(used, span{n, n})
	}
	if fresh := without(without(new.spans, old.spans), used); len(fresh) > 0 {
		d.add(ReservationAdded, d.new, new.at, fmt.Sprintf("%s reserves %s", new.at.FullName(), joined(fresh)))
	}
	for _, n := range new.names {
		if !slices.Contains(old.names, n) && old.byName[n] == nil {
			d.add(ReservationAdded, d.new, new.at, fmt.Sprintf("%s reserves the name %q", new.at.FullName(), n))
		}
	}
}

const reuseNote = "neither schema knows what was under it before it was reserved: messages of that time are read as something else"

func sortedNumbers(m map[int64]protoreflect.Descriptor) []int64 {
	l := make([]int64, 0, len(m))
	for n := range m {
		l = append(l, n)
	}
	slices.Sort(l)
	return l
}

func covers(l []span, n int64) bool {
	return slices.ContainsFunc(l, func(s span) bool { return s.first <= n && n <= s.last })
}

// without is what is left of a when b is taken away.
func without(a, b []span) []span {
	for _, cut := range b {
		var rest []span
		for _, s := range a {
			if cut.last < s.first || s.last < cut.first {
				rest = append(rest, s)
				continue
			}
			if s.first < cut.first {
				rest = append(rest, span{s.first, cut.first - 1})
			}
			if cut.last < s.last {
				rest = append(rest, span{cut.last + 1, s.last})
			}
		}
		a = rest
	}
	return a
}
