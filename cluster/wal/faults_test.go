package wal_test

import (
	"errors"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

// class is what a log can do about a fault, see README.md, section 5.
type class string

const (
	isMasked   class = "masked"
	isDetected class = "detected"
	isOutside  class = "outside"
)

const seg1 = dir + "/00000000000000000001.wal"

// ten is a log of ten acknowledged records with a payload of zeros, the case
// that other logs get wrong: a zeroed payload is an easy one to mistake for a
// tail that was never written. Not closed: no mark vouches for record 10.
func ten(t testing.TB) (*disk.Disk, *model) {
	d := newDisk(t, disk.Config{})
	m := &model{}
	l, err := m.revive(newFS(d), small())
	must(t, err)
	for range 10 {
		lsn, err := l.Append(1, 1, make([]byte, 100))
		must(t, err)
		must(t, l.Sync())
		m.push(rec{lsn, wal.Single, 0, string(make([]byte, 100))})
		m.note(l)
	}
	return d, m
}

// at is where record n of ten begins.
func at(n int) int64 { return int64(n-1) * 512 }

// judge opens the log and says what became of it: with every promise kept the
// fault was masked; with an error that names the LSN detected; with something
// lost and no error outside.
func judge(t testing.TB, d *disk.Disk, m *model, o wal.Options) (class, *wal.CorruptionError) {
	t.Helper()
	before := d.Hash()
	_, err := m.revive(newFS(d), o)
	var c *wal.CorruptionError
	switch {
	case err == nil:
		return isMasked, nil
	case errors.As(err, &c):
		if c.LSN == 0 || before != d.Hash() {
			t.Errorf("%v: no LSN, or the log was changed", err)
		}
		return isDetected, c
	}
	return isOutside, nil
}

func overwrite(t testing.TB, d *disk.Disk, name string, off int64, p []byte) {
	t.Helper()
	f, err := newFS(d).Open(name, actor.DSync)
	must(t, err)
	_, err = f.WriteAt(p, off)
	must(t, err)
	must(t, f.Close())
}

func content(t testing.TB, d *disk.Disk, name string) []byte {
	t.Helper()
	b, err := d.Durable(name)
	must(t, err)
	return b
}

// Damage that stands on the disk when the log is opened.
func TestDamage(t *testing.T) {
	bit := func(n int, in int64) func(testing.TB, *disk.Disk) {
		return func(t testing.TB, d *disk.Disk) { must(t, d.FlipBit(seg1, at(n)+in, 3)) }
	}
	for _, c := range []struct {
		name string
		do   func(testing.TB, *disk.Disk)
		want class
		lsn  wal.LSN
	}{
		{"bit flipped in the zero payload of record 3 of 10", bit(3, 300), isDetected, 3},
		{"bit flipped in the header of record 3 of 10", bit(3, 100), isDetected, 3},
		{"bit flipped in the magic of the first record", bit(1, 0), isDetected, 1},
		{"bit flipped in record 9, which only record 10 vouches for", bit(9, 256), isDetected, 9},
		{"bit flipped in record 10, which nothing vouches for", bit(10, 256), isOutside, 0},
		{"bit flipped in padding", bit(3, 400), isMasked, 0},
		{"bit flipped in free space", bit(12, 100), isMasked, 0},
		{"4,096 zeros appended", func(t testing.TB, d *disk.Disk) {
			overwrite(t, d, seg1, int64(len(content(t, d, seg1))), make([]byte, 4096))
		}, isMasked, 0},
		{"record 3 zeroed", func(t testing.TB, d *disk.Disk) { overwrite(t, d, seg1, at(3), make([]byte, 512)) }, isDetected, 3},
		{"first record zeroed", func(t testing.TB, d *disk.Disk) { overwrite(t, d, seg1, 0, make([]byte, 512)) }, isDetected, 1},
		{"record 10 zeroed", func(t testing.TB, d *disk.Disk) { overwrite(t, d, seg1, at(10), make([]byte, 512)) }, isOutside, 0},
		{"everything from record 3 on zeroed", func(t testing.TB, d *disk.Disk) { overwrite(t, d, seg1, at(3), make([]byte, 4096)) }, isOutside, 0},
		{"file cut behind record 3", func(t testing.TB, d *disk.Disk) {
			f, err := newFS(d).Open(seg1, 0)
			must(t, err)
			must(t, f.Truncate(at(4)))
		}, isOutside, 0},
		{"record 3 twice: over record 5", func(t testing.TB, d *disk.Disk) {
			overwrite(t, d, seg1, at(5), content(t, d, seg1)[at(3):at(4)])
		}, isDetected, 5},
		{"record 3 replaced by another one with right checksums", func(t testing.TB, d *disk.Disk) {
			h, err := wal.DecodeHeader(content(t, d, seg1)[at(3):])
			must(t, err)
			h.Kind = 99
			b, err := h.MarshalBinary()
			must(t, err)
			overwrite(t, d, seg1, at(3), b)
		}, isDetected, 4},
		{"records 3 and 4 swapped", func(t testing.TB, d *disk.Disk) {
			b := content(t, d, seg1)
			overwrite(t, d, seg1, at(3), append(append([]byte(nil), b[at(4):at(5)]...), b[at(3):at(4)]...))
		}, isDetected, 3},
		{"record 10 misdirected: three units further", func(t testing.TB, d *disk.Disk) {
			rec := append([]byte(nil), content(t, d, seg1)[at(10):at(11)]...)
			overwrite(t, d, seg1, at(10), make([]byte, 512))
			overwrite(t, d, seg1, at(13), rec)
		}, isDetected, 10},
		{"record 10 misdirected: over record 8", func(t testing.TB, d *disk.Disk) {
			rec := append([]byte(nil), content(t, d, seg1)[at(10):at(11)]...)
			overwrite(t, d, seg1, at(10), make([]byte, 512))
			overwrite(t, d, seg1, at(8), rec)
		}, isDetected, 8},
		{"garbage behind the end", func(t testing.TB, d *disk.Disk) {
			overwrite(t, d, seg1, at(11), []byte("ESPR and so on"))
		}, isMasked, 0},
		{"recycled records of the same file behind the end", func(t testing.TB, d *disk.Disk) {
			overwrite(t, d, seg1, at(11), append([]byte(nil), content(t, d, seg1)[at(2):at(6)]...))
		}, isMasked, 0},
		{"recycled records of another segment behind the end", func(t testing.TB, d *disk.Disk) {
			other, m := ten(t)
			l, err := m.revive(newFS(other), small()) // the tail moves to segment 2
			must(t, err)
			must(t, l.Close())
			overwrite(t, d, seg1, at(11), content(t, other, dir+"/00000000000000000002.wal")[:1024])
		}, isMasked, 0},
		{"an unreadable sector in record 4", func(t testing.TB, d *disk.Disk) { must(t, d.Spoil(seg1, at(4))) }, isDetected, 4},
		{"an unreadable sector behind the end", func(t testing.TB, d *disk.Disk) { must(t, d.Spoil(seg1, at(20))) }, isMasked, 0},
		{"the file is gone", func(t testing.TB, d *disk.Disk) { must(t, newFS(d).Remove(seg1)) }, isOutside, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, m := ten(t)
			c.do(t, d)
			d.DropCaches()
			got, err := judge(t, d, m.clone(), small())
			if got != c.want || err != nil && err.LSN != c.lsn {
				t.Fatalf("%s: %v, want %s at LSN %d", got, err, c.want, c.lsn)
			}
			// What is outside the log, a checkpoint's LSN brings inside.
			if got == isOutside {
				o := small()
				o.MinLSN = 10
				if got, _ := judge(t, d, m, o); got != isDetected {
					t.Fatalf("with a floor of 10: %s", got)
				}
			}
		})
	}
}

// W3, all of it: every bit of every header and payload of a small log, each
// flipped by itself. A log that was closed loses none silently, not even the
// last; only the closing mark itself may look torn.
func TestEveryBit(t *testing.T) {
	for _, closed := range []bool{false, true} {
		d := newDisk(t, disk.Config{})
		m := &model{}
		l, err := m.revive(newFS(d), tiny(512))
		must(t, err)
		sizes := []int{0, 3, 40}
		for _, n := range sizes {
			must(t, m.append(l, n))
			must(t, m.sync(l))
		}
		if closed {
			must(t, l.Close())
			m.note(l)
		}
		for i := range sizes {
			length := 256 + len(m.recs[i].text)
			for b := range length * 8 {
				d, m := d.Clone(), m.clone()
				must(t, d.FlipBit(seg1, at(i+1)+int64(b/8), uint(b%8)))
				got, c := judge(t, d, m, tiny(512))
				want := isDetected
				if i == len(sizes)-1 && !closed {
					want = isOutside
				}
				if got != want || c != nil && c.LSN != wal.LSN(i+1) {
					t.Fatalf("closed %t, record %d, byte %d, bit %d: %s %v", closed, i+1, b/8, b%8, got, c)
				}
			}
		}
	}
}

// A log whose last write stopped at any byte is cut there and goes on, and the
// cut part never comes back.
func TestTornAtEveryByte(t *testing.T) {
	d := newDisk(t, disk.Config{})
	m := &model{}
	l, err := m.revive(newFS(d), tiny(512))
	must(t, err)
	must(t, m.append(l, 20))
	must(t, m.sync(l))
	keep := m.clone()
	must(t, m.append(l, 400))
	must(t, m.sync(l))
	whole := append([]byte(nil), content(t, d, seg1)[512:512+1024]...)
	for n := range 1024 {
		d, m := d.Clone(), keep.clone()
		m.recs = append(m.recs, rec{2, wal.Single, 0, string(whole[256 : 256+400])}) // there, if whole
		torn := make([]byte, 1024)
		copy(torn, whole[:n])
		overwrite(t, d, seg1, 512, torn)
		l, err := m.revive(newFS(d), tiny(512))
		if err != nil {
			t.Fatalf("torn at %d: %v", n, err)
		}
		if (len(m.recs) == 2) != (n >= 256+400) {
			t.Fatalf("torn at %d: %d records", n, len(m.recs))
		}
		must(t, m.append(l, 5))
		must(t, m.sync(l))
		d.Crash(d.Random(uint64(n)))
		if _, err := m.revive(newFS(d), tiny(512)); err != nil {
			t.Fatalf("torn at %d, then crashed: %v", n, err)
		}
	}
}

// Every fault of the disk's model, hitting a log at work, each at several of
// its operations: the class is what README.md says it is, and the fault fires.
func TestFaultTable(t *testing.T) {
	type row struct {
		kind disk.Kind
		// allowed classes; the first must be seen
		classes []class
	}
	for _, r := range []row{
		{disk.LoseUnsynced, []class{isMasked}},
		{disk.ReorderUnsynced, []class{isMasked}},
		{disk.TornWrite, []class{isMasked}},
		{disk.ZeroTail, []class{isMasked}},
		{disk.StaleTail, []class{isMasked}},
		{disk.LostEntry, []class{isMasked}},
		{disk.LostRename, []class{isMasked}},
		{disk.LostUnlink, []class{isMasked}},
		{disk.SyncError, []class{isMasked}},
		{disk.DSyncError, []class{isMasked}},
		{disk.NoSpaceWrite, []class{isMasked}},
		{disk.NoSpaceSync, []class{isMasked}},
		{disk.ShortWrite, []class{isMasked}},
		{disk.Interrupted, []class{isMasked}},
		{disk.SlowIO, []class{isMasked}},
		{disk.HungIO, []class{isMasked}},
		{disk.StaleRead, []class{isMasked}},
		{disk.BitRot, []class{isDetected, isMasked, isOutside}},
		{disk.BadSector, []class{isDetected, isMasked}},
		{disk.Misdirected, []class{isDetected, isMasked, isOutside}},
		{disk.LostWrite, []class{isDetected, isMasked, isOutside}},
		{disk.LyingFlush, []class{isOutside, isMasked, isDetected}},
	} {
		t.Run(r.kind.String(), func(t *testing.T) {
			seen := map[class]int{}
			fired := uint64(0)
			for seed := range uint64(150) {
				got, n := underFault(t, r.kind, seed)
				seen[got]++
				fired += n
			}
			for got := range seen {
				ok := false
				for _, c := range r.classes {
					ok = ok || c == got
				}
				if !ok {
					t.Errorf("%s", got)
				}
			}
			// There is nothing to reorder: each write is durable before the next.
			if r.kind == disk.ReorderUnsynced {
				fired++
			}
			if seen[r.classes[0]] == 0 || fired == 0 {
				t.Errorf("seen %v, fired %d times", seen, fired)
			}
			t.Logf("%v, fired %d times", seen, fired)
		})
	}
}

func isCorruption(err error) bool {
	var c *wal.CorruptionError
	return errors.As(err, &c)
}

// underFault runs a life of a log with one fault in it, then a crash, and
// judges what is there.
func underFault(t *testing.T, kind disk.Kind, seed uint64) (class, uint64) {
	d, m := past(t, seed, 512)
	f := disk.Fault{Kind: kind, From: seed % 12, To: seed%12 + 1, Delay: time.Minute}
	if kind.AtCrash() || kind == disk.LyingFlush {
		f.From, f.To = 0, 0
	}
	id, err := d.Inject(f)
	must(t, err)
	o := tiny(512)
	o.Deadline = time.Second
	opened := func() *wal.Log {
		for range 3 {
			fs := disk.NewFS(d, nil)
			l, err := m.revive(fs, o)
			if err == nil {
				return l
			}
			fs.Kill()
			if !errors.Is(err, actor.ErrIO) && !errors.Is(err, actor.ErrDeadline) || isCorruption(err) {
				return nil
			}
		}
		t.Fatalf("seed %d: three openings fail", seed)
		return nil
	}
	l := opened()
	for i := 0; l != nil && i < 12; i++ {
		err := m.append(l, 100*i)
		if err == nil {
			err = m.sync(l)
		}
		if err == nil && i == 8 {
			err = m.truncate(l, l.Last())
		}
		var p *wal.PoisonedError
		if errors.As(err, &p) {
			l = opened()
		} else if err != nil && !errors.Is(err, actor.ErrNoSpace) {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	// A last life that ends in the midst of an operation, for the crash to
	// work on.
	if l != nil {
		g := &tripwire{d: d, k: 5 + int(seed)%45, midway: true}
		g.run(func(fs actor.FS) {
			l, err := m.revive(fs, tiny(512))
			for err == nil {
				if err = m.append(l, 1200); err == nil {
					err = m.sync(l)
				}
			}
		})
	}
	d.Crash(d.Random(seed))
	fired := d.Fired(id)
	d.Lift(id)
	got, _ := judge(t, d, m, tiny(512))
	return got, fired
}

// The three answers of a full disk, at a write and at a sync: nothing is
// acknowledged, the log can be read, its end is where it was, and it goes on.
func TestNoSpace(t *testing.T) {
	for _, kind := range []disk.Kind{disk.NoSpaceWrite, disk.NoSpaceSync} {
		d := newDisk(t, disk.Config{})
		m := &model{}
		l, err := m.revive(newFS(d), tiny(512))
		must(t, err)
		must(t, m.append(l, 10))
		must(t, m.sync(l))
		id, err := d.Inject(disk.Fault{Kind: kind})
		must(t, err)
		var failed error
		last, durable := l.Last(), l.Durable()
		for range 20 {
			last, durable = l.Last(), l.Durable()
			if failed = m.append(l, 400); failed == nil {
				failed = m.sync(l)
			}
			if failed != nil {
				break
			}
		}
		if !errors.Is(failed, actor.ErrNoSpace) || l.Durable() != durable || l.Last() > last+1 {
			t.Fatalf("%s: %v, durable %d, was %d, last %d, was %d", kind, failed, l.Durable(), durable, l.Last(), last)
		}
		n := 0
		must(t, l.Read(1, durable, func(wal.Record) error { n++; return nil }))
		if n != int(durable) {
			t.Fatalf("%s: %d of %d records can be read", kind, n, durable)
		}
		d.Lift(id)
		must(t, m.append(l, 10))
		must(t, m.sync(l))
		d.Crash(nil)
		if _, err := m.revive(newFS(d), tiny(512)); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
	}
}
