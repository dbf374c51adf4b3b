package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/faults"
)

// group makes a command that only holds others: alone it prints its help, and
// a word that is none of them is an error with the nearest one.
func group(c *cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		var names []string
		for _, sub := range c.Commands() {
			names = append(names, sub.Name())
		}
		return fmt.Errorf("%s has no command %q; want %q", c.CommandPath(), args[0], faults.Nearest(args[0], names))
	}
	return c
}

// counted turns cobra's complaint about the number of arguments into the line
// that would be right.
func counted(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		what := fmt.Sprintf("%d arguments", len(args))
		switch len(args) {
		case 0:
			what = "no argument"
		case 1:
			what = "one argument"
		}
		return fmt.Errorf("%s; want %s", what, c.UseLine())
	}
}

// flagError says what would be right in the place of a flag that is wrong.
func flagError(c *cobra.Command, err error) error {
	s := err.Error()
	if name, ok := strings.CutPrefix(s, "unknown flag: --"); ok {
		var names []string
		for _, word := range strings.Fields(c.Flags().FlagUsages()) {
			if n, ok := strings.CutPrefix(word, "--"); ok {
				names = append(names, n)
			}
		}
		return fmt.Errorf("unknown flag --%s; want --%s", name, faults.Nearest(name, names))
	}
	if value, rest, ok := strings.Cut(strings.TrimPrefix(s, "invalid argument "), " for \""); ok {
		name, _, _ := strings.Cut(rest, "\"")
		want := ""
		if f := c.Flags().Lookup(strings.TrimLeft(name, "-")); f != nil {
			switch f.Value.Type() {
			case "int":
				want = "; want a whole number"
			case "uint64":
				want = "; want a whole number of at least 0"
			case "bool":
				want = "; want true or false"
			}
		}
		return fmt.Errorf("%s is %s%s", name, value, want)
	}
	return fmt.Errorf("%w; want %s", err, c.UseLine())
}
