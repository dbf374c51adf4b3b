package canon

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Messages are written from their last byte to the first: the length of a
// submessage is then known when it is written, and sizes are computed once,
// for the buffer. Every function here writes before b[i] and returns the new
// start.

// Extend lengthens b by n bytes of unspecified content.
func Extend(b []byte, n int) []byte {
	return slices.Grow(b, n)[:len(b)+n]
}

// SizeUvarint is the length of v as a varint.
func SizeUvarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// SizeSpan is the length of n bytes with the length before them.
func SizeSpan(n int) int { return SizeUvarint(uint64(n)) + n }

// PutUvarint writes a varint.
func PutUvarint(b []byte, i int, v uint64) int {
	if v < 0x80 {
		i--
		b[i] = byte(v)
		return i
	}
	return putUvarintSlow(b, i, v)
}

func putUvarintSlow(b []byte, i int, v uint64) int {
	i -= SizeUvarint(v)
	k := i
	for ; v >= 0x80; v >>= 7 {
		b[k] = byte(v) | 0x80
		k++
	}
	b[k] = byte(v)
	return i
}

// PutFixed32 writes four bytes.
func PutFixed32(b []byte, i int, v uint32) int {
	i -= 4
	binary.LittleEndian.PutUint32(b[i:], v)
	return i
}

// PutFixed64 writes eight bytes.
func PutFixed64(b []byte, i int, v uint64) int {
	i -= 8
	binary.LittleEndian.PutUint64(b[i:], v)
	return i
}

// PutString writes text and its length.
func PutString(b []byte, i int, s string) int {
	i -= len(s)
	copy(b[i:], s)
	return PutUvarint(b, i, uint64(len(s)))
}

// PutBytes writes bytes and their length.
func PutBytes(b []byte, i int, s []byte) int {
	i -= len(s)
	copy(b[i:], s)
	return PutUvarint(b, i, uint64(len(s)))
}

// Unzigzag is the zigzag mapping of sint32 and sint64.
func Unzigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// Bit is 1 for true.
func Bit(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}
