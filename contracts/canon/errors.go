package canon

import "fmt"

// Reason says what is wrong with an encoding.
type Reason int

// The reasons for which ParseCanonical refuses an encoding.
const (
	_ Reason = iota
	// Truncated: the input ends inside a field.
	Truncated
	// Overflow: a varint does not fit in 64 bits, or a value not in the 32 bits
	// of its field.
	Overflow
	// NonMinimal: a varint has more bytes than it needs.
	NonMinimal
	// SignExtension: a negative int32 or enum is not written as ten bytes.
	SignExtension
	// BadBool: a bool is neither 0 nor 1.
	BadBool
	// ExplicitZero: a field without presence, or an empty packed list, is
	// written though it has its default value.
	ExplicitZero
	// Order: a field follows one with a higher number.
	Order
	// Repeated: a singular field or a packed list is there more than once. A
	// submessage split in two is this, too.
	Repeated
	// TwoArms: two fields of one oneof are set.
	TwoArms
	// NotPacked: a repeated scalar is not packed.
	NotPacked
	// WireType: a known field has the wrong wire type.
	WireType
	// UnknownField: the schema has no field with this number.
	UnknownField
	// UnknownEnum: the schema has no such value.
	UnknownEnum
	// BadUTF8: text is not UTF-8.
	BadUTF8
	// BadTimestamp: a Timestamp is out of its range.
	BadTimestamp
	// BadDuration: a Duration is out of its range or has mixed signs.
	BadDuration
	// BadTag: field number 0, or a field number beyond 2^29-1.
	BadTag
	// EndGroup: an end of a group that never began.
	EndGroup
	// Group: a group; the schemas have none.
	Group
)

var reasonText = [...]string{
	Truncated:     "truncated",
	Overflow:      "number too large",
	NonMinimal:    "varint is not minimal",
	SignExtension: "negative number is not sign-extended to 64 bits",
	BadBool:       "bool is neither 0 nor 1",
	ExplicitZero:  "default value is written",
	Order:         "field out of order",
	Repeated:      "field is there more than once",
	TwoArms:       "two fields of one oneof",
	NotPacked:     "repeated scalar is not packed",
	WireType:      "wrong wire type",
	UnknownField:  "unknown field",
	UnknownEnum:   "unknown enum value",
	BadUTF8:       "text is not UTF-8",
	BadTimestamp:  "invalid Timestamp",
	BadDuration:   "invalid Duration",
	BadTag:        "invalid field number",
	EndGroup:      "end of a group that never began",
	Group:         "group",
}

func (r Reason) String() string {
	if r > 0 && int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("Reason(%d)", int(r))
}

// Error is why an encoding was refused.
type Error struct {
	Reason  Reason
	Message string // full name of the innermost message type
	Field   string // its field; "#7" if the schema has none; empty if none was read
	Offset  int    // of the field's first wrong byte in the input
}

func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s at byte %d: %v", e.Message, e.Offset, e.Reason)
	}
	return fmt.Sprintf("%s.%s at byte %d: %v", e.Message, e.Field, e.Offset, e.Reason)
}

// Within moves an error of a submessage that starts at offset. Generated code
// calls it.
func Within(err error, offset int) error {
	if e, ok := err.(*Error); ok {
		e.Offset += offset
	}
	return err
}
