package protorand

import (
	"math/rand/v2"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Shuffle puts the fields of an encoding of d into another order, also within
// its submessages. The elements of a list keep their order, so that it is
// still an encoding of the same message.
func Shuffle(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte) []byte {
	fields := split(b)
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	// Back into order within each number.
	byNumber := map[protowire.Number][]part{}
	for _, p := range split(b) {
		byNumber[p.number] = append(byNumber[p.number], p)
	}
	var out []byte
	for _, p := range fields {
		next := byNumber[p.number][0]
		byNumber[p.number] = byNumber[p.number][1:]
		if sub := submessage(d, next); sub != nil {
			content := Shuffle(r, sub, next.content())
			next.raw = protowire.AppendBytes(protowire.AppendTag(nil, next.number, protowire.BytesType), content)
		}
		out = append(out, next.raw...)
	}
	return out
}

// A part is one field of an encoding.
type part struct {
	number protowire.Number
	wire   protowire.Type
	raw    []byte // tag and value
	tag    int    // length of the tag
}

func (p part) content() []byte {
	b, _ := protowire.ConsumeBytes(p.raw[p.tag:])
	return b
}

// split takes an encoding apart, as far as it can be read.
func split(b []byte) []part {
	var parts []part
	for len(b) > 0 {
		n, wire, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(n, wire, b[tag:])
		if size < 0 {
			break
		}
		parts = append(parts, part{n, wire, b[: tag+size : tag+size], tag})
		b = b[tag+size:]
	}
	return parts
}

func join(parts []part) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p.raw...)
	}
	return b
}

func submessage(d protoreflect.MessageDescriptor, p part) protoreflect.MessageDescriptor {
	if f := d.Fields().ByNumber(p.number); f != nil && p.wire == protowire.BytesType && f.Message() != nil {
		return f.Message()
	}
	return nil
}

// A damage changes an encoding. It returns nil where it has nothing to do.
type damage struct {
	name string
	do   func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte
}

// Names lists what Damage can do.
func Names() []string {
	var names []string
	for _, k := range damages {
		names = append(names, k.name)
	}
	return names
}

// Damage returns a damaged copy of an encoding of d, and what was done to it:
// one of the ways that decoders are known to differ in, at the top or in a
// submessage whose length is put right.
func Damage(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte) ([]byte, string) {
	parts := split(b)
	if r.IntN(3) == 0 {
		var inner []int
		for i, p := range parts {
			if submessage(d, p) != nil {
				inner = append(inner, i)
			}
		}
		if len(inner) > 0 {
			i := inner[r.IntN(len(inner))]
			content, name := Damage(r, submessage(d, parts[i]), parts[i].content())
			parts[i].raw = protowire.AppendBytes(protowire.AppendTag(nil, parts[i].number, protowire.BytesType), content)
			return join(parts), name
		}
	}
	for {
		k := damages[r.IntN(len(damages))]
		if out := k.do(r, d, slices.Clone(b), slices.Clone(parts)); out != nil {
			return out, k.name
		}
	}
}

// overlong writes v with zero bytes more than it needs.
func overlong(v uint64, more int) []byte {
	b := protowire.AppendVarint(nil, v)
	b[len(b)-1] |= 0x80
	for range more - 1 {
		b = append(b, 0x80)
	}
	return append(b, 0)
}

// chosen replaces the field at a random place among those that fit.
func chosen(r *rand.Rand, parts []part, fits func(part) bool, with func(part) []byte) []byte {
	var at []int
	for i, p := range parts {
		if fits(p) {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return nil
	}
	i := at[r.IntN(len(at))]
	parts[i].raw = with(parts[i])
	return join(parts)
}

func tagged(n protowire.Number, wire protowire.Type, value ...byte) []byte {
	return append(protowire.AppendTag(nil, n, wire), value...)
}

// insert puts a field at a random place between the others.
func insert(r *rand.Rand, parts []part, raw []byte) []byte {
	return join(slices.Insert(parts, r.IntN(len(parts)+1), part{raw: raw}))
}

func field(r *rand.Rand, d protoreflect.MessageDescriptor, fits func(protoreflect.FieldDescriptor) bool) protoreflect.FieldDescriptor {
	var all []protoreflect.FieldDescriptor
	for i := range d.Fields().Len() {
		if f := d.Fields().Get(i); fits(f) {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[r.IntN(len(all))]
}

func isVarint(f protoreflect.FieldDescriptor) bool {
	return wireOf(f.Kind()) == protowire.VarintType
}

func wireOf(k protoreflect.Kind) protowire.Type {
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

// unknownNumber is a field number that d does not have.
func unknownNumber(r *rand.Rand, d protoreflect.MessageDescriptor) protowire.Number {
	for {
		n := pick(r, protowire.Number(r.IntN(60)+1), 1000, 18999, protowire.MaxValidNumber, protowire.Number(r.IntN(1<<20)+1))
		if d.Fields().ByNumber(n) == nil {
			return n
		}
	}
}

var badText = []string{"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80", "\xe2\x82", "\xf0\x9f\x8c", "\xf8\x88\x80\x80\x80"}

var damages = []damage{
	{"none", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		if b == nil {
			return []byte{}
		}
		return b
	}},
	{"bit flip", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		if len(b) == 0 {
			return nil
		}
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	}},
	{"byte inserted", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return slices.Insert(b, r.IntN(len(b)+1), byte(r.Uint32()))
	}},
	{"byte deleted", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		if len(b) == 0 {
			return nil
		}
		i := r.IntN(len(b))
		return slices.Delete(b, i, i+1)
	}},
	{"piece duplicated", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		if len(b) == 0 {
			return nil
		}
		i := r.IntN(len(b))
		j := i + 1 + r.IntN(len(b)-i)
		return slices.Insert(b, j, slices.Clone(b[i:j])...)
	}},
	{"truncated", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		if len(b) == 0 {
			return nil
		}
		return b[:r.IntN(len(b))]
	}},
	{"raw bytes", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		b = make([]byte, r.IntN(24))
		for i := range b {
			b[i] = byte(r.Uint32())
			if r.IntN(3) == 0 {
				b[i] &= 0x1f
			}
		}
		return b
	}},
	{"fields swapped", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		if len(parts) < 2 {
			return nil
		}
		i := r.IntN(len(parts) - 1)
		parts[i], parts[i+1] = parts[i+1], parts[i]
		return join(parts)
	}},
	{"field duplicated", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		if len(parts) == 0 {
			return nil
		}
		return insert(r, parts, parts[r.IntN(len(parts))].raw)
	}},
	{"tag is not minimal", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return chosen(r, parts, func(part) bool { return true }, func(p part) []byte {
			v, _ := protowire.ConsumeVarint(p.raw)
			return append(overlong(v, 1+r.IntN(5)), p.raw[p.tag:]...)
		})
	}},
	{"varint is not minimal", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return chosen(r, parts, func(p part) bool { return p.wire == protowire.VarintType }, func(p part) []byte {
			v, _ := protowire.ConsumeVarint(p.raw[p.tag:])
			return append(slices.Clone(p.raw[:p.tag]), overlong(v, 1+r.IntN(3))...)
		})
	}},
	{"length is not minimal", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return chosen(r, parts, func(p part) bool { return p.wire == protowire.BytesType }, func(p part) []byte {
			c := p.content()
			return append(append(slices.Clone(p.raw[:p.tag]), overlong(uint64(len(c)), 1+r.IntN(5))...), c...)
		})
	}},
	{"length changed", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return chosen(r, parts, func(p part) bool { return p.wire == protowire.BytesType }, func(p part) []byte {
			c := p.content()
			n := pick(r, uint64(len(c)+1), uint64(max(len(c)-1, 0)), 1<<31-1, 1<<31, 1<<32-1, 1<<32+uint64(len(c)), 1<<63, 1<<64-1)
			return append(protowire.AppendVarint(slices.Clone(p.raw[:p.tag]), n), c...)
		})
	}},
	{"number cut to 32 bits", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return chosen(r, parts, func(p part) bool { return p.wire == protowire.VarintType }, func(p part) []byte {
			v, _ := protowire.ConsumeVarint(p.raw[p.tag:])
			if v <= 1<<32-1 {
				v = ^v
			}
			return protowire.AppendVarint(slices.Clone(p.raw[:p.tag]), v&(1<<32-1))
		})
	}},
	{"varint of ten bytes", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		f := field(r, d, func(f protoreflect.FieldDescriptor) bool { return isVarint(f) && !f.IsList() })
		if f == nil {
			return nil
		}
		long := slices.Repeat([]byte{pick(r, byte(0xff), 0x80)}, 9)
		long = append(long, pick(r, byte(0), 1, 2, 0x7f, 0x81))
		if long[9] == 0x81 {
			long = append(long, pick(r, byte(0), 1))
		}
		return insert(r, parts, tagged(f.Number(), protowire.VarintType, long...))
	}},
	{"value out of range", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		f := field(r, d, func(f protoreflect.FieldDescriptor) bool { return isVarint(f) && !f.IsList() })
		if f == nil {
			return nil
		}
		v := pick(r, 2, 1000, 1<<31, 1<<32, 1<<32+1, 1<<63, ^uint64(0), ^uint64(0)-5)
		return insert(r, parts, protowire.AppendVarint(tagged(f.Number(), protowire.VarintType), v))
	}},
	{"unknown field", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		n := unknownNumber(r, d)
		switch r.IntN(4) {
		case 0:
			return insert(r, parts, tagged(n, protowire.VarintType, byte(r.IntN(128))))
		case 1:
			return insert(r, parts, tagged(n, protowire.Fixed32Type, 1, 2, 3, 4))
		case 2:
			return insert(r, parts, tagged(n, protowire.Fixed64Type, 1, 2, 3, 4, 5, 6, 7, 8))
		}
		return insert(r, parts, tagged(n, protowire.BytesType, 2, 0xff, 0))
	}},
	{"submessage split", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return chosen(r, parts, func(p part) bool { return submessage(d, p) != nil }, func(p part) []byte {
			inner := split(p.content())
			at := r.IntN(len(inner) + 1)
			tag := protowire.AppendTag(nil, p.number, protowire.BytesType)
			out := protowire.AppendBytes(slices.Clone(tag), join(inner[:at]))
			return protowire.AppendBytes(append(out, tag...), join(inner[at:]))
		})
	}},
	{"two arms", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		f := field(r, d, func(f protoreflect.FieldDescriptor) bool {
			return f.ContainingOneof() != nil && !f.ContainingOneof().IsSynthetic()
		})
		if f == nil {
			return nil
		}
		for range 2 {
			f = f.ContainingOneof().Fields().Get(r.IntN(f.ContainingOneof().Fields().Len()))
			parts = append(parts, part{raw: zero(f)})
		}
		return join(parts)
	}},
	{"explicit zero", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		f := field(r, d, func(f protoreflect.FieldDescriptor) bool { return true })
		if f == nil {
			return nil
		}
		if r.IntN(2) == 0 {
			// At its place, so that only the zero itself is wrong.
			at := 0
			for at < len(parts) && parts[at].number < f.Number() {
				at++
			}
			return join(slices.Insert(parts, at, part{raw: zero(f)}))
		}
		return insert(r, parts, zero(f))
	}},
	{"wrong wire type", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		f := field(r, d, func(f protoreflect.FieldDescriptor) bool { return true })
		if f == nil {
			return nil
		}
		switch r.IntN(4) {
		case 0:
			return insert(r, parts, tagged(f.Number(), protowire.VarintType, 1))
		case 1:
			return insert(r, parts, tagged(f.Number(), protowire.Fixed32Type, 1, 2, 3, 4))
		case 2:
			return insert(r, parts, tagged(f.Number(), protowire.Fixed64Type, 1, 2, 3, 4, 5, 6, 7, 8))
		}
		return insert(r, parts, tagged(f.Number(), protowire.BytesType, 1, 7))
	}},
	{"not packed", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return chosen(r, parts, func(p part) bool {
			f := d.Fields().ByNumber(p.number)
			return f != nil && f.IsPacked() && p.wire == protowire.BytesType && isVarint(f)
		}, func(p part) []byte {
			var out []byte
			for c := p.content(); len(c) > 0; {
				v, n := protowire.ConsumeVarint(c)
				if n < 0 {
					break
				}
				out = protowire.AppendVarint(protowire.AppendTag(out, p.number, protowire.VarintType), v)
				c = c[n:]
			}
			return out
		})
	}},
	{"packed in two pieces", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return chosen(r, parts, func(p part) bool {
			f := d.Fields().ByNumber(p.number)
			return f != nil && f.IsPacked() && p.wire == protowire.BytesType
		}, func(p part) []byte { return append(slices.Clone(p.raw), p.raw...) })
	}},
	{"group", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		n := unknownNumber(r, d)
		if f := field(r, d, func(protoreflect.FieldDescriptor) bool { return true }); f != nil && r.IntN(2) == 0 {
			n = f.Number()
		}
		start, end := tagged(n, protowire.StartGroupType), tagged(n, protowire.EndGroupType)
		switch r.IntN(5) {
		case 0:
			return insert(r, parts, end)
		case 1:
			return insert(r, parts, start)
		case 2:
			return insert(r, parts, append(start, tagged(n+1, protowire.EndGroupType)...))
		case 3:
			return append(join(parts), end...)
		}
		return insert(r, parts, append(append(start, tagged(1, protowire.VarintType, 1)...), end...))
	}},
	{"bad tag", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		return insert(r, parts, pick(r,
			[]byte{0}, []byte{0, 0}, []byte{0x80, 0}, []byte{0x07}, []byte{0x06}, []byte{0x0e, 1}, []byte{0x0f, 1},
			[]byte{0x02, 1, 'a'}, []byte{0x01, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{0x05, 1, 2, 3, 4}, []byte{0x04}, []byte{0x03, 0x04},
			protowire.AppendVarint(nil, 1<<32), append(protowire.AppendVarint(nil, 1<<32|0x08), 1),
			append(protowire.AppendVarint(nil, 1<<35|0x08), 1), protowire.AppendVarint(nil, 1<<63)))
	}},
	{"text is not UTF-8", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		f := field(r, d, func(f protoreflect.FieldDescriptor) bool { return f.Kind() == protoreflect.StringKind })
		if f == nil {
			return nil
		}
		return insert(r, parts, protowire.AppendString(tagged(f.Number(), protowire.BytesType), pick(r, badText...)))
	}},
	{"bad time", func(r *rand.Rand, d protoreflect.MessageDescriptor, b []byte, parts []part) []byte {
		f := field(r, d, func(f protoreflect.FieldDescriptor) bool {
			return f.Message() != nil && (f.Message().Name() == "Timestamp" || f.Message().Name() == "Duration")
		})
		if f == nil {
			return nil
		}
		s := pick(r, 0, 1, -1, 253402300799, 253402300800, -62135596800, -62135596801, 315576000000, 315576000001, -315576000000, -315576000001)
		n := pick(r, 0, 1, -1, 999999999, 1000000000, -999999999, -1000000000, -1<<31, 1<<31-1)
		var c []byte
		if s != 0 {
			c = protowire.AppendVarint(tagged(1, protowire.VarintType), uint64(int64(s)))
		}
		if n != 0 {
			c = protowire.AppendVarint(append(c, 0x10), uint64(int64(n)))
		}
		raw := protowire.AppendBytes(tagged(f.Number(), protowire.BytesType), c)
		// In the place of the field, if it is there: the time alone is wrong.
		if !f.IsList() {
			if out := chosen(r, parts, func(p part) bool { return p.number == f.Number() }, func(part) []byte { return raw }); out != nil {
				return out
			}
		}
		return insert(r, parts, raw)
	}},
}

// zero is a field with its default value, written.
func zero(f protoreflect.FieldDescriptor) []byte {
	if f.IsList() {
		return tagged(f.Number(), protowire.BytesType, 0)
	}
	switch wireOf(f.Kind()) {
	case protowire.VarintType:
		return tagged(f.Number(), protowire.VarintType, 0)
	case protowire.Fixed32Type:
		return tagged(f.Number(), protowire.Fixed32Type, 0, 0, 0, 0)
	case protowire.Fixed64Type:
		return tagged(f.Number(), protowire.Fixed64Type, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	return tagged(f.Number(), protowire.BytesType, 0)
}
