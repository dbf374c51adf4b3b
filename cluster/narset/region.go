package narset

import (
	"cmp"
	"fmt"
	"slices"

	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// report is what a summary needs of a seed's telemetry.
type report struct {
	id          string
	layer, seed int32
	epoch       int64
	loss        float64
	gradient    float64
	violations  uint32
	unhealthy   bool
}

func reportOf(m *telemetryv2.SeedTelemetry) report {
	s := m.Health.GetStatus()
	return report{id: m.TelemetryId, layer: m.Seed.GetLayerId(), seed: m.Seed.GetSeedId(), epoch: m.Epoch,
		loss: m.LocalLoss, gradient: m.GradientNorm, violations: m.IsolationViolations,
		unhealthy: s != systemstatev2.SeedHealth_HEALTHY}
}

// regionOf is the region of a report.
func regionOf(m *telemetryv2.SeedTelemetry) string {
	if m.RegionId != "" {
		return m.RegionId
	}
	return fmt.Sprint("layer-", m.Seed.GetLayerId())
}

// summarize sums up at least one report. Their order does not matter.
func summarize(id, region string, rs []report) *operationsv2.RegionSummary {
	rs = slices.Clone(rs)
	slices.SortFunc(rs, func(a, b report) int { return cmp.Compare(a.id, b.id) })
	s := &operationsv2.RegionSummary{SummaryId: id, RegionId: region, FirstEpoch: rs[0].epoch, LastEpoch: rs[0].epoch, MaxGradientNorm: rs[0].gradient}
	sum := 0.0
	var seeds []report
	for _, r := range rs {
		s.TelemetryIds = append(s.TelemetryIds, r.id)
		s.FirstEpoch, s.LastEpoch = min(s.FirstEpoch, r.epoch), max(s.LastEpoch, r.epoch)
		sum += r.loss
		s.MaxGradientNorm = max(s.MaxGradientNorm, r.gradient)
		s.IsolationViolations += r.violations
		if r.unhealthy {
			s.Unhealthy++
		}
		if !slices.ContainsFunc(seeds, func(x report) bool { return x.layer == r.layer && x.seed == r.seed }) {
			seeds = append(seeds, r)
		}
	}
	s.MeanLoss = sum / float64(len(rs))
	slices.SortFunc(seeds, func(a, b report) int { return cmp.Or(cmp.Compare(a.layer, b.layer), cmp.Compare(a.seed, b.seed)) })
	for _, r := range seeds {
		s.Seeds = append(s.Seeds, &telemetryv2.SeedRef{LayerId: r.layer, SeedId: r.seed})
	}
	return s
}
