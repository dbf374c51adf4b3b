package emrakul

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/wal"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// Whatever cycles there were, the records that are kept say what all of them
// said.
func TestKeptRecordsSayAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*statev2.PruningRecord
		whole := new(emrakul)
		states := rapid.SliceOfN(rapid.SampledFrom([]string{collecting, analysing, applying, monitoring, rollingBack, skipped}), 1, 40).Draw(t, "states")
		for i, s := range states {
			r := &statev2.PruningRecord{State: s, Epoch: int64(i)}
			if s == applying || s == rollingBack {
				r.Mask = &pruningv2.PruningMask{Ratio: float64(i)}
			}
			all = append(all, r)
			whole.enter(r, wal.LSN(i+1))
			from := int(whole.kept.from())
			again := new(emrakul)
			for j := from - 1; j < len(all); j++ {
				again.enter(all[j], wal.LSN(j+1))
			}
			if again.now != whole.now || again.applied != whole.applied || again.before != whole.before && putOut(all) {
				t.Fatalf("after %v from record %d on: mask %v before %v, want %v and %v", states[:i+1], from, again.applied, again.before, whole.applied, whole.before)
			}
		}
	})
}

// putOut says whether a record puts a mask out.
func putOut(list []*statev2.PruningRecord) bool {
	for _, r := range list {
		if r.State == applying {
			return true
		}
	}
	return false
}

// Without masks nothing but the newest is needed.
func TestCyclesWithoutMasksAreForgotten(t *testing.T) {
	var k kept
	for i, s := range []string{collecting, skipped, collecting, analysing, skipped} {
		if k.enter(s, wal.LSN(i+1)); k.from() != wal.LSN(i+1) {
			t.Errorf("after record %d it keeps from %d on", i+1, k.from())
		}
	}
}
