package sqlite_test

import (
	"fmt"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/sqlite"
	"github.com/esper-sim/espersim/sim/disk"
)

type stop struct{}

// tripwire ends the process at its k-th operation, before it or in its midst.
type tripwire struct {
	k, n   int
	midway bool
}

func (g *tripwire) Before(*disk.Op) error {
	if g.n++; g.n == g.k && !g.midway {
		panic(stop{})
	}
	return nil
}

func (g *tripwire) Flight(*disk.Op) error {
	if g.n == g.k && g.midway {
		panic(stop{})
	}
	return nil
}

func (g *tripwire) After(_ *disk.Op, err error) error { return err }

// live runs a life; it reports whether it came to its end.
func live(d *disk.Disk, g *tripwire, life func(actor.FS) error) (finished bool, err error) {
	fs := disk.NewGatedFS(d, g)
	defer func() {
		if r := recover(); r != nil {
			if r != (stop{}) {
				panic(r)
			}
			fs.Kill()
		}
	}()
	return true, life(fs)
}

type keyed struct{ seed uint64 }

func (k keyed) For(purpose string, a, b uint64) uint64 {
	h := k.seed ^ a*0x9e3779b97f4a7c15 ^ b*0xbf58476d1ce4e5b9
	for _, c := range purpose {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return h ^ h>>31
}

func env(fs actor.FS, life uint64) actor.Env {
	return actor.Env{Self: "urza", FS: fs, Rand: keyed{1}, Incarnation: life}
}

// book is what a life was told: rows that were acknowledged, and one that may
// be there.
type book struct{ acked, begun int }

// inserts opens the database, holds it to the book, and commits some rows, one
// by one.
func inserts(fs actor.FS, o sqlite.Options, life uint64, b *book, rows int) error {
	db, err := sqlite.Open(env(fs, life), "urza.db", o)
	if err != nil {
		return fmt.Errorf("it does not open: %w", err)
	}
	if err := db.Exec("CREATE TABLE IF NOT EXISTS store.rows (n INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT"); err != nil {
		return err
	}
	next, check := 1, ""
	err = db.Each("SELECT n FROM store.rows ORDER BY n", nil, func(s *sqlite3.Stmt) error {
		if s.ColumnInt(0) != next {
			check = fmt.Sprintf("row %d where %d should be", s.ColumnInt(0), next)
		}
		next++
		return nil
	})
	if err != nil {
		return err
	}
	if err := db.Each("PRAGMA store.integrity_check", nil, func(s *sqlite3.Stmt) error {
		if s.ColumnText(0) != "ok" {
			check = s.ColumnText(0)
		}
		return nil
	}); err != nil {
		return err
	}
	have := next - 1
	switch {
	case check != "":
		return fmt.Errorf("the database is damaged: %s", check)
	case have < b.acked:
		return fmt.Errorf("%d rows of %d that were acknowledged", have, b.acked)
	case have > b.begun:
		return fmt.Errorf("%d rows, and only %d were begun", have, b.begun)
	}
	b.acked = have // it was read, so it must stay
	for range rows {
		b.begun = b.acked + 1
		if err := db.Transact(func() error {
			return db.Do("INSERT INTO store.rows VALUES (?, ?)", b.begun, fmt.Sprintf("row %0300d", b.begun))
		}); err != nil {
			return err
		}
		b.acked = b.begun
	}
	return db.Close()
}

// crashes is a life that dies at each of its operations, the disk in several of
// the states that its model admits, and two lives after it. It returns the
// first promise that was broken.
func crashes(t *testing.T, o sqlite.Options, rows, states int) (lives int, broken error) {
	past, old := disk.New(disk.Config{Keyed: disk.Seed(1)})
	if old != nil {
		t.Fatal(old)
	}
	first := &book{}
	if err := inserts(disk.NewFS(past, nil), o, 1, first, 2); err != nil {
		t.Fatal(err)
	}
	for k := 1; ; k++ {
		for _, midway := range []bool{false, true} {
			d, b := past.Clone(), *first
			finished, err := live(d, &tripwire{k: k, midway: midway}, func(fs actor.FS) error { return inserts(fs, o, 2, &b, rows) })
			if err != nil {
				t.Fatalf("operation %d: %v", k, err)
			}
			for state := range uint64(states) {
				after, b := d.Clone(), b
				if state > 0 { // the first loses the process alone
					after.Crash(after.Random(uint64(k)<<8 | state))
				}
				lives++
				err := inserts(disk.NewFS(after, nil), o, 3, &b, 1)
				if err == nil {
					after.Crash(after.Random(uint64(k)))
					err = inserts(disk.NewFS(after, nil), o, 4, &b, 0)
				}
				if err != nil && broken == nil {
					broken = fmt.Errorf("operation %d, midway %t, state %d: %w", k, midway, state, err)
				}
			}
			if finished {
				return lives, broken
			}
		}
	}
}

// What was committed survives, where Durable says so; and for most of the other
// settings there is a state of the disk in which a commit is lost.
func TestEveryCrash(t *testing.T) {
	rows, states := 2, 6
	if testing.Short() {
		rows, states = 1, 3
	}
	for _, journal := range []string{"delete", "truncate", "persist", "wal"} {
		for _, synchronous := range []string{"normal", "full", "extra"} {
			o := sqlite.Options{Journal: journal, Synchronous: synchronous}
			t.Run(journal+"-"+synchronous, func(t *testing.T) {
				lives, broken := crashes(t, o, rows, states)
				switch {
				case o.Durable() && broken != nil:
					t.Errorf("it says that it is durable: %v", broken)
				case !o.Durable() && broken == nil && journal != "persist":
					t.Errorf("it says that it is not durable, and %d lives lost nothing", lives)
				}
				t.Logf("%d lives: %v", lives, broken)
			})
		}
	}
}

// A sync that fails takes the commit's word with it: whether it happened is not
// known. What is acknowledged after the next opening must survive all the same,
// although the disk has marked as clean what it did not write (ATC'20).
func TestEveryFailedSync(t *testing.T) {
	for _, journal := range []string{"delete", "truncate", "persist", "wal"} {
		o := sqlite.Options{Journal: journal, Synchronous: "extra"}
		t.Run(journal, func(t *testing.T) {
			past, err := disk.New(disk.Config{Keyed: disk.Seed(1)})
			if err != nil {
				t.Fatal(err)
			}
			first := &book{}
			if err := inserts(disk.NewFS(past, nil), o, 1, first, 2); err != nil {
				t.Fatal(err)
			}
			lost, failed := 0, 0
			for n := uint64(0); ; n++ {
				d, b := past.Clone(), *first
				id, err := d.Inject(disk.Fault{Kind: disk.SyncError, From: n, To: n + 1})
				if err != nil {
					t.Fatal(err)
				}
				fs := disk.NewFS(d, nil)
				err = inserts(fs, o, 2, &b, 3)
				fs.Kill()
				if d.Fired(id) == 0 {
					break
				}
				if err != nil {
					failed++
				}
				for state := range uint64(6) {
					after, b := d.Clone(), b
					err := inserts(disk.NewFS(after, nil), o, 3, &b, 2)
					if err == nil {
						after.Crash(after.Random(state))
						err = inserts(disk.NewFS(after, nil), o, 4, &b, 0)
					}
					if err != nil {
						lost++
						t.Logf("sync %d, state %d: %v", n, state, err)
					}
				}
			}
			t.Logf("%d syncs failed, %d runs lost something", failed, lost)
			switch {
			case failed == 0:
				t.Error("no sync failed: the test sees nothing")
			case journal != "wal" && lost > 0:
				t.Error("an acknowledged commit was lost")
			case journal == "wal" && lost == 0:
				t.Error("a write-ahead log survives a failed sync and a restart: it could be Urza's journal mode")
			}
		})
	}
}
