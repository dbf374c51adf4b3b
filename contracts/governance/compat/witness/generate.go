package witness

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

// Random is a random message of the type: each field set half the time, lists
// and maps of up to three, messages up to five deep and a hundred in all,
// boundary values half the time.
func Random(src Source, d protoreflect.MessageDescriptor) protoreflect.Message {
	return new(maker).random(src, d, nil, 5)
}

// Types that contain each other many times over have more messages of small
// scope, and larger random ones, than anybody has time for.
const (
	maxWithin = 100  // messages within a random one
	maxSmall  = 1000 // messages of one inner type
	maxDepth  = 5
)

// maker makes messages of the writer's types. The reader's are only looked at
// to know where the two differ, and which numbers of enums matter.
type maker struct {
	scope exchange.Scope
	to    protoreflect.MessageDescriptor // the reader's type
	equal map[typePair]bool
	inner *maker // for what is within the fields
	known map[innerType][]protoreflect.Message
}

// innerType is a pair of types at a depth.
type innerType struct {
	typePair
	depth int
}

type typePair struct {
	w, r protoreflect.MessageDescriptor
}

func (k *maker) allowed(f protoreflect.FieldDescriptor) bool {
	return k.scope.Fields == nil || slices.Contains(k.scope.Fields, f.Number())
}

func (k *maker) random(src Source, d, r protoreflect.MessageDescriptor, depth int) protoreflect.Message {
	left := maxWithin
	return k.randomMessage(src, d, r, depth, &left)
}

func (k *maker) randomMessage(src Source, d, r protoreflect.MessageDescriptor, depth int, left *int) protoreflect.Message {
	m := dynamicpb.NewMessage(d)
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if k.allowed(f) && src.Below(2) == 1 {
			k.randomField(src, m, f, counterpart(f, r), depth, left)
		}
	}
	return m
}

func (k *maker) randomField(src Source, m protoreflect.Message, f, h protoreflect.FieldDescriptor, depth int, left *int) {
	one := func(f, h protoreflect.FieldDescriptor) protoreflect.Value {
		if f.Message() == nil {
			return scalar(src, f, h, k.scope.Numbers)
		}
		if k.scope.Shallow {
			if l := k.elementValues(f, h, nil); len(l) > 0 {
				return l[src.Below(len(l))]
			}
		}
		if *left--; depth <= 1 || *left < 0 || k.scope.Shallow {
			return protoreflect.ValueOfMessage(dynamicpb.NewMessage(f.Message()))
		}
		return protoreflect.ValueOfMessage(k.within().randomMessage(src, f.Message(), messageOf(h), depth-1, left))
	}
	switch {
	case f.IsMap():
		mv := m.Mutable(f).Map()
		for range 1 + src.Below(3) {
			key := scalar(src, f.MapKey(), nil, nil).MapKey()
			mv.Set(key, one(f.MapValue(), mapValue(h)))
		}
	case f.IsList():
		l := m.Mutable(f).List()
		for range 1 + src.Below(3) {
			l.Append(one(f, h))
		}
	default:
		m.Set(f, one(f, h))
	}
}

func counterpart(f protoreflect.FieldDescriptor, r protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	if r == nil {
		return nil
	}
	return r.Fields().ByNumber(f.Number())
}

func messageOf(f protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if f == nil {
		return nil
	}
	return f.Message()
}

func mapValue(f protoreflect.FieldDescriptor) protoreflect.FieldDescriptor {
	if f == nil || f.Message() == nil {
		return nil
	}
	return f.Message().Fields().ByNumber(2)
}

// small are the messages of small scope: the empty one, those with one field
// at each of its boundary values, and those with two fields that the reader
// might confuse. Where the two schemas say the same of a field, one value of
// it is enough.
func (k *maker) small(d, r protoreflect.MessageDescriptor, yield func(protoreflect.Message) bool) {
	if !yield(dynamicpb.NewMessage(d)) {
		return
	}
	var ordinary []slot
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if !k.allowed(f) {
			continue
		}
		l := k.fieldValues(f, counterpart(f, r), nil)
		for _, v := range l {
			m := dynamicpb.NewMessage(d)
			m.Set(f, v)
			if !yield(m) {
				return
			}
		}
		if len(l) > 0 {
			ordinary = append(ordinary, slot{fd: f, value: l[0]})
		}
	}
	for i, a := range ordinary {
		for _, b := range ordinary[i+1:] {
			if len(ordinary) > 6 && !shareOneof(a.fd, b.fd, r) {
				continue
			}
			m := dynamicpb.NewMessage(d)
			m.Set(a.fd, a.value)
			m.Set(b.fd, b.value)
			if m.Has(a.fd) && !yield(m) {
				return
			}
		}
	}
}

func shareOneof(a, b protoreflect.FieldDescriptor, r protoreflect.MessageDescriptor) bool {
	x, y := counterpart(a, r), counterpart(b, r)
	return x != nil && y != nil && x.ContainingOneof() != nil && x.ContainingOneof() == y.ContainingOneof()
}

// path is the types that a value is in, to end the recursive ones.
type path []protoreflect.MessageDescriptor

func (p path) deep(d protoreflect.MessageDescriptor) bool {
	n := 0
	for _, m := range p {
		if m == d {
			n++
		}
	}
	return len(p) >= maxDepth || n >= 2
}

// fieldValues are the values of a field that are worth a try, one that is not
// zero first.
func (k *maker) fieldValues(f, h protoreflect.FieldDescriptor, in path) []protoreflect.Value {
	switch {
	case f.IsMap():
		return k.mapValues(f, h, in)
	case f.IsList():
		elems := k.elementValues(f, h, in)
		list := func(l ...protoreflect.Value) protoreflect.Value {
			v := dynamicpb.NewMessage(f.ContainingMessage()).NewField(f)
			for _, e := range l {
				v.List().Append(e)
			}
			return v
		}
		if len(elems) == 0 {
			return nil
		}
		var l []protoreflect.Value
		for _, e := range elems {
			l = append(l, list(e))
		}
		l = append(l, list(elems[0], elems[0]))
		if len(elems) > 2 {
			l = append(l, list(elems[0], elems[len(elems)-1]))
		}
		if f.Kind() == protoreflect.BoolKind && !k.alike(f, h) {
			l = append(l, list(slices.Repeat(elems[:1], 128)...)) // a length of two bytes
		}
		if f.Message() != nil && len(in) > 0 && !k.alike(f, h) {
			l = append(l, list(slices.Repeat([]protoreflect.Value{nothing(f)}, 64)...)) // the same
		}
		return l
	}
	l := k.elementValues(f, h, in)
	if !f.HasPresence() {
		l = slices.DeleteFunc(slices.Clone(l), func(v protoreflect.Value) bool { return zero(f, v) })
	}
	return l
}

func (k *maker) mapValues(f, h protoreflect.FieldDescriptor, in path) []protoreflect.Value {
	var key protoreflect.FieldDescriptor
	if h != nil && h.Message() != nil {
		key = h.Message().Fields().ByNumber(1)
	}
	keys := boundaries[f.MapKey().Kind()]
	if k.alike(f.MapKey(), key) {
		keys = keys[:2]
	}
	vals := k.elementValues(f.MapValue(), mapValue(h), in)
	if len(vals) == 0 {
		return nil
	}
	var l []protoreflect.Value
	entry := func(kv ...protoreflect.Value) {
		v := dynamicpb.NewMessage(f.ContainingMessage()).NewField(f)
		for i := 0; i < len(kv); i += 2 {
			v.Map().Set(kv[i].MapKey(), kv[i+1])
		}
		l = append(l, v)
	}
	for _, e := range vals {
		entry(keys[0], e)
	}
	for _, e := range keys[1:] {
		entry(e, vals[0])
	}
	entry(keys[1], nothing(f.MapValue()))
	entry(keys[0], vals[0], keys[1], vals[len(vals)-1])
	return l
}

// nothing is zero, or the empty message.
func nothing(f protoreflect.FieldDescriptor) protoreflect.Value {
	if f.Message() != nil {
		return protoreflect.ValueOfMessage(dynamicpb.NewMessage(f.Message()))
	}
	return f.Default()
}

// elementValues are values of a singular field, or of an element.
func (k *maker) elementValues(f, h protoreflect.FieldDescriptor, in path) []protoreflect.Value {
	brief := k.alike(f, h)
	var l []protoreflect.Value
	switch {
	case f.Message() != nil && brief && !k.scope.Shallow:
		if m := ordinaryMessage(f.Message(), in); m != nil {
			l = append(l, protoreflect.ValueOfMessage(m))
		}
		l = append(l, protoreflect.ValueOfMessage(dynamicpb.NewMessage(f.Message())))
	case f.Message() != nil && k.scope.Shallow:
		l = k.unharmed(f, h, in)
	case f.Message() != nil:
		for _, m := range k.messages(f.Message(), messageOf(h), in) {
			l = append(l, protoreflect.ValueOfMessage(m))
		}
		if h != nil && h.Kind() == protoreflect.StringKind {
			// As text, lengths of two bytes matter, which some types have only
			// deep down.
			if m := chain(f.Message(), 70); m != nil {
				l = append(l, protoreflect.ValueOfMessage(m))
			}
		}
	case f.Enum() != nil:
		l = enumValues(f, h, k.scope.Numbers)
	default:
		l = boundaries[f.Kind()]
	}
	if brief && len(l) > 2 {
		l = l[:2]
	}
	return l
}

// unharmed are small messages of a field's type that a reader who knows the
// type by the same name keeps byte for byte.
func (k *maker) unharmed(f, h protoreflect.FieldDescriptor, in path) []protoreflect.Value {
	var l []protoreflect.Value
	r := k.reader(f)
	if g := k.to.Fields().ByName(f.Name()); g != nil && g.Number() != f.Number() {
		r = nil // it does not find the field at all, whatever is in it
	}
	for _, m := range k.within().messages(f.Message(), messageOf(h), in) {
		if r == nil || Exchange(m, r).Class == exchange.Identical {
			l = append(l, protoreflect.ValueOfMessage(m))
		}
	}
	return l
}

// reader is the reader's type of the name of a field's type, if it has a field
// of that name or number that says so.
func (k *maker) reader(f protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	for _, h := range []protoreflect.FieldDescriptor{k.to.Fields().ByName(f.Name()), k.to.Fields().ByNumber(f.Number())} {
		if h != nil && h.Message() != nil && h.Message().FullName() == f.Message().FullName() {
			return h.Message()
		}
	}
	return nil
}

// chain is a message in which one of a recursive type contains itself so many
// times; nil if the type is not recursive and contains none that is.
func chain(d protoreflect.MessageDescriptor, times int) protoreflect.Message {
	reached := map[protoreflect.MessageDescriptor]bool{}
	way := cycle(d, d, reached)
	if way != nil {
		return wrap(dynamicpb.NewMessage(d), way, times)
	}
	// Nothing led back to d, so that all it contains was reached.
	for i := range d.ParentFile().Messages().Len() {
		t := d.ParentFile().Messages().Get(i)
		if !reached[t] {
			continue
		}
		if loop := cycle(t, t, map[protoreflect.MessageDescriptor]bool{}); loop != nil {
			return wrap(wrap(dynamicpb.NewMessage(t), loop, times), cycle(d, t, map[protoreflect.MessageDescriptor]bool{}), 1)
		}
	}
	return nil
}

// wrap puts a message into the fields of a way, the last one innermost, so
// many times.
func wrap(m protoreflect.Message, way []protoreflect.FieldDescriptor, times int) protoreflect.Message {
	for range times {
		for i := len(way) - 1; i >= 0; i-- {
			outer := dynamicpb.NewMessage(way[i].ContainingMessage())
			inner := protoreflect.ValueOfMessage(m)
			switch f := way[i]; {
			case f.IsMap():
				outer.Mutable(f).Map().Set(boundaries[f.MapKey().Kind()][0].MapKey(), inner)
			case f.IsList():
				outer.Mutable(f).List().Append(inner)
			default:
				outer.Set(f, inner)
			}
			m = outer
		}
	}
	return m
}

// cycle is the fields that lead from a type to another, without coming by a
// type twice.
func cycle(from, to protoreflect.MessageDescriptor, seen map[protoreflect.MessageDescriptor]bool) []protoreflect.FieldDescriptor {
	if seen[from] {
		return nil
	}
	seen[from] = true
	for i := range from.Fields().Len() {
		f := from.Fields().Get(i)
		t := f.Message()
		if f.IsMap() {
			t = f.MapValue().Message()
		}
		if t == nil {
			continue
		}
		if t == to {
			return []protoreflect.FieldDescriptor{f}
		}
		if rest := cycle(t, to, seen); rest != nil {
			return append([]protoreflect.FieldDescriptor{f}, rest...)
		}
	}
	return nil
}

// ordinaryMessage has one field set to a value that is not zero; nil if there
// is none.
func ordinaryMessage(d protoreflect.MessageDescriptor, in path) protoreflect.Message {
	if in.deep(d) {
		return nil
	}
	in = append(slices.Clone(in), d)
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		m := dynamicpb.NewMessage(d)
		switch {
		case f.IsMap():
			m.Mutable(f).Map().Set(boundaries[f.MapKey().Kind()][0].MapKey(), nothing(f.MapValue()))
		case f.Message() != nil:
			inner := ordinaryMessage(f.Message(), in)
			if inner == nil {
				continue
			}
			if f.IsList() {
				m.Mutable(f).List().Append(protoreflect.ValueOfMessage(inner))
			} else {
				m.Set(f, protoreflect.ValueOfMessage(inner))
			}
		default:
			v := protoreflect.ValueOfEnum(1)
			if f.Enum() == nil {
				v = boundaries[f.Kind()][0]
			}
			if f.IsList() {
				m.Mutable(f).List().Append(v)
			} else {
				m.Set(f, v)
			}
		}
		return m
	}
	return nil
}

// messages are the small messages of an inner type, one that is not empty
// first.
func (k *maker) messages(d, r protoreflect.MessageDescriptor, in path) []protoreflect.Message {
	key := innerType{typePair{d, r}, len(in)}
	if l, ok := k.known[key]; ok {
		return l
	}
	if len(in) >= maxDepth {
		return []protoreflect.Message{dynamicpb.NewMessage(d)}
	}
	inner := k.within()
	var l []protoreflect.Message
	if m := ordinaryMessage(d, in); m != nil {
		l = append(l, m)
	}
	in = append(slices.Clone(in), d)
	l = append(l, dynamicpb.NewMessage(d))
	var ordinary []slot
	// Where there are too many, it is the deep ones that are left out.
	for _, deep := range []bool{false, true} {
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			if (f.Message() != nil) != deep || len(l) >= maxSmall {
				continue
			}
			vs := inner.fieldValues(f, counterpart(f, r), in)
			for _, v := range vs[:min(len(vs), maxSmall)] {
				m := dynamicpb.NewMessage(d)
				m.Set(f, v)
				l = append(l, m)
			}
			if len(vs) > 0 {
				ordinary = append(ordinary, slot{fd: f, value: vs[0]})
			}
		}
	}
	for i, a := range ordinary {
		for _, b := range ordinary[i+1:] {
			if shareOneof(a.fd, b.fd, r) {
				m := dynamicpb.NewMessage(d)
				m.Set(a.fd, a.value)
				m.Set(b.fd, b.value)
				l = append(l, m)
			}
		}
	}
	if k.known == nil {
		k.known = map[innerType][]protoreflect.Message{}
	}
	k.known[key] = l
	return l
}

// within makes what is within the fields of the scope.
func (k *maker) within() *maker {
	if k.scope.Fields == nil && !k.scope.Shallow {
		return k
	}
	if k.inner == nil {
		k.inner = &maker{scope: exchange.Scope{Numbers: k.scope.Numbers}}
	}
	return k.inner
}

// alike says that the two schemas declare a field, and all that is in it, the
// same way.
func (k *maker) alike(f, h protoreflect.FieldDescriptor) bool {
	switch {
	case h == nil:
		return false
	case f == h:
		return true
	case f.Name() != h.Name() || f.Kind() != h.Kind() || f.Cardinality() != h.Cardinality() ||
		f.IsPacked() != h.IsPacked() || f.HasPresence() != h.HasPresence() || f.IsMap() != h.IsMap():
		return false
	case f.Enum() != nil:
		return sameValues(f.Enum(), h.Enum())
	case f.Message() != nil:
		return k.alikeMessages(f.Message(), h.Message())
	}
	return true
}

func (k *maker) alikeMessages(w, r protoreflect.MessageDescriptor) bool {
	if w == r {
		return true
	}
	p := typePair{w, r}
	if v, ok := k.equal[p]; ok {
		return v
	}
	if k.equal == nil {
		k.equal = map[typePair]bool{}
	}
	k.equal[p] = true
	same := w.Fields().Len() == r.Fields().Len() && w.IsMapEntry() == r.IsMapEntry()
	for i := 0; same && i < w.Fields().Len(); i++ {
		f := w.Fields().Get(i)
		h := r.Fields().ByNumber(f.Number())
		same = k.alike(f, h) && oneofName(f) == oneofName(h)
	}
	if !same {
		// What was taken to hold on the way may not.
		clear(k.equal)
		k.equal[p] = false
	}
	return same
}

func oneofName(f protoreflect.FieldDescriptor) protoreflect.Name {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return o.Name()
	}
	return ""
}

func sameValues(a, b protoreflect.EnumDescriptor) bool {
	if a.Values().Len() != b.Values().Len() {
		return false
	}
	for i := range a.Values().Len() {
		v, w := a.Values().Get(i), b.Values().Get(i)
		if v.Name() != w.Name() || v.Number() != w.Number() {
			return false
		}
	}
	return true
}
