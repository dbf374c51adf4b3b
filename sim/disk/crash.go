package disk

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Fate is what a crash makes of one pending operation, or of one unit of a
// pending write.
type Fate uint8

// The fates. Operations other than writes know only FateOld and FateNew; any
// other fate counts as FateNew for them.
const (
	FateOld     Fate = iota // as if it had not happened
	FateNew                 // it happened
	FateZero                // the unit's bytes of the write are zero
	FateGarbage             // the unit's bytes of the write are arbitrary
	FateStale               // garbage of a kind that deceives: what a freed block held
)

var fateNames = [...]string{"old", "new", "zero", "garbage", "stale"}

func (f Fate) String() string { return nameOf(fateNames[:], int(f)) }

// Pending is one operation that is not durable yet.
type Pending struct {
	Kind   PendingKind
	Path   string // of the file where it was created, or of the directory
	Name   string // of an entry
	Off    int64  // of a Write; the new size of a SetSize
	Len    int64  // of a Write, bytes
	Seq    uint64 // order on this disk
	Pair   uint64 // the same, and not 0, in both halves of a rename
	Failed bool   // a sync gave up on it, and no later one writes it

	// Key is the operation's identity for keyed decisions: path, place,
	// content and how often the same is pending before it.
	Key uint64
}

// String is for people: "Write wal/1 512+1024".
func (p Pending) String() string {
	var s string
	switch p.Kind {
	case Write:
		s = fmt.Sprintf("Write %s %d+%d", p.Path, p.Off, p.Len)
	case SetSize:
		s = fmt.Sprintf("SetSize %s %d", p.Path, p.Off)
	default:
		s = fmt.Sprintf("%s %s/%s", p.Kind, p.Path, p.Name)
	}
	if p.Failed {
		s += " failed"
	}
	return s
}

// Choice decides a crash. It is asked once for each pending operation, file by
// file and in issue order within one; for a Write once for each unit, whose
// number is its offset in the file divided by the sector size.
type Choice func(p Pending, unit int64) Fate

// describeWrites turns a file's pending operations into Pending values.
func (n *inode) describeWrites() []Pending {
	if len(n.writes) == 0 {
		return nil
	}
	list := make([]Pending, len(n.writes))
	seen := make(map[uint64]uint64, len(n.writes))
	for i := range n.writes {
		w := &n.writes[i]
		p := Pending{Kind: Write, Path: n.path, Off: w.off, Len: int64(w.n), Seq: w.seq, Failed: w.failed}
		if w.n == 0 {
			p.Kind = SetSize
		}
		p.Key = identity(seen, hashBytes(mix(hashString(uint64(p.Kind), p.Path), uint64(p.Off)), n.bytes(w)))
		list[i] = p
	}
	return list
}

// describeEntries does the same for a directory.
func (n *inode) describeEntries() []Pending {
	if len(n.entries) == 0 {
		return nil
	}
	list := make([]Pending, len(n.entries))
	seen := make(map[uint64]uint64, len(n.entries))
	for i, e := range n.entries {
		p := Pending{Kind: SetEntry, Path: n.path, Name: e.name, Seq: e.seq, Pair: e.pair}
		h := hashString(hashString(uint64(p.Kind), p.Path), p.Name)
		if e.node == nil {
			p.Kind = DelEntry
			h = mix(h, 1)
		} else {
			h = hashString(h, e.node.path)
		}
		p.Key = identity(seen, h)
		list[i] = p
	}
	return list
}

// identity adds the occurrence to a hash that may repeat.
func identity(seen map[uint64]uint64, h uint64) uint64 {
	seen[h]++
	return mix(h, seen[h])
}

// Crash is the loss of the host or its power: the cache is gone, and c decides
// about all that was pending; nil is d.Random(0). Every descriptor, file
// system and operation under way from before is dead.
func (d *Disk) Crash(c Choice) {
	if c == nil {
		c = d.Random(0)
	}
	nodes := d.nodes()
	bend := d.crashRules()
	for _, n := range nodes {
		if !n.dir {
			d.crashFile(n, c, bend)
		}
	}
	d.crashNames(nodes, c, bend)
	d.used = 0
	for _, n := range nodes {
		n.links, n.open, n.before = 0, 0, nil
	}
	for _, n := range d.nodes() { // what is left
		if n.dir {
			for _, name := range sortedNames(n.cachedEntries) {
				n.cachedEntries[name].links++
			}
		} else {
			n.reserved = (n.durableSize + pageSize - 1) / pageSize
			d.used += n.reserved
		}
	}
	d.epoch++
}

// crashFile decides about the pending operations of one file, and drops its
// cache.
func (d *Disk) crashFile(n *inode, c Choice, bend *bender) {
	ops := n.describeWrites()
	bend.start(n, ops)
	for i := range n.writes {
		w, p := &n.writes[i], ops[i]
		if w.n == 0 {
			if bend.fate(i, p, 0, c(p, 0)) != FateOld {
				n.durable.zeroFrom(&d.spare, w.off)
				n.durableSize = w.off
			}
			continue
		}
		step := d.sector
		if bend != nil {
			step = bend.step()
		}
		for off := w.off; off < w.end(); {
			// A torn write may tear in other units than the sector.
			fate := bend.fate(i, p, off/step, c(p, off/d.sector))
			end := min((off/step+1)*step, w.end())
			d.crashUnit(n, w, p.Key, off, end, fate)
			off = end
		}
	}
	bend.end()
	n.durable.zeroFrom(&d.spare, n.durableSize)
	n.emptied(d)
	n.unsure = 0
	n.dropCache()
}

// crashUnit puts what became of a part of a pending write onto the medium.
func (d *Disk) crashUnit(n *inode, w *write, key uint64, off, end int64, fate Fate) {
	if fate == FateOld {
		return
	}
	if w.device != 0 {
		d.rule(w.device).fired++
		if w.stray == 0 {
			return
		}
	}
	p := n.bytes(w)[off-w.off : end-w.off]
	if fate != FateNew {
		p = make([]byte, end-off)
	}
	switch fate {
	case FateGarbage:
		d.garbage(p, key, off)
	case FateStale:
		d.stale(n, p, key, off)
	}
	n.durable.write(&d.spare, p, off+w.stray)
}

// garbage fills p with bytes that depend on the operation and the place only.
func (d *Disk) garbage(p []byte, key uint64, off int64) {
	for i := 0; i < len(p); i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], d.keyed.For("disk.garbage", key, uint64(off)+uint64(i)))
		copy(p[i:], word[:])
	}
}

// stale fills p with what a freed block at the same place of a file held, or
// with an older part of this file, so that it looks like a record; garbage
// where there is neither.
func (d *Disk) stale(n *inode, p []byte, key uint64, off int64) {
	from := d.recycled[off/pageSize]
	if from == nil && n.durable.top > 0 {
		from = n.durable.page(int64(d.keyed.For("disk.stale", key, uint64(off)) % uint64(n.durable.top)))
	}
	if from == nil {
		d.garbage(p, key, off)
		return
	}
	// A unit never leaves a page.
	copy(p, from[off%pageSize:])
}

// dropCache makes the cache read what the medium holds.
func (n *inode) dropCache() {
	if !n.written {
		return
	}
	n.written = len(n.writes) > 0
	n.cached = n.durable.clone()
	n.cachedSize = n.durableSize
}

// change is a pending change of a directory with what it refers to.
type change struct {
	p    Pending
	dir  *inode
	node *inode
}

// nameChanges lists the pending changes of all directories, directory by
// directory, or with one journal in the order of issue.
func (d *Disk) nameChanges() []change {
	var all []change
	for _, n := range d.nodes() {
		for i, p := range n.describeEntries() {
			all = append(all, change{p, n, n.entries[i].node})
		}
	}
	if d.profile == Ext4 {
		slices.SortFunc(all, func(a, b change) int { return compare(a.p.Seq, b.p.Seq) })
	}
	return all
}

// crashNames decides about the pending entries of all directories.
func (d *Disk) crashNames(nodes []*inode, c Choice, bend *bender) {
	all := d.nameChanges()
	cut := false
	for _, ch := range all {
		fate := bend.entry(ch.dir, ch.p, c(ch.p, 0))
		if d.profile == Ext4 {
			// One journal: a prefix of all changes, renames in one piece.
			if !(ch.p.Kind == DelEntry && ch.p.Pair != 0) && fate == FateOld {
				cut = true
			}
			fate = FateNew
			if cut {
				fate = FateOld
			}
		}
		if fate != FateOld {
			apply(ch.dir.durableEntries, ch.p.Name, ch.node)
		}
	}
	for _, n := range nodes {
		if n.dir {
			n.entries = n.entries[:0]
			clear(n.cachedEntries)
			for name, to := range n.durableEntries {
				n.cachedEntries[name] = to
			}
		}
	}
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// DropCaches is memory pressure: clean pages leave the cache, so reads see the
// medium. Pending writes stay pending; those that a sync gave up on are gone
// for good.
func (d *Disk) DropCaches() {
	for _, n := range d.nodes() {
		if n.dir {
			continue
		}
		if n.unsure > 0 {
			n.writes = slices.DeleteFunc(n.writes, func(w write) bool { return w.failed })
			n.unsure = 0
		}
		n.dropCache()
		for i := range n.writes {
			w := &n.writes[i]
			if w.n > 0 {
				n.cached.write(&d.spare, n.bytes(w), w.off)
				continue
			}
			if w.off < n.cachedSize {
				n.cached.zeroFrom(&d.spare, w.off)
			}
			n.cachedSize = w.off
		}
	}
}

// mood is the manner in which a crash treats one file or directory. Drawing
// each unit by itself would almost never leave a file whole, so the common
// shapes are chosen first.
type mood uint8

const (
	allOld mood = iota
	allNew
	prefix // one operation is torn, those before are there, those after are not
	perOp
	tornUnits // each unit old or new
	zeroUnits // each unit old, new or zero
	anyUnits
	sizesOnly // sizes are new, data is zero or old
	moods
)

// Random is a Choice over everything that the model admits. event is the
// identity of the crash, such as a hash of its fault's name and number: the
// same event and pending operations have the same outcome, and an operation's
// fate does not depend on operations on other files.
func (d *Disk) Random(event uint64) Choice {
	past := map[string]bool{} // a prefix has ended
	return func(p Pending, unit int64) Fate {
		home := mix(hashString(event, p.Path), 7)
		draw := d.keyed.For("disk.crash", p.Key, mix(event, uint64(unit)))
		if p.Failed {
			if draw%8 == 0 {
				return FateNew
			}
			return FateOld
		}
		op := d.keyed.For("disk.crash.op", p.Key, event)
		either := Fate(op & 1)
		switch mood(d.keyed.For("disk.crash.mood", home, event) % uint64(moods)) {
		case allOld:
			return FateOld
		case allNew:
			return FateNew
		case prefix:
			if past[p.Path] {
				// The size that belongs to the torn write may have made it.
				if p.Kind == SetSize && op%4 == 0 {
					return FateNew
				}
				return FateOld
			}
			if op%4 != 0 {
				return FateNew
			}
			if p.Kind != Write {
				past[p.Path] = true
				return FateOld
			}
			if (unit+1)*d.sector >= p.Off+p.Len {
				past[p.Path] = true
			}
			return Fate(draw & 1)
		case tornUnits:
			if p.Kind == Write {
				return Fate(draw & 1)
			}
		case zeroUnits:
			if p.Kind == Write {
				return Fate(draw % 3)
			}
		case anyUnits:
			if p.Kind == Write {
				return Fate(draw % 5)
			}
		case sizesOnly:
			if p.Kind == Write {
				return Fate(draw & 1 * uint64(FateZero))
			}
			return FateNew
		}
		return either
	}
}
