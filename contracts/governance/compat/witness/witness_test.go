package witness_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/rules"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/contracts/internal/everykind"
	"github.com/esper-sim/espersim/contracts/internal/prototest"
)

const sources = `syntax = "proto3";
package x;
enum E { A = 0; B = 1; }
message Old {
  int64 n = 1; bytes b = 2; optional int32 o = 3; repeated sint32 l = 4; map<string, Old> m = 5;
  oneof one { E e = 6; Old in = 7; } double d = 8; float f = 9;
}
message New {
  int32 n = 1; string b = 2; int32 o = 3; repeated sint32 l = 4 [packed = false]; map<string, New> m = 5;
  fixed32 e = 6; New in = 7; double d = 8; float f = 10;
}
`

func types(t testing.TB) (old, new protoreflect.MessageDescriptor) {
	s, err := schema.FromSources("x", map[string]string{"x.proto": sources})
	if err != nil {
		t.Fatal(err)
	}
	return s.Find("x.Old").(protoreflect.MessageDescriptor), s.Find("x.New").(protoreflect.MessageDescriptor)
}

// Whatever bytes are given: no panic, and what was decoded is its own
// canonical relay for a reader of the same schema, as far as protobuf-go reads
// it at all.
func FuzzRead(f *testing.F) {
	for _, b := range [][]byte{
		nil, {8, 5}, {0x12, 1, 0x80}, {0x18, 0}, {0x22, 2, 1, 2}, {0x20, 3}, {0x2a, 4, 10, 0, 0x12, 0},
		{0x30, 1, 0x3a, 0}, {0x3a, 2, 8, 1}, {0x41, 0, 0, 0, 0, 0, 0, 0, 0x80}, {0x4d, 1, 0, 0x80, 0x7f},
		{0x98, 6, 1, 8, 1}, {0x0b, 0x0c}, {8, 0x80}, {0},
	} {
		f.Add(b)
	}
	old, new := types(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, w := range []protoreflect.MessageDescriptor{old, new} {
			m, err := witness.Decode(b, w)
			if err != nil {
				continue
			}
			canonical := witness.Encode(m)
			again, err := witness.Decode(canonical, w)
			if err != nil {
				t.Fatalf("%x is no message any more: %v", canonical, err)
			}
			if back := witness.Encode(again); !bytes.Equal(back, canonical) && !signalling(canonical) {
				t.Fatalf("%x, then %x", canonical, back)
			}
			_ = witness.Text(m)
			for _, r := range []protoreflect.MessageDescriptor{old, new} {
				o := witness.Exchange(m, r)
				if r == w && o.Class != exchange.Identical && !signalling(canonical) {
					t.Fatalf("%x with its own schema: %v at %s", b, o.Class, o.Where)
				}
				_ = witness.Text(o.Seen) + witness.Text(o.Back)
			}
		}
	})
}

// signalling says that some four bytes could be a float32 that dynamicpb
// changes.
func signalling(b []byte) bool {
	for i := 0; i+4 <= len(b); i++ {
		v, _ := protowire.ConsumeFixed32(b[i:])
		if v&0x7fc00000 == 0x7f800000 && v&0x3fffff != 0 {
			return true
		}
	}
	return false
}

// The encoder agrees with the generated canonical codec.
func TestEncodeIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &everykind.Every{}
		prototest.Fill(t, m)
		want := m.AppendCanonical(nil)
		if got := witness.Encode(m.ProtoReflect()); !bytes.Equal(got, want) {
			t.Fatalf("%x, want %x", got, want)
		}
	})
}

// Floats are compared by their bits.
func TestFloats(t *testing.T) {
	old, new := types(t)
	for _, x := range []float64{math.Copysign(0, -1), math.Float64frombits(0x7ff8000000000001)} {
		b := protowire.AppendFixed64(protowire.AppendTag(nil, 8, protowire.Fixed64Type), math.Float64bits(x))
		m, err := witness.Decode(b, old)
		if err != nil {
			t.Fatal(err)
		}
		if o := witness.Exchange(m, new); o.Class != exchange.Identical {
			t.Errorf("%v: %v at %s", x, o.Class, o.Where)
		}
	}
}

func Example() {
	s, err := schema.FromSources("x", map[string]string{"x.proto": sources})
	if err != nil {
		fmt.Println(err)
		return
	}
	old, new := s.Find("x.Old").(protoreflect.MessageDescriptor), s.Find("x.New").(protoreflect.MessageDescriptor)
	r := witness.Search(old, new, exchange.Scope{Fields: []protoreflect.FieldNumber{1}}, witness.Options{Random: 10, Shrink: true})
	fmt.Println(r.Class)
	fmt.Println(witness.Text(r.Outcome.Written), "is seen as", witness.Text(r.Outcome.Seen))
	fmt.Println(rules.New(rules.Default()).Message(old, new, exchange.Scope{Fields: []protoreflect.FieldNumber{1}}))
	// Output:
	// value-lossy
	// {n: 2147483648} is seen as {n: -2147483648}
	// value-lossy
}
