package disk

import "path"

// A bender lets faults shape a crash. A nil one changes nothing.
type bender struct {
	d     *Disk
	names map[*inode]string // current names, for patterns

	// What hits the current file.
	by   *rule
	at   int    // the operation that is torn or lost, or where the tail begins
	mask uint64 // which units of a torn write survive
	unit int64  // in which it tears; 0 is the sector
	size int64  // of the write that is torn
}

// crashRules collects the faults that are in force for a crash.
func (d *Disk) crashRules() *bender {
	if d.active == 0 {
		return nil
	}
	b := &bender{d: d, names: map[*inode]string{}}
	for _, durable := range []bool{false, true} {
		walk(d.root, "", durable, func(p string, n *inode) {
			if _, ok := b.names[n]; !ok {
				b.names[n] = p
			}
		})
	}
	return b
}

// start chooses the fault that hits a file: the first in force that can.
func (b *bender) start(n *inode, ops []Pending) {
	if b == nil || len(ops) == 0 {
		return
	}
	name, ok := b.names[n]
	if !ok {
		name = n.path
	}
	for _, r := range b.d.rules {
		if r.lifted || r.Kind > StaleTail || !r.matches(name) {
			continue
		}
		candidates := r.candidates(b.d, ops)
		if len(candidates) == 0 {
			continue
		}
		draw, hit := b.d.arrive(r, func() uint64 { return mix(hashString(3, name), ops[len(ops)-1].Key) })
		if !hit {
			continue
		}
		r.fired++
		b.by, b.at, b.mask = r, candidates[draw%uint64(len(candidates))], mix(draw, 9)
		if r.Kind == TornWrite {
			b.unit = r.Unit
			b.size = ops[b.at].Len
		}
		return
	}
}

// candidates are the pending operations that a fault may pick as its first.
func (r *rule) candidates(d *Disk, ops []Pending) []int {
	var list, writes []int
	for i, p := range ops {
		if p.Kind != Write || p.Failed {
			continue
		}
		end := p.Off + p.Len
		if end <= r.Off || (r.End > 0 && p.Off >= r.End) {
			continue
		}
		writes = append(writes, i)
		unit := r.Unit
		if unit == 0 {
			unit = d.sector
		}
		if p.Off/unit != (end-1)/unit {
			list = append(list, i) // more than one unit: it can tear
		}
	}
	switch r.Kind {
	case LoseUnsynced:
		return []int{0}
	case TornWrite:
		return list
	case ReorderUnsynced:
		if len(writes) < 2 {
			return nil
		}
		return writes[:len(writes)-1]
	}
	return writes
}

// fate is what becomes of the i-th pending operation of the current file.
func (b *bender) fate(i int, p Pending, unit int64, f Fate) Fate {
	if b == nil || b.by == nil || p.Failed {
		return f
	}
	switch b.by.Kind {
	case LoseUnsynced:
		return FateOld
	case ReorderUnsynced:
		if i == b.at {
			return FateOld
		}
		return FateNew
	case TornWrite:
		switch {
		case i < b.at || (i == b.at+1 && p.Kind == SetSize):
			return FateNew
		case i > b.at:
			return FateOld
		}
		return b.torn(p, unit)
	case ZeroTail:
		if i >= b.at && p.Kind == Write {
			return FateZero
		}
		return FateNew
	case StaleTail:
		if i >= b.at && p.Kind == Write {
			return FateStale
		}
		return FateNew
	}
	return f
}

// torn decides about a unit of the write that tears: the first two differ, so
// that it never stays whole by chance.
func (b *bender) torn(p Pending, unit int64) Fate {
	step := b.step()
	k := unit - p.Off/step
	if k == 1 {
		return FateNew - Fate(b.mask&1)
	}
	return Fate(b.mask >> (uint64(k) & 63) & 1)
}

// step is the unit of the current file's fates, in bytes.
func (b *bender) step() int64 {
	if b == nil || b.unit == 0 {
		if b == nil {
			return 0
		}
		return b.d.sector
	}
	return b.unit
}

func (b *bender) end() {
	if b != nil {
		b.by, b.unit = nil, 0
	}
}

// entry decides about a pending change of a directory.
func (b *bender) entry(dir *inode, p Pending, f Fate) Fate {
	if b == nil {
		return f
	}
	kind := LostEntry
	switch {
	case p.Pair != 0:
		kind = LostRename
	case p.Kind == DelEntry:
		kind = LostUnlink
	}
	full := path.Join(b.names[dir], p.Name)
	for _, r := range b.d.rules {
		if r.lifted || r.Kind != kind || !r.matches(full) {
			continue
		}
		if _, hit := b.d.arrive(r, func() uint64 { return p.Key }); hit {
			r.fired++
			return FateOld
		}
	}
	return f
}
