// Package protorand makes random messages and damaged encodings by their
// descriptors, fast and from a seed: for tests that need millions of them and
// no shrinking. What it prefers is what encoders and decoders get wrong: limits
// of number types, −0.0 and NaNs, empty and long text, characters of several
// bytes, empty submessages.
package protorand

import (
	"math"
	"math/rand/v2"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Rand is the source of a seed.
func Rand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// Fill sets random fields of m, which is empty, to random valid values.
// Submessages are nested at most depth deep.
func Fill(r *rand.Rand, m protoreflect.Message, depth int) {
	d := m.Descriptor()
	switch d.FullName() {
	case "google.protobuf.Timestamp":
		set(m, "seconds", protoreflect.ValueOfInt64(pick(r, 0, -62135596800, 253402300799, 1767225600, r.Int64N(1<<32))))
		set(m, "nanos", protoreflect.ValueOfInt32(int32(pick(r, 0, 1, 999999999, r.Int64N(1e9)))))
		return
	case "google.protobuf.Duration":
		s, n := pick(r, 0, 1, 315576000000, r.Int64N(1<<20)), int32(pick(r, 0, 1, 999999999, r.Int64N(1e9)))
		if r.IntN(2) == 0 {
			s, n = -s, -n
		}
		set(m, "seconds", protoreflect.ValueOfInt64(s))
		set(m, "nanos", protoreflect.ValueOfInt32(n))
		return
	}
	// Few fields, most, or all of them.
	density := [...]int{1, 5, 8, 10}[r.IntN(4)]
	fields := d.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if r.IntN(10) >= density {
			continue
		}
		switch {
		case f.IsMap():
			for range r.IntN(3) + 1 {
				key := value(r, f.MapKey()).MapKey()
				if f.MapValue().Message() == nil {
					m.Mutable(f).Map().Set(key, value(r, f.MapValue()))
				} else if depth > 0 {
					Fill(r, m.Mutable(f).Map().Mutable(key).Message(), depth-1)
				}
			}
		case f.IsList() && f.Message() != nil:
			if depth > 0 {
				for range r.IntN(3) + 1 {
					Fill(r, m.Mutable(f).List().AppendMutable().Message(), depth-1)
				}
			}
		case f.IsList():
			n := r.IntN(4)
			if r.IntN(20) == 0 {
				n = r.IntN(200)
			}
			for list := m.Mutable(f).List(); n > 0; n-- {
				list.Append(value(r, f))
			}
		case f.Message() != nil:
			if depth > 0 {
				Fill(r, m.Mutable(f).Message(), depth-1)
			}
		default:
			m.Set(f, value(r, f))
		}
	}
}

func set(m protoreflect.Message, name protoreflect.Name, v protoreflect.Value) {
	m.Set(m.Descriptor().Fields().ByName(name), v)
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

var (
	int32s   = []int32{0, 1, -1, 127, 128, -128, 16383, 16384, 1 << 20, 1<<21 - 1, math.MaxInt32, math.MinInt32}
	int64s   = []int64{0, 1, -1, 127, 128, 16383, 16384, 1<<28 - 1, 1 << 28, 1<<35 - 1, 1 << 56, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}
	float64s = []uint64{0, 1 << 63, 1, 0x3ff0000000000000, 0xbff8000000000000, 0x7ff0000000000000, 0xfff0000000000000,
		0x7ff8000000000000, 0x7ff8000000000001, 0xfff8000000001234, 0x7ff0000000000001, 0x7fefffffffffffff, 0x000fffffffffffff}
	float32s = []uint32{0, 1 << 31, 1, 0x3f800000, 0xbfc00000, 0x7f800000, 0xff800000, quietMark, 0xffc00001, 0x7f7fffff, 0x007fffff}
	texts    = []string{"", "a", "\x00", "é", "€", "🌱", "\u2028", "\ufeff", "\U0010ffff", "\ud7ff\ue000", "tolaria",
		"018f3c1e-0000-7000-8000-000000000001", strings.Repeat("x", 127), strings.Repeat("é", 64), strings.Repeat("🌱", 100)}
)

// quietMark is a NaN that stands for a signalling one: see [Signal].
const quietMark = 0x7fc0dead

// Signal makes signalling NaNs of some quiet float32 NaNs in an encoding, in
// place, and says whether there were any. Reflection cannot set one: it hands
// floats on as float64, which quiets them.
func Signal(b []byte) (found bool) {
	for i := 0; i+4 <= len(b); i++ {
		if b[i] == 0xad && b[i+1] == 0xde && b[i+2] == 0xc0 && b[i+3] == 0x7f {
			b[i+2] = 0x80
			found = true
		}
	}
	return found
}

// value is a random value of a scalar field or of a list's element.
func value(r *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(r.IntN(f.Enum().Values().Len())).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		if r.IntN(2) == 0 {
			return protoreflect.ValueOfInt32(int32(r.Uint32()) >> r.IntN(32))
		}
		return protoreflect.ValueOfInt32(pick(r, int32s...))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		if r.IntN(2) == 0 {
			return protoreflect.ValueOfUint32(r.Uint32() >> r.IntN(32))
		}
		return protoreflect.ValueOfUint32(uint32(pick(r, int32s...)))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		if r.IntN(2) == 0 {
			return protoreflect.ValueOfInt64(int64(r.Uint64()) >> r.IntN(64))
		}
		return protoreflect.ValueOfInt64(pick(r, int64s...))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if r.IntN(2) == 0 {
			return protoreflect.ValueOfUint64(r.Uint64() >> r.IntN(64))
		}
		return protoreflect.ValueOfUint64(uint64(pick(r, int64s...)))
	case protoreflect.FloatKind:
		if r.IntN(2) == 0 {
			return protoreflect.ValueOfFloat32(math.Float32frombits(r.Uint32()))
		}
		return protoreflect.ValueOfFloat32(math.Float32frombits(pick(r, float32s...)))
	case protoreflect.DoubleKind:
		if r.IntN(2) == 0 {
			return protoreflect.ValueOfFloat64(math.Float64frombits(r.Uint64()))
		}
		return protoreflect.ValueOfFloat64(math.Float64frombits(pick(r, float64s...)))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(pick(r, texts...))
	}
	b := make([]byte, pick(r, 0, 1, 16, 32, 127, 128, r.IntN(40)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return protoreflect.ValueOfBytes(b)
}
