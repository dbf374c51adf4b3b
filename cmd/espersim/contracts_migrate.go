package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/contracts/governance/migrate"
	"github.com/esper-sim/espersim/scenarios/runner"
)

type migrateFlags struct {
	kind, out string
	text      bool
}

func newContractsMigrate() *cobra.Command {
	f := &migrateFlags{}
	c := &cobra.Command{
		Use:   "migrate FILE --type TYPE -o OUT",
		Short: "Turn an encoded message of version 1 into one of version 2",
		Long: `migrate reads one encoded message of version 1 and writes it as version 2, in
the canonical encoding. Version 1 is read and never written. --text prints both
in protobuf's text format. Where the message has no version 2, migrate says
which field is why, writes nothing, and exits with 1.

Types, of which the end of the name is enough:
  ` + strings.Join(migrate.Types(), "\n  "),
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return migrateFile(c.OutOrStdout(), args[0], f)
		},
	}
	c.Flags().StringVar(&f.kind, "type", "", "the type of the message in FILE")
	c.Flags().StringVarP(&f.out, "output", "o", "", "the file to write")
	c.Flags().BoolVar(&f.text, "text", false, "print the message before and after")
	return c
}

func migrateFile(out io.Writer, name string, f *migrateFlags) error {
	kind, err := migrate.FindType(f.kind)
	if err != nil {
		return fmt.Errorf("--type: %w", err)
	}
	if f.out == "" && !f.text {
		return errors.New("where is the result to go? want -o OUT, or --text to look at it")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, after, err := migrate.Bytes(kind, b)
	var refused *migrate.Refusal
	if errors.As(err, &refused) {
		fmt.Fprintf(out, "%s: refused: %v\n", name, refused)
		return exit{runner.ExitViolated}
	}
	if err != nil {
		return err
	}
	if f.text {
		fmt.Fprintf(out, "%s\n%s", migrate.Text(before), migrate.Text(after))
	}
	if f.out == "" {
		return nil
	}
	if err := writeWhole(f.out, after.AppendCanonical(nil)); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s\n", f.out, after.FullName())
	return nil
}
