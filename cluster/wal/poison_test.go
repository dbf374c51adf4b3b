package wal_test

import (
	"errors"
	"testing"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

func poisoned(t testing.TB, err error) {
	t.Helper()
	var p *wal.PoisonedError
	if !errors.As(err, &p) {
		t.Fatalf("got %v, want a PoisonedError", err)
	}
}

// A failed O_DSYNC write or fsync poisons: no second try, no acknowledgement,
// not one more operation that writes. Opening anew rewrites and syncs what the
// cache still shows before it acknowledges anything, and then it is durable
// whatever the next crash does.
func TestPoison(t *testing.T) {
	for _, kind := range []disk.Kind{disk.DSyncError, disk.SyncError} {
		d := newDisk(t, disk.Config{})
		m := &model{}
		writes := 0
		fs := disk.NewFS(d, func(op *disk.Op) error {
			switch op.Kind {
			case disk.OpWrite, disk.OpSync, disk.OpDatasync, disk.OpSyncDir, disk.OpTruncate, disk.OpAllocate:
				writes++
			}
			return nil
		})
		l, err := m.revive(fs, tiny(512))
		must(t, err)
		must(t, m.append(l, 10))
		must(t, m.sync(l))
		id, err := d.Inject(disk.Fault{Kind: kind, Limit: 1})
		must(t, err)
		var failed error
		for failed == nil { // a SyncError comes with the rotation
			if failed = m.append(l, 10); failed == nil {
				failed = m.sync(l)
			}
		}
		poisoned(t, failed)
		acked, was := l.Durable(), writes
		poisoned(t, m.sync(l))
		poisoned(t, m.append(l, 10))
		poisoned(t, m.begin(l))
		poisoned(t, m.truncate(l, 2))
		poisoned(t, l.Seal())
		poisoned(t, l.Close())
		if writes != was || l.Durable() != acked || d.Fired(id) != 1 {
			t.Fatalf("%s: a poisoned log wrote %d times, durable %d, was %d", kind, writes-was, l.Durable(), acked)
		}
		fs.Kill()
		// The cache shows the record that the disk does not have.
		l, err = m.revive(newFS(d), tiny(512))
		must(t, err)
		if len(m.recs) > 0 && l.Durable() < m.recs[len(m.recs)-1].lsn {
			t.Fatalf("%s: replayed up to %d, durable %d", kind, m.recs[len(m.recs)-1].lsn, l.Durable())
		}
		for _, fate := range []disk.Fate{disk.FateOld, disk.FateZero, disk.FateGarbage} {
			d, m := d.Clone(), m.clone()
			d.Crash(func(disk.Pending, int64) disk.Fate { return fate })
			if _, err := m.revive(newFS(d), tiny(512)); err != nil {
				t.Fatalf("%s, %v: %v", kind, fate, err)
			}
		}
	}
}

// Short writes and interruptions of every write leave no gap.
func TestShortAndInterruptedWrites(t *testing.T) {
	d := newDisk(t, disk.Config{})
	for _, k := range []disk.Kind{disk.ShortWrite, disk.Interrupted} {
		_, err := d.Inject(disk.Fault{Kind: k, Rate: 0.5})
		must(t, err)
	}
	m := &model{}
	l, err := m.revive(newFS(d), tiny(512))
	must(t, err)
	for n := range 40 {
		must(t, m.append(l, 37*n))
		must(t, m.sync(l))
	}
	d.Crash(nil)
	if _, err := m.revive(newFS(d), tiny(512)); err != nil {
		t.Fatal(err)
	}
	if len(m.recs) != 40 {
		t.Fatalf("%d records", len(m.recs))
	}
}

// A write that hangs ends at its deadline, and the log is poisoned.
func TestHungWrite(t *testing.T) {
	d := newDisk(t, disk.Config{})
	o := small()
	o.Deadline = 1
	l := mustOpen(t, newFS(d), o)
	_, err := d.Inject(disk.Fault{Kind: disk.HungIO, Limit: 1})
	must(t, err)
	_, err = l.Append(1, 1, nil)
	must(t, err)
	err = l.Sync()
	poisoned(t, err)
	if !errors.Is(err, actor.ErrDeadline) || l.Durable() != 0 {
		t.Fatalf("%v, durable %d", err, l.Durable())
	}
}

// A failed write leaves a record in the page cache only. The next opening
// replays it, finds no space to write it anew, and so has not acknowledged it;
// then memory pressure takes it away. That is no corruption, since nothing was
// promised: the log is poisoned, and opened anew without the record.
func TestTailVanishesFromTheCache(t *testing.T) {
	d := newDisk(t, disk.Config{})
	l := mustOpen(t, newFS(d), small())
	add(t, l, "one")
	id, err := d.Inject(disk.Fault{Kind: disk.DSyncError})
	must(t, err)
	_, err = l.Append(1, 7, []byte("two"))
	must(t, err)
	poisoned(t, l.Sync())
	d.Lift(id)
	id, err = d.Inject(disk.Fault{Kind: disk.NoSpaceWrite})
	must(t, err)
	l, got := reopen(t, d)
	equal(t, got, "1 SINGLE one", "2 SINGLE two")
	if l.Durable() >= 2 {
		t.Fatalf("durable up to %d without a write", l.Durable())
	}
	d.DropCaches()
	d.Lift(id)
	_, err = l.Append(1, 7, []byte("three"))
	var c *wal.CorruptionError
	if poisoned(t, err); errors.As(err, &c) {
		t.Fatal(err)
	}
	_, got = reopen(t, d)
	equal(t, got, "1 SINGLE one")
}
