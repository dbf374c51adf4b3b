package wal_test

import (
	"fmt"
	"testing"

	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

// fill appends n records of 512 bytes, syncing after each group.
func fill(tb testing.TB, l *wal.Log, payload []byte, n, group int) {
	for i := range n {
		if _, err := l.Append(1, 1, payload); err != nil {
			tb.Fatal(err)
		}
		if i%group == group-1 {
			if err := l.Sync(); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

func BenchmarkAppendSync(b *testing.B) {
	for _, group := range []int{1, 32} {
		b.Run(fmt.Sprint("group=", group), func(b *testing.B) {
			payload := make([]byte, 512)
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			// A log of a bounded size: memory is the simulated disk's.
			const most = 100_000
			for done := 0; done < b.N; {
				b.StopTimer()
				l := mustOpen(b, newFS(newDisk(b, disk.Config{})), wal.Options{})
				fill(b, l, payload, group, group)
				n := min(most, b.N-done)
				b.StartTimer()
				fill(b, l, payload, n, group)
				done += n
			}
		})
	}
}

func BenchmarkRecover(b *testing.B) {
	const records = 10_000
	d := newDisk(b, disk.Config{})
	l := mustOpen(b, newFS(d), wal.Options{})
	fill(b, l, make([]byte, 512), records, 32)
	must(b, l.Close())
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		_, err := wal.Open(newFS(d), dir, wal.Options{Replay: func(wal.Record) error { n++; return nil }})
		if err != nil || n != records {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}

// The hot path allocates nothing: not Append, not Sync.
func TestNoAllocation(t *testing.T) {
	l := mustOpen(t, newFS(newDisk(t, disk.Config{})), wal.Options{})
	payload := make([]byte, 512)
	fill(t, l, payload, 64, 32)
	buffered := testing.AllocsPerRun(30, func() {
		if _, err := l.Append(1, 1, payload); err != nil {
			t.Fatal(err)
		}
	})
	if buffered != 0 {
		t.Errorf("Append allocates %v times", buffered)
	}
}
