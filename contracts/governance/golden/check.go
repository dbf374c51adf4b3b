package golden

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/dynamic"
)

// Kind says what is wrong with a fixture.
type Kind string

// The kinds of a Mismatch.
const (
	// Absent: the table has it, the folder has not.
	Absent Kind = "absent"
	// Bytes: the file differs from what the table gives.
	Bytes Kind = "bytes"
	// Undecodable: the file is no message of the type, or not one that a
	// receiver accepts.
	Undecodable Kind = "undecodable"
	// Value: the file decodes to another message than the table's.
	Value Kind = "value"
	// Identity: the file decoded and encoded again gives other bytes.
	Identity Kind = "identity"
	// Uncovered: there is no fixture of the message type, none of them sets
	// every field outside of oneofs, or none sets some arm.
	Uncovered Kind = "uncovered"
	// Stray: a file that the table does not know.
	Stray Kind = "stray"
)

// A Mismatch is one thing that is wrong.
type Mismatch struct {
	Kind    Kind
	File    string // below golden/; empty for Uncovered
	Line    int    // of the table; 0 where it has none
	Message string // type; empty for Stray
	Offset  int    // of the first wrong byte, or -1
	Field   string // that the byte belongs to, or that is not covered
	Have    string // SHA-256 of the file, in hex
	Want    string // SHA-256 of what the table gives
	Detail  string
}

func (m Mismatch) String() string {
	switch m.Kind {
	case Uncovered:
		return fmt.Sprintf("%s: %s", m.Message, m.Detail)
	case Absent, Stray:
		return fmt.Sprintf("%s: %s", m.File, m.Detail)
	}
	at := ""
	if m.Offset >= 0 {
		at = fmt.Sprintf(" at byte %d, in %s", m.Offset, m.Field)
	}
	return fmt.Sprintf("%s: %s%s (sha256 %.12s, the table gives %.12s)", m.File, m.Detail, at, m.Have, m.Want)
}

// A Report is what Check found.
type Report struct {
	Table      string // its file
	Fixtures   int
	Messages   int // types of the schema
	Bytes      int // in all fixtures
	Mismatches []Mismatch
	// Coverage lists, for every message type in the order of the schema, its
	// fixtures by their paths.
	Coverage []Coverage
}

// Coverage is the fixtures of one message type.
type Coverage struct {
	Message  protoreflect.MessageDescriptor
	Fixtures []string
	Missing  []string // fields that the fullest fixture lacks, arms that all lack
}

// Check compares the fixtures of a folder of contracts with its table. An error
// means that there is nothing to compare: what is wrong with the fixtures is
// in the report.
func Check(dir string) (*Report, error) {
	s, err := Load(dir)
	if err != nil {
		return nil, err
	}
	return s.Check()
}

// Check compares the files with the table.
func (s *Set) Check() (*Report, error) {
	r := &Report{Table: s.Table.File, Fixtures: len(s.Table.Fixtures)}
	known := map[string]bool{TableName: true}
	for i, f := range s.Table.Fixtures {
		known[f.Path()] = true
		b, err := os.ReadFile(s.file(f))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			r.Mismatches = append(r.Mismatches, Mismatch{Kind: Absent, File: f.Path(), Line: f.Line, Message: f.Message,
				Offset: -1, Want: digest(s.bytes[i]), Detail: "the file is missing; --update writes it"})
		case err != nil:
			return nil, err
		default:
			r.Bytes += len(b)
			r.Mismatches = append(r.Mismatches, s.compare(i, b)...)
		}
	}
	r.Coverage = s.coverage()
	r.Messages = len(r.Coverage)
	for _, c := range r.Coverage {
		name := string(c.Message.FullName())
		switch {
		case len(c.Fixtures) == 0:
			r.Mismatches = append(r.Mismatches, Mismatch{Kind: Uncovered, Message: name, Offset: -1,
				Detail: "there is no fixture of this message type; --fill adds one"})
		case len(c.Missing) > 0:
			r.Mismatches = append(r.Mismatches, Mismatch{Kind: Uncovered, Message: name, Offset: -1,
				Field: strings.Join(c.Missing, ", "), Detail: "no fixture sets every field and arm: " + strings.Join(c.Missing, ", ") + " is missing; --fill adds one"})
		}
	}
	root := filepath.Join(s.Dir, Folder)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err == nil && !known[filepath.ToSlash(rel)] {
			r.Mismatches = append(r.Mismatches, Mismatch{Kind: Stray, File: filepath.ToSlash(rel), Offset: -1,
				Detail: "the table does not have this file; remove it, or add an entry"})
		}
		return err
	})
	return r, err
}

// file is where the bytes of a fixture are.
func (s *Set) file(f *Fixture) string {
	return filepath.Join(s.Dir, Folder, filepath.FromSlash(f.Path()))
}

// compare holds a file against the table: bytes, value, and decoding and
// encoding again. The bytes alone would do if this program's encoder never
// changed together with the fixtures; the others say what a change means.
func (s *Set) compare(i int, b []byte) []Mismatch {
	f, want := s.Table.Fixtures[i], s.bytes[i]
	d := s.messages[i].Descriptor()
	at := func(k Kind, offset int, detail string) Mismatch {
		m := Mismatch{Kind: k, File: f.Path(), Line: f.Line, Message: f.Message, Offset: offset,
			Have: digest(b), Want: digest(want), Detail: detail}
		if offset >= 0 {
			// The table's bytes can be read to the end; the file's perhaps not.
			m.Field = dynamic.FieldAt(d, want, offset)
		}
		return m
	}
	var out []Mismatch
	if off := dynamic.FirstDifference(b, want); off >= 0 {
		detail := ""
		switch {
		case off >= len(b):
			detail = fmt.Sprintf("ends after %d bytes; want %d,", len(b), len(want))
		case off >= len(want):
			detail = fmt.Sprintf("has %d bytes; want %d: too much", len(b), len(want))
		default:
			detail = fmt.Sprintf("has 0x%02x, want 0x%02x,", b[off], want[off])
		}
		out = append(out, at(Bytes, off, detail))
	}
	m, err := dynamic.Decode(d, b)
	if err != nil {
		return append(out, at(Undecodable, -1, "no "+f.Message+": "+why(d, b, err)))
	}
	if !proto.Equal(m, s.messages[i].Interface()) {
		out = append(out, at(Value, -1, "decodes to another message than the table's"))
	}
	if again := dynamic.Encode(m); !bytes.Equal(again, b) {
		out = append(out, at(Identity, -1, "decoded and encoded again it is not the same"))
	} else if _, err := dynamic.Accept(d, b); err != nil {
		out = append(out, at(Undecodable, -1, "no receiver accepts it: "+why(d, b, err)))
	}
	return out
}

// why explains an error of decoding. The library's own texts have white space
// that differs by chance.
func why(d protoreflect.MessageDescriptor, b []byte, err error) string {
	if text := dynamic.Explain(d, b); text != "" {
		return text
	}
	return strings.ReplaceAll(err.Error(), "\u00a0", " ")
}

// coverage lists what the fixtures of each message type set: one of them has to
// set every field outside of oneofs, and each arm has to be in one of them.
func (s *Set) coverage() []Coverage {
	of := map[protoreflect.FullName][]int{}
	for i, m := range s.messages {
		name := m.Descriptor().FullName()
		of[name] = append(of[name], i)
	}
	var all []Coverage
	for _, d := range s.Schema.Messages() {
		c := Coverage{Message: d}
		var arms, others []string // of the best fixture
		for n, i := range of[d.FullName()] {
			c.Fixtures = append(c.Fixtures, s.Table.Fixtures[i].Path())
			var lacks []string
			var armless []string
			for k := range d.Fields().Len() {
				f := d.Fields().Get(k)
				o := f.ContainingOneof()
				switch {
				case s.messages[i].Has(f) || !settable(f):
				case o != nil && !o.IsSynthetic():
					armless = append(armless, string(f.Name()))
				default:
					lacks = append(lacks, string(f.Name()))
				}
			}
			if n == 0 || len(lacks) < len(others) {
				others = lacks
			}
			if n == 0 {
				arms = armless
			} else {
				arms = slices.DeleteFunc(arms, func(a string) bool { return !slices.Contains(armless, a) })
			}
		}
		c.Missing = append(others, arms...)
		all = append(all, c)
	}
	return all
}

// settable says whether a field can differ from its default at all: one
// without presence whose enum has nothing but zero cannot.
func settable(f protoreflect.FieldDescriptor) bool {
	return f.Enum() == nil || f.HasPresence() || f.IsList() || lastValue(f.Enum()) != 0
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// clean is a path below golden/ as the table writes it.
func clean(name string) string {
	return strings.TrimPrefix(path.Clean(filepath.ToSlash(name)), "./")
}
