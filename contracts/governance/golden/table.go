// Package golden keeps messages whose bytes must never change: fixtures.
//
// One table, golden/fixtures.yaml in a folder of contracts, says for every
// fixture which message it is and what is in it; the bytes stand beside it in
// golden/VERSION/FILE. [Check] compares the two, both ways, and wants a fixture
// for every field of every message type. [Update] writes what is missing and
// changes nothing that it was not told to by name.
package golden

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Folder and TableName are where the table stands in a folder of contracts.
const (
	Folder    = "golden"
	TableName = "fixtures.yaml"
)

// A Fixture is one entry of the table.
type Fixture struct {
	Version string // folder below golden/, such as v2
	File    string // name in that folder
	Message string // full name of the type
	Text    string // the message in protobuf's text format

	Line     int // of the entry in the table, from 1
	TextLine int // of the text's first line
}

// Path is where the bytes are below golden/.
func (f *Fixture) Path() string { return path.Join(f.Version, f.File) }

// A Table is a parsed fixtures.yaml.
type Table struct {
	File     string // it was read from
	Fixtures []*Fixture
}

var (
	versionForm = regexp.MustCompile(`^v[0-9]+$`)
	fileForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]*\.bin$`)
	messageForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
)

// ParseTable reads a table. Its error has a line for each thing that is wrong,
// with the name, the line and what would be right.
func ParseTable(name string, text []byte) (*Table, error) {
	t := &Table{File: name}
	var errs []error
	fail := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %s", name, max(line, 1), fmt.Sprintf(format, args...)))
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New(`the file is empty; want "fixtures:" and a list`)
		}
		return nil, syntaxError(name, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		fail(doc.Line, "there is more behind the first document; want one document")
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode || len(root.Content) != 2 || root.Content[0].Value != "fixtures" ||
		root.Content[1].Kind != yaml.SequenceNode {
		fail(root.Line, `want the one key "fixtures" with a list`)
		return nil, errors.Join(errs...)
	}
	paths := map[string]int{}
	for _, n := range root.Content[1].Content {
		f := &Fixture{Line: n.Line}
		if n.Kind != yaml.MappingNode {
			fail(n.Line, "want a mapping with the keys version, file, message, text")
			continue
		}
		fields := map[string]*string{"version": &f.Version, "file": &f.File, "message": &f.Message, "text": &f.Text}
		have := map[string]bool{}
		whole := true
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			to := fields[k.Value]
			switch {
			case to == nil:
				fail(k.Line, "unknown key %q; want version, file, message or text", k.Value)
				whole = false
			case have[k.Value]:
				fail(k.Line, "the key %q is there twice", k.Value)
				whole = false
			case v.Kind != yaml.ScalarNode:
				fail(v.Line, "%s is no text", k.Value)
				whole = false
				have[k.Value] = true
			default:
				*to, have[k.Value] = v.Value, true
				if k.Value == "text" {
					f.TextLine = v.Line
					if v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
						f.TextLine++
					}
				}
			}
		}
		for _, k := range []string{"version", "file", "message", "text"} {
			if !have[k] {
				fail(n.Line, "the key %q is missing", k)
				whole = false
			}
		}
		if !whole {
			continue
		}
		switch first := paths[f.Path()]; {
		case !versionForm.MatchString(f.Version):
			fail(n.Line, "version %q; want v and a number, such as v2", f.Version)
		case !fileForm.MatchString(f.File):
			fail(n.Line, "file %q; want a name of a-z, 0-9, _, - and . that ends in .bin", f.File)
		case !messageForm.MatchString(f.Message):
			fail(n.Line, "message %q; want the full name of a message type", f.Message)
		case first != 0:
			fail(n.Line, "%s is there twice; first in line %d", f.Path(), first)
		default:
			paths[f.Path()] = n.Line
			t.Fixtures = append(t.Fixtures, f)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

var syntaxLine = regexp.MustCompile(`(?s)^(?:yaml: )?(?:line ([0-9]+): )?(.*)$`)

// syntaxError puts the line of an error of the YAML library to the name.
func syntaxError(name string, err error) error {
	m := syntaxLine.FindStringSubmatch(err.Error())
	line := m[1]
	if line == "" {
		line = "1"
	}
	return fmt.Errorf("%s:%s: %s", name, line, m[2])
}
