// Package exchange names what can happen to a message between a writer and a
// reader whose schemas differ.
//
// The writer encodes a message of its schema W canonically: fields in the
// order of their numbers, packed where W says so, minimal, map entries sorted
// by key, both parts of an entry always written. The reader decodes the bytes
// with its schema R as protobuf does: a field that R lacks, and a known number
// with another wire type, is kept as an unknown field. The reader may encode
// what it holds again, canonically, unknown fields among the others in the
// order of their numbers; that is the relay, which the writer's side reads.
//
// Values are compared so:
//
//   - A field of W is compared with R's field of the same name; where R has no
//     such name, with R's field of the same number. A field that R has neither
//     way is not compared: it travels as an unknown field.
//   - Numbers compare as numbers, a bool as 0 or 1, an enum by its number. But
//     where one schema gives the number a name that the other schema gives to
//     another number, the values differ: swapped enum values are another value,
//     a renamed one is not. Enums are open, as they are in proto3: any int32 may
//     be written.
//   - Floats compare by their bits, text and bytes by their bytes, a message
//     against text or bytes by its encoding.
//   - A singular v equals the list [v]; the empty list equals unset and zero. A
//     map is the list of its entries in the order of the keys.
//   - An unset message equals an empty one, but not in presence.
package exchange

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Class is the worst that can happen to any message of a type, from harmless
// to grave.
type Class int

const (
	// Identical: the reader sees what was written, and the relay has the same
	// bytes.
	Identical Class = iota
	// Lossless: values and presence hold, but the relay has other bytes.
	Lossless
	// PresenceLossy: all values hold, but set-to-zero and unset are no longer
	// told apart, by the reader or after the relay.
	PresenceLossy
	// ValueLossy: the reader sees a field that it has with another value than
	// was written, or unset; or the relay gives the writer's side other values
	// than were written, or cannot be read.
	ValueLossy
	// ParseFailure: the reader's decoder refuses the bytes.
	ParseFailure
)

var names = [...]string{"byte-identical relay", "value-lossless", "presence-lossy", "value-lossy", "parse failure"}

// Classes are all classes, from harmless to grave.
func Classes() []Class {
	return []Class{Identical, Lossless, PresenceLossy, ValueLossy, ParseFailure}
}

func (c Class) String() string {
	if c < 0 || int(c) >= len(names) {
		return fmt.Sprintf("Class(%d)", int(c))
	}
	return names[c]
}

// Clean says that nothing is lost.
func (c Class) Clean() bool { return c <= Lossless }

// MarshalText gives the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a class's name.
func (c *Class) UnmarshalText(b []byte) error {
	for i, n := range names {
		if n == string(b) {
			*c = Class(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no class; want one of %q", b, names)
}

// Scope narrows a question about two message types to a part of them. The zero
// Scope is the whole.
type Scope struct {
	// Fields are the numbers of the writer's fields that may be set; nil: all.
	// Within the fields' own messages, everything may be set.
	Fields []protoreflect.FieldNumber

	// Shallow leaves out what happens within a type that has one name on both
	// sides: its messages hold only what such a reader keeps unharmed, and enums
	// are numbers without names. It is for the change of a field whose type did
	// not change, so that a change within the type is not counted here, too.
	Shallow bool

	// Numbers are the values that enum fields may have; nil: all.
	Numbers []protoreflect.EnumNumber
}

// Whole says whether the scope leaves nothing out.
func (s Scope) Whole() bool { return s.Fields == nil && !s.Shallow && s.Numbers == nil }
