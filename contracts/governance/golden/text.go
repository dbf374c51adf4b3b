package golden

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// textOf writes a message in protobuf's text format, one field a line and
// submessages within the line. The library's own writer puts in white space by
// chance, so that nobody compares its output.
func textOf(m protoreflect.Message) []string {
	var lines []string
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		if !m.Has(f) {
			continue
		}
		v := m.Get(f)
		switch {
		case f.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
				lines = append(lines, fmt.Sprintf("%s { key: %s %s }", f.Name(), textValue(f.MapKey(), k.Value()), textField(f.MapValue(), e)))
				return true
			})
		case f.IsList():
			for i := range v.List().Len() {
				lines = append(lines, textField(f, v.List().Get(i)))
			}
		default:
			lines = append(lines, textField(f, v))
		}
	}
	return lines
}

func textField(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if f.Message() == nil {
		return fmt.Sprintf("%s: %s", f.Name(), textValue(f, v))
	}
	inner := textOf(v.Message())
	if len(inner) == 0 {
		return string(f.Name()) + " {}"
	}
	return fmt.Sprintf("%s { %s }", f.Name(), strings.Join(inner, " "))
}

func textValue(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.EnumKind:
		if d := f.Enum().Values().ByNumber(v.Enum()); d != nil {
			return string(d.Name())
		}
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.StringKind:
		return quote([]byte(v.String()))
	case protoreflect.BytesKind:
		return quote(v.Bytes())
	case protoreflect.FloatKind:
		return strconv.FormatFloat(v.Float(), 'g', -1, 32)
	case protoreflect.DoubleKind:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}

// quote writes printable ASCII as it is and the rest as octal escapes.
func quote(b []byte) string {
	var s strings.Builder
	s.WriteByte('"')
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			s.WriteByte('\\')
			s.WriteByte(c)
		case c >= 0x20 && c < 0x7f:
			s.WriteByte(c)
		default:
			fmt.Fprintf(&s, `\%03o`, c)
		}
	}
	s.WriteByte('"')
	return s.String()
}
