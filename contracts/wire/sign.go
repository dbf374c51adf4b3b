package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
)

// Sizes of a key and of a nonce in bytes.
const (
	KeySize   = 32
	NonceSize = 16
)

// HMACSigner signs envelopes with HMAC-SHA256. The caller sets Nonce, never
// twice the same under one key, and SignedAt before each use.
type HMACSigner struct {
	KeyID    string
	Nonce    [NonceSize]byte
	SignedAt time.Time

	mac hash.Hash
	buf []byte
}

// NewHMACSigner returns a signer for a key of KeySize bytes.
func NewHMACSigner(keyID string, key []byte) (*HMACSigner, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("key %q has %d bytes, not %d", keyID, len(key), KeySize)
	}
	return &HMACSigner{KeyID: keyID, mac: hmac.New(sha256.New, key)}, nil
}

// Sign fills e.Auth. The signature is over e's canonical encoding with the
// signature and the envelope's checksum empty; it covers the payload, which
// is in e.
func (s *HMACSigner) Sign(e *envelopev2.EventEnvelope, _ []byte) {
	nonce := s.Nonce
	e.Auth = &envelopev2.Auth{KeyId: s.KeyID, Nonce: nonce[:], SignedAt: timestamppb.New(s.SignedAt)}
	s.buf = signed(s.buf[:0], e)
	s.mac.Reset()
	s.mac.Write(s.buf)
	e.Auth.HmacSha256 = s.mac.Sum(nil)
}

// Verify checks e's signature under key in constant time. It does not judge
// the key id, the age of the signature, or whether the nonce was seen before:
// that needs a memory, which the caller has. The error is a *Refusal. e is as
// before when Verify returns.
func Verify(e *envelopev2.EventEnvelope, key []byte) error {
	bad := func(detail string) error { return &Refusal{Reason: BadSignature, Detail: detail} }
	switch {
	case len(key) != KeySize:
		return bad(fmt.Sprintf("the key has %d bytes, not %d", len(key), KeySize))
	case e.GetAuth() == nil:
		return bad("the envelope is not signed")
	case len(e.Auth.Nonce) != NonceSize:
		return bad(fmt.Sprintf("the nonce has %d bytes, not %d", len(e.Auth.Nonce), NonceSize))
	case !e.Auth.SignedAt.IsValid():
		return bad("there is no valid time of signing")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(signed(nil, e))
	if !hmac.Equal(mac.Sum(nil), e.Auth.HmacSha256) {
		return bad(fmt.Sprintf("no signature of key %q", e.Auth.KeyId))
	}
	return nil
}

// signed appends the bytes that a signature of e is over.
func signed(b []byte, e *envelopev2.EventEnvelope) []byte {
	signature, sum := e.Auth.HmacSha256, e.EnvelopeCrc32C
	e.Auth.HmacSha256, e.EnvelopeCrc32C = nil, 0
	b = e.AppendCanonical(b)
	e.Auth.HmacSha256, e.EnvelopeCrc32C = signature, sum
	return b
}
