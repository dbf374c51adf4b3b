package migrate

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/canon"
)

// Text is a message in the text format of protobuf, fields in the order of
// their numbers. Equal messages have equal texts; prototext puts white space
// in at random, so that none of its output can be compared.
func Text(m canon.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# proto-message: %s\n", m.FullName())
	text(&b, m.ProtoReflect(), "")
	return b.String()
}

func text(b *strings.Builder, m protoreflect.Message, indent string) {
	fields := m.Descriptor().Fields()
	byNumber := make(map[protoreflect.FieldNumber]protoreflect.FieldDescriptor, fields.Len())
	var last protoreflect.FieldNumber
	for i := range fields.Len() {
		f := fields.Get(i)
		byNumber[f.Number()], last = f, max(last, f.Number())
	}
	for n := protoreflect.FieldNumber(1); n <= last; n++ {
		f := byNumber[n]
		if f == nil || !m.Has(f) {
			continue
		}
		if f.IsList() {
			for i := range m.Get(f).List().Len() {
				field(b, f, m.Get(f).List().Get(i), indent)
			}
			continue
		}
		field(b, f, m.Get(f), indent)
	}
}

func field(b *strings.Builder, f protoreflect.FieldDescriptor, v protoreflect.Value, indent string) {
	if f.Message() != nil {
		fmt.Fprintf(b, "%s%s {\n", indent, f.Name())
		text(b, v.Message(), indent+"  ")
		fmt.Fprintf(b, "%s}\n", indent)
		return
	}
	fmt.Fprintf(b, "%s%s: %s\n", indent, f.Name(), scalar(f, v))
}

func scalar(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.StringKind:
		return quote(v.String())
	case protoreflect.BytesKind:
		return quote(string(v.Bytes()))
	case protoreflect.EnumKind:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.FloatKind:
		return float(v.Float(), 32)
	case protoreflect.DoubleKind:
		return float(v.Float(), 64)
	}
	return fmt.Sprint(v.Interface())
}

func float(v float64, bits int) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	}
	return strconv.FormatFloat(v, 'g', -1, bits)
}

// quote escapes as the text format does: what is not printable ASCII is an octal
// escape.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
