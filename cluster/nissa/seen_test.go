package nissa

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// An entry that was read from the log is known however much was read since: a start
// reads all that the bus keeps, three days of telemetry, and is then handed again
// what it had not acknowledged.
func TestReadEntriesAreKnownForGood(t *testing.T) {
	s := newSeen()
	if !s.first("system.events.epoch", 1000, "delivered") {
		t.Fatal("the first is none")
	}
	for i := range int64(134) {
		s.first("system.events.epoch", i, fmt.Sprint("epoch", i))
	}
	for i := range int64(5 * rememberedIDs) {
		s.first("telemetry.seed.health", i, fmt.Sprint("seed", i))
	}
	for i := range int64(134) {
		if s.first("system.events.epoch", i, fmt.Sprint("epoch", i)) {
			t.Fatalf("entry %d counts twice", i)
		}
	}
	if !s.first("system.events.epoch", 134, "new") || s.first("system.events.epoch", 135, "new") {
		t.Error("an event is not known by its id")
	}
}

// Whatever the order, each offset is taken once.
func TestTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var runs taken
		was := map[int64]bool{}
		for _, o := range rapid.SliceOf(rapid.Int64Range(0, 60)).Draw(t, "offsets") {
			if _, ok := runs.has(o); ok != was[o] {
				t.Fatalf("%v has %d: %v", runs, o, ok)
			} else if !ok {
				runs, was[o] = runs.add(o), true
			}
		}
		n := int64(0)
		for i, r := range runs {
			if n += r[1] - r[0] + 1; r[1] < r[0] || i > 0 && runs[i-1][1]+1 >= r[0] {
				t.Fatal(runs)
			}
		}
		if n != int64(len(was)) {
			t.Fatalf("%v: %d of %d", runs, n, len(was))
		}
	})
}
