package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/contracts/governance/toolchain"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func newContractsToolchain() *cobra.Command {
	var require bool
	c := &cobra.Command{
		Use:   "toolchain [DIR]",
		Short: "Compare the installed tools with the pinned ones",
		Long: `toolchain compares what is installed, and what go.mod, go.sum and the Dockerfile
name, with DIR/build/toolchain.yaml: versions, and the SHA-256 of files. DIR is
contracts if it is not named.

It exits with 0 where all that is installed is equal, 1 where something
differs, 2 where the list is wrong. With --require, what is not installed
counts as different.`,
		Args: counted(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "contracts"
			if len(args) > 0 {
				dir = args[0]
			}
			return compareToolchain(c.OutOrStdout(), dir, require, toolchain.Machine{})
		},
	}
	c.Flags().BoolVar(&require, "require", false, "fail where a tool is not installed")
	return c
}

func compareToolchain(out io.Writer, dir string, require bool, m toolchain.Machine) error {
	t, err := toolchain.Load(dir)
	if err != nil {
		return err
	}
	rows, err := t.Compare(dir, m)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "VERDICT\tTOOL\tPINNED\tFOUND\n")
	counts := map[toolchain.Verdict]int{}
	for _, r := range rows {
		counts[r.Verdict]++
		have := short(r.Have)
		switch {
		case r.Verdict == toolchain.Differs:
			have = r.Have // the digest to look for
		case have == "":
			have = "-"
		}
		fmt.Fprintf(w, "%v\t%s\t%s\t%s\n", r.Verdict, r.What, short(r.Want), have)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d equal, %d different, %d not installed, %d of another architecture\n",
		counts[toolchain.Equal], counts[toolchain.Differs], counts[toolchain.Missing], counts[toolchain.Foreign])
	if counts[toolchain.Missing] > 0 {
		fmt.Fprintf(out, "contracts/build/install-toolchain.sh FOLDER installs what is missing into a folder\n")
	}
	if counts[toolchain.Differs] > 0 || require && counts[toolchain.Missing]+counts[toolchain.Foreign] > 0 {
		return exit{runner.ExitViolated}
	}
	return nil
}

// short cuts a SHA-256 to what a table has room for.
func short(s string) string {
	const digits = 64
	if len(s) >= digits && !strings.ContainsAny(s[len(s)-digits:], "/.@:-") {
		return s[:len(s)-digits+12] + "…"
	}
	return s
}
