package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/gpu/incident"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/imported"
)

func newGPUImportLog() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "import-log FILE",
		Short: "Make a scenario of what a log says of failing devices",
		Long: `import-log reads a kernel's log (dmesg, syslog or journalctl: lines with NVRM: Xid)
or a dump of NVML's events (one JSON object a line), and writes a scenario in which
the same befalls the devices of a fleet, at the same times. Xids that are in no row
of the table of classes are left out, and named. - reads the standard input.`,
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return importLog(c.OutOrStdout(), c.ErrOrStderr(), c.InOrStdin(), args[0], out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "the scenario's file (default: the standard output)")
	return c
}

func importLog(stdout, stderr io.Writer, stdin io.Reader, name, out string) error {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	list, err := incident.Read(in)
	var wrong *incident.Error
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s:%d: %s; want %s", name, wrong.Line, wrong.Wrong, wrong.Want)
	}
	if err != nil {
		return err
	}
	s, left, err := imported.Scenario("what "+filepath.Base(name)+" says of failing devices", list)
	for _, x := range left {
		fmt.Fprintf(stderr, "%s:%d: Xid %d is of no known class, and left out\n", name, x.Line, x.Xid)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	text, err := scenarios.Format(s)
	if err != nil {
		return err
	}
	if out == "" {
		_, err = stdout.Write(text)
		return err
	}
	w, err := createWhole(out)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return errors.Join(err, w.Close())
}
