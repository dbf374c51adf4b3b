package bundle_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/bundle"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func Example() {
	dir, err := os.MkdirTemp("", "bundle")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := scenarios.Load("../hld/wal-between-two-writes.yaml", runner.Catalogue())
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := runner.Run(s, runner.Options{Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	to := filepath.Join(dir, "found")
	b, err := bundle.Begin(to, s, 1, 0, "")
	if err == nil {
		err = b.Plan(r.Plan)
	}
	if err == nil {
		err = b.Finish(r, 0)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	report, _, err := bundle.Read(to)
	fmt.Println(report.Signature.Invariant, report.TraceHash == r.TraceHash, err)
	// Output: W1 true <nil>
}
