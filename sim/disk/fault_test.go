package disk_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/disk/oracle/script"
)

// world is a disk with one file "a" of 16 KiB, all of it durable and letter
// 'o', and a descriptor of it.
type world struct {
	testing.TB
	d *disk.Disk
	s *disk.FS
	f actor.File
}

const fileSize = 16384

func newWorld(t testing.TB, c disk.Config) *world {
	t.Helper()
	d, s := after(t, c, "create a", "write a 0 16384 o", "fsync a", "dirsync")
	s.Kill() // and its descriptors with it
	w := &world{t, d, disk.NewFS(d, nil), nil}
	w.f = w.open("a", 0)
	return w
}

func (w *world) open(name string, flag actor.Flag) actor.File {
	w.Helper()
	f, err := w.s.Open(name, flag)
	if err != nil {
		w.Fatal(err)
	}
	return f
}

func (w *world) inject(f disk.Fault) int {
	w.Helper()
	id, err := w.d.Inject(f)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

func (w *world) write(f actor.File, off int64, n int, c string) {
	w.Helper()
	if _, err := f.WriteAt(bytes.Repeat([]byte(c), n), off); err != nil {
		w.Fatal(err)
	}
}

func (w *world) sync(f actor.File) {
	w.Helper()
	if err := f.Sync(); err != nil {
		w.Fatal(err)
	}
}

// run executes steps of the script language.
func (w *world) run(steps ...script.Step) {
	w.Helper()
	if err := script.Run(w.s, steps); err != nil {
		w.Fatal(err)
	}
}

// shows checks what reads see of a file, in the notation of package script.
func (w *world) shows(name, want string) {
	w.Helper()
	p, err := w.d.Cached(name)
	if err != nil {
		w.Fatal(err)
	}
	if got := script.Encode(p); got != want {
		w.Errorf("%s is %s, want %s", name, got, want)
	}
}

func (w *world) fired(id int, want uint64) {
	w.Helper()
	if got := w.d.Fired(id); got != want {
		w.Errorf("fired %d times, want %d", got, want)
	}
}

// all is a crash that keeps everything, none one that loses everything:
// the faults below work against them.
func all(disk.Pending, int64) disk.Fate  { return disk.FateNew }
func none(disk.Pending, int64) disk.Fate { return disk.FateOld }

// witnesses has one test for each kind of fault: that what it says can be
// seen.
var witnesses = map[disk.Kind]func(w *world){
	disk.LoseUnsynced: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.LoseUnsynced, Path: "a"})
		w.write(w.f, 0, 512, "x")
		w.d.Crash(all)
		w.shows("a", "16384*o")
		w.fired(id, 1)
	},
	disk.ReorderUnsynced: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.ReorderUnsynced})
		w.write(w.f, 0, 512, "x")
		w.write(w.f, 512, 512, "y")
		w.d.Crash(none)
		w.shows("a", "512*o 512*y 15360*o")
		w.fired(id, 1)
	},
	disk.TornWrite: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.TornWrite, Unit: 4096})
		w.write(w.f, 0, 8192, "x")
		w.d.Crash(all)
		p, _ := w.d.Cached("a")
		first, second := p[0], p[4096]
		if first == second || !bytes.Equal(p[:4096], bytes.Repeat([]byte{first}, 4096)) || !bytes.Equal(p[4096:8192], bytes.Repeat([]byte{second}, 4096)) {
			w.Errorf("not torn at 4096: %s", script.Encode(p))
		}
		w.fired(id, 1)
	},
	disk.ZeroTail: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.ZeroTail})
		w.write(w.f, fileSize, 512, "x")
		w.d.Crash(none)
		w.shows("a", "16384*o 512*0")
		w.fired(id, 1)
	},
	disk.StaleTail: func(w *world) {
		w.run("create old", "write old 0 4096 s", "fsync old", "unlink old", "create n", "fsync n", "dirsync")
		id := w.inject(disk.Fault{Kind: disk.StaleTail, Path: "n"})
		w.run("write n 0 1024 x")
		w.d.Crash(none)
		w.shows("n", "1024*s")
		w.fired(id, 1)
	},
	disk.LostEntry: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.LostEntry, Path: "n"})
		w.run("create n", "create m")
		w.d.Crash(all)
		w.names("a", "m")
		w.fired(id, 1)
	},
	disk.LostRename: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.LostRename})
		w.run("rename a b")
		w.d.Crash(all)
		w.names("a")
		w.fired(id, 2) // both halves
	},
	disk.LostUnlink: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.LostUnlink})
		w.run("unlink a")
		w.d.Crash(all)
		w.shows("a", "16384*o")
		w.fired(id, 1)
	},
	disk.SyncError: func(w *world) {
		second, late := w.open("a", 0), actor.File(nil)
		id := w.inject(disk.Fault{Kind: disk.SyncError, Limit: 1})
		w.write(w.f, 0, 512, "x")
		if err := w.f.Sync(); !errors.Is(err, actor.ErrIO) {
			w.Errorf("first sync: %v", err)
		}
		w.sync(w.f) // the next one says OK
		late = w.open("a", 0)
		if err := second.Sync(); !errors.Is(err, actor.ErrIO) {
			w.Errorf("a descriptor open at the time was not told: %v", err)
		}
		w.sync(second) // once
		w.sync(late)   // and nobody who came later
		w.shows("a", "512*x 15872*o")
		w.d.DropCaches()
		w.shows("a", "16384*o")
		w.fired(id, 1)
	},
	disk.DSyncError: func(w *world) {
		f := w.open("a", actor.DSync)
		id := w.inject(disk.Fault{Kind: disk.DSyncError, Limit: 1})
		if _, err := f.WriteAt(bytes.Repeat([]byte("x"), 8192), 0); !errors.Is(err, actor.ErrIO) {
			w.Errorf("write: %v", err)
		}
		w.shows("a", "8192*x 8192*o") // readable
		w.sync(w.open("a", 0))        // changes nothing
		for _, state := range []string{"16384*o", "4096*x 12288*o", "8192*x 8192*o"} {
			if err := w.d.AdmitsSane(decode(w, map[string]string{"a": state})); err != nil {
				w.Error(err)
			}
		}
		w.d.Crash(none)
		w.shows("a", "16384*o")
		w.fired(id, 1)
	},
	disk.NoSpaceWrite: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.NoSpaceWrite, Limit: 1})
		if n, err := w.f.WriteAt([]byte("x"), 0); n != 0 || !errors.Is(err, actor.ErrNoSpace) {
			w.Errorf("write: %d, %v", n, err)
		}
		w.shows("a", "16384*o")
		w.fired(id, 1)
	},
	disk.NoSpaceSync: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.NoSpaceSync, Limit: 1})
		w.write(w.f, 0, 512, "x")
		if err := w.f.Datasync(); !errors.Is(err, actor.ErrNoSpace) {
			w.Errorf("sync: %v", err)
		}
		w.sync(w.f)
		w.d.Crash(none)
		w.shows("a", "16384*o")
		w.fired(id, 1)
	},
	disk.ShortWrite: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.ShortWrite, Limit: 1})
		n, err := w.f.WriteAt(bytes.Repeat([]byte("x"), 512), 0)
		if n <= 0 || n >= 512 || err != nil {
			w.Errorf("write: %d, %v", n, err)
		}
		p, _ := w.d.Cached("a")
		if p[n-1] != 'x' || p[n] != 'o' {
			w.Errorf("%d bytes reported, %s written", n, script.Encode(p))
		}
		w.fired(id, 1)
	},
	disk.Interrupted: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.Interrupted, Limit: 1})
		if n, err := w.f.WriteAt([]byte("x"), 0); n != 0 || !errors.Is(err, actor.ErrInterrupted) {
			w.Errorf("write: %d, %v", n, err)
		}
		w.shows("a", "16384*o")
		w.fired(id, 1)
	},
	disk.BitRot: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.BitRot, Path: "a", Off: 512, End: 1024, Limit: 1})
		for range 2 { // it stays
			p := make([]byte, 4096)
			if _, err := w.f.ReadAt(p, 0); err != nil {
				w.Fatal(err)
			}
			differ := 0
			for i, b := range p {
				if b != 'o' {
					differ++
					if x := b ^ 'o'; i < 512 || i >= 1024 || x&(x-1) != 0 {
						w.Errorf("byte %d is %#x", i, b)
					}
				}
			}
			if differ != 1 {
				w.Errorf("%d bytes differ", differ)
			}
		}
		w.fired(id, 1)
	},
	disk.BadSector: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.BadSector, Path: "a", Off: 1024, End: 1025, Limit: 1})
		p := make([]byte, 4096)
		for range 2 {
			if _, err := w.f.ReadAt(p, 0); !errors.Is(err, actor.ErrIO) {
				w.Errorf("read: %v", err)
			}
		}
		if _, err := w.f.ReadAt(p[:1024], 0); err != nil {
			w.Errorf("a good sector: %v", err)
		}
		w.write(w.f, 1024, 512, "x")
		w.sync(w.f)
		if _, err := w.f.ReadAt(p, 0); err != nil {
			w.Errorf("after it was rewritten: %v", err)
		}
		w.fired(id, 1)
	},
	disk.Misdirected: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.Misdirected, Limit: 1})
		w.write(w.f, 8192, 512, "x")
		w.fired(id, 0) // not yet: it is in the cache
		w.sync(w.f)
		w.shows("a", "8192*o 512*x 7680*o")
		w.d.Crash(none)
		p, _ := w.d.Cached("a")
		at := bytes.IndexByte(p, 'x')
		if at < 0 || at == 8192 || at%512 != 0 || bytes.Count(p, []byte("x")) != 512 {
			w.Errorf("not misdirected: %s", script.Encode(p))
		}
		w.fired(id, 1)
	},
	disk.LostWrite: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.LostWrite, From: 1, To: 2})
		for i := range 3 {
			w.write(w.f, int64(i)*512, 512, "x")
		}
		w.sync(w.f)
		w.shows("a", "1536*x 14848*o")
		w.d.Crash(all)
		w.shows("a", "512*x 512*o 512*x 14848*o")
		w.fired(id, 1)
	},
	disk.StaleRead: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.StaleRead, Limit: 1})
		w.write(w.f, 512, 512, "x")
		w.sync(w.f)
		p := make([]byte, 2048)
		if _, err := w.f.ReadAt(p, 0); err != nil || script.Encode(p) != "2048*o" {
			w.Errorf("stale: %s, %v", script.Encode(p), err)
		}
		if _, err := w.f.ReadAt(p, 0); err != nil || script.Encode(p) != "512*o 512*x 1024*o" {
			w.Errorf("again: %s, %v", script.Encode(p), err)
		}
		w.fired(id, 1)
	},
	disk.LyingFlush: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.LyingFlush, Limit: 1})
		w.write(w.f, 0, 512, "x")
		w.sync(w.f)
		w.d.Crash(none)
		w.shows("a", "16384*o")
		w.fired(id, 1)
	},
	disk.SlowIO: func(w *world) {
		id := w.inject(disk.Fault{Kind: disk.SlowIO, Delay: time.Second, Limit: 1})
		f, err := w.s.Within(time.Millisecond).Open("n", actor.Create)
		if f != nil || !errors.Is(err, actor.ErrDeadline) {
			w.Errorf("open: %v", err)
		}
		w.names("a", "n") // it landed all the same
		w.fired(id, 1)
	},
	disk.HungIO: func(w *world) {
		w.write(w.f, 0, 512, "x")
		id := w.inject(disk.Fault{Kind: disk.HungIO, Limit: 1})
		if err := w.f.Sync(); !errors.Is(err, actor.ErrDeadline) {
			w.Errorf("sync: %v", err)
		}
		if len(w.d.Pending()) == 0 {
			w.Error("a hung sync made data durable")
		}
		w.fired(id, 1)
	},
}

func (w *world) names(want ...string) {
	w.Helper()
	var got []string
	for _, f := range w.d.Files() {
		if f.Cached {
			got = append(got, f.Path)
		}
	}
	if len(got) != len(want) {
		w.Errorf("names are %v, want %v", got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			w.Errorf("names are %v, want %v", got, want)
		}
	}
}

func TestWitness(t *testing.T) {
	for _, k := range disk.Kinds() {
		t.Run(k.String(), func(t *testing.T) {
			if witnesses[k] == nil {
				t.Fatal("no witness")
			}
			witnesses[k](newWorld(t, disk.Config{}))
			if back, err := disk.ParseKind(k.String()); back != k || err != nil {
				t.Errorf("%s parses as %s, %v", k, back, err)
			}
		})
	}
	if _, err := disk.ParseKind("no such"); err == nil {
		t.Error("a name that is none was parsed")
	}
}

// TestWriteFullMasks: short writes and interruptions leave no gap.
func TestWriteFullMasks(t *testing.T) {
	w := newWorld(t, disk.Config{})
	w.inject(disk.Fault{Kind: disk.ShortWrite, Rate: 0.5})
	w.inject(disk.Fault{Kind: disk.Interrupted, Rate: 0.3})
	if n, err := actor.WriteFull(w.f, bytes.Repeat([]byte("x"), 8192), 0); n != 8192 || err != nil {
		t.Fatal(n, err)
	}
	w.shows("a", "8192*x 8192*o")
}

// TestCapacity: a write that meets the end of the disk is short, and the next
// finds no space; removing a file gives it back.
func TestCapacity(t *testing.T) {
	w := newWorld(t, disk.Config{Capacity: 6 * 4096})
	f := w.open("n", actor.Create)
	if n, err := f.WriteAt(make([]byte, 12288), 0); n != 8192 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := f.WriteAt(make([]byte, 512), 8192); n != 0 || !errors.Is(err, actor.ErrNoSpace) {
		t.Errorf("write: %d, %v", n, err)
	}
	if err := f.Allocate(16384); !errors.Is(err, actor.ErrNoSpace) {
		t.Errorf("allocate: %v", err)
	}
	if err := w.f.Close(); err != nil {
		t.Fatal(err)
	}
	w.run("unlink a")
	if err := f.Allocate(16384); err != nil {
		t.Errorf("allocate after a removal: %v", err)
	}
}

// TestUnrelatedFault: another fault, on another file, changes no draw.
func TestUnrelatedFault(t *testing.T) {
	hits := func(unrelated bool) (list []int) {
		w := newWorld(t, disk.Config{Keyed: disk.Seed(5)})
		if unrelated {
			w.inject(disk.Fault{Kind: disk.Interrupted, Path: "b", Rate: 0.5})
			w.inject(disk.Fault{Kind: disk.SlowIO, Path: "*", Rate: 0.5, Delay: 1})
		}
		w.inject(disk.Fault{Kind: disk.Interrupted, Path: "a", Rate: 0.5})
		b := w.open("b", actor.Create)
		for i := range 64 {
			_, _ = b.WriteAt([]byte("y"), int64(i))
			if _, err := w.f.WriteAt([]byte("x"), 0); err != nil {
				list = append(list, i)
			}
		}
		return list
	}
	with, without := hits(true), hits(false)
	if len(with) < 16 || len(with) > 48 {
		t.Errorf("a rate of 0.5 hit %d of 64", len(with))
	}
	if len(with) != len(without) {
		t.Fatalf("hits %v and %v", with, without)
	}
	for i := range with {
		if with[i] != without[i] {
			t.Fatalf("hits %v and %v", with, without)
		}
	}
}

func TestBadFaults(t *testing.T) {
	d, _ := after(t, disk.Config{})
	for _, f := range []disk.Fault{
		{Kind: 200}, {Path: "["}, {Rate: 2}, {Rate: -1}, {Off: 5, End: 4}, {Off: -1}, {From: 3, To: 3}, {Unit: 100}, {Delay: -1},
	} {
		if _, err := d.Inject(f); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
	if d.Fired(7) != 0 {
		t.Error("a fault that is none has fired")
	}
	d.Lift(7)
}

// TestFlipAndSpoil are the faults that hit now.
func TestFlipAndSpoil(t *testing.T) {
	w := newWorld(t, disk.Config{})
	if err := w.d.FlipBit("a", 0, 0); err != nil {
		t.Fatal(err)
	}
	w.shows("a", "1*n 16383*o")
	if err := w.d.Spoil("a", 600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.f.ReadAt(make([]byte, 1), 1023); !errors.Is(err, actor.ErrIO) {
		t.Error(err)
	}
	if w.d.FlipBit("a", fileSize, 0) == nil || w.d.FlipBit("a", 0, 8) == nil || w.d.FlipBit("b", 0, 0) == nil || w.d.Spoil("a", -1) == nil {
		t.Error("a place that is none was accepted")
	}
	if _, err := w.f.ReadAt(make([]byte, 1), fileSize); err != io.EOF {
		t.Error(err)
	}
}
