// Package dynamic reads and writes messages of schemas that this program was
// not compiled with, canonically: the encoding that package canon defines, by
// reflection instead of by generated code.
package dynamic

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/canon"
)

// Encode returns the canonical encoding of m. Unknown fields stand among the
// others in the order of their numbers, as they were; the entries of a map in
// the order of their keys, both key and value always written.
func Encode(m protoreflect.Message) []byte { return canon.AppendReflect(nil, m) }

// Append appends the canonical encoding of m to b.
func Append(b []byte, m protoreflect.Message) []byte { return canon.AppendReflect(b, m) }
