package runner_test

import (
	"strings"
	"testing"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// What is left out is named, and nothing else.
func TestGaps(t *testing.T) {
	all := &runner.Outcome{Fired: map[string]uint64{}, Judged: map[string]uint64{}, Violated: map[string]int{}}
	for _, k := range faults.Catalogue() {
		all.Fired[k.Name] = 1
	}
	for _, i := range checkers.Catalogue() {
		all.Judged[i.ID] = 1
	}
	if gaps := runner.Gaps([]*runner.Outcome{{}, all}); len(gaps) != 0 {
		t.Errorf("of everything: %q", gaps)
	}
	delete(all.Judged, "W1")
	all.Fired["crash"] = 0
	if gaps := runner.Gaps([]*runner.Outcome{all}); len(gaps) != 2 || !strings.HasSuffix(gaps[0], ": crash") || !strings.HasSuffix(gaps[1], ": W1") {
		t.Errorf("without crashes and W1: %q", gaps)
	}
	all.Violated["W1"] = 1 // judged, and found wanting
	if gaps := runner.Gaps([]*runner.Outcome{all}); len(gaps) != 1 {
		t.Errorf("without crashes: %q", gaps)
	}
}
