package rules

import (
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

func fieldRules() []FieldRule {
	return []FieldRule{
		{"wire type", wireType},
		{"number range", numberRange},
		{"enum names", enumNames},
		{"text is UTF-8", textIsUTF8},
		{"message syntax", messageSyntax},
		{"packed payload", packedPayload},
		{"message as packed", messageAsPacked},
		{"list to singular", listToSingular},
		{"list to map", listToMap},
		{"singular to packed", singularToPacked},
		{"packed form", packedForm},
		{"presence", presenceHolds},
		{"entry form", entryForm},
		{"nested", nested},
	}
}

// A number with another wire type is kept as unknown: the reader sees its
// field unset. Within a map's entry it is not even kept, and the entry is
// written anew.
func wireType(a *Analysis, w, r Field) exchange.Class {
	if meet(w, r) != astray {
		return exchange.Identical
	}
	if r.presence() != always {
		return a.drop(w)
	}
	lost := max(exchange.Lossless, a.drop(w))
	if lost == exchange.Lossless && w.Message().Fields().Len() > 0 {
		return exchange.PresenceLossy // of what is within the message that is lost
	}
	return lost
}

// 2147483648 as an int64 is read as -2147483648 by an int32; 1 as an int32 as
// -1 by a sint32; 2 as an int32 as 1 by a bool.
func numberRange(a *Analysis, w, r Field) exchange.Class {
	switch meet(w, r) {
	case element, packedBoth:
		if w.packable() && w.wire() == r.wire() && !a.table.holds(w.Kind(), r.Kind()) {
			return exchange.ValueLossy
		}
	}
	return exchange.Identical
}

// ON = 1 in the one and ON = 2 in the other is lossy, for 1 and for 2.
func enumNames(a *Analysis, w, r Field) exchange.Class {
	if w.Enum() == nil || r.Enum() == nil || meet(w, r) == astray || a.scope.Shallow {
		return exchange.Identical
	}
	written := func(n protoreflect.EnumNumber) bool {
		return (n != 0 || w.presence() != implicit) && (a.scope.Numbers == nil || slices.Contains(a.scope.Numbers, n))
	}
	for i := range w.Enum().Values().Len() {
		v := w.Enum().Values().Get(i)
		o := r.Enum().Values().ByName(v.Name())
		if o != nil && o.Number() != v.Number() && (written(v.Number()) || written(o.Number())) {
			return exchange.ValueLossy
		}
	}
	return exchange.Identical
}

// 0xff is no text. A packed list of bools is: its bytes are 0 and 1.
func textIsUTF8(a *Analysis, w, r Field) exchange.Class {
	if r.Kind() != protoreflect.StringKind {
		return exchange.Identical
	}
	switch m := meet(w, r); {
	case m == packedAsOne && w.Kind() != protoreflect.BoolKind,
		m == element && w.Kind() == protoreflect.BytesKind,
		m == element && w.message() && !a.text(w.Message(), 0):
		return exchange.ParseFailure
	}
	return exchange.Identical
}

// text says whether every encoding of a message is UTF-8. It is for bools and
// what is made of them: 128 is 80 01 as a varint, and so is the length of a
// long text. A list of bools is as long as one likes, which matters where its
// length is written: within another message.
func (a *Analysis) text(m protoreflect.MessageDescriptor, nested int) bool {
	return a.all(safeKey{m, utf8Text, nested}, func(f Field) bool {
		if !utf8.Valid(protowire.AppendTag(nil, f.Number(), f.wire())) {
			return false
		}
		if !f.singular() && (nested > 0 || f.IsPacked()) {
			return false
		}
		if f.message() {
			return nested < 8 && a.text(f.Message(), nested+1)
		}
		return f.Kind() == protoreflect.BoolKind
	})
}

// No text and no list is safe as a message: 00 is a tag with field number 0,
// and both can hold it.
func messageSyntax(a *Analysis, w, r Field) exchange.Class {
	if !r.message() || w.message() {
		return exchange.Identical
	}
	if m := meet(w, r); m == element || m == packedAsOne {
		return exchange.ParseFailure
	}
	return exchange.Identical
}

// Packed lists of different wire types do not even end at the same byte: three
// bools are no fixed32. Only a fixed64 is always two of those. Read as text or
// bytes, a list is one element of another kind.
func packedPayload(a *Analysis, w, r Field) exchange.Class {
	switch meet(w, r) {
	case packedAsOne:
		return exchange.ValueLossy
	case packedBoth:
		switch {
		case w.wire() == r.wire():
		case w.wire() == protowire.Fixed64Type && r.wire() == protowire.Fixed32Type:
			return exchange.ValueLossy
		default:
			return exchange.ParseFailure
		}
	case oneAsPacked:
		if !w.message() {
			return exchange.ParseFailure // "\u0080" ends within a varint, "a" within a fixed32
		}
	}
	return exchange.Identical
}

// A message that is read as a packed list: 08 01 is [8, 1].
func messageAsPacked(a *Analysis, w, r Field) exchange.Class {
	if meet(w, r) != oneAsPacked || !w.message() {
		return exchange.Identical
	}
	switch {
	case w.Message().Fields().Len() == 0:
		return a.drop(w) // no bytes are no elements
	case r.wire() == protowire.VarintType && a.varints(w.Message()), r.wire() == protowire.Fixed32Type && fourBytes(w.Message()):
		return exchange.ValueLossy
	}
	return exchange.ParseFailure
}

// fourBytes says that every encoding has four bytes: 08 01 10 01 is the entry
// of a map from bool to bool, and no other entry is always as long as one or
// two fixed32.
func fourBytes(m protoreflect.MessageDescriptor) bool {
	one := func(n protoreflect.FieldNumber) bool {
		f := m.Fields().ByNumber(n)
		return f.Kind() == protoreflect.BoolKind || f.Message() != nil && f.Message().Fields().Len() == 0
	}
	return m.IsMapEntry() && one(1) && one(2)
}

// varints says whether every encoding of a message is a run of whole varints.
// A fixed number may end within one, but not as the key of a map: the eight
// bytes at most and the value's tag are a varint, too.
func (a *Analysis) varints(m protoreflect.MessageDescriptor) bool {
	return a.all(safeKey{m, varintRun, 0}, func(f Field) bool {
		switch {
		case f.message():
			return a.varints(f.Message())
		case m.IsMapEntry() && f.Number() == 1:
			return f.wire() != protowire.BytesType
		}
		return f.wire() == protowire.VarintType
	})
}

// The last of many wins, or they are merged.
func listToSingular(a *Analysis, w, r Field) exchange.Class {
	if !w.singular() && r.singular() {
		return exchange.ValueLossy
	}
	return exchange.Identical
}

// Of two entries with one key a map keeps the last, and it has its own order.
func listToMap(a *Analysis, w, r Field) exchange.Class {
	if w.IsList() && r.IsMap() {
		return exchange.ValueLossy
	}
	return exchange.Identical
}

// The reader's list has the element, but sends it on packed, which the
// writer's singular field does not understand.
func singularToPacked(a *Analysis, w, r Field) exchange.Class {
	if w.singular() && w.packable() && r.IsPacked() && meet(w, r) == element {
		return exchange.ValueLossy
	}
	return exchange.Identical
}

// Every reader of a list takes both forms.
func packedForm(a *Analysis, w, r Field) exchange.Class {
	if w.IsList() && r.IsList() && w.packable() && r.packable() && w.IsPacked() != r.IsPacked() {
		return exchange.Lossless
	}
	return exchange.Identical
}

func presenceHolds(a *Analysis, w, r Field) exchange.Class {
	if w.presence() == explicit && (r.presence() == implicit || r.presence() == always) {
		return exchange.PresenceLossy
	}
	return exchange.Identical
}

// A map's entry has both parts written, also where they are zero; a message
// with implicit presence has not.
func entryForm(a *Analysis, w, r Field) exchange.Class {
	if w.presence() == always && r.presence() == implicit || w.presence() == implicit && r.presence() == always {
		return exchange.Lossless
	}
	return exchange.Identical
}

func nested(a *Analysis, w, r Field) exchange.Class {
	if w.message() && r.message() && !(a.scope.Shallow && w.Message().FullName() == r.Message().FullName()) {
		a.met = append(a.met, pair{w.Message(), r.Message()})
	}
	return exchange.Identical
}
