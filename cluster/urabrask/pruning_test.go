package urabrask

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
)

func TestJudgePruning(t *testing.T) {
	now := time.Unix(1000, 0)
	targets := func(n, parameters int, redundancy float64) (list []*pruningv2.PruningTarget) {
		for i := range n {
			list = append(list, &pruningv2.PruningTarget{ParameterId: fmt.Sprint("p", i%parameters), Structure: "channel", Index: int32(i), Redundancy: redundancy})
		}
		return list
	}
	twice := targets(4, 2, 0.99)
	twice = append(twice, twice[0])
	for _, c := range []struct {
		name string
		m    *pruningv2.PruningValidation
		want pruningv2.PruningVerdict
		why  string
	}{
		{"sound", &pruningv2.PruningValidation{Targets: targets(10, 3, 0.97), Ratio: 0.05}, pruningv2.PruningVerdict_GO, ""},
		{"all of it", &pruningv2.PruningValidation{Targets: targets(10, 3, 0.97), Ratio: 0.5}, pruningv2.PruningVerdict_GO, ""},
		{"scattered", &pruningv2.PruningValidation{Targets: targets(10, 9, 0.97), Ratio: 0.05}, pruningv2.PruningVerdict_CONDITIONAL_GO, "half"},
		{"too much", &pruningv2.PruningValidation{Targets: targets(10, 3, 0.97), Ratio: 0.51}, pruningv2.PruningVerdict_NO_GO, "0.510"},
		{"no number", &pruningv2.PruningValidation{Targets: targets(10, 3, 0.97), Ratio: math.NaN()}, pruningv2.PruningVerdict_NO_GO, "NaN"},
		{"costly", &pruningv2.PruningValidation{Targets: targets(10, 3, 0.8), Ratio: 0.4}, pruningv2.PruningVerdict_NO_GO, "0.920"},
		{"nothing", &pruningv2.PruningValidation{Ratio: 0.1}, pruningv2.PruningVerdict_NO_GO, "nothing"},
		{"twice", &pruningv2.PruningValidation{Targets: twice, Ratio: 0.1}, pruningv2.PruningVerdict_NO_GO, "twice"},
		{"no share", &pruningv2.PruningValidation{Targets: targets(4, 2, 1.5), Ratio: 0.1}, pruningv2.PruningVerdict_NO_GO, "no share"},
		{"late", &pruningv2.PruningValidation{Targets: targets(4, 2, 0.99), Ratio: 0.1, Deadline: timestamppb.New(now.Add(-time.Second))}, pruningv2.PruningVerdict_NO_GO, "late"},
	} {
		if got, why := judgePruning(c.m, now); got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %v %q, want %v %q", c.name, got, why, c.want, c.why)
		}
	}
}
