// Package durations converts between protobuf Durations and plain numbers.
//
// Milliseconds are for display and for the fields that have them in their
// names. A budget is compared in nanoseconds: 18.999999 ms reads as 18 here,
// and is over a budget of 18 ms all the same.
package durations

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/types/known/durationpb"
)

// ErrRange is the error for a value that no valid Duration has.
var ErrRange = errors.New("outside of the range of a Duration (10,000 years)")

// Limits of a valid Duration.
const maxSeconds = 315576000000

// FromMS returns ms milliseconds. Seconds and nanoseconds have the same sign.
func FromMS(ms int64) (*durationpb.Duration, error) {
	d := &durationpb.Duration{Seconds: ms / 1000, Nanos: int32(ms % 1000 * 1e6)}
	if d.CheckValid() != nil {
		return nil, fmt.Errorf("%d ms: %w", ms, ErrRange)
	}
	return d, nil
}

// ToMS returns d in milliseconds, truncated toward zero. A nil or invalid
// Duration is an error.
func ToMS(d *durationpb.Duration) (int64, error) {
	if err := d.CheckValid(); err != nil {
		return 0, err
	}
	return d.Seconds*1000 + int64(d.Nanos/1e6), nil
}

// FromSeconds returns s seconds, rounded to milliseconds, halves to even: of
// two milliseconds equally near, the even one. NaN, an infinity and what is
// too large are errors.
func FromSeconds(s float64) (*durationpb.Duration, error) {
	if math.IsNaN(s) || math.Abs(s) > maxSeconds {
		return nil, fmt.Errorf("%v s: %w", s, ErrRange)
	}
	return FromMS(int64(math.RoundToEven(s * 1000)))
}
