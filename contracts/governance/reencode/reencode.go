// Package reencode says whether an encoded message is canonical, where it is
// not, and what would be.
package reencode

import (
	"bytes"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/dynamic"
)

// A Result is what became of one encoding.
type Result struct {
	// Accepted: a receiver accepts it. Then it is canonical, and Canonical is
	// the input.
	Accepted bool
	// Identical: decoding and encoding give the input back. An encoding can be
	// identical and still not accepted: with an unknown field at its end, for
	// one.
	Identical bool
	// Canonical is what the decoded message encodes to. It is nil where the
	// input is no message of the type.
	Canonical []byte
	// Reason is why it is not accepted: the field, the offset, and what is
	// wrong there.
	Reason string
}

// Bytes decodes b as the type and encodes it again.
func Bytes(d protoreflect.MessageDescriptor, b []byte) (*Result, error) {
	d, err := dynamic.Bits(d)
	if err != nil {
		return nil, err
	}
	m, err := dynamic.Decode(d, b)
	if err != nil {
		r := &Result{Reason: dynamic.Explain(d, b)}
		if r.Reason == "" { // an entry of a map
			r.Reason = plain(err)
		}
		return r, nil
	}
	r := &Result{Canonical: append([]byte{}, dynamic.Encode(m)...)}
	r.Identical = bytes.Equal(r.Canonical, b)
	_, err = dynamic.Accept(d, b)
	if r.Accepted = err == nil; r.Accepted {
		return r, nil
	}
	if r.Reason = dynamic.Explain(d, b); r.Reason == "" {
		r.Reason = plain(err)
	}
	return r, nil
}

// plain is the text of an error of the protobuf library, which puts a
// non-breaking space into some of its texts by chance.
func plain(err error) string {
	return strings.ReplaceAll(err.Error(), "\u00a0", " ")
}
