package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/cluster"
	"github.com/esper-sim/espersim/cluster/setting"
	"github.com/esper-sim/espersim/faults"
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
	return &cobra.Command{
		Use:   "invariants",
		Short: "The invariants that are judged",
		Args:  counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			for _, i := range checkers.Catalogue() {
				fmt.Fprintf(c.OutOrStdout(), "%-4s %s (%s)\n", i.ID, i.Statement, i.Source)
			}
			return nil
		},
	}
}
