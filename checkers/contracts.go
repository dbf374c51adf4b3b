package checkers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// contract judges C2, C10 and C11 from the bytes of messages.
type contract struct {
	buf    []byte
	seen   map[[2]string]bool // pairs of topic and payload type that are allowed
	schema map[string]wire.Version
}

func newContract(Params) Checker {
	return &contract{seen: map[[2]string]bool{}, schema: map[string]wire.Version{}}
}

// speaks is the version of the contracts that a node speaks, as far as its
// start has told.
func speaks(schema map[string]wire.Version, node string) wire.Version {
	if v, ok := schema[node]; ok {
		return v
	}
	return wire.Newest
}

// started notes the version of a node's new life.
func started(schema map[string]wire.Version, e *Event) {
	delete(schema, e.Node)
	if major, minor, ok := trace.Schema(e.Arg); ok {
		schema[e.Node] = wire.Version{Major: major, Minor: minor}
	}
}

func (*contract) Invariants() []string { return []string{"C2", "C10", "C11"} }

func (c *contract) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeStarted:
		started(c.schema, e)
		return
	case trace.MessageRefused:
		j.Judged("C11")
		return
	}
	env := e.Mail.Envelope
	if e.Kind == trace.MessageSent {
		route := [2]string{env.Topic, env.PayloadType}
		if !c.seen[route] {
			if !wire.Allowed(env.Topic, env.PayloadType) {
				where := "a direct link"
				if env.Topic != "" {
					where = "the topic " + env.Topic
				}
				j.Violate("C10", e.Node, fmt.Sprintf("%s is not declared for %s", env.PayloadType, where))
				return
			}
			c.seen[route] = true
		}
		j.Judged("C10")
		return
	}
	// Delivered: the decoded message is what a handler sees.
	c.buf = e.Mail.Payload.AppendCanonical(c.buf[:0])
	if !bytes.Equal(c.buf, env.Payload) {
		j.Violate("C2", e.Node, fmt.Sprintf("%s: encoding what was decoded gives other bytes: %x, not %x", env.PayloadType, c.buf, env.Payload))
	} else {
		j.Judged("C2")
	}
	// The envelope, too: what the handler was given is what came.
	c.buf = env.AppendCanonical(c.buf[:0])
	if !bytes.Equal(c.buf, e.Data) {
		j.Violate("C2", e.Node, fmt.Sprintf("%s: encoding the envelope that was decoded gives other bytes than came", env.PayloadType))
	}
	if declared, actual := checksum(e.Data); declared != actual {
		j.Violate("C11", e.Peer, fmt.Sprintf("a handler got a message whose bytes have the checksum %08x and not %08x", actual, declared))
	} else if env.SchemaMajor != speaks(c.schema, e.Peer).Major {
		j.Violate("C11", e.Peer, fmt.Sprintf("a handler got a message of schema version %d.%d", env.SchemaMajor, env.SchemaMinor))
	} else {
		j.Judged("C11")
	}
}

// undecodable judges a delivery whose bytes the codec refuses.
func (*contract) undecodable(e *trace.Event, err error, j *Judge) {
	id := "C11"
	var r *wire.Refusal
	if errors.As(err, &r) && r.Reason != wire.BadChecksum && r.Reason != wire.UnsupportedVersion {
		id = "C2"
	}
	j.Violate(id, e.Peer, "a handler got a message that cannot be opened: "+err.Error())
}

func (*contract) Finish(*Judge) {}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum reads the envelope's own checksum, its last six bytes (field 51,
// four bytes fixed), and computes it. It does not use the codec under test.
func checksum(b []byte) (declared, actual uint32) {
	if n := len(b) - 6; n >= 0 && b[n] == 0x9d && b[n+1] == 0x03 {
		return binary.LittleEndian.Uint32(b[n+2:]), crc32.Checksum(b[:n], castagnoli)
	}
	return 0, crc32.Checksum(b, castagnoli) // a checksum of zero is not written
}
