package wal_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

const dir = "wal"

func newDisk(t testing.TB, c disk.Config) *disk.Disk {
	t.Helper()
	d, err := disk.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newFS(d *disk.Disk) actor.FS { return disk.NewFS(d, nil) }

// small is a log with segments of 16 KiB.
func small() wal.Options { return wal.Options{SegmentSize: 16 << 10, BufferSize: 8 << 10} }

// replaying is small, collecting what is replayed as "LSN OP payload".
func replaying(got *[]string) wal.Options {
	o := small()
	o.Replay = func(r wal.Record) error {
		*got = append(*got, line(r))
		return nil
	}
	return o
}

func line(r wal.Record) string {
	p := string(r.Payload)
	if len(p) > 40 {
		p = fmt.Sprintf("%s…%d", p[:8], len(p))
	}
	return fmt.Sprintf("%d %s %s", r.LSN, r.Op, p)
}

func mustOpen(t testing.TB, fs actor.FS, o wal.Options) *wal.Log {
	t.Helper()
	l, err := wal.Open(fs, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// add appends a record for each payload, syncing after each.
func add(t testing.TB, l *wal.Log, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		_, err := l.Append(1, 7, []byte(p))
		must(t, err)
		must(t, l.Sync())
	}
}

func reopen(t testing.TB, d *disk.Disk) (*wal.Log, []string) {
	t.Helper()
	var got []string
	return mustOpen(t, newFS(d), replaying(&got)), got
}

func equal(t testing.TB, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
}

func TestReopen(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		for _, how := range []string{"close", "kill", "crash"} {
			t.Run(fmt.Sprint(sector, how), func(t *testing.T) {
				d := newDisk(t, disk.Config{Sector: sector})
				l := mustOpen(t, newFS(d), small())
				add(t, l, "one", "two", "three")
				for range 3 {
					switch how {
					case "close":
						must(t, l.Close())
					case "crash":
						d.Crash(func(disk.Pending, int64) disk.Fate { return disk.FateOld })
					}
					var got []string
					l, got = reopen(t, d)
					equal(t, got[:3], "1 SINGLE one", "2 SINGLE two", "3 SINGLE three")
				}
				add(t, l, "four")
				must(t, l.Close())
				_, got := reopen(t, d)
				if got[len(got)-1][2:] != "SINGLE four" && got[len(got)-1][3:] != "SINGLE four" {
					t.Fatal(got)
				}
			})
		}
	}
}

func TestRotateAndTruncate(t *testing.T) {
	d := newDisk(t, disk.Config{})
	l := mustOpen(t, newFS(d), small())
	for i := range 100 {
		_, err := l.Append(1, 1, make([]byte, i*37))
		must(t, err)
	}
	must(t, l.Sync())
	must(t, l.TruncateBefore(60))
	if l.First() > 60 || l.First() < 40 {
		t.Fatalf("first is %d", l.First())
	}
	must(t, l.Close())
	var lsns []wal.LSN
	o := small()
	o.Replay = func(r wal.Record) error { lsns = append(lsns, r.LSN); return nil }
	l = mustOpen(t, newFS(d), o)
	if lsns[0] > 60 || lsns[len(lsns)-1] != 100 || l.Durable() < 100 {
		t.Fatalf("%v, durable %d", lsns, l.Durable())
	}
}

func TestTransactions(t *testing.T) {
	d := newDisk(t, disk.Config{})
	l := mustOpen(t, newFS(d), small())
	_, err := l.Begin(5, 1, []byte("ctx"))
	must(t, err)
	_, err = l.Data(6, []byte("a"))
	must(t, err)
	if _, err := l.Begin(5, 1, nil); !errors.Is(err, wal.ErrTxnOpen) {
		t.Fatalf("second begin: %v", err)
	}
	_, err = l.Commit([]byte("root"))
	must(t, err)
	_, err = l.Begin(5, 1, nil)
	must(t, err)
	_, err = l.Data(6, []byte("b"))
	must(t, err)
	must(t, l.Abort())
	_, err = l.Begin(5, 1, nil)
	must(t, err)
	_, err = l.Data(6, []byte("c"))
	must(t, err)
	must(t, l.Sync())
	_, got := reopen(t, d)
	equal(t, got, "1 BEGIN ctx", "2 DATA a", "3 COMMIT root")
	l, got = reopen(t, d)
	equal(t, got, "1 BEGIN ctx", "2 DATA a", "3 COMMIT root")
	_, err = l.Begin(5, 1, nil)
	must(t, err)
}
