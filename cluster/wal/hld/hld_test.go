package hld_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal/hld"
	"github.com/esper-sim/espersim/sim/disk"
)

// clock is one that stands.
type clock struct {
	actor.Clock
	now time.Time
}

func (c clock) Now() time.Time { return c.now }

type stop struct{}

// tripwire kills the process at the k-th operation, when it is issued and not
// complete.
type tripwire struct{ k, n int }

func (*tripwire) Before(*disk.Op) error { return nil }
func (g *tripwire) Flight(*disk.Op) error {
	if g.n++; g.n == g.k {
		panic(stop{})
	}
	return nil
}
func (*tripwire) After(_ *disk.Op, err error) error { return err }

func newDisk(t *testing.T, seed uint64) *disk.Disk {
	t.Helper()
	d, err := disk.New(disk.Config{Keyed: disk.Seed(seed)})
	must(t, err)
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, fs actor.FS) *hld.Writer {
	t.Helper()
	w := hld.NewWriter(fs, "log", clock{now: time.UnixMilli(1_700_000_000_000)})
	must(t, w.OpenWAL())
	return w
}

func read(t *testing.T, d *disk.Disk) (entries []string) {
	t.Helper()
	_, end, err := hld.Read(disk.NewFS(d, nil), "log", 0, 100, func(_ int64, p []byte) { entries = append(entries, string(p)) })
	must(t, err)
	if !end {
		t.Fatal("more than 100 entries")
	}
	return entries
}

// The port works as long as nothing goes wrong.
func TestRoundTrip(t *testing.T) {
	d := newDisk(t, 1)
	w := open(t, disk.NewFS(d, nil))
	must(t, w.WriteEntry("CKPT", []byte("one")))
	must(t, w.WriteEntry("CKPT", nil))
	must(t, w.CloseWAL())
	if got := fmt.Sprintf("%q", read(t, d)); got != `["one" ""]` {
		t.Error(got)
	}
	if err := w.WriteEntry("CKPT", nil); err == nil {
		t.Error("wrote to a closed log")
	}
}

// Defect 3, the smallest example: the process dies between the header's write
// and the data's. The next life appends after the header that announces bytes
// that never came (7: nothing looks at the end), and its entries are
// acknowledged. A reader takes their bytes for the data of the first, whose
// CRC is wrong, and stops: three acknowledged entries are gone.
func TestCrashBetweenTheTwoWritesLosesAcknowledgedEntries(t *testing.T) {
	d := newDisk(t, 1)
	// open is the first operation, the header the second, the data the third.
	func() {
		defer func() {
			if r := recover(); r != (stop{}) {
				t.Fatalf("not killed: %v", r)
			}
		}()
		w := open(t, disk.NewGatedFS(d, &tripwire{k: 3}))
		must(t, w.WriteEntry("CKPT", []byte("torn")))
	}()
	d.Crash(func(p disk.Pending, _ int64) disk.Fate {
		if p.Kind == disk.Write {
			return disk.FateOld // the data's write does not survive
		}
		return disk.FateNew
	})
	w := open(t, disk.NewFS(d, nil))
	for _, e := range []string{"acknowledged", "and", "lost"} {
		must(t, w.WriteEntry("CKPT", []byte(e)))
	}
	must(t, w.CloseWAL())
	if got := read(t, d); len(got) != 0 {
		t.Fatalf("%q: the port is not faithful", got)
	}
}

// Defect 5: another type and another time under the same CRC.
func TestChangedHeaderGoesUnnoticed(t *testing.T) {
	d := newDisk(t, 1)
	w := open(t, disk.NewFS(d, nil))
	must(t, w.WriteEntry("CMIT", []byte("data")))
	must(t, w.CloseWAL())
	f, err := disk.NewFS(d, nil).Open("log", actor.DSync)
	must(t, err)
	_, err = f.WriteAt([]byte("ABRT"), 20)
	must(t, err)
	_, err = f.WriteAt(make([]byte, 8), 8)
	must(t, err)
	if got := read(t, d); len(got) != 1 || got[0] != "data" {
		t.Fatalf("%q: the port is not faithful", got)
	}
}

// Defect 6: an entry that stands twice, or two in the wrong order, are fine.
func TestReplayedAndReorderedEntriesGoUnnoticed(t *testing.T) {
	d := newDisk(t, 1)
	w := open(t, disk.NewFS(d, nil))
	must(t, w.WriteEntry("T", []byte("1")))
	must(t, w.WriteEntry("T", []byte("2")))
	must(t, w.CloseWAL())
	b, err := d.Cached("log")
	must(t, err)
	const size = hld.HeaderSize + 1
	swapped := append(append(append([]byte(nil), b[size:2*size]...), b[:size]...), b[:size]...)
	f, err := disk.NewFS(d, nil).Open("log", actor.DSync)
	must(t, err)
	_, err = f.WriteAt(swapped, 0)
	must(t, err)
	if got := fmt.Sprint(read(t, d)); got != "[2 1 1]" {
		t.Fatalf("%s: the port is not faithful", got)
	}
}

// Defects 2, 8 and 9: four of 32 bytes are used, the marker is always the
// same, and a type of x and twenty é ends within a character.
func TestHeader(t *testing.T) {
	d := newDisk(t, 1)
	w := open(t, disk.NewFS(d, nil))
	must(t, w.WriteEntry("x"+strings.Repeat("é", 20), []byte("data")))
	must(t, w.CloseWAL())
	b, err := d.Cached("log")
	must(t, err)
	if name := b[20:52]; binary.LittleEndian.Uint32(b[16:]) != 32 || utf8.Valid(name) {
		t.Errorf("type %q: the port is not faithful", name)
	}
	for i, c := range b[64:92] {
		if c != 0 {
			t.Errorf("byte %d is %d", 64+i, c)
		}
	}
	if got := fmt.Sprintf("%x", b[92:100]); got != "efcdab9078563412" {
		t.Errorf("endian marker %s", got)
	}
}

// Defect 7 and one flipped bit in entry 3 of 10: the reader calls it the end,
// and eight acknowledged entries are gone.
func TestFlippedBitCutsTheLog(t *testing.T) {
	d := newDisk(t, 1)
	w := open(t, disk.NewFS(d, nil))
	for range 10 {
		must(t, w.WriteEntry("CKPT", make([]byte, 100)))
	}
	must(t, w.CloseWAL())
	must(t, d.FlipBit("log", 2*(hld.HeaderSize+100)+hld.HeaderSize+7, 3))
	if got := read(t, d); len(got) != 2 {
		t.Fatalf("%d entries: the port is not faithful", len(got))
	}
}
