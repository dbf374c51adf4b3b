package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/scenarios/bundle"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim/trace"
)

type replayOptions struct {
	seed     uint64
	given    bool
	n        int
	swarm    string
	out, err io.Writer
}

func newReplay() *cobra.Command {
	o := &replayOptions{}
	c := &cobra.Command{
		Use:   "replay TRACE|SCENARIO|BUNDLE",
		Short: "Run a run again and prove that it is the same",
		Long: `replay runs a scenario with one run seed twice, or once against a stored
trace or a bundle, and compares the trace hashes. It exits with 3 where they differ, and
prints the first event that does; else with the code of the run itself.`,
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			o.given = c.Flags().Changed("seed")
			o.out, o.err = c.OutOrStdout(), c.ErrOrStderr()
			return o.run(args[0])
		},
	}
	c.Flags().Uint64Var(&o.seed, "seed", 0, "the run seed; a trace brings its own")
	swarmFlag(c.Flags(), &o.swarm)
	c.Flags().IntVar(&o.n, "n", 0, "the value of $n, for scenarios that enumerate")
	return c
}

func (o *replayOptions) run(name string) error {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return o.bundle(name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(b, []byte("ESPTRACE")) {
		return o.againstTrace(name, b)
	}
	if !o.given {
		return errors.New("a scenario is replayed with --seed N")
	}
	list, err := load([]string{name}, o.err)
	if err != nil {
		return err
	}
	if err := turnOn(list, o.swarm); err != nil {
		return err
	}
	var first, second bytes.Buffer
	r, err := runner.Run(list[0], runner.Options{Seed: o.seed, N: o.n, Trace: &first})
	if err != nil {
		return err
	}
	if _, err := runner.Run(list[0], runner.Options{Seed: o.seed, N: o.n, Trace: &second}); err != nil {
		return err
	}
	return o.compare(r, first.Bytes(), second.Bytes())
}

// bundle runs what a bundle holds, and compares the hash.
func (o *replayOptions) bundle(dir string) error {
	report, text, err := bundle.Read(dir)
	if err != nil {
		return err
	}
	if o.given && o.seed != report.RunSeed {
		return fmt.Errorf("%s: the bundle has run seed %d, not %d", dir, report.RunSeed, o.seed)
	}
	if now := commit(); report.Commit != now {
		fmt.Fprintf(o.err, "note: the bundle was made at commit %q, this program is %q; a run seed reproduces at one commit only\n", report.Commit, now)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != report.SHA256 {
		fmt.Fprintf(o.err, "note: scenario.yaml is not the one that the bundle was made of\n")
	}
	list, err := load([]string{filepath.Join(dir, "scenario.yaml")}, o.err)
	if err != nil {
		return err
	}
	list[0].File = report.Scenario // its name is in the trace
	if err := turnOn(list, report.SwarmGiven); err != nil {
		return fmt.Errorf("%s: report.json: %w", dir, err)
	}
	var first, second bytes.Buffer
	r, err := runner.Run(list[0], runner.Options{Seed: report.RunSeed, N: report.N, Trace: &first})
	if err != nil {
		return err
	}
	if _, err := runner.Run(list[0], runner.Options{Seed: report.RunSeed, N: report.N, Trace: &second}); err != nil {
		return err
	}
	if report.TraceHash != "" && r.TraceHash != report.TraceHash {
		fmt.Fprintf(o.out, "run seed %d has the trace hash %s, and the bundle's is %s\n", r.RunSeed, r.TraceHash, report.TraceHash)
		return exit{runner.ExitHarness}
	}
	return o.compare(r, first.Bytes(), second.Bytes())
}

func (o *replayOptions) againstTrace(name string, b []byte) error {
	t, err := trace.NewReader(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if o.given && o.seed != t.RunSeed {
		return fmt.Errorf("%s: the trace has run seed %d, not %d", name, t.RunSeed, o.seed)
	}
	if now := commit(); t.Commit != "" && now != "" && t.Commit != now {
		fmt.Fprintf(o.err, "note: the trace was written at commit %s, this program is %s; a run seed reproduces at one commit only\n", t.Commit, now)
	}
	list, err := load([]string{t.Scenario}, o.err)
	if err != nil {
		return err
	}
	if err := turnOn(list, o.swarm); err != nil {
		return err
	}
	n := o.n
	if n == 0 && list[0].Enumerate != nil {
		if _, err := fmt.Sscanf(lastPart(name), "n-%d", &n); err != nil {
			return fmt.Errorf("%s: the scenario enumerates; say which value with --n", name)
		}
	}
	var again bytes.Buffer
	r, err := runner.Run(list[0], runner.Options{Seed: t.RunSeed, N: n, Trace: &again})
	if err != nil {
		return err
	}
	return o.compare(r, b, again.Bytes())
}

// lastPart is the "n-12" of "name-seed-3-n-12.trace".
func lastPart(name string) string {
	i := bytes.LastIndex([]byte(name), []byte("-n-"))
	if i < 0 {
		return ""
	}
	return name[i+1:]
}

func (o *replayOptions) compare(r *runner.Result, a, b []byte) error {
	ra, err := trace.NewReader(bytes.NewReader(a))
	if err != nil {
		return err
	}
	rb, err := trace.NewReader(bytes.NewReader(b))
	if err != nil {
		return err
	}
	d, err := trace.Diff(ra, rb)
	if err != nil {
		return err
	}
	if d != nil {
		fmt.Fprintf(o.out, "run seed %d does not reproduce: %v\n", r.RunSeed, d)
		return exit{runner.ExitHarness}
	}
	printDraw(o.out, "", r.Swarm)
	fmt.Fprintf(o.out, "run seed %d reproduces: %d events, trace hash %s\n", r.RunSeed, r.Events, r.TraceHash)
	for _, v := range r.Violations {
		fmt.Fprintf(o.out, "  %s\n", v)
	}
	printWaits(o.out, "  ", r.Waits)
	switch r.Verdict {
	case runner.Violated:
		return exit{runner.ExitViolated}
	case runner.Stuck:
		return exit{runner.ExitStuck}
	case runner.Broken:
		fmt.Fprintf(o.out, "  %s\n", r.Error)
		return exit{runner.ExitHarness}
	}
	return nil
}
