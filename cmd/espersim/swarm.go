package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
)

// swarmModes are what a scenario's key swarm can be.
var swarmModes = []string{"listed", "survivable"}

// swarmFlag adds --swarm to a command.
func swarmFlag(f *pflag.FlagSet, mode *string) {
	f.StringVar(mode, "swarm", "", "turn a swarm on where a scenario that must be clean says nothing of one: listed or survivable")
	f.Lookup("swarm").NoOptDefVal = "survivable"
}

// turnOn turns a swarm on in the scenarios that do not say and that must be
// clean; a scenario that expects a violation would find others. It is an error
// if there is none such.
func turnOn(list []*scenarios.Scenario, mode string) error {
	if mode == "" {
		return nil
	}
	if mode != swarmModes[0] && mode != swarmModes[1] {
		return fmt.Errorf("--swarm is %q; want %q", mode, faults.Nearest(mode, swarmModes))
	}
	changed := false
	for _, s := range list {
		if s.Swarm == "" && s.Expect.Clean() && (mode == "survivable" || len(s.Random) > 0) {
			s.Swarm, s.SwarmGiven, changed = mode, true, true
		}
	}
	if !changed {
		return fmt.Errorf("--swarm=%s changes nothing: want a scenario that expects clean, says nothing of a swarm%s", mode,
			map[string]string{"listed": ", and lists random faults"}[mode])
	}
	return nil
}

// printDraw prints what a run drew, indented.
func printDraw(w io.Writer, indent string, lines []string) {
	for i, l := range lines {
		if i == 0 {
			fmt.Fprintf(w, "%sdrew %s:\n", indent, l)
			continue
		}
		fmt.Fprintf(w, "%s  %s\n", indent, l)
	}
}

// printWaits prints who waits for whom in a run that is stuck, indented.
func printWaits(w io.Writer, indent string, r *checkers.WaitReport) {
	if r == nil {
		return
	}
	for _, l := range r.Lines() {
		fmt.Fprintf(w, "%s%s\n", indent, l)
	}
}

func newSites() *cobra.Command {
	return &cobra.Command{
		Use:   "sites",
		Short: "The rare ways of the code that a swarm or a scenario can turn on",
		Args:  counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			for _, s := range faults.Sites() {
				fmt.Fprintf(c.OutOrStdout(), "%-26s %s\n", s.Name, s.Summary)
			}
			return nil
		},
	}
}
