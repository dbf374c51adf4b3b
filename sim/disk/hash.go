package disk

import (
	"encoding/binary"
	"math/bits"
)

// Constants of the mixing function: odd, half of their bits set.
const (
	mixA = 0xa0761d6478bd642f
	mixB = 0xe7037ed1a0b428db
)

// mix folds two words into one with a 64 by 64 bit multiplication.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^mixA, b^mixB)
	return hi ^ lo
}

func hashBytes(h uint64, p []byte) uint64 {
	h = mix(h, uint64(len(p)))
	for len(p) >= 8 {
		h = mix(h, binary.LittleEndian.Uint64(p))
		p = p[8:]
	}
	if len(p) > 0 {
		var w uint64
		for i, b := range p {
			w |= uint64(b) << (8 * i)
		}
		h = mix(h, w)
	}
	return h
}

func hashString(h uint64, s string) uint64 {
	h = mix(h, uint64(len(s)))
	for i := 0; i < len(s); i++ {
		h = mix(h, uint64(s[i]))
	}
	return h
}

// Keyed is randomness asked by identity: the same purpose and key give the
// same value, whatever was asked before. It is actor.Keyed.
type Keyed interface {
	For(purpose string, a, b uint64) uint64
}

// Seed is a Keyed for tests and tools: a hash of the seed and the question.
type Seed uint64

// For implements Keyed.
func (s Seed) For(purpose string, a, b uint64) uint64 {
	return mix(hashString(mix(uint64(s), 1), purpose), mix(a, b))
}
