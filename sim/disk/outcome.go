package disk

import (
	"iter"
	"math"
	"slices"
)

// Undecided is one thing that a crash decides: whether a pending operation
// happened, or what became of one unit of a pending write.
type Undecided struct {
	Pending Pending
	Unit    int64 // of a Write: offset in the file divided by the sector
	// Fates are those that the crash chooses from, the first of which is that
	// nothing was lost.
	Fates []Fate
}

var (
	unitFates = []Fate{FateNew, FateOld, FateZero, FateGarbage, FateStale}
	nameFates = []Fate{FateNew, FateOld}
)

// Undecided lists what a crash now would decide, in the order in which Crash
// asks. Faults in force are left out of it.
func (d *Disk) Undecided() []Undecided {
	var list []Undecided
	d.bare().Crash(func(p Pending, unit int64) Fate {
		u := Undecided{p, unit, nameFates}
		if p.Kind == Write {
			u.Fates = unitFates
		}
		list = append(list, u)
		return FateOld
	})
	return list
}

// Admissible is how many outcomes there are of what is undecided, the largest
// integer if they are more. Many of them leave the same state.
func Admissible(list []Undecided) uint64 {
	n := uint64(1)
	for _, u := range list {
		k := uint64(len(u.Fates))
		if n > math.MaxUint64/k {
			return math.MaxUint64
		}
		n *= k
	}
	return n
}

// Outcome is the fate of each thing that was undecided, in order.
type Outcome []Fate

// Lost counts the things that did not simply happen.
func (o Outcome) Lost() (n int) {
	for _, f := range o {
		if f != FateNew {
			n++
		}
	}
	return n
}

// After is a copy of the disk as a crash now would leave it under an outcome.
// What the outcome does not mention happened.
func (d *Disk) After(o Outcome) *Disk {
	c, at := d.bare(), 0
	c.Crash(func(Pending, int64) Fate {
		at++
		if at > len(o) {
			return FateNew
		}
		return o[at-1]
	})
	return c
}

// Bound says which outcomes stand for all where those are too many.
type Bound struct {
	Units int // up to so many undecided things there is every combination
	// Coarse says that of two things that are decided together each happened or
	// did not; what else may become of a unit it becomes alone, or at the end of a
	// prefix. Twenty unsynced pages have 2,000 outcomes so, and 10,000 otherwise.
	Coarse bool
}

// Outcomes yields outcomes of what is undecided, numbered from 0. Number 0
// loses nothing, as if only the process had died.
//
// Up to a bound of undecided things there is every combination. Beyond, the
// combinations explode (three pending writes of 4 KiB have 10¹⁴), and there
// are: all prefixes, in the order of issue of each file, with each fate of the
// unit at which the prefix ends; and all pairs, that is each combination of
// fates of every two things where of the others either everything happened or
// nothing. Bounded tests of this kind found 24 of 26 known crash bugs in
// mature file systems (ACE, OSDI '18), and prefixes with one torn write the 60
// of ALICE (OSDI '14).
func Outcomes(list []Undecided, bound Bound) iter.Seq2[int, Outcome] {
	if len(list) <= bound.Units {
		return combinations(list)
	}
	return func(yield func(int, Outcome) bool) {
		n := 0
		seen := map[string]bool{}
		out := make(Outcome, len(list))
		fill := func(f Fate, from int) {
			for i := from; i < len(out); i++ {
				out[i] = f
			}
		}
		emit := func() bool {
			key := make([]byte, len(out))
			for i, f := range out {
				key[i] = byte(f)
			}
			if seen[string(key)] {
				return true
			}
			seen[string(key)] = true
			n++
			return yield(n-1, slices.Clone(out))
		}
		fill(FateNew, 0)
		if !emit() {
			return
		}
		for end := len(list) - 1; end >= 0; end-- {
			fill(FateNew, 0)
			fill(FateOld, end+1)
			for _, f := range list[end].Fates[1:] {
				out[end] = f
				if !emit() {
					return
				}
			}
		}
		for _, rest := range nameFates {
			for i := range list {
				alone := list[i].Fates
				if !bound.Coarse {
					alone = nil // they are among the pairs
				}
				for _, f := range alone {
					fill(rest, 0)
					out[i] = f
					if !emit() {
						return
					}
				}
				for j := i + 1; j < len(list); j++ {
					first, second := list[i].Fates, list[j].Fates
					if bound.Coarse {
						first, second = nameFates, nameFates
					}
					for _, a := range first {
						for _, b := range second {
							fill(rest, 0)
							out[i], out[j] = a, b
							if !emit() {
								return
							}
						}
					}
				}
			}
		}
	}
}

// combinations yields all of them.
func combinations(list []Undecided) iter.Seq2[int, Outcome] {
	return func(yield func(int, Outcome) bool) {
		digits := make([]int, len(list))
		for n := 0; ; n++ {
			out := make(Outcome, len(list))
			for i, k := range digits {
				out[i] = list[i].Fates[k]
			}
			if !yield(n, out) {
				return
			}
			i := 0
			for ; i < len(digits); i++ {
				if digits[i]++; digits[i] < len(list[i].Fates) {
					break
				}
				digits[i] = 0
			}
			if i == len(digits) {
				return
			}
		}
	}
}

// Fingerprint is a hash of the state, as Hash is, and of what else the outcomes
// of later crashes depend on: what the freed blocks hold, and under which name
// each file was created. Two disks with one fingerprint cannot be told apart,
// now or later. It is no part of a trace.
func (d *Disk) Fingerprint() uint64 {
	h := uint64(1)
	at := map[string]*inode{}
	walk(d.root, "", true, func(path string, n *inode) {
		at[path] = n
		h = hashString(hashString(h, path), n.path)
		h = hashStore(mix(h, uint64(n.durableSize)), &n.durable)
	})
	walk(d.root, "", false, func(path string, n *inode) {
		h = hashString(hashString(h, path), n.path)
		// Mostly the two are the same, and comparing is quicker than hashing.
		if at[path] == n && n.cachedSize == n.durableSize && n.cached.equal(&n.durable) {
			h = mix(h, 2)
			return
		}
		h = hashStore(mix(h, uint64(n.cachedSize)), &n.cached)
	})
	for _, p := range d.Pending() {
		h = mix(h, p.Key)
		if p.Failed {
			h = mix(h, 3)
		}
	}
	s := store{pages: d.recycled}
	return hashStore(mix(h, uint64(len(d.recycled))), &s)
}

// equal says whether two stores read the same.
func (s *store) equal(o *store) bool {
	same := func(a, b *store) bool {
		for i, p := range a.pages {
			if q := b.pages[i]; q != nil && *p != *q || q == nil && *p != (page{}) {
				return false
			}
		}
		return true
	}
	return same(s, o) && same(o, s)
}
