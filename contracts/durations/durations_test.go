package durations

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"
)

// The examples on which floor division fails.
func TestFromMS(t *testing.T) {
	for _, c := range []struct {
		ms, seconds int64
		nanos       int32
	}{
		{0, 0, 0}, {18, 0, 18e6}, {1500, 1, 5e8},
		{-1, 0, -1e6}, // floor division: −1 s, +999 ms: mixed signs
		{-1500, -1, -5e8},
		{maxSeconds * 1000, maxSeconds, 0},
	} {
		d, err := FromMS(c.ms)
		if err != nil || d.Seconds != c.seconds || d.Nanos != c.nanos || d.CheckValid() != nil {
			t.Errorf("FromMS(%d) = %v, %v", c.ms, d, err)
		}
	}
	for _, ms := range []int64{math.MaxInt64, math.MinInt64, maxSeconds*1000 + 1000} {
		if _, err := FromMS(ms); !errors.Is(err, ErrRange) {
			t.Errorf("FromMS(%d): %v", ms, err)
		}
	}
}

func TestToMS(t *testing.T) {
	for _, c := range []struct {
		seconds int64
		nanos   int32
		ms      int64
	}{
		{0, -1, 0}, // floor: −1
		{0, -1500000, -1},
		{-1, -500000000, -1500},
		{0, 18999999, 18}, // over a budget of 18 ms: compare in nanoseconds
		{1, 1, 1000},
		{-maxSeconds, 0, -maxSeconds * 1000},
	} {
		got, err := ToMS(&durationpb.Duration{Seconds: c.seconds, Nanos: c.nanos})
		if err != nil || got != c.ms {
			t.Errorf("ToMS(%d s %d ns) = %d, %v; want %d", c.seconds, c.nanos, got, err, c.ms)
		}
	}
	for _, d := range []*durationpb.Duration{nil, {Seconds: -1, Nanos: 999000000}, {Seconds: maxSeconds + 1}, {Nanos: 1e9}} {
		if ms, err := ToMS(d); err == nil {
			t.Errorf("ToMS(%v) = %d", d, ms)
		}
	}
}

func TestFromSeconds(t *testing.T) {
	for _, c := range []struct {
		s  float64
		ms int64
	}{
		{1.001, 1001}, // truncation: 1000
		{0.0005, 0}, {0.0015, 2}, {0.0025, 2}, {-0.0015, -2}, {-1.001, -1001},
		{0, 0}, {maxSeconds, maxSeconds * 1000},
	} {
		d, err := FromSeconds(c.s)
		if err != nil {
			t.Errorf("FromSeconds(%v): %v", c.s, err)
			continue
		}
		if ms, err := ToMS(d); err != nil || ms != c.ms {
			t.Errorf("FromSeconds(%v) = %d ms, %v; want %d", c.s, ms, err, c.ms)
		}
	}
	for _, s := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, maxSeconds * 1.001} {
		if d, err := FromSeconds(s); !errors.Is(err, ErrRange) {
			t.Errorf("FromSeconds(%v) = %v, %v", s, d, err)
		}
	}
}

func TestMillisecondsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(-maxSeconds*1000, maxSeconds*1000).Draw(t, "ms")
		d, err := FromMS(ms)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ToMS(d); err != nil || got != ms {
			t.Fatalf("%d ms comes back as %d (%v)", ms, got, err)
		}
	})
}

func TestTimeDuration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := time.Duration(rapid.Int64().Draw(t, "ns"))
		d := From(n)
		if got, err := To(d); err != nil || got != n || d.CheckValid() != nil {
			t.Fatalf("%v comes back as %v (%v)", n, got, err)
		}
	})
	for _, d := range []*durationpb.Duration{nil, {Seconds: 1, Nanos: -1}, {Seconds: 300 * 365 * 86400}, {Seconds: -300 * 365 * 86400},
		{Seconds: 9223372036, Nanos: 854775808}, {Seconds: -9223372036, Nanos: -854775809}} {
		if n, err := To(d); err == nil {
			t.Errorf("To(%v) = %v", d, n)
		}
	}
}

func TestBudget(t *testing.T) {
	for _, c := range []struct {
		d    *durationpb.Duration
		want time.Duration // −1: refused
	}{
		{&durationpb.Duration{}, 0}, {&durationpb.Duration{Nanos: 18e6}, 18 * time.Millisecond},
		{&durationpb.Duration{Nanos: -1}, -1}, {nil, -1}, {&durationpb.Duration{Seconds: -1, Nanos: 999e6}, -1},
	} {
		if n, err := Budget(c.d); (err != nil) != (c.want < 0) || err == nil && n != c.want {
			t.Errorf("Budget(%v) = %v, %v", c.d, n, err)
		}
	}
}

// A comparison in milliseconds hides an overrun of less than one.
func TestWithin(t *testing.T) {
	budget := &durationpb.Duration{Nanos: 18e6}
	for _, c := range []struct {
		spent *durationpb.Duration
		want  bool
	}{
		{&durationpb.Duration{Nanos: 18e6}, true}, {&durationpb.Duration{Nanos: 18999999}, false}, {&durationpb.Duration{Nanos: 18000001}, false},
		{&durationpb.Duration{Seconds: 1}, false}, {&durationpb.Duration{Seconds: -1, Nanos: -5}, true}, {nil, false},
		{&durationpb.Duration{Seconds: -1, Nanos: 5}, false},
	} {
		if got := Within(c.spent, budget); got != c.want {
			t.Errorf("Within(%v, 18 ms) = %v", c.spent, got)
		}
	}
	if Within(budget, nil) {
		t.Error("no budget is one")
	}
}

func TestTimeFromMS(t *testing.T) {
	for _, c := range []struct {
		ms, seconds int64
		nanos       int32
	}{
		{0, 0, 0}, {1500, 1, 5e8}, {-1, -1, 999e6}, {-1000, -1, 0}, {-62135596800000, -62135596800, 0}, {253402300799999, 253402300799, 999e6},
	} {
		got, err := TimeFromMS(c.ms)
		if err != nil || got.Seconds != c.seconds || got.Nanos != c.nanos {
			t.Errorf("TimeFromMS(%d) = %v, %v", c.ms, got, err)
		}
	}
	for _, ms := range []int64{math.MaxInt64, math.MinInt64, -62135596800001, 253402300800000} {
		if got, err := TimeFromMS(ms); err == nil {
			t.Errorf("TimeFromMS(%d) = %v", ms, got)
		}
	}
}

func ExampleWithin() {
	budget, err := FromMS(18)
	if err != nil {
		fmt.Println(err)
		return
	}
	spent := From(18*time.Millisecond + 999999)
	ms, err := ToMS(spent)
	fmt.Println(ms, err, Within(spent, budget))
	// Output: 18 <nil> false
}
