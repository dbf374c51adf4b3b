// Package prototest makes random messages and encodes them slowly, for tests
// of the canonical codec: both work by reflection over descriptors and share
// no code with what they test.
package prototest

import (
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// Fill sets random fields of m to random valid values.
func Fill(t *rapid.T, m proto.Message) { fill(t, m.ProtoReflect()) }

func fill(t *rapid.T, m protoreflect.Message) {
	switch m.Descriptor().FullName() {
	case "google.protobuf.Timestamp":
		set(m, 1, protoreflect.ValueOfInt64(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds")))
		set(m, 2, protoreflect.ValueOfInt32(rapid.Int32Range(0, 999999999).Draw(t, "nanos")))
		return
	case "google.protobuf.Duration":
		s := rapid.Int64Range(0, 315576000000).Draw(t, "seconds")
		n := rapid.Int32Range(0, 999999999).Draw(t, "nanos")
		if rapid.Bool().Draw(t, "negative") {
			s, n = -s, -n
		}
		set(m, 1, protoreflect.ValueOfInt64(s))
		set(m, 2, protoreflect.ValueOfInt32(n))
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if rapid.IntRange(0, 2).Draw(t, string(f.Name())) == 0 {
			continue
		}
		switch {
		case f.IsList():
			list := m.Mutable(f).List()
			for range rapid.IntRange(1, 3).Draw(t, "length") {
				if f.Message() != nil {
					fill(t, list.AppendMutable().Message())
				} else {
					list.Append(scalar(t, f))
				}
			}
		case f.Message() != nil:
			fill(t, m.Mutable(f).Message())
		default:
			m.Set(f, scalar(t, f))
		}
	}
}

func set(m protoreflect.Message, n protoreflect.FieldNumber, v protoreflect.Value) {
	m.Set(m.Descriptor().Fields().ByNumber(n), v)
}

var floats = []float64{0, math.Copysign(0, -1), 1, -1.5, math.Inf(1), math.Inf(-1), math.NaN(),
	math.Float64frombits(0x7ff0000000000001), math.Float64frombits(0xfff8000000001234),
	math.SmallestNonzeroFloat64, math.MaxFloat64}

func scalar(t *rapid.T, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(rapid.IntRange(0, values.Len()-1).Draw(t, "enum")).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "int32"))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "uint32"))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "int64"))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "uint64"))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(math.Float32frombits(rapid.Uint32().Draw(t, "float")))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.OneOf(rapid.SampledFrom(floats), rapid.Float64()).Draw(t, "double"))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.StringN(0, 20, 40).Draw(t, "string"))
	}
	return protoreflect.ValueOfBytes(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes"))
}

// Encode is the canonical encoding, slowly.
func Encode(m protoreflect.Message) []byte {
	var fields []protoreflect.FieldDescriptor
	for i := range m.Descriptor().Fields().Len() {
		fields = append(fields, m.Descriptor().Fields().Get(i))
	}
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
	var b []byte
	for _, f := range fields {
		if !m.Has(f) {
			continue
		}
		v := m.Get(f)
		switch {
		case f.IsList() && f.IsPacked():
			var packed []byte
			for i := range v.List().Len() {
				packed, _ = value(packed, f, v.List().Get(i))
			}
			b = protowire.AppendTag(b, f.Number(), protowire.BytesType)
			b = protowire.AppendBytes(b, packed)
		case f.IsList():
			for i := range v.List().Len() {
				b = field(b, f, v.List().Get(i))
			}
		default:
			b = field(b, f, v)
		}
	}
	return b
}

func field(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	content, wire := value(nil, f, v)
	return append(protowire.AppendTag(b, f.Number(), wire), content...)
}

func value(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, protowire.Type) {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protowire.AppendVarint(b, protowire.EncodeBool(v.Bool())), protowire.VarintType
	case protoreflect.EnumKind:
		return protowire.AppendVarint(b, uint64(v.Enum())), protowire.VarintType
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return protowire.AppendVarint(b, uint64(v.Int())), protowire.VarintType
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.AppendVarint(b, protowire.EncodeZigZag(v.Int())), protowire.VarintType
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return protowire.AppendVarint(b, v.Uint()), protowire.VarintType
	case protoreflect.Sfixed32Kind:
		return protowire.AppendFixed32(b, uint32(v.Int())), protowire.Fixed32Type
	case protoreflect.Fixed32Kind:
		return protowire.AppendFixed32(b, uint32(v.Uint())), protowire.Fixed32Type
	case protoreflect.FloatKind:
		return protowire.AppendFixed32(b, math.Float32bits(v.Interface().(float32))), protowire.Fixed32Type
	case protoreflect.Sfixed64Kind:
		return protowire.AppendFixed64(b, uint64(v.Int())), protowire.Fixed64Type
	case protoreflect.Fixed64Kind:
		return protowire.AppendFixed64(b, v.Uint()), protowire.Fixed64Type
	case protoreflect.DoubleKind:
		return protowire.AppendFixed64(b, math.Float64bits(v.Float())), protowire.Fixed64Type
	case protoreflect.StringKind:
		return protowire.AppendString(b, v.String()), protowire.BytesType
	case protoreflect.BytesKind:
		return protowire.AppendBytes(b, v.Bytes()), protowire.BytesType
	}
	return protowire.AppendBytes(b, Encode(v.Message())), protowire.BytesType
}
