package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/contracts/governance/alert"
	fixtures "github.com/esper-sim/espersim/contracts/governance/golden"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func newContractsGolden() *cobra.Command {
	var do goldenFlags
	c := &cobra.Command{
		Use:   "golden [DIR]",
		Short: "Compare the golden fixtures with the schema",
		Long: `golden compares the files in DIR/golden with its table, fixtures.yaml: the
bytes are the canonical encoding of what the table says, decode to it, and are
the same after decoding and encoding; every field of every message type is set
in a fixture; there is no file that the table does not know. DIR is contracts
if it is not named.

--fill appends entries with every field set for the message types that lack
some. --update writes the files that are missing. It refuses to change one that
is there, unless --replace names it by its path below golden/.

A file with other bytes than the table gives, or none, raises an alert (an
esper.platform.v2.AlertEvent, on stderr and with --alert in a file): somebody
may have tampered with the schema or the fixture.

It exits with 0 where everything is equal, 1 where something is not or was
refused, 2 where the schema or the table is wrong.`,
		Args: counted(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "contracts"
			if len(args) > 0 {
				dir = args[0]
			}
			return runGolden(c.OutOrStdout(), c.ErrOrStderr(), dir, do)
		},
	}
	c.Flags().BoolVar(&do.fill, "fill", false, "append what the table lacks to it")
	c.Flags().BoolVar(&do.update, "update", false, "write the files that are missing")
	c.Flags().StringVar(&do.alert, "alert", "", "write the alert to this file, in its canonical encoding")
	c.Flags().StringVar(&do.at, "at", "", "the time of the alert, such as 2025-01-10T12:00:00Z (default: now)")
	c.Flags().StringArrayVar(&do.replace, "replace", nil, "with --update: change this `FILE`, too; repeatable")
	return c
}

type goldenFlags struct {
	fill, update bool
	alert, at    string
	replace      []string
}

func runGolden(out, progress io.Writer, dir string, do goldenFlags) error {
	if len(do.replace) > 0 && !do.update {
		return errors.New("--replace without --update changes nothing; want --update --replace FILE")
	}
	if do.fill {
		added, err := fixtures.Fill(dir)
		if err != nil {
			return err
		}
		for _, file := range added {
			fmt.Fprintf(out, "added to the table: %s\n", file)
		}
	}
	set, err := fixtures.Load(dir)
	if err != nil {
		return err
	}
	if do.update {
		changes, err := set.Update(do.replace)
		var refused *fixtures.Refused
		if errors.As(err, &refused) {
			fmt.Fprintf(out, "%v\n", refused)
			return exit{runner.ExitViolated}
		}
		if err != nil {
			return err
		}
		for _, c := range changes {
			if c.Before == "" {
				fmt.Fprintf(out, "written: %s (sha256 %s)\n", c.File, c.After)
			} else {
				fmt.Fprintf(out, "replaced: %s (sha256 %s -> %s)\n", c.File, c.Before, c.After)
			}
		}
	}
	at, err := clock(do.at)
	if err != nil {
		return err
	}
	r, err := set.Check()
	if err != nil {
		return err
	}
	var tampered []string
	for _, m := range r.Mismatches {
		fmt.Fprintln(out, m)
		// A type without a fixture is work to be done; the rest is not.
		if m.Kind != fixtures.Uncovered {
			tampered = append(tampered, m.String())
		}
	}
	verdict := "all equal"
	if n := len(r.Mismatches); n > 0 {
		verdict = fmt.Sprintf("%d wrong", n)
	}
	fmt.Fprintf(out, "%s: %d fixtures of %d message types, %d bytes: %s\n", r.Table, r.Fixtures, r.Messages, r.Bytes, verdict)
	if len(tampered) > 0 {
		a := alert.New(alert.GoldenMismatch, tampered, at)
		fmt.Fprintln(progress, alert.Line(a))
		if do.alert != "" {
			if err := writeWhole(do.alert, a.AppendCanonical(nil)); err != nil {
				return err
			}
		}
	}
	if len(r.Mismatches) > 0 {
		return exit{runner.ExitViolated}
	}
	return nil
}
