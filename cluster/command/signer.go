package command

import (
	"encoding/binary"

	"github.com/esper-sim/espersim/cluster/actor"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Signer signs envelopes with the key of the run, with a fresh nonce at each use.
type Signer struct {
	env actor.Env
	s   *wire.HMACSigner
	n   uint64
}

// NewSigner makes a signer of a process.
func NewSigner(env actor.Env, key []byte) (*Signer, error) {
	return NewSignerAs(env, "run", key)
}

// NewSignerAs makes a signer with a key that has another name.
func NewSignerAs(env actor.Env, id string, key []byte) (*Signer, error) {
	s, err := wire.NewHMACSigner(id, key)
	return &Signer{env: env, s: s}, err
}

// Sign implements actor.Signer.
func (s *Signer) Sign(e *envelopev2.EventEnvelope, payload []byte) {
	s.n++
	binary.LittleEndian.PutUint64(s.s.Nonce[:8], s.env.Rand.For("nonce", s.n, s.env.Incarnation))
	binary.LittleEndian.PutUint64(s.s.Nonce[8:], s.env.Rand.For("nonce-2", s.n, s.env.Incarnation))
	s.s.SignedAt = s.env.Clock.Now()
	s.s.Sign(e, payload)
}
