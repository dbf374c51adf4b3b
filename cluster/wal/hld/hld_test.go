package hld_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal/hld"
	"github.com/esper-sim/espersim/sim/disk"
)

const file = "hld.wal"

type clock struct {
	actor.Clock
	now time.Time
}

func (c clock) Now() time.Time { return c.now }

var noon = clock{now: time.UnixMilli(1_000_000)}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newDisk(t *testing.T) *disk.Disk {
	t.Helper()
	d, err := disk.New(disk.Config{})
	must(t, err)
	return d
}

// life opens the HLD's log and writes entries until the process is killed
// before its k-th write, 0 for never. It returns those that it acknowledged.
func life(t *testing.T, d *disk.Disk, k int, entries ...string) (acked []string) {
	t.Helper()
	type killed struct{}
	defer func() {
		if r := recover(); r != nil && r != (killed{}) {
			panic(r)
		}
	}()
	n := 0
	fs := disk.NewFS(d, func(op *disk.Op) error {
		if op.Kind == disk.OpWrite {
			if n++; n == k {
				panic(killed{})
			}
		}
		return nil
	})
	w := hld.NewWriter(fs, file, noon)
	must(t, w.OpenWAL())
	must(t, fs.SyncDir(".")) // its missing is another defect (11)
	for _, e := range entries {
		must(t, w.WriteEntry("DATA", []byte(e)))
		acked = append(acked, e)
	}
	return acked
}

func read(t *testing.T, d *disk.Disk) (got []string) {
	t.Helper()
	_, _, err := hld.Read(disk.NewFS(d, nil), file, 0, 1000, func(_ int64, data []byte) { got = append(got, string(data)) })
	must(t, err)
	return got
}

func TestItWorksWithoutFaults(t *testing.T) {
	d := newDisk(t)
	life(t, d, 0, "a", "", "ccc")
	life(t, d, 0, "d")
	if got := read(t, d); fmt.Sprint(got) != "[a  ccc d]" {
		t.Fatalf("%q", got)
	}
}

// The header of an entry is written, its data is not (3). The next life
// appends behind it (7), and the header takes the first bytes of that for its
// own: everything acknowledged from then on is lost. No device has failed.
func TestCrashBetweenTheTwoWritesLosesLaterEntries(t *testing.T) {
	d := newDisk(t)
	acked := life(t, d, 4, "a", "torn")
	acked = append(acked, life(t, d, 0, "b", "c")...)
	if got := read(t, d); fmt.Sprint(acked) != "[a b c]" || fmt.Sprint(got) != "[a]" {
		t.Fatalf("acknowledged %q, read %q: the port is not faithful", acked, got)
	}
}

// The announced length may swallow a whole entry and end at the next one's
// header. The reader's CRC saves it from an invented entry, and loses them.
func TestTornHeaderSwallowsAnEntry(t *testing.T) {
	d := newDisk(t)
	life(t, d, 2, string(make([]byte, hld.HeaderSize+1)))
	if acked := life(t, d, 0, "b", "c"); len(acked) != 2 {
		t.Fatal(acked)
	}
	if got := read(t, d); len(got) != 0 {
		t.Fatalf("read %q: the port is not faithful", got)
	}
}

// An entry without data needs no second write, so its header alone is a whole
// entry: a crash before the acknowledgement leaves what looks finished. That
// is allowed. That the header can be changed at will (5) is not: a bit in the
// time or the type goes unseen (W3).
func TestHeaderIsNotCovered(t *testing.T) {
	d := newDisk(t)
	life(t, d, 0, "a")
	before, err := d.Cached(file)
	must(t, err)
	unseen := 0
	for bit := range hld.HeaderSize * 8 {
		fresh := newDisk(t)
		b := append([]byte(nil), before...)
		b[bit/8] ^= 1 << (bit % 8)
		f, err := disk.NewFS(fresh, nil).Open(file, actor.Create)
		must(t, err)
		_, err = actor.WriteFull(f, b, 0)
		must(t, err)
		if got := read(t, fresh); fmt.Sprint(got) == "[a]" {
			unseen++
		}
	}
	// Seen are the magic's 32 bits, the length's 64 and the CRC's 32.
	if want := hld.HeaderSize*8 - 32 - 64 - 32; unseen != want {
		t.Fatalf("%d of %d bits go unseen, want %d", unseen, hld.HeaderSize*8, want)
	}
}

// Fields that are not what they seem.
func TestFields(t *testing.T) {
	d := newDisk(t)
	w := hld.NewWriter(disk.NewFS(d, nil), file, noon)
	if w.WriteEntry("DATA", nil) == nil {
		t.Error("not opened, and yet it writes")
	}
	must(t, w.OpenWAL())
	must(t, w.WriteEntry("x"+"éééééééééééééééééééé", []byte("a")))
	must(t, w.CloseWAL())
	must(t, w.CloseWAL())
	b, err := d.Cached(file)
	must(t, err)
	if b[51] != 0xc3 || binary.LittleEndian.Uint32(b[16:]) != 32 {
		t.Error("the type is not cut in the middle of a character (9)")
	}
	if fmt.Sprintf("%x", b[92:100]) != "efcdab9078563412" {
		t.Error("the marker is not little-endian whatever the machine (8)")
	}
	for _, c := range b[64:92] {
		if c != 0 {
			t.Error("more than 4 of the 32 bytes of checksum are used (2)")
		}
	}
}
