package shrink_test

import (
	"fmt"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/scenarios/shrink"
)

func ExampleShrink() {
	s, err := scenarios.Load("../hld/wal-between-two-writes.yaml", runner.Catalogue())
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := shrink.Shrink(s, shrink.Options{Seed: 1, Others: 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Signature)
	for i, step := range r.Scenario.Plan {
		fmt.Printf("%s; without it: %s\n", step.Fault, r.Without[i])
	}
	fmt.Printf("%d of %d other run seeds\n", r.Fail, r.Others)
	// Output:
	// W1 by ledger: entry # of writer was acknowledged and is gone
	// crash-at-op ledger op=2; without it: clean
	// 10 of 10 other run seeds
}
