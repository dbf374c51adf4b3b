package simic

import (
	"fmt"
	"math"
	"strings"

	"github.com/esper-sim/espersim/cluster/policy"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// outcomes are the rewards of how an adaptation ended (H9).
var outcomes = map[string]float32{"FOSSILIZED": 1, "CULLED": -0.5, "ROLLED_BACK": -1, "CANCELLED": -0.1}

// Names of the metrics that Tamiyo adds to the report of a decision that a policy
// made.
const policyMetric = "policy/"

// validate says what is wrong with a report.
func validate(m *operationalv2.FieldReport, kernels []string) error {
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	_, known := outcomes[m.Outcome]
	switch {
	case !strings.HasPrefix(m.ReportId, "report/") || len(m.ReportId) == len("report/"):
		return fmt.Errorf("%q is no report's id: want report/ and the id of a command", m.ReportId)
	case m.BlueprintId == "" || m.SeedId == "":
		return fmt.Errorf("it names no blueprint or no seed")
	case !known:
		return fmt.Errorf("%q is no outcome", m.Outcome)
	case !chosen(m.KernelArtifactId, kernels):
		return fmt.Errorf("no policy chooses the kernel %q", m.KernelArtifactId)
	case !finite(m.PreMetric) || !finite(m.PostMetric):
		return fmt.Errorf("its metrics are no numbers")
	}
	for _, x := range m.EvalMetrics {
		if strings.HasPrefix(x.MetricName, policyMetric) && !(x.MetricValue > 0 && x.MetricValue <= 1) {
			return fmt.Errorf("%g is no likelihood", x.MetricValue)
		}
	}
	var layer, seed int32
	if n, err := fmt.Sscanf(m.SeedId, "%d/%d", &layer, &seed); n != 2 || err != nil {
		return fmt.Errorf("%q is no seed", m.SeedId)
	}
	return nil
}

// chosen says whether a policy could have chosen a kernel.
func chosen(kernel string, builtIn []string) bool {
	_, ok := policy.Family(kernel, builtIn)
	return ok
}

// reward makes an experience of a valid report. A choice that no policy made was
// the heuristic's, which takes each kernel as often as the others.
func reward(m *operationalv2.FieldReport, kernels []string, at int64) *statev2.Experience {
	var layer, seed int32
	fmt.Sscanf(m.SeedId, "%d/%d", &layer, &seed)
	f := policy.Features(m.PreMetric, layer, seed)
	action, _ := policy.Family(m.KernelArtifactId, kernels)
	x := &statev2.Experience{ReportId: strings.Clone(m.ReportId), CommandId: strings.Clone(m.ReportId[len("report/"):]), Features: f[:],
		Action: action, Likelihood: 1.0 / policy.Actions, StoredMs: at,
		Succeeded: m.Outcome == "FOSSILIZED", Harmful: m.Outcome == "ROLLED_BACK"}
	// Health is how much of the loss is gone, latency and memory are what the
	// report tells of them.
	health := float32(0)
	if m.PreMetric > 0 {
		health = float32(min(max(1-m.PostMetric/m.PreMetric, -1), 1))
	}
	x.Reward = outcomes[m.Outcome] + float32(0.1*health)
	for _, e := range m.EvalMetrics {
		v := float32(min(max(e.MetricValue, 0), 1))
		switch {
		case e.MetricName == "latency":
			x.Reward -= float32(0.05 * v)
		case e.MetricName == "memory":
			x.Reward -= float32(0.01 * v)
		case strings.HasPrefix(e.MetricName, policyMetric):
			x.PolicyVersion, x.Likelihood = strings.Clone(e.MetricName[len(policyMetric):]), v
		}
	}
	return x
}
