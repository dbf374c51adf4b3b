package main

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// parse writes the straight-line parser: one block for each field in number
// order, which reads the field if the tag is its own and clears it otherwise.
func (c *codec) parse() {
	c.P()
	c.P("// ParseCanonical implements canon.Message.")
	c.P("func (m *", c.m.GoIdent, ") ParseCanonical(b []byte) error {")
	c.P("m.unknownFields = nil")
	c.P("tag, i := ", canon("Tag"), "(b, 0)")
	for k := range c.oneofs {
		c.P("arm", k+1, " := false")
	}
	for _, f := range c.fields {
		t, _ := protowire.ConsumeVarint(tag(f))
		if f.Desc.IsList() && !packable(f) {
			c.parseList(f, t)
			continue
		}
		c.P("if tag == ", fmt.Sprintf("%#02x", t), " {")
		switch {
		case f.Desc.IsList():
			c.parsePacked(f)
		case c.oneof(f) != 0:
			c.parseArm(f)
		default:
			c.parseField(f)
		}
		c.P("tag, i = ", canon("Tag"), "(b, n)")
		if c.oneof(f) == 0 {
			c.P("} else {")
			c.clear(f)
		}
		c.P("}")
		for k, o := range c.oneofs {
			if last := lastArm(o); last == f {
				c.P("if !arm", k+1, " { m.", o.GoName, " = nil }")
			}
		}
	}
	c.P("if tag != ", canon("End"), " { return ", c.schemaName(), ".Unexpected(b, tag, i) }")
	c.P("return nil")
	c.P("}")
}

func lastArm(o *protogen.Oneof) *protogen.Field {
	last := o.Fields[0]
	for _, f := range o.Fields {
		if f.Desc.Number() > last.Desc.Number() {
			last = f
		}
	}
	return last
}

func (c *codec) clear(f *protogen.Field) {
	v := "m." + f.GoName
	switch {
	case f.Desc.IsList():
		c.P(v, " = ", v, "[:0]")
	case f.Message != nil || pointer(f) || f.Desc.Kind() == protoreflect.BytesKind:
		c.P(v, " = nil")
	case f.Desc.Kind() == protoreflect.StringKind:
		c.P(v, ` = ""`)
	case f.Desc.Kind() == protoreflect.BoolKind:
		c.P(v, " = false")
	default:
		c.P(v, " = 0")
	}
}

func (c *codec) fail(f *protogen.Field, reason, at string) {
	c.P("return ", c.schemaName(), ".Fail(", int(f.Desc.Number()), ", ", reason, ", ", at, ")")
}

func (c *codec) reason(name string) string { return c.QualifiedGoIdent(canon(name)) }

// parseField reads the field's value at b[i:] into m; n is the offset behind.
func (c *codec) parseField(f *protogen.Field) {
	v := "m." + f.GoName
	if f.Message != nil {
		c.P("if ", v, " == nil { ", v, " = new(", f.Message.GoIdent, ") }")
	}
	if pointer(f) && f.Desc.Kind() != protoreflect.BytesKind {
		c.P("if ", v, " == nil { ", v, " = new(", goType(c, f), ") }")
		v = "*" + v
	}
	c.parseValue(f, v)
}

// parseArm reads the field into its oneof wrapper, which is kept if the same
// arm was set before.
func (c *codec) parseArm(f *protogen.Field) {
	k := strconv.Itoa(c.oneof(f))
	c.P("if arm", k, " {")
	c.fail(f, c.reason("TwoArms"), "i")
	c.P("}")
	c.P("arm", k, " = true")
	c.P("arm, ok := m.", f.Oneof.GoName, ".(*", f.GoIdent, ")")
	c.P("if !ok || arm == nil {")
	c.P("arm = new(", f.GoIdent, ")")
	c.P("m.", f.Oneof.GoName, " = arm")
	c.P("}")
	v := "arm." + f.GoName
	if f.Message != nil {
		c.P("if ", v, " == nil { ", v, " = new(", f.Message.GoIdent, ") }")
	}
	c.parseValue(f, v)
}

func (c *codec) parseList(f *protogen.Field, t uint64) {
	v := "m." + f.GoName
	c.P(v, " = ", v, "[:0]")
	c.P("for tag == ", fmt.Sprintf("%#02x", t), " {")
	c.span(f, "b", "i")
	switch f.Desc.Kind() {
	case protoreflect.MessageKind:
		c.P("v := ", canon("Next"), "(&", v, ")")
		c.sub(f, "v")
	case protoreflect.StringKind:
		c.utf8(f)
		c.P(v, " = ", canon("NextString"), "(", v, ", b[at:n])")
	default:
		c.P(v, " = append(", v, ", b[at:n:n])")
	}
	c.P("tag, i = ", canon("Tag"), "(b, n)")
	c.P("}")
}

func (c *codec) parsePacked(f *protogen.Field) {
	v := "m." + f.GoName
	c.span(f, "b", "i")
	c.P("if at == n {")
	c.fail(f, c.reason("ExplicitZero"), "i")
	c.P("}")
	c.P(v, " = ", v, "[:0]")
	c.P("for i := at; i < n; {")
	c.number(f, "b[:n]", "k")
	c.P(v, " = append(", v, ", ", c.fromBits(f), ")")
	c.P("i = k")
	c.P("}")
}

func (c *codec) span(f *protogen.Field, b, i string) {
	c.P("at, n := ", canon("Span"), "(", b, ", ", i, ")")
	c.P("if n < 0 {")
	c.fail(f, c.reason("Reason")+"(-n)", "at")
	c.P("}")
}

func (c *codec) utf8(f *protogen.Field) {
	c.P("if !", canon("ValidUTF8"), "(b[at:n]) {")
	c.fail(f, c.reason("BadUTF8"), "at")
	c.P("}")
}

func (c *codec) sub(f *protogen.Field, v string) {
	call := v + ".ParseCanonical(b[at:n])"
	if w := wellKnown(f); w != "" {
		call = c.QualifiedGoIdent(canon("Parse"+w)) + "(" + v + ", b[at:n])"
	}
	c.P("if err := ", call, "; err != nil { return ", canon("Within"), "(err, at) }")
}

// parseValue assigns the value at b[i:] to the expression v.
func (c *codec) parseValue(f *protogen.Field, v string) {
	if elemType(f) != protowire.BytesType {
		c.number(f, "b", "n")
		if c.implicit(f) {
			c.P("if v == 0 {")
			c.fail(f, c.reason("ExplicitZero"), "i")
			c.P("}")
		}
		c.P(v, " = ", c.fromBits(f))
		return
	}
	c.span(f, "b", "i")
	if c.implicit(f) {
		c.P("if at == n {")
		c.fail(f, c.reason("ExplicitZero"), "i")
		c.P("}")
	}
	switch f.Desc.Kind() {
	case protoreflect.MessageKind:
		c.sub(f, v)
	case protoreflect.StringKind:
		c.utf8(f)
		c.P("if ", v, " != string(b[at:n]) { ", v, " = string(b[at:n]) }")
	default:
		c.P(v, " = b[at:n:n]")
	}
}

// number reads the bits of a number at b[i:] into v, sets end to the offset
// behind, and refuses what is no value of the field's type.
func (c *codec) number(f *protogen.Field, b, end string) {
	read := "Uvarint"
	switch elemType(f) {
	case protowire.Fixed32Type:
		read = "Fixed32"
	case protowire.Fixed64Type:
		read = "Fixed64"
	}
	c.P("v, ", end, " := ", canon(read), "(", b, ", i)")
	c.P("if ", end, " < 0 {")
	c.fail(f, c.reason("Reason")+"(-"+end+")", "i")
	c.P("}")
	refuse := func(condition, reason string) {
		c.P("if ", condition, " {")
		c.fail(f, c.reason(reason), "i")
		c.P("}")
	}
	switch f.Desc.Kind() {
	case protoreflect.BoolKind:
		refuse("v > 1", "BadBool")
	case protoreflect.Int32Kind:
		c.P("if r := ", canon("Int32"), "(v); r != 0 {")
		c.fail(f, "r", "i")
		c.P("}")
	case protoreflect.Uint32Kind, protoreflect.Sint32Kind:
		refuse("v > "+c.QualifiedGoIdent(mathPackage.Ident("MaxUint32")), "Overflow")
	case protoreflect.EnumKind:
		c.P("if r := ", canon("Int32"), "(v); r != 0 {")
		c.fail(f, "r", "i")
		c.P("}")
		refuse(unknownEnum(f.Enum), "UnknownEnum")
	}
}

// unknownEnum is the condition under which the bits v are no value of the
// enum: comparisons with the ends of its runs of consecutive numbers.
func unknownEnum(e *protogen.Enum) string {
	known := map[protoreflect.EnumNumber]bool{}
	top := protoreflect.EnumNumber(0)
	for _, v := range e.Values {
		known[v.Desc.Number()] = true
		top = max(top, v.Desc.Number())
	}
	if len(known) == int(top)+1 {
		return fmt.Sprintf("v > %d", top)
	}
	var all []string
	done := map[protoreflect.EnumNumber]bool{}
	for _, v := range e.Values {
		if n := v.Desc.Number(); !done[n] {
			done[n] = true
			all = append(all, fmt.Sprintf("int32(v) != %d", n))
		}
	}
	return strings.Join(all, " && ")
}

func (c *codec) fromBits(f *protogen.Field) string {
	switch f.Desc.Kind() {
	case protoreflect.BoolKind:
		return "v != 0"
	case protoreflect.EnumKind:
		return c.QualifiedGoIdent(f.Enum.GoIdent) + "(v)"
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return goType(c, f) + "(" + c.QualifiedGoIdent(canon("Zigzag")) + "(v))"
	case protoreflect.FloatKind:
		return c.QualifiedGoIdent(mathPackage.Ident("Float32frombits")) + "(v)"
	case protoreflect.DoubleKind:
		return c.QualifiedGoIdent(mathPackage.Ident("Float64frombits")) + "(v)"
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind, protoreflect.Fixed32Kind:
		return "v"
	}
	return goType(c, f) + "(v)"
}

func goType(c *codec, f *protogen.Field) string {
	switch f.Desc.Kind() {
	case protoreflect.BoolKind:
		return "bool"
	case protoreflect.EnumKind:
		return c.QualifiedGoIdent(f.Enum.GoIdent)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return "int32"
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return "uint32"
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return "int64"
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return "uint64"
	case protoreflect.FloatKind:
		return "float32"
	case protoreflect.DoubleKind:
		return "float64"
	case protoreflect.StringKind:
		return "string"
	}
	return "[]byte"
}
