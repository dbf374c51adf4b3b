package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

// sampleSegment is the bytes of a small log with every operation in it.
func sampleSegment(t testing.TB) []byte {
	d := newDisk(t, disk.Config{})
	l := mustOpen(t, newFS(d), wal.Options{SegmentSize: 8 << 10})
	add(t, l, "", "one", strings.Repeat("long ", 100))
	_, err := l.Begin(2, 3, []byte("context"))
	must(t, err)
	_, err = l.Data(3, []byte("data"))
	must(t, err)
	_, err = l.Commit([]byte("root"))
	must(t, err)
	_, err = l.Begin(2, 3, nil)
	must(t, err)
	must(t, l.Abort())
	must(t, l.Close())
	return bytes.Clone(content(t, d, seg1))
}

// Whatever the bytes, a header decodes to something that encodes to the same
// bytes, or to a FieldError.
func FuzzDecodeHeader(f *testing.F) {
	seg := sampleSegment(f)
	f.Add(seg[:256])
	f.Add(seg[:255])
	f.Add(make([]byte, 256))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := wal.DecodeHeader(b)
		if err != nil {
			var field *wal.FieldError
			if !errors.As(err, &field) || field.Error() == "" {
				t.Fatalf("%v is no FieldError", err)
			}
			return
		}
		again, err := h.MarshalBinary()
		if err != nil || !bytes.Equal(again, b[:wal.HeaderSize]) {
			t.Fatalf("%+v encodes to other bytes, %v", h, err)
		}
		if h.Next() < int64(h.Offset)+wal.HeaderSize {
			t.Fatalf("the record behind %+v begins at %d", h, h.Next())
		}
	})
}

// Any bytes as a segment: opening returns an error, or a log that replays a
// valid sequence, takes a record and has all of that after a crash.
func FuzzRecover(f *testing.F) {
	seg := sampleSegment(f)
	f.Add(seg, uint64(0))
	f.Add(seg[:1500], uint64(3))
	f.Add([]byte{}, uint64(1))
	for _, off := range []int{60, 300, 512 + 256, 512 + 140} {
		b := bytes.Clone(seg)
		b[off] ^= 8
		f.Add(b, uint64(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, floor uint64) {
		if len(b) <= 1<<20 {
			recoverFrom(t, b, floor)
		}
	})
}

// recoverFrom opens a log whose only segment is b.
func recoverFrom(t *testing.T, b []byte, floor uint64) {
	d := newDisk(t, disk.Config{})
	must(t, newFS(d).Mkdir(dir))
	file, err := newFS(d).Open(seg1, actor.Create|actor.DSync)
	must(t, err)
	_, err = file.WriteAt(b, 0)
	must(t, err)
	must(t, file.Sync())
	must(t, newFS(d).SyncDir(dir))
	must(t, newFS(d).SyncDir("."))
	var first []rec
	o := wal.Options{SegmentSize: 8 << 10, MinLSN: wal.LSN(floor)}
	collect := func(to *[]rec) func(wal.Record) error {
		return func(r wal.Record) error {
			*to = append(*to, rec{r.LSN, r.Op, r.Txn, string(r.Payload)})
			return nil
		}
	}
	o.Replay = collect(&first)
	l, err := wal.Open(newFS(d), dir, o)
	if err != nil {
		var c *wal.CorruptionError
		if !errors.As(err, &c) {
			t.Fatalf("%v is no CorruptionError", err)
		}
		return
	}
	for i, r := range first {
		if i > 0 && r.lsn <= first[i-1].lsn || r.lsn == 0 {
			t.Fatalf("replayed %v", first)
		}
	}
	last := l.Last()
	lsn, err := l.Append(1, 1, []byte("new"))
	must(t, err)
	must(t, l.Sync())
	if lsn <= last {
		t.Fatalf("LSN %d after %d", lsn, last)
	}
	d.Crash(nil)
	var again []rec
	o.Replay = collect(&again)
	_, err = wal.Open(newFS(d), dir, o)
	must(t, err)
	if len(again) != len(first)+1 || again[len(first)].text != "new" {
		t.Fatalf("replayed %v, then %v", first, again)
	}
}

// The same with bytes that pass the checksums: patches of three bytes (record,
// place in its header, value) go into a good segment, and every sum is made
// anew. What a header says may then be anything; opening must survive it.
func FuzzRecoverForged(f *testing.F) {
	seg := sampleSegment(f)
	f.Add([]byte{1, 100, 9})
	f.Add([]byte{2, 140, 9, 3, 116, 5})
	f.Add([]byte{0, 57, 255, 0, 58, 255})
	f.Add([]byte{4, 152, 4, 5, 116, 1})
	f.Fuzz(func(t *testing.T, patches []byte) {
		b := bytes.Clone(seg)
		var places []int64
		must(t, wal.Dump("sample", bytes.NewReader(b), int64(len(b)), func(i wal.Info) error {
			places = append(places, int64(i.Header.Offset))
			return nil
		}))
		for ; len(patches) >= 3; patches = patches[3:] {
			b[places[int(patches[0])%len(places)]+int64(patches[1])] = patches[2]
		}
		previous := make([]byte, 4)
		for _, at := range places {
			h := b[at:][:wal.HeaderSize]
			copy(h[68:], previous)
			sum := crc32.Update(0, castagnoli, h[:64])
			sum = crc32.Update(sum, castagnoli, h[68:])
			binary.LittleEndian.PutUint32(h[64:], sum)
			copy(previous, h[64:68])
		}
		recoverFrom(t, b, 0)
	})
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Any bytes as a file to dump: records in order, or where it stops being one.
func FuzzDump(f *testing.F) {
	seg := sampleSegment(f)
	f.Add(seg)
	f.Add(seg[:700])
	f.Fuzz(func(t *testing.T, b []byte) {
		next := int64(0)
		err := wal.Dump("fuzzed", bytes.NewReader(b), int64(len(b)), func(i wal.Info) error {
			if int64(i.Header.Offset) != next || int(i.Header.Length) != len(i.Payload) || i.String() == "" {
				t.Fatalf("%+v, want it at %d", i.Header, next)
			}
			next = i.Header.Next()
			return nil
		})
		var d *wal.DumpError
		if err != nil && (!errors.As(err, &d) || d.Offset != next) {
			t.Fatalf("%v behind %d", err, next)
		}
	})
}
