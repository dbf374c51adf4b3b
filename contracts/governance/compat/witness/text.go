package witness

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Text is a message on one line, in the order of the fields' numbers. Unlike
// prototext it is the same in every build, shows NaN payloads and −0, and shows
// unknown fields by number and wire type.
func Text(m protoreflect.Message) string {
	if m == nil {
		return "nothing"
	}
	var parts []string
	unknown := sortUnknown(m.GetUnknown())
	show := func(u unknownField) {
		_, t, n := protowire.ConsumeTag(u.raw)
		parts = append(parts, fmt.Sprintf("%d: unknown %s %s", u.number, wireName(t), hex.EncodeToString(u.raw[max(n, 0):])))
	}
	for _, f := range new(codec).fields(m.Descriptor()) {
		for len(unknown) > 0 && unknown[0].number < f.Number() {
			show(unknown[0])
			unknown = unknown[1:]
		}
		if m.Has(f) {
			parts = append(parts, string(f.Name())+": "+fieldText(f, m.Get(f)))
		}
	}
	for _, u := range unknown {
		show(u)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func wireName(t protowire.Type) string {
	switch t {
	case protowire.VarintType:
		return "varint"
	case protowire.Fixed32Type:
		return "fixed32"
	case protowire.Fixed64Type:
		return "fixed64"
	case protowire.BytesType:
		return "bytes"
	}
	return "group"
}

func fieldText(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	var parts []string
	switch {
	case f.IsMap():
		for _, k := range sortedKeys(f, v.Map()) {
			parts = append(parts, scalarText(f.MapKey(), k.Value())+": "+scalarText(f.MapValue(), v.Map().Get(k)))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case f.IsList():
		l := v.List()
		for i := range l.Len() {
			// A packed list of 128 shows what a length of two bytes does.
			if i == 8 && l.Len() > 9 {
				parts = append(parts, fmt.Sprintf("… %d in all", l.Len()))
				break
			}
			parts = append(parts, scalarText(f, l.Get(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return scalarText(f, v)
}

func scalarText(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return Text(v.Message())
	case protoreflect.EnumKind:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return fmt.Sprintf("%s (%d)", e.Name(), v.Enum())
		}
		return fmt.Sprint(v.Enum())
	case protoreflect.StringKind:
		s := v.String()
		if len(s) > 40 {
			return fmt.Sprintf("%s… %d bytes in all", strconv.Quote(s[:16]), len(s))
		}
		return strconv.Quote(s)
	case protoreflect.BytesKind:
		return "0x" + hex.EncodeToString(v.Bytes())
	case protoreflect.FloatKind:
		x := v.Interface().(float32)
		if x != x {
			return fmt.Sprintf("NaN (0x%08x)", math.Float32bits(x))
		}
		return strconv.FormatFloat(float64(x), 'g', -1, 32)
	case protoreflect.DoubleKind:
		x := v.Float()
		if x != x {
			return fmt.Sprintf("NaN (0x%016x)", math.Float64bits(x))
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return v.String()
}
