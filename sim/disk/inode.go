package disk

import "slices"

// PendingKind says what a pending operation changes.
type PendingKind uint8

// The pending operations.
const (
	Write    PendingKind = iota // bytes of a file
	SetSize                     // the size of a file; bytes beyond are gone
	SetEntry                    // a name of a directory
	DelEntry                    // the removal of a name
)

var pendingNames = [...]string{"Write", "SetSize", "SetEntry", "DelEntry"}

func (k PendingKind) String() string { return nameOf(pendingNames[:], int(k)) }

// write is a pending Write or SetSize.
type write struct {
	seq  uint64
	off  int64 // of a Write: where; of a SetSize: the new size
	from int   // a Write's bytes are in inode.data[from:from+n]
	n    int   // bytes; 0 for a SetSize, which is how the two are told apart
	// failed: a sync gave up on it and the cache calls it clean. No later sync
	// writes it; the device may or may not have it.
	failed bool
	device int   // the rule that makes the device lose it, or misplace it
	stray  int64 // by this many bytes
}

func (w *write) end() int64 { return w.off + int64(w.n) }

// entry is a pending SetEntry, or with a nil node a DelEntry.
type entry struct {
	seq  uint64
	pair uint64 // the same for both halves of a rename, else 0
	name string
	node *inode
}

// An inode is a file or a directory. It lives as long as something refers to
// it: a durable or cached entry, a pending one, or an open descriptor.
type inode struct {
	dir  bool
	path string // where it was created: its identity for keyed decisions

	// Of a file.
	durable, cached         store
	durableSize, cachedSize int64
	writes                  []write // pending, by seq
	data                    []byte  // the bytes of the pending writes
	unsure                  int     // how many of writes are failed
	reserved                int64   // pages paid for by Allocate
	links                   int     // cached entries that name it
	renamed                 bool    // a name of it changed since it was synced
	written                 bool    // since the cache was last dropped: it may differ
	open                    int     // descriptors
	errSeq                  uint32  // failed syncs; descriptors compare
	errLast                 error   // what the last of them reported
	bad                     []span  // sectors that cannot be read
	before                  map[int64]*page

	// Of a directory.
	durableEntries, cachedEntries map[string]*inode
	entries                       []entry // pending, by seq
}

// span is a range of bytes, end exclusive.
type span struct{ off, end int64 }

func newDir(path string) *inode {
	return &inode{dir: true, path: path, durableEntries: map[string]*inode{}, cachedEntries: map[string]*inode{}}
}

func (n *inode) bytes(w *write) []byte { return n.data[w.from : w.from+w.n] }

func (n *inode) addWrite(d *Disk, seq uint64, p []byte, off int64) *write {
	n.writes = append(n.writes, write{seq: seq, off: off, from: len(n.data), n: len(p)})
	n.data = d.spare.extend(n.data, p)
	n.cached.write(&d.spare, p, off)
	n.written = true
	return &n.writes[len(n.writes)-1]
}

func (n *inode) addSize(d *Disk, seq uint64, size int64) {
	n.writes = append(n.writes, write{seq: seq, off: size})
	if size < n.cachedSize {
		n.cached.zeroFrom(&d.spare, size)
	}
	n.cachedSize = size
	n.written = true
}

// settle makes the pending operations up to seq durable.
func (n *inode) settle(d *Disk, seq uint64) {
	if n.unsure == 0 && (len(n.writes) == 0 || n.writes[len(n.writes)-1].seq <= seq) {
		for i := range n.writes {
			n.land(d, &n.writes[i])
		}
		n.emptied(d)
		return
	}
	n.settleIf(d, func(_ int, w *write) bool { return !w.failed && w.seq <= seq })
}

// settleOne makes one pending write durable, and of the size what that write
// needs: its own extension with all size changes before it, or else those that
// would cut it off. A size that another write made stays pending: a real
// kernel, too, puts it on the medium only with that write's data.
func (n *inode) settleOne(d *Disk, own uint64) {
	if len(n.writes) == 1 && n.writes[0].seq == own && n.writes[0].n > 0 && n.writes[0].end() <= n.durableSize {
		n.land(d, &n.writes[0])
		n.emptied(d)
		return
	}
	end, sizes := int64(0), -1
	for i := range n.writes {
		if n.writes[i].seq == own {
			end = max(end, n.writes[i].end()) // clipped pieces share the number
		}
	}
	for i := range n.writes {
		if w := &n.writes[i]; w.n == 0 && (w.seq == own+1 || (w.seq < own && w.off < end)) {
			sizes = i
		}
	}
	n.settleIf(d, func(i int, w *write) bool { return w.seq == own || (w.n == 0 && i <= sizes) })
	n.durableSize = max(n.durableSize, end)
	// A kernel writes the whole page back, and the size may follow to its end;
	// found by the oracle: truncate a 4096, write a 8192 4096, dwrite a 4096 512
	// leaves 8192 bytes.
	whole := min((end+pageSize-1)/pageSize*pageSize, n.cachedSize)
	if whole > n.durableSize {
		at := slices.IndexFunc(n.writes, func(w write) bool { return w.seq > own })
		if at < 0 {
			at = len(n.writes)
		}
		n.writes = slices.Insert(n.writes, at, write{seq: own, off: whole})
	}
}

// settleIf makes the chosen pending operations durable, in order, and keeps
// the others.
func (n *inode) settleIf(d *Disk, chosen func(i int, w *write) bool) {
	var kept []write
	for i := range n.writes {
		w := n.writes[i]
		if !chosen(i, &w) {
			kept = append(kept, w)
			continue
		}
		n.land(d, &w)
		if w.n == 0 {
			kept = clip(kept, w.off, 1<<62)
		} else if w.device == 0 {
			// What came before may no longer come after.
			kept = clip(kept, w.off, w.end())
		}
	}
	n.writes = kept
	n.unsure = 0
	for i := range kept {
		if kept[i].failed {
			n.unsure++
		}
	}
	if len(kept) == 0 {
		n.emptied(d)
	}
}

// emptied forgets the pending writes. The room of large ones goes back to the disk: a
// file is mostly written in small pieces, and there are many files.
func (n *inode) emptied(d *Disk) {
	n.writes, n.data = n.writes[:0], n.data[:0]
	if cap(n.data) > pageSize {
		d.spare.release(n.data)
		n.data = nil
	}
}

// clip takes a range of bytes out of pending writes. Each of them becomes
// nothing, itself, or up to two pieces.
func clip(list []write, off, end int64) []write {
	if !slices.ContainsFunc(list, func(w write) bool { return w.n > 0 && w.off < end && off < w.end() }) {
		return list
	}
	var out []write
	for _, w := range list {
		if w.n == 0 || w.off >= end || w.end() <= off {
			out = append(out, w)
			continue
		}
		if w.off < off {
			left := w
			left.n = int(off - w.off)
			out = append(out, left)
		}
		if w.end() > end {
			right := w
			right.from += int(end - w.off)
			right.n = int(w.end() - end)
			right.off = end
			out = append(out, right)
		}
	}
	return out
}

// land puts one pending operation onto the medium, as the device does it.
func (n *inode) land(d *Disk, w *write) {
	if w.n == 0 {
		if w.off < n.durableSize {
			n.durable.zeroFrom(&d.spare, w.off)
		}
		n.durableSize = w.off
		return
	}
	if w.device != 0 {
		d.rule(w.device).fired++
		if w.stray == 0 {
			return
		}
	}
	n.durable.write(&d.spare, n.bytes(w), w.off+w.stray)
	if len(n.bad) > 0 {
		// A rewritten sector is remapped and reads again.
		n.bad = slices.DeleteFunc(n.bad, func(s span) bool { return w.off <= s.off && s.end <= w.end() })
	}
}

// fail gives up on pending writes up to seq: the cache calls them clean. Size
// changes stay pending; they are metadata, which a journal writes later.
func (n *inode) fail(seq, only uint64, err error) {
	for i := range n.writes {
		w := &n.writes[i]
		if w.n > 0 && w.seq <= seq && !w.failed && (only == 0 || w.seq == only) {
			w.failed = true
			n.unsure++
		}
	}
	n.errSeq++
	n.errLast = err
}

// content is a copy of what is cached or durable.
func (n *inode) content(cached bool) []byte {
	if cached {
		p := make([]byte, n.cachedSize)
		n.cached.read(p, 0)
		return p
	}
	p := make([]byte, n.durableSize)
	n.durable.read(p, 0)
	return p
}

// setEntry changes the cached name space and leaves the change pending.
func (n *inode) setEntry(seq, pair uint64, name string, to *inode) {
	n.entries = append(n.entries, entry{seq: seq, pair: pair, name: name, node: to})
	if was := n.cachedEntries[name]; was != nil {
		was.renamed = true
	}
	if to != nil {
		to.renamed = true
	}
	apply(n.cachedEntries, name, to)
}

func apply(m map[string]*inode, name string, to *inode) {
	if to == nil {
		delete(m, name)
	} else {
		m[name] = to
	}
}

// settleEntries makes pending entries up to seq durable.
func (n *inode) settleEntries(seq uint64) {
	i := 0
	for ; i < len(n.entries) && n.entries[i].seq <= seq; i++ {
		apply(n.durableEntries, n.entries[i].name, n.entries[i].node)
	}
	n.entries = append(n.entries[:0], n.entries[i:]...)
}
