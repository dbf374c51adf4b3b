package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/scenarios/debugger"
	"github.com/esper-sim/espersim/scenarios/runner"
)

type debugOptions struct {
	seed     uint64
	n        int
	swarm    string
	commands string
}

func newDebug() *cobra.Command {
	var o debugOptions
	c := &cobra.Command{
		Use:   "debug SCENARIO --seed N",
		Short: "Walk through a run, forwards and back",
		Long: `debug makes a run step by step. It reads one command a line, from the terminal,
a pipe or a file: run to an event, a time or a violation; step; go back; look at
a node's state, timers, facts, messages and files, and at what is on its way.
"help" lists the commands. To go back makes the run once more, which is the same
run: looking changes nothing.

A session whose commands all succeeded exits with 0, else with 2.`,
		Example: `  espersim debug scenarios/triad-swarm.yaml --seed 7
  espersim debug scenarios/triad-swarm.yaml --seed 7 --commands walk.txt`,
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("seed") {
				return errors.New("debug needs --seed, that of the run")
			}
			return o.run(args[0], c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.seed, "seed", 1, "the run seed")
	f.IntVar(&o.n, "n", 0, "the value of $n, for a scenario that enumerates")
	f.StringVar(&o.commands, "commands", "", "read the commands from this file")
	swarmFlag(f, &o.swarm)
	return c
}

func (o *debugOptions) run(file string, in io.Reader, out, stderr io.Writer) error {
	list, err := load([]string{file}, stderr)
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("%s holds %d scenarios; want one", file, len(list))
	}
	if err := turnOn(list, o.swarm); err != nil {
		return err
	}
	if e := list[0].Enumerate; e != nil && (o.n < e.From || o.n > e.To) {
		return fmt.Errorf("%s enumerates; want --n from %d to %d", file, e.From, e.To)
	}
	prompt := ""
	if f, ok := in.(*os.File); ok && o.commands == "" && terminal(f) {
		prompt = "(espersim) "
	}
	if o.commands != "" {
		f, err := os.Open(o.commands)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // nothing was written
		in = f
	}
	err = debugger.Run(list[0], debugger.Options{Run: runner.Options{Seed: o.seed, N: o.n}, In: in, Out: out, Prompt: prompt})
	if errors.Is(err, debugger.ErrCommand) {
		return exit{runner.ExitUsage}
	}
	return err
}
