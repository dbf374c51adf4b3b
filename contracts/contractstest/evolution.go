package contractstest

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// Steps is how an old schema became a new one.
type Steps struct {
	Old, New *descriptorpb.FileDescriptorProto
	Taken    []string // in words, in order
}

// Schemas links both.
func (s Steps) Schemas() (old, new *schema.Schema, err error) {
	old, err = schema.FromSet("old", &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{proto.CloneOf(s.Old)}})
	if err != nil {
		return nil, nil, err
	}
	new, err = schema.FromSet("new", &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{proto.CloneOf(s.New)}})
	return old, new, err
}

// Evolution generates a small random schema and what became of it in one to
// five steps: fields are added, removed, removed and reserved, renamed,
// renumbered, swapped, retyped, made optional, repeated, unpacked or a map,
// moved into oneofs and out of them; enum values are added, removed, renamed,
// renumbered and swapped. The schema has the messages evolution.M, evolution.A
// and evolution.B, which refer to each other.
func Evolution() *rapid.Generator[Steps] {
	return rapid.Custom(func(t *rapid.T) Steps { return evolve(witness.Drawn{T: t}) })
}

func evolve(src witness.Source) Steps {
	m := newModel(src)
	s := Steps{Old: m.clone().file()}
	for range 1 + src.Below(5) {
		if text := m.step(src); text != "" {
			s.Taken = append(s.Taken, text)
		}
	}
	s.New = m.file()
	return s
}

// step changes something, and says what; it says nothing if what it chose
// cannot be changed.
func (m *model) step(src witness.Source) string {
	if src.Below(6) == 5 {
		return m.enumStep(src, &m.enums[src.Below(len(m.enums))])
	}
	msg := &m.messages[src.Below(len(m.messages))]
	if len(msg.fields) == 0 || src.Below(10) == 0 {
		f := m.addField(src, msg)
		return fmt.Sprintf("add %s.%s", msg.name, f.name)
	}
	at := src.Below(len(msg.fields))
	f := &msg.fields[at]
	name := msg.name + "." + f.name
	switch src.Below(9) {
	case 0:
		before := f.kind
		m.retype(src, msg, f)
		return fmt.Sprintf("retype %s from %v to %v %s", name, before, f.kind, f.of)
	case 1:
		before := formNames[f.form]
		m.reform(src, msg, f, form(src.Below(forms)))
		return fmt.Sprintf("make %s %s, it was %s", name, formNames[f.form], before)
	case 2:
		if f.form > optional {
			return ""
		}
		f.form, f.oneof = implicit, []string{"o", "p", ""}[src.Below(3)]
		return fmt.Sprintf("move %s into the oneof %q", name, f.oneof)
	case 3:
		if f.form > optional {
			return ""
		}
		f.form, f.oneof = optional-f.form, ""
		return fmt.Sprintf("make %s %s", name, formNames[f.form])
	case 4:
		msg.next++
		f.name = fmt.Sprintf("f%d", msg.next)
		return fmt.Sprintf("rename %s to %s", name, f.name)
	case 5:
		f.number = msg.freeNumber(src)
		return fmt.Sprintf("renumber %s to %d", name, f.number)
	case 6:
		reserve := src.Below(2) == 1
		if reserve {
			msg.reserved = append(msg.reserved, f.number)
		}
		msg.fields = slices.Delete(msg.fields, at, at+1)
		return fmt.Sprintf("remove %s, reserve: %v", name, reserve)
	case 7:
		g := &msg.fields[src.Below(len(msg.fields))]
		f.number, g.number = g.number, f.number
		return fmt.Sprintf("swap %s and %s", name, g.name)
	}
	if f.form != repeated && f.form != unpacked {
		return ""
	}
	f.form = repeated + unpacked - f.form
	return fmt.Sprintf("make %s %s", name, formNames[f.form])
}

func (m *model) enumStep(src witness.Source, e *enum) string {
	at := src.Below(len(e.values))
	v := &e.values[at]
	free := func() int32 {
		n := int32(1 + src.Below(5))
		for slices.ContainsFunc(e.values, func(v value) bool { return v.number == n }) {
			n++
		}
		return n
	}
	name := v.name
	switch src.Below(5) {
	case 0:
		name, _ = e.fresh()
		e.add(name, free())
		return "add " + name
	case 1:
		if at == 0 {
			return "" // the first is zero
		}
		e.values = slices.Delete(e.values, at, at+1)
		return "remove " + name
	case 2:
		v.name, _ = e.fresh()
		return fmt.Sprintf("rename %s to %s", name, v.name)
	case 3:
		if at == 0 {
			return ""
		}
		v.number = free()
		return fmt.Sprintf("renumber %s to %d", name, v.number)
	}
	o := &e.values[src.Below(len(e.values))]
	v.name, o.name = o.name, v.name
	return fmt.Sprintf("swap %s and %s", v.name, o.name)
}
