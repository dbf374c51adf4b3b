package witness

import (
	"cmp"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Encode is the canonical encoding: fields and unknown fields in the order of
// their numbers, map entries in the order of their keys.
func Encode(m protoreflect.Message) []byte { return new(codec).message(nil, m) }

// codec encodes, and remembers the order of each type's fields.
type codec struct {
	order map[protoreflect.MessageDescriptor][]protoreflect.FieldDescriptor

	unknownLast bool // as protobuf-go has it, and as canonical encoding has not
}

func (c *codec) fields(d protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	if l, ok := c.order[d]; ok {
		return l
	}
	l := make([]protoreflect.FieldDescriptor, d.Fields().Len())
	for i := range l {
		l[i] = d.Fields().Get(i)
	}
	slices.SortFunc(l, func(a, b protoreflect.FieldDescriptor) int { return cmp.Compare(a.Number(), b.Number()) })
	if c.order == nil {
		c.order = map[protoreflect.MessageDescriptor][]protoreflect.FieldDescriptor{}
	}
	c.order[d] = l
	return l
}

func (c *codec) message(b []byte, m protoreflect.Message) []byte {
	unknown := sortUnknown(m.GetUnknown())
	for _, f := range c.fields(m.Descriptor()) {
		for !c.unknownLast && len(unknown) > 0 && unknown[0].number < f.Number() {
			b, unknown = append(b, unknown[0].raw...), unknown[1:]
		}
		if m.Has(f) {
			b = c.field(b, f, m.Get(f))
		}
	}
	for _, u := range unknown {
		b = append(b, u.raw...)
	}
	return b
}

type unknownField struct {
	number protowire.Number
	raw    []byte
}

func sortUnknown(raw []byte) []unknownField {
	if len(raw) == 0 {
		return nil
	}
	var l []unknownField
	for len(raw) > 0 {
		num, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			n = len(raw) // a decoder keeps whole fields only
		}
		l = append(l, unknownField{num, raw[:n]})
		raw = raw[n:]
	}
	slices.SortStableFunc(l, func(a, b unknownField) int { return cmp.Compare(a.number, b.number) })
	return l
}

func (c *codec) field(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch {
	case f.IsMap():
		for _, k := range sortedKeys(f, v.Map()) {
			b = protowire.AppendTag(b, f.Number(), protowire.BytesType)
			b = protowire.AppendBytes(b, c.entry(f, k, v.Map().Get(k)))
		}
		return b
	case f.IsList() && f.IsPacked():
		var packed []byte
		for i := range v.List().Len() {
			packed = c.value(packed, f, v.List().Get(i))
		}
		b = protowire.AppendTag(b, f.Number(), protowire.BytesType)
		return protowire.AppendBytes(b, packed)
	case f.IsList():
		for i := range v.List().Len() {
			b = c.value(protowire.AppendTag(b, f.Number(), wireType(f.Kind())), f, v.List().Get(i))
		}
		return b
	}
	return c.value(protowire.AppendTag(b, f.Number(), wireType(f.Kind())), f, v)
}

// entry writes key and value, zero or not.
func (c *codec) entry(f protoreflect.FieldDescriptor, k protoreflect.MapKey, v protoreflect.Value) []byte {
	b := c.value(protowire.AppendTag(nil, 1, wireType(f.MapKey().Kind())), f.MapKey(), k.Value())
	return c.value(protowire.AppendTag(b, 2, wireType(f.MapValue().Kind())), f.MapValue(), v)
}

func sortedKeys(f protoreflect.FieldDescriptor, m protoreflect.Map) []protoreflect.MapKey {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int {
		switch x := a.Interface().(type) {
		case bool:
			return cmp.Compare(bit(x), bit(b.Bool()))
		case int32, int64:
			return cmp.Compare(a.Int(), b.Int())
		case uint32, uint64:
			return cmp.Compare(a.Uint(), b.Uint())
		}
		return cmp.Compare(a.String(), b.String())
	})
	return keys
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Sfixed32Kind, protoreflect.Fixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Sfixed64Kind, protoreflect.Fixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	}
	return protowire.VarintType
}

func (c *codec) value(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protowire.AppendVarint(b, bit(v.Bool()))
	case protoreflect.EnumKind:
		return protowire.AppendVarint(b, uint64(v.Enum()))
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return protowire.AppendVarint(b, uint64(v.Int()))
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.AppendVarint(b, protowire.EncodeZigZag(v.Int()))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return protowire.AppendVarint(b, v.Uint())
	case protoreflect.Sfixed32Kind:
		return protowire.AppendFixed32(b, uint32(v.Int()))
	case protoreflect.Fixed32Kind:
		return protowire.AppendFixed32(b, uint32(v.Uint()))
	case protoreflect.FloatKind:
		return protowire.AppendFixed32(b, math.Float32bits(float32(v.Float())))
	case protoreflect.Sfixed64Kind:
		return protowire.AppendFixed64(b, uint64(v.Int()))
	case protoreflect.Fixed64Kind:
		return protowire.AppendFixed64(b, v.Uint())
	case protoreflect.DoubleKind:
		return protowire.AppendFixed64(b, math.Float64bits(v.Float()))
	case protoreflect.StringKind:
		return protowire.AppendString(b, v.String())
	case protoreflect.BytesKind:
		return protowire.AppendBytes(b, v.Bytes())
	}
	return protowire.AppendBytes(b, c.message(nil, v.Message()))
}
