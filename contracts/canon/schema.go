package canon

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Schema is what a generated parser knows of its message type for the sake of
// its errors.
type Schema struct {
	Name   string
	Fields []Field
}

// Field is one field of a Schema.
type Field struct {
	Number protowire.Number
	Name   string
	Wire   protowire.Type
	List   bool           // repeated and not packed
	Elem   protowire.Type // of a packed field: wire type of an element, else BytesType
	Oneof  int            // number of its oneof from 1; 0: none
}

func (s *Schema) field(n protowire.Number) *Field {
	for i := range s.Fields {
		if s.Fields[i].Number == n {
			return &s.Fields[i]
		}
	}
	return nil
}

// Fail is the error for a value at offset of the numbered field.
func (s *Schema) Fail(n protowire.Number, r Reason, offset int) error {
	name := "#" + strconv.Itoa(int(n))
	if f := s.field(n); f != nil {
		name = f.Name
	}
	return &Error{Reason: r, Message: s.Name, Field: name, Offset: offset}
}

// Unexpected is the error for a field that the straight-line parser did not
// expect where it stands. The tag is what [Tag] returned and i the offset it
// returned with it; everything before was accepted.
func (s *Schema) Unexpected(b []byte, tag uint64, i int) error {
	at := i
	if tag != invalid {
		at -= SizeUvarint(tag)
	}
	fail := func(r Reason, field string) error {
		return &Error{Reason: r, Message: s.Name, Field: field, Offset: at}
	}
	if tag == invalid {
		_, n := Uvarint(b, at)
		if n < 0 {
			return fail(Reason(-n), "")
		}
		return fail(BadTag, "")
	}
	num, wire := protowire.DecodeTag(tag)
	if num < protowire.MinValidNumber {
		return fail(BadTag, "")
	}
	f := s.field(num)
	if f == nil {
		name := "#" + strconv.Itoa(int(num))
		switch wire {
		case protowire.EndGroupType:
			return fail(EndGroup, name)
		case protowire.StartGroupType:
			return fail(Group, name)
		}
		return fail(UnknownField, name)
	}
	if wire != f.Wire {
		switch {
		case wire == protowire.EndGroupType:
			return fail(EndGroup, f.Name)
		case f.Elem != protowire.BytesType && wire == f.Elem:
			return fail(NotPacked, f.Name)
		}
		return fail(WireType, f.Name)
	}
	// A known field with the right wire type: what stood before it?
	seen, arm := false, false
	for rest := b[:at]; len(rest) > 0; {
		n, _, size := protowire.ConsumeField(rest)
		if size < 0 {
			break
		}
		rest = rest[size:]
		seen = seen || n == num
		if p := s.field(n); p != nil && n != num && f.Oneof != 0 && p.Oneof == f.Oneof {
			arm = true
		}
	}
	switch {
	case arm:
		return fail(TwoArms, f.Name)
	case seen && !f.List:
		return fail(Repeated, f.Name)
	}
	return fail(Order, f.Name)
}
