package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat"
	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios/runner"
)

const schemaNames = `A schema is a folder of .proto files, one .proto file, a descriptor set, or
REV:PATH of the git repository around the current folder.`

func newBreaking() *cobra.Command {
	var o struct {
		json, github, quick bool
		frozen              []string
	}
	c := &cobra.Command{
		Use:   "breaking OLD NEW",
		Short: "Say which version a change of schemas needs, and show what it loses",
		Long: `breaking compares two schemas. Of every change it says what the policy makes of
it, and what happens to messages between an old writer and a new reader and the
other way round; where something is lost it shows the smallest message that
loses it, with the command that shows it again.

` + schemaNames + `

Packages that build/versions.yaml beside OLD or NEW calls frozen may not change.

Exit codes: 0 nothing changed or a minor version is enough, 1 a major version
is needed or a frozen package changed, 2 bad input.`,
		Args: counted(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			if o.json && o.github {
				return fmt.Errorf("--json and --github are two forms of one report; want one of them")
			}
			checker := compat.New()
			checker.Search.Rapid = !o.quick
			checker.Frozen = o.frozen
			var schemas [2]*schema.Schema
			for i, name := range args {
				s, err := schema.Load(name)
				if err != nil {
					return err
				}
				frozen, err := compat.FrozenBeside(name)
				if err != nil {
					return err
				}
				schemas[i], checker.Frozen = s, append(checker.Frozen, frozen...)
			}
			for _, p := range o.frozen {
				if !hasPackage(p, schemas[:]...) {
					return fmt.Errorf("--frozen %s: neither schema has that package", p)
				}
			}
			r := checker.Compare(schemas[0], schemas[1])
			write := r.WriteText
			switch {
			case o.json:
				write = r.WriteJSON
			case o.github:
				write = r.WriteGitHub
			}
			if err := write(c.OutOrStdout()); err != nil {
				return err
			}
			if r.Breaking() {
				return exit{runner.ExitViolated}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&o.json, "json", false, "one JSON object")
	c.Flags().BoolVar(&o.github, "github", false, "annotations for GitHub's pull requests")
	c.Flags().StringArrayVar(&o.frozen, "frozen", nil, "a package that may not change; may be given again")
	c.Flags().BoolVar(&o.quick, "quick", false, "leave the second search for smaller witnesses out")
	return c
}

func hasPackage(name string, schemas ...*schema.Schema) bool {
	for _, s := range schemas {
		for _, f := range s.Files {
			if string(f.Package()) == name {
				return true
			}
		}
	}
	return false
}

func newRead() *cobra.Command {
	var o struct{ writer, reader, name, readerName string }
	c := &cobra.Command{
		Use:   "read --writer SCHEMA --reader SCHEMA --type NAME HEX",
		Short: "Show what a reader of one schema makes of a message of another",
		Long: `read decodes a message as its writer does, as the reader does, and what the
reader sends on as the writer's side does, and says what was lost on the way.

` + schemaNames + `

Exit codes: 0 nothing is lost, 1 something is, 2 bad input.`,
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			for _, f := range [][2]string{{"writer", o.writer}, {"reader", o.reader}, {"type", o.name}} {
				if f[1] == "" {
					return fmt.Errorf("--%s is missing; want %s", f[0], c.UseLine())
				}
			}
			if o.readerName == "" {
				o.readerName = o.name
			}
			b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "").Replace(args[0]))
			if err != nil {
				return fmt.Errorf("%q is no hexadecimal text: %w", args[0], err)
			}
			w, err := messageType(o.writer, o.name)
			if err != nil {
				return err
			}
			r, err := messageType(o.reader, o.readerName)
			if err != nil {
				return err
			}
			m, err := witness.Decode(b, w)
			if err != nil {
				return err
			}
			out := witness.Exchange(m, r)
			showOutcome(c.OutOrStdout(), b, out)
			if !out.Class.Clean() {
				return exit{runner.ExitViolated}
			}
			return nil
		},
	}
	c.Flags().StringVar(&o.writer, "writer", "", "the schema of the writer")
	c.Flags().StringVar(&o.reader, "reader", "", "the schema of the reader")
	c.Flags().StringVar(&o.name, "type", "", "the full name of the message's type")
	c.Flags().StringVar(&o.readerName, "reader-type", "", "the type that the reader takes it for, if it is another")
	return c
}

func messageType(source, name string) (protoreflect.MessageDescriptor, error) {
	s, err := schema.Load(source)
	if err != nil {
		return nil, err
	}
	if m, ok := s.Find(protoreflect.FullName(name)).(protoreflect.MessageDescriptor); ok {
		return m, nil
	}
	var names []string
	for _, m := range s.Messages() {
		names = append(names, string(m.FullName()))
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no message type at all", source)
	}
	return nil, fmt.Errorf("%s has no message type %q; want %q", source, name, faults.Nearest(name, names))
}

// showOutcome says what happened to the message that was given as bytes.
func showOutcome(out io.Writer, given []byte, o witness.Outcome) {
	fmt.Fprintf(out, "written    %s\n", witness.Text(o.Written))
	if string(given) != string(o.Bytes) {
		fmt.Fprintf(out, "bytes      %x (canonical; given as %x)\n", o.Bytes, given)
	} else {
		fmt.Fprintf(out, "bytes      %x\n", o.Bytes)
	}
	if o.Class == exchange.ParseFailure {
		fmt.Fprintf(out, "seen       nothing: %s\n", witness.Plain(o.Err))
	} else {
		fmt.Fprintf(out, "seen       %s\nrelay      %x\n", witness.Text(o.Seen), o.Relay)
		if o.BackErr != nil {
			fmt.Fprintf(out, "read back  nothing: %s\n", witness.Plain(o.BackErr))
		} else {
			fmt.Fprintf(out, "read back  %s\n", witness.Text(o.Back))
		}
	}
	if o.Where != "" {
		fmt.Fprintf(out, "differs    %s\n", o.Where)
	}
	fmt.Fprintf(out, "%s\n", o.Class)
}
