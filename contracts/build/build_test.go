package build

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/contracts/governance/toolchain"
	"github.com/esper-sim/espersim/contracts/internal/prerequisite"
)

const contracts = ".."

func load(t *testing.T) *toolchain.Toolchain {
	t.Helper()
	l, err := toolchain.Load(contracts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var (
	fromLine  = regexp.MustCompile(`(?m)^FROM (\S+)$`)
	anyDigest = regexp.MustCompile(`sha256:([0-9A-Za-z.]*)`)
	hex64     = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// dockerfile says what is wrong with the pins of a Dockerfile.
func dockerfile(text string, l *toolchain.Toolchain) error {
	froms := fromLine.FindAllStringSubmatch(text, -1)
	if len(froms) == 0 || len(froms) != strings.Count(strings.ToUpper("\n"+text), "\nFROM ") {
		return errors.New("a FROM line is missing or has more than an image")
	}
	for _, f := range froms {
		if f[1] != l.Image.Name+"@"+l.Image.Digest {
			return errors.New(f[1] + " is not the image of " + l.File)
		}
	}
	for _, d := range anyDigest.FindAllStringSubmatch(text, -1) {
		if !hex64.MatchString(d[1]) {
			return errors.New(d[0] + " is no digest")
		}
	}
	for _, want := range []string{"COPY toolchain.yaml install-toolchain.sh ", "/install-toolchain.sh "} {
		if !strings.Contains(text, want) {
			return errors.New("it does not use " + want)
		}
	}
	for _, other := range []string{"pip install", "go install", "ADD http", "npm "} {
		if strings.Contains(text, other) {
			return errors.New(other + " goes around the list")
		}
	}
	return nil
}

// The image is pinned by the digest of the list.
func TestDockerfile(t *testing.T) {
	l := load(t)
	b, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if err := dockerfile(text, l); err != nil {
		t.Error(err)
	}
	for what, bad := range map[string]string{
		"no digest":      strings.Replace(text, "@"+l.Image.Digest, "", 1),
		"another digest": strings.Replace(text, l.Image.Digest, "sha256:"+strings.Repeat("ab", 32), 1),
		"placeholder":    strings.Replace(text, l.Image.Digest, "sha256:a1b2c3d4e5f6...", 1),
		"second stage":   text + "\nFROM golang:1.26\n",
		"pip":            text + "\nRUN pip install protobuf==4.24.4\n",
		"no list":        strings.Replace(text, "COPY toolchain.yaml", "COPY", 1),
	} {
		if dockerfile(bad, l) == nil {
			t.Errorf("%s: not found", what)
		}
	}
}

// install runs the script with a list. missing says that what it needs is not
// there.
func install(t *testing.T, list, dir string) (code int, said string) {
	t.Helper()
	// Read, so that the test is run again when the script has changed.
	if _, err := os.ReadFile("install-toolchain.sh"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("./install-toolchain.sh", dir)
	cmd.Env = append(os.Environ(), "TOOLCHAIN="+list)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode(), string(out)
	case err != nil:
		t.Fatal(err)
	}
	return 0, string(out)
}

func must(t *testing.T, list, dir string) {
	t.Helper()
	code, said := install(t, list, dir)
	if code == 2 {
		prerequisite.Skip(t, "the toolchain cannot be installed: "+strings.TrimSpace(said), "It needs apt-get, dpkg and a network")
	}
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
}

// tools runs a command with the installed tools before all others.
func tools(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("bash", append([]string{"-c", `. "$0/env.sh" && exec "$@"`, dir}, args...)...)
	cmd.Dir = filepath.Join(contracts, "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// stubs generates all code with the tools of a folder: protoc's own Python, and
// Go with protoc-gen-go, which has to be what is made here without protoc.
func stubs(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := t.TempDir()
	tools(t, dir, "go", "run", "./contracts/build/python", "-protoc", filepath.Join(dir, "usr/bin/protoc"), "-out", filepath.Join(out, "python"))
	var names []string
	err := filepath.WalkDir(contracts, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".proto") || strings.Contains(filepath.ToSlash(name), "/testdata/") {
			return err
		}
		if _, err := os.ReadFile(name); err != nil { // as above
			return err
		}
		name, err = filepath.Rel(contracts, name)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(out, "go"), 0o755); err != nil {
		t.Fatal(err)
	}
	tools(t, dir, slices.Concat([]string{"protoc", "--proto_path=contracts", "--go_out=" + filepath.Join(out, "go"),
		"--go_opt=module=github.com/esper-sim/espersim"}, names)...)
	return tree(t, out)
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		name, err = filepath.Rel(dir, name)
		files[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// protocLine is the comment in which protoc-gen-go writes the version of the
// protoc that called it. The committed code was made without protoc.
var protocLine = regexp.MustCompile(`(?m)^// (\t|- )protoc  .*\n`)

// Two installations make the same code, and it is the committed one.
func TestTwoInstallationsMakeTheSameCode(t *testing.T) {
	l := load(t)
	var made []map[string]string
	for range 2 {
		dir := t.TempDir()
		must(t, l.File, dir)
		rows, err := l.Compare(contracts, toolchain.Machine{Root: dir})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Verdict != toolchain.Equal {
				t.Errorf("%+v", r)
			}
		}
		made = append(made, stubs(t, dir))
	}
	if len(made[0]) != len(made[1]) || len(made[0]) < 45 {
		t.Errorf("%d and %d files", len(made[0]), len(made[1]))
	}
	for name, text := range made[0] {
		if made[1][name] != text {
			t.Errorf("%s differs between two installations", name)
		}
		committed := filepath.Join(contracts, "generated", filepath.FromSlash(name))
		if rest, ok := strings.CutPrefix(name, "go/contracts/"); ok {
			committed = filepath.Join(contracts, filepath.FromSlash(rest))
		}
		have, err := os.ReadFile(committed)
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(protocLine.ReplaceAll(have, nil), protocLine.ReplaceAll([]byte(text), nil)) {
			t.Errorf("%s is not what the toolchain makes", committed)
		}
	}
}

// A download that is not what the list says is not used.
func TestInstallChecksDigests(t *testing.T) {
	l := load(t)
	text, err := os.ReadFile(l.File)
	if err != nil {
		t.Fatal(err)
	}
	protoc, _ := l.Package(toolchain.Protoc) // Load has made sure
	flip := func(hex string) string {
		if hex[0] == '0' {
			return "1" + hex[1:]
		}
		return "0" + hex[1:]
	}
	for _, c := range []struct{ sum, want string }{
		{protoc.SHA256, "protobuf-compiler 3.21.12-3+deb12u1 has SHA-256 " + protoc.SHA256},
		{l.Modules[0].SHA256, "google.golang.org/protobuf@v1.36.12 has the sum " + l.Modules[0].SHA256},
	} {
		list := filepath.Join(t.TempDir(), "toolchain.yaml")
		if err := os.WriteFile(list, bytes.Replace(text, []byte(c.sum), []byte(flip(c.sum)), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		code, said := install(t, list, dir)
		if code == 2 {
			prerequisite.Skip(t, "the toolchain cannot be installed: "+strings.TrimSpace(said), "It needs apt-get, dpkg and a network")
		}
		if code != 1 || !strings.Contains(said, c.want) {
			t.Errorf("exit code %d: %s\nwant %q in it", code, said, c.want)
		}
		if _, err := os.Stat(filepath.Join(dir, "bin/protoc-gen-go")); err == nil {
			t.Error("it was used")
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".download-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	flow := filepath.Join(t.TempDir(), "toolchain.yaml")
	if err := os.WriteFile(flow, []byte("packages: [{name: protobuf-compiler}]\nmodules: []\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, said := install(t, flow, t.TempDir()); code != 2 || !strings.Contains(said, "want block style") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if out, err := exec.Command("./install-toolchain.sh").CombinedOutput(); err == nil || !bytes.Contains(out, []byte("want one argument")) {
		t.Errorf("%s", out)
	}
}
