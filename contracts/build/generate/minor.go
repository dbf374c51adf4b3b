package main

import (
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/generated/go/options"
)

// since is the minor version that added a field or an enum value.
func since(d protoreflect.Descriptor) uint32 {
	x := options.E_Since
	if _, ok := d.(protoreflect.EnumValueDescriptor); ok {
		x = options.E_ValueSince
	}
	return proto.GetExtension(d.Options(), x).(uint32)
}

// grown says whether a message can hold anything that a minor version added.
func grown(m *protogen.Message) bool {
	for _, f := range m.Fields {
		if since(f.Desc) > 0 || f.Enum != nil && len(newValues(f.Enum)) > 0 ||
			f.Message != nil && wellKnown(f) == "" && grown(f.Message) {
			return true
		}
	}
	return false
}

func newValues(e *protogen.Enum) (list []*protogen.EnumValue) {
	for _, v := range e.Values {
		if since(v.Desc) > 0 {
			list = append(list, v)
		}
	}
	return list
}

// minor writes MinorNeeded for a message that can hold what a minor version
// added.
func (c *codec) minor() {
	if !grown(c.m) {
		return
	}
	c.P()
	c.P("// MinorNeeded is the oldest minor version that has all that m holds.")
	c.P("func (m *", c.m.GoIdent, ") MinorNeeded() uint32 {")
	c.P("n := uint32(0)")
	c.P("if m == nil { return n }")
	for _, f := range c.fields {
		sub := f.Message != nil && wellKnown(f) == "" && grown(f.Message)
		values := []*protogen.EnumValue(nil)
		if f.Enum != nil {
			values = newValues(f.Enum)
		}
		if since(f.Desc) == 0 && !sub && len(values) == 0 {
			continue
		}
		v := c.present(f)
		if k := since(f.Desc); k > 0 {
			c.P("n = max(n, ", k, ")")
		}
		if f.Desc.IsList() && (sub || len(values) > 0) {
			c.P("for _, v := range ", v, " {")
			v = "v"
		}
		if sub {
			c.P("n = max(n, ", v, ".MinorNeeded())")
		}
		if len(values) > 0 {
			c.P("switch ", v, " {")
			for _, e := range values {
				c.P("case ", e.GoIdent, ": n = max(n, ", since(e.Desc), ")")
			}
			c.P("}")
		}
		if f.Desc.IsList() && (sub || len(values) > 0) {
			c.P("}")
		}
		if since(f.Desc) > 0 && !sub && len(values) == 0 && c.oneof(f) != 0 {
			c.P("_ = ", v)
		}
		c.P("}")
	}
	c.P("return n")
	c.P("}")
}
