package dynamic

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/contracts/internal/everykind"
	"github.com/esper-sim/espersim/contracts/internal/protorand"
	"github.com/esper-sim/espersim/contracts/wire"
)

// By reflection the reason, the place and the field are those that generated
// code gives, for every message type and all kinds of damage.
func TestDeviationIsThatOfGeneratedCode(t *testing.T) {
	s, err := schema.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	makers := []func() canon.Message{func() canon.Message { return new(everykind.Every) }}
	for _, m := range s.Messages() {
		makers = append(makers, func() canon.Message { return wire.New(string(m.FullName())) })
	}
	r := protorand.Rand(6, 6)
	reasons := map[canon.Reason]bool{}
	for n := range 15000 {
		newMessage := makers[0]
		if n%2 == 0 {
			newMessage = makers[n/2%len(makers)]
		}
		m := newMessage()
		d := m.ProtoReflect().Descriptor()
		protorand.Fill(r, m.ProtoReflect(), 8)
		b := m.AppendCanonical(nil)
		protorand.Signal(b)
		b, _ = protorand.Damage(r, d, b)
		var want *canon.Error
		if err := newMessage().ParseCanonical(bytes.Clone(b)); err != nil && !errors.As(err, &want) {
			t.Fatal(err)
		}
		got := Deviation(d, b)
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Fatalf("%s: %x: %v, generated code says %v", d.FullName(), b, got, want)
		}
		if want != nil {
			reasons[want.Reason] = true
			if Explain(d, b) == "" {
				t.Error("no explanation")
			}
		}
	}
	for r := canon.Truncated; r <= canon.Group; r++ {
		if !reasons[r] {
			t.Errorf("no input was refused for the reason %q", r)
		}
	}
}

func TestExplain(t *testing.T) {
	s, err := schema.FromSources("test", map[string]string{"a.proto": `syntax = "proto3";
package x;
message A { int32 n = 1; repeated A more = 2; map<string, int32> m = 3; string s = 4; }
`})
	if err != nil {
		t.Fatal(err)
	}
	d := s.Find("x.A").(protoreflect.MessageDescriptor)
	for in, want := range map[string]string{
		"0801":                 "",
		"1200" + "12020800":    "A.more[1].n at byte 5: default value is written",
		"12040801" + "0802":    "A.more[0].n at byte 4: field is there more than once",
		"1a050a01611001":       "",
		"2201ff":               "A.s at byte 2: text is not UTF-8",
		"0a00":                 "A.n at byte 0: wrong wire type",
		"2205":                 "A.s at byte 1: truncated",
		"280100":               "A.#5 at byte 0: unknown field",
		"0801" + "00":          "A at byte 2: invalid field number",
		"0801" + "1200" + "08": "A.n at byte 4: field is there more than once",
	} {
		b, _ := hex.DecodeString(in) // literals
		if got := Explain(d, b); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestFieldAt(t *testing.T) {
	d := new(everykind.Every).ProtoReflect().Descriptor()
	m := &everykind.Every{AnInt32: 300, Inner: &everykind.Inner{S: new(string)}, Strings: []string{"a", "bc"}, Int32S: []int32{1, 2}}
	b := m.AppendCanonical(nil)
	want := []string{"an_int32", "an_int32", "an_int32", "inner", "inner", "inner", "inner.s", "inner.s",
		"int32s", "int32s", "int32s", "int32s", "int32s", "strings[0]", "strings[0]", "strings[0]", "strings[0]",
		"strings[1]", "strings[1]", "strings[1]", "strings[1]", "strings[1]"}
	if len(b) != len(want) {
		t.Fatalf("%x", b)
	}
	for i, w := range want {
		if got := FieldAt(d, b, i); got != "Every."+w {
			t.Errorf("byte %d: %s, want Every.%s", i, got, w)
		}
	}
	if got := FieldAt(d, b, len(b)); got != "Every" {
		t.Error(got)
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", -1}, {"a", "a", -1}, {"a", "b", 0}, {"ab", "a", 1}, {"", "a", 0}} {
		if got := FirstDifference([]byte(c.a), []byte(c.b)); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
