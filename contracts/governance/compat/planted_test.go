package compat

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/rules"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// Bugs are planted into copies of the checker's tables, one at a time. Each
// must be seen by the checks that the package has for itself: the agreement on
// the grid, the kinds that the differ finds, and the levels of the policy.

// withoutRule leaves out a rule of one of the two lists.
func withoutRule(name string) func(*rules.Table) {
	return func(t *rules.Table) {
		before := len(t.Fields) + len(t.Messages)
		t.Fields = slices.DeleteFunc(t.Fields, func(r rules.FieldRule) bool { return r.Name == name })
		t.Messages = slices.DeleteFunc(t.Messages, func(r rules.MessageRule) bool { return r.Name == name })
		if len(t.Fields)+len(t.Messages) != before-1 {
			panic("there is no rule " + name)
		}
	}
}

// number changes what the rules know of a kind.
func number(k protoreflect.Kind, change func(*rules.Number)) func(*rules.Table) {
	return func(t *rules.Table) {
		n := t.Numbers[k]
		change(&n)
		t.Numbers[k] = n
	}
}

// softened makes a rule say something milder than it does.
func softened(name string, to exchange.Class) func(*rules.Table) {
	return func(t *rules.Table) {
		for i, r := range t.Fields {
			if r.Name == name {
				t.Fields[i].Judge = func(a *rules.Analysis, w, f rules.Field) exchange.Class { return min(to, r.Judge(a, w, f)) }
			}
		}
	}
}

// only restricts a rule to some fields.
func only(name string, when func(w, r rules.Field) bool) func(*rules.Table) {
	return func(t *rules.Table) {
		for i, r := range t.Fields {
			if r.Name == name {
				t.Fields[i].Judge = func(a *rules.Analysis, w, f rules.Field) exchange.Class {
					if !when(w, f) {
						return exchange.Identical
					}
					return r.Judge(a, w, f)
				}
			}
		}
	}
}

func TestPlantedInTheRules(t *testing.T) {
	found := find(t, witness.Options{Random: 20})
	for name, plant := range map[string]func(*rules.Table){
		"kinds of another wire type forgotten":       withoutRule("wire type"),
		"ranges ignored":                             withoutRule("number range"),
		"an enum is its number only":                 withoutRule("enum names"),
		"UTF-8 ignored":                              withoutRule("text is UTF-8"),
		"any bytes are a message":                    withoutRule("message syntax"),
		"packed payloads all alike":                  withoutRule("packed payload"),
		"a message is no packed list":                withoutRule("message as packed"),
		"the last of many is enough":                 withoutRule("list to singular"),
		"maps may have a key twice":                  withoutRule("list to map"),
		"the relay is not read back":                 withoutRule("singular to packed"),
		"packing ignored":                            withoutRule("packed form"),
		"presence ignored":                           withoutRule("presence"),
		"entries of maps like other messages":        withoutRule("entry form"),
		"nested messages ignored":                    withoutRule("nested"),
		"a renumbering treated as a rename":          withoutRule("same name, other number"),
		"oneofs ignored":                             withoutRule("one of two"),
		"entries keep unknown fields":                withoutRule("lost in an entry"),
		"entries write what was there only":          withoutRule("added by an entry"),
		"sign lost":                                  number(protoreflect.Int32Kind, func(n *rules.Number) { n.Min = 0 }),
		"zigzag ignored":                             number(protoreflect.Sint64Kind, func(n *rules.Number) { n.Encoding = rules.Plain }),
		"truncation ignored":                         number(protoreflect.Int32Kind, func(n *rules.Number) { n.Max = 1 << 62; n.Min = -1 << 63 }),
		"bool as int":                                number(protoreflect.BoolKind, func(n *rules.Number) { n.Min, n.Max = -1<<31, 1<<31-1 }),
		"fixed32 and float confused":                 number(protoreflect.FloatKind, func(n *rules.Number) { n.Encoding = rules.Fixed32 }),
		"fixed64 and double confused":                number(protoreflect.DoubleKind, func(n *rules.Number) { n.Encoding = rules.Fixed64 }),
		"an enum is closed":                          number(protoreflect.EnumKind, func(n *rules.Number) { n.Min, n.Max = 0, 2 }),
		"a kind forgotten":                           func(t *rules.Table) { delete(t.Numbers, protoreflect.Uint32Kind) },
		"parse failures taken for losses":            softened("message syntax", exchange.ValueLossy),
		"a lost value taken for lost presence":       softened("wire type", exchange.PresenceLossy),
		"presence taken for form":                    softened("presence", exchange.Lossless),
		"lists of messages not looked into":          only("nested", func(w, _ rules.Field) bool { return !w.IsList() }),
		"maps not looked into":                       only("nested", func(w, _ rules.Field) bool { return !w.IsMap() }),
		"oneof members not looked into":              only("nested", func(w, _ rules.Field) bool { return w.ContainingOneof() == nil }),
		"enums in lists ignored":                     only("enum names", func(w, _ rules.Field) bool { return !w.IsList() }),
		"presence of oneof members ignored":          only("presence", func(w, _ rules.Field) bool { return w.ContainingOneof() == nil || w.ContainingOneof().IsSynthetic() }),
		"packing of the reader ignored":              only("singular to packed", func(_, r rules.Field) bool { return r.Kind() != protoreflect.EnumKind }),
		"lists of bools are as unreadable as others": only("text is UTF-8", func(w, r rules.Field) bool { return w.Kind() != protoreflect.BytesKind }),
	} {
		table := rules.Default()
		plant(&table)
		if len(disagreements(predict(t, table), found)) == 0 {
			t.Errorf("%s: nothing notices", name)
		}
	}
}

func TestPlantedInTheSearch(t *testing.T) {
	predicted := predict(t, rules.Default())
	for name, plant := range map[string]func(*witness.Checks){
		"fields by number only":     func(c *witness.Checks) { c.Names = false },
		"enums by number only":      func(c *witness.Checks) { c.Enums = false },
		"presence not compared":     func(c *witness.Checks) { c.Presence = false },
		"the relay is not read":     func(c *witness.Checks) { c.Relay = false },
		"unknown fields at the end": func(c *witness.Checks) { c.Order = false },
	} {
		checks := witness.AllChecks()
		plant(&checks)
		if len(disagreements(predicted, find(t, witness.Options{Random: 5, Checks: &checks}))) == 0 {
			t.Errorf("%s: nothing notices", name)
		}
	}
}

func TestPlantedInTheDiffer(t *testing.T) {
	old, new := gridSchemas(t)
	problems := func(l []detector) int {
		d := newDiffer(old, new)
		for _, x := range l {
			x.find(d)
		}
		return len(kindProblems(kindsOf(d.changes)))
	}
	if n := problems(detectors()); n != 0 {
		t.Fatalf("%d problems without a bug", n)
	}
	small := [2]*schema.Schema{
		load(t, "old", map[string]string{"a.proto": "syntax = \"proto3\";\npackage x;\n"}),
		load(t, "new", map[string]string{"a.proto": "syntax = \"proto3\";\npackage x;\n", "b.proto": "syntax = \"proto3\";\npackage x;\n" +
			"import \"google/protobuf/descriptor.proto\";\nextend google.protobuf.FieldOptions { string unit = 50001; }\n"}),
	}
	for _, left := range detectors() {
		if left.name == "files" || left.name == "extensions" {
			// The grid has none of these: one change each, and none without.
			d := newDiffer(small[0], small[1])
			if left.find(d); len(d.changes) != 1 {
				t.Errorf("%s: %v", left.name, d.changes)
			}
			continue
		}
		rest := slices.DeleteFunc(detectors(), func(x detector) bool { return x.name == left.name })
		if problems(rest) == 0 {
			t.Errorf("without %s, nothing notices", left.name)
		}
	}
}

// minor are the kinds that HLD 8.4 allows; all others are forbidden. The table
// is written down a second time on purpose.
var minor = []Kind{FileAdded, PackageAdded, DefinitionMoved, MessageAdded, FieldAdded, EnumAdded, EnumValueAdded,
	ServiceAdded, MethodAdded, ReservationAdded, OptionChanged, ExtensionAdded}

func policyProblems(p Policy) (out []string) {
	all := DefaultPolicy()
	for k := range all {
		c := Change{Kind: k, Package: "x"}
		p.judge(&c, map[string]bool{"x": true})
		want := Major
		if slices.Contains(minor, k) {
			want = Minor
		}
		if c.Level != want || c.Reason == "" || !c.Frozen {
			out = append(out, string(k))
		}
	}
	return out
}

func TestPlantedInThePolicy(t *testing.T) {
	if p := policyProblems(DefaultPolicy()); len(p) != 0 {
		t.Fatalf("without a bug: %v", p)
	}
	for k, rule := range DefaultPolicy() {
		p := DefaultPolicy()
		rule.Level = Major + Minor - rule.Level
		p[k] = rule
		if len(policyProblems(p)) == 0 {
			t.Errorf("%s with the other level: nothing notices", k)
		}
	}
	c := Change{Kind: "never-heard-of"}
	if DefaultPolicy().judge(&c, nil); c.Level != Major {
		t.Error("what no rule knows is allowed")
	}
}

// Bugs in what the differ found, one kind at a time: a change that is not
// reported, or reported as another kind.
func TestPlantedInTheChanges(t *testing.T) {
	old, new := gridSchemas(t)
	d := newDiffer(old, new)
	for _, x := range detectors() {
		x.find(d)
	}
	for name, plant := range map[string]func(Kind) (Kind, bool){
		"a renumbering is a rename":         func(k Kind) (Kind, bool) { return swap(k, FieldRenumbered, FieldRenamed), true },
		"reuse of a number not seen":        func(k Kind) (Kind, bool) { return k, k != ReservedNumberReused },
		"reuse of a name not seen":          func(k Kind) (Kind, bool) { return k, k != ReservedNameReused },
		"a reservation taken back not seen": func(k Kind) (Kind, bool) { return k, k != ReservationRemoved },
		"an inserted value is at the end":   func(k Kind) (Kind, bool) { return swap(k, EnumValueInserted, EnumValueAdded), true },
		"the order of values not seen":      func(k Kind) (Kind, bool) { return k, k != EnumValuesReordered },
		"a map is any field":                func(k Kind) (Kind, bool) { return swap(k, MapFieldAdded, FieldAdded), true },
		"a request is no part of a method":  func(k Kind) (Kind, bool) { return k, k != MethodRequest },
		"a stream is no part of a method":   func(k Kind) (Kind, bool) { return k, k != MethodStreaming },
		"presence is no part of a type":     func(k Kind) (Kind, bool) { return k, k != FieldPresence },
		"packing is no part of a type":      func(k Kind) (Kind, bool) { return k, k != FieldPacked },
		"a oneof is no part of a type":      func(k Kind) (Kind, bool) { return k, k != FieldOneof },
	} {
		var changes []Change
		for _, c := range d.changes {
			if k, ok := plant(c.Kind); ok {
				c.Kind = k
				changes = append(changes, c)
			}
		}
		if len(kindProblems(kindsOf(changes))) == 0 {
			t.Errorf("%s: nothing notices", name)
		}
	}
}

func swap(k, from, to Kind) Kind {
	if k == from {
		return to
	}
	return k
}
