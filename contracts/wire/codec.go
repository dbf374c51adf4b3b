package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/esper-sim/espersim/contracts/canon"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
)

// The schema version that Seal writes and Open accepts. A newer minor version
// may have fields that this program would lose, so it is refused as well.
const (
	Major = 2
	Minor = 0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Signer fills the auth block of an envelope whose other fields are final,
// except for the checksum that covers the signature too.
type Signer interface {
	Sign(e *envelopev2.EventEnvelope, payload []byte)
}

// A Codec seals and opens envelopes. It reuses its memory, so a world has one
// and uses it from one goroutine.
type Codec struct {
	payload  []byte // of the envelope being sealed
	out      envelopev2.EventEnvelope
	in       envelopev2.EventEnvelope
	messages map[string]canon.Message // one of each type that came in
	nested   *Codec
}

// NewCodec returns a Codec.
func NewCodec() *Codec { return &Codec{messages: map[string]canon.Message{}} }

// Scratch returns an empty envelope to fill and seal. The next call empties
// it again.
func (c *Codec) Scratch() *envelopev2.EventEnvelope {
	c.out.Reset()
	return &c.out
}

// Nested returns a codec for envelopes inside of messages, such as that of a
// bus delivery: what it opens does not disturb what c has opened. It is the
// same one at every call; its own Nested goes one level deeper.
func (c *Codec) Nested() *Codec {
	if c.nested == nil {
		c.nested = NewCodec()
	}
	return c.nested
}

// Seal completes e for the payload m and appends e's encoding to dst. It sets
// payload, payload_type, payload_crc32c, the schema version, auth (empty if
// signer is nil) and envelope_crc32c. e.Payload stays valid until the next
// Seal; m is not kept.
func (c *Codec) Seal(dst []byte, e *envelopev2.EventEnvelope, m canon.Message, signer Signer) []byte {
	c.payload = m.AppendCanonical(c.payload[:0])
	e.Payload = c.payload
	e.PayloadType = m.FullName()
	e.PayloadCrc32C = crc32.Checksum(e.Payload, castagnoli)
	e.SchemaMajor, e.SchemaMinor = Major, Minor
	e.EnvelopeCrc32C = 0
	e.Auth = nil
	if signer != nil {
		signer.Sign(e, e.Payload)
	}
	// Any checksum but zero keeps its place, so that dst grows once.
	e.EnvelopeCrc32C = 1
	start := len(dst)
	dst = e.AppendCanonical(dst)
	end := len(dst) - checksumSize
	e.EnvelopeCrc32C = crc32.Checksum(dst[start:end], castagnoli)
	if e.EnvelopeCrc32C == 0 { // implicit presence: zero is not written
		return dst[:end]
	}
	binary.LittleEndian.PutUint32(dst[len(dst)-4:], e.EnvelopeCrc32C)
	return dst
}

// The tag of envelope_crc32c, the last field, and the bytes it takes.
const (
	checksumTag0 = 51<<3&0x7f | 0x80 | byte(protowire.Fixed32Type)
	checksumTag1 = 51 >> 4
	checksumSize = 6
)

// checksum returns what the envelope b declares as its checksum, and what it
// is.
func checksum(b []byte) (declared, actual uint32) {
	if n := len(b) - checksumSize; n >= 0 && b[n] == checksumTag0 && b[n+1] == checksumTag1 {
		declared = binary.LittleEndian.Uint32(b[n+2:])
		b = b[:n]
	}
	return declared, crc32.Checksum(b, castagnoli)
}

// Open accepts or refuses an encoded envelope and the message in it. Both
// results are valid until the next Open of this codec, and their bytes fields
// alias b. An error is a *Refusal.
func (c *Codec) Open(b []byte) (*envelopev2.EventEnvelope, canon.Message, error) {
	if declared, actual := checksum(b); declared != actual {
		return nil, nil, &Refusal{Reason: BadChecksum,
			Detail: fmt.Sprintf("the envelope says %08x, its bytes have %08x", declared, actual)}
	}
	e := &c.in
	if err := e.ParseCanonical(b); err != nil {
		// The fields of a newer version are unknown here: name the cause.
		if major, minor, ok := peekVersion(b); ok && (major != Major || minor != Minor) {
			return nil, nil, badVersion(major, minor)
		}
		return nil, nil, refuse(err)
	}
	if e.SchemaMajor != Major || e.SchemaMinor != Minor {
		return nil, nil, badVersion(uint64(e.SchemaMajor), uint64(e.SchemaMinor))
	}
	if sum := crc32.Checksum(e.Payload, castagnoli); sum != e.PayloadCrc32C {
		return nil, nil, &Refusal{Reason: BadChecksum,
			Detail: fmt.Sprintf("the envelope says %08x of the payload, which has %08x", e.PayloadCrc32C, sum)}
	}
	m := c.messages[e.PayloadType]
	if m == nil {
		if m = New(e.PayloadType); m == nil {
			return nil, nil, &Refusal{Reason: UnknownType, Detail: fmt.Sprintf("%q", e.PayloadType)}
		}
		c.messages[m.FullName()] = m
	}
	if err := m.ParseCanonical(e.Payload); err != nil {
		return nil, nil, refuse(err)
	}
	return e, m, nil
}

// New returns an empty message of the named type, or nil if there is none.
func New(fullName string) canon.Message {
	if make := constructors[fullName]; make != nil {
		return make()
	}
	return nil
}

func badVersion(major, minor uint64) *Refusal {
	return &Refusal{Reason: UnsupportedVersion,
		Detail: fmt.Sprintf("%d.%d, this program has %d.%d", major, minor, Major, Minor)}
}

// refuse sorts a parser's error: some bytes no decoder takes, others this one
// does not.
func refuse(err error) *Refusal {
	r := &Refusal{Reason: NonCanonical, Detail: err.Error(), Err: err}
	var e *canon.Error
	if errors.As(err, &e) {
		switch e.Reason {
		case canon.Truncated, canon.Overflow, canon.BadTag, canon.EndGroup, canon.BadUTF8:
			r.Reason = Malformed
		}
	}
	return r
}

// peekVersion reads the version of an envelope that could not be parsed.
func peekVersion(b []byte) (major, minor uint64, ok bool) {
	for len(b) > 0 {
		num, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, 0, false
		}
		size := protowire.ConsumeFieldValue(num, wire, b[n:])
		if size < 0 {
			return 0, 0, false
		}
		if wire == protowire.VarintType && (num == 7 || num == 8) {
			v, _ := protowire.ConsumeVarint(b[n:])
			if num == 7 {
				major, ok = v, true
			} else {
				minor = v
			}
		}
		b = b[n+size:]
	}
	return major, minor, ok
}
