package wal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

// segmentsOf lists the files of the log, oldest first.
func segmentsOf(d *disk.Disk) (names []string) {
	for _, f := range d.Files() {
		if strings.HasPrefix(f.Path, dir+"/") {
			names = append(names, f.Path)
		}
	}
	return names
}

// The mark that says that records were removed is the last record of the log.
// The next record is written over it and tears to garbage. Recovery must
// still know that the log's beginning is missing on purpose.
func TestRecordTornOverTheMarkOfATruncation(t *testing.T) {
	d := newDisk(t, disk.Config{})
	o := tiny(512)
	m := &model{}
	l, err := m.revive(newFS(d), o)
	must(t, err)
	for range 20 {
		must(t, m.append(l, 10))
	}
	must(t, m.truncate(l, 18))
	if l.First() == 1 {
		t.Fatal("nothing was removed")
	}
	for _, fate := range []disk.Fate{disk.FateOld, disk.FateNew, disk.FateZero, disk.FateGarbage} {
		d, m := d.Clone(), m.clone()
		g := &writeTrip{d: d, k: 1 << 30}
		l, err := m.revive(disk.NewGatedFS(d, g), o)
		must(t, err)
		func() {
			defer func() { _ = recover() }()
			g.k = g.n + 1
			must(t, m.append(l, 10))
			_ = m.sync(l)
		}()
		d.Crash(func(disk.Pending, int64) disk.Fate { return fate })
		if _, err := m.revive(newFS(d), o); err != nil {
			t.Errorf("%v: %v", fate, err)
		}
	}
}

// A COMMIT of which all bytes but some padding reached the disk before that
// was full; then an acknowledged ABORT; then a crash.
func TestAbortAfterACommitWithoutSpace(t *testing.T) {
	d := newDisk(t, disk.Config{})
	m := &model{}
	var writes, short int
	fs := disk.NewFS(d, nil)
	l, err := m.revive(fs, small())
	must(t, err)
	must(t, m.begin(l))
	must(t, m.data(l, 10))
	must(t, m.sync(l))
	// The one short write that leaves the record's bytes whole must be met:
	// its length is drawn from its number.
	for seed := range uint64(64) {
		d, err := disk.New(disk.Config{Keyed: disk.Seed(seed)})
		must(t, err)
		m := &model{}
		l, err := m.revive(newFS(d), small())
		must(t, err)
		must(t, m.begin(l))
		must(t, m.data(l, 10))
		must(t, m.sync(l))
		a, err := d.Inject(disk.Fault{Kind: disk.ShortWrite, Limit: 1})
		must(t, err)
		b, err := d.Inject(disk.Fault{Kind: disk.NoSpaceWrite, From: 1})
		must(t, err)
		if err := m.commit(l); !errors.Is(err, actor.ErrNoSpace) {
			t.Fatalf("commit: %v", err)
		}
		writes++
		d.Lift(a)
		// Without space for the ABORT the transaction is open still.
		if err := m.abort(l); !errors.Is(err, actor.ErrNoSpace) || !l.InTxn() {
			t.Fatalf("abort on a full disk: %v, open %t", err, l.InTxn())
		}
		d.Lift(b)
		committed := d.Clone()
		committed.Crash(nil)
		n := m.clone()
		if _, err := n.revive(newFS(committed), small()); err != nil {
			t.Fatal(err)
		}
		if len(n.recs) > 0 {
			short++ // the COMMIT had landed: this seed is the counter-example
		}
		must(t, m.abort(l))
		d.Crash(nil)
		if _, err := m.revive(newFS(d), small()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(m.recs) > 0 {
			t.Fatalf("seed %d: aborted and yet there: %v", seed, m.recs)
		}
	}
	if short == 0 {
		t.Fatalf("none of %d short writes left a COMMIT: the test sees nothing", writes)
	}
}

// A recovery that dies leaves a file whose number must not be used again, not
// even if the file's removal survives the next crash and nothing else does.
func TestSegmentNumbersAreUsedOnce(t *testing.T) {
	o := tiny(512)
	used := map[string]string{} // name to its first content
	d, m := past(t, 3, 512)
	for k := 1; k < 400; k++ {
		g := &tripwire{d: d, k: 15 + k%40, midway: k%2 == 0}
		g.run(func(fs actor.FS) {
			n := m.clone()
			l, err := n.revive(fs, o)
			must(t, err)
			m = n
			for range 2 {
				must(t, m.append(l, 10))
				must(t, m.sync(l))
			}
		})
		for _, name := range segmentsOf(d) {
			b, err := d.Cached(name)
			if err != nil || len(b) < 512 { // a name that a crash has undone
				continue
			}
			// The first header says when the file was written, by its start
			// of the chain: previous checksum and LSN.
			h, err := wal.DecodeHeader(b)
			if err != nil {
				continue
			}
			key := strings.TrimSuffix(name, ".tmp")
			head := fmt.Sprint(h.LSN, h.Previous, h.HeaderSum)
			if was, ok := used[key]; ok && was != head {
				t.Fatalf("%s was another file before", name)
			}
			used[key] = head
		}
		d.Crash(d.Random(uint64(k)))
	}
	if len(used) < 5 {
		t.Fatalf("%d segments: the test sees nothing", len(used))
	}
}

// Sealing on a timer writes one mark, not one each time.
func TestSealOnce(t *testing.T) {
	d := newDisk(t, disk.Config{})
	l := mustOpen(t, newFS(d), small())
	add(t, l, "one")
	for range 5 {
		must(t, l.Seal())
	}
	if l.Last() != 2 {
		t.Fatalf("five seals: last is %d", l.Last())
	}
	add(t, l, "two")
	must(t, l.Seal())
	if l.Last() != 4 {
		t.Fatalf("last is %d", l.Last())
	}
}

// A time-out while opening is not corruption, and not a sign that a segment
// is empty: the last batch is there at the next try.
func TestTimeOutWhileOpening(t *testing.T) {
	d := newDisk(t, disk.Config{})
	o := small()
	l := mustOpen(t, newFS(d), o)
	add(t, l, "one", "two")
	o.Deadline = time.Second
	for n := range uint64(30) {
		d := d.Clone()
		id, err := d.Inject(disk.Fault{Kind: disk.HungIO, From: n, To: n + 2})
		must(t, err)
		_, err = wal.Open(newFS(d), dir, o)
		var c *wal.CorruptionError
		if err != nil && (!errors.Is(err, actor.ErrDeadline) || errors.As(err, &c)) {
			t.Fatalf("operation %d hangs: %v", n, err)
		}
		d.Lift(id)
		_, got := reopen(t, d)
		equal(t, got, "1 SINGLE one", "2 SINGLE two")
	}
}

// The device fails to read the first sector of the segment that has the last
// batch, for a while. Taken for an empty file it would be removed.
func TestUnreadableFirstSector(t *testing.T) {
	d := newDisk(t, disk.Config{})
	o := tiny(512)
	m := &model{}
	l, err := m.revive(newFS(d), o)
	must(t, err)
	for len(segmentsOf(d)) < 2 {
		must(t, m.append(l, 10))
	}
	must(t, m.sync(l))
	names := segmentsOf(d)
	for reads := 1; reads < 8; reads++ {
		d, m := d.Clone(), m.clone()
		n := 0
		_, err := wal.Open(disk.NewFS(d, func(op *disk.Op) error {
			if op.Kind == disk.OpRead && op.Path == names[1] {
				if n++; n <= reads {
					return actor.ErrIO
				}
			}
			return nil
		}), dir, o)
		var c *wal.CorruptionError
		if reads == 1 && err != nil || reads > 1 && !errors.As(err, &c) {
			t.Fatalf("%d reads fail: %v", reads, err)
		}
		if _, err := m.revive(newFS(d), o); err != nil {
			t.Fatalf("%d reads fail, then: %v", reads, err)
		}
	}
}

// 10 tears and 11 behind it is whole; both are cut. The owner appends the same
// 10 again. With 10 in its old place, 11 would follow it, chain and all, and
// come back from the dead.
func TestCutRecordsStayCut(t *testing.T) {
	d := newDisk(t, disk.Config{})
	o := tiny(512)
	l := mustOpen(t, newFS(d), o)
	add(t, l, "one")
	for _, p := range []string{"two", "three"} { // one batch
		_, err := l.Append(1, 7, []byte(p))
		must(t, err)
	}
	must(t, l.Sync())
	overwrite(t, d, seg1, 512, make([]byte, 512)) // two is torn
	_, got := reopenWith(t, d, o)
	equal(t, got, "1 SINGLE one")
	d.DropCaches()
	l, _ = reopenWith(t, d, o)
	add(t, l, "two")
	_, got = reopenWith(t, d, o)
	equal(t, got, "1 SINGLE one", "2 SINGLE two")
	d.Crash(nil)
	_, got = reopenWith(t, d, o)
	equal(t, got, "1 SINGLE one", "2 SINGLE two")
}

func reopenWith(t testing.TB, d *disk.Disk, o wal.Options) (*wal.Log, []string) {
	t.Helper()
	var got []string
	o.Replay = func(r wal.Record) error {
		got = append(got, line(r))
		return nil
	}
	return mustOpen(t, newFS(d), o), got
}

// A torn tail moves the log to a new segment that holds one mark, and the sync
// of the directory fails: the name is in the cache only. Opened again by the
// next process, the mark is taken back and nothing else is in the segment. A
// record appended there would be acknowledged in a file without a name.
func TestSegmentWithoutADurableName(t *testing.T) {
	d := newDisk(t, disk.Config{})
	o := tiny(512)
	l := mustOpen(t, newFS(d), o)
	add(t, l, "one")
	must(t, l.Close())
	overwrite(t, d, seg1, 1024, []byte("torn"))
	renamed := false
	fs := disk.NewFS(d, func(op *disk.Op) error {
		renamed = renamed || op.Kind == disk.OpRename
		if renamed && op.Kind == disk.OpSyncDir {
			return actor.ErrIO
		}
		return nil
	})
	_, err := wal.Open(fs, dir, o)
	poisoned(t, err)
	fs.Kill()
	l, _ = reopenWith(t, d, o)
	add(t, l, "two")
	d.Crash(func(disk.Pending, int64) disk.Fate { return disk.FateOld })
	_, got := reopenWith(t, d, o)
	equal(t, got[len(got)-1:], fmt.Sprintf("%d SINGLE two", l.Durable()))
}

// A write fails, the record is in the cache. A recovery copies it into segment
// 2 and dies before that has its name; the crash takes the cache. The file's
// number is spent: if a later segment were number 2 as well, the freed blocks
// of the file could show under it.
func TestNumberOfAnUnfinishedSegmentIsSpent(t *testing.T) {
	d := newDisk(t, disk.Config{})
	o := tiny(512)
	l := mustOpen(t, newFS(d), o)
	add(t, l, "one")
	must(t, l.Close())
	l, _ = reopenWith(t, d, o)
	id, err := d.Inject(disk.Fault{Kind: disk.DSyncError})
	must(t, err)
	_, err = l.Append(1, 7, []byte("lost"))
	must(t, err)
	poisoned(t, l.Sync())
	d.Lift(id)
	func() {
		defer func() {
			if recover() != (stop{}) {
				t.Error("no rename")
			}
		}()
		_, _ = wal.Open(disk.NewFS(d, func(op *disk.Op) error {
			if op.Kind == disk.OpRename {
				panic(stop{})
			}
			return nil
		}), dir, o)
	}()
	d.Crash(func(disk.Pending, int64) disk.Fate { return disk.FateOld })
	spent := fmt.Sprint(segmentsOf(d))
	if !strings.Contains(spent, "2.wal.tmp") {
		t.Fatalf("no unfinished file in %s: the test sees nothing", spent)
	}
	for range 2 {
		l, _ = reopenWith(t, d, o)
		add(t, l, "one")
		must(t, l.Close())
	}
	l, _ = reopenWith(t, d, o)
	for range 20 {
		add(t, l, "more")
	}
	if names := fmt.Sprint(segmentsOf(d)); strings.Contains(names, "00002.wal") {
		t.Fatalf("number 2 is used again: %s", names)
	}
}
