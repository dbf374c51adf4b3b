package witness

import (
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// boundaries are the values of each kind at which something changes, the most
// ordinary one first.
//
// A float32 is never a signalling NaN: dynamicpb keeps floats as float64s, and
// the conversion quiets those, so that what looks like a loss on the wire would
// be one within the search.
var boundaries = map[protoreflect.Kind][]protoreflect.Value{
	protoreflect.BoolKind:     values(protoreflect.ValueOfBool, true, false),
	protoreflect.Int32Kind:    values(protoreflect.ValueOfInt32, int32s...),
	protoreflect.Sint32Kind:   values(protoreflect.ValueOfInt32, int32s...),
	protoreflect.Sfixed32Kind: values(protoreflect.ValueOfInt32, int32s...),
	protoreflect.Int64Kind:    values(protoreflect.ValueOfInt64, int64s...),
	protoreflect.Sint64Kind:   values(protoreflect.ValueOfInt64, int64s...),
	protoreflect.Sfixed64Kind: values(protoreflect.ValueOfInt64, int64s...),
	protoreflect.Uint32Kind:   values(protoreflect.ValueOfUint32, uint32s...),
	protoreflect.Fixed32Kind:  values(protoreflect.ValueOfUint32, uint32s...),
	protoreflect.Uint64Kind:   values(protoreflect.ValueOfUint64, uint64s...),
	protoreflect.Fixed64Kind:  values(protoreflect.ValueOfUint64, uint64s...),
	protoreflect.FloatKind: values(protoreflect.ValueOfFloat32, 1, 0, float32(math.Copysign(0, -1)), -1.5,
		float32(math.Inf(1)), math.Float32frombits(0x7fc00001), math.SmallestNonzeroFloat32),
	protoreflect.DoubleKind: values(protoreflect.ValueOfFloat64, 1, 0, math.Copysign(0, -1), -1.5,
		math.Inf(1), math.Float64frombits(0x7ff8000000000001), math.SmallestNonzeroFloat64),
	protoreflect.StringKind: values(protoreflect.ValueOfString, "a", "", "\u0080", strings.Repeat("a", 128),
		strings.Repeat("\u0080", 6)), // longer than any varint
	protoreflect.BytesKind: values(protoreflect.ValueOfBytes, []byte("a"), []byte{}, []byte{0xff}, []byte{0x80},
		[]byte{0}, []byte{1}, []byte{8, 1}),
}

var (
	int32s  = []int32{1, 0, -1, 2, 128, math.MaxInt32, math.MinInt32}
	int64s  = []int64{1, 0, -1, 2, 128, 1 << 31, -(1 << 31) - 1, 1 << 32, math.MaxInt64, math.MinInt64}
	uint32s = []uint32{1, 0, 2, 128, 1 << 31, math.MaxUint32}
	uint64s = []uint64{1, 0, 2, 128, 1 << 31, 1 << 32, 1 << 63, math.MaxUint64}
)

func values[T any](of func(T) protoreflect.Value, l ...T) []protoreflect.Value {
	out := make([]protoreflect.Value, len(l))
	for i, v := range l {
		out[i] = of(v)
	}
	return out
}

// enumValues are the numbers that either schema names, and a few that none
// does.
func enumValues(f, reader protoreflect.FieldDescriptor, only []protoreflect.EnumNumber) []protoreflect.Value {
	var l []protoreflect.EnumNumber
	add := func(n protoreflect.EnumNumber) {
		if !slices.Contains(l, n) && (only == nil || slices.Contains(only, n)) {
			l = append(l, n)
		}
	}
	named := func(e protoreflect.EnumDescriptor) {
		for i := range e.Values().Len() {
			if n := e.Values().Get(i).Number(); n != 0 {
				add(n)
			}
		}
	}
	named(f.Enum())
	if reader != nil && reader.Enum() != nil {
		named(reader.Enum())
	}
	for _, n := range []protoreflect.EnumNumber{1, 0, 2, -1, 128} {
		add(n)
	}
	for _, n := range only {
		add(n)
	}
	return values(protoreflect.ValueOfEnum, l...)
}

// A Source makes choices. Smaller numbers are simpler.
type Source interface {
	Below(n int) int // from 0 to n-1
	Bits() uint64
}

// scalar is a random value, a boundary half the time.
func scalar(src Source, f, reader protoreflect.FieldDescriptor, only []protoreflect.EnumNumber) protoreflect.Value {
	if f.Kind() == protoreflect.EnumKind {
		l := enumValues(f, reader, only)
		return l[src.Below(len(l))]
	}
	if l := boundaries[f.Kind()]; src.Below(2) == 0 {
		return l[src.Below(len(l))]
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(src.Below(2) == 1)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(unzigzag(src.Bits())))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(src.Bits()))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(unzigzag(src.Bits()))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(src.Bits())
	case protoreflect.FloatKind:
		bits := uint32(src.Bits())
		if bits&0x7f800000 == 0x7f800000 && bits&0x7fffff != 0 {
			bits |= 0x400000 // quiet: see boundaries
		}
		return protoreflect.ValueOfFloat32(math.Float32frombits(bits))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(math.Float64frombits(src.Bits()))
	case protoreflect.StringKind:
		var s []rune
		for range src.Below(6) {
			s = append(s, []rune{'a', 'b', ' ', 0, 'é', '\u0080', '世', '😀'}[src.Below(8)])
		}
		return protoreflect.ValueOfString(string(s))
	}
	b := make([]byte, src.Below(6))
	for i := range b {
		b[i] = byte(src.Bits())
	}
	return protoreflect.ValueOfBytes(b)
}

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
