package compat

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

func (d *differ) fields() {
	for _, p := range d.messagePairs {
		d.message(p.old, p.new)
	}
}

// message compares the fields of one message. They are matched by number
// first: the same number under another name is a rename, the same name under
// another number a renumbering. Where both could be said, as when two fields
// swap their numbers, it is a renumbering: the name says what is meant.
func (d *differ) message(old, new protoreflect.MessageDescriptor) {
	matched := map[protoreflect.FieldNumber]bool{} // of new
	for i := range old.Fields().Len() {
		o := old.Fields().Get(i)
		n := new.Fields().ByName(o.Name())
		if n == nil {
			if n = new.Fields().ByNumber(o.Number()); n != nil && old.Fields().ByName(n.Name()) != nil {
				n = nil // that one was renumbered to here
			}
		}
		if n == nil {
			c := d.add(FieldRemoved, d.old, o, fmt.Sprintf("field %s = %d is gone", o.FullName(), o.Number()))
			c.Reason = missingReservation(o, new)
			c.where = d.scope(old, new, o, nil)
			c.where.oldNote = "the reader does not see the field, and keeps it as an unknown one"
			continue
		}
		matched[n.Number()] = true
		d.field(old, new, o, n)
	}
	for i := range new.Fields().Len() {
		n := new.Fields().Get(i)
		if matched[n.Number()] {
			continue
		}
		kind, text := FieldAdded, fmt.Sprintf("field %s %s = %d is new", typeName(n), n.FullName(), n.Number())
		if n.IsMap() {
			kind = MapFieldAdded
		}
		c := d.add(kind, d.new, n, text)
		c.where = d.scope(old, new, nil, n)
		c.where.newNote = "the reader does not see the field, and keeps it as an unknown one"
	}
	for i := range old.Oneofs().Len() {
		o := old.Oneofs().Get(i)
		if o.IsSynthetic() || new.Oneofs().ByName(o.Name()) != nil {
			continue
		}
		if n := renamedOneof(o, new); n != nil && old.Oneofs().ByName(n.Name()) == nil {
			c := d.add(OneofRenamed, d.new, n, fmt.Sprintf("oneof %s is now called %s", o.FullName(), n.Name()))
			c.where = d.scope(old, new, o.Fields().Get(0), n.Fields().Get(0))
			c.where.oldScope.Shallow, c.where.newScope.Shallow = true, true
		}
	}
}

// renamedOneof is the oneof of new that has the same fields.
func renamedOneof(o protoreflect.OneofDescriptor, new protoreflect.MessageDescriptor) protoreflect.OneofDescriptor {
	var found protoreflect.OneofDescriptor
	for i := range o.Fields().Len() {
		n := new.Fields().ByName(o.Fields().Get(i).Name())
		if n == nil {
			continue
		}
		to := oneof(n)
		if to == nil || found != nil && to != found {
			return nil
		}
		found = to
	}
	return found
}

// missingReservation says what to reserve for a field that was removed.
func missingReservation(o protoreflect.FieldDescriptor, new protoreflect.MessageDescriptor) string {
	var lack string
	if !new.ReservedRanges().Has(o.Number()) && new.Fields().ByNumber(o.Number()) == nil {
		lack = fmt.Sprintf("reserved %d;", o.Number())
	}
	if !new.ReservedNames().Has(o.Name()) {
		if lack != "" {
			lack += " "
		}
		lack += fmt.Sprintf("reserved %q;", o.Name())
	}
	if lack == "" {
		return ", not even with its number and name reserved: mark it deprecated, and remove it with the next major version"
	}
	return "; with the next major version, remove it and write: " + lack
}

func (d *differ) field(old, new protoreflect.MessageDescriptor, o, n protoreflect.FieldDescriptor) {
	note := func(kind Kind, shallow bool, format string, args ...any) {
		c := d.add(kind, d.new, n, fmt.Sprintf("field %s ", n.FullName())+fmt.Sprintf(format, args...))
		c.where = d.scope(old, new, o, n)
		c.where.oldScope.Shallow, c.where.newScope.Shallow = shallow, shallow
	}
	// What is within a type that kept its name is that type's own change.
	same := typeName(o) == typeName(n) || !o.IsMap() && !n.IsMap() && elementName(o) == elementName(n)
	if o.Number() != n.Number() {
		note(FieldRenumbered, same, "has number %d, had %d", n.Number(), o.Number())
	}
	if o.Name() != n.Name() {
		note(FieldRenamed, same, "was called %s", o.Name())
	}
	switch {
	case o.IsMap() && n.IsMap():
		if typeName(o) != typeName(n) {
			note(FieldType, false, "is a %s, was a %s", typeName(n), typeName(o))
		}
		return
	case o.IsMap() || n.IsMap():
		note(FieldCardinality, false, "is %s, was %s", typeName(n), typeName(o))
		return
	case o.IsList() != n.IsList():
		note(FieldCardinality, same, "is %s, was %s", typeName(n), typeName(o))
	}
	if !same {
		note(FieldType, false, "is %s, was %s", elementName(n), elementName(o))
	}
	// A oneof brings presence with it: that is one change, not two.
	moved := (oneof(o) == nil) != (oneof(n) == nil)
	if !o.IsList() && !n.IsList() && !moved && same && o.HasPresence() != n.HasPresence() {
		note(FieldPresence, same, "has %s presence, had %s", presence(n), presence(o))
	}
	if o.IsList() && n.IsList() && same && o.IsPacked() != n.IsPacked() {
		note(FieldPacked, same, "is %s, was %s", packing(n), packing(o))
	}
	if a, b := oneof(o), oneof(n); name(a) != name(b) {
		if a != nil && b != nil && renamedOneof(a, new) == b && new.Oneofs().ByName(a.Name()) == nil && old.Oneofs().ByName(b.Name()) == nil {
			return // the oneof was renamed as a whole
		}
		note(FieldOneof, same, "is in %s, was in %s", oneofName(b), oneofName(a))
	}
}

func presence(f protoreflect.FieldDescriptor) string {
	if f.HasPresence() {
		return "explicit"
	}
	return "implicit"
}

func packing(f protoreflect.FieldDescriptor) string {
	if f.IsPacked() {
		return "packed"
	}
	return "not packed"
}

// oneof is nil for the oneof that stands for "optional".
func oneof(f protoreflect.FieldDescriptor) protoreflect.OneofDescriptor {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return o
	}
	return nil
}

func name(o protoreflect.OneofDescriptor) protoreflect.Name {
	if o == nil {
		return ""
	}
	return o.Name()
}

func oneofName(o protoreflect.OneofDescriptor) string {
	if o == nil {
		return "no oneof"
	}
	return "oneof " + string(o.Name())
}

// scope is where a change of one field is looked for: in the field, and in
// those that share a oneof of the reader with it.
func (d *differ) scope(old, new protoreflect.MessageDescriptor, o, n protoreflect.FieldDescriptor) location {
	return location{
		old: old, new: new,
		oldScope: exchange.Scope{Fields: mates(old, new, o)},
		newScope: exchange.Scope{Fields: mates(new, old, n)},
	}
}

func mates(w, r protoreflect.MessageDescriptor, f protoreflect.FieldDescriptor) []protoreflect.FieldNumber {
	l := []protoreflect.FieldNumber{}
	if f == nil {
		return l
	}
	l = append(l, f.Number())
	h := r.Fields().ByNumber(f.Number())
	if h == nil || oneof(h) == nil {
		return l
	}
	for i := range w.Fields().Len() {
		g := w.Fields().Get(i)
		x := r.Fields().ByNumber(g.Number())
		// One that is in the same oneof of the writer is never set beside f.
		if g != f && x != nil && oneof(x) == oneof(h) && (oneof(f) == nil || oneof(g) != oneof(f)) {
			l = append(l, g.Number())
		}
	}
	return l
}
