package compat

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/contracts/governance/schema"
)

func load(t testing.TB, name string, files map[string]string) *schema.Schema {
	t.Helper()
	s, err := schema.FromSources(name, files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Changes of what is around messages: files, packages, custom options, nested
// definitions.
func TestCompare(t *testing.T) {
	const head = "syntax = \"proto3\";\npackage x;\n"
	file := func(body string) map[string]string { return map[string]string{"a.proto": head + body} }
	for _, c := range []struct {
		name     string
		old, new map[string]string
		want     []Kind
	}{
		{"file added", file("message A {}"), map[string]string{"a.proto": head + "message A {}", "b.proto": head}, []Kind{FileAdded}},
		{"file removed", map[string]string{"a.proto": head + "message A {}", "b.proto": head}, file("message A {}"), []Kind{FileRemoved}},
		{"moved", map[string]string{"a.proto": head + "message A {}", "b.proto": head}, map[string]string{"a.proto": head, "b.proto": head + "message A {}"}, []Kind{DefinitionMoved}},
		{"package renamed", file("message A { int32 a = 1; }"), map[string]string{"a.proto": "syntax = \"proto3\";\npackage y;\nmessage A { int32 a = 1; }"},
			[]Kind{MessageAdded, MessageRemoved, PackageAdded, PackageRemoved}},
		{"nested removed with its parent", file("message A { message B { enum C { Z = 0; } } }"), file(""), []Kind{MessageRemoved}},
		{"nested enum removed", file("message A { enum C { Z = 0; } }"), file("message A {}"), []Kind{EnumRemoved}},
		{"go_package", file("message A {}"), file("option go_package = \"example.com/x\";\nmessage A {}"), []Kind{OptionChanged}},
		{"custom option used", file("import \"google/protobuf/descriptor.proto\"; extend google.protobuf.FieldOptions { string unit = 50001; } message A { int32 a = 1; }"),
			file("import \"google/protobuf/descriptor.proto\"; extend google.protobuf.FieldOptions { string unit = 50001; } message A { int32 a = 1 [(unit) = \"s\"]; }"), []Kind{OptionChanged}},
		{"custom option added", file("import \"google/protobuf/descriptor.proto\";"), file("import \"google/protobuf/descriptor.proto\"; extend google.protobuf.FieldOptions { string unit = 50001; }"), []Kind{ExtensionAdded}},
		{"custom option removed", file("import \"google/protobuf/descriptor.proto\"; extend google.protobuf.FieldOptions { string unit = 50001; }"), file("import \"google/protobuf/descriptor.proto\";"), []Kind{ExtensionRemoved}},
		{"custom option renumbered", file("import \"google/protobuf/descriptor.proto\"; extend google.protobuf.FieldOptions { string unit = 50001; }"),
			file("import \"google/protobuf/descriptor.proto\"; extend google.protobuf.FieldOptions { string unit = 50002; }"), []Kind{ExtensionChanged}},
		{"an alias", file("enum E { option allow_alias = true; A = 0; B = 1; D = 1; }"), file("enum E { option allow_alias = true; A = 0; B = 1; D = 1; C = 1; }"), []Kind{EnumValueInserted}},
		{"a name moves on to a new field", file("message A { int32 a = 1; }"), file("message A { int32 a = 2; int32 b = 1; }"), []Kind{FieldAdded, FieldRenumbered}},
		{"a number is taken over", file("message A { int32 a = 1; int32 b = 2; }"), file("message A { int32 b = 1; }"), []Kind{FieldRemoved, FieldRenumbered}},
		{"reserved in part", file("message A { reserved 2 to 9; }"), file("message A { reserved 2, 5 to 12; int32 a = 3; }"),
			[]Kind{FieldAdded, ReservationAdded, ReservationRemoved, ReservedNumberReused}},
		{"an enum nobody uses", file("enum E { A = 0; B = 1; }"), file("enum E { A = 0; B = 2; }"), []Kind{EnumValueRenumbered}},
		{"a service", file("message A {} service S { rpc Do(A) returns (A); }"), file("message A {}"), []Kind{ServiceRemoved}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Compare(load(t, "old", c.old), load(t, "new", c.new))
			var got []Kind
			for _, ch := range r.Changes {
				got = append(got, ch.Kind)
				if ch.Position.File == "" || ch.Text == "" || ch.Reason == "" || ch.Subject == "" {
					t.Errorf("something is missing: %+v", ch)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
}

// A removal says what to reserve.
func TestRemovalSaysWhatToReserve(t *testing.T) {
	old := load(t, "old", map[string]string{"a.proto": "syntax = \"proto3\";\nmessage A { int32 gone = 4; }"})
	for text, want := range map[string]string{
		"message A {}":                               `reserved 4; reserved "gone";`,
		"message A { reserved 4; }":                  `write: reserved "gone";`,
		`message A { reserved "gone"; }`:             `write: reserved 4;`,
		`message A { reserved 4; reserved "gone"; }`: "not even with its number and name reserved",
	} {
		r := Compare(old, load(t, "new", map[string]string{"a.proto": "syntax = \"proto3\";\n" + text}))
		if c := r.Changes[0]; c.Kind != FieldRemoved || c.Level != Major || !strings.Contains(c.Reason, want) {
			t.Errorf("%s: %s: %s; want %q in it", text, c.Kind, c.Reason, want)
		}
	}
}

// A change within a message is told with every way to it.
func TestReached(t *testing.T) {
	files := func(n string) map[string]string {
		return map[string]string{"a.proto": `syntax = "proto3";
package x;
message In { ` + n + ` n = 1; }
message Mid { oneof o { In in = 1; string s = 2; } Mid again = 3; }
message Out { map<string, Mid> mids = 1; }
message Far { repeated Out outs = 1; }
message Aside { int32 n = 1; }
`}
	}
	r := Compare(load(t, "old", files("int64")), load(t, "new", files("int32")))
	if len(r.Changes) != 1 {
		t.Fatal(r.Changes)
	}
	want := []Reach{{"x.Mid", "in"}, {"x.Out", "mids.in"}, {"x.Far", "outs.mids.in"}}
	if got := r.Changes[0].Reached; !slices.Equal(got, want) {
		t.Errorf("reached by %v, want %v", got, want)
	}
	var names []string
	for _, m := range r.Messages {
		names = append(names, m.Message+" "+m.OldToNew.Class.String())
	}
	if got := strings.Join(names, ", "); got != "x.Far value-lossy, x.In value-lossy, x.Mid value-lossy, x.Out value-lossy" {
		t.Error(got)
	}
}

// A field that was renamed is not blamed for what changed within its type.
func TestBlame(t *testing.T) {
	old := load(t, "old", map[string]string{"a.proto": "syntax = \"proto3\";\nmessage In { int64 n = 1; int32 ok = 2; }\nmessage A { In a = 1; }"})
	new := load(t, "new", map[string]string{"a.proto": "syntax = \"proto3\";\nmessage In { int32 n = 1; int32 ok = 2; }\nmessage A { In b = 1; }"})
	for _, c := range Compare(old, new).Changes {
		if clean := c.OldToNew.Class.Clean(); clean != (c.Kind == FieldRenamed) {
			t.Errorf("%s: %s", c.Text, c.OldToNew.Class)
		}
	}
}

func TestFrozen(t *testing.T) {
	manifest := []byte("versions:\n  v1:\n    status: frozen\n    packages: [x.v1, y.v1]\n  v2:\n    status: active\n    packages: [x.v2]\n")
	got, err := FrozenPackages("build/versions.yaml", manifest)
	if err != nil || !slices.Equal(got, []string{"x.v1", "y.v1"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"versions: 3", "versions:\n  v1:\n    status: forzen\n"} {
		if _, err := FrozenPackages("build/versions.yaml", []byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "build/versions.yaml: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "build"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "v1"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"build/versions.yaml": string(manifest), "v1/a.proto": "syntax = \"proto3\";\npackage x.v1;\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@t"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	t.Chdir(dir)
	for _, source := range []string{".", "v1", "v1/a.proto", "HEAD:", "HEAD:v1", "HEAD:v1/a.proto"} {
		if got, err := FrozenBeside(source); err != nil || len(got) != 2 {
			t.Errorf("%s: %v, %v", source, got, err)
		}
	}
	if got, err := FrozenBeside("none"); err != nil || got != nil {
		t.Errorf("none: %v, %v", got, err)
	}
}

// A comment in a frozen package is no change.
func TestFrozenComment(t *testing.T) {
	k := New()
	k.Frozen = []string{"x"}
	old := load(t, "old", map[string]string{"a.proto": "syntax = \"proto3\";\npackage x;\nmessage A { int32 a = 1; }"})
	new := load(t, "new", map[string]string{"a.proto": "syntax = \"proto3\";\n// A comment.\npackage x;\nmessage A {\n  int32 a = 1; // Another.\n}"})
	if r := k.Compare(old, new); r.Breaking() || len(r.Changes) != 0 || r.Bump != None {
		t.Errorf("%+v", r)
	}
}

// The JSON form can be read back whole.
func TestJSON(t *testing.T) {
	old := load(t, "old", map[string]string{"a.proto": "syntax = \"proto3\";\npackage x;\nmessage In { int64 n = 1; }\nmessage A { In a = 1; }"})
	new := load(t, "new", map[string]string{"a.proto": "syntax = \"proto3\";\npackage x;\nmessage In { int32 n = 1; bool b = 2; }\nmessage A { In b = 1; }"})
	r := Compare(old, new)
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	for i := range r.Changes {
		r.Changes[i].where = location{}
	}
	if !reflect.DeepEqual(r, &back) {
		t.Error("something is lost on the way")
	}
}

// The project's own contracts are judged in well under two seconds.
func TestOwnContracts(t *testing.T) {
	old, err := schema.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if r := Compare(old, old); len(r.Changes) != 0 || r.Breaking() {
		t.Errorf("%v", r.Changes)
	}
	t.Logf("%d message types in %v", len(old.Messages()), time.Since(began))
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"a/b.proto": "a/b.proto", "HEAD:x": "HEAD:x", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "~/x": "'~/x'"} {
		if got := Quote(in); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
}
