package protorand

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-sim/espersim/contracts/internal/everykind"
)

// A seed gives the same messages and damages again, another seed others, and
// every field is set in some message.
func TestDeterminism(t *testing.T) {
	d := new(everykind.Every).ProtoReflect().Descriptor()
	generate := func(seed uint64) (out []byte) {
		r := Rand(seed, 1)
		for range 200 {
			m := new(everykind.Every)
			Fill(r, m.ProtoReflect(), 8)
			b, name := Damage(r, d, m.AppendCanonical(nil))
			out = append(append(out, b...), name...)
		}
		return out
	}
	if !bytes.Equal(generate(1), generate(1)) {
		t.Error("the same seed gives other messages")
	}
	if bytes.Equal(generate(1), generate(2)) {
		t.Error("another seed gives the same messages")
	}
}

func TestFillReachesEveryField(t *testing.T) {
	r := Rand(1, 1)
	seen := map[string]bool{}
	d := new(everykind.Every).ProtoReflect().Descriptor()
	signals := 0
	for range 2000 {
		m := new(everykind.Every)
		Fill(r, m.ProtoReflect(), 8)
		for i := range d.Fields().Len() {
			if f := d.Fields().Get(i); m.ProtoReflect().Has(f) {
				seen[string(f.Name())] = true
			}
		}
		b := m.AppendCanonical(nil)
		if Signal(b) {
			signals++
		}
		back := new(everykind.Every)
		if err := back.ParseCanonical(b); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if again := back.AppendCanonical(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x comes back as %x", b, again)
		}
	}
	for i := range d.Fields().Len() {
		if name := string(d.Fields().Get(i).Name()); !seen[name] {
			t.Errorf("%s is never set", name)
		}
	}
	if signals == 0 {
		t.Error("no signalling NaN")
	}
}

// A shuffled encoding is another encoding of the same message.
func TestShuffle(t *testing.T) {
	r := Rand(2, 1)
	d := new(everykind.Every).ProtoReflect().Descriptor()
	differ := 0
	for range 500 {
		m := new(everykind.Every)
		Fill(r, m.ProtoReflect(), 8)
		b := m.AppendCanonical(nil)
		s := Shuffle(r, d, b)
		if !bytes.Equal(s, b) {
			differ++
		}
		back := new(everykind.Every)
		if err := proto.Unmarshal(s, back); err != nil {
			t.Fatal(err)
		}
		if again := back.AppendCanonical(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x comes back as\n%x, not\n%x", s, again, b)
		}
	}
	if differ < 200 {
		t.Errorf("%d of 500 are in another order", differ)
	}
}
