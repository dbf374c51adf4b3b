package manifest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/schema"
)

const (
	v1Proto = "syntax = \"proto3\";\npackage x.a.v1;\nmessage A { int32 a = 1; }\n"
	v2Proto = "syntax = \"proto3\";\npackage x.a.v2;\nmessage A { int32 a = 1; reserved 5 to 9; }\nenum E { E_UNSPECIFIED = 0; ONE = 1; }\n" +
		"import \"google/protobuf/descriptor.proto\";\nextend google.protobuf.FieldOptions { int32 x = 50000; }\nservice S { rpc Do(A) returns (A); }\nmessage Gone {}\n"

	manifestText = `# What there is.
versions:
  v1:
    status: frozen
    released: 2025-01-01
    deprecated: 2025-01-10
    packages:
      - x.a.v1
  v2:
    status: active  # writers emit it
    released: 2025-01-10
    packages:
      # the only one
      - x.a.v2

migration:
  v1_to_v2:
    tool: migrate
    compatibility: read_v1_write_v2
`
)

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func load(t testing.TB, dir string) (*Manifest, *schema.Schema) {
	t.Helper()
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

// release writes what the changes of dir ask for.
func release(t testing.TB, dir string) {
	t.Helper()
	m, s := load(t, dir)
	p, err := m.Propose(s, Policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Write(s, p); err != nil {
		t.Fatal(err)
	}
}

func released(t testing.TB) string {
	dir := t.TempDir()
	write(t, dir, map[string]string{"v1/a.proto": v1Proto, "v2/a.proto": v2Proto, File: manifestText})
	release(t, dir)
	return dir
}

func check(t testing.TB, dir string) string {
	t.Helper()
	m, s := load(t, dir)
	found, err := m.Check(s, Policy)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, f := range found {
		text += strings.TrimPrefix(f.String(), dir+"/") + "\n"
	}
	return text
}

func TestRelease(t *testing.T) {
	dir := released(t)
	if got := check(t, dir); got != "" {
		t.Fatal(got)
	}
	first, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []string{"# What there is.\n", "active  # writers emit it\n", "      # the only one\n", "    minor: 0\n"} {
		if !strings.Contains(string(first), keep) {
			t.Errorf("%q is lost:\n%s", keep, first)
		}
	}
	// Nothing changed: nothing is written.
	release(t, dir)
	again, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil || string(again) != string(first) {
		t.Errorf("%v\n%s", err, again)
	}
	// An addition and a new package are minor version 1.
	write(t, dir, map[string]string{
		"v2/a.proto": strings.Replace(v2Proto, "int32 a = 1;", "int32 a = 1; int32 b = 2;", 1),
		"v2/b.proto": "syntax = \"proto3\";\npackage x.b.v2;\nmessage B {}\n",
	})
	if got := check(t, dir); !strings.Contains(got, "v2.0 changed") || !strings.Contains(got, "v2/b.proto:2:1: ") && !strings.Contains(got, "v2/b.proto: manifest-packages: the package x.b.v2 is in no version") {
		t.Error(got)
	}
	m, s := load(t, dir)
	p, err := m.Propose(s, Policy)
	if err != nil || p[1].Verdict != Minor || len(p[1].Why) != 4 || len(p[1].Packages) != 1 || p[0].Verdict != None {
		t.Fatal(p, err)
	}
	release(t, dir)
	if got := check(t, dir); got != "" {
		t.Error(got)
	}
	if m, _ = load(t, dir); m.Version("v2").Minor != 1 || m.Version("v1").Minor != 0 {
		t.Errorf("%+v", m.Versions)
	}
	// A second one keeps the first one's hash beside it.
	write(t, dir, map[string]string{"v2/b.proto": "syntax = \"proto3\";\npackage x.b.v2;\nmessage B { int32 c = 1; }\n"})
	release(t, dir)
	if got := check(t, dir); got != "" {
		t.Error(got)
	}
	if m, _ = load(t, dir); m.Version("v2").Minor != 2 || len(m.Version("v2").Earlier) != 2 {
		t.Errorf("%+v", m.Versions)
	}
	old, err := m.Set("v2", 0)
	if err != nil || old.Find("x.a.v2.A.b") != nil || old.Find("x.a.v2.A.a") == nil {
		t.Error("minor version 0 changed", err)
	}
}

// A schema that speaks of minor version 1 before its first release is released
// with its past.
func TestFirstReleaseWithAPast(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"v1/a.proto": v1Proto, File: manifestText,
		"v2/a.proto": `syntax = "proto3";
package x.a.v2;
import "options/options.proto";
message A { int32 a = 1; int32 b = 2 [(esper.options.since) = 1]; }
message B { option (esper.options.message_since) = 2; }
`})
	release(t, dir)
	if got := check(t, dir); got != "" {
		t.Fatal(got)
	}
	m, _ := load(t, dir)
	for minor, want := range []string{"a", "ab", "abB"} {
		s, err := m.Set("v2", uint32(minor))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for name, letter := range map[protoreflect.FullName]string{"x.a.v2.A.a": "a", "x.a.v2.A.b": "b", "x.a.v2.B": "B"} {
			if s.Find(name) != nil {
				got += letter
			}
		}
		if len(got) != len(want) {
			t.Errorf("minor version %d has %s, want %s", minor, got, want)
		}
	}
	// What is older may not need what is newer.
	dir = t.TempDir()
	write(t, dir, map[string]string{"v1/a.proto": v1Proto, File: manifestText,
		"v2/a.proto": "syntax = \"proto3\";\npackage x.a.v2;\nimport \"options/options.proto\";\nmessage A { B b = 1; }\nmessage B { option (esper.options.message_since) = 1; }\n"})
	m, s := load(t, dir)
	p, err := m.Propose(s, Policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Write(s, p); err == nil || !strings.Contains(err.Error(), "is no schema") {
		t.Error(err)
	}
	write(t, dir, map[string]string{"v2/a.proto": "syntax = \"proto3\";\npackage x.a.v2;\nimport \"options/options.proto\";\nmessage A { int32 b = 1 [(esper.options.since) = 4294967295]; }\n"})
	m, s = load(t, dir)
	if p, err = m.Propose(s, Policy); err != nil {
		t.Fatal(err)
	}
	if err := m.Write(s, p); err == nil || !strings.Contains(err.Error(), "nothing in it is new in minor version 1") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, Released)); err == nil {
		t.Error("a set was written")
	}
}

// Two releases of one schema are the same bytes.
func TestReleasesAreReproducible(t *testing.T) {
	a, b := released(t), released(t)
	for _, name := range []string{File, Released + "/v1.0.binpb", Released + "/v2.0.binpb"} {
		x, errX := os.ReadFile(filepath.Join(a, name))
		y, errY := os.ReadFile(filepath.Join(b, name))
		if errX != nil || errY != nil || string(x) != string(y) {
			t.Errorf("%s differs (%v, %v)", name, errX, errY)
		}
	}
}

func TestCheckFindsChanges(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(dir string) map[string]string
		want   string
	}{
		{"frozen", func(string) map[string]string {
			return map[string]string{"v1/a.proto": strings.Replace(v1Proto, "a = 1", "b = 1", 1)}
		}, "build/versions.yaml:8:1: frozen-version: v1 is frozen and changed"},
		{"comment", func(string) map[string]string { return map[string]string{"v1/a.proto": "// more\n" + v1Proto} }, ""},
		{"package gone", func(dir string) map[string]string {
			return map[string]string{"v2/a.proto": strings.Replace(v2Proto, "x.a.v2", "x.c.v2", 1)}
		}, "no file has the package x.a.v2"},
		{"unknown version", func(string) map[string]string {
			return map[string]string{"v3/a.proto": "syntax = \"proto3\";\npackage x.a.v3;\n"}
		}, "the package x.a.v3 is in no version"},
		{"set replaced", func(dir string) map[string]string {
			b, err := os.ReadFile(filepath.Join(dir, Released, "v1.0.binpb"))
			if err != nil {
				t.Fatal(err)
			}
			return map[string]string{Released + "/v2.0.binpb": string(b)}
		}, "v2.0.binpb has the hash"},
		{"earlier set replaced", func(dir string) map[string]string {
			write(t, dir, map[string]string{"v2/a.proto": strings.Replace(v2Proto, "int32 a = 1;", "int32 a = 1; int32 b = 2;", 1)})
			release(t, dir)
			b, err := os.ReadFile(filepath.Join(dir, Released, "v2.1.binpb"))
			if err != nil {
				t.Fatal(err)
			}
			return map[string]string{Released + "/v2.0.binpb": string(b)}
		}, "v2.0.binpb has the hash"},
		{"stray set", func(string) map[string]string { return map[string]string{Released + "/v2.7.binpb": "x"} }, "v2.7.binpb: released-sets: the manifest knows no such release"},
		{"hash edited", func(dir string) map[string]string {
			b, err := os.ReadFile(filepath.Join(dir, File))
			if err != nil {
				t.Fatal(err)
			}
			m, _ := load(t, dir)
			return map[string]string{File: strings.Replace(string(b), m.Version("v2").Hash, strings.Repeat("0", 64), 1)}
		}, "v2.0 changed"},
	} {
		dir := released(t)
		write(t, dir, c.change(dir))
		got := check(t, dir)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	dir := released(t)
	if err := os.Remove(filepath.Join(dir, Released, "v2.0.binpb")); err != nil {
		t.Fatal(err)
	}
	if got := check(t, dir); !strings.Contains(got, "there is no ") {
		t.Error(got)
	}
}

// What no minor version may hold is refused, and then no file is touched.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ file, from, to, why string }{
		{"v2/a.proto", "int32 a = 1;", "", "x.a.v2.A.a = 1 is gone"},
		{"v2/a.proto", "int32 a = 1;", "reserved 1;", "x.a.v2.A.a = 1 is gone"},
		{"v2/a.proto", "int32 a = 1;", "int64 a = 1;", "x.a.v2.A.a is int64, was int32"},
		{"v2/a.proto", "int32 a = 1;", "int32 b = 1;", "x.a.v2.A.b was called a"},
		{"v2/a.proto", "int32 a = 1;", "repeated int32 a = 1;", "x.a.v2.A.a is repeated"},
		{"v2/a.proto", "int32 a = 1;", "optional int32 a = 1;", "x.a.v2.A.a has explicit presence"},
		{"v2/a.proto", "int32 a = 1;", "oneof o { int32 a = 1; }", "x.a.v2.A.a is in oneof o"},
		{"v2/a.proto", "int32 a = 1;", "int32 a = 2;", "x.a.v2.A.a has number 2, had 1"},
		{"v2/a.proto", "reserved 5 to 9;", "reserved 5 to 7, 9;", "no longer reserves 8"},
		{"v2/a.proto", "reserved 5 to 9;", "int32 e = 5; reserved 6 to 9;", "x.a.v2.A.e uses number 5, which was reserved"},
		{"v2/a.proto", "int32 a = 1;", "int32 a = 1; map<string, int32> m = 2;", "map<string, int32> x.a.v2.A.m = 2 is new"},
		{"v2/a.proto", "ONE = 1;", "", "ONE = 1 is gone"},
		{"v2/a.proto", "ONE = 1;", "TWO = 1;", "was called ONE"},
		{"v2/a.proto", "ONE = 1;", "ONE = 2;", "had number 1"},
		{"v2/a.proto", "ONE = 1;", "ONE = 1; LESS = -1;", "x.a.v2.LESS = -1 is new"},
		{"v2/a.proto", "message Gone {}", "", "message x.a.v2.Gone is gone"},
		{"v2/a.proto", "enum E {", "enum F {", "enum x.a.v2.E is gone"},
		{"v2/a.proto", "service S {", "service T {", "service x.a.v2.S is gone"},
		{"v2/a.proto", "extend google.protobuf.FieldOptions { int32 x = 50000; }", "", "custom option x.a.v2.x is gone"},
		{"v2/a.proto", "int32 x = 50000;", "int32 x = 50001;", "custom option x.a.v2.x is int32 = 50001"},
		{"v2/a.proto", "rpc Do(A) returns (A);", "", "method x.a.v2.S.Do is gone"},
		{"v2/a.proto", "rpc Do(A) returns (A);", "rpc Do(stream A) returns (A);", "method x.a.v2.S.Do has a stream of requests"},
		{"v1/a.proto", "int32 a = 1;", "int32 a = 1; int32 b = 2;", "v1 is frozen"},
	} {
		dir := released(t)
		text := map[string]string{"v1/a.proto": v1Proto, "v2/a.proto": v2Proto}[c.file]
		write(t, dir, map[string]string{c.file: strings.Replace(text, c.from, c.to, 1)})
		before, err := os.ReadFile(filepath.Join(dir, File))
		if err != nil {
			t.Fatal(err)
		}
		m, s := load(t, dir)
		p, err := m.Propose(s, Policy)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, one := range p {
			got += one.Refused() + " " + strings.Join(one.Why, "; ") + "\n"
		}
		if !strings.Contains(got, c.why) {
			t.Errorf("%s to %s: %q, want %q", c.from, c.to, got, c.why)
		}
		if err := m.Write(s, p); err == nil {
			t.Errorf("%s to %s is released", c.from, c.to)
		}
		after, err := os.ReadFile(filepath.Join(dir, File))
		if err != nil || string(after) != string(before) {
			t.Error("the manifest changed", err)
		}
		if list, err := os.ReadDir(filepath.Join(dir, Released)); err != nil || len(list) != 2 {
			t.Error("a set was written", err)
		}
	}
}

func TestMinor(t *testing.T) {
	for _, c := range [][2]string{
		{"int32 a = 1;", "int32 a = 1; string b = 2;"},
		{"int32 a = 1;", "int32 a = 1; oneof o { string b = 2; }"},
		{"ONE = 1;", "ONE = 1; TWO = 2;"},
		{"message A {", "message B {} message A {"},
		{"message A {", "service T { rpc Do(A) returns (A); } message A {"},
		{"rpc Do(A) returns (A);", "rpc Do(A) returns (A); rpc More(A) returns (A);"},
		{"int32 x = 50000;", "int32 x = 50000; int32 y = 50001;"},
		{"reserved 5 to 9;", "reserved 5 to 12;"},
		{"reserved 5 to 9;", "reserved 5 to 7, 8 to 10;"},
		{"package x.a.v2;", "package x.a.v2; option go_package = \"e.com/a\";"},
	} {
		dir := released(t)
		write(t, dir, map[string]string{"v2/a.proto": strings.Replace(v2Proto, c[0], c[1], 1)})
		m, s := load(t, dir)
		p, err := m.Propose(s, Policy)
		if err != nil || p[1].Verdict != Minor || len(p[1].Why) == 0 {
			t.Errorf("%s to %s: %+v, %v", c[0], c[1], p, err)
		}
	}
}

// A set that was changed by hand is no base to compare with.
func TestProposeTrustsNoChangedSet(t *testing.T) {
	dir := released(t)
	b, err := os.ReadFile(filepath.Join(dir, Released, "v1.0.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{Released + "/v2.0.binpb": string(b)})
	m, s := load(t, dir)
	if _, err := m.Propose(s, Policy); err == nil || !strings.Contains(err.Error(), "changed by hand") {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	change := func(from, to string) string { return strings.Replace(manifestText, from, to, 1) }
	for _, c := range []struct{ text, want string }{
		{"", "f: is empty"}, {"[]", "f:1: the manifest is no mapping"}, {"\tx", "f:1: "},
		{change("active", "actve"), `f:10: the status is "actve"; want active or frozen`},
		{change("active", "frozen"), "no version is active"},
		{change("frozen", "active"), "both active"},
		{change("2025-01-01", "1.1.2025"), "f:5: released"},
		{change("2025-01-10", "2024-01-10"), "f:3: v1 was deprecated on 2024-01-10, before"},
		{change("status: frozen", "state: frozen"), `f:4: v1 has no "state"`},
		{change("    status: frozen\n", ""), "f:3: v1 has no status"},
		{change("  v1:", "  1:"), `f:3: "1" is no version`},
		{change("  v2:", "  v1:"), `f:9: "v1" is there twice`},
		{change("- x.a.v1", "- x.a.v2"), `f:8: the package "x.a.v2" is none of v1`},
		{change("- x.a.v1", "- x.a.v1\n      - x.a.v1"), "f:9: x.a.v1 is there twice"},
		{change("    packages:\n      - x.a.v1", "    packages: [x.a.v1]"), "f:7: packages is no list"},
		{change("    packages:\n      - x.a.v1", "    minor: -1"), "f:7: minor is"},
		{change("    packages:\n      - x.a.v1", "    descriptor_set_sha256: xyz"), "f:7: descriptor_set_sha256 is"},
		{change("    packages:\n      - x.a.v1", "    minor: 1\n    packages:\n      - x.a.v1"), "f:3: v1.1 has 0 hashes in earlier_sha256"},
		{change("    packages:\n      - x.a.v1", "    earlier_sha256:\n      - 12\n    packages:\n      - x.a.v1"), `f:8: "12" is no hash`},
		{change("v1_to_v2", "v1_v2"), `f:17: "v1_v2" is no migration`},
		{change("v1_to_v2", "v1_to_v3"), "compatibility is"},
		{strings.ReplaceAll(change("v1_to_v2", "v1_to_v3"), "write_v2", "write_v3"), "there is no version v3"},
		{change("    tool: migrate\n", ""), "f:17: v1_to_v2 lacks"},
		{change("read_v1", "read_v0"), "f:19: compatibility is"},
		{manifestText + "more: 1\n", `f:20: the manifest has no "more"`},
		{"versions: {}\n", "there is no version"},
		{"versions:\n  v1:\n", "f:2: v1 is no mapping"},
		{manifestText, ""},
	} {
		_, err := Parse("f", []byte(c.text))
		switch {
		case c.want == "" && err != nil, c.want != "" && err == nil:
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		case err != nil && !strings.Contains(strings.Replace(err.Error(), "f is", "f: is", 1), c.want):
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(manifestText))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse("f", b)
		if (m == nil) == (err == nil) {
			t.Fatal(m, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "f") {
			t.Error(err)
		}
	})
}

// The project's own manifest holds.
func TestOwnManifest(t *testing.T) {
	m, s := load(t, "../..")
	found, err := m.Check(s, Policy)
	if err != nil || len(found) > 0 {
		t.Error(found, err)
	}
	if v := m.Version("v1"); v == nil || v.Status != Frozen || m.Version("v2").Status != Active {
		t.Error("v1 is frozen and v2 active (HLD section 8.4)")
	}
}

func ExampleManifest_Propose() {
	dir, err := os.MkdirTemp("", "manifest")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	put := func(name, text string) {
		file := filepath.Join(dir, name)
		_ = os.MkdirAll(filepath.Dir(file), 0o755) // WriteFile says why
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			fmt.Println(err)
		}
	}
	put(File, "versions:\n  v1:\n    status: active\n    released: 2026-01-01\n    packages:\n      - shop.v1\n")
	propose := func() (*Manifest, *schema.Schema, []Proposal) {
		m, err := Load(dir)
		if err != nil {
			fmt.Println(err)
		}
		s, err := schema.LoadDir(dir)
		if err != nil {
			fmt.Println(err)
		}
		p, err := m.Propose(s, Policy)
		if err != nil {
			fmt.Println(err)
		}
		return m, s, p
	}
	put("v1/shop.proto", "syntax = \"proto3\";\npackage shop.v1;\nmessage Order { string id = 1; }\n")
	m, s, p := propose()
	if err := m.Write(s, p); err != nil {
		fmt.Println(err)
	}
	put("v1/shop.proto", "syntax = \"proto3\";\npackage shop.v1;\nmessage Order { string id = 1; string note = 2; }\n")
	_, _, p = propose()
	fmt.Println(p[0].Verdict, p[0].Why)
	put("v1/shop.proto", "syntax = \"proto3\";\npackage shop.v1;\nmessage Order { int64 id = 1; }\n")
	_, _, p = propose()
	fmt.Println(p[0].Verdict, p[0].Refused())
	// Output:
	// minor [field string shop.v1.Order.note = 2 is new]
	// major a major change needs a new package, .v2
}
