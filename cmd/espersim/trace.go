package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim/trace"
)

type showOptions struct {
	node     string
	kind     string
	from, to uint64
	out      io.Writer
}

func newTrace() *cobra.Command {
	c := group(&cobra.Command{Use: "trace", Short: "Look into stored traces"})
	o := &showOptions{}
	show := &cobra.Command{
		Use:   "show FILE",
		Short: "Print the events of a trace",
		Args:  counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			o.out = c.OutOrStdout()
			return o.run(args[0])
		},
	}
	f := show.Flags()
	f.StringVar(&o.node, "node", "", "only events of this node")
	f.StringVar(&o.kind, "kind", "", "only events of this kind, such as sent or fact")
	f.Uint64Var(&o.from, "from", 1, "first event")
	f.Uint64Var(&o.to, "to", 0, "last event (default: the end)")
	c.AddCommand(show, &cobra.Command{
		Use:   "diff FILE FILE",
		Short: "Print the first event in which two traces differ",
		Args:  counted(cobra.ExactArgs(2)),
		RunE:  func(c *cobra.Command, args []string) error { return diff(c.OutOrStdout(), args[0], args[1]) },
	})
	return c
}

func openTrace(name string) (*trace.Reader, func(), error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	r, err := trace.NewReader(f)
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, func() { _ = f.Close() }, nil // nothing was written
}

func (o *showOptions) run(name string) error {
	var kinds []string
	for k := trace.Kind(1); !strings.HasPrefix(k.String(), "kind("); k++ {
		kinds = append(kinds, k.String())
	}
	if o.kind != "" && !slices.Contains(kinds, o.kind) {
		return fmt.Errorf("no event is of the kind %q; want %q", o.kind, faults.Nearest(o.kind, kinds))
	}
	r, done, err := openTrace(name)
	if err != nil {
		return err
	}
	defer done()
	fmt.Fprintf(o.out, "scenario %s, run seed %d\n", r.Scenario, r.RunSeed)
	codec := wire.NewCodec()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			fmt.Fprintf(o.out, "%d events, trace hash %s\n", r.Len(), r.Hash())
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if e.Seq < o.from || o.to > 0 && e.Seq > o.to ||
			o.node != "" && e.Node != o.node && e.Peer != o.node ||
			o.kind != "" && e.Kind.String() != o.kind {
			continue
		}
		fmt.Fprintln(o.out, e.String()+detail(codec, e))
	}
}

// detail is what a message or a fact says.
func detail(codec *wire.Codec, e *trace.Event) string {
	switch e.Kind {
	case trace.MessageSent, trace.MessageDelivered:
		env, m, err := codec.Open(e.Data)
		if err != nil {
			return " (" + err.Error() + ")"
		}
		s := " " + m.FullName()
		if env.Topic != "" {
			s += " on " + env.Topic
		}
		return s + " {" + brief(fmt.Sprint(m)) + "}"
	case trace.FactDeclared:
		m, err := codec.Parse(e.Text, e.Data)
		if err != nil {
			return " (" + err.Error() + ")"
		}
		return " {" + brief(fmt.Sprint(m)) + "}"
	}
	return ""
}

func brief(s string) string {
	// The text form of protobuf-go has random white space on purpose.
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}

func diff(out io.Writer, a, b string) error {
	ra, doneA, err := openTrace(a)
	if err != nil {
		return err
	}
	defer doneA()
	rb, doneB, err := openTrace(b)
	if err != nil {
		return err
	}
	defer doneB()
	d, err := trace.Diff(ra, rb)
	if err != nil {
		return err
	}
	if d == nil {
		fmt.Fprintf(out, "the traces are equal: %d events, trace hash %s\n", ra.Len(), ra.Hash())
		return nil
	}
	fmt.Fprintln(out, d)
	return exit{runner.ExitHarness}
}
