package checkers

import (
	"testing"

	"github.com/esper-sim/espersim/checkers/models"
)

// Of equal changes of unknown outcome the search of R3 sees one: many do not keep
// it from a verdict, what only another could explain is still found, and where a
// move makes a kernel wait again each counts.
func TestEqualUnknownChanges(t *testing.T) {
	const id, wait, good, bad = "a-h100", "BENCHMARKING", "VALIDATED", "REJECTED"
	for _, c := range []struct {
		name   string
		last   string // what is seen in the end
		moved  bool   // the kernel waited again in between
		guilty bool
	}{
		{name: "one takes effect", last: good},
		{"none explains it", bad, false, true},
		{"a second one takes effect", good, true, false},
		{"not even a second one explains it", bad, true, true},
	} {
		a, j := newAssets(Params{}).(*assets), &Judge{limit: 10}
		a.add(id, models.AssetChange("store", wait, 1, 2, false), wait, j)
		for i := range int64(12) {
			a.unknown(assetRequest{asset: id, kind: "verdict", to: good, call: 3 + i}, j)
		}
		if c.moved {
			a.see(id, good, 20, 21, j)
			r := assetRequest{asset: id, kind: "move", to: wait, call: 22}
			a.moves(r, j)
			a.add(id, models.AssetChange("move", wait, 22, 23, false), wait, j)
		}
		a.see(id, c.last, 30, 31, j)
		a.Finish(j)
		if got := len(j.Violations) > 0; got != c.guilty {
			t.Errorf("%s: %v", c.name, j.Violations)
		}
	}
}
