package rules

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

func messageRules() []MessageRule {
	return []MessageRule{
		{"same name, other number", renumbered},
		{"same number, other field", misread},
		{"one of two", oneOfTwo},
		{"lost in an entry", lostInEntry},
		{"added by an entry", addedByEntry},
	}
}

// The reader looks for the name under its own number, and finds nothing.
func renumbered(a *Analysis, w, r protoreflect.MessageDescriptor, fields []protoreflect.FieldDescriptor) exchange.Class {
	worst := exchange.Identical
	for _, f := range fields {
		if g := r.Fields().ByName(f.Name()); g != nil && g.Number() != f.Number() {
			worst = max(worst, a.drop(Field{f}))
		}
	}
	return worst
}

// The reader takes the field for another one that the writer has, too, under
// another number, and did not write. For the whole of a message the rule before
// says the same of that other field; within a scope that is not looked at.
func misread(a *Analysis, w, r protoreflect.MessageDescriptor, fields []protoreflect.FieldDescriptor) exchange.Class {
	for _, f := range fields {
		h := r.Fields().ByNumber(f.Number())
		if h == nil || h.Name() == f.Name() || w.Fields().ByName(h.Name()) == nil {
			continue
		}
		from, to := Field{f}, Field{h}
		if meet(from, to) == astray || from.message() && (to.message() || a.empty(from.Message())) {
			continue // nothing is seen, or perhaps an empty message
		}
		return exchange.ValueLossy
	}
	return exchange.Identical
}

// Two fields that the writer may set together and the reader keeps one of: the
// one that is written last, with the higher number.
func oneOfTwo(a *Analysis, w, r protoreflect.MessageDescriptor, fields []protoreflect.FieldDescriptor) exchange.Class {
	worst := exchange.Identical
	arm := func(f Field) protoreflect.OneofDescriptor {
		h := r.Fields().ByNumber(f.Number())
		if h == nil || meet(f, Field{h}) == astray {
			return nil
		}
		return Field{h}.oneof()
	}
	for i, f := range fields {
		in := arm(Field{f})
		if in == nil {
			continue
		}
		for _, g := range fields[i+1:] {
			own := Field{f}.oneof()
			if arm(Field{g}) != in || own != nil && own == g.ContainingOneof() {
				continue
			}
			first := f
			if g.Number() < f.Number() {
				first = g
			}
			worst = max(worst, a.drop(Field{first}))
		}
	}
	return worst
}

// Maps keep no unknown fields of their entries.
func lostInEntry(a *Analysis, w, r protoreflect.MessageDescriptor, fields []protoreflect.FieldDescriptor) exchange.Class {
	worst := exchange.Identical
	for _, f := range fields {
		if r.IsMapEntry() && r.Fields().ByNumber(f.Number()) == nil {
			worst = max(worst, a.drop(Field{f}))
		}
	}
	return worst
}

// Maps write a key and a value also for what had none.
func addedByEntry(a *Analysis, w, r protoreflect.MessageDescriptor, fields []protoreflect.FieldDescriptor) exchange.Class {
	for i := range r.Fields().Len() {
		if r.IsMapEntry() && w.Fields().ByNumber(r.Fields().Get(i).Number()) == nil {
			return exchange.Lossless
		}
	}
	return exchange.Identical
}
