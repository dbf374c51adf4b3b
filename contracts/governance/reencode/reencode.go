// Package reencode says whether an encoded message is canonical, where it is
// not, and what would be.
package reencode

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/dynamic"
)

// A Result is what became of one encoding.
type Result struct {
	// Accepted: a receiver accepts it. Then it is canonical, and Canonical is
	// the input.
	Accepted bool
	// Canonical is what the decoded message encodes to. It is nil where the
	// input is no message of the type.
	Canonical []byte
	// Reason is why it is not accepted.
	Reason string
	// Offset of the first byte in which input and Canonical differ, or -1, and
	// the field that it belongs to in the input.
	Offset int
	Field  string
}

// Identical says whether decoding and encoding give the input back. An
// encoding can be identical and still not accepted: with an unknown field at
// its end, for one.
func (r *Result) Identical() bool { return r.Canonical != nil && r.Offset < 0 }

// Bytes decodes b as the type and encodes it again.
func Bytes(d protoreflect.MessageDescriptor, b []byte) (*Result, error) {
	d, err := dynamic.Bits(d)
	if err != nil {
		return nil, err
	}
	m, err := dynamic.Decode(d, b)
	if err != nil {
		return &Result{Offset: -1, Reason: fmt.Sprintf("no %s: %v", d.FullName(), err)}, nil
	}
	r := &Result{Canonical: dynamic.Encode(m)}
	if r.Canonical == nil {
		r.Canonical = []byte{}
	}
	if r.Offset = dynamic.FirstDifference(b, r.Canonical); r.Offset >= 0 {
		r.Field = dynamic.FieldAt(d, b, r.Offset)
		have, want := at(b, r.Offset), at(r.Canonical, r.Offset)
		r.Reason = fmt.Sprintf("the canonical form differs from byte %d on, in %s: it has %s there, the input has %s",
			r.Offset, r.Field, want, have)
	}
	if _, err := dynamic.Accept(d, b); err == nil {
		r.Accepted = true
	} else if r.Offset < 0 {
		r.Reason = err.Error()
	}
	return r, nil
}

func at(b []byte, i int) string {
	if i >= len(b) {
		return "no more bytes"
	}
	return fmt.Sprintf("0x%02x", b[i])
}
