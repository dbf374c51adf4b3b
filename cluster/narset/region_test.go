package narset

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

func TestSummary(t *testing.T) {
	m := func(id string, seed int32, epoch int64, loss, gradient float64, violations uint32, s systemstatev2.SeedHealth_Status) report {
		return reportOf(&telemetryv2.SeedTelemetry{TelemetryId: id, Seed: &telemetryv2.SeedRef{LayerId: 1, SeedId: seed}, Epoch: epoch, LocalLoss: loss, GradientNorm: gradient,
			IsolationViolations: violations, Health: &systemstatev2.SeedHealth{Status: s}})
	}
	s := summarize("s", "r", []report{
		m("b", 2, 7, 1, -5, 1, systemstatev2.SeedHealth_DEGRADED),
		m("a", 1, 5, 3, -3, 0, systemstatev2.SeedHealth_HEALTHY),
		m("c", 2, 6, 2, -4, 2, systemstatev2.SeedHealth_CRITICAL),
	})
	if fmt.Sprint(s.TelemetryIds) != "[a b c]" || s.FirstEpoch != 5 || s.LastEpoch != 7 || s.MeanLoss != 2 || s.MaxGradientNorm != -3 ||
		s.IsolationViolations != 3 || s.Unhealthy != 2 || len(s.Seeds) != 2 || s.Seeds[0].SeedId != 1 || s.Seeds[1].SeedId != 2 {
		t.Errorf("%v", s)
	}
	if r := regionOf(&telemetryv2.SeedTelemetry{Seed: &telemetryv2.SeedRef{LayerId: 4}}); r != "layer-4" {
		t.Errorf("a report without a region is of region %q", r)
	}
	if r := regionOf(&telemetryv2.SeedTelemetry{RegionId: "x"}); r != "x" {
		t.Error(r)
	}
}

// The same reports give the same bytes in whatever order they come.
func TestSummaryHasNoOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var rs []report
		for i := range rapid.IntRange(1, 32).Draw(r, "n") {
			rs = append(rs, report{id: fmt.Sprint(i), layer: rapid.Int32Range(0, 2).Draw(r, "layer"), seed: rapid.Int32Range(0, 3).Draw(r, "seed"),
				epoch: rapid.Int64Range(0, 9).Draw(r, "epoch"), loss: rapid.Float64Range(-9, 9).Draw(r, "loss"), gradient: rapid.Float64Range(0, 9).Draw(r, "g")})
		}
		other := rapid.Permutation(slices.Clone(rs)).Draw(r, "order")
		a, b := summarize("s", "r", rs).AppendCanonical(nil), summarize("s", "r", other).AppendCanonical(nil)
		if !bytes.Equal(a, b) {
			r.Fatalf("%x\n%x", a, b)
		}
	})
}
