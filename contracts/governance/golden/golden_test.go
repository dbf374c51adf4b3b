package golden

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/contracts/wire"
)

const contracts = "../.."

// The project's own fixtures are right, by reflection and by generated code.
func TestOwnFixtures(t *testing.T) {
	s, err := Load(contracts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Check()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Mismatches {
		t.Error(m)
	}
	if r.Messages < 130 || r.Fixtures < r.Messages {
		t.Errorf("%d fixtures of %d message types", r.Fixtures, r.Messages)
	}
	for i, f := range s.Table.Fixtures {
		b, err := os.ReadFile(s.file(f))
		if err != nil {
			t.Fatal(err)
		}
		m, want := wire.New(f.Message), wire.New(f.Message)
		if m == nil {
			t.Errorf("%s: there is no code for %s", f.Path(), f.Message)
			continue
		}
		if err := prototext.Unmarshal([]byte(f.Text), want); err != nil {
			t.Errorf("%s: %v", f.Path(), err)
		}
		if err := m.ParseCanonical(b); err != nil {
			t.Errorf("%s: %v", f.Path(), err)
		}
		if !proto.Equal(m, want) {
			t.Errorf("%s: the generated code reads another message", f.Path())
		}
		if got := m.AppendCanonical(nil); !bytes.Equal(got, b) || !bytes.Equal(got, s.Bytes(i)) {
			t.Errorf("%s: the generated code writes %x", f.Path(), got)
		}
	}
}

const testSchema = `syntax = "proto3";
package x.v2;
import "google/protobuf/timestamp.proto";
enum Mood { MOOD_UNSPECIFIED = 0; GOOD = 1; BAD = -2; }
enum Nothing { NOTHING = 0; }
message A {
  message Inner { int32 n = 1; repeated A more = 2; }
  string name = 1;
  oneof arm { int64 left = 2; Inner right = 3; }
  optional uint32 count = 4;
  map<string, Inner> parts = 5;
  repeated float weights = 6;
  google.protobuf.Timestamp at = 7;
  Mood mood = 8;
  Nothing nothing = 9;
  bytes blob = 10;
  A self = 11;
}
message Empty {}
`

// folder is a schema with a table and fixtures that Fill and Update wrote.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "v2", "a.proto"), testSchema)
	if _, err := Fill(dir); err != nil {
		t.Fatal(err)
	}
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func check(t *testing.T, dir string) []Mismatch {
	t.Helper()
	r, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r.Mismatches
}

// Filling an own schema covers it, and does so only once.
func TestFill(t *testing.T) {
	dir := folder(t)
	if m := check(t, dir); len(m) > 0 {
		t.Error(m)
	}
	found, err := filepath.Glob(filepath.Join(dir, "golden", "v2", "*.bin"))
	if err != nil || len(found) != 4 {
		t.Error(found, err)
	}
	before := get(t, filepath.Join(dir, "golden", TableName))
	if added, err := Fill(dir); err != nil || len(added) > 0 {
		t.Errorf("added %v (%v)", added, err)
	}
	again := t.TempDir()
	put(t, filepath.Join(again, "v2", "a.proto"), testSchema)
	if _, err := Fill(again); err != nil || get(t, filepath.Join(again, "golden", TableName)) != before {
		t.Errorf("the same schema gives another table (%v)", err)
	}

	// A new field is missing until Fill adds it; the old fixtures stay.
	put(t, filepath.Join(dir, "v2", "a.proto"), strings.Replace(testSchema, "bytes blob = 10;", "bytes blob = 10; sint32 fresh = 12;", 1))
	m := check(t, dir)
	if len(m) != 1 || m[0].Kind != Uncovered || m[0].Message != "x.v2.A" || m[0].Field != "fresh" {
		t.Errorf("a new field: %v", m)
	}
	added, err := Fill(dir)
	if err != nil || len(added) != 1 || added[0] != "v2/x_a_full_left_2.bin" {
		t.Errorf("added %v (%v)", added, err)
	}
	if !strings.HasPrefix(get(t, filepath.Join(dir, "golden", TableName)), before) {
		t.Error("the old entries have changed")
	}
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := s.Update(nil); err != nil || len(c) != 1 {
		t.Error(c, err)
	}
	if m := check(t, dir); len(m) > 0 {
		t.Error(m)
	}
}

// Every byte of every fixture, flipped, is found where it is.
func TestFlippedByte(t *testing.T) {
	dir := folder(t)
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
	for i, f := range s.Table.Fixtures {
		b := s.Bytes(i)
		for at := range b {
			bad := bytes.Clone(b)
			bad[at] ^= 0x41
			put(t, s.file(f), string(bad))
			r, err := s.Check()
			if err != nil {
				t.Fatal(err)
			}
			m := r.Mismatches
			if len(m) == 0 || m[0].Kind != Bytes || m[0].File != f.Path() || m[0].Offset != at || !strings.HasPrefix(m[0].Field, "A") && !strings.HasPrefix(m[0].Field, "Inner") {
				t.Errorf("%s, byte %d: %v", f.Path(), at, m)
			}
			if text := m[0].String(); !strings.Contains(text, f.Path()) || !strings.Contains(text, "at byte") {
				t.Errorf("unhelpful: %s", text)
			}
			flipped++
		}
		put(t, s.file(f), string(b))
	}
	if flipped < 100 {
		t.Errorf("%d bytes were flipped", flipped)
	}
}

// What else can be wrong with the files.
func TestMismatches(t *testing.T) {
	const a, table = "golden/v2/x_a_full_left.bin", "golden/" + TableName
	for _, c := range []struct {
		name  string
		plant func(t *testing.T, dir string)
		kind  Kind
		want  string
	}{
		{"absent", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, a)); err != nil {
				t.Fatal(err)
			}
		}, Absent, "v2/x_a_full_left.bin: the file is missing"},
		{"stray", func(t *testing.T, dir string) { put(t, filepath.Join(dir, "golden/v2/old.bin"), "x") },
			Stray, "v2/old.bin: the table does not have this file"},
		{"no fixture of a type", func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "v2/b.proto"), "syntax = \"proto3\";\npackage x.v2;\nmessage Out { message Nested { int32 a = 1; } Nested n = 1; }\n")
		}, Uncovered, "x.v2.Out: there is no fixture of this message type"},
		{"no fixture of an arm", func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, table), strings.ReplaceAll(get(t, filepath.Join(dir, table)), "      right {", "      # right {"))
			put(t, filepath.Join(dir, "golden/v2/x_a_full_right.bin"), get(t, filepath.Join(dir, a)))
		}, Uncovered, "right is missing"},
		{"longer", func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, a), get(t, filepath.Join(dir, a))+"\x00")
		}, Bytes, "too much"},
		{"shorter", func(t *testing.T, dir string) {
			s := get(t, filepath.Join(dir, a))
			put(t, filepath.Join(dir, a), s[:len(s)-1])
		}, Bytes, "ends after"},
		{"no message", func(t *testing.T, dir string) { put(t, filepath.Join(dir, a), "\x0f") }, Undecodable, "no x.v2.A"},
		{"another message", func(t *testing.T, dir string) { put(t, filepath.Join(dir, a), "\x0a\x01z") }, Value, "another message"},
		{"not canonical", func(t *testing.T, dir string) { put(t, filepath.Join(dir, a), "\x10\x01\x0a\x01z") }, Identity, "not the same"},
		{"unknown field", func(t *testing.T, dir string) { put(t, filepath.Join(dir, a), "\x0a\x01z\xb0\x09\x01") }, Undecodable, "unknown field"},
		{"field renumbered", func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "v2/a.proto"), strings.Replace(testSchema, "name = 1;", "name = 15;", 1))
		}, Bytes, "v2/x_a_full_left.bin: has"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t)
			c.plant(t, dir)
			for _, m := range check(t, dir) {
				if m.Kind == c.kind && strings.Contains(m.String(), c.want) {
					return
				}
			}
			t.Errorf("not found: %v", check(t, dir))
		})
	}
}

// Update changes nothing that it was not told to change.
func TestUpdate(t *testing.T) {
	dir := folder(t)
	const file = "golden/v2/x_a_full_left.bin"
	table := filepath.Join(dir, "golden", TableName)
	before := get(t, filepath.Join(dir, file))
	put(t, table, strings.Replace(get(t, table), `name: "name 1"`, `name: "changed"`, 1))
	if err := os.Remove(filepath.Join(dir, "golden/v2/x_empty_full.bin")); err != nil {
		t.Fatal(err)
	}
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Update(nil)
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Changes) != 1 || !strings.Contains(err.Error(), "--replace v2/x_a_full_left.bin  (sha256 "+digest([]byte(before))+" -> ") {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "golden/v2/x_empty_full.bin")); err == nil {
		t.Error("a refused update has written a file")
	}
	if _, err := s.Update([]string{"v2/none.bin"}); err == nil || !strings.Contains(err.Error(), "has no such fixture") {
		t.Error(err)
	}
	c, err := s.Update([]string{"./v2/x_a_full_left.bin"})
	if err != nil || len(c) != 2 || c[0].Before != digest([]byte(before)) || c[0].After == c[0].Before || c[1].Before != "" {
		t.Error(c, err)
	}
	if m := check(t, dir); len(m) > 0 {
		t.Error(m)
	}
	left, err := filepath.Glob(filepath.Join(dir, "golden", "*", ".*"))
	if err != nil || len(left) > 0 {
		t.Error("left behind:", left, err)
	}
}

// A bad table is refused with its place, and says what would be right.
func TestBadTables(t *testing.T) {
	const head = "fixtures:\n"
	entry := func(message, text string) string {
		return head + "  - version: v2\n    file: a.bin\n    message: " + message + "\n    text: " + text + "\n"
	}
	for _, c := range []struct{ text, want string }{
		{"", ":1: the file is empty"},
		{"fixtures: 3\n", `:1: want the one key "fixtures"`},
		{"a: [\n", "fixtures.yaml:1: did not find expected node content"},
		{head + "  - 3\n", ":2: want a mapping"},
		{head + "  - version: v2\n    fiel: a.bin\n", `:3: unknown key "fiel"; want version, file`},
		{head + "  - version: v2\n", `:2: the key "file" is missing`},
		{head + "  - version: v2\n    version: v2\n", `:3: the key "version" is there twice`},
		{head + "  - version: two\n    file: a.bin\n    message: x.v2.A\n    text: ''\n", `:2: version "two"; want v and a number`},
		{head + "  - version: v2\n    file: ../a.bin\n    message: x.v2.A\n    text: ''\n", `:2: file "../a.bin"; want a name`},
		{head + "  - version: v2\n    file: a.bin\n    message: x v2\n    text: ''\n", `:2: message "x v2"; want the full name`},
		{head + "  - version: v2\n    file: a.bin\n    message: [x]\n    text: ''\n", ":4: message is no text"},
		{entry("x.v2.A", "''") + "  - version: v2\n    file: a.bin\n    message: x.v2.A\n    text: ''\n", ":6: v2/a.bin is there twice; first in line 2"},
		{entry("x.v2.None", "''"), ":2: the schema has no message type x.v2.None"},
		{entry("x.v2.A", "|\n      name: \"a\"\n      nmae: \"b\""), ":7: x.v2.A: unknown field: nmae"},
		{entry("x.v2.A", "'name: 3'"), ":5: x.v2.A: invalid value for string type: 3"},
		{entry("x.v2.A", "'left: 1 right {}'"), ":5: x.v2.A: "},
		{entry("x.v2.A", "'mood: 7'"), ":2: no receiver would accept this x.v2.A: A.mood at byte 1: unknown enum value"},
		{entry("x.v2.A", "'at { nanos: -1 }'"), ":2: no receiver would accept this"},
		{strings.Replace(entry("x.v2.A", "''"), "version: v2", "version: v1", 1), ":2: x.v2.A is of version v2, not v1"},
		{head + "---\na: b\n", "more behind the first document"},
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "v2", "a.proto"), testSchema)
		put(t, filepath.Join(dir, "golden", TableName), c.text)
		_, err := Load(dir)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q in it", c.text, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), TableName) {
			t.Errorf("%q: the file is not named: %v", c.text, err)
		}
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("an empty folder has fixtures")
	}
}

func FuzzTable(f *testing.F) {
	text, err := os.ReadFile(filepath.Join(contracts, Folder, TableName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text[:2000])
	s, err := schema.FromSources("test", map[string]string{"v2/a.proto": testSchema})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := ParseTable("t", text)
		if (table == nil) == (err == nil) {
			t.Fatalf("%v, %v", table, err)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "t:") {
				t.Errorf("no place: %v", err)
			}
			return
		}
		for _, x := range table.Fixtures {
			if x.Line < 1 || x.TextLine < 1 || !filepath.IsLocal(x.Path()) {
				t.Errorf("%+v", x)
			}
		}
		if _, err := build("", s, table); err != nil && !strings.HasPrefix(err.Error(), "t:") {
			t.Errorf("no place: %v", err)
		}
	})
}
