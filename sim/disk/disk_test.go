package disk

import "testing"

func BenchmarkWriteSync(b *testing.B) {
	d, _ := New(Config{})
	fs := NewFS(d, nil)
	f, err := fs.Open("wal", 2)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Allocate(100 << 20); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 512)
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		if _, err := f.WriteAt(p, i%2048*512); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		i++
	}
	d.Crash(nil)
}
