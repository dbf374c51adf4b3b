// Package canon defines the canonical encoding of this system's messages and
// is the runtime of the code that contracts/build/generate emits.
//
// Canonical means: one byte sequence for one message. Fields stand in the
// order of their numbers, the arms of a oneof among the others; repeated
// scalars are packed; varints are minimal; a field without presence is left
// out when it is zero, where −0.0 and every NaN are not zero and keep their
// bits. It is valid protobuf, so every protobuf library reads it; C++ and
// Python write the same bytes, protobuf-go does not (it moves oneof arms
// behind the regular fields).
//
// Decoding accepts a byte sequence only if encoding the result would give it
// back, and checks that in the same pass. The generated parser is a straight
// line over a message's fields in number order: what does not fit there falls
// out at the end, where [Schema] finds the reason.
package canon

import "google.golang.org/protobuf/proto"

// A Message is a generated message with its canonical codec.
//
// A message that was built in memory may hold what no encoding can carry: text
// that is not UTF-8, or a Timestamp out of range. Encoding does not look for
// it; ParseCanonical at the receiver refuses it. Unknown fields that another
// decoder kept are not encoded.
type Message interface {
	proto.Message

	// FullName is the name of the type, such as "esper.bus.v2.Ack".
	FullName() string

	// CanonicalSize is the length of the canonical encoding.
	CanonicalSize() int

	// AppendCanonical appends the canonical encoding to b. It allocates only
	// if b has too little room.
	AppendCanonical(b []byte) []byte

	// ParseCanonical replaces the message by what b encodes. An error is an
	// *Error, and leaves the message with unspecified content.
	//
	// It writes into what the message holds already: submessages, slices,
	// optional scalars and oneof wrappers are used again, so whoever kept one
	// of them from before sees it change. Strings are copied. A bytes field
	// aliases b: it changes when b does.
	ParseCanonical(b []byte) error

	// IdentityHash mixes the message into h, without its Timestamps and
	// without the fields that contracts/build/protobuf.yaml calls volatile.
	// It is for keys of decisions, not for integrity.
	IdentityHash(h uint64) uint64
}
