package canon

import (
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Ranges of the well-known types: the years 1 to 9999, and 10,000 years.
const (
	minTimestamp = -62135596800
	maxTimestamp = 253402300799
	maxDuration  = 315576000000
	maxNanos     = 999999999
)

var (
	timestampSchema = Schema{Name: "google.protobuf.Timestamp", Fields: secondsNanos}
	durationSchema  = Schema{Name: "google.protobuf.Duration", Fields: secondsNanos}
	secondsNanos    = []Field{
		{Number: 1, Name: "seconds", Elem: 2},
		{Number: 2, Name: "nanos", Elem: 2},
	}
)

// SizeTimestamp is the length of t's encoding.
func SizeTimestamp(t *timestamppb.Timestamp) int {
	return sizeParts(t.GetSeconds(), t.GetNanos())
}

// SizeDuration is the length of d's encoding.
func SizeDuration(d *durationpb.Duration) int {
	return sizeParts(d.GetSeconds(), d.GetNanos())
}

// PutTimestamp writes t without a length.
func PutTimestamp(b []byte, i int, t *timestamppb.Timestamp) int {
	return putParts(b, i, t.GetSeconds(), t.GetNanos())
}

// PutDuration writes d without a length.
func PutDuration(b []byte, i int, d *durationpb.Duration) int {
	return putParts(b, i, d.GetSeconds(), d.GetNanos())
}

// ParseTimestamp replaces t by what b encodes, and refuses what CheckValid
// would.
func ParseTimestamp(t *timestamppb.Timestamp, b []byte) error {
	s, n, err := parseParts(&timestampSchema, b)
	if err != nil {
		return err
	}
	if s < minTimestamp || s > maxTimestamp || n < 0 || n > maxNanos {
		return &Error{Reason: BadTimestamp, Message: timestampSchema.Name}
	}
	t.Seconds, t.Nanos = s, n
	return nil
}

// ParseDuration replaces d by what b encodes, and refuses what CheckValid
// would.
func ParseDuration(d *durationpb.Duration, b []byte) error {
	s, n, err := parseParts(&durationSchema, b)
	if err != nil {
		return err
	}
	if s < -maxDuration || s > maxDuration || n < -maxNanos || n > maxNanos ||
		(s > 0 && n < 0) || (s < 0 && n > 0) {
		return &Error{Reason: BadDuration, Message: durationSchema.Name}
	}
	d.Seconds, d.Nanos = s, n
	return nil
}

// HashDuration mixes d into h.
func HashDuration(h uint64, d *durationpb.Duration) uint64 {
	return Mix(Mix(h, uint64(d.GetSeconds())), uint64(d.GetNanos()))
}

func sizeParts(s int64, n int32) int {
	size := 0
	if s != 0 {
		size += 1 + SizeUvarint(uint64(s))
	}
	if n != 0 {
		size += 1 + SizeUvarint(uint64(n))
	}
	return size
}

func putParts(b []byte, i int, s int64, n int32) int {
	if n != 0 {
		i = PutUvarint(b, i, uint64(n)) - 1
		b[i] = 0x10
	}
	if s != 0 {
		i = PutUvarint(b, i, uint64(s)) - 1
		b[i] = 0x08
	}
	return i
}

func parseParts(s *Schema, b []byte) (seconds int64, nanos int32, err error) {
	tag, i := Tag(b, 0)
	if tag == 0x08 {
		v, n := Uvarint(b, i)
		if n < 0 {
			return 0, 0, s.Fail(1, Reason(-n), i)
		}
		if v == 0 {
			return 0, 0, s.Fail(1, ExplicitZero, i)
		}
		seconds = int64(v)
		tag, i = Tag(b, n)
	}
	if tag == 0x10 {
		v, n := Uvarint(b, i)
		if n < 0 {
			return 0, 0, s.Fail(2, Reason(-n), i)
		}
		if v == 0 {
			return 0, 0, s.Fail(2, ExplicitZero, i)
		}
		if r := Int32(v); r != 0 {
			return 0, 0, s.Fail(2, r, i)
		}
		nanos = int32(v)
		tag, i = Tag(b, n)
	}
	if tag != End {
		return 0, 0, s.Unexpected(b, tag, i)
	}
	return seconds, nanos, nil
}
