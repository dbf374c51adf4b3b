package canon

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// End is the tag that [Tag] returns at the end of the input. No encoding can
// hold it, nor invalid.
const (
	End     = ^uint64(0)
	invalid = End - 1
)

// Tag reads the tag at b[i:] and returns the offset behind it. For a tag that
// is malformed the offset is that of the tag.
func Tag(b []byte, i int) (uint64, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return tagSlow(b, i)
}

func tagSlow(b []byte, i int) (uint64, int) {
	if i >= len(b) {
		return End, i
	}
	v, n := Uvarint(b, i)
	if n < 0 || v > math.MaxUint32 {
		return invalid, i
	}
	return v, n
}

// Uvarint reads a minimal varint at b[i:] and returns the offset behind it, or
// a negated Reason.
func Uvarint(b []byte, i int) (uint64, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return uvarintSlow(b, i)
}

func uvarintSlow(b []byte, i int) (uint64, int) {
	if i >= len(b) {
		return 0, -int(Truncated)
	}
	b = b[i:]
	var v uint64
	for k, c := range b {
		if k == 9 && c > 1 {
			return 0, -int(Overflow)
		}
		v |= uint64(c&0x7f) << (7 * k)
		if c < 0x80 {
			if c == 0 && k > 0 {
				return 0, -int(NonMinimal)
			}
			return v, i + k + 1
		}
	}
	return 0, -int(Truncated)
}

// Span reads a length at b[i:] and returns where the bytes it announces start
// and end; the end may be a negated Reason.
func Span(b []byte, i int) (start, end int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		if end = i + 1 + int(b[i]); end <= len(b) {
			return i + 1, end
		}
		return i, -int(Truncated)
	}
	v, n := uvarintSlow(b, i)
	if n < 0 {
		return i, n
	}
	if v > uint64(len(b)-n) {
		return i, -int(Truncated)
	}
	return n, n + int(v)
}

// Fixed32 reads four bytes at b[i:] and returns the offset behind them, or a
// negated Reason.
func Fixed32(b []byte, i int) (uint32, int) {
	if len(b)-i < 4 {
		return 0, -int(Truncated)
	}
	return binary.LittleEndian.Uint32(b[i:]), i + 4
}

// Fixed64 reads eight bytes at b[i:] and returns the offset behind them, or a
// negated Reason.
func Fixed64(b []byte, i int) (uint64, int) {
	if len(b)-i < 8 {
		return 0, -int(Truncated)
	}
	return binary.LittleEndian.Uint64(b[i:]), i + 8
}

// Int32 says whether v is the 64-bit sign extension of an int32; if not, the
// reason.
func Int32(v uint64) Reason {
	switch {
	case int64(v) == int64(int32(v)):
		return 0
	case v <= math.MaxUint32:
		return SignExtension
	}
	return Overflow
}

// Zigzag undoes the zigzag mapping of sint32 and sint64.
func Zigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// ValidUTF8 says whether b is UTF-8.
func ValidUTF8(b []byte) bool { return utf8.Valid(b) }

// NextString appends text to a list; a slot that holds the same text already
// costs no allocation.
func NextString(l []string, b []byte) []string {
	n := len(l)
	if n == cap(l) {
		return append(l, string(b))
	}
	l = l[:n+1]
	if l[n] != string(b) {
		l[n] = string(b)
	}
	return l
}

// Next extends a list by one message, which it takes from behind the end of
// the list if there is one.
func Next[T any](l *[]*T) *T {
	n := len(*l)
	if n < cap(*l) {
		*l = (*l)[:n+1]
		if m := (*l)[n]; m != nil {
			return m
		}
		m := new(T)
		(*l)[n] = m
		return m
	}
	m := new(T)
	*l = append(*l, m)
	return m
}
