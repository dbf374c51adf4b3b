package rules

import (
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Encoding is how the bits on the wire become a number.
type Encoding int

// The encodings of numbers. Two kinds with different ones agree on zero only,
// and not even on that if one is a float.
const (
	Plain   Encoding = iota // two's complement, sign-extended to 64 bits
	ZigZag                  // sint32, sint64
	Fixed32                 // four bytes
	Fixed64                 // eight bytes
	IEEE32                  // float
	IEEE64                  // double
)

// Number is the encoding and the range of a kind.
type Number struct {
	Encoding Encoding
	Min      int64
	Max      uint64
}

func numbers() map[protoreflect.Kind]Number {
	return map[protoreflect.Kind]Number{
		protoreflect.BoolKind:     {Plain, 0, 1},
		protoreflect.EnumKind:     {Plain, math.MinInt32, math.MaxInt32},
		protoreflect.Int32Kind:    {Plain, math.MinInt32, math.MaxInt32},
		protoreflect.Int64Kind:    {Plain, math.MinInt64, math.MaxInt64},
		protoreflect.Uint32Kind:   {Plain, 0, math.MaxUint32},
		protoreflect.Uint64Kind:   {Plain, 0, math.MaxUint64},
		protoreflect.Sint32Kind:   {ZigZag, math.MinInt32, math.MaxInt32},
		protoreflect.Sint64Kind:   {ZigZag, math.MinInt64, math.MaxInt64},
		protoreflect.Fixed32Kind:  {Fixed32, 0, math.MaxUint32},
		protoreflect.Sfixed32Kind: {Fixed32, math.MinInt32, math.MaxInt32},
		protoreflect.Fixed64Kind:  {Fixed64, 0, math.MaxUint64},
		protoreflect.Sfixed64Kind: {Fixed64, math.MinInt64, math.MaxInt64},
		protoreflect.FloatKind:    {IEEE32, 0, 0},
		protoreflect.DoubleKind:   {IEEE64, 0, 0},
	}
}

// holds says whether every number of kind w is read as itself by kind r. Then
// r writes it with the same bytes: an int32 is sign-extended like an int64.
func (t Table) holds(w, r protoreflect.Kind) bool {
	a, b := t.Numbers[w], t.Numbers[r]
	return a.Encoding == b.Encoding && b.Min <= a.Min && a.Max <= b.Max
}
