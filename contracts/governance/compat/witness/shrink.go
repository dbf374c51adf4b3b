package witness

import (
	"bytes"
	"math"
	"math/bits"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// shrink replaces the witness by a smaller one of the same class.
func (s *Searcher) shrink(x *exchanger, k *maker, w, r protoreflect.MessageDescriptor, best *Result) {
	shows := func(m protoreflect.Message) bool {
		best.Tried++
		return k.inScope(m) && x.exchange(m, r).Class == best.Class
	}
	m := minimise(best.Outcome.Written, shows)
	if s.options.Rapid {
		if other := searchRapid(k, w, r, shows); other != nil {
			// rapid shrinks choices, not messages: its least choices may still
			// hold a field that nothing needs.
			if other = minimise(other, shows); smaller(x.codec, other, m) {
				m = other
			}
		}
	}
	best.Outcome = x.exchange(m, r)
}

func smaller(c *codec, a, b protoreflect.Message) bool {
	x, y := c.message(nil, a), c.message(nil, b)
	return len(x) < len(y) || len(x) == len(y) && bytes.Compare(x, y) < 0
}

// inScope says that a message has only enum numbers of the scope.
func (k *maker) inScope(m protoreflect.Message) bool {
	if k.scope.Numbers == nil {
		return true
	}
	ok := true
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Enum() == nil {
			return true
		}
		check := func(n protoreflect.EnumNumber) { ok = ok && slices.Contains(k.scope.Numbers, n) }
		switch {
		case f.IsList():
			for i := range v.List().Len() {
				check(v.List().Get(i).Enum())
			}
		default:
			check(v.Enum())
		}
		return ok
	})
	return ok
}

// minimise takes away what it can, step by step, until no single step leaves
// a message that shows the same. Every step is towards less, so it ends.
func minimise(m protoreflect.Message, shows func(protoreflect.Message) bool) protoreflect.Message {
	for {
		next := protoreflect.Message(nil)
		simplerMessages(m, func(c protoreflect.Message) bool {
			if shows(c) {
				next = c
			}
			return next == nil
		})
		if next == nil {
			return m
		}
		m = next
	}
}

// with is a copy of m in which one field has another value. What is within
// the fields is shared: nothing here changes a value in place.
func with(m protoreflect.Message, f protoreflect.FieldDescriptor, v protoreflect.Value) protoreflect.Message {
	c := dynamicpb.NewMessage(m.Descriptor())
	m.Range(func(g protoreflect.FieldDescriptor, w protoreflect.Value) bool {
		if f != g {
			c.Set(g, w)
		}
		return true
	})
	if v.IsValid() {
		c.Set(f, v)
	}
	return c
}

func simplerMessages(m protoreflect.Message, yield func(protoreflect.Message) bool) bool {
	var fields []protoreflect.FieldDescriptor
	for _, f := range new(codec).fields(m.Descriptor()) {
		if m.Has(f) {
			fields = append(fields, f)
		}
	}
	for _, f := range fields {
		if !yield(with(m, f, protoreflect.Value{})) {
			return false
		}
	}
	for _, f := range fields {
		use := func(v protoreflect.Value) bool { return yield(with(m, f, v)) }
		ok := true
		switch v := m.Get(f); {
		case f.IsMap():
			ok = simplerMaps(m, f, use)
		case f.IsList():
			ok = simplerLists(m, f, use)
		default:
			ok = simplerValues(f, v, use)
		}
		if !ok {
			return false
		}
	}
	return true
}

func simplerLists(m protoreflect.Message, f protoreflect.FieldDescriptor, yield func(protoreflect.Value) bool) bool {
	l := m.Get(f).List()
	but := func(keep func(i int) bool, at int, v protoreflect.Value) protoreflect.Value {
		n := m.NewField(f)
		for i := range l.Len() {
			switch {
			case i == at:
				n.List().Append(v)
			case keep(i):
				n.List().Append(l.Get(i))
			}
		}
		return n
	}
	all := func(int) bool { return true }
	for half := l.Len() / 2; half > 1; half /= 2 {
		if !yield(but(func(i int) bool { return i >= half }, -1, protoreflect.Value{})) {
			return false
		}
	}
	for i := range min(l.Len(), 8) {
		if l.Len() > 1 && !yield(but(func(j int) bool { return j != i }, -1, protoreflect.Value{})) {
			return false
		}
	}
	for i := range min(l.Len(), 8) {
		if !simplerValues(f, l.Get(i), func(v protoreflect.Value) bool { return yield(but(all, i, v)) }) {
			return false
		}
	}
	return true
}

func simplerMaps(m protoreflect.Message, f protoreflect.FieldDescriptor, yield func(protoreflect.Value) bool) bool {
	mv := m.Get(f).Map()
	keys := sortedKeys(f, mv)
	but := func(gone int, k protoreflect.MapKey, v protoreflect.Value) protoreflect.Value {
		n := m.NewField(f)
		for i, key := range keys {
			if i != gone {
				n.Map().Set(key, mv.Get(key))
			}
		}
		if v.IsValid() {
			n.Map().Set(k, v)
		}
		return n
	}
	for i := range keys {
		if len(keys) > 1 && !yield(but(i, protoreflect.MapKey{}, protoreflect.Value{})) {
			return false
		}
	}
	for i, k := range keys {
		v := mv.Get(k)
		if !simplerValues(f.MapKey(), k.Value(), func(to protoreflect.Value) bool {
			return mv.Has(to.MapKey()) || yield(but(i, to.MapKey(), v))
		}) {
			return false
		}
		if !simplerValues(f.MapValue(), v, func(to protoreflect.Value) bool { return yield(but(i, k, to)) }) {
			return false
		}
	}
	return true
}

// simplerValues are the values that are simpler than v: nearer to zero, or
// shorter.
func simplerValues(f protoreflect.FieldDescriptor, v protoreflect.Value, yield func(protoreflect.Value) bool) bool {
	if f.Message() != nil {
		return simplerMessages(v.Message(), func(m protoreflect.Message) bool { return yield(protoreflect.ValueOfMessage(m)) })
	}
	switch x := v.Interface().(type) {
	case bool:
		return !x || yield(protoreflect.ValueOfBool(false))
	case int32:
		return simplerInts(int64(x), math.MinInt32, func(n int64) bool { return yield(protoreflect.ValueOfInt32(int32(n))) })
	case int64:
		return simplerInts(x, math.MinInt64, func(n int64) bool { return yield(protoreflect.ValueOfInt64(n)) })
	case protoreflect.EnumNumber:
		return simplerInts(int64(x), math.MinInt32, func(n int64) bool { return yield(protoreflect.ValueOfEnum(protoreflect.EnumNumber(n))) })
	case uint32:
		return simplerUints(uint64(x), func(n uint64) bool { return yield(protoreflect.ValueOfUint32(uint32(n))) })
	case uint64:
		return simplerUints(x, func(n uint64) bool { return yield(protoreflect.ValueOfUint64(n)) })
	case float32:
		return math.Float32bits(x) == 0 || yield(protoreflect.ValueOfFloat32(0)) && (x == 1 || yield(protoreflect.ValueOfFloat32(1)))
	case float64:
		return math.Float64bits(x) == 0 || yield(protoreflect.ValueOfFloat64(0)) && (x == 1 || yield(protoreflect.ValueOfFloat64(1)))
	case string:
		return simplerRunes([]rune(x), func(s []rune) bool { return yield(protoreflect.ValueOfString(string(s))) })
	case []byte:
		return simplerBytes(x, func(b []byte) bool { return yield(protoreflect.ValueOfBytes(b)) })
	}
	return true
}

// simplerInts come nearer to zero by powers of two, largest first: where
// everything beyond a bound shows a loss, the bound is found. The least number
// of its kind has no positive counterpart: it would be its own.
func simplerInts(v, least int64, yield func(int64) bool) bool {
	if v < 0 {
		return (v == least || yield(-v)) && simplerUints(-uint64(v), func(n uint64) bool { return yield(-int64(n)) })
	}
	return simplerUints(uint64(v), func(n uint64) bool { return yield(int64(n)) })
}

func simplerUints(v uint64, yield func(uint64) bool) bool {
	if v == 0 {
		return true
	}
	if !yield(0) {
		return false
	}
	for k := bits.Len64(v) - 1; k >= 0; k-- {
		if n := v - 1<<k; n != 0 && !yield(n) {
			return false
		}
	}
	return true
}

func simplerRunes(s []rune, yield func([]rune) bool) bool {
	for n := len(s) / 2; n > 1; n /= 2 {
		if !yield(s[n:]) {
			return false
		}
	}
	for i := range min(len(s), 8) {
		if !yield(slices.Delete(slices.Clone(s), i, i+1)) {
			return false
		}
	}
	for i := range min(len(s), 8) {
		c := slices.Clone(s)
		if c[i] = 'a'; s[i] != 'a' && !yield(c) {
			return false
		}
	}
	return true
}

func simplerBytes(s []byte, yield func([]byte) bool) bool {
	for n := len(s) / 2; n > 1; n /= 2 {
		if !yield(s[n:]) {
			return false
		}
	}
	for i := range min(len(s), 8) {
		if !yield(slices.Delete(slices.Clone(s), i, i+1)) {
			return false
		}
	}
	for i := range min(len(s), 8) {
		c := slices.Clone(s)
		if c[i] = 0; s[i] != 0 && !yield(c) {
			return false
		}
	}
	return true
}
