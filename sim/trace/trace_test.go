package trace

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

func genEvent(t *rapid.T) Event {
	return Event{
		At:          rapid.Int64Range(0, 1<<50).Draw(t, "at"),
		Kind:        Kind(rapid.IntRange(1, int(lastKind)).Draw(t, "kind")),
		Incarnation: rapid.Uint32().Draw(t, "life"),
		Node:        rapid.SampledFrom([]string{"", "a", "b", "tolaria"}).Draw(t, "node"),
		Peer:        rapid.SampledFrom([]string{"", "a", "c"}).Draw(t, "peer"),
		Text:        rapid.String().Draw(t, "text"),
		Arg:         rapid.Int64().Draw(t, "arg"),
		Data:        rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "data"),
	}
}

func write(t testing.TB, events []Event) ([]byte, Hash) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{Scenario: "s.yaml", RunSeed: 7, Commit: "c"})
	if err != nil {
		t.Fatal(err)
	}
	l := NewLog(w)
	for i := range events {
		e := l.Next(events[i].At, events[i].Kind)
		seq := e.Seq
		*e = events[i]
		e.Seq = seq
		if e.Cause > seq {
			e.Cause = 0
		}
		l.Commit()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), l.Hash()
}

// What is written is read back, and the hash of the file is that of the run.
func TestFileRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		events := rapid.SliceOfN(rapid.Custom(genEvent), 0, 20).Draw(rt, "events")
		b, hash := write(t, events)
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			rt.Fatal(err)
		}
		if r.Scenario != "s.yaml" || r.RunSeed != 7 || r.Commit != "c" {
			rt.Fatalf("header %+v", r.Header)
		}
		for i := range events {
			e, err := r.Next()
			if err != nil {
				rt.Fatalf("event %d: %v", i, err)
			}
			want := events[i]
			want.Seq = uint64(i) + 1
			if d := differing(e, &want); len(d) > 0 {
				rt.Fatalf("event %d differs in %v: %v, want %v", i, d, e, &want)
			}
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			rt.Fatalf("at the end: %v", err)
		}
		if r.Hash() != hash {
			rt.Fatalf("hash %v, want %v", r.Hash(), hash)
		}
	})
}

var threeEvents = []Event{
	{At: 1, Kind: NodeStarted, Node: "a", Incarnation: 1},
	{At: 5, Kind: MessageSent, Node: "a", Peer: "b", Cause: 1, Data: []byte("0123456789abcdef")},
	{At: 9, Kind: MessageDelivered, Node: "a", Peer: "b", Cause: 2, Data: []byte("0123456789abcdef")},
}

// A file with any bit flipped, or cut anywhere, is refused or ends early with
// an error; it never reads as complete.
func TestDamagedFileIsRefused(t *testing.T) {
	b, _ := write(t, threeEvents)
	read := func(b []byte) error {
		r, err := NewReader(bytes.NewReader(b))
		for err == nil {
			_, err = r.Next()
		}
		return err
	}
	if err := read(b); !errors.Is(err, io.EOF) {
		t.Fatalf("the whole file: %v", err)
	}
	for bit := range len(b) * 8 {
		damaged := bytes.Clone(b)
		damaged[bit/8] ^= 1 << (bit % 8)
		var f *FormatError
		if err := read(damaged); !errors.As(err, &f) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
	for n := range b {
		var f *FormatError
		if err := read(b[:n]); !errors.As(err, &f) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestDiffNamesFirstDivergence(t *testing.T) {
	a, _ := write(t, threeEvents)
	for name, tc := range map[string]struct {
		change func([]Event) []Event
		seq    uint64
		field  string
	}{
		"same":    {func(e []Event) []Event { return e }, 0, ""},
		"time":    {func(e []Event) []Event { e[1].At++; return e }, 2, "time"},
		"data":    {func(e []Event) []Event { e[2].Data = []byte("0123456789abcdeX"); return e }, 3, "data"},
		"shorter": {func(e []Event) []Event { return e[:2] }, 3, "length"},
		"longer":  {func(e []Event) []Event { return append(e, Event{At: 9, Kind: RunEnded}) }, 4, "length"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := write(t, tc.change(append([]Event(nil), threeEvents...)))
			ra, _ := NewReader(bytes.NewReader(a))
			rb, _ := NewReader(bytes.NewReader(b))
			d, err := Diff(ra, rb)
			if err != nil {
				t.Fatal(err)
			}
			if tc.seq == 0 {
				if d != nil {
					t.Fatalf("equal traces differ: %v", d)
				}
				return
			}
			if d == nil || d.Seq != tc.seq || d.Fields[0] != tc.field {
				t.Fatalf("got %v, want event %d in %s", d, tc.seq, tc.field)
			}
		})
	}
}

// Each field of an event is part of the hash.
func TestHashCoversEveryField(t *testing.T) {
	base := Event{At: 1, Kind: MessageSent, Incarnation: 2, Cause: 3, Node: "a", Peer: "b", Text: "t", Arg: 4, Data: []byte("abcdefghijkl")}
	sum := func(e Event) Hash { var h Hash; h.add(&e); return h }
	seen := map[Hash]string{sum(base): "base"}
	for name, change := range map[string]func(*Event){
		"at": func(e *Event) { e.At++ }, "kind": func(e *Event) { e.Kind++ },
		"life": func(e *Event) { e.Incarnation++ }, "cause": func(e *Event) { e.Cause++ },
		"node": func(e *Event) { e.Node = "b" }, "peer": func(e *Event) { e.Peer = "a" },
		"text": func(e *Event) { e.Text = "u" }, "arg": func(e *Event) { e.Arg++ },
		"data": func(e *Event) { e.Data = []byte("abcdefghijkm") },
		"swap": func(e *Event) { e.Node, e.Peer = e.Peer, e.Node },
	} {
		e := base
		change(&e)
		if other, dup := seen[sum(e)]; dup {
			t.Errorf("%s hashes like %s", name, other)
		}
		seen[sum(e)] = name
	}
}

func FuzzReader(f *testing.F) {
	b, _ := write(f, threeEvents)
	f.Add(b)
	f.Add(b[:20])
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		for err == nil {
			_, err = r.Next()
		}
		var bad *FormatError
		if !errors.Is(err, io.EOF) && !errors.As(err, &bad) {
			t.Fatalf("an error of another kind: %v", err)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	e := Event{At: 1, Kind: MessageSent, Node: "tolaria", Peer: "kasmina", Data: make([]byte, 197)}
	var h Hash
	for b.Loop() {
		e.At++
		h.add(&e)
	}
}
