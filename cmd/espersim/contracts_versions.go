package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/contracts/governance/manifest"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// judge says what a change of the schemas asks for.
var judge manifest.Judge = manifest.Policy

// contractsDir is the folder of schemas that a command means.
func contractsDir(args []string) (string, error) {
	dir := "contracts"
	if len(args) > 0 {
		dir = args[0]
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s: there is no such folder; want one of .proto files", dir)
	}
	return dir, nil
}

func newContractsVersions() *cobra.Command {
	return &cobra.Command{
		Use:   "versions [DIR]",
		Short: "Show the version manifest, and check that nothing changed without a version",
		Long: `versions prints build/versions.yaml of a folder of schemas (contracts, unless
another is named) and checks it: every package belongs to its version, what
changed has a new version, frozen versions did not change, and the released
descriptor sets are those of the hashes. It exits with 1 where one is not.`,
		Args: counted(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := contractsDir(args)
			if err != nil {
				return err
			}
			return showVersions(c.OutOrStdout(), dir)
		},
	}
}

func showVersions(out io.Writer, dir string) error {
	m, s, err := loadVersions(dir)
	if err != nil {
		return err
	}
	found, err := m.Check(s, judge)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tSTATUS\tRELEASED\tDEPRECATED\tPACKAGES\tDESCRIPTOR SET")
	for _, v := range m.Versions {
		deprecated, hash := v.Deprecated, v.Hash
		if deprecated == "" {
			deprecated = "-"
		}
		if hash == "" {
			hash = "none"
		}
		fmt.Fprintf(w, "%s.%d\t%s\t%s\t%s\t%d\t%.16s\n", v.Name, v.Minor, v.Status, v.Released, deprecated, len(v.Packages), hash)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, g := range m.Migration {
		fmt.Fprintf(out, "%s to %s: %s (%s)\n", g.From, g.To, g.Tool, g.Compatibility)
	}
	for _, f := range found {
		fmt.Fprintln(out, f)
	}
	if len(found) > 0 {
		return exit{runner.ExitViolated}
	}
	return nil
}

func loadVersions(dir string) (*manifest.Manifest, *schema.Schema, error) {
	m, err := manifest.Load(dir)
	if err != nil {
		return nil, nil, err
	}
	s, err := schema.LoadDir(dir)
	return m, s, err
}

func newContractsBump() *cobra.Command {
	write := false
	c := &cobra.Command{
		Use:   "bump [DIR]",
		Short: "Say which new version the changes of the schemas ask for, or release it",
		Long: `bump compares a folder of schemas (contracts, unless another is named) with the
descriptor sets that were released last. Additions ask for a new minor version;
--write releases it: it raises the number in build/versions.yaml, fills in the
hash, and writes the descriptor set in build/released. Whatever else changed
asks for a new major version, which is a new package, and is refused, as is a
change of a frozen version. It exits with 1 where something is refused or,
without --write, not released.`,
		Args: counted(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := contractsDir(args)
			if err != nil {
				return err
			}
			return bump(c.OutOrStdout(), dir, write)
		},
	}
	c.Flags().BoolVar(&write, "write", false, "release the new minor version")
	return c
}

func bump(out io.Writer, dir string, write bool) error {
	m, s, err := loadVersions(dir)
	if err != nil {
		return err
	}
	proposals, err := m.Propose(s, judge)
	if err != nil {
		return err
	}
	refused, open := false, false
	for _, p := range proposals {
		why := p.Refused()
		switch next := p.Minor + 1; {
		case why != "":
			refused = true
			fmt.Fprintf(out, "%s.%d: refused: %s\n", p.Version, p.Minor, why)
		case p.Verdict == manifest.None:
			fmt.Fprintf(out, "%s.%d: none\n", p.Version, p.Minor)
		default:
			open = true
			if !p.Released {
				next = p.Minor
			}
			fmt.Fprintf(out, "%s.%d: minor: to be released as %s.%d\n", p.Version, p.Minor, p.Version, next)
		}
		for _, line := range p.Why {
			fmt.Fprintf(out, "    %s\n", line)
		}
		for _, name := range p.Packages {
			fmt.Fprintf(out, "    the package %s is new\n", name)
		}
	}
	switch {
	case refused:
		return exit{runner.ExitViolated}
	case !open:
		return nil
	case !write:
		fmt.Fprintln(out, "espersim contracts bump --write releases it")
		return exit{runner.ExitViolated}
	}
	if err := m.Write(s, proposals); err != nil {
		return err
	}
	fmt.Fprintf(out, "written: %s\n", m.Path)
	return nil
}
