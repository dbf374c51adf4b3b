// Command espersim runs scenarios of a simulated Esper cluster under faults,
// and says whether the system kept its promises.
//
// Exit codes: 0 clean, 1 an invariant was violated, 2 usage or bad input, 3
// the harness failed or lost determinism, 4 liveness.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/scenarios/runner"
)

func main() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		paceCollector()
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// exit is an error that carries the command's exit code and was reported.
type exit struct{ code int }

func (e exit) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// run executes the command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	var code exit
	switch {
	case err == nil:
		return runner.ExitClean
	case errors.As(err, &code):
		return code.code
	}
	fmt.Fprintf(stderr, "espersim: %v\n", err)
	return runner.ExitUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "espersim",
		Short: "Deterministic simulation and chaos testing of an Esper cluster",
		Long: `espersim runs every process of an Esper cluster in one deterministic world,
injects faults, and proves or refutes the system's invariants.

Exit codes: 0 clean, 1 an invariant was violated, 2 usage or bad input,
3 the harness failed or lost determinism, 4 liveness.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	group(root)
	root.AddCommand(
		newRun(), newReplay(), newScenario(), newTrace(), newWAL(), newModel(), newContracts(),
		newFaults(), newRoles(), newInvariants(), newSweep(), newShrink(), newExplore(), newDebug(), newCheck(), newGPU(),
	)
	return root
}

// commit is the revision that the program was built from, if it is known.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}
