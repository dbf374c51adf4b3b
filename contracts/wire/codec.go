package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/esper-sim/espersim/contracts/canon"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
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
	version  Version // that Open reads as
	payload  []byte  // of the envelope being sealed
	out      envelopev2.EventEnvelope
	in       envelopev2.EventEnvelope
	messages map[string]canon.Message // one of each type that came in
	nested   *Codec
}

// NewCodec returns a Codec of the newest version.
func NewCodec() *Codec { return NewCodecAs(Newest) }

// NewCodecAs returns a Codec that reads as a process of version v does.
func NewCodecAs(v Version) *Codec {
	return &Codec{version: v, messages: map[string]canon.Message{}}
}

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
		c.nested = NewCodecAs(c.version)
	}
	return c.nested
}

// Seal is SealAs of the codec's version.
func (c *Codec) Seal(dst []byte, e *envelopev2.EventEnvelope, m canon.Message, signer Signer) []byte {
	return c.SealAs(c.version, dst, e, m, signer)
}

// SealAs completes e for the payload m as a writer of version v does, and
// appends e's encoding to dst. It sets payload, payload_type, payload_crc32c,
// the schema version, auth (empty if signer is nil) and envelope_crc32c.
// e.Payload stays valid until the next Seal; m is not kept.
//
// The version that the envelope names is the oldest that has all that the
// payload holds: whoever knows it knows the message in full. What is newer
// than v is left out; see [Expressible].
//
// Only messages of generated types are sealed: m's type must be the one that
// is registered under its name, or Seal panics. It is a bug of the sender, and
// a fake type could write what it liked.
func (c *Codec) SealAs(v Version, dst []byte, e *envelopev2.EventEnvelope, m canon.Message, signer Signer) []byte {
	if !generated(m) {
		panic(fmt.Sprintf("wire: %T is not the generated type of %s", m, m.FullName()))
	}
	minor := minorNeeded(m)
	if minor > v.Minor {
		m = written(m, v.Minor)
		minor = minorNeeded(m)
	}
	c.payload = m.AppendCanonical(c.payload[:0])
	e.Payload = c.payload
	e.PayloadType = m.FullName()
	e.PayloadCrc32C = crc32.Checksum(e.Payload, castagnoli)
	e.SchemaMajor, e.SchemaMinor = v.Major, minor
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
		major, minor, ok := peekVersion(b)
		switch {
		case !ok || minor > math.MaxUint32:
			return nil, nil, refuse(err)
		case major != uint64(c.version.Major):
			// The fields of another version are unknown here: name the cause.
			return nil, nil, c.badVersion(major, minor)
		case minor <= uint64(Newest.Minor):
			return nil, nil, refuse(err)
		}
		if err := c.version.Read(e, b, uint32(minor)); err != nil {
			return nil, nil, err
		}
	}
	if e.SchemaMajor != c.version.Major {
		return nil, nil, c.badVersion(uint64(e.SchemaMajor), uint64(e.SchemaMinor))
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
		if frozen(e.PayloadType) {
			return nil, nil, &Refusal{Reason: UnsupportedVersion,
				Detail: e.PayloadType + " is frozen: it is read from files, and migrated"}
		}
		c.messages[m.FullName()] = m
	}
	if err := c.version.Read(m, e.Payload, e.SchemaMinor); err != nil {
		return nil, nil, err
	}
	return e, m, nil
}

// generated says whether m's type is the one that is registered under its name
// and that may travel.
func generated(m canon.Message) bool {
	t, ok := types[m.FullName()]
	return ok && t == reflect.TypeOf(m)
}

// types are the Go types of the messages that may travel.
var types = func() map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for name, make := range constructors {
		if !frozen(name) {
			all[name] = reflect.TypeOf(make())
		}
	}
	return all
}()

// frozen says whether a type is of version 1.
func frozen(name string) bool { return strings.Contains(name, ".v1.") }

// New returns an empty message of the named type, or nil if there is none.
func New(fullName string) canon.Message {
	if make := constructors[fullName]; make != nil {
		return make()
	}
	return nil
}

func (c *Codec) badVersion(major, minor uint64) *Refusal {
	return &Refusal{Reason: UnsupportedVersion,
		Detail: fmt.Sprintf("%d.%d, this process reads %d.x", major, minor, c.version.Major)}
}

// refuse sorts a parser's error: some bytes no decoder takes, others this one
// does not.
func refuse(err error) error {
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
