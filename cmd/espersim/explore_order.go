package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/scenarios/explore/order"
	"github.com/esper-sim/espersim/scenarios/runner"
)

type exploreOrderOptions struct {
	window     string
	deviations int
	schedule   string
	one        bool
	jobs       int
	json       bool
	out, err   io.Writer
}

func newExploreOrder() *cobra.Command {
	o := &exploreOrderOptions{}
	var names []string
	for _, w := range order.Windows() {
		names = append(names, w.Name)
	}
	c := &cobra.Command{
		Use:   "order",
		Short: "Try every order of a protocol's messages within a bound",
		Long: fmt.Sprintf(`order runs the schedules of a protocol window that differ from first in, first
out in up to so many places: a message is lost, arrives twice, is overtaken by
the next one to the same node, or finds its receiver crashed; one crash at most.
What commutes is left out. Every checker that applies judges each run.

The windows are %s. With --schedule one schedule is run.

It exits with 1 where a promise is broken.`, strings.Join(names, ", ")),
		Example: `  espersim explore order --window publish --deviations 2
  espersim explore order --window rollback --schedule lose@5,crash@11`,
		Args: counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			o.one = c.Flags().Changed("schedule")
			if o.one && c.Flags().Changed("deviations") {
				return errors.New("--schedule with --deviations; want one of the two")
			}
			o.out, o.err = c.OutOrStdout(), c.ErrOrStderr()
			return o.run()
		},
	}
	f := c.Flags()
	f.StringVar(&o.window, "window", "", "the protocol; left out: all")
	f.IntVar(&o.deviations, "deviations", 2, "deviations of a schedule at most")
	f.StringVar(&o.schedule, "schedule", "", "one schedule, such as lose@5,crash@11")
	f.IntVar(&o.jobs, "jobs", 0, "runs at once (default: one a processor)")
	f.BoolVar(&o.json, "json", false, "one JSON object a window")
	return c
}

// exploredOrder is one window's result as JSON.
type exploredOrder struct {
	Version int    `json:"version"` // of this form
	Window  string `json:"window"`
	*order.Result
	Schedule   string               `json:"schedule,omitempty"`
	Violations []checkers.Violation `json:"violations"`
	Again      string               `json:"again,omitempty"`
}

func (o *exploreOrderOptions) run() error {
	switch {
	case o.deviations < 0:
		return errors.New("--deviations is negative; want a whole number of at least 0")
	case o.jobs < 0:
		return errors.New("--jobs is negative; want a whole number of at least 0")
	case o.one && o.window == "":
		return errors.New("--schedule needs --window, the protocol whose messages it numbers")
	case o.jobs == 0:
		o.jobs = runner.Workers()
	}
	list := order.Windows()
	if o.window != "" {
		w, err := order.Find(o.window)
		if err != nil {
			return err
		}
		list = []*order.Window{w}
	}
	if o.one {
		return o.show(list[0])
	}
	code := runner.ExitClean
	for i, w := range list {
		bar := newBar(o.err)
		r, err := order.Explore(w, order.Options{Deviations: o.deviations, Jobs: o.jobs, Progress: bar.set})
		bar.done()
		if err != nil {
			fmt.Fprintf(o.err, "espersim: %v\n", err)
			return exit{runner.ExitHarness}
		}
		if r.Guilty != nil {
			code = runner.ExitViolated
		}
		if o.json {
			e := exploredOrder{Version: 1, Window: w.Name, Result: r, Violations: []checkers.Violation{}}
			if g := r.Guilty; g != nil {
				e.Schedule, e.Violations, e.Again = g.Schedule.String(), g.Violations, g.Repro(w)
			}
			if err := json.NewEncoder(o.out).Encode(e); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(o.out)
		}
		fmt.Fprintf(o.out, "%s: %s\n  %d messages; up to %d deviations: %d schedules, %d pruned, %d run\n",
			w.Name, w.Summary, r.Messages, r.Deviations, r.Schedules, r.Pruned, r.Runs)
		if r.Guilty == nil {
			fmt.Fprintln(o.out, "  every promise is kept under every schedule")
			continue
		}
		printSchedule(o.out, r.Guilty)
		fmt.Fprintf(o.out, "  nothing smaller: no schedule of fewer deviations breaks a promise\n  again: %s\n", r.Guilty.Repro(w))
	}
	if code != runner.ExitClean {
		return exit{code}
	}
	return nil
}

// printSchedule tells what a schedule did to which message, and what it broke.
func printSchedule(out io.Writer, r *order.Run) {
	for _, v := range r.Violations {
		fmt.Fprintf(out, "  %v\n", v)
	}
	for i, m := range r.Messages {
		mark := ""
		for _, d := range r.Schedule {
			if d.At == i+1 {
				mark = d.Kind.String()
			}
		}
		fmt.Fprintf(out, "  %9s %4d  %v\n", mark, i+1, m)
	}
}

// show runs one schedule.
func (o *exploreOrderOptions) show(w *order.Window) error {
	s, err := order.ParseSchedule(o.schedule)
	if err != nil {
		return err
	}
	r, err := order.One(w, s, nil)
	if err != nil {
		return err
	}
	if o.json {
		e := exploredOrder{Version: 1, Window: w.Name, Schedule: s.String(), Violations: r.Violations}
		if e.Violations == nil {
			e.Violations = []checkers.Violation{}
		}
		if err := json.NewEncoder(o.out).Encode(e); err != nil {
			return err
		}
	} else {
		printSchedule(o.out, r)
		if len(r.Violations) == 0 {
			fmt.Fprintln(o.out, "  every promise is kept")
		}
	}
	if len(r.Violations) > 0 {
		return exit{runner.ExitViolated}
	}
	return nil
}
