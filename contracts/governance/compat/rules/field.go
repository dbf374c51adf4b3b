package rules

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field is a field with the questions that the rules ask of it.
type Field struct{ protoreflect.FieldDescriptor }

type presence int

const (
	implicit presence = iota // zero is not written
	explicit                 // zero is written if it was set
	always                   // zero is written: the parts of a map's entry
	counted                  // lists and maps: their length tells
)

func (f Field) singular() bool { return f.Cardinality() != protoreflect.Repeated }

// message is true for maps, too, which are lists of their entries.
func (f Field) message() bool { return f.Message() != nil }

func (f Field) presence() presence {
	switch {
	case !f.singular():
		return counted
	case f.ContainingMessage().IsMapEntry():
		return always
	case f.HasPresence():
		return explicit
	}
	return implicit
}

// packable kinds may come packed, whatever the reader's schema says.
func (f Field) packable() bool { return f.wire() != protowire.BytesType }

func (f Field) wire() protowire.Type {
	switch f.Kind() {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	}
	return protowire.VarintType
}

// oneof is the field's oneof; the one that stands for "optional" is none.
func (f Field) oneof() protoreflect.OneofDescriptor {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return o
	}
	return nil
}

// meeting says how what the writer writes meets what the reader expects.
type meeting int

const (
	astray      meeting = iota // another wire type: kept as unknown, or lost within a map's entry
	element                    // an element is read as an element
	packedBoth                 // a packed list is read as a packed list
	packedAsOne                // a packed list is read as one text, bytes or message
	oneAsPacked                // a text, bytes or message is read as a packed list
)

func meet(w, r Field) meeting {
	packed := w.IsPacked()
	switch {
	case packed && !r.packable():
		return packedAsOne
	case packed && !r.singular():
		return packedBoth
	case packed:
		return astray
	case w.wire() == r.wire():
		return element
	case !w.packable() && !r.singular():
		return oneAsPacked
	}
	return astray
}
