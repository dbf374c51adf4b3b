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
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// ErrRange is the error for a value that no valid Duration has.
var ErrRange = errors.New("outside of the range of a Duration (10,000 years)")

// Limits of a valid Duration.
const maxSeconds = 315576000000

// FromMS returns ms milliseconds. Seconds and nanoseconds have the same sign.
func FromMS(ms int64) (*durationpb.Duration, error) {
	d := new(durationpb.Duration)
	if err := SetMS(d, ms); err != nil {
		return nil, err
	}
	return d, nil
}

// SetMS makes d ms milliseconds, for callers that use one Duration again and
// again. An error leaves d as it was.
func SetMS(d *durationpb.Duration, ms int64) error {
	if ms > maxSeconds*1000 || ms < -maxSeconds*1000 {
		return fmt.Errorf("%d ms: %w", ms, ErrRange)
	}
	d.Seconds, d.Nanos = ms/1000, int32(ms%1000*1e6)
	return nil
}

// ToMS returns d in milliseconds, truncated toward zero. A nil or invalid
// Duration is an error.
func ToMS(d *durationpb.Duration) (int64, error) {
	if err := d.CheckValid(); err != nil {
		return 0, err
	}
	return d.Seconds*1000 + int64(d.Nanos/1e6), nil
}

// From returns d, which always has a valid Duration: a time.Duration spans 292
// years.
func From(d time.Duration) *durationpb.Duration {
	return &durationpb.Duration{Seconds: int64(d / time.Second), Nanos: int32(d % time.Second)}
}

// To returns d as a time.Duration, to the nanosecond. A nil or invalid
// Duration, and one beyond the 292 years of a time.Duration, are errors; AsDuration
// makes the nearest of those, so that 300 years and 10,000 are equal.
func To(d *durationpb.Duration) (time.Duration, error) {
	if err := d.CheckValid(); err != nil {
		return 0, err
	}
	const most = math.MaxInt64 / int64(time.Second)
	n := time.Duration(d.Seconds)*time.Second + time.Duration(d.Nanos)
	if d.Seconds > most || d.Seconds < -most || d.Seconds > 0 && n < 0 || d.Seconds < 0 && n > 0 {
		return 0, fmt.Errorf("%d s: outside of the range of a time.Duration (292 years)", d.Seconds)
	}
	return n, nil
}

// Budget returns d as a budget: what To returns, and not negative.
func Budget(d *durationpb.Duration) (time.Duration, error) {
	n, err := To(d)
	if err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, fmt.Errorf("a budget of %v; want none below 0", n)
	}
	return n, nil
}

// Within says whether spent is inside of the budget, to the nanosecond: 18.999999
// ms is over a budget of 18 ms, though both read as 18 ms. An invalid
// Duration is inside of no budget.
func Within(spent, budget *durationpb.Duration) bool {
	if spent.CheckValid() != nil || budget.CheckValid() != nil {
		return false
	}
	return spent.Seconds < budget.Seconds || spent.Seconds == budget.Seconds && spent.Nanos <= budget.Nanos
}

// TimeFromMS returns the time ms milliseconds after 1970-01-01 00:00:00 UTC.
// One that no valid Timestamp has is an error.
func TimeFromMS(ms int64) (*timestamppb.Timestamp, error) {
	seconds, rest := ms/1000, ms%1000
	if rest < 0 { // a Timestamp's nanoseconds count forward, before 1970 too
		seconds, rest = seconds-1, rest+1000
	}
	t := &timestamppb.Timestamp{Seconds: seconds, Nanos: int32(rest * 1e6)}
	if t.CheckValid() != nil {
		return nil, fmt.Errorf("%d ms: outside of the range of a Timestamp (the years 1 to 9999)", ms)
	}
	return t, nil
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
