package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/checkers/history"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios/runner"
)

type checkOptions struct {
	model, file, html string
	independent       bool
	timeout           time.Duration
	initial           string
	json              bool
}

func newCheck() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check --model MODEL --history FILE",
		Short: "Judge a history that another tool recorded",
		Long: `check decides whether a history is linearizable under a model. It reads
Jepsen's EDN, Jepsen's console log, and JSON as porcupine's types print it.

A call of unknown outcome (:info, or no return) may have taken effect at any
time after it, or never. It exits with 0 where the history is linearizable, 1
where it is not, 2 where it cannot be read, and 3 where the search did not end
in time, which is no verdict.

Models:
` + modelList(),
		Args: counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			var independent *bool
			if c.Flags().Changed("independent") {
				independent = &o.independent
			}
			return check(c.OutOrStdout(), o, independent, c.Flags().Changed("initial"))
		},
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", "register, cas-register, kv, queue, lock or set")
	f.StringVar(&o.file, "history", "", "the history's file")
	f.StringVar(&o.html, "html", "", "write a picture for a browser to this file")
	f.BoolVar(&o.independent, "independent", false, "values are [key value]; left out: it is found out")
	f.StringVar(&o.initial, "initial", "", "the value before the first operation; left out: nil, empty or free")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long the search may take")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	return c
}

func modelList() string {
	s := ""
	for _, m := range history.Models() {
		s += fmt.Sprintf("  %-13s %s\n", m.Name, m.Doc)
	}
	return s
}

// checkReport is the result as JSON.
type checkReport struct {
	File       string   `json:"file"`
	Model      string   `json:"model"`
	Verdict    string   `json:"verdict"`
	Operations int      `json:"operations"`
	Unknown    int      `json:"unknown_outcome"`
	Keys       int      `json:"keys"`
	Key        string   `json:"key,omitempty"`
	Culprit    string   `json:"culprit,omitempty"`
	Line       int      `json:"line,omitempty"` // where the culprit returns
	Prefix     []string `json:"prefix,omitempty"`
}

func check(out io.Writer, o checkOptions, independent *bool, initial bool) error {
	if o.model == "" || o.file == "" {
		return fmt.Errorf("check needs --model and --history; for example: espersim check --model register --history history.edn")
	}
	m, ok := history.FindModel(o.model)
	if !ok {
		var names []string
		for _, m := range history.Models() {
			names = append(names, m.Name)
		}
		return fmt.Errorf("unknown model %q; want %q", o.model, faults.Nearest(o.model, names))
	}
	if initial {
		m.Initial = o.initial
	}
	ops, err := history.ReadFile(o.file, history.Options{Independent: independent})
	if err != nil {
		return err
	}
	r, err := history.Check(o.file, ops, m, o.timeout)
	if err != nil {
		return err
	}
	if o.html != "" {
		if err := picture(o.html, r); err != nil {
			return err
		}
	}
	report := checkReport{File: o.file, Model: m.Name, Verdict: r.Verdict.String(), Operations: r.Operations,
		Unknown: r.Unknown, Keys: r.Keys}
	if r.Verdict == history.Illegal {
		report.Key, report.Culprit, report.Line = r.Key, r.Culprit.String(), r.Culprit.Back
		for _, op := range r.Prefix {
			report.Prefix = append(report.Prefix, op.String())
		}
	}
	if o.json {
		b, err := json.Marshal(report)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", b)
	} else {
		printCheck(out, report, r)
	}
	switch r.Verdict {
	case history.Illegal:
		return exit{runner.ExitViolated}
	case history.Undecided:
		return exit{runner.ExitHarness}
	}
	return nil
}

// shown is how many operations of a prefix are printed.
const shown = 20

func printCheck(out io.Writer, report checkReport, r *history.Result) {
	fmt.Fprintf(out, "%s: %s as a %s: %d operations, %d of unknown outcome, %d keys\n",
		report.File, report.Verdict, report.Model, report.Operations, report.Unknown, report.Keys)
	if r.Verdict == history.Undecided {
		fmt.Fprintf(out, "the search did not end in time; try a longer --timeout, or a history with fewer open calls\n")
	}
	if r.Verdict != history.Illegal {
		return
	}
	fmt.Fprintf(out, "\nNothing explains line %d: %s\nThe smallest illegal prefix:\n", report.Line, report.Culprit)
	from := max(len(r.Prefix)-shown, 0)
	if from > 0 {
		fmt.Fprintf(out, "  … %d operations before\n", from)
	}
	for _, op := range r.Prefix[from:] {
		lines := fmt.Sprintf("line %d", op.Line)
		if op.Back != 0 && op.Back != op.Line {
			lines = fmt.Sprintf("lines %d to %d", op.Line, op.Back)
		}
		fmt.Fprintf(out, "  %-18s %s\n", lines, op)
	}
}

// picture writes the page whole or not at all.
func picture(name string, r *history.Result) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".espersim-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := r.Picture(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
