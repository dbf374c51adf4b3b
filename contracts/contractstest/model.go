package contractstest

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
)

type (
	kind = descriptorpb.FieldDescriptorProto_Type
	form int
)

// The forms that a field can have.
const (
	implicit form = iota
	optional
	repeated
	unpacked // repeated, without packing where there could be some
	mapped
	forms = 5
)

var formNames = [...]string{"implicit", "optional", "repeated", "unpacked", "a map"}

// field of a schema that evolves.
type field struct {
	name   string
	number int32
	kind   kind
	of     string // name of the message or enum
	form   form
	key    kind   // of a map
	oneof  string // empty: none
}

type message struct {
	name     string
	fields   []field
	reserved []int32
	next     int // number for the next fresh name
}

type value struct {
	name   string
	number int32
}

type enum struct {
	name   string
	values []value
	next   int
}

// model is a schema with one file.
type model struct {
	messages []message
	enums    []enum
}

var kinds = []kind{
	descriptorpb.FieldDescriptorProto_TYPE_BOOL, descriptorpb.FieldDescriptorProto_TYPE_INT32,
	descriptorpb.FieldDescriptorProto_TYPE_INT64, descriptorpb.FieldDescriptorProto_TYPE_UINT32,
	descriptorpb.FieldDescriptorProto_TYPE_UINT64, descriptorpb.FieldDescriptorProto_TYPE_SINT32,
	descriptorpb.FieldDescriptorProto_TYPE_SINT64, descriptorpb.FieldDescriptorProto_TYPE_FIXED32,
	descriptorpb.FieldDescriptorProto_TYPE_FIXED64, descriptorpb.FieldDescriptorProto_TYPE_SFIXED32,
	descriptorpb.FieldDescriptorProto_TYPE_SFIXED64, descriptorpb.FieldDescriptorProto_TYPE_STRING,
	// The kinds before this line can be keys of maps.
	descriptorpb.FieldDescriptorProto_TYPE_BYTES, descriptorpb.FieldDescriptorProto_TYPE_FLOAT,
	descriptorpb.FieldDescriptorProto_TYPE_DOUBLE,
	descriptorpb.FieldDescriptorProto_TYPE_ENUM, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE,
}

const keyKinds = 12

// newModel has the messages M, A and B and the enums E and F. Messages refer to
// later ones, and now and then to themselves.
func newModel(src witness.Source) *model {
	m := &model{messages: []message{{name: "M"}, {name: "A"}, {name: "B"}}, enums: []enum{{name: "E"}, {name: "F"}}}
	for i := range m.enums {
		e := &m.enums[i]
		for range 1 + src.Below(3) {
			e.add(e.fresh())
		}
	}
	for i := range m.messages {
		for range 1 + src.Below(3) {
			m.addField(src, &m.messages[i])
		}
	}
	return m
}

func (e *enum) fresh() (string, int32) {
	e.next++
	return fmt.Sprintf("%s_V%d", e.name, e.next), int32(e.next - 1)
}

func (e *enum) add(name string, number int32) { e.values = append(e.values, value{name, number}) }

func (m *model) addField(src witness.Source, msg *message) *field {
	msg.next++
	f := field{name: fmt.Sprintf("f%d", msg.next), number: msg.freeNumber(src)}
	m.retype(src, msg, &f)
	m.reform(src, msg, &f, form(src.Below(forms)))
	msg.fields = append(msg.fields, f)
	return &msg.fields[len(msg.fields)-1]
}

// freeNumber is a number that is neither used nor reserved; now and then one
// whose tag needs two bytes.
func (msg *message) freeNumber(src witness.Source) int32 {
	n := int32(1 + src.Below(6))
	if src.Below(8) == 7 {
		n += 15
	}
	for slices.Contains(msg.reserved, n) || slices.ContainsFunc(msg.fields, func(f field) bool { return f.number == n }) {
		n++
	}
	return n
}

func (m *model) retype(src witness.Source, msg *message, f *field) {
	f.kind, f.of = kinds[src.Below(len(kinds))], ""
	switch f.kind {
	case descriptorpb.FieldDescriptorProto_TYPE_ENUM:
		f.of = m.enums[src.Below(len(m.enums))].name
	case descriptorpb.FieldDescriptorProto_TYPE_MESSAGE:
		at := slices.IndexFunc(m.messages, func(x message) bool { return x.name == msg.name })
		if src.Below(8) < 7 && at+1 < len(m.messages) {
			at += 1 + src.Below(len(m.messages)-at-1)
		}
		f.of = m.messages[at].name
	}
}

func (m *model) reform(src witness.Source, msg *message, f *field, to form) {
	f.form, f.oneof, f.key = to, "", 0
	if to == mapped {
		f.key = kinds[src.Below(keyKinds)]
	}
	if to == implicit && src.Below(3) == 2 {
		f.oneof = []string{"o", "p"}[src.Below(2)]
	}
}

func (m *model) clone() *model {
	c := &model{messages: slices.Clone(m.messages), enums: slices.Clone(m.enums)}
	for i := range c.messages {
		c.messages[i].fields = slices.Clone(c.messages[i].fields)
		c.messages[i].reserved = slices.Clone(c.messages[i].reserved)
	}
	for i := range c.enums {
		c.enums[i].values = slices.Clone(c.enums[i].values)
	}
	return c
}

const pkg = "evolution"

// file is the model as a descriptor.
func (m *model) file() *descriptorpb.FileDescriptorProto {
	f := &descriptorpb.FileDescriptorProto{
		Name: proto.String("evolution.proto"), Package: proto.String(pkg), Syntax: proto.String("proto3"),
	}
	for i := range m.enums {
		e := &descriptorpb.EnumDescriptorProto{Name: &m.enums[i].name}
		for j := range m.enums[i].values {
			v := &m.enums[i].values[j]
			e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{Name: &v.name, Number: &v.number})
		}
		f.EnumType = append(f.EnumType, e)
	}
	for i := range m.messages {
		f.MessageType = append(f.MessageType, m.messages[i].descriptor())
	}
	return f
}

func (msg *message) descriptor() *descriptorpb.DescriptorProto {
	d := &descriptorpb.DescriptorProto{Name: &msg.name}
	for _, n := range msg.reserved {
		d.ReservedRange = append(d.ReservedRange, &descriptorpb.DescriptorProto_ReservedRange{Start: proto.Int32(n), End: proto.Int32(n + 1)})
	}
	oneofs := map[string]int32{}
	index := func(name string) *int32 {
		if _, ok := oneofs[name]; !ok {
			oneofs[name] = int32(len(d.OneofDecl))
			d.OneofDecl = append(d.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: &name})
		}
		return proto.Int32(oneofs[name])
	}
	// The members of a oneof stand together, and the oneofs that stand for
	// "optional" come after the others.
	for _, section := range []string{"", "o", "p", "optional"} {
		for i := range msg.fields {
			f := &msg.fields[i]
			in := f.oneof
			if f.form == optional {
				in = "optional"
			}
			if in != section {
				continue
			}
			p := f.descriptor()
			switch {
			case f.form == optional:
				p.Proto3Optional, p.OneofIndex = proto.Bool(true), index("_"+f.name)
			case f.oneof != "":
				p.OneofIndex = index(f.oneof)
			case f.form == mapped:
				d.NestedType = append(d.NestedType, f.entry(p))
			}
			d.Field = append(d.Field, p)
		}
	}
	for i, f := range d.Field {
		if f.GetTypeName() == "entry" {
			f.TypeName = proto.String(fmt.Sprintf(".%s.%s.%s", pkg, msg.name, entryName(d.Field[i].GetName())))
		}
	}
	return d
}

func (f *field) descriptor() *descriptorpb.FieldDescriptorProto {
	label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
	p := &descriptorpb.FieldDescriptorProto{Name: &f.name, JsonName: &f.name, Number: &f.number, Type: &f.kind}
	if f.of != "" {
		p.TypeName = proto.String("." + pkg + "." + f.of)
	}
	if f.form >= repeated {
		label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	}
	if f.form == unpacked && f.packable() {
		p.Options = &descriptorpb.FieldOptions{Packed: proto.Bool(false)}
	}
	p.Label = &label
	return p
}

func (f *field) packable() bool {
	switch f.kind {
	case descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_BYTES, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE:
		return false
	}
	return true
}

func entryName(field string) string { return string(field[0]-'a'+'A') + field[1:] + "Entry" }

// entry makes the map's entry, and p a list of it.
func (f *field) entry(p *descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
	one := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
	e := &descriptorpb.DescriptorProto{
		Name: proto.String(entryName(f.name)),
		Field: []*descriptorpb.FieldDescriptorProto{
			{Name: proto.String("key"), JsonName: proto.String("key"), Number: proto.Int32(1), Label: &one, Type: &f.key},
			{Name: proto.String("value"), JsonName: proto.String("value"), Number: proto.Int32(2), Label: &one, Type: &f.kind, TypeName: p.TypeName},
		},
		Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
	}
	p.Type, p.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String("entry")
	return e
}
