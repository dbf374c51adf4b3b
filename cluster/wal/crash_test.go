package wal_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

// long asks for the tests that take minutes: more seeds, more crash states.
var long = flag.Bool("long", false, "search more crashes")

// tiny is a log with segments of eight units, so that a few records rotate.
func tiny(sector int) wal.Options {
	return wal.Options{SegmentSize: int64(8 * sector), BufferSize: 4 * sector}
}

// workloads are lives of a log. Each begins with a log that has a past.
var workloads = []struct {
	name string
	do   func(m *model, l *wal.Log) error
}{
	{"append", func(m *model, l *wal.Log) error {
		for _, n := range []int{10, 300, 256} {
			if err := m.append(l, n); err != nil {
				return err
			}
			if err := m.sync(l); err != nil {
				return err
			}
		}
		return l.Close()
	}},
	{"group", func(m *model, l *wal.Log) error {
		for _, n := range []int{10, 700, 10} {
			if err := m.append(l, n); err != nil {
				return err
			}
		}
		if err := m.sync(l); err != nil {
			return err
		}
		return m.append(l, 10)
	}},
	{"rotate", func(m *model, l *wal.Log) error {
		for n := range 12 {
			if err := m.append(l, 100*n); err != nil {
				return err
			}
			if n%3 == 2 {
				if err := m.sync(l); err != nil {
					return err
				}
			}
		}
		return m.sync(l)
	}},
	{"transaction", func(m *model, l *wal.Log) error {
		if err := m.begin(l); err != nil {
			return err
		}
		for range 3 {
			if err := m.data(l, 600); err != nil {
				return err
			}
			if err := m.append(l, 20); err != nil {
				return err
			}
		}
		if err := m.commit(l); err != nil {
			return err
		}
		if err := m.begin(l); err != nil {
			return err
		}
		if err := m.data(l, 20); err != nil {
			return err
		}
		if err := m.abort(l); err != nil {
			return err
		}
		if err := m.begin(l); err != nil {
			return err
		}
		if err := m.data(l, 20); err != nil {
			return err
		}
		return m.sync(l)
	}},
	{"truncate", func(m *model, l *wal.Log) error {
		for range 3 {
			for range 5 {
				if err := m.append(l, 500); err != nil {
					return err
				}
			}
			if err := m.sync(l); err != nil {
				return err
			}
			if err := m.truncate(l, l.Last()); err != nil {
				return err
			}
		}
		return nil
	}},
}

// past makes a disk with a log on it that has been used, killed and opened.
func past(t testing.TB, seed uint64, sector int) (*disk.Disk, *model) {
	d := newDisk(t, disk.Config{Keyed: disk.Seed(seed), Sector: sector})
	m := &model{}
	l, err := m.revive(newFS(d), tiny(sector))
	must(t, err)
	for n := range 3 {
		must(t, m.append(l, 50*n))
		must(t, m.sync(l))
	}
	must(t, m.append(l, 10))
	return d, m
}

// A crash in every operation of a workload, before it or in its midst, then
// one in every operation of the recovery, then a recovery in peace: the
// acknowledged records are there, and what is there is a prefix. The log takes
// records again, and these survive too.
func TestCrashEverywhere(t *testing.T) {
	sectors, seeds := []int{512}, uint64(1)
	if *long {
		sectors, seeds = []int{512, 4096}, 5
	}
	for _, w := range workloads {
		t.Run(w.name, func(t *testing.T) {
			states := 0
			for _, sector := range sectors {
				for _, midway := range []bool{false, true} {
					for seed := range seeds {
						states += crashEverywhere(t, w.do, sector, midway, seed)
					}
				}
			}
			t.Logf("%d crashes", states)
		})
	}
}

func crashEverywhere(t *testing.T, do func(*model, *wal.Log) error, sector int, midway bool, seed uint64) (crashes int) {
	o := tiny(sector)
	for k := 1; ; k++ {
		d, m := past(t, seed, sector)
		g := &tripwire{d: d, k: k, midway: midway}
		if g.run(func(fs actor.FS) {
			l, err := m.revive(fs, o)
			must(t, err)
			must(t, do(m, l))
		}) {
			if k < 10 {
				t.Fatalf("the workload has %d operations only: the test sees nothing", k-1)
			}
			return crashes
		}
		d.Crash(d.Random(uint64(k)))
		for j := 1; ; j++ {
			again, m := d.Clone(), m.clone()
			crashes++
			where := fmt.Sprintf("sector %d, midway %t, seed %d, operation %d, then %d of recovery", sector, midway, seed, k, j)
			g := &tripwire{d: again, k: j, midway: (j+k)%2 == 0}
			finished := g.run(func(fs actor.FS) {
				// What a recovery that dies has found out nobody has seen.
				if _, err := m.clone().revive(fs, o); err != nil {
					t.Fatalf("%s: %v", where, err)
				}
			})
			if !finished {
				again.Crash(again.Random(uint64(1000*k + j)))
			}
			l, err := m.revive(newFS(again), o)
			if err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			must(t, m.append(l, 10))
			must(t, m.sync(l))
			again.Crash(again.Random(7))
			if _, err := m.revive(newFS(again), o); err != nil {
				t.Fatalf("%s, and a life later: %v", where, err)
			}
			if finished {
				break
			}
		}
	}
}

// Not some crash at every operation, but all that the model of the disk
// admits there, up to a limit.
func TestEveryCrashState(t *testing.T) {
	limit := 60
	if *long {
		limit = 5000
	}
	o := tiny(512)
	for _, w := range workloads {
		t.Run(w.name, func(t *testing.T) {
			states := 0
			for k := 1; ; k++ {
				d, m := past(t, 1, 512)
				g := &tripwire{d: d, k: k, midway: true}
				if g.run(func(fs actor.FS) {
					l, err := m.revive(fs, o)
					must(t, err)
					must(t, w.do(m, l))
				}) {
					break
				}
				for state := range d.CrashStates(limit) {
					states++
					m := m.clone()
					l, err := m.revive(newFS(state), o)
					if err != nil {
						t.Fatalf("operation %d: %v", k, err)
					}
					must(t, m.append(l, 10))
					must(t, m.sync(l))
					state.Crash(nil)
					if _, err := m.revive(newFS(state), o); err != nil {
						t.Fatalf("operation %d, and a life later: %v", k, err)
					}
				}
			}
			t.Logf("%d states", states)
		})
	}
}

// The crash points of the rules common to all owners' logs. Each: the
// transaction is there as a whole, or not at all.
func TestTransactionCrashPoints(t *testing.T) {
	type life struct {
		m *model
		l *wal.Log
	}
	run := func(t *testing.T, kill func(life)) {
		for seed := range uint64(40) {
			d := newDisk(t, disk.Config{Keyed: disk.Seed(seed)})
			m := &model{}
			l, err := m.revive(newFS(d), small())
			must(t, err)
			must(t, m.append(l, 10))
			must(t, m.sync(l))
			kill(life{m, l})
			d.Crash(d.Random(seed))
			if _, err := m.revive(newFS(d), small()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			n := 0
			for _, r := range m.recs {
				if r.txn != 0 {
					n++
				}
			}
			if n != 0 && n != 4 {
				t.Fatalf("seed %d: %d of 4 records", seed, n)
			}
		}
	}
	steps := []struct {
		name string
		do   func(life) error
	}{
		{"after BEGIN", func(s life) error { return then(s.m.begin(s.l), func() error { return s.m.sync(s.l) }) }},
		{"mid-DATA", func(s life) error { return then(s.m.begin(s.l), func() error { return s.m.data(s.l, 2000) }) }},
		{"after DATA", func(s life) error {
			return then(s.m.begin(s.l), func() error { return s.m.data(s.l, 2000) }, func() error { return s.m.data(s.l, 20) }, func() error { return s.m.sync(s.l) })
		}},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) { run(t, func(l life) { must(t, s.do(l)) }) })
	}
	// In the midst of COMMIT, and behind it before its sync returns: the write
	// is issued and not complete. Mid-DATA likewise.
	for _, c := range []struct {
		name string
		op   int // the write's number among the writes after BEGIN
	}{{"mid-DATA write", 1}, {"mid-COMMIT", 2}} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(60) {
				d := newDisk(t, disk.Config{Keyed: disk.Seed(seed)})
				m := &model{}
				g := &writeTrip{d: d, k: c.op + 1}
				func() {
					defer func() {
						if r := recover(); r != nil && r != (stop{}) {
							panic(r)
						}
					}()
					l, err := m.revive(disk.NewGatedFS(d, g), small())
					must(t, err)
					must(t, m.append(l, 10))
					must(t, m.sync(l))
					must(t, m.begin(l))
					must(t, m.data(l, 1500))
					must(t, m.data(l, 20))
					must(t, m.commit(l))
					t.Error("not killed")
				}()
				d.Crash(d.Random(seed))
				if _, err := m.revive(newFS(d), small()); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if c.op == 1 && len(m.recs) > 1 {
					t.Fatalf("seed %d: DATA without COMMIT is there: %v", seed, m.recs)
				}
			}
		})
	}
	t.Run("device lost mid-COMMIT", func(t *testing.T) {
		d := newDisk(t, disk.Config{})
		m := &model{}
		l, err := m.revive(newFS(d), small())
		must(t, err)
		must(t, m.begin(l))
		must(t, m.data(l, 20))
		must(t, m.sync(l))
		id, err := d.Inject(disk.Fault{Kind: disk.DSyncError})
		must(t, err)
		poisoned(t, m.commit(l))
		poisoned(t, m.sync(l))
		d.Lift(id)
		for _, fate := range []disk.Fate{disk.FateOld, disk.FateNew, disk.FateZero, disk.FateGarbage} {
			d, m := d.Clone(), m.clone()
			d.Crash(func(disk.Pending, int64) disk.Fate { return fate })
			if _, err := m.revive(newFS(d), small()); err != nil {
				t.Fatalf("%v: %v", fate, err)
			}
		}
	})
}

// then goes on with the next step while there is no error.
func then(err error, steps ...func() error) error {
	for _, s := range steps {
		if err != nil {
			return err
		}
		err = s()
	}
	return err
}

// writeTrip kills at the k-th write of a segment, in its midst.
type writeTrip struct {
	d *disk.Disk
	k int
	n int
}

func (g *writeTrip) Before(*disk.Op) error { return nil }
func (g *writeTrip) Flight(op *disk.Op) error {
	if op.Kind == disk.OpWrite {
		if g.n++; g.n == g.k {
			panic(stop{})
		}
	}
	return nil
}
func (g *writeTrip) After(_ *disk.Op, err error) error { return err }
