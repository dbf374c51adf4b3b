package wal_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

// masked are the faults that may come at any time and change no promise.
var masked = []disk.Kind{
	disk.LoseUnsynced, disk.ReorderUnsynced, disk.TornWrite, disk.ZeroTail, disk.StaleTail,
	disk.LostEntry, disk.LostRename, disk.LostUnlink,
	disk.SyncError, disk.DSyncError, disk.NoSpaceWrite, disk.NoSpaceSync, disk.ShortWrite, disk.Interrupted, disk.HungIO,
}

// Any sequence of appends, syncs, transactions, truncations, kills, crashes
// and survivable faults against the model. A call may fail; it must not lie.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sector := rapid.SampledFrom([]int{512, 4096}).Draw(t, "sector")
		d, err := disk.New(disk.Config{Keyed: disk.Seed(rapid.Uint64().Draw(t, "seed")), Sector: sector})
		if err != nil {
			t.Fatal(err)
		}
		o := tiny(sector)
		m := &model{}
		var l *wal.Log
		var fs *disk.FS
		var faults []int
		crashes := uint64(0)
		open := func() {
			for try := 0; ; try++ {
				fs = disk.NewFS(d, nil)
				next, err := m.revive(fs, o)
				if err == nil {
					l = next
					return
				}
				var c *wal.CorruptionError
				if errors.As(err, &c) || !(errors.Is(err, actor.ErrIO) || errors.Is(err, actor.ErrDeadline) || errors.Is(err, actor.ErrNoSpace)) || try > 8 {
					t.Fatal(err)
				}
				if try == 4 {
					for _, id := range faults {
						d.Lift(id)
					}
				}
			}
		}
		kill := func(power bool) {
			fs.Kill()
			if power {
				crashes++
				d.Crash(d.Random(crashes))
			}
			open()
		}
		// ok sorts out the error of a call on the log.
		ok := func(err error) {
			var p *wal.PoisonedError
			switch {
			case err == nil, errors.Is(err, actor.ErrNoSpace):
			case errors.As(err, &p):
				if again := l.Sync(); !errors.Is(again, p) {
					t.Fatalf("poisoned by %v, then %v", err, again)
				}
				kill(rapid.Bool().Draw(t, "power too"))
			case errors.Is(err, actor.ErrDeadline): // a read, of a COMMIT's proof
			default:
				t.Fatal(err)
			}
		}
		size := rapid.SampledFrom([]int{0, 10, 256, 257, sector, 3 * sector, 9 * sector})
		open()
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) { ok(m.append(l, size.Draw(t, "size"))) },
			"sync":   func(t *rapid.T) { ok(m.sync(l)) },
			"seal":   func(t *rapid.T) { err := l.Seal(); m.note(l); ok(err) },
			"txn": func(t *rapid.T) {
				switch {
				case !l.InTxn():
					ok(m.begin(l))
				case rapid.Bool().Draw(t, "more"):
					ok(m.data(l, size.Draw(t, "size")))
				case rapid.IntRange(0, 3).Draw(t, "end") > 0:
					ok(m.commit(l))
				default:
					ok(m.abort(l))
				}
			},
			"truncate": func(t *rapid.T) {
				ok(m.truncate(l, wal.LSN(rapid.Uint64Range(0, uint64(l.Last())+1).Draw(t, "before"))))
			},
			"close": func(t *rapid.T) { _ = l.Close(); m.note(l); kill(false) },
			"kill":  func(t *rapid.T) { kill(false) },
			"crash": func(t *rapid.T) { kill(true) },
			"drop":  func(t *rapid.T) { d.DropCaches() },
			"fault": func(t *rapid.T) {
				from := rapid.Uint64Range(0, 4).Draw(t, "from")
				id, err := d.Inject(disk.Fault{
					Kind: rapid.SampledFrom(masked).Draw(t, "kind"),
					From: from, To: from + rapid.Uint64Range(1, 3).Draw(t, "times"),
				})
				if err != nil {
					t.Fatal(err)
				}
				faults = append(faults, id)
			},
			"lift": func(t *rapid.T) {
				for _, id := range faults {
					d.Lift(id)
				}
				faults = nil
			},
			// A crash in the midst of an operation, which the other actions,
			// whose operations all complete, never leave behind.
			"torn": func(t *rapid.T) {
				fs.Kill()
				g := &tripwire{d: d, k: rapid.IntRange(1, 30).Draw(t, "k"), midway: rapid.Bool().Draw(t, "midway")}
				n := m.clone()
				opened := false
				g.run(func(fs actor.FS) {
					l, err := n.revive(fs, o)
					opened = err == nil
					for i := 0; err == nil && i < 6; i++ {
						if err = n.append(l, 200*i); err == nil {
							err = n.sync(l)
						}
					}
				})
				if opened {
					m = n
				}
				crashes++
				d.Crash(d.Random(crashes))
				open()
			},
		})
	})
}
