package checkers_test

import (
	"fmt"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/sim/trace"
)

// A suite observes a trace and says what it found.
func ExampleSuite() {
	suite, err := checkers.NewSuite([]string{"P1"}, checkers.Params{}, 10, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	log := trace.NewLog(suite)
	e := log.Next(1_500_000_000, trace.NodeExited)
	e.Node, e.Text, e.Arg = "tolaria", "panic: index out of range", 1
	log.Commit()
	violations, err := suite.Finish()
	for _, v := range violations {
		fmt.Println(v)
	}
	fmt.Println(err)
	// Output:
	// P1 violated at 1.500000000s by tolaria: ended with a panic: index out of range
	// <nil>
}
