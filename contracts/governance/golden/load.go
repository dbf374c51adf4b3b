package golden

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/esper-sim/espersim/contracts/governance/dynamic"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// A Set is the fixtures of a folder of contracts: the schema, the table, and
// what the table says the bytes are.
type Set struct {
	Dir    string // the folder of contracts
	Schema *schema.Schema
	Table  *Table

	messages []protoreflect.Message // by index of the table's fixtures
	bytes    [][]byte
}

// Load reads the schema and the table of a folder of contracts and builds the
// messages. An error names the table's line.
func Load(dir string) (*Set, error) {
	s, err := loadSchema(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, Folder, TableName)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no table of fixtures; --fill writes one with every message type of the schema", name)
	}
	if err != nil {
		return nil, err
	}
	t, err := ParseTable(name, text)
	if err != nil {
		return nil, err
	}
	return build(dir, s, t)
}

func loadSchema(dir string) (*schema.Schema, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s: there is no such folder", dir)
	}
	return schema.LoadDir(dir)
}

// Bytes is the canonical encoding that the table gives the fixture of that
// index.
func (s *Set) Bytes(i int) []byte { return s.bytes[i] }

func build(dir string, s *schema.Schema, t *Table) (*Set, error) {
	set := &Set{Dir: dir, Schema: s, Table: t}
	types := dynamicpb.NewTypes(s.Resolver())
	var errs []error
	for _, f := range t.Fixtures {
		m, b, err := f.message(s, types, t.File)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		set.messages = append(set.messages, m)
		set.bytes = append(set.bytes, b)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return set, nil
}

var textError = regexp.MustCompile(`\(line (\d+):\d+\): (.*)$`)

// message builds a fixture's message and its encoding.
func (f *Fixture) message(s *schema.Schema, types *dynamicpb.Types, table string) (protoreflect.Message, []byte, error) {
	d, ok := s.Find(protoreflect.FullName(f.Message)).(protoreflect.MessageDescriptor)
	if !ok {
		return nil, nil, fmt.Errorf("%s:%d: the schema has no message type %s", table, f.Line, f.Message)
	}
	if v := versionOf(d); v != f.Version && v != "" {
		return nil, nil, fmt.Errorf("%s:%d: %s is of version %s, not %s", table, f.Line, f.Message, v, f.Version)
	}
	m := dynamicpb.NewMessage(d)
	if err := (prototext.UnmarshalOptions{Resolver: types}).Unmarshal([]byte(f.Text), m); err != nil {
		line, text := f.TextLine, strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
		if at := textError.FindStringSubmatch(text); at != nil {
			n, _ := strconv.Atoi(at[1]) // the pattern has checked it
			line, text = f.TextLine+n-1, at[2]
		}
		return nil, nil, fmt.Errorf("%s:%d: %s: %s", table, line, f.Message, text)
	}
	b := dynamic.Encode(m)
	// What no receiver would accept is no fixture: text that is not UTF-8, an
	// enum value that the schema has not, a Duration out of range.
	if _, err := dynamic.Accept(d, b); err != nil {
		return nil, nil, fmt.Errorf("%s:%d: no receiver would accept this %s: %s", table, f.Line, f.Message, why(d, b, err))
	}
	return m, b, nil
}

// versionOf is the version that a message's package ends in, or empty.
func versionOf(d protoreflect.MessageDescriptor) string {
	if v := string(d.ParentFile().Package().Name()); versionForm.MatchString(v) {
		return v
	}
	return ""
}
