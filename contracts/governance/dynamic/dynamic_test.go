package dynamic

import (
	"bytes"
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/contracts/internal/everykind"
	"github.com/esper-sim/espersim/contracts/internal/prototest"
)

// Reflection and generated code write the same bytes and accept the same.
func TestAgreesWithGeneratedCode(t *testing.T) {
	d := new(everykind.Every).ProtoReflect().Descriptor()
	rapid.Check(t, func(t *rapid.T) {
		m := new(everykind.Every)
		prototest.Fill(t, m)
		want := m.AppendCanonical(nil)
		if got := Encode(m.ProtoReflect()); !bytes.Equal(got, want) {
			t.Fatalf("encoded\n%x, generated code has\n%x", got, want)
		}
		b := bytes.Clone(want)
		if len(b) > 0 && rapid.Bool().Draw(t, "mutate") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		err := new(everykind.Every).ParseCanonical(b)
		x, dynamicErr := Accept(d, b)
		// dynamicpb makes a quiet NaN of a signalling float32.
		if dynamicErr != nil && err == nil && quieted(b) {
			return
		}
		if (err == nil) != (dynamicErr == nil) {
			t.Fatalf("%x: generated code says %v, reflection %v", b, err, dynamicErr)
		}
		if x != nil && !bytes.Equal(Encode(x), b) {
			t.Fatalf("%x comes back as %x", b, Encode(x))
		}
	})
}

// quieted says whether a signalling float32 NaN may stand in b.
func quieted(b []byte) bool {
	for i := range b {
		if i >= 3 && b[i]&0x7f == 0x7f && b[i-1]&0xc0 == 0x80 {
			return true
		}
	}
	return false
}

func TestUnknownFieldsAndMaps(t *testing.T) {
	s, err := schema.FromSources("test", map[string]string{"a.proto": `syntax = "proto3";
package x;
message A { int32 a = 1; map<string, int32> m = 3; A c = 5; bytes z = 9; }
`})
	if err != nil {
		t.Fatal(err)
	}
	d := s.Find("x.A").(protoreflect.MessageDescriptor)
	for in, want := range map[string]string{
		"4a0161" + "2001" + "0807":      "0807" + "2001" + "4a0161", // unknown 4 goes to its place
		"1a050a01621002" + "1a030a0161": "1a050a01611000" + "1a050a01621002",
		"2a04" + "10020801":             "2a04" + "08011002",
		"0d01000000":                    "0d01000000", // a known number, another wire type
		"":                              "",
		"4a00":                          "",
		"2001" + "2002":                 "20012002",
		"23" + "2801" + "24" + "0801":   "0801" + "23" + "2801" + "24",
	} {
		b, _ := hex.DecodeString(in) // literals
		m, err := Decode(d, b)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := hex.EncodeToString(Encode(m)); got != want {
			t.Errorf("%s: encoded %s, want %s", in, got, want)
		}
	}
	for _, refused := range []string{"2001", "0d01000000", "0800", "088100", "07"} {
		b, _ := hex.DecodeString(refused) // literals
		if _, err := Accept(d, b); err == nil {
			t.Errorf("%s is accepted", refused)
		}
	}
}

// A descriptor is a message, too: one with nested lists and no float.
func TestDescriptors(t *testing.T) {
	m := &descriptorpb.FileDescriptorProto{Name: proto.String("a"), Dependency: []string{"b", "c"}}
	b := Encode(m.ProtoReflect())
	back := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(b, back); err != nil || !proto.Equal(m, back) {
		t.Errorf("%v, %v", back, err)
	}
}
