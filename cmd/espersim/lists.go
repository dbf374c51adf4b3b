package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/cluster"
	"github.com/esper-sim/espersim/cluster/setting"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios/planted"
)

func newFaults() *cobra.Command {
	c := group(&cobra.Command{Use: "faults", Short: "The catalogue of faults"})
	c.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "Print every kind of fault, what it takes, and what a correct system does about it",
		Args:  counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			area := ""
			for _, k := range faults.Catalogue() {
				if k.Area != area {
					area = k.Area
					fmt.Fprintf(c.OutOrStdout(), "# %s\n\n", area)
				}
				fmt.Fprintln(c.OutOrStdout(), faults.Describe(k))
			}
			return nil
		},
	})
	c.AddCommand(newSites())
	return c
}

func newRoles() *cobra.Command {
	return &cobra.Command{
		Use:   "roles",
		Short: "The roles that a node can have, and their options",
		Args:  counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			for _, name := range cluster.RoleNames() {
				r, _ := cluster.FindRole(name)
				fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", name, r.Doc)
				for _, o := range setting.List(r.Options()) {
					doc := o.Doc
					if len(o.OneOf) > 0 {
						doc += " (" + strings.Join(o.OneOf, " or ") + ")"
					}
					fmt.Fprintf(c.OutOrStdout(), "    %-16s %-10s %s\n", o.Name, o.Default, doc)
				}
			}
			return nil
		},
	}
}

func newInvariants() *cobra.Command {
	var long, asJSON bool
	c := &cobra.Command{
		Use:   "invariants",
		Short: "The invariants that are judged",
		Long: `invariants prints the catalogue: each invariant's id, statement and source. With
--long it adds the checker that judges it, the bug that was planted to see that it
does, and the scenario that finds the bug; --json prints the same as JSON, one
object a line.`,
		Args: counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return printInvariants(c.OutOrStdout(), long, asJSON)
		},
	}
	c.Flags().BoolVar(&long, "long", false, "checker, planted bug and scenario as well")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line, with every column")
	return c
}

func printInvariants(out io.Writer, long, asJSON bool) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, r := range planted.Rows() {
		if asJSON {
			if err := e.Encode(r); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(out, "%-4s %s (%s)\n", r.ID, r.Statement, r.Source)
		if !long {
			continue
		}
		bug := r.Bug
		if r.Where != "" {
			bug = r.Where + " " + bug
		}
		if r.Liar {
			bug += "; its facts say that all is well"
		}
		fmt.Fprintf(out, "     checker   %s\n     planted   %s\n     found by  %s\n", r.Checker, bug, r.Scenario)
	}
	return nil
}
