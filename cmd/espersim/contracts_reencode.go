package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/reencode"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func newContractsReencode() *cobra.Command {
	var message, dir, to string
	c := &cobra.Command{
		Use:   "reencode FILE --type TYPE",
		Short: "Say whether an encoded message is canonical, and write what is",
		Long: `reencode decodes FILE, an encoded message of the type, and encodes it again. It
says whether a receiver accepts the file, and where it differs from the
canonical form; -o writes that form. "-" is the standard input.

It exits with 0 where the file is canonical, 1 where it differs or is refused,
2 where there is no such file, type or schema.`,
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if message == "" {
				return errors.New("which message type? want --type with a full name, such as esper.bus.v2.Ack")
			}
			return reencodeFile(c.InOrStdin(), c.OutOrStdout(), args[0], message, dir, to)
		},
	}
	c.Flags().StringVar(&message, "type", "", "full name of the message `TYPE`")
	c.Flags().StringVar(&dir, "schema", "contracts", "`SCHEMA` that has the type: a folder, a descriptor set or REV:PATH")
	c.Flags().StringVarP(&to, "output", "o", "", "write the canonical form to this `FILE`")
	return c
}

func reencodeFile(in io.Reader, out io.Writer, name, message, dir, to string) error {
	s, err := schema.Load(dir)
	if err != nil {
		return err
	}
	d, ok := s.Find(protoreflect.FullName(message)).(protoreflect.MessageDescriptor)
	if !ok {
		var names []string
		for _, m := range s.Messages() {
			names = append(names, string(m.FullName()))
		}
		return fmt.Errorf("%s has no message type %q; want %q", s.Source, message, faults.Nearest(message, names))
	}
	var b []byte
	if name == "-" {
		b, err = io.ReadAll(in)
	} else {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return err
	}
	r, err := reencode.Bytes(d, b)
	if err != nil {
		return err
	}
	if to != "" && r.Canonical != nil {
		w, err := createWhole(to)
		if err != nil {
			return err
		}
		_, err = w.Write(r.Canonical)
		if cerr := w.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	switch {
	case r.Accepted:
		fmt.Fprintf(out, "%s: %d bytes of %s, canonical\n", name, len(b), message)
		return nil
	case r.Canonical == nil:
		fmt.Fprintf(out, "%s: %d bytes, no %s: %s\n", name, len(b), message, r.Reason)
		if to != "" {
			fmt.Fprintf(out, "%s was not written\n", to)
		}
	case r.Identical:
		fmt.Fprintf(out, "%s: %d bytes of %s, the same after decoding and encoding, but refused: %s\n", name, len(b), message, r.Reason)
	default:
		fmt.Fprintf(out, "%s: %d bytes of %s, not canonical: %s\n", name, len(b), message, r.Reason)
	}
	return exit{runner.ExitViolated}
}
