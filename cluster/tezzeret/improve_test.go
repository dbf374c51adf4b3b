package tezzeret

import (
	"testing"

	"github.com/esper-sim/espersim/cluster/kernel"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// What is compiled again comes in the order of the card, one by one, until there
// is nothing left.
func TestImprovable(t *testing.T) {
	q := newJobs()
	job := func(blueprint string, p kernel.Pipeline, toolchain, state string, interest float64) {
		q.apply(&statev2.CompileJob{JobId: jobID(blueprint, "h100", p, toolchain), BlueprintId: blueprint, Hardware: "h100", Pipeline: p.String(),
			Toolchain: toolchain, State: state, Interest: interest, Order: q.next})
	}
	job("fine", kernel.Standard, "new", ready, 0.9)
	job("hurried", kernel.Fast, "new", ready, 0.1)
	job("hurried-more", kernel.Fast, "new", ready, 0.2)
	job("old", kernel.Aggressive, "old", ready, 0.3)
	job("failed", kernel.Standard, "new", cancelled, 0.1)
	job("failed", kernel.Fast, "new", ready, 0.1)
	job("wanted", kernel.Emergency, "new", ready, 0.8)
	for _, want := range []struct {
		blueprint string
		p         kernel.Pipeline
	}{{"wanted", kernel.Standard}, {"failed", kernel.Standard}, {"old", kernel.Aggressive}, {"hurried-more", kernel.Standard}, {"hurried", kernel.Standard}} {
		j, p := q.improvable("new")
		if j == nil || j.BlueprintId != want.blueprint || p != want.p {
			t.Fatalf("%v by %v, want %s by %v", j, p, want.blueprint, want.p)
		}
		job(j.BlueprintId, p, "new", ready, j.Interest)
	}
	if j, p := q.improvable("new"); j != nil {
		t.Errorf("%v by %v is to be compiled again and again", j, p)
	}
}
