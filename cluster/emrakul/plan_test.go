package emrakul

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
)

func TestLimitsOf(t *testing.T) {
	for epoch, want := range map[int64]limits{
		1: {pruningv2.PruningPhase_MEASURE, 0, 0}, 30: {pruningv2.PruningPhase_MEASURE, 0, 0}, 31: {pruningv2.PruningPhase_EARLY, 0.01, 0.05},
		60: {pruningv2.PruningPhase_EARLY, 0.01, 0.05}, 61: {pruningv2.PruningPhase_MIDDLE, 0.03, 0.10}, 91: {pruningv2.PruningPhase_LATE, 0.05, 0.20},
		120: {pruningv2.PruningPhase_LATE, 0.05, 0.20}, 121: {pruningv2.PruningPhase_MONITOR, 0, 0},
	} {
		if got := limitsOf(epoch); got != want {
			t.Errorf("epoch %d: %v, want %v", epoch, got, want)
		}
	}
}

func TestMayGo(t *testing.T) {
	for _, c := range []struct {
		structure string
		n, want   int
	}{
		{"channel", 100, 20}, {"channel", 18, 2}, {"channel", 20, 4}, {"channel", 21, 4}, {"channel", 8, 0},
		{"head", 8, 6}, {"head", 2, 0}, {"head", 1, 0}, {"layer", 10, 2}, {"layer", 4, 0}, {"neuron", 100, 0},
	} {
		if got := mayGo(c.structure, c.n); got != c.want {
			t.Errorf("%d of %d %ss may go, want %d", got, c.n, c.structure, c.want)
		}
	}
}

// Whatever is proposed, over however many cycles, limits and floors hold.
func TestPlanKeepsLimitsAndFloors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*pruningv2.PruningTarget
		sizes := map[string]int{}
		for p := range rapid.IntRange(1, 12).Draw(t, "parameters") {
			s := rapid.SampledFrom([]string{"channel", "head", "layer"}).Draw(t, "structure")
			for i := range rapid.IntRange(1, 40).Draw(t, "size") {
				x := &pruningv2.PruningTarget{ParameterId: fmt.Sprint(p), Structure: s, Index: int32(i), Redundancy: rapid.Float64Range(0.9, 1).Draw(t, "redundancy")}
				all = append(all, x)
				sizes[group(x)]++
			}
		}
		var masked []*pruningv2.PruningTarget
		for epoch := int64(1); epoch < 140; epoch += 8 {
			l := limitsOf(epoch)
			proposed := rapid.SliceOfN(rapid.SampledFrom(all), 0, 60).Draw(t, "proposed")
			next, added := plan(all, masked, proposed, l)
			if len(next)-len(masked) != added || float64(added) > l.cycle*float64(len(all)) || added > 0 && float64(len(next)) > l.together*float64(len(all)) {
				t.Fatalf("epoch %d: %d added to %d of %d", epoch, added, len(masked), len(all))
			}
			gone, seen := map[string]int{}, map[string]bool{}
			for _, x := range next {
				if seen[name(x)] || x.Redundancy < redundancy {
					t.Fatalf("%v is masked twice or needed", x)
				}
				seen[name(x)] = true
				gone[group(x)]++
				if gone[group(x)] > mayGo(x.Structure, sizes[group(x)]) {
					t.Fatalf("%d of %d of %s are masked", gone[group(x)], sizes[group(x)], group(x))
				}
			}
			masked = next
		}
	})
}

// Every structure is in one shard, and those of a group in the same.
func TestShard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*pruningv2.PruningTarget
		for p := range rapid.IntRange(0, 9).Draw(t, "parameters") {
			for i := range rapid.IntRange(1, 5).Draw(t, "size") {
				all = append(all, &pruningv2.PruningTarget{ParameterId: fmt.Sprint(p), Structure: "channel", Index: int32(i)})
			}
		}
		in := map[string]int{}
		count := 0
		for i, s := range shard(all, rapid.IntRange(1, 5).Draw(t, "workers")) {
			for _, x := range s {
				count++
				if was, ok := in[group(x)]; ok && was != i {
					t.Fatalf("%s is in two shards", group(x))
				}
				in[group(x)] = i
			}
		}
		if count != len(all) {
			t.Fatalf("%d of %d structures", count, len(all))
		}
	})
}
