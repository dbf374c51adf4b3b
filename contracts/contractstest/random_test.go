package contractstest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/governance/compat"
	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/rules"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// A random message of every type of this project is its own canonical relay.
func TestMessage(t *testing.T) {
	s, err := schema.Load("..")
	if err != nil {
		t.Fatal(err)
	}
	types := s.Messages()
	if len(types) < 100 {
		t.Fatalf("%d types", len(types))
	}
	rapid.Check(t, func(t *rapid.T) {
		d := types[rapid.IntRange(0, len(types)-1).Draw(t, "type")]
		m := Message(d).Draw(t, "message")
		if o := witness.Exchange(m.ProtoReflect(), d); o.Class != exchange.Identical {
			t.Fatalf("%s: %v at %s: %v", d.FullName(), o.Class, o.Where, m)
		}
	})
}

// Every boundary of every kind is reached, and so is presence, both ways.
func TestMessageIsVaried(t *testing.T) {
	s, err := schema.FromSources("x", one("message A { int64 n = 1; optional bool b = 2; repeated string s = 3; map<int32, A> m = 4; oneof o { float f = 5; A a = 6; } }"))
	if err != nil {
		t.Fatal(err)
	}
	d := s.Find("x.v1.A").(protoreflect.MessageDescriptor)
	seen := map[string]bool{}
	// Examples by number, and many: which ones a check draws is chance.
	messages := Message(d)
	for k := range 2000 {
		m := messages.Example(k).ProtoReflect()
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			seen[string(f.Name())] = true
			if f.Name() == "n" && v.Int() == 1<<31 {
				seen["2147483648"] = true
			}
			if f.Name() == "b" && !v.Bool() {
				seen["false, set"] = true
			}
			return true
		})
	}
	for _, want := range []string{"n", "b", "s", "m", "f", "a", "2147483648", "false, set"} {
		if !seen[want] {
			t.Errorf("never seen: %s", want)
		}
	}
}

// The generator's evolutions are valid schemas, and the whole checker agrees
// with itself on them: a report whose messages are clean has no lossy change.
func TestEvolution(t *testing.T) {
	taken := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		s := Evolution().Draw(t, "evolution")
		for _, text := range s.Taken {
			word, _, _ := strings.Cut(text, " ")
			taken[word] = true
		}
		old, new, err := s.Schemas()
		if err != nil {
			t.Fatal(err)
		}
		checker := compat.New()
		checker.Search = witness.Options{Random: 3, Shrink: true}
		r := checker.Compare(old, new)
		if len(r.Changes) > 0 && len(s.Taken) == 0 {
			t.Fatalf("changes without a step: %v", r.Changes)
		}
		lossy := false
		for _, m := range r.Messages {
			for _, e := range []compat.Evidence{m.OldToNew, m.NewToOld} {
				lossy = lossy || !e.Class.Clean()
				if e.Rules != e.Found {
					t.Fatalf("%s: the rules say %v, the search says %v", m.Message, e.Rules, e.Found)
				}
				if e.Witness != nil && e.Witness.Size > 160 {
					t.Fatalf("%s: a witness of %d bytes: %s", m.Message, e.Witness.Size, e.Witness.Written)
				}
			}
		}
		for _, c := range r.Changes {
			if (!c.OldToNew.Class.Clean() || !c.NewToOld.Class.Clean()) && !lossy {
				t.Fatalf("%s loses something, and no message does", c.Text)
			}
		}
	})
	for _, want := range []string{"add", "remove", "rename", "renumber", "retype", "make", "move", "swap"} {
		if !taken[want] {
			t.Errorf("no step was to %s", want)
		}
	}
}

// A bug planted in the rules is noticed by evolutions, too, without the grid.
func TestPlantedBugsAreNoticed(t *testing.T) {
	for _, rule := range []string{"wire type", "number range", "enum names", "presence", "nested", "packed form",
		"list to singular", "same name, other number", "one of two"} {
		table := rules.Default()
		table.Fields = slices.DeleteFunc(table.Fields, func(r rules.FieldRule) bool { return r.Name == rule })
		table.Messages = slices.DeleteFunc(table.Messages, func(r rules.MessageRule) bool { return r.Name == rule })
		noticed := false
		for i := uint64(0); i < 2000 && !noticed; i++ {
			noticed = len(disagreements(t, evolve(seed(i)), table, map[exchange.Class]int{})) > 0
		}
		if !noticed {
			t.Errorf("without the rule %q, nothing notices", rule)
		}
	}
}

// Messages of the generator and their bytes mean the same to protobuf-go.
func TestMessageRoundTrip(t *testing.T) {
	s, err := schema.Load("..")
	if err != nil {
		t.Fatal(err)
	}
	d := s.Find("esper.adaptation.v2.AdaptationCommand").(protoreflect.MessageDescriptor)
	rapid.Check(t, func(t *rapid.T) {
		m := Message(d).Draw(t, "message")
		b := witness.Encode(m.ProtoReflect())
		back, err := witness.Decode(b, d)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(witness.Encode(back), b) || !proto.Equal(back.Interface(), m) {
			t.Fatalf("%x is read as %s, was %s", b, witness.Text(back), witness.Text(m.ProtoReflect()))
		}
	})
}
