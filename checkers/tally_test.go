package checkers

import (
	"fmt"
	"testing"
)

// Each invariant of the catalogue has a counter of its own, under its own name.
func TestTally(t *testing.T) {
	var c tally
	for i, inv := range catalogue {
		for range i + 1 {
			c.add(inv.ID)
		}
	}
	want := map[string]uint64{}
	for i, inv := range catalogue {
		want[inv.ID] = uint64(i + 1)
	}
	if got := c.all(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
