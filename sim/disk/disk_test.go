package disk

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/actor"
)

func newDisk(t testing.TB, c Config) *Disk {
	t.Helper()
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustOpen(t testing.TB, fs actor.FS, name string, flag actor.Flag) actor.File {
	t.Helper()
	f, err := fs.Open(name, flag)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// machine drives a disk beside a plain model of what reads must see.
type machine struct {
	d     *Disk
	fs    *FS
	model map[string][]byte // by name
	sure  map[string][]byte // what a crash may not take, untouched since
}

var names = []string{"a", "b", "c"}

func newMachine(t *rapid.T) *machine {
	p := rapid.SampledFrom([]Profile{PosixWeak, Ext4}).Draw(t, "profile")
	d, err := New(Config{Profile: p, Keyed: Seed(rapid.Uint64().Draw(t, "seed"))})
	if err != nil {
		t.Fatal(err)
	}
	return &machine{d: d, fs: NewFS(d, nil), model: map[string][]byte{}, sure: map[string][]byte{}}
}

// with opens an existing file for one operation.
func (m *machine) with(t *rapid.T, flag actor.Flag, f func(name string, f actor.File)) {
	name := rapid.SampledFrom(names).Draw(t, "name")
	if _, ok := m.model[name]; !ok {
		if _, err := m.fs.Open(name, flag); !errors.Is(err, actor.ErrNotExist) {
			t.Fatalf("open of a missing file: %v", err)
		}
		return
	}
	file, err := m.fs.Open(name, flag)
	if err != nil {
		t.Fatal(err)
	}
	f(name, file)
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) Create(t *rapid.T) {
	name := rapid.SampledFrom(names).Draw(t, "name")
	_, had := m.model[name]
	f, err := m.fs.Open(name, actor.Create|actor.Excl)
	if had != errors.Is(err, actor.ErrExist) {
		t.Fatal(err)
	}
	if had {
		return
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	delete(m.sure, name)
	m.model[name] = nil
}

func (m *machine) write(t *rapid.T, flag actor.Flag) {
	m.with(t, flag, func(name string, f actor.File) {
		off := rapid.IntRange(0, 2000).Draw(t, "off")
		p := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(1, 1500).Draw(t, "len"))
		if n, err := f.WriteAt(p, int64(off)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
		was := m.model[name]
		now := make([]byte, max(len(was), off+len(p)))
		copy(now, was)
		copy(now[off:], p)
		m.model[name] = now
		if flag&actor.DSync == 0 {
			delete(m.sure, name)
		} else if m.sure[name] != nil {
			m.sure[name] = bytes.Clone(now)
		}
	})
}

func (m *machine) Write(t *rapid.T)  { m.write(t, 0) }
func (m *machine) DWrite(t *rapid.T) { m.write(t, actor.DSync) }

func (m *machine) Truncate(t *rapid.T) {
	m.with(t, 0, func(name string, f actor.File) {
		size := rapid.IntRange(0, 3000).Draw(t, "size")
		if err := f.Truncate(int64(size)); err != nil {
			t.Fatal(err)
		}
		now := make([]byte, size)
		copy(now, m.model[name])
		if size != len(m.model[name]) {
			delete(m.sure, name)
		}
		m.model[name] = now
	})
}

// Sync makes content and name sure.
func (m *machine) Sync(t *rapid.T) {
	m.with(t, 0, func(name string, f actor.File) {
		sync := f.Sync
		if rapid.Bool().Draw(t, "data") {
			sync = f.Datasync
		}
		if err := errors.Join(sync(), m.fs.SyncDir("")); err != nil {
			t.Fatal(err)
		}
		m.sure[name] = bytes.Clone(append([]byte{}, m.model[name]...))
	})
}

func (m *machine) Rename(t *rapid.T) {
	m.with(t, 0, func(name string, _ actor.File) {
		to := rapid.SampledFrom(names).Draw(t, "to")
		if err := m.fs.Rename(name, to); err != nil {
			t.Fatal(err)
		}
		if to == name {
			return
		}
		delete(m.sure, name)
		delete(m.sure, to)
		// After a crash both names may be of one file; then nothing happened.
		if now, err := m.d.Cached(name); err == nil {
			m.model[name] = now
			return
		}
		m.model[to] = m.model[name]
		delete(m.model, name)
	})
}

func (m *machine) Remove(t *rapid.T) {
	m.with(t, 0, func(name string, _ actor.File) {
		if err := m.fs.Remove(name); err != nil {
			t.Fatal(err)
		}
		delete(m.sure, name)
		delete(m.model, name)
	})
}

// Crash: the outcome is admitted, and what was sure is there.
func (m *machine) Crash(t *rapid.T) {
	before := m.d.Clone()
	event := rapid.Uint64().Draw(t, "event")
	choice, admits := m.d.Random(event), before.Admits
	if rapid.Bool().Draw(t, "sane") {
		choice = func(p Pending, unit int64) Fate {
			return Fate(Seed(event).For("", p.Key, uint64(unit)) % 3)
		}
		admits = before.AdmitsSane
	}
	m.d.Crash(choice)
	now := m.d.State()
	if err := admits(now); err != nil {
		t.Fatalf("%v; pending %v", err, before.Pending())
	}
	for name, want := range m.sure {
		if !bytes.Equal(now[name], want) || now[name] == nil {
			t.Fatalf("%s was durable and is changed; pending %v", name, before.Pending())
		}
	}
	if len(m.d.Pending()) != 0 {
		t.Fatal("something is pending after a crash")
	}
	m.model = now
	m.fs = NewFS(m.d, nil)
	// Two names of one file, half a rename: a write to one changes both, which
	// the model cannot follow. Take one away.
	seen := map[*inode]string{}
	for _, name := range sortedNames(m.d.root.cachedEntries) {
		n := m.d.root.cachedEntries[name]
		if _, twice := seen[n]; twice {
			if err := m.fs.Remove(name); err != nil {
				t.Fatal(err)
			}
			delete(m.model, name)
			delete(m.sure, name)
		}
		seen[n] = name
	}
}

// DropCaches must not be visible while no device fault is at work.
func (m *machine) DropCaches(*rapid.T) { m.d.DropCaches() }

// Check compares all that can be read.
func (m *machine) Check(t *rapid.T) {
	now := m.d.State()
	if len(now) != len(m.model) {
		t.Fatalf("names %v, want %v", now, m.model)
	}
	for name, want := range m.model {
		if got, ok := now[name]; !ok || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes, want %d, or other content", name, len(got), len(want))
		}
	}
}

func TestStateMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"create": m.Create, "write": m.Write, "dwrite": m.DWrite, "truncate": m.Truncate, "sync": m.Sync,
			"rename": m.Rename, "remove": m.Remove, "crash": m.Crash, "drop": m.DropCaches, "": m.Check,
		})
	})
}

// TestAdmitsIsExact: Admits says yes to exactly the states that CrashStates
// lists, here compared on states of disks that went slightly another way.
func TestAdmitsIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]Profile{PosixWeak, Ext4}).Draw(t, "profile")
		var disks [2]*Disk
		var systems [2]*FS
		for i := range disks {
			disks[i], _ = New(Config{Profile: p})
			systems[i] = NewFS(disks[i], nil)
		}
		both := func(skip bool, step func(fs *FS) error) {
			for i, fs := range systems {
				if i == 1 && skip {
					continue
				}
				_ = step(fs)
			}
		}
		steps := rapid.IntRange(1, 5).Draw(t, "steps")
		odd := rapid.IntRange(0, steps).Draw(t, "odd")
		both(false, func(fs *FS) error { return fill(fs, "a", 0, 700, 'o', actor.Create, true) })
		both(false, func(fs *FS) error { return fs.SyncDir("") })
		for i := range steps {
			name := rapid.SampledFrom(names[:2]).Draw(t, "name")
			off := rapid.SampledFrom([]int64{0, 100, 512, 700}).Draw(t, "off")
			kind := rapid.IntRange(0, 6).Draw(t, "kind")
			both(i == odd, func(fs *FS) error {
				switch kind {
				case 0, 1:
					return fill(fs, name, off, 300, byte('p'+i), actor.Create, false)
				case 2:
					return fill(fs, name, off, 300, byte('p'+i), actor.Create|actor.DSync, false)
				case 3:
					f, err := fs.Open(name, 0)
					if err != nil {
						return err
					}
					return f.Truncate(off)
				case 4:
					return fs.Rename(name, names[1])
				case 5:
					return fs.Remove(name)
				}
				return fs.SyncDir("")
			})
		}
		const limit = 3000
		listed := map[uint64]bool{}
		for c := range disks[1].crashStates(limit, FateZero) {
			s := c.State()
			listed[hashState(s)] = true
			if err := disks[1].AdmitsSane(s); err != nil {
				t.Fatalf("%v\n%v", err, disks[1].Pending())
			}
			if err := disks[1].Admits(s); err != nil {
				t.Fatalf("with garbage: %v\n%v", err, disks[1].Pending())
			}
		}
		if len(listed) == limit {
			return
		}
		for c := range disks[0].crashStates(limit, FateZero) {
			s := c.State()
			if err := disks[1].AdmitsSane(s); (err == nil) != listed[hashState(s)] {
				t.Fatalf("listed: %v, but %v\n%v\n%v", listed[hashState(s)], err, s, disks[1].Pending())
			}
		}
	})
}

func hashState(s State) uint64 {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	h := uint64(1)
	for _, name := range names {
		h = hashBytes(hashString(h, name), s[name])
	}
	return h
}

// fill writes n times a byte.
func fill(fs actor.FS, name string, off int64, n int, c byte, flag actor.Flag, sync bool) error {
	f, err := fs.Open(name, flag)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(bytes.Repeat([]byte{c}, n), off); err != nil || !sync {
		return err
	}
	return f.Sync()
}

// busy makes some pending operations on the named files.
func busy(t testing.TB, fs actor.FS, files ...string) {
	t.Helper()
	for _, name := range files {
		for i := range 6 {
			if err := fill(fs, name, int64(i)*1500, 1500, byte('a'+i), actor.Create, false); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestCrashIsDeterministic: the same keys and operations leave the same state,
// and another event another.
func TestCrashIsDeterministic(t *testing.T) {
	outcome := func(seed Seed, event uint64, files ...string) *Disk {
		d := newDisk(t, Config{Keyed: seed})
		fs := NewFS(d, nil)
		for _, name := range names[:2] { // one directory has an order of its own
			mustOpen(t, fs, name, actor.Create)
		}
		if err := fs.SyncDir(""); err != nil {
			t.Fatal(err)
		}
		busy(t, fs, files...)
		d.Crash(d.Random(event))
		return d
	}
	different := map[uint64]bool{}
	for event := range uint64(50) {
		one, two := outcome(1, event, "a", "b"), outcome(1, event, "b", "a")
		if one.Hash() != two.Hash() {
			t.Fatalf("event %d: the outcome depends on the order of unrelated operations", event)
		}
		different[one.Hash()] = true
		// Operations on another file change nothing for this one.
		alone := outcome(1, event, "a")
		p, err := one.Cached("a")
		q, err2 := alone.Cached("a")
		if !errors.Is(err2, err) || !bytes.Equal(p, q) {
			t.Fatalf("event %d: a file's fate depends on another file", event)
		}
	}
	if len(different) < 10 {
		t.Errorf("50 events have only %d outcomes", len(different))
	}
}

// TestCloneAndHash: a clone is equal, independent, and crashes the same way.
func TestCloneAndHash(t *testing.T) {
	d := newDisk(t, Config{})
	fs := NewFS(d, nil)
	if err := fs.Mkdir("dir"); err != nil {
		t.Fatal(err)
	}
	busy(t, fs, "a", "dir/b")
	c := d.Clone()
	if c.Hash() != d.Hash() {
		t.Fatal("a clone hashes differently")
	}
	before := d.Hash()
	c.Crash(c.Random(3))
	if d.Hash() != before {
		t.Fatal("a clone's crash changed the original")
	}
	d.Crash(d.Random(3))
	if c.Hash() != d.Hash() {
		t.Fatal("a clone crashes in another way")
	}
}

// TestSparse: a preallocated file costs nothing, and its bytes are zero.
func TestSparse(t *testing.T) {
	d := newDisk(t, Config{})
	f := mustOpen(t, NewFS(d, nil), "wal", actor.Create)
	if err := errors.Join(f.Allocate(100<<20), f.Sync()); err != nil {
		t.Fatal(err)
	}
	n, _ := d.find("wal")
	if len(n.cached.pages)+len(n.durable.pages) != 0 {
		t.Error("a preallocated file has pages")
	}
	p := []byte{1, 2}
	if got, err := f.ReadAt(p, 50<<20); got != 2 || err != nil || p[0]|p[1] != 0 {
		t.Error(got, err, p)
	}
	if got, err := f.ReadAt(p, 100<<20-1); got != 1 || err != io.EOF {
		t.Error(got, err)
	}
}

// TestDead: after a host crash or a kill, nothing of the old life works.
func TestDead(t *testing.T) {
	d := newDisk(t, Config{})
	fs := NewFS(d, nil)
	f := mustOpen(t, fs, "a", actor.Create)
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	fs.Kill() // the process; the cache stays
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, ErrDead) || !errors.Is(err, actor.ErrClosed) {
		t.Error(err)
	}
	if _, err := fs.Within(1).Open("a", 0); !errors.Is(err, ErrDead) {
		t.Error(err)
	}
	if p, _ := d.Cached("a"); string(p) != "x" {
		t.Errorf("the cache holds %q", p)
	}
	fs = NewFS(d, nil)
	f = mustOpen(t, fs, "a", 0)
	d.Crash(func(Pending, int64) Fate { return FateNew })
	if err := f.Sync(); !errors.Is(err, ErrDead) {
		t.Error(err)
	}
	if p, _ := d.Cached("a"); string(p) != "x" {
		t.Errorf("the medium holds %q", p)
	}
}

// TestCrashAtEachOperation: a hook that panics at its k-th operation leaves
// every gap between two operations within reach.
func TestCrashAtEachOperation(t *testing.T) {
	for k := range 4 {
		d, count := newDisk(t, Config{}), 0
		fs := NewFS(d, func(*Op) error {
			if count++; count > k {
				panic("crash")
			}
			return nil
		})
		func() {
			defer func() { _ = recover() }()
			_ = fill(fs, "a", 0, 512, 'x', actor.Create, true)
		}()
		d.Crash(func(Pending, int64) Fate { return FateNew })
		p, err := d.Cached("a")
		if want := []int{-1, 0, 512, 512}[k]; (err != nil) != (want < 0) || (err == nil && len(p) != want) {
			t.Errorf("crash at operation %d: %d bytes, %v", k, len(p), err)
		}
	}
}

// stalled is a gate that keeps every sync and dsync write in flight.
type stalled struct {
	d    *Disk
	kept []*Op
}

func (g *stalled) Before(*Op) error             { return nil }
func (g *stalled) After(_ *Op, err error) error { return err }
func (g *stalled) Flight(op *Op) error {
	if !op.Durable() {
		return nil
	}
	g.kept = append(g.kept, op)
	return actor.ErrDeadline
}

// TestInFlight: an operation between issue and completion is pending, and may
// land after its caller gave up; after a crash it never does.
func TestInFlight(t *testing.T) {
	d := newDisk(t, Config{})
	g := &stalled{d: d}
	fs := NewGatedFS(d, g)
	f := mustOpen(t, fs, "a", actor.Create|actor.DSync)
	for i := range 2 {
		if _, err := f.WriteAt(bytes.Repeat([]byte{'x'}, 1024), int64(i)*1024); !errors.Is(err, actor.ErrDeadline) {
			t.Fatal(err)
		}
	}
	if err := fs.SyncDir(""); !errors.Is(err, actor.ErrDeadline) {
		t.Fatal(err)
	}
	if n := len(d.Pending()); n != 5 { // two writes, two sizes, an entry
		t.Errorf("pending: %v", d.Pending())
	}
	// The second write lands first, and what was issued later is not covered.
	if err := d.Complete(g.kept[1]); err != nil {
		t.Fatal(err)
	}
	if err := d.Complete(g.kept[2]); err != nil {
		t.Fatal(err)
	}
	p, err := d.Durable("a")
	if err != nil || len(p) != 2048 || p[1023] != 0 || p[1024] != 'x' {
		t.Errorf("durable: %d bytes, %v", len(p), err)
	}
	d.Crash(func(_ Pending, unit int64) Fate { return Fate(unit & 1) })
	p, _ = d.Cached("a")
	if p[0] != 0 || p[512] != 'x' {
		t.Error("the write in flight was not torn")
	}
	if err := d.Complete(g.kept[0]); !errors.Is(err, ErrDead) {
		t.Errorf("completion after a crash: %v", err)
	}
}

// TestNames covers what can be wrong with names.
func TestNames(t *testing.T) {
	d := newDisk(t, Config{})
	fs := NewFS(d, nil)
	if err := errors.Join(fs.Mkdir("dir"), fs.Mkdir("/dir/"), fs.Mkdir(""), fs.Mkdir("dir/sub")); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, fs, "dir/sub/f", actor.Create)
	mustOpen(t, fs, "./g", actor.Create)
	for _, c := range []struct {
		err  error
		want error
	}{
		{fs.Mkdir("no/dir"), actor.ErrNotExist},
		{fs.Mkdir("g"), actor.ErrExist},
		{fs.Mkdir("g/x"), ErrNotDir},
		{fs.Mkdir("../x"), ErrInvalid},
		{fs.Remove("dir"), ErrNotEmpty},
		{fs.Remove("nothing"), actor.ErrNotExist},
		{fs.Rename("dir", "dir/sub/dir"), ErrInvalid},
		{fs.Rename("g", "dir"), actor.ErrExist},
		{fs.Rename("nothing", "x"), actor.ErrNotExist},
		{fs.Rename("g", "dir/g"), nil},
		{fs.SyncDir("dir/g"), ErrNotDir},
		{fs.SyncDir("nothing"), actor.ErrNotExist},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%v, want %v", c.err, c.want)
		}
	}
	if _, err := fs.Open("dir", 0); !errors.Is(err, ErrIsDir) {
		t.Error(err)
	}
	list, err := fs.ReadDir("dir")
	if err != nil || !slices.Equal(list, []string{"g", "sub"}) {
		t.Error(list, err)
	}
	f := mustOpen(t, fs, "dir/g", actor.ReadOnly)
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, actor.ErrReadOnly) {
		t.Error(err)
	}
	f = mustOpen(t, fs, "dir/g", actor.Append)
	for range 2 {
		if _, err := f.WriteAt([]byte("xy"), 77); err != nil {
			t.Fatal(err)
		}
	}
	if size, err := f.Size(); size != 4 || err != nil {
		t.Error(size, err)
	}
	if _, err := f.ReadAt(make([]byte, 1), -1); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := errors.Join(f.Close()); err != nil {
		t.Error(err)
	}
	if err := f.Close(); !errors.Is(err, actor.ErrClosed) {
		t.Error(err)
	}
	for _, c := range []Config{{Sector: 100}, {Capacity: -1}, {Profile: 9}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func benchmark(b *testing.B, flag actor.Flag, sync bool) {
	d := newDisk(b, Config{})
	f := mustOpen(b, NewFS(d, nil), "wal", actor.Create|flag)
	if err := errors.Join(f.Allocate(100<<20), f.Sync()); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 512)
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		if _, err := f.WriteAt(p, i%2048*512); err != nil {
			b.Fatal(err)
		}
		if sync {
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
		i++
	}
}

func BenchmarkWriteSync(b *testing.B) { benchmark(b, 0, true) }

func BenchmarkDSyncWrite(b *testing.B) { benchmark(b, actor.DSync, false) }

func BenchmarkCrash(b *testing.B) {
	d := newDisk(b, Config{})
	fs := NewFS(d, nil)
	f := mustOpen(b, fs, "wal", actor.Create)
	for i := range int64(256) {
		if _, err := f.WriteAt(make([]byte, 4096), i*4096); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), fs.SyncDir("")); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d.Crash(nil)
	}
}
