package disk

import (
	"fmt"
	"path"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Kind is a kind of disk fault.
type Kind uint8

// The faults. Those of the first group shape what the next crash leaves, where
// otherwise its Choice would; the others hit operations.
const (
	LoseUnsynced    Kind = iota // every pending write of a file is lost
	ReorderUnsynced             // an earlier pending write is lost, a later one survives
	TornWrite                   // a pending write survives in part, by units of Fault.Unit
	ZeroTail                    // sizes survive, the data of the last writes is zero
	StaleTail                   // sizes survive, the last writes' units hold what freed blocks held
	LostEntry                   // a file's creation is undone
	LostRename                  // a rename is undone
	LostUnlink                  // a removal is undone

	SyncError     // a sync fails with ErrIO; its data is not written by a later one
	DSyncError    // a DSync write fails the same way; its data stays readable
	NoSpaceWrite  // a write or Allocate fails with ErrNoSpace
	NoSpaceSync   // a sync fails with ErrNoSpace, like SyncError
	ShortWrite    // a write does a part of its bytes, without an error
	Interrupted   // a write does nothing and returns ErrInterrupted
	BitRot        // a bit of durable data that is being read has flipped, for good
	BadSector     // a sector being read fails with ErrIO until it is rewritten whole
	Misdirected   // a write reaches the medium some sectors away; the cache is right
	LostWrite     // a write is acknowledged, synced, and never reaches the medium
	StaleRead     // one read sees a sector as it was before its page was last written
	LyingFlush    // a sync or DSync write says yes and makes nothing durable
	SlowIO        // an operation takes Fault.Delay longer
	HungIO        // an operation never completes
	numberOfKinds = iota
)

var kindNames = [numberOfKinds]string{
	"lose-unsynced", "reorder-unsynced", "torn-write", "zero-tail", "stale-tail",
	"lost-entry", "lost-rename", "lost-unlink",
	"sync-error", "dsync-error", "no-space-write", "no-space-sync", "short-write", "interrupted",
	"bit-rot", "bad-sector", "misdirected", "lost-write", "stale-read", "lying-flush", "slow-io", "hung-io",
}

// purposes are the keys of random decisions, made once so that asking does
// not allocate.
var purposes = func() (p [numberOfKinds]string) {
	for i, name := range kindNames {
		p[i] = "disk.fault." + name
	}
	return p
}()

func (k Kind) String() string { return nameOf(kindNames[:], int(k)) }

// ParseKind is the kind with the given name.
func ParseKind(name string) (Kind, error) {
	for i, s := range kindNames {
		if s == name {
			return Kind(i), nil
		}
	}
	return 0, fmt.Errorf("disk: no fault is called %q", name)
}

// Kinds lists all kinds.
func Kinds() []Kind {
	list := make([]Kind, numberOfKinds)
	for i := range list {
		list[i] = Kind(i)
	}
	return list
}

// Survivable says whether a correct log masks the fault: nothing that it has
// promised changes. The others it can at best detect.
func (k Kind) Survivable() bool {
	switch k {
	case BitRot, BadSector, Misdirected, LostWrite, StaleRead, LyingFlush:
		return false
	}
	return true
}

// AtCrash says whether the fault shapes a crash rather than an operation.
func (k Kind) AtCrash() bool { return k <= LostUnlink }

// A Fault is a rule: which operations it hits, how often, and what happens.
type Fault struct {
	Kind Kind
	// Path is a pattern of path.Match on the cleaned name; empty is any. A
	// crash matches the name that a file has in the cache.
	Path string
	// From and To count the operations that match by kind, path and range
	// since the fault was injected, the first being 0: it hits those with
	// From <= n < To. To 0 is no end. At a crash, files and entries count.
	From, To uint64
	// Off and End bound the bytes, end exclusive: an operation must touch one.
	// End 0 is no end. Only reads and writes have a range.
	Off, End int64
	Rate     float64       // the share of those that are hit; 0 is all
	Limit    uint64        // hits at most; 0 is no limit
	Unit     int64         // of TornWrite, bytes: 512, 4096; 0 is the sector
	Delay    time.Duration // of SlowIO
}

func (f *Fault) validate() error {
	if int(f.Kind) >= numberOfKinds {
		return fmt.Errorf("disk: fault kind %d: %w", f.Kind, ErrInvalid)
	}
	if _, err := path.Match(f.Path, ""); err != nil {
		return fmt.Errorf("disk: fault path %q: %w", f.Path, err)
	}
	if !(f.Rate >= 0 && f.Rate <= 1) { // this way round it refuses NaN
		return fmt.Errorf("disk: fault rate %v: %w", f.Rate, ErrInvalid)
	}
	if f.Off < 0 || f.End < 0 || (f.End > 0 && f.End <= f.Off) || (f.To > 0 && f.To <= f.From) {
		return fmt.Errorf("disk: fault range is empty: %w", ErrInvalid)
	}
	if f.Unit != 0 && f.Unit != 512 && f.Unit != 4096 {
		return fmt.Errorf("disk: fault unit %d: %w", f.Unit, ErrInvalid)
	}
	if f.Delay < 0 {
		return fmt.Errorf("disk: fault delay %v: %w", f.Delay, ErrInvalid)
	}
	return nil
}

// rule is a fault in force and what became of it.
type rule struct {
	Fault
	id     int
	lifted bool
	came   uint64            // operations that matched
	hit    uint64            // those it decided to hit
	fired  uint64            // those where it changed something
	seen   map[uint64]uint64 // occurrences of identities, for Rate
}

// Inject puts a fault in force, and returns the number to ask about it with.
func (d *Disk) Inject(f Fault) (int, error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	id := len(d.rules) + 1
	d.rules = append(d.rules, &rule{Fault: f, id: id})
	d.countRules()
	return id, nil
}

// Lift ends a fault. What it has done stays done.
func (d *Disk) Lift(id int) {
	if r := d.rule(id); r != nil {
		r.lifted = true
	}
	d.countRules()
}

// Fired is how often a fault has changed something, lifted or not.
func (d *Disk) Fired(id int) uint64 {
	if r := d.rule(id); r != nil {
		return r.fired
	}
	return 0
}

func (d *Disk) rule(id int) *rule {
	if id < 1 || id > len(d.rules) {
		return nil
	}
	return d.rules[id-1]
}

func (d *Disk) countRules() {
	d.active, d.watching = 0, false
	for _, r := range d.rules {
		if !r.lifted {
			d.active++
			d.watching = d.watching || r.Kind == StaleRead
		}
	}
}

func cloneRules(rules []*rule) []*rule {
	list := make([]*rule, len(rules))
	for i, r := range rules {
		c := *r
		if r.seen != nil {
			c.seen = make(map[uint64]uint64, len(r.seen))
			for k, v := range r.seen {
				c.seen[k] = v
			}
		}
		list[i] = &c
	}
	return list
}

// matches says whether the rule concerns a name.
func (r *rule) matches(name string) bool {
	if r.Path == "" || r.Path == name {
		return true
	}
	ok, _ := path.Match(r.Path, name) // validated
	return ok
}

// arrive counts something that the rule concerns, and decides whether it is
// hit. identity is what the decision is keyed on; it is asked for only where
// there is one to make. draw is for the further decisions about this hit.
func (d *Disk) arrive(r *rule, identity func() uint64) (draw uint64, hit bool) {
	n := r.came
	r.came++
	if n < r.From || (r.To > 0 && n >= r.To) || (r.Limit > 0 && r.hit >= r.Limit) {
		return 0, false
	}
	if r.seen == nil {
		r.seen = make(map[uint64]uint64)
	}
	id := identity()
	r.seen[id]++
	// The pattern stands for the rule: another rule of this kind, or this one
	// with other limits, must not change the draw.
	draw = d.keyed.For(purposes[r.Kind], mix(hashString(2, r.Path), id), r.seen[id])
	if r.Rate > 0 && r.Rate < 1 && float64(draw>>11) >= float64(r.Rate*(1<<53)) {
		return 0, false
	}
	r.hit++
	return mix(draw, 5), true
}

// struck is what the faults decided about one operation.
type struck struct {
	err    error // it fails at once, without effect
	fail   error // it fails at completion
	short  int   // bytes a write is cut to; 0 leaves it whole
	lie    bool  // a sync says yes and does nothing
	device int   // the rule that makes the device lose or misplace a write
	stray  int64 // by how many bytes it misplaces it; 0 loses it
	stale  int   // the rule that shows a read the past
	draw   uint64
}

// concerns says whether a kind of fault can hit an operation.
func (k Kind) concerns(op *Op) bool {
	switch k {
	case SyncError, NoSpaceSync:
		return op.Kind == OpSync || op.Kind == OpDatasync || (op.Kind == OpSyncDir && k == SyncError)
	case DSyncError:
		return op.Kind == OpWrite && op.Flag&actor.DSync != 0
	case NoSpaceWrite:
		return op.Kind == OpWrite || op.Kind == OpAllocate
	case ShortWrite:
		return op.Kind == OpWrite && len(op.Data) > 1
	case Interrupted, Misdirected, LostWrite:
		return op.Kind == OpWrite && len(op.Data) > 0
	case BitRot, BadSector, StaleRead:
		return op.Kind == OpRead
	case LyingFlush:
		return op.Durable()
	case SlowIO, HungIO:
		return true
	}
	return false
}

// strike lets the faults decide about an operation that is being issued.
func (d *Disk) strike(op *Op) {
	if op.Kind == OpWrite && op.Flag&actor.Append != 0 {
		op.Off = op.node.cachedSize
	}
	for _, r := range d.rules {
		if r.lifted || !r.Kind.concerns(op) || !r.matches(op.Path) {
			continue
		}
		if op.Kind == OpRead || op.Kind == OpWrite {
			if op.Off+op.Len <= r.Off || (r.End > 0 && op.Off >= r.End) {
				continue
			}
		}
		draw, hit := d.arrive(r, func() uint64 { return op.identity() })
		if hit && d.hit(op, r, draw) {
			r.fired++
		}
	}
}

// identity is path, place and content: what an operation is, whenever it
// comes. How often it came is counted by the rule.
func (op *Op) identity() uint64 {
	h := mix(hashString(uint64(op.Kind), op.Path), uint64(op.Off))
	if op.Kind == OpWrite {
		return hashBytes(h, op.Data)
	}
	return mix(h, uint64(op.Len))
}

// hit applies one fault to an operation. It says whether that changed
// something already; faults of the device count later, when the write lands.
func (d *Disk) hit(op *Op, r *rule, draw uint64) bool {
	s := &op.struck
	switch r.Kind {
	case SyncError, DSyncError:
		s.fail = actor.ErrIO
	case NoSpaceSync:
		s.fail = actor.ErrNoSpace
	case NoSpaceWrite:
		s.err = actor.ErrNoSpace
	case Interrupted:
		s.err = actor.ErrInterrupted
	case ShortWrite:
		s.short = 1 + int(draw%uint64(len(op.Data)-1))
	case LyingFlush:
		s.lie = true
	case SlowIO:
		op.Delay += r.Delay
	case HungIO:
		op.Hang = true
	case LostWrite:
		s.device, s.stray = r.id, 0
		return false
	case Misdirected:
		s.device = r.id
		s.stray = int64(1+draw%8) * d.sector
		if draw>>32&1 == 1 && op.Off >= s.stray {
			s.stray = -s.stray
		}
		return false
	case StaleRead:
		s.stale, s.draw = r.id, draw
		return false
	case BitRot:
		off, ok := op.node.pick(op, r, draw)
		return ok && op.node.flip(&d.spare, off, uint(draw>>40&7))
	case BadSector:
		off, ok := op.node.pick(op, r, draw)
		if ok {
			op.node.spoil(off/d.sector*d.sector, d.sector)
		}
		return ok
	}
	return true
}

// pick chooses a byte of a read, within the rule's range, that is on the
// medium: pending data is in memory, where the medium's faults cannot reach.
// It looks a few times for one that is not zero, which somebody may miss.
func (n *inode) pick(op *Op, r *rule, draw uint64) (int64, bool) {
	lo := max(op.Off, r.Off)
	hi := min(op.Off+op.Len, n.durableSize, n.cachedSize)
	if r.End > 0 {
		hi = min(hi, r.End)
	}
	if lo >= hi {
		return 0, false
	}
	found := int64(-1)
	for i := uint64(0); i < 64; i++ {
		off := lo + int64(mix(draw, i)%uint64(hi-lo))
		if n.isPending(off) {
			continue
		}
		found = off
		if p := n.durable.page(off / pageSize); p != nil && p[off%pageSize] != 0 {
			break
		}
	}
	return found, found >= 0
}

func (n *inode) isPending(off int64) bool {
	for i := range n.writes {
		if w := &n.writes[i]; w.n > 0 && w.off <= off && off < w.end() {
			return true
		}
	}
	return false
}

// flip changes a bit on the medium and in the cached copy, as if that had been
// read again.
func (n *inode) flip(sp *spare, off int64, bit uint) bool {
	n.durable.make(sp, off/pageSize, false)[off%pageSize] ^= 1 << bit
	var b [1]byte
	n.durable.read(b[:], off)
	n.cached.write(sp, b[:], off)
	return true
}

// spoil makes a sector unreadable.
func (n *inode) spoil(off, length int64) {
	s := span{off, off + length}
	for _, have := range n.bad {
		if have == s {
			return
		}
	}
	n.bad = append(n.bad, s)
}

// FlipBit flips a bit of a file on the medium and in clean cached pages, now.
func (d *Disk) FlipBit(name string, off int64, bit uint) error {
	n, err := d.file(name)
	if err != nil {
		return err
	}
	if off < 0 || off >= n.durableSize || bit > 7 || n.isPending(off) {
		return fmt.Errorf("disk: no durable bit %d of byte %d in %s: %w", bit, off, name, ErrInvalid)
	}
	n.flip(&d.spare, off, bit)
	return nil
}

// Spoil makes the sector of a file that holds the given byte unreadable until
// it is rewritten.
func (d *Disk) Spoil(name string, off int64) error {
	n, err := d.file(name)
	if err != nil {
		return err
	}
	if off < 0 || off >= n.durableSize {
		return fmt.Errorf("disk: no durable byte %d in %s: %w", off, name, ErrInvalid)
	}
	n.spoil(off/d.sector*d.sector, d.sector)
	return nil
}

// remember keeps what the pages of a range hold before they are written.
func (n *inode) remember(off, length int64) {
	if n.before == nil {
		n.before = make(map[int64]*page)
	}
	for i := off / pageSize; i*pageSize < off+length; i++ {
		was := n.before[i]
		if was == nil {
			was = new(page)
			n.before[i] = was
		}
		if p := n.cached.page(i); p != nil {
			*was = *p
		} else {
			*was = page{}
		}
	}
}

// staleUnits bounds the search of a stale read for a sector that has a past.
const staleUnits = 1024

// showPast replaces one sector of what a read returns by what it was before
// its page was last written: what was remembered, else what the medium has,
// else zeros.
func (d *Disk) showPast(op *Op, p []byte) {
	n := op.node
	first := op.Off / d.sector
	count := (op.Off+int64(len(p))-1)/d.sector - first + 1
	for i := int64(0); i < min(count, staleUnits); i++ {
		unit := first + int64((op.struck.draw+uint64(i))%uint64(count))
		from := max(unit*d.sector, op.Off)
		to := min((unit+1)*d.sector, op.Off+int64(len(p)))
		now := p[from-op.Off : to-op.Off]
		past := make([]byte, len(now)) // zeros, the oldest past
		if was := n.before[from/pageSize]; was != nil {
			copy(past, was[from%pageSize:])
		} else if on := n.durable.page(from / pageSize); on != nil {
			copy(past, on[from%pageSize:])
			if string(past) == string(now) {
				clear(past)
			}
		}
		if string(past) != string(now) {
			copy(now, past)
			d.rule(op.struck.stale).fired++
			return
		}
	}
}
