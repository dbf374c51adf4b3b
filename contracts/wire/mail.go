package wire

import (
	"fmt"

	"github.com/esper-sim/espersim/contracts/canon"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
)

// Mail is an opened envelope and the message in it.
type Mail struct {
	Envelope *envelopev2.EventEnvelope
	Payload  canon.Message
}

// Parse decodes a bare message of the named type, such as a recorded fact. The
// result is valid until the codec's next use.
func (c *Codec) Parse(fullName string, b []byte) (canon.Message, error) {
	m := c.messages[fullName]
	if m == nil {
		if m = New(fullName); m == nil {
			return nil, &Refusal{Reason: UnknownType, Detail: fmt.Sprintf("%q", fullName)}
		}
		c.messages[m.FullName()] = m
	}
	if err := m.ParseCanonical(b); err != nil {
		return nil, refuse(err)
	}
	return m, nil
}
