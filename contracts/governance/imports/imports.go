// Package imports finds hand-made serialisation: code outside of the codec that
// encodes or decodes messages itself. It reads source files, Go and Python, by
// their syntax: a word in a comment or a string is no call, and an alias hides
// none.
//
// Go: a package may use google.golang.org/protobuf/proto for Clone, Equal or
// the type Message; whatever serialises is a finding. Packages whose only
// purpose is an encoding (protojson, gob, ...) may not be imported at all.
// Build constraints are ignored, since a forbidden call is one on every system.
//
// Python: the encoding methods of messages, pickle and its kin, struct, and the
// protobuf runtime outside of generated modules.
package imports

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/contracts/governance/finding"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// Rule is the name of the findings' rule.
const Rule = "manual-serialisation"

const want = "the generated codec"

// A Settings says what is exempt.
type Settings struct {
	// Allowed are folders, relative to the root and with slashes, that hold the
	// codec: they may serialise, and so may what is below them. A file is
	// allowed by its own name.
	Allowed []string
	// Tests: files of tests are checked, too.
	Tests bool
}

// Within is the settings for a folder inside of the one that they are for. A
// folder outside, which begins with "..", has no exemptions.
func (s Settings) Within(dir string) Settings {
	dir = path.Clean(filepath.ToSlash(dir))
	if dir == "." {
		return s
	}
	in := Settings{Tests: s.Tests}
	for _, a := range s.Allowed {
		a = strings.TrimSuffix(a, "/")
		if rest, ok := strings.CutPrefix(a, dir+"/"); ok {
			in.Allowed = append(in.Allowed, rest)
		} else if a == "." && !strings.HasPrefix(dir, "..") || dir == a || strings.HasPrefix(dir, a+"/") {
			in.Allowed = append(in.Allowed, ".")
		}
	}
	return in
}

// Check returns the hand-made serialisation below a folder. The places begin
// with root as it is given. A Go file that does not parse is an error.
func Check(root string, s Settings) ([]finding.Finding, error) {
	t, err := readTree(root)
	if err != nil {
		return nil, err
	}
	for _, a := range s.Allowed {
		if strings.HasPrefix(a, "/") || path.Clean(a) != strings.TrimSuffix(a, "/") || a == ".." || strings.HasPrefix(a, "../") {
			return nil, fmt.Errorf("%q is no folder below the code; write it relative, with slashes, such as contracts/wire", a)
		}
	}
	t.Settings = s
	found, err := t.goFindings()
	if err != nil {
		return nil, err
	}
	found = append(found, t.pythonFindings()...)
	finding.Sort(found)
	return found, nil
}

// tree is the source files below a root, by their paths from there.
type tree struct {
	Settings
	root    string
	files   map[string]string // source by path
	modules map[string]string // module path by folder
	names   []string          // of files, sorted
}

// skipped are folders that hold no code of one's own.
var skipped = map[string]bool{"testdata": true, "vendor": true, "node_modules": true, "__pycache__": true, "site-packages": true}

func readTree(root string) (*tree, error) {
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s: there is no such folder of code", root)
	}
	t := &tree{root: root, files: map[string]string{}, modules: map[string]string{}}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (skipped[d.Name()] || strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir
			}
			return nil
		}
		ext := path.Ext(name)
		if ext != ".go" && ext != ".py" && d.Name() != "go.mod" || !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if d.Name() == "go.mod" {
			t.modules[path.Dir(name)] = modulePath(string(b))
			return nil
		}
		t.files[name] = string(b)
		t.names = append(t.names, name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", root, err)
	}
	slices.Sort(t.names)
	return t, nil
}

// modulePath is the name that a go.mod declares.
func modulePath(text string) string {
	for line := range strings.Lines(text) {
		if i := strings.Index(line, "//"); i >= 0 {
			line = line[:i]
		}
		if f := strings.Fields(line); len(f) == 2 && f[0] == "module" {
			return strings.Trim(f[1], "\"`")
		}
	}
	return ""
}

func (t *tree) allowed(name string) bool {
	for _, a := range t.Allowed {
		a = strings.TrimSuffix(a, "/")
		if a == "." || name == a || strings.HasPrefix(name, a+"/") {
			return true
		}
	}
	return false
}

func (t *tree) position(name string, line, column int) schema.Position {
	return schema.Position{File: filepath.Join(t.root, filepath.FromSlash(name)), Line: line, Column: column}
}

// reached lists who imports from, directly or through others. importers are
// the direct ones.
func reached(from string, importers map[string][]string) []string {
	seen := map[string]bool{from: true}
	var all []string
	for next := []string{from}; len(next) > 0; next = next[1:] {
		for _, p := range importers[next[0]] {
			if !seen[p] {
				seen[p] = true
				all, next = append(all, p), append(next, p)
			}
		}
	}
	slices.Sort(all)
	return all
}
