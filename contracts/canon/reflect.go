package canon

import (
	"cmp"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// AppendReflect appends the canonical encoding of m to b, by reflection. It is
// for what generated code does not do: unknown fields, which stand among the
// others in the order of their numbers, as they were; and maps, whose entries
// stand in the order of their keys, both key and value always written.
func AppendReflect(b []byte, m protoreflect.Message) []byte {
	type part struct {
		number protowire.Number
		field  protoreflect.FieldDescriptor
		value  protoreflect.Value
		raw    []byte // of an unknown field
	}
	var parts []part
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		parts = append(parts, part{number: f.Number(), field: f, value: v})
		return true
	})
	for rest := m.GetUnknown(); len(rest) > 0; {
		n, _, size := protowire.ConsumeField(rest)
		if size < 0 {
			break // cannot be: a decoder kept it
		}
		parts = append(parts, part{number: n, raw: rest[:size]})
		rest = rest[size:]
	}
	slices.SortStableFunc(parts, func(x, y part) int { return cmp.Compare(x.number, y.number) })
	for _, p := range parts {
		if p.field == nil {
			b = append(b, p.raw...)
		} else {
			b = appendField(b, p.field, p.value)
		}
	}
	return b
}

func appendField(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch {
	case f.IsMap():
		return appendMap(b, f, v.Map())
	case f.IsList() && f.IsPacked():
		var packed []byte
		for i := range v.List().Len() {
			packed = appendValue(packed, f, v.List().Get(i))
		}
		return protowire.AppendBytes(protowire.AppendTag(b, f.Number(), protowire.BytesType), packed)
	case f.IsList():
		for i := range v.List().Len() {
			b = appendOne(b, f, v.List().Get(i))
		}
		return b
	}
	return appendOne(b, f, v)
}

func appendMap(b []byte, f protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	var keys []protoreflect.MapKey
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(x, y protoreflect.MapKey) int {
		switch f.MapKey().Kind() {
		case protoreflect.BoolKind:
			return cmp.Compare(protowire.EncodeBool(x.Bool()), protowire.EncodeBool(y.Bool()))
		case protoreflect.StringKind:
			return cmp.Compare(x.String(), y.String())
		case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
			return cmp.Compare(x.Uint(), y.Uint())
		}
		return cmp.Compare(x.Int(), y.Int())
	})
	for _, k := range keys {
		entry := appendOne(nil, f.MapKey(), k.Value())
		entry = appendOne(entry, f.MapValue(), m.Get(k))
		b = protowire.AppendBytes(protowire.AppendTag(b, f.Number(), protowire.BytesType), entry)
	}
	return b
}

func appendOne(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	b = protowire.AppendTag(b, f.Number(), WireOf(f.Kind()))
	b = appendValue(b, f, v)
	if f.Kind() == protoreflect.GroupKind {
		b = protowire.AppendTag(b, f.Number(), protowire.EndGroupType)
	}
	return b
}

// WireOf is the wire type of a singular field of a kind.
func WireOf(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protowire.AppendVarint(b, protowire.EncodeBool(v.Bool()))
	case protoreflect.EnumKind:
		return protowire.AppendVarint(b, uint64(int64(v.Enum())))
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return protowire.AppendVarint(b, uint64(v.Int()))
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.AppendVarint(b, protowire.EncodeZigZag(v.Int()))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return protowire.AppendVarint(b, v.Uint())
	case protoreflect.Fixed32Kind:
		return protowire.AppendFixed32(b, uint32(v.Uint()))
	case protoreflect.Sfixed32Kind:
		return protowire.AppendFixed32(b, uint32(v.Int()))
	case protoreflect.FloatKind:
		// Through the float32 itself: the way by float64 quiets a signalling
		// NaN.
		if x, ok := v.Interface().(float32); ok {
			return protowire.AppendFixed32(b, math.Float32bits(x))
		}
		return protowire.AppendFixed32(b, math.Float32bits(float32(v.Float())))
	case protoreflect.Fixed64Kind:
		return protowire.AppendFixed64(b, v.Uint())
	case protoreflect.Sfixed64Kind:
		return protowire.AppendFixed64(b, uint64(v.Int()))
	case protoreflect.DoubleKind:
		return protowire.AppendFixed64(b, math.Float64bits(v.Float()))
	case protoreflect.StringKind:
		return protowire.AppendString(b, v.String())
	case protoreflect.BytesKind:
		return protowire.AppendBytes(b, v.Bytes())
	case protoreflect.GroupKind:
		return AppendReflect(b, v.Message())
	}
	return protowire.AppendBytes(b, AppendReflect(nil, v.Message()))
}

// SizeUnknown is the length of the canonical encoding of a message with
// unknown fields. Generated code calls it.
func SizeUnknown(m proto.Message) int { return len(AppendReflect(nil, m.ProtoReflect())) }

// BackwardUnknown writes the canonical encoding of a message with unknown
// fields to the end of b and returns where it starts. Generated code calls it.
func BackwardUnknown(b []byte, m proto.Message) int {
	all := AppendReflect(nil, m.ProtoReflect())
	return len(b) - copy(b[len(b)-len(all):], all)
}
