package disk

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Errors beside those of package actor.
var (
	ErrNotDir   = errors.New("not a directory")
	ErrIsDir    = errors.New("is a directory")
	ErrNotEmpty = errors.New("directory is not empty")
	ErrInvalid  = errors.New("invalid argument")
	// ErrDead is a use of a descriptor or file system whose process or host
	// is gone. errors.Is finds actor.ErrClosed in it.
	ErrDead = fmt.Errorf("owner has crashed: %w", actor.ErrClosed)
)

// Profile says which promises beyond POSIX the file system makes.
type Profile uint8

// The profiles.
const (
	// PosixWeak promises nothing that was not asked for by name.
	PosixWeak Profile = iota
	// Ext4 keeps names in the order of their changes, renames in one step, and
	// commits all of them when a changed file is fsynced.
	Ext4
)

var profileNames = [...]string{"posix-weak", "ext4"}

func (p Profile) String() string { return nameOf(profileNames[:], int(p)) }

// Config describes a disk. The zero value is a weak one with 512-byte sectors
// and no limit.
type Config struct {
	Profile  Profile
	Sector   int   // bytes written atomically: 512 (also for 0) or 4096
	Capacity int64 // bytes; 0 is no limit
	Keyed    Keyed // nil is Seed(0)
}

// Disk is the state of one host's disk. It is pure state: it knows no time,
// and its methods are called by one goroutine.
type Disk struct {
	profile  Profile
	sector   int64
	capacity int64 // pages; 0 is no limit
	used     int64 // pages
	keyed    Keyed

	root  *inode
	seq   uint64 // of pending operations
	epoch uint64 // crashes so far

	rules    []*rule         // a fault's number is its place, from 1
	active   int             // not lifted
	watching bool            // a rule wants to know what pages held before
	recycled map[int64]*page // of removed and truncated files, by page index
	spare    spare
}

// New makes an empty disk. An unknown sector size or a negative capacity is
// an error.
func New(c Config) (*Disk, error) {
	if c.Sector == 0 {
		c.Sector = 512
	}
	if c.Sector != 512 && c.Sector != 4096 {
		return nil, fmt.Errorf("disk: sector of %d bytes: %w", c.Sector, ErrInvalid)
	}
	if c.Capacity < 0 || int(c.Profile) >= len(profileNames) {
		return nil, fmt.Errorf("disk: capacity %d, profile %d: %w", c.Capacity, c.Profile, ErrInvalid)
	}
	if c.Keyed == nil {
		c.Keyed = Seed(0)
	}
	return &Disk{profile: c.Profile, sector: int64(c.Sector), capacity: (c.Capacity + pageSize - 1) / pageSize, keyed: c.Keyed, root: newDir("")}, nil
}

// Sector is the number of bytes that the disk writes atomically.
func (d *Disk) Sector() int { return int(d.sector) }

func (d *Disk) nextSeq() uint64 { d.seq++; return d.seq }

// clean brings a name into the form that the model uses: no leading slash, no
// dots. A name that leaves the root is an error.
func clean(name string) (string, error) {
	if name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "/../") || strings.HasSuffix(name, "/..") || strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("disk: name %q: %w", name, ErrInvalid)
	}
	return path.Clean("/" + name)[1:], nil
}

// find is the node with a cleaned path in the cached name space.
func (d *Disk) find(p string) (*inode, error) {
	n := d.root
	for p != "" {
		var part string
		part, p, _ = strings.Cut(p, "/")
		if !n.dir {
			return nil, ErrNotDir
		}
		if n = n.cachedEntries[part]; n == nil {
			return nil, actor.ErrNotExist
		}
	}
	return n, nil
}

// file is the file with the given name in the cached name space.
func (d *Disk) file(name string) (*inode, error) {
	p, err := clean(name)
	if err != nil {
		return nil, err
	}
	n, err := d.find(p)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, ErrIsDir
	}
	return n, nil
}

// place is the directory that holds a path's last part, and that part.
func (d *Disk) place(p string) (*inode, string, error) {
	if p == "" {
		return nil, "", ErrIsDir
	}
	dir, base := "", p
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		dir, base = p[:i], p[i+1:]
	}
	n, err := d.find(dir)
	if err != nil {
		return nil, "", err
	}
	if !n.dir {
		return nil, "", ErrNotDir
	}
	return n, base, nil
}

// Apply issues an operation: it takes effect on the cache, and what is
// written is pending from here on. The result is in op and final for all but
// durable operations, see [Disk.Complete].
func (d *Disk) Apply(op *Op) error {
	op.epoch = d.epoch
	if op.node == nil && op.Kind.onFile() { // not made by FS
		op.Err = ErrInvalid
		return op.Err
	}
	if d.active > 0 {
		d.strike(op)
	}
	if op.struck.err != nil {
		op.Err = op.struck.err
		return op.Err
	}
	switch op.Kind {
	case OpWrite:
		op.Err = d.write(op)
	case OpSync, OpDatasync:
		op.seq = d.seq
	case OpRead:
		op.Err = d.read(op)
	case OpOpen:
		op.Err = d.open(op)
	case OpMkdir:
		op.Err = d.mkdir(op)
	case OpRemove:
		op.Err = d.remove(op)
	case OpRename:
		op.Err = d.rename(op)
	case OpReadDir:
		op.Err = d.readDir(op)
	case OpSyncDir:
		op.Err = d.startSyncDir(op)
	case OpAllocate:
		op.Err = d.allocate(op)
	case OpTruncate:
		op.Err = d.truncate(op)
	case OpSize:
		op.Len = op.node.cachedSize
	case OpClose:
	default:
		op.Err = ErrInvalid
	}
	return op.Err
}

// Complete ends an operation that was issued: a sync or a DSync write becomes
// durable, or fails. Of an operation issued before a crash nothing is left to
// complete, and the error is ErrDead.
func (d *Disk) Complete(op *Op) error {
	if op.epoch != d.epoch {
		op.Err = ErrDead
		return op.Err
	}
	if op.Err != nil || !op.Durable() {
		return op.Err
	}
	if op.Kind == OpSyncDir {
		switch {
		case op.struck.fail != nil:
			// The journal keeps the entries, so a later sync may succeed.
			op.Err = op.struck.fail
		case op.struck.lie:
		default:
			d.commitNames(op.node, op.seq)
		}
		return op.Err
	}
	n := op.node
	switch {
	case op.struck.fail != nil:
		n.fail(op.seq, op.own, op.struck.fail)
	case op.struck.lie:
	case op.Kind == OpWrite:
		if op.N > 0 {
			n.settleOne(d, op.own)
		}
	default:
		if d.profile == Ext4 && op.Kind == OpSync && (len(n.writes) > 0 || n.renamed) {
			d.commitNames(nil, op.seq)
			n.renamed = false
		}
		n.settle(d, op.seq)
	}
	// A descriptor learns of each failed sync once, whoever asked for it.
	if f := op.file; f != nil && f.seen != n.errSeq {
		f.seen = n.errSeq
		op.Err = n.errLast
	}
	return op.Err
}

// commitNames makes the entries of a directory durable up to seq. A journal
// holds the changes of all directories, and a commit takes them all.
func (d *Disk) commitNames(dir *inode, seq uint64) {
	if d.profile == PosixWeak {
		dir.settleEntries(seq)
		return
	}
	for _, n := range d.nodes() {
		if n.dir {
			n.settleEntries(seq)
		}
	}
}

// charge pays for pages, or says that there are not enough.
func (d *Disk) charge(pages int64) bool {
	if d.capacity > 0 && d.used+pages > d.capacity {
		return false
	}
	d.used += pages
	return true
}

// afford is how many of the bytes at off there is room for; it pays for them.
func (d *Disk) afford(n *inode, off, length int64) int64 {
	end := off + length
	for i := off / pageSize; i*pageSize < end; i++ {
		if i >= n.reserved && n.cached.page(i) == nil && !d.charge(1) {
			return max(i*pageSize-off, 0)
		}
	}
	return length
}

// pagesFrom counts the pages that a file has paid for from the given one on.
func (n *inode) pagesFrom(first int64) int64 {
	count := max(n.reserved-first, 0)
	for i := range n.cached.pages {
		if i >= first && i >= n.reserved {
			count++
		}
	}
	return count
}

func (d *Disk) write(op *Op) error {
	n := op.node
	if op.Flag&actor.Append != 0 {
		op.Off = n.cachedSize
	}
	p := op.Data
	if op.struck.short > 0 && op.struck.short < len(p) {
		p = p[:op.struck.short]
	}
	if len(p) == 0 {
		return nil
	}
	if op.Off < 0 || op.Off > maxSize-int64(len(p)) {
		return ErrInvalid
	}
	if d.capacity > 0 {
		room := d.afford(n, op.Off, int64(len(p)))
		if room == 0 {
			return actor.ErrNoSpace
		}
		p = p[:room]
	}
	if d.watching {
		n.remember(op.Off, int64(len(p)))
	}
	op.own = d.nextSeq()
	w := n.addWrite(d, op.own, p, op.Off)
	w.device, w.stray = op.struck.device, op.struck.stray
	if end := op.Off + int64(len(p)); end > n.cachedSize {
		n.addSize(d, d.nextSeq(), end)
	}
	op.seq = d.seq
	op.N = len(p)
	return nil
}

// maxSize bounds a file, so that offsets cannot overflow.
const maxSize = 1 << 50

func (d *Disk) read(op *Op) error {
	n := op.node
	if op.Off < 0 {
		return ErrInvalid
	}
	if op.Off >= n.cachedSize {
		if len(op.Data) == 0 {
			return nil
		}
		return io.EOF
	}
	p := op.Data[:min(int64(len(op.Data)), n.cachedSize-op.Off)]
	for _, s := range n.bad {
		if s.off < op.Off+int64(len(p)) && op.Off < s.end {
			return actor.ErrIO
		}
	}
	n.cached.read(p, op.Off)
	if op.struck.stale != 0 {
		d.showPast(op, p)
	}
	op.N = len(p)
	if len(p) < len(op.Data) {
		return io.EOF
	}
	return nil
}

func (d *Disk) open(op *Op) error {
	dir, base, err := d.place(op.Path)
	if err != nil {
		return err
	}
	n := dir.cachedEntries[base]
	switch {
	case n == nil && op.Flag&actor.Create == 0:
		return actor.ErrNotExist
	case n == nil:
		n = &inode{path: op.Path, links: 1}
		dir.setEntry(d.nextSeq(), 0, base, n)
	case op.Flag&(actor.Create|actor.Excl) == actor.Create|actor.Excl:
		return actor.ErrExist
	case n.dir:
		return ErrIsDir
	}
	op.node = n
	return nil
}

func (d *Disk) mkdir(op *Op) error {
	if op.Path == "" {
		return nil
	}
	dir, base, err := d.place(op.Path)
	if err != nil {
		return err
	}
	if n := dir.cachedEntries[base]; n != nil {
		if n.dir {
			return nil
		}
		return actor.ErrExist
	}
	dir.setEntry(d.nextSeq(), 0, base, newDir(op.Path))
	return nil
}

func (d *Disk) remove(op *Op) error {
	dir, base, err := d.place(op.Path)
	if err != nil {
		return err
	}
	n := dir.cachedEntries[base]
	if n == nil {
		return actor.ErrNotExist
	}
	if n.dir && len(n.cachedEntries) > 0 {
		return ErrNotEmpty
	}
	dir.setEntry(d.nextSeq(), 0, base, nil)
	d.unlink(n)
	return nil
}

// unlink counts a name less, and gives the space of a file back with the last
// reference.
func (d *Disk) unlink(n *inode) {
	if n.dir {
		return
	}
	n.links--
	d.recycle(n, 0)
	d.free(n)
}

func (d *Disk) free(n *inode) {
	if n.links <= 0 && n.open <= 0 && !n.dir {
		d.used -= n.pagesFrom(0)
		n.reserved = 0
		n.cached.zeroFrom(&d.spare, 0)
		n.cached = store{}
		n.links, n.open = 0, 0
		n.cachedSize = 0
		n.written = true
	}
}

func (d *Disk) rename(op *Op) error {
	from, oldBase, err := d.place(op.Path)
	if err != nil {
		return err
	}
	n := from.cachedEntries[oldBase]
	if n == nil {
		return actor.ErrNotExist
	}
	to, newBase, err := d.place(op.To)
	if err != nil {
		return err
	}
	if op.Path == op.To {
		return nil
	}
	if n.dir && strings.HasPrefix(op.To, op.Path+"/") {
		return ErrInvalid
	}
	was := to.cachedEntries[newBase]
	if was == n {
		return nil // two names of one file, left by a crash: POSIX does nothing
	}
	if was != nil && (was.dir || n.dir) {
		return actor.ErrExist
	}
	pair := d.nextSeq()
	to.setEntry(pair, pair, newBase, n)
	from.setEntry(d.nextSeq(), pair, oldBase, nil)
	if was != nil {
		d.unlink(was)
	}
	return nil
}

func (d *Disk) readDir(op *Op) error {
	n, err := d.find(op.Path)
	if err != nil {
		return err
	}
	if !n.dir {
		return ErrNotDir
	}
	op.Names = sortedNames(n.cachedEntries)
	op.N = len(op.Names)
	return nil
}

func sortedNames(m map[string]*inode) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (d *Disk) startSyncDir(op *Op) error {
	n, err := d.find(op.Path)
	if err != nil {
		return err
	}
	if !n.dir {
		return ErrNotDir
	}
	op.node, op.seq = n, d.seq
	return nil
}

func (d *Disk) allocate(op *Op) error {
	n := op.node
	if op.Len < 0 || op.Len > maxSize {
		return ErrInvalid
	}
	want := (op.Len + pageSize - 1) / pageSize
	if want > n.reserved {
		more := want - n.reserved
		for i := range n.cached.pages {
			if i >= n.reserved && i < want {
				more-- // paid for when it was written
			}
		}
		if !d.charge(more) {
			return actor.ErrNoSpace
		}
		n.reserved = want
	}
	if op.Len > n.cachedSize {
		n.addSize(d, d.nextSeq(), op.Len)
	}
	return nil
}

func (d *Disk) truncate(op *Op) error {
	n := op.node
	if op.Len < 0 || op.Len > maxSize {
		return ErrInvalid
	}
	if op.Len == n.cachedSize {
		return nil
	}
	if op.Len < n.cachedSize {
		d.recycle(n, op.Len)
		first := (op.Len + pageSize - 1) / pageSize
		d.used -= n.pagesFrom(first)
		n.reserved = min(n.reserved, first)
	}
	n.addSize(d, d.nextSeq(), op.Len)
	return nil
}

// recyclePages bounds what is remembered of freed files: the first MiB.
const recyclePages = 256

// recycle remembers the durable pages of a file from off on: its blocks are
// free now, and what they hold may turn up in another file.
func (d *Disk) recycle(n *inode, off int64) {
	for i := off / pageSize; i < min(n.durable.top, recyclePages); i++ {
		if p := n.durable.page(i); p != nil {
			if d.recycled == nil {
				d.recycled = make(map[int64]*page)
			}
			q := d.recycled[i]
			if q == nil {
				q = d.spare.page(true)
				d.recycled[i] = q
			}
			*q = *p
		}
	}
}

// nodes lists every file and directory that the cache, the medium or a
// pending operation can reach, each once, in an order that depends on names
// and operations only.
func (d *Disk) nodes() []*inode {
	seen := map[*inode]bool{d.root: true}
	list := []*inode{d.root}
	add := func(n *inode) {
		if n != nil && !seen[n] {
			seen[n] = true
			list = append(list, n)
		}
	}
	for i := 0; i < len(list); i++ {
		n := list[i]
		if !n.dir {
			continue
		}
		for _, name := range sortedNames(n.durableEntries) {
			add(n.durableEntries[name])
		}
		for _, e := range n.entries {
			add(e.node)
		}
		for _, name := range sortedNames(n.cachedEntries) {
			add(n.cachedEntries[name])
		}
	}
	return list
}
