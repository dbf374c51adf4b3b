package compat

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

func (d *differ) enums() {
	for _, e := range outermost(d.old.Enums(), func(x protoreflect.Descriptor) bool { return own(d.new, x) == nil }) {
		d.add(EnumRemoved, d.old, e, fmt.Sprintf("enum %s is gone", e.FullName()))
	}
	for _, e := range outermost(d.new.Enums(), func(x protoreflect.Descriptor) bool { return own(d.old, x) == nil }) {
		d.add(EnumAdded, d.new, e, fmt.Sprintf("enum %s is new", e.FullName()))
	}
	for _, p := range d.enumPairs {
		d.enum(p.old, p.new)
	}
}

// enum compares the values of one enum. They are matched by name, and by
// number where neither side has the other's name.
func (d *differ) enum(old, new protoreflect.EnumDescriptor) {
	highest := old.Values().Get(0).Number()
	for i := range old.Values().Len() {
		highest = max(highest, old.Values().Get(i).Number())
	}
	note := func(c *Change, numbers ...protoreflect.EnumNumber) {
		c.where = d.use(old, new, numbers)
	}
	renamed := map[protoreflect.Name]bool{}
	for i := range old.Values().Len() {
		o := old.Values().Get(i)
		n := new.Values().ByName(o.Name())
		if n != nil {
			if n.Number() != o.Number() {
				note(d.add(EnumValueRenumbered, d.new, n, fmt.Sprintf("enum value %s = %d had number %d", n.FullName(), n.Number(), o.Number())),
					o.Number(), n.Number())
			}
			continue
		}
		for j := range new.Values().Len() {
			v := new.Values().Get(j)
			if v.Number() == o.Number() && old.Values().ByName(v.Name()) == nil && !renamed[v.Name()] {
				n = v
				break
			}
		}
		if n != nil {
			renamed[n.Name()] = true
			note(d.add(EnumValueRenamed, d.new, n, fmt.Sprintf("enum value %s = %d was called %s", n.FullName(), n.Number(), o.Name())), o.Number())
			continue
		}
		c := d.add(EnumValueRemoved, d.old, o, fmt.Sprintf("enum value %s = %d is gone", o.FullName(), o.Number()))
		if !new.ReservedRanges().Has(o.Number()) || !new.ReservedNames().Has(o.Name()) {
			c.Reason = fmt.Sprintf("; with the next major version, remove it and write: reserved %d; reserved %q;", o.Number(), o.Name())
		}
		note(c, o.Number())
		c.where.oldNote = "enums are open: the reader keeps the number, and has no name for it"
	}
	for i := range new.Values().Len() {
		n := new.Values().Get(i)
		if old.Values().ByName(n.Name()) != nil || renamed[n.Name()] {
			continue
		}
		kind, reason := EnumValueAdded, ""
		if n.Number() <= highest {
			kind, reason = EnumValueInserted, fmt.Sprintf(" (%d)", highest)
		}
		c := d.add(kind, d.new, n, fmt.Sprintf("enum value %s = %d is new", n.FullName(), n.Number()))
		c.Reason = reason
		note(c, n.Number())
		c.where.newNote = "enums are open: the reader keeps the number, and has no name for it"
	}
	if order(old, new) != order(new, old) {
		c := d.add(EnumValuesReordered, d.new, new, fmt.Sprintf("enum %s declares its values in the order %s, declared them as %s",
			new.FullName(), order(new, old), order(old, new)))
		note(c, []protoreflect.EnumNumber{}...)
	}
}

// order is the names that both enums have with one number, as e declares them.
func order(e, other protoreflect.EnumDescriptor) string {
	var l []protoreflect.Name
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		if o := other.Values().ByName(v.Name()); o != nil && o.Number() == v.Number() {
			l = append(l, v.Name())
		}
	}
	return joined(l)
}

// use is a message with a field of the enum: one whose field is otherwise
// unchanged, if there is one. The messages that are tried have the numbers
// that changed and no others.
func (d *differ) use(old, new protoreflect.EnumDescriptor, numbers []protoreflect.EnumNumber) location {
	if len(numbers) == 0 {
		return location{note: "no number and no name changed"}
	}
	best := location{note: "no message has a field of this enum"}
	for _, p := range d.messagePairs {
		var at, rest []protoreflect.FieldNumber
		for i := range p.old.Fields().Len() {
			f := p.old.Fields().Get(i)
			g := p.new.Fields().ByNumber(f.Number())
			if g == nil || !uses(f, old) || !uses(g, new) {
				continue
			}
			if g.Name() == f.Name() && g.HasPresence() == f.HasPresence() && g.Cardinality() == f.Cardinality() &&
				g.IsPacked() == f.IsPacked() && f.IsMap() == g.IsMap() && (oneof(f) == nil) == (oneof(g) == nil) {
				at = append(at, f.Number())
			} else {
				rest = append(rest, f.Number())
			}
		}
		switch {
		case len(at) > 0:
			s := exchange.Scope{Fields: at, Numbers: slices.Compact(numbers)}
			return location{old: p.old, new: p.new, oldScope: s, newScope: s}
		case len(rest) > 0 && best.old == nil:
			s := exchange.Scope{Fields: rest, Numbers: slices.Compact(numbers)}
			best = location{old: p.old, new: p.new, oldScope: s, newScope: s}
		}
	}
	return best
}

func uses(f protoreflect.FieldDescriptor, e protoreflect.EnumDescriptor) bool {
	if f.IsMap() {
		f = f.MapValue()
	}
	return f.Enum() != nil && f.Enum().FullName() == e.FullName()
}
