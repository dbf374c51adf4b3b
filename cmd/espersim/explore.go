package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/scenarios/explore/crash"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func newExplore() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "explore",
		Short: "Try everything within a bound: every crash, every order of messages",
		Long: `explore does not sample. Within a bound it tries everything that may happen,
counts it, and prints the smallest that breaks a promise.`,
	})
	c.AddCommand(newExploreDisk(), newExploreOrder())
	return c
}

type exploreDiskOptions struct {
	workload      string
	ops           int
	jobs          int
	json          bool
	at, state     int
	recoveryAt    int
	recoveryState int
	atGiven       bool
	out, err      io.Writer
}

func newExploreDisk() *cobra.Command {
	o := &exploreDiskOptions{}
	var names []string
	for _, w := range crash.Workloads() {
		names = append(names, w.Name)
	}
	c := &cobra.Command{
		Use:   "disk",
		Short: "Crash every short sequence of disk operations everywhere, into every state",
		Long: fmt.Sprintf(`disk makes every sequence of up to so many operations of a workload. At each
disk operation of a sequence the power fails, and the disk is left in every
state that its model admits; the program recovers from each, and works on. Each
recovery is itself crashed once, everywhere.

Up to %d undecided units (%d in a recovery) every combination of new, old, zero,
noise and stale record is tried; above that all prefixes and all pairs, and the
place is counted as bounded. States that are the same are judged once.

The workloads are %s; those of the design's log as
it is written break their promises, and without --workload they must. With --at
and --state one crash of one sequence is shown.

It exits with 1 where a promise is broken.`, crash.Units, crash.RecoveryUnits, strings.Join(names, ", ")),
		Example: `  espersim explore disk
  espersim explore disk --workload wal --ops 2
  espersim explore disk --workload wal/used/begin,data,commit
  espersim explore disk --workload hld/used/append --at 17 --state 0`,
		Args: counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			o.atGiven = c.Flags().Changed("at")
			for _, name := range []string{"state", "recovery-at", "recovery-state"} {
				if c.Flags().Changed(name) && !o.atGiven {
					return fmt.Errorf("--%s needs --at, the place of the crash", name)
				}
			}
			if c.Flags().Changed("recovery-state") && !c.Flags().Changed("recovery-at") {
				return errors.New("--recovery-state needs --recovery-at, the place of the second crash")
			}
			if c.Flags().Changed("ops") && o.ops < 0 {
				return errors.New("--ops is negative; want a whole number of at least 0")
			}
			o.out, o.err = c.OutOrStdout(), c.ErrOrStderr()
			return o.run()
		},
	}
	f := c.Flags()
	f.StringVar(&o.workload, "workload", "", "one workload, or one sequence of it such as wal/used/begin,data,commit; left out: all")
	f.IntVar(&o.ops, "ops", -1, "operations of a sequence at most (default: what each workload says)")
	f.Lookup("ops").DefValue = "0" // which the help leaves out
	f.IntVar(&o.jobs, "jobs", 0, "sequences at once (default: one a processor)")
	f.BoolVar(&o.json, "json", false, "one JSON object a workload")
	f.IntVar(&o.at, "at", 0, "the place of the crash in the sequence, from 1")
	f.IntVar(&o.state, "state", 0, "the number of the state that the crash leaves")
	f.IntVar(&o.recoveryAt, "recovery-at", 0, "the place of a second crash, in the recovery")
	f.IntVar(&o.recoveryState, "recovery-state", 0, "the number of the state that the second crash leaves")
	return c
}

// exploredDisk is one workload's result as JSON.
type exploredDisk struct {
	Version  int    `json:"version"` // of this form
	Workload string `json:"workload"`
	*crash.Result
	Case  string `json:"case,omitempty"`
	Again string `json:"again,omitempty"`
}

func (o *exploreDiskOptions) run() error {
	if o.jobs < 0 {
		return errors.New("--jobs is negative; want a whole number of at least 0")
	}
	if o.jobs == 0 {
		o.jobs = runner.Workers()
	}
	list := crash.Workloads()
	var only *crash.Case
	switch {
	case strings.Contains(o.workload, "/"):
		c, err := crash.ParseCase(o.workload)
		if err != nil {
			return err
		}
		if o.ops >= 0 {
			return errors.New("--ops with one sequence; want a workload, or no --ops")
		}
		only, list = &c, []*crash.Workload{c.Workload}
	case o.workload != "":
		w, err := crash.Find(o.workload)
		if err != nil {
			return err
		}
		list = []*crash.Workload{w}
	}
	if o.atGiven {
		if only == nil {
			return errors.New("--at needs --workload with one sequence, such as hld/used/append")
		}
		return o.show(*only)
	}
	code := runner.ExitClean
	for i, w := range list {
		opts := crash.Options{Jobs: o.jobs, Only: only, Ops: o.ops}
		switch {
		case o.ops < 0:
			opts.Ops = 0
		case o.ops == 0:
			opts.Ops = -1
		}
		bar := newBar(o.err)
		opts.Progress = bar.set
		r, err := crash.Explore(w, opts)
		bar.done()
		if err != nil {
			fmt.Fprintf(o.err, "espersim: %v\n", err)
			return exit{runner.ExitHarness}
		}
		if o.json {
			e := exploredDisk{Version: 1, Workload: w.Name, Result: r}
			if g := r.Guilty; g != nil {
				e.Case, e.Again = g.Case.String(), g.Repro()
			}
			if err := json.NewEncoder(o.out).Encode(e); err != nil {
				return err
			}
		} else {
			if i > 0 {
				fmt.Fprintln(o.out)
			}
			printExplored(o.out, r, only)
		}
		// A log that is known to lose data must be found out, unless it was asked
		// for by name: then its loss is the answer.
		known := o.workload == "" && w.Defect != ""
		switch {
		case r.Guilty != nil && !known:
			code = runner.ExitViolated
		case r.Guilty == nil && known && (o.ops < 0 || o.ops >= w.Most):
			fmt.Fprintf(o.err, "%s: no crash breaks a promise, though %s\n", w.Name, w.Defect)
			code = runner.ExitViolated
		}
	}
	if code != runner.ExitClean {
		return exit{code}
	}
	return nil
}

func printExplored(out io.Writer, r *crash.Result, only *crash.Case) {
	fmt.Fprintf(out, "%s: %s\n", r.Workload.Name, r.Workload.Summary)
	if only != nil {
		fmt.Fprintf(out, "  the sequence %s\n", only)
	} else {
		fmt.Fprintf(out, "  %d sequences of up to %d operations; %d more make no sense\n", r.Sequences, r.Ops, r.Senseless)
	}
	fmt.Fprintf(out, "  crashes         %9s %9s %9s %12s %9s %9s\n", "places", "distinct", "bounded", "admissible", "states", "judged")
	for _, row := range []struct {
		name string
		c    crash.Counts
	}{{"of the work", r.Work}, {"of a recovery", r.Recovery}} {
		admissible := fmt.Sprint(row.c.Admissible)
		if len(admissible) > 12 {
			admissible = fmt.Sprintf("%.3g", float64(row.c.Admissible))
		}
		fmt.Fprintf(out, "  %-15s %9d %9d %9d %12s %9d %9d\n", row.name, row.c.Points, row.c.Distinct, row.c.Bounded, admissible, row.c.Outcomes, row.c.Checked)
	}
	g := r.Guilty
	if g == nil {
		fmt.Fprintln(out, "  every promise is kept in every state")
		return
	}
	fmt.Fprintf(out, "  violated: %v\n", g.Violation)
	printCrash(out, g)
	fmt.Fprintf(out, "  nothing smaller: no shorter sequence breaks a promise, nor one of this length with fewer\n"+
		"  crashes, less lost or less undecided; of the places of a crash this takes, %s\n", places(r.Places))
	fmt.Fprintf(out, "  again: %s\n", g.Repro())
}

func places(n int) string {
	if n == 1 {
		return "this is the only one"
	}
	return fmt.Sprintf("there are %d", n)
}

func printCrash(out io.Writer, g *crash.Counterexample) {
	for line := range strings.Lines(g.String()) {
		fmt.Fprintf(out, "    %s", line)
	}
}

// show makes one crash.
func (o *exploreDiskOptions) show(c crash.Case) error {
	g, err := crash.Replay(c, crash.ReplayOptions{At: o.at, State: o.state, RecoveryAt: o.recoveryAt, RecoveryState: o.recoveryState})
	if err != nil {
		return err
	}
	if o.json {
		e := struct {
			Version int    `json:"version"`
			Case    string `json:"case"`
			*crash.Counterexample
		}{1, c.String(), g}
		if err := json.NewEncoder(o.out).Encode(e); err != nil {
			return err
		}
	} else {
		printCrash(o.out, g)
		if g.Violation == nil {
			fmt.Fprintln(o.out, "  every promise is kept")
		} else {
			fmt.Fprintf(o.out, "  violated: %v\n", g.Violation)
		}
	}
	if g.Violation != nil {
		return exit{runner.ExitViolated}
	}
	return nil
}
