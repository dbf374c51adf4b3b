package checkers

import (
	"fmt"
	"testing"
)

// The newest are there, however many there were, and memory is bounded.
func TestRecent(t *testing.T) {
	var r recent[int]
	for i := range 10 * remembered {
		r.put(fmt.Sprint(i), i)
		for _, back := range []int{0, 1, remembered - 1} {
			if k := i - back; k >= 0 {
				if v, known := r.get(fmt.Sprint(k)); !known || v != k {
					t.Fatalf("at %d the entry of %d before is %d, %v", i, back, v, known)
				}
			}
		}
		if len(r.now)+len(r.before) > 2*remembered {
			t.Fatalf("%d entries are kept", len(r.now)+len(r.before))
		}
	}
	if _, known := r.get("0"); known {
		t.Error("the first is still there")
	}
}
