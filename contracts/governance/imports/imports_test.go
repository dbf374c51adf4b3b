package imports

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/contracts/governance/finding"
)

func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func check(t *testing.T, s Settings, files map[string]string) []finding.Finding {
	t.Helper()
	dir := write(t, files)
	found, err := Check(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i].File = strings.TrimPrefix(found[i].File, dir+"/")
	}
	return found
}

func TestGo(t *testing.T) {
	const pb = `import "google.golang.org/protobuf/proto"` + "\n"
	for _, c := range []struct {
		src  string
		want string // places and texts, one a finding; empty: clean
	}{
		{pb + `func f(m proto.Message) { proto.Marshal(m) }`, "3:27 uses proto.Marshal"},
		{pb + `func f(m proto.Message) { _ = proto.Clone(m); proto.Reset(m); proto.Merge(m, m); _ = proto.Equal(m, m) }`, ""},
		{pb + `var f = proto.Unmarshal`, "3:9 uses proto.Unmarshal"}, // a value, no call
		{pb + `func f(m proto.Message) { proto.MarshalOptions{Deterministic: true}.Marshal(m) }`, "3:27 uses proto.MarshalOptions"},
		{pb + `func f(m proto.Message) { (&proto.UnmarshalOptions{}).Unmarshal(nil, m) }`, "3:29 uses proto.UnmarshalOptions"},
		{pb + `func f(m proto.Message) int { return proto.Size(m) }`, "3:38 uses proto.Size"},
		{`import p "google.golang.org/protobuf/proto"` + "\n" + `var f = p.Marshal`, "3:9 uses p.Marshal"},
		{`import . "google.golang.org/protobuf/proto"` + "\n" + `var f = Marshal`, "2:8 imports google.golang.org/protobuf/proto into"},
		{`import _ "google.golang.org/protobuf/proto"`, ""},
		{`import _ "google.golang.org/protobuf/encoding/protojson"`, "2:8 imports google.golang.org/protobuf/encoding/protojson"},
		{`import "google.golang.org/protobuf/encoding/protowire"`, "2:8 imports"},
		{`import "google.golang.org/protobuf/types/dynamicpb"`, "2:8 imports"},
		{`import "google.golang.org/protobuf/types/known/timestamppb"`, ""},
		{`import "google.golang.org/protobuf/types/known/anypb"`, "2:8 imports"},
		{`import "google.golang.org/protobuf/reflect/protoreflect"`, ""},
		{`import "encoding/gob"`, "2:8 imports encoding/gob"},
		{`import "encoding/json"` + "\n" + `var f = json.Marshal`, ""},
		{`import "github.com/golang/protobuf/proto"` + "\n" + `var f = proto.NewBuffer`, "3:9 uses proto.NewBuffer"},
		{`func f(m interface{ MarshalVT() ([]byte, error) }) { m.MarshalVT() }`, "2:56 uses the method MarshalVT"},
		{`func f(proto interface{ Marshal() }) { proto.Marshal() }`, ""},                                 // no package here
		{pb + `func f() { var proto interface{ Marshal() }; proto.Marshal() }; var _ proto.Message`, ""}, // shadowed
		{pb + `// proto.Marshal` + "\n" + `const s = "proto.Marshal(m)"; var _ proto.Message`, ""},
		{pb + "//go:build never\n\nvar f = proto.Marshal", "5:9 uses proto.Marshal"},
	} {
		found := check(t, Settings{}, map[string]string{"a/a.go": "package a; " + c.src})
		got := ""
		for _, f := range found {
			got += fmt.Sprintf("%d:%d %s\n", f.Line, f.Column, f.What)
		}
		// Sources begin on the line of the package clause.
		if c.want == "" && got != "" || c.want != "" && (len(found) != 1 || !strings.Contains(got, c.want[strings.IndexByte(c.want, ' ')+1:])) {
			t.Errorf("%s\n%q, want %q", c.src, got, c.want)
		}
	}
	found := check(t, Settings{}, map[string]string{"a/a.go": "package a\n" + pb + "func f(m proto.Message) { proto.Marshal(m) }\n"})
	if len(found) != 1 || found[0].Position.String() != "a/a.go:3:27" {
		t.Error(found)
	}
}

// A wrapper is the finding, and who imports it is named, through others too.
func TestReachedBy(t *testing.T) {
	found := check(t, Settings{Allowed: []string{"codec"}}, map[string]string{
		"go.mod":          "module example.com/m // ours\n",
		"codec/c.go":      "package codec\nimport \"google.golang.org/protobuf/proto\"\nvar Encode = proto.Marshal\n",
		"wrap/w.go":       "package wrap\nimport \"google.golang.org/protobuf/proto\"\nvar Encode = proto.Marshal\n",
		"wrap/w_test.go":  "package wrap\nimport _ \"encoding/gob\"\n",
		"kasmina/k.go":    "package kasmina\nimport x \"example.com/m/wrap\"\nvar _ = x.Encode\n",
		"tolaria/t.go":    "package tolaria\nimport _ \"example.com/m/kasmina\"\n",
		"oona/o.go":       "package oona\nimport _ \"example.com/m/codec\"\n",
		"wrapped/x.go":    "package wrapped\nimport _ \"example.com/mother/wrap\"\n",
		"inner/go.mod":    "module example.com/inner\n",
		"inner/a/a.go":    "package a\nimport _ \"example.com/m/wrap\"\n",
		"vendor/v/v.go":   "package v\nimport _ \"encoding/gob\"\n",
		"testdata/bad.go": "no go at all",
	})
	if len(found) != 1 || found[0].File != "wrap/w.go" || !slices.Equal(found[0].ReachedBy, []string{"inner/a", "kasmina", "tolaria"}) {
		t.Errorf("%+v", found)
	}
	found = check(t, Settings{Tests: true}, map[string]string{"a_test.go": "package a\nimport _ \"encoding/gob\"\n"})
	if len(found) != 1 || found[0].Line != 2 {
		t.Error(found)
	}
}

func TestPython(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"x = m.SerializeToString()\n", "1:7"},
		{"m . \\\n  ParseFromString(b)\n", "2:3"},
		{"f = m.SerializePartialToString\n", "1:7"},
		{"m.MergeFromString(b); M.FromString(b)\n", "1:3 1:25"},
		{"# m.SerializeToString()\n", ""},
		{"s = 'm.SerializeToString()'\n", ""},
		{"\"\"\"m.SerializeToString()\nimport pickle\n\"\"\"\n", ""},
		{"s = r'\\'; m.FromString(b)'\n", ""}, // a raw string does not end at \'
		{"s = f\"{m.SerializeToString()}\"\n", "1:10"},
		{"s = f'{x:>{m.FromString()}} {{m.FromString}}'\n", "1:14"},
		{"s = f\"{x:'>10}\"; m.FromString(b)\n", "1:20"},
		{"s = F'''{\nm.FromString(b)\n}'''\n", "2:3"},
		{"SerializeToString = 1\nSerializeToString()\n", ""}, // no method of a message
		{"import pickle\n", "1:8"},
		{"import os, pickle as p\n", "1:12"},
		{"if x: import struct\n", "1:14"},
		{"try:\n    import cPickle\nexcept ImportError:\n    from pickle import loads\n", "2:12 4:10"},
		{"import pickled, structure\nimport my.struct\n", ""},
		{"from mine import struct\n", ""},
		{"raise X from pickle\n", ""},
		{"import google.protobuf.json_format\n", "1:8"},
		{"from google.protobuf import timestamp_pb2, duration_pb2\nimport google.protobuf.timestamp_pb2\n", ""},
		{"from google.protobuf import (timestamp_pb2,\n  json_format as j)\n", "2:3"},
		{"from google.protobuf.json_format import ParseDict\n", "1:6"},
		{"from google import protobuf\n", "1:20"},
		{"from helpers import ParseDict\n", "1:21"},
		{"json_format.ParseDict(d, m)\n", "1:13"},
		{"p = __import__('pickle')\nq = importlib.import_module(\"google.protobuf.text_format\")\n", "1:5 2:15"},
		{"getattr(m, 'Serialize' 'x')\ngetattr(m, \"SerializeToString\")()\ngetattr(f(1), 'ParseFromString')\n", "2:12 3:15"},
		{"print('SerializeToString')\n", ""},
		{"x = (\n  m.FromString(b))\n", "2:5"},
		{"é = 1; m.FromString(b)\n", "1:10"},
		{"s = '\nm.FromString(b)\n", "2:3"}, // a string without an end
		{"def serialize(): pass\nimport json\njson.dumps({})\n", ""},
	} {
		got := ""
		for _, f := range check(t, Settings{}, map[string]string{"a.py": c.src}) {
			got += fmt.Sprintf("%d:%d ", f.Line, f.Column)
		}
		if strings.TrimSpace(got) != c.want {
			t.Errorf("%q: %q, want %q", c.src, got, c.want)
		}
	}
}

func TestPythonTree(t *testing.T) {
	found := check(t, Settings{Allowed: []string{"src/esper/codec.py", "gen/"}}, map[string]string{
		"src/esper/codec.py":            "import pickle\n",
		"src/esper/wrap.py":             "import pickle\n",
		"src/esper/kasmina/__init__.py": "from .. import wrap\n",
		"src/esper/tolaria.py":          "from esper.kasmina import run\n",
		"src/esper/oona.py":             "import esper.codec\n",
		"src/esper/a_pb2.py":            "from google.protobuf import descriptor as _descriptor\n",
		"gen/deep/x.py":                 "import struct\n",
		"tests/test_x.py":               "import pickle\n",
		"__pycache__/x.py":              "import pickle\n",
	})
	if len(found) != 1 || found[0].File != "src/esper/wrap.py" ||
		!slices.Equal(found[0].ReachedBy, []string{"src/esper/kasmina/__init__.py", "src/esper/tolaria.py"}) {
		t.Errorf("%+v", found)
	}
}

func TestBadInput(t *testing.T) {
	dir := write(t, map[string]string{"a.go": "package a\nfunc {\n"})
	if _, err := Check(dir, Settings{}); err == nil || !strings.Contains(err.Error(), "a.go:2:") {
		t.Error(err)
	}
	if _, err := Check(filepath.Join(dir, "none"), Settings{}); err == nil {
		t.Error("no such folder, and no error")
	}
	for _, a := range []string{"/abs", "../up", "a//b", "."} {
		_, err := Check(write(t, map[string]string{"a.go": "package a"}), Settings{Allowed: []string{a}})
		if (err == nil) != (a == ".") {
			t.Errorf("%q: %v", a, err)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"serialisation:\n  allowed: [contracts/wire]\n", ""},
		{"exclude: [a]\nvolatile:\n  names: [b]\n  fields: [c]\n", ""},
		{"exclude: [a]\nserialization:\n  allowed: [b]\n", `f.yaml:2: there is no setting "serialization"`},
		{"serialisation:\n  allowed: 1\n", "f.yaml:2: "},
		{"serialisation: [\n", "f.yaml:"},
		{"\tx", "f.yaml:"},
	} {
		_, err := ParseSettings("f.yaml", []byte(c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	if s, err := ReadSettings(t.TempDir()); err != nil || s.Allowed != nil {
		t.Error(s, err)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte("exclude: [a]\nserialisation:\n  allowed: [b]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseSettings("f.yaml", b); err != nil && !strings.HasPrefix(err.Error(), "f.yaml") {
			t.Error(err)
		}
	})
}

// The scanner loses nothing and ends: places are in the text and in order.
func FuzzPython(f *testing.F) {
	f.Add("x = f'{m.FromString(f\"{b}\")!r:>{w}}'\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		for _, tok := range pyTokens(text) {
			if tok.line < 1 || tok.line > lines || tok.column < 1 {
				t.Fatalf("%+v", tok)
			}
		}
		p := &pyFile{tree: &tree{}, name: "a/b/c.py", tokens: pyTokens(text)}
		p.check()
	})
}

func ExampleCheck() {
	dir, err := os.MkdirTemp("", "imports")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	code := "package kasmina\n\nimport \"google.golang.org/protobuf/proto\"\n\nvar encode = proto.Marshal\n"
	if err := os.WriteFile(filepath.Join(dir, "kasmina.go"), []byte(code), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	found, err := Check(dir, Settings{Allowed: []string{"codec"}})
	for _, f := range found {
		f.File = filepath.Base(f.File)
		fmt.Println(f, err)
	}
	// Output:
	// kasmina.go:5:14: manual-serialisation: uses proto.Marshal of google.golang.org/protobuf/proto; want the generated codec <nil>
}
