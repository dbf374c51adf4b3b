package toolchain

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Verdict says how a tool compares with the list.
type Verdict int

// The verdicts.
const (
	Equal Verdict = iota
	Differs
	Missing // not installed
	Foreign // of another architecture: neither equal nor different
)

func (v Verdict) String() string {
	return [...]string{"equal", "DIFFERS", "not installed", "other architecture"}[v]
}

// A Row is one comparison.
type Row struct {
	What    string // the tool, and what of it
	Want    string
	Have    string // empty where there is nothing
	Verdict Verdict
}

// Machine is where the installed tools are looked for. Its zero value is the
// machine that the program runs on.
type Machine struct {
	// Root is before the paths of unpacked files. Empty: what is installed;
	// otherwise Debian's package database and the go command are left out,
	// since they are not of that root.
	Root string
	// Run starts a command and returns its standard output. An error that is
	// exec.ErrNotFound means that it is not installed. nil: os/exec.
	Run func(name string, args ...string) (string, error)
}

func (m Machine) run(name string, args ...string) (string, error) {
	if m.Run != nil {
		return m.Run(name, args...)
	}
	out, err := exec.Command(name, args...).Output()
	return strings.TrimSpace(string(out)), err
}

// Compare compares the list of a folder of contracts with a machine, with the
// Dockerfile beside the list, and with go.mod and go.sum of the module that the
// folder is in, if it is in one.
func (t *Toolchain) Compare(dir string, m Machine) ([]Row, error) {
	var rows []Row
	add := func(what, want, have string) {
		v := Equal
		switch have {
		case want:
		case "":
			v = Missing
		default:
			v = Differs
		}
		rows = append(rows, Row{what, want, have, v})
	}
	froms, err := readFroms(filepath.Join(dir, "build", "Dockerfile"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, from := range froms {
		add("Dockerfile", t.Image.Name+"@"+t.Image.Digest, from)
	}
	if m.Root == "" {
		// GOVERSION is that of the toolchain that would build here, whichever go
		// command starts it.
		have, err := m.run("go", "env", "GOVERSION")
		if err != nil && !errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("go env GOVERSION: %w", err)
		}
		add("go", t.Go.Version, strings.TrimPrefix(have, "go"))
	}
	native := runtime.GOARCH
	for _, p := range t.Packages {
		if p.Architecture != "all" && p.Architecture != native {
			rows = append(rows, Row{"package " + p.Name, p.Version, "", Foreign})
			continue
		}
		if m.Root == "" {
			have, err := m.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", p.Name)
			if err != nil {
				have = "" // dpkg-query fails for what it does not know
			}
			have, ok := strings.CutPrefix(have, "installed ")
			if !ok {
				have = ""
			}
			add("package "+p.Name, p.Version, have)
		}
		for _, f := range p.Files {
			have, err := hashFile(filepath.Join(m.Root, filepath.FromSlash(f.Path)))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			add(f.Path, f.SHA256, have)
		}
	}
	if protoc, ok := t.Package(Protoc); ok && m.Root == "" {
		have, err := ProtocVersion("protoc", m.run)
		if err != nil && !errors.Is(err, exec.ErrNotFound) {
			return nil, err
		}
		add("protoc --version", protoc.Upstream(), have)
	}
	versions, sums, err := readModule(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return rows, nil
	}
	if err != nil {
		return nil, err
	}
	for _, mod := range t.Modules {
		add("go.mod "+mod.Path, mod.Version, versions[mod.Path])
		add("go.sum "+mod.Path, mod.SHA256, sums[mod.Path+" "+mod.Version])
	}
	return rows, nil
}

var protocSays = regexp.MustCompile(`^libprotoc (\S+)$`)

// ProtocVersion asks a protoc for its version. run may be nil.
func ProtocVersion(protoc string, run func(string, ...string) (string, error)) (string, error) {
	if run == nil {
		run = Machine{}.run
	}
	out, err := run(protoc, "--version")
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", protoc, err)
	}
	m := protocSays.FindStringSubmatch(strings.TrimSpace(out))
	if m == nil {
		return "", fmt.Errorf("%s --version prints %q; want libprotoc and a version", protoc, out)
	}
	return m[1], nil
}

var fromForm = regexp.MustCompile(`(?i)^\s*FROM\s+(?:--\S+\s+)*(\S+)`)

// readFroms lists the images that a Dockerfile builds from.
func readFroms(name string) ([]string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var froms []string
	for line := range strings.Lines(string(text)) {
		if m := fromForm.FindStringSubmatch(line); m != nil {
			froms = append(froms, m[1])
		}
	}
	if len(froms) == 0 {
		return nil, fmt.Errorf("%s has no FROM line", name)
	}
	return froms, nil
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // nothing was written
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// readModule reads the go.mod and go.sum of the module around dir: versions by
// path, and h1 sums in hex by path and version.
func readModule(dir string) (versions, sums map[string]string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, nil, err
	}
	var mod []byte
	for {
		if mod, err = os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			return nil, nil, err
		}
		dir = up
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return nil, nil, err
	}
	versions, sums = map[string]string{}, map[string]string{}
	require := regexp.MustCompile(`^\s*(?:require\s+)?(\S+)\s+(v\S+)(?:\s*//.*)?$`)
	lines := bufio.NewScanner(bytes.NewReader(mod))
	for lines.Scan() {
		if m := require.FindStringSubmatch(lines.Text()); m != nil {
			versions[m[1]] = m[2]
		}
	}
	for line := range strings.Lines(string(sum)) {
		f := strings.Fields(line)
		if len(f) != 3 || strings.HasSuffix(f[1], "/go.mod") {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(f[2], "h1:"))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %q is no h1 sum", filepath.Join(dir, "go.sum"), f[2])
		}
		sums[f[0]+" "+f[1]] = hex.EncodeToString(b)
	}
	return versions, sums, nil
}
