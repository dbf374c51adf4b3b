package nissa

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRollUps(t *testing.T) {
	s := newStore(10, 1_000_000)
	const from = 1_700_000_000_000 / day * day
	for i := int64(0); i < 2*day/minute; i++ { // two days, each half minute
		s.set("x", from+i*minute, float64(i))
		s.set("x", from+i*minute+30*second+7, float64(i)+0.5)
	}
	last := int64(from + 2*day - minute)
	for _, c := range []struct {
		name           string
		from, step     int64
		want, wantStep int64
	}{
		{"an hour ago, at its finest", last - hour, 0, 122, second},
		{"an hour ago, by the minute", last - hour, minute, 61, minute},
		{"twelve hours ago", last - 12*hour, 0, 12*60 + 1, minute},
		{"thirty hours ago", last - 30*hour, 0, 30*12 + 1, 5 * minute},
		{"by the hour", last - 30*hour, hour, 31, hour},
		{"by the day", 0, day, 2, day},
	} {
		got, step := s.read("x", c.from, last+minute, c.step)
		if step != c.wantStep || int64(len(got)) < c.want-1 || int64(len(got)) > c.want+1 {
			t.Errorf("%s: %d points of step %d; want %d of %d", c.name, len(got), step, c.want, c.wantStep)
		}
	}
	if got, _ := s.read("x", last, last+minute, 0); got[len(got)-1].at != last+30*second+7 {
		t.Errorf("the newest point has stamp %d; want the millisecond of its value", got[len(got)-1].at)
	}
	if n := len(s.all["x"].points[0]); n > int(6*hour/second) {
		t.Errorf("%d points of the finest resolution", n)
	}
}

// Whatever comes, the store stays within its bounds and its points sorted.
func TestStoreIsBounded(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		limit, budget := rapid.IntRange(1, 5).Draw(r, "limit"), rapid.IntRange(1, 60).Draw(r, "budget")
		s := newStore(limit, budget)
		for range rapid.IntRange(1, 80).Draw(r, "n") {
			s.set(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"}).Draw(r, "name"), rapid.Int64Range(-day, 40*day).Draw(r, "at"), 1)
		}
		points := 0
		for name, x := range s.all {
			for i, ps := range x.points {
				points += len(ps)
				for j := range ps {
					if j > 0 && ps[j].slot <= ps[j-1].slot {
						r.Fatalf("%s: resolution %d is not sorted: %v", name, i, ps)
					}
					if ps[j].count == 0 || floor(ps[j].at, resolutions[i].step) != ps[j].slot {
						r.Fatalf("%s: a point out of its step: %+v", name, ps[j])
					}
					if ps[j].slot*resolutions[i].step <= x.newest-resolutions[i].keep {
						r.Fatalf("%s: a point that is too old: %+v", name, ps[j])
					}
				}
			}
		}
		if len(s.all) > limit || points > budget || points != s.points {
			r.Fatalf("%d series, %d points (%d counted); at most %d and %d", len(s.all), points, s.points, limit, budget)
		}
	})
}
