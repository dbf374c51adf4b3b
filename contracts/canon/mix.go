package canon

import (
	"math/bits"
	"unsafe"
)

// Odd constants without a pattern: the fractional parts of the square roots
// of 2, 3 and 5.
const (
	mixA = 0x6a09e667f3bcc909
	mixB = 0xbb67ae8584caa73b
	mixC = 0x3c6ef372fe94f82b
)

// Mix folds v into h: one 128-bit product, halves combined. h stays in play
// on its own, so that no v can wipe it out.
func Mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^mixA, v^mixB)
	return hi ^ lo ^ bits.RotateLeft64(h, 29)
}

// MixBytes folds b and its length into h, sixteen bytes a step.
func MixBytes(h uint64, b []byte) uint64 {
	n := uint64(len(b))
	for len(b) >= 16 {
		h = mix2(h, load64(b), load64(b[8:]))
		b = b[16:]
	}
	var x, y uint64
	switch {
	case len(b) >= 8:
		x, y = load64(b), load64(b[len(b)-8:])
	case len(b) >= 4:
		x, y = load32(b), load32(b[len(b)-4:])
	case len(b) > 0:
		x = uint64(b[0]) | uint64(b[len(b)/2])<<8 | uint64(b[len(b)-1])<<16
	}
	return Mix(mix2(h, x, y), n^mixC)
}

// MixString is MixBytes for a string.
func MixString(h uint64, s string) uint64 {
	return MixBytes(h, unsafe.Slice(unsafe.StringData(s), len(s)))
}

func mix2(h, x, y uint64) uint64 {
	hi, lo := bits.Mul64(h^x^mixA, y^mixB)
	return hi ^ lo ^ bits.RotateLeft64(h^x, 29)
}

func load64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func load32(b []byte) uint64 {
	_ = b[3]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24
}
