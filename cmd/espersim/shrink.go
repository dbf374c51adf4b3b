package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/contracts/governance/compat"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/scenarios/shrink"
)

type shrinkOptions struct {
	seed   uint64
	n      int
	budget time.Duration
	others int
	swarm  string
	out    string
	json   bool
}

func newShrink() *cobra.Command {
	var o shrinkOptions
	c := &cobra.Command{
		Use:   "shrink SCENARIO --seed N",
		Short: "Make a small scenario of a failing run",
		Long: `shrink makes the smallest scenario that fails as a run does: with the same
invariant, node and kind of finding. Random faults become explicit steps, and
what is not needed goes: steps, nodes, parameters, settings, time. It prints the
scenario, what led to the violation, and what the run comes to without each of
the steps. With --out the scenario is written to a file, for scenarios/regress.

It exits with 0 when it has shrunk the run, and with 2 where the run is clean.`,
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("seed") {
				return errors.New("shrink needs --seed, that of a run that fails")
			}
			return shrinkRun(c.OutOrStdout(), c.ErrOrStderr(), args[0], o)
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.seed, "seed", 1, "the run seed")
	f.IntVar(&o.n, "n", 0, "the value of $n, for a scenario that enumerates")
	f.DurationVar(&o.budget, "budget", time.Minute, "how long to search")
	f.IntVar(&o.others, "others", 100, "other run seeds to try the result with")
	swarmFlag(f, &o.swarm)
	f.StringVar(&o.out, "out", "", "write the scenario to this file")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	return c
}

// shrinkReport is the result as JSON.
type shrinkReport struct {
	Signature runner.Signature `json:"signature"`
	Seed      uint64           `json:"run_seed"`
	Before    int              `json:"steps_before"`
	Steps     []string         `json:"steps"`
	Without   []string         `json:"without"` // what the run comes to without each step
	Others    int              `json:"other_seeds"`
	Fail      int              `json:"other_seeds_failing"`
	Runs      int              `json:"runs"`
	Spent     bool             `json:"budget_spent"`
	TraceHash string           `json:"trace_hash"`
	Scenario  string           `json:"scenario"`
}

func shrinkRun(out, stderr io.Writer, file string, o shrinkOptions) error {
	list, err := load([]string{file}, stderr)
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("%s holds %d scenarios; want one", file, len(list))
	}
	if err := turnOn(list, o.swarm); err != nil {
		return err
	}
	if o.out != "" {
		if _, err := os.Stat(o.out); err == nil {
			return fmt.Errorf("%s is there already; want the name of a new file", o.out)
		}
	}
	began := time.Now()
	progress := func(string, int, int) {}
	if terminal(stderr) {
		progress = func(phase string, runs, steps int) {
			if time.Since(began) > 2*time.Second {
				fmt.Fprintf(stderr, "\r\x1b[K%s: %d steps left, %d runs", phase, steps, runs)
			}
		}
	}
	r, err := shrink.Shrink(list[0], shrink.Options{Seed: o.seed, N: o.n, Budget: o.budget, Others: o.others, Progress: progress})
	if terminal(stderr) && time.Since(began) > 2*time.Second {
		fmt.Fprint(stderr, "\r\x1b[K")
	}
	if err != nil {
		return fmt.Errorf("%s, run seed %d: %w", file, o.seed, err)
	}
	text, err := scenarios.Format(r.Scenario)
	if err != nil {
		return err
	}
	if o.out != "" {
		if err := writeWhole(o.out, text); err != nil {
			return err
		}
	}
	if o.json {
		report := shrinkReport{Signature: r.Signature, Seed: r.Seed, Before: r.Before, Without: r.Without, Others: r.Others,
			Fail: r.Fail, Runs: r.Runs, Spent: r.Spent, TraceHash: r.Run.TraceHash, Scenario: string(text)}
		for _, s := range r.Scenario.Plan {
			report.Steps = append(report.Steps, string(s.Fault))
		}
		return json.NewEncoder(out).Encode(report)
	}
	fmt.Fprintf(out, "%v\n%d steps of %d, found in %d runs; %d of %d other run seeds fail alike\n\n%s\n",
		r.Signature, len(r.Scenario.Plan), r.Before, r.Runs, r.Fail, r.Others, text)
	for i, s := range r.Scenario.Plan {
		fmt.Fprintf(out, "without step %d (%s): %s\n", i+1, s.Fault, r.Without[i])
	}
	if r.Spent {
		fmt.Fprintf(out, "the budget of %v ended the search; more of it may find a smaller one\n", o.budget)
	}
	picture, err := shrink.Diagram(r.Scenario, runner.Options{Seed: r.Seed}, r.Signature.Invariant)
	if err != nil {
		return err
	}
	if picture != "" {
		fmt.Fprintf(out, "\n%s", picture)
	}
	if o.out != "" {
		fmt.Fprintf(out, "\nagain: espersim replay %s --seed %d\n", compat.Quote(o.out), r.Seed)
	}
	return nil
}
