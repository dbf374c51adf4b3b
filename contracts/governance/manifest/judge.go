package manifest

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// A Verdict is what a change of a schema asks of its version.
type Verdict int

// The verdicts, the lightest first.
const (
	None  Verdict = iota // nothing changed
	Minor                // additions: the minor version rises
	Major                // a new package, .vN+1
)

func (v Verdict) String() string {
	switch v {
	case None:
		return "none"
	case Minor:
		return "minor"
	case Major:
		return "major"
	}
	return fmt.Sprintf("Verdict(%d)", int(v))
}

// A Judge says what the change from one schema to another asks for, and why:
// one line for each change, those that ask for most first.
type Judge func(old, new *schema.Schema) (Verdict, []string, error)

// Structure is a Judge that compares descriptors: additions are minor, all
// else is major, whether or not a byte would differ (HLD section 8.4).
func Structure(old, new *schema.Schema) (Verdict, []string, error) {
	c := &comparison{old: old, new: new}
	for _, m := range old.Messages() {
		if n, ok := new.Find(m.FullName()).(protoreflect.MessageDescriptor); ok {
			c.message(m, n)
		} else {
			c.breaks("the message %s is gone", m.FullName())
		}
	}
	for _, e := range old.Enums() {
		if n, ok := new.Find(e.FullName()).(protoreflect.EnumDescriptor); ok {
			c.enum(e, n)
		} else {
			c.breaks("the enum %s is gone", e.FullName())
		}
	}
	for _, s := range old.Services() {
		if n, ok := new.Find(s.FullName()).(protoreflect.ServiceDescriptor); ok {
			c.service(s, n)
		} else {
			c.breaks("the service %s is gone", s.FullName())
		}
	}
	for _, m := range new.Messages() {
		if old.Find(m.FullName()) == nil {
			c.adds("the message %s is new", m.FullName())
			c.newMaps(m)
		}
	}
	for _, e := range new.Enums() {
		if old.Find(e.FullName()) == nil {
			c.adds("the enum %s is new", e.FullName())
		}
	}
	for _, s := range new.Services() {
		if old.Find(s.FullName()) == nil {
			c.adds("the service %s is new", s.FullName())
		}
	}
	c.extensions()
	switch {
	case len(c.major) > 0:
		return Major, append(c.major, c.minor...), nil
	case len(c.minor) > 0:
		return Minor, c.minor, nil
	}
	a, err := schema.Hash(old.DescriptorSet())
	if err != nil {
		return None, nil, err
	}
	b, err := schema.Hash(new.DescriptorSet())
	if err != nil {
		return None, nil, err
	}
	if a != b { // the manifest's hash sees it, so a version must
		return Minor, []string{"options, imports or file names changed"}, nil
	}
	return None, nil, nil
}

type comparison struct {
	old, new     *schema.Schema
	major, minor []string
}

func (c *comparison) breaks(format string, args ...any) {
	c.major = append(c.major, fmt.Sprintf(format, args...))
}

func (c *comparison) adds(format string, args ...any) {
	c.minor = append(c.minor, fmt.Sprintf(format, args...))
}

func (c *comparison) message(a, b protoreflect.MessageDescriptor) {
	for i := range a.Fields().Len() {
		f := a.Fields().Get(i)
		g := b.Fields().ByNumber(f.Number())
		if g == nil {
			c.breaks("%s = %d is gone", f.FullName(), f.Number())
			continue
		}
		if was, is := describe(f), describe(g); was != is {
			c.breaks("%s.%d was %s, and is %s", a.FullName(), f.Number(), was, is)
		}
	}
	for i := range b.Fields().Len() {
		g := b.Fields().Get(i)
		if a.Fields().ByNumber(g.Number()) != nil {
			continue
		}
		switch {
		case g.IsMap():
			c.breaks("%s is a new map", g.FullName())
		case a.ReservedRanges().Has(g.Number()):
			c.breaks("%s takes the reserved number %d", g.FullName(), g.Number())
		case a.ReservedNames().Has(g.Name()):
			c.breaks("%s takes a reserved name", g.FullName())
		default:
			c.adds("%s = %d is new", g.FullName(), g.Number())
		}
	}
	for i := range a.ReservedRanges().Len() {
		r := a.ReservedRanges().Get(i) // [from, to)
		if !covered(r[0], r[1]-1, b.ReservedRanges().Len(), func(i int) (protoreflect.FieldNumber, protoreflect.FieldNumber) {
			return b.ReservedRanges().Get(i)[0], b.ReservedRanges().Get(i)[1] - 1
		}) {
			c.breaks("%s no longer reserves %d to %d", a.FullName(), r[0], r[1]-1)
		}
	}
	for i := range a.ReservedNames().Len() {
		if n := a.ReservedNames().Get(i); !b.ReservedNames().Has(n) {
			c.breaks("%s no longer reserves %q", a.FullName(), n)
		}
	}
}

// covered says whether the ranges hold every number from lo to hi.
func covered[N protoreflect.FieldNumber | protoreflect.EnumNumber](lo, hi N, n int, get func(int) (N, N)) bool {
	for at := int64(lo); at <= int64(hi); {
		next := at
		for i := range n {
			if from, to := get(i); int64(from) <= at && at <= int64(to) {
				next = int64(to) + 1
			}
		}
		if next == at {
			return false
		}
		at = next
	}
	return true
}

// describe is all of a field that a reader or a program depends on.
func describe(f protoreflect.FieldDescriptor) string {
	s := f.Cardinality().String() + " " + f.Kind().String()
	switch {
	case f.IsMap():
		s = fmt.Sprintf("map of %s to %s", describe(f.MapKey()), describe(f.MapValue()))
	case f.Message() != nil:
		s += " " + string(f.Message().FullName())
	case f.Enum() != nil:
		s += " " + string(f.Enum().FullName())
	}
	s += " " + string(f.Name())
	if f.HasPresence() {
		s += " with presence"
	}
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		s += " of oneof " + string(o.Name())
	}
	if f.IsList() && !f.IsPacked() && f.Message() == nil {
		s += " unpacked"
	}
	if f.HasJSONName() && !f.IsExtension() {
		s += " (" + f.JSONName() + ")"
	}
	return s
}

func (c *comparison) enum(a, b protoreflect.EnumDescriptor) {
	last := protoreflect.EnumNumber(0)
	for i := range a.Values().Len() {
		v := a.Values().Get(i)
		last = max(last, v.Number())
		switch w := b.Values().ByName(v.Name()); {
		case w == nil && b.Values().ByNumber(v.Number()) != nil:
			c.breaks("%s = %d is renamed to %s", v.FullName(), v.Number(), b.Values().ByNumber(v.Number()).Name())
		case w == nil:
			c.breaks("%s = %d is gone", v.FullName(), v.Number())
		case w.Number() != v.Number():
			c.breaks("%s was %d, and is %d", v.FullName(), v.Number(), w.Number())
		case w.Index() != i && b.Values().Len() > i && a.Values().ByName(b.Values().Get(i).Name()) != nil:
			c.breaks("the values of %s are in another order", a.FullName())
			return
		}
	}
	for i := range b.Values().Len() {
		w := b.Values().Get(i)
		switch {
		case a.Values().ByName(w.Name()) != nil || a.Values().ByNumber(w.Number()) != nil:
		case w.Number() < last:
			c.breaks("%s = %d is new and not at the end", w.FullName(), w.Number())
		case a.ReservedRanges().Has(w.Number()), a.ReservedNames().Has(w.Name()):
			c.breaks("%s = %d was reserved", w.FullName(), w.Number())
		default:
			c.adds("%s = %d is new", w.FullName(), w.Number())
		}
	}
	for i := range a.ReservedRanges().Len() {
		r := a.ReservedRanges().Get(i) // [from, to]
		if !covered(r[0], r[1], b.ReservedRanges().Len(), func(i int) (protoreflect.EnumNumber, protoreflect.EnumNumber) {
			return b.ReservedRanges().Get(i)[0], b.ReservedRanges().Get(i)[1]
		}) {
			c.breaks("%s no longer reserves %d to %d", a.FullName(), r[0], r[1])
		}
	}
	for i := range a.ReservedNames().Len() {
		if n := a.ReservedNames().Get(i); !b.ReservedNames().Has(n) {
			c.breaks("%s no longer reserves %q", a.FullName(), n)
		}
	}
}

func (c *comparison) service(a, b protoreflect.ServiceDescriptor) {
	call := func(m protoreflect.MethodDescriptor) string {
		return fmt.Sprintf("(%s, stream %v) returns (%s, stream %v)", m.Input().FullName(), m.IsStreamingClient(), m.Output().FullName(), m.IsStreamingServer())
	}
	for i := range a.Methods().Len() {
		m := a.Methods().Get(i)
		switch n := b.Methods().ByName(m.Name()); {
		case n == nil:
			c.breaks("the method %s is gone", m.FullName())
		case call(n) != call(m):
			c.breaks("%s was %s, and is %s", m.FullName(), call(m), call(n))
		}
	}
	for i := range b.Methods().Len() {
		if m := b.Methods().Get(i); a.Methods().ByName(m.Name()) == nil {
			c.adds("the method %s is new", m.FullName())
		}
	}
}

// extensions compares the fields that the files add to other messages.
func (c *comparison) extensions() {
	was, is := extensions(c.old), extensions(c.new)
	for _, name := range slices.Sorted(maps.Keys(was)) {
		switch now, ok := is[name]; {
		case !ok:
			c.breaks("the extension %s is gone", name)
		case now != was[name]:
			c.breaks("the extension %s was %s, and is %s", name, was[name], now)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if _, ok := was[name]; !ok {
			c.adds("the extension %s is new", name)
		}
	}
}

// extensions describes a schema's extensions, by full name.
func extensions(s *schema.Schema) map[protoreflect.FullName]string {
	all := map[protoreflect.FullName]string{}
	add := func(list protoreflect.ExtensionDescriptors) {
		for i := range list.Len() {
			x := list.Get(i)
			all[x.FullName()] = fmt.Sprintf("%d of %s: %s", x.Number(), x.ContainingMessage().FullName(), describe(x))
		}
	}
	for _, f := range s.Files {
		add(f.Extensions())
	}
	for _, m := range s.Messages() {
		add(m.Extensions())
	}
	return all
}

// newMaps finds the maps of a new message: they are on the list of what is
// forbidden.
func (c *comparison) newMaps(m protoreflect.MessageDescriptor) {
	for i := range m.Fields().Len() {
		if f := m.Fields().Get(i); f.IsMap() {
			c.breaks("%s is a new map", f.FullName())
		}
	}
}

var _ Judge = Structure
