package trace

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Hash is a rolling 128-bit hash of a sequence of events. The zero value is
// ready. It is not cryptographic: it tells runs apart, it does not protect
// them.
type Hash struct{ a, b uint64 }

// The constants are odd, with half of their bits set, so that a multiplication
// mixes every input bit (the construction of wyhash).
const (
	k0 = 0xa0761d6478bd642f
	k1 = 0xe7037ed1a0b428db
	k2 = 0x8ebc6af09c88c6e3
	k3 = 0x589965cc75374cc3
)

func mum(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}

// Bytes hashes p. It is used for identities as well as for events.
func Bytes(seed uint64, p []byte) uint64 {
	h1, h2 := seed^k0, seed^k3
	n := uint64(len(p))
	for len(p) >= 32 {
		h1 = mum(binary.LittleEndian.Uint64(p)^k1, binary.LittleEndian.Uint64(p[8:])^h1)
		h2 = mum(binary.LittleEndian.Uint64(p[16:])^k2, binary.LittleEndian.Uint64(p[24:])^h2)
		p = p[32:]
	}
	for len(p) >= 8 {
		h1 = mum(binary.LittleEndian.Uint64(p)^k1, h1^k2)
		p = p[8:]
	}
	var tail uint64
	for i, c := range p {
		tail |= uint64(c) << (8 * uint(i))
	}
	return mum(h1^tail^k1, h2^n^k3)
}

// String hashes s like Bytes.
func String(seed uint64, s string) uint64 {
	h := seed ^ k0
	n := uint64(len(s))
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		h = mum(w^k1, h^k2)
		s = s[8:]
	}
	var tail uint64
	for i := 0; i < len(s); i++ {
		tail |= uint64(s[i]) << (8 * uint(i))
	}
	return mum(h^tail^k1, n^k3)
}

// Mix folds v into h.
func Mix(h, v uint64) uint64 { return mum(h^k1, v^k2) }

// add folds an event in. A delivery is hashed by its cause and its last eight
// bytes, which hold the envelope's checksum: the bytes themselves were hashed
// when they were sent.
func (h *Hash) add(e *Event) {
	var d uint64
	if n := len(e.Data); e.Kind == MessageDelivered && n >= 8 {
		d = binary.LittleEndian.Uint64(e.Data[n-8:])
	} else if n > 0 {
		d = Bytes(k2, e.Data)
	}
	names := e.nodeSum
	if names == 0 {
		names = NodeSum(e.Node)
	}
	if e.Peer != "" {
		names = Mix(names, String(k1, e.Peer))
	}
	if e.Text != "" {
		names = Mix(names, String(k2, e.Text))
	}
	a := mum(h.a^uint64(e.At)^k0, uint64(e.Kind)<<32^uint64(e.Incarnation)^k1)
	a = mum(a^e.Cause^k2, uint64(e.Arg)^k3)
	h.a, h.b = a, mum(h.b^d^k1, names^k2)^a
}

// NodeSum is the part of an event's hash that its node decides, for producers
// that know it beforehand; see Event.From.
func NodeSum(node string) uint64 { return String(k0, node) | 1 }

// String is the hash as 32 hexadecimal digits.
func (h Hash) String() string { return fmt.Sprintf("%016x%016x", h.a, h.b) }
