package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/cluster/live"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func newWAL() *cobra.Command {
	c := group(&cobra.Command{Use: "wal", Short: "Look into write-ahead logs"})
	c.AddCommand(&cobra.Command{
		Use:   "dump FILE",
		Short: "Print the records of one segment file",
		Args:  counted(cobra.ExactArgs(1)),
		RunE:  func(c *cobra.Command, args []string) error { return dumpWAL(c.OutOrStdout(), args[0]) },
	}, &cobra.Command{
		Use:   "verify FILE|DIR",
		Short: "Say whether a log is whole, has a torn tail, or is damaged",
		Long: `verify reads a log without changing it. A folder is a whole log; a file is
one segment, in which a torn tail cannot be told from damage. It exits with 1
where the log is damaged.`,
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return verifyWAL(c.OutOrStdout(), args[0]) },
	})
	return c
}

func dumpWAL(out io.Writer, name string) error {
	n, err := eachRecord(name, func(i wal.Info) error {
		_, err := fmt.Fprintln(out, i)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d records\n", n)
	return nil
}

func eachRecord(name string, fn func(wal.Info) error) (n int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.IsDir() {
		return 0, fmt.Errorf("%s is a folder; want one of its segment files", name)
	}
	err = wal.Dump(name, f, info.Size(), func(i wal.Info) error {
		n++
		return fn(i)
	})
	return n, err
}

func verifyWAL(out io.Writer, name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		n, err := eachRecord(name, func(wal.Info) error { return nil })
		var d *wal.DumpError
		if errors.As(err, &d) {
			fmt.Fprintf(out, "%v\n%d records before it are whole; the folder's verify says whether it is a torn tail\n", d, n)
			return exit{runner.ExitViolated}
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d records, whole\n", name, n)
		return nil
	}
	files, err := live.NewFiles(filepath.Dir(filepath.Clean(name)))
	if err != nil {
		return err
	}
	r, err := wal.Verify(files, filepath.Base(filepath.Clean(name)), nil)
	var c *wal.CorruptionError
	if errors.As(err, &c) {
		fmt.Fprintf(out, "damaged: %v\n", c)
		return exit{runner.ExitViolated}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d records in %d segments, LSN %d to %d, durable up to %d, %d transactions committed\n",
		name, r.Records, r.Segments, r.First, r.Last, r.Durable, r.Committed)
	if r.OpenTxn != 0 {
		fmt.Fprintf(out, "transaction %d has no end: recovery aborts it\n", r.OpenTxn)
	}
	if r.Torn != nil {
		fmt.Fprintf(out, "torn tail at offset %d: %v: recovery cuts it\n", r.TornAt, r.Torn)
	}
	return nil
}
