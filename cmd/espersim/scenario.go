package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/scenarios"
)

func newScenario() *cobra.Command {
	c := group(&cobra.Command{Use: "scenario", Short: "Check scenario files, or print their schema"})
	c.AddCommand(&cobra.Command{
		Use:   "lint FILE|DIR…",
		Short: "Check scenario files without running them",
		Args:  counted(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			list, err := load(args, c.ErrOrStderr())
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d scenarios are well-formed\n", len(list))
			return nil
		},
	}, &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenario files, for editors",
		Args:  counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := scenarios.Schema()
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	})
	return c
}
