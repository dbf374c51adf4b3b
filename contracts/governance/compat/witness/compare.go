package witness

import (
	"bytes"
	"math"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

// Checks are the comparisons that make a verdict. Compare uses all of them.
type Checks struct {
	Names    bool // a field is looked for by its name first
	Enums    bool // an enum's number is looked at with its name
	Floats   bool // floats differ where their bits do
	Presence bool // set-to-zero differs from unset
	Relay    bool // the writer's side reads what the reader sends on
	Order    bool // unknown fields are sent on in the order of their numbers
}

// AllChecks are what a verdict needs.
func AllChecks() Checks { return Checks{true, true, true, true, true, true} }

// comparer compares what was written with what is seen. It notes where the
// first of the gravest differences is.
type comparer struct {
	codec  *codec
	checks Checks
	worst  exchange.Class
	where  string
}

func (c *comparer) note(at string, class exchange.Class) {
	if class > c.worst {
		c.worst, c.where = class, at
	}
}

// values notes the difference as one of values, unless they are equal.
func (c *comparer) values(at string, equal bool) {
	if !equal {
		c.note(at, exchange.ValueLossy)
	}
}

// slot is one field of one message, or a part of a map's entry.
type slot struct {
	fd    protoreflect.FieldDescriptor
	value protoreflect.Value
	set   bool
}

func slotOf(m protoreflect.Message, f protoreflect.FieldDescriptor) slot {
	return slot{f, m.Get(f), m.Has(f)}
}

func (s slot) presence() bool { return s.fd.HasPresence() && !s.fd.ContainingMessage().IsMapEntry() }

// fields is a message, or a map's entry seen as one.
type fields struct {
	desc  protoreflect.MessageDescriptor
	get   func(protoreflect.FieldDescriptor) slot
	plain protoreflect.Message // nil for an entry
}

func ofMessage(m protoreflect.Message) fields {
	return fields{m.Descriptor(), func(f protoreflect.FieldDescriptor) slot { return slotOf(m, f) }, m}
}

func ofEntry(f protoreflect.FieldDescriptor, k protoreflect.MapKey, v protoreflect.Value) fields {
	return fields{f.Message(), func(p protoreflect.FieldDescriptor) slot {
		if p.Number() == 1 {
			return slot{p, k.Value(), true}
		}
		return slot{p, v, true}
	}, nil}
}

// message compares field by field. What only the reader has is compared by
// the name it has in the writer's schema, or not at all.
func (c *comparer) message(at string, w, r fields) {
	if at != "" {
		at += "."
	}
	l := w.desc.Fields()
	for i := range l.Len() {
		f := l.Get(i)
		var g protoreflect.FieldDescriptor
		if c.checks.Names {
			g = r.desc.Fields().ByName(f.Name())
		}
		if g == nil {
			g = r.desc.Fields().ByNumber(f.Number())
		}
		if g != nil {
			c.field(at+string(f.Name()), w.get(f), r.get(g))
		}
		if c.worst == exchange.ValueLossy {
			return
		}
	}
}

func (c *comparer) field(at string, w, r slot) {
	if !w.set && !r.set {
		return
	}
	wl, rl := w.fd.IsList() || w.fd.IsMap(), r.fd.IsList() || r.fd.IsMap()
	switch {
	case wl && rl:
		c.lists(at, elements(w), elements(r))
	case wl:
		c.oneAndMany(at, elements(w), r)
	case rl:
		c.manyAndOne(at, w, elements(r))
		if w.presence() && c.checks.Presence && w.set != r.set {
			c.note(at, exchange.PresenceLossy)
		}
	default:
		c.singular(at, w, r)
	}
}

func (c *comparer) singular(at string, w, r slot) {
	switch {
	case w.set && r.set:
		c.element(at, elementOf(w), elementOf(r))
	default:
		// Unset is zero, and an empty message.
		c.values(at, !w.set || zero(w.fd, w.value))
		c.values(at, !r.set || zero(r.fd, r.value))
	}
	if w.presence() && c.checks.Presence && w.set != r.set {
		c.note(at, exchange.PresenceLossy)
	}
}

func (c *comparer) lists(at string, w, r []element) {
	c.values(at, len(w) == len(r))
	for i := range min(len(w), len(r)) {
		c.element(at, w[i], r[i])
	}
}

func (c *comparer) oneAndMany(at string, w []element, r slot) {
	switch {
	case len(w) == 0:
		c.values(at, !r.set || zero(r.fd, r.value))
	case len(w) > 1 || !r.set && !w[0].zero():
		c.values(at, false)
	case r.set:
		c.element(at, w[0], elementOf(r))
	}
}

func (c *comparer) manyAndOne(at string, w slot, r []element) {
	switch {
	case len(r) == 0:
		c.values(at, !w.set || zero(w.fd, w.value))
	case len(r) > 1 || !w.set && !r[0].zero():
		c.values(at, false)
	case w.set:
		c.element(at, elementOf(w), r[0])
	}
}

// element is a value without a question of presence.
type element struct {
	fd    protoreflect.FieldDescriptor
	value protoreflect.Value
	key   protoreflect.MapKey // of an entry
}

func elementOf(s slot) element { return element{fd: s.fd, value: s.value} }

func elements(s slot) []element {
	var l []element
	switch {
	case s.fd.IsMap():
		for _, k := range sortedKeys(s.fd, s.value.Map()) {
			l = append(l, element{s.fd, s.value.Map().Get(k), k})
		}
	default:
		for i := range s.value.List().Len() {
			l = append(l, element{fd: s.fd, value: s.value.List().Get(i)})
		}
	}
	return l
}

func (e element) zero() bool { return !e.fd.IsMap() && zeroElement(e.fd, e.value) }

func (e element) fields() fields {
	if e.fd.IsMap() {
		return ofEntry(e.fd, e.key, e.value)
	}
	return ofMessage(e.value.Message())
}

func (c *comparer) element(at string, w, r element) {
	wm, rm := w.fd.Message() != nil, r.fd.Message() != nil
	switch {
	case wm && rm:
		c.message(at, w.fields(), r.fields())
	case wm || rm:
		a, ok := c.bytes(w)
		b, also := c.bytes(r)
		// What cannot be compared is the same only where there is nothing: an
		// empty message and the zero that a map puts in the place of a value
		// that it could not read.
		c.values(at, ok && also && bytes.Equal(a, b) || w.zero() && r.zero())
	case w.fd.Enum() != nil && r.fd.Enum() != nil && c.checks.Enums:
		c.values(at, w.value.Enum() == r.value.Enum() && sameName(w.fd.Enum(), r.fd.Enum(), w.value.Enum()))
	default:
		c.values(at, c.same(w, r))
	}
}

// bytes are those of text, bytes, and of a message's encoding.
func (c *comparer) bytes(e element) ([]byte, bool) {
	switch {
	case e.fd.IsMap():
		return c.codec.entry(e.fd, e.key, e.value), true
	case e.fd.Message() != nil:
		return c.codec.message(nil, e.value.Message()), true
	case e.fd.Kind() == protoreflect.BytesKind:
		return e.value.Bytes(), true
	case e.fd.Kind() == protoreflect.StringKind:
		return []byte(e.value.String()), true
	}
	return nil, false
}

func (c *comparer) same(w, r element) bool {
	if a, ok := c.bytes(w); ok {
		b, also := c.bytes(r)
		return also && bytes.Equal(a, b)
	}
	a, b := w.value.Interface(), r.value.Interface()
	if x, ok := a.(float32); ok {
		y, also := b.(float32)
		return also && (math.Float32bits(x) == math.Float32bits(y) || !c.checks.Floats && x == y) || !also && c.float(float64(x), b)
	}
	if x, ok := a.(float64); ok {
		return c.float(x, b)
	}
	if x, ok := b.(float32); ok {
		return c.float(float64(x), a)
	}
	if x, ok := b.(float64); ok {
		return c.float(x, a)
	}
	p, m, ok := integer(a)
	q, n, also := integer(b)
	return ok && also && p == q && m == n
}

// float compares with a double, or with a whole number of the same value.
func (c *comparer) float(x float64, b any) bool {
	switch y := b.(type) {
	case float64:
		return math.Float64bits(x) == math.Float64bits(y) || !c.checks.Floats && x == y
	case float32:
		return math.Float64bits(x) == math.Float64bits(float64(y)) || !c.checks.Floats && x == float64(y)
	}
	neg, n, ok := integer(b)
	if !ok || x != math.Trunc(x) || math.Abs(x) > 1<<62 || x == 0 && math.Signbit(x) {
		return false
	}
	sign, size := x < 0, uint64(math.Abs(x))
	return sign == neg && size == n
}

// integer is a sign and a size.
func integer(v any) (negative bool, size uint64, ok bool) {
	signed := func(i int64) (bool, uint64, bool) {
		if i < 0 {
			return true, -uint64(i), true
		}
		return false, uint64(i), true
	}
	switch v := v.(type) {
	case bool:
		return false, bit(v), true
	case int32:
		return signed(int64(v))
	case int64:
		return signed(v)
	case protoreflect.EnumNumber:
		return signed(int64(v))
	case uint32:
		return false, uint64(v), true
	case uint64:
		return false, v, true
	}
	return false, 0, false
}

// sameName says that no name of the number, in either enum, is another number
// in the other.
func sameName(w, r protoreflect.EnumDescriptor, n protoreflect.EnumNumber) bool {
	if w == r {
		return true
	}
	moved := func(from, to protoreflect.EnumDescriptor) bool {
		return slices.ContainsFunc(namesOf(from, n), func(name protoreflect.Name) bool {
			v := to.Values().ByName(name)
			return v != nil && v.Number() != n
		})
	}
	return !moved(w, r) && !moved(r, w)
}

func namesOf(e protoreflect.EnumDescriptor, n protoreflect.EnumNumber) (l []protoreflect.Name) {
	for i := range e.Values().Len() {
		if v := e.Values().Get(i); v.Number() == n {
			l = append(l, v.Name())
		}
	}
	return l
}

// zero says that a value is what an unset field has. A message is, if nothing
// that is set in it has a value.
func zero(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
	switch {
	case f.IsList():
		return v.List().Len() == 0
	case f.IsMap():
		return v.Map().Len() == 0
	}
	return zeroElement(f, v)
}

func zeroElement(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
	if f.Message() != nil {
		all := true
		v.Message().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			all = zero(f, v)
			return all
		})
		return all
	}
	switch x := v.Interface().(type) {
	case float32:
		return math.Float32bits(x) == 0
	case float64:
		return math.Float64bits(x) == 0
	case string:
		return x == ""
	case []byte:
		return len(x) == 0
	default:
		_, n, _ := integer(x)
		return n == 0
	}
}
