package toolchain

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

const contracts = "../.."

func own(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(contracts, filepath.FromSlash(Name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOwnList(t *testing.T) {
	l, err := Load(contracts)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := l.Package(Protoc)
	if !ok || p.Upstream() != "3.21.12" || len(l.Packages) != 5 || len(l.Modules) != 2 || len(l.Packages[4].Files) != 2 {
		t.Errorf("%+v", l)
	}
}

// A bad list is refused with its place, and says what would be right.
func TestBadLists(t *testing.T) {
	text := own(t)
	change := func(old, with string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("the list has no %q any more", old)
		}
		return strings.Replace(text, old, with, 1)
	}
	line := func(word string) string {
		before, _, _ := strings.Cut(text, word)
		return ":" + strconv.Itoa(strings.Count(before, "\n")+1) + ": "
	}
	for _, c := range []struct{ text, want string }{
		{"", ":1: the file is empty"},
		{"a: [", ":1: "},
		{"[]", ":1: want a mapping with the keys image, go, packages, modules"},
		{change("modules:", "modlues:"), `unknown key "modlues"; want image, go, packages, modules`},
		{change("digest: sha256:", "digest: "), line("digest: sha256") + `"9fdc88`},
		{change("9fdc88", "9FDC88"), `want "sha256:" and 64 lower-case hex digits`},
		{change("9fdc884aacc3bec89b20ffc69f4bb369c78210e3e4f600387b5128b12c199f81", strings.Repeat("0", 64)), "is a placeholder"},
		{change("deb_sha256: 698e96", "deb_sha256: 698e9"), line("deb_sha256: 698e96") + `"698e9`},
		{change("name: protobuf-compiler", "name: protoc"), "there is no package protobuf-compiler"},
		{change("name: libprotoc32", "name: protobuf-compiler"), "the package protobuf-compiler is there twice"},
		{change("version: 3.21.12-3+deb12u1", "version: latest"), `"latest"; want an exact version`},
		{change("/usr/bin/protoc", "usr/bin/protoc"), `"usr/bin/protoc"; want an absolute path`},
		{change("go1.26.8.linux", "go1.26.7.linux"), "want golang.org/toolchain@v0.0.1-go1.26.8.linux-amd64"},
		{change("architecture: amd64", "architecture: x86"), `"x86"; want amd64, arm64 or all`},
		{change("    deb_sha256: 698e96f08152490ee576ead6a9116e1239514de66473305473f67ce2b5408e23\n", ""), `the key "deb_sha256" is missing`},
		{change("version: v1.36.12", "version: v1.36"), "want an exact version, such as v1.36.12"},
		{text + "---\na: b\n", "more behind the first document"},
	} {
		_, err := Parse("t.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "t.yaml:") {
			t.Errorf("%v, want %q in it", err, c.want)
		}
	}
}

// machine is a folder with the files of the list's packages, and what commands
// print there.
func machine(t *testing.T, l *Toolchain) (dir string, says map[string]string) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the list is of amd64")
	}
	dir = t.TempDir()
	says = map[string]string{"go": "go" + l.Go.Version, "protoc": "libprotoc 3.21.12\n"}
	for _, p := range l.Packages {
		says["dpkg-query "+p.Name] = "installed " + p.Version
	}
	return dir, says
}

func compare(t *testing.T, l *Toolchain, dir string, says map[string]string) map[string]Row {
	t.Helper()
	rows, err := l.Compare(dir, Machine{Run: func(name string, args ...string) (string, error) {
		if name == "dpkg-query" {
			name += " " + args[len(args)-1]
		}
		out, ok := says[name]
		if !ok {
			return "", exec.ErrNotFound
		}
		return out, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]Row{}
	for _, r := range rows {
		by[r.What] = r
	}
	return by
}

// Each thing that differs is found, and what is missing is told from it.
func TestCompare(t *testing.T) {
	l, err := Load(contracts)
	if err != nil {
		t.Fatal(err)
	}
	dir, says := machine(t, l)
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const mod = "google.golang.org/protobuf"
	image := l.Image.Name + "@" + l.Image.Digest
	write("go.mod", "module x\n\nrequire (\n\t"+mod+" v1.36.12\n\tgithub.com/bufbuild/protocompile v0.14.1 // indirect\n)\n")
	write("go.sum", mod+" v1.36.12 h1:pJOKDDOyeXErUroCihFAd5LQuwXBSpVnKGrj5o/fwxc=\n"+mod+" v1.36.12/go.mod h1:HTf+CrKn2C3g5S8VImy6tdcUvCska2kB7j23XfzDpco=\n"+
		"github.com/bufbuild/protocompile v0.14.1 h1:iA73zAf/fyljNjQKwYzUHD6AD4R8KMasmwa/FBatYVw=\n")
	write("build/Dockerfile", "# FROM x\nFROM "+image+" AS a\n")
	rows := compare(t, l, dir, says)
	for what, r := range rows {
		if strings.HasPrefix(what, "/") {
			continue // of this machine
		}
		if r.Verdict != Equal {
			t.Errorf("%+v", r)
		}
	}
	if len(rows) < 14 {
		t.Errorf("%d rows", len(rows))
	}
	for _, c := range []struct {
		what, have string
		plant      func()
	}{
		{"go", "1.26.7", func() { says["go"] = "go1.26.7" }},
		{"protoc --version", "3.21.11", func() { says["protoc"] = "libprotoc 3.21.11" }},
		{"package python3-protobuf", "3.21.12-4", func() { says["dpkg-query python3-protobuf"] = "installed 3.21.12-4" }},
		{"go.mod " + mod, "v1.36.11", func() { write("go.mod", "module x\nrequire "+mod+" v1.36.11\n") }},
		{"go.sum " + mod, "a4938a0c33b279712b52ba028a11407792d0bb05c14a9567286ae3e68fdfc316", func() {
			write("go.sum", mod+" v1.36.12 h1:pJOKDDOyeXErUroCihFAd5LQuwXBSpVnKGrj5o/fwxY=\n")
		}},
		{"Dockerfile", strings.Replace(image, "9fdc88", "9fdc89", 1), func() { write("build/Dockerfile", "FROM "+strings.Replace(image, "9fdc88", "9fdc89", 1)+"\n") }},
	} {
		c.plant()
		if r := compare(t, l, dir, says)[c.what]; r.Verdict != Differs || r.Have != c.have {
			t.Errorf("%s: %+v", c.what, r)
		}
	}
	says = map[string]string{}
	for _, what := range []string{"go", "protoc --version", "package protobuf-compiler", "go.mod github.com/bufbuild/protocompile"} {
		if r := compare(t, l, dir, says)[what]; r.Verdict != Missing {
			t.Errorf("%s: %+v", what, r)
		}
	}
	says["protoc"] = "protoc 3"
	if _, err := l.Compare(dir, Machine{Run: func(name string, _ ...string) (string, error) { return says[name], nil }}); err == nil {
		t.Error("nonsense for a version is accepted")
	}
}

// Files below another root are hashed there.
func TestCompareRoot(t *testing.T) {
	l, err := Load(contracts)
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := machine(t, l)
	if err := os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/bin/protoc"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	rows, err := l.Compare(contracts, Machine{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		switch {
		case r.What == "/usr/bin/protoc" && r.Verdict != Differs,
			strings.Contains(r.What, "libprotoc.so") && r.Verdict != Missing,
			strings.HasPrefix(r.What, "package "):
			t.Errorf("%+v", r)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(own(f)))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Parse("t", text)
		if (l == nil) == (err == nil) {
			t.Fatalf("%v, %v", l, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "t:") {
			t.Errorf("no place: %v", err)
		}
	})
}
