package mutants

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Packages are the mutated packages below cluster/, each with how many mutants
// are chosen of it.
var Packages = []struct {
	Name  string
	Quota int
}{
	{"wal", 24}, {"checkpoint", 14}, {"merkle", 10}, {"breaker", 10}, {"oona", 22},
	{"tolaria", 22}, {"kasmina", 14}, {"tamiyo", 14}, {"command", 12}, {"outbox", 5},
	{"urza", 14}, {"karn", 12}, {"tezzeret", 11}, {"urabrask", 11}, {"simic", 14}, {"nissa", 14}, {"narset", 8}, {"mycosynth", 7},
	{"leyline", 5}, {"jace", 8}, {"emrakul", 8}, {"elesh", 3}, {"config", 8}, {"journal", 5}, {"assets", 4}, {"inbox", 3},
	{"sqlite", 6}, {"kernel", 9}, {"policy", 5}, {"contract", 3}, {"auxiliary", 4}, {"pressure", 2},
	{"device", 14}, {"fleet", 6}, {"rates", 3},
}

// outside are files and functions that no process of the system gets to: what
// is wrong there no run can show.
var outside = map[string]string{
	"wal/verify.go":              "the command's check of a log from outside",
	"wal/chunk.go":               "splits payloads of more than 64 MiB",
	"wal/errors.go":              "texts",
	"wal/Header.MarshalBinary":   "for who looks at a log from outside",
	"wal/Log.Last":               "for who looks at a log from outside",
	"breaker/table.go":           "settings of subsystems that are not built",
	"breaker/Settings.Validate":  "checks constants",
	"breaker/New":                "checks constants",
	"breaker/Breaker.Trip":       "for subsystems that are not built",
	"breaker/Breaker.RetryAfter": "for subsystems that are not built",
	"breaker/Breaker.State":      "for subsystems that are not built",
	"merkle/Preimage":            "says what the root is over, for tests",
	"merkle/Verify":              "the stores compare by themselves",
	"tolaria/written.go":         "the design's own tree, as it is written",
	"kernel/lower.go":            "for real devices, which no run has",
}

// source is one package, parsed and checked.
type source struct {
	pkg     string // below cluster/
	fset    *token.FileSet
	files   []*sourceFile
	info    *types.Info
	imports types.Importer
}

type sourceFile struct {
	path string // relative to the root of the tree, with slashes
	text []byte
	ast  *ast.File
}

// exports finds the compiler's export data of every package that the system
// imports, which also shows whether the tree builds.
func exports(root string) (map[string]string, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", "./cluster/...")
	cmd.Dir = root
	var wrong bytes.Buffer
	cmd.Stderr = &wrong
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the tree does not build: %w\n%s", err, wrong.Bytes())
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, file, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			files[name] = file
		}
	}
	return files, nil
}

// loader loads packages.
type loader struct {
	root    string
	exports map[string]string
}

func newLoader(root string) (*loader, error) {
	e, err := exports(root)
	return &loader{root, e}, err
}

func (l *loader) load(pkg string) (*source, error) {
	names, err := filepath.Glob(filepath.Join(l.root, "cluster", pkg, "*.go"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	texts := map[string][]byte{}
	for _, n := range names {
		if strings.HasSuffix(n, "_test.go") {
			continue
		}
		if texts["cluster/"+pkg+"/"+filepath.Base(n)], err = os.ReadFile(n); err != nil {
			return nil, err
		}
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("no package cluster/%s in %s", pkg, l.root)
	}
	return parse(pkg, texts, l.open)
}

// open opens the export data of a package.
func (l *loader) open(path string) (io.ReadCloser, error) {
	file := l.exports[path]
	if file == "" {
		return nil, fmt.Errorf("no export data of %s", path)
	}
	return os.Open(file)
}

// parse parses and checks a package from texts by path.
func parse(pkg string, texts map[string][]byte, lookup importer.Lookup) (*source, error) {
	s := &source{pkg: pkg, fset: token.NewFileSet()}
	s.imports = importer.ForCompiler(s.fset, "gc", lookup)
	var paths []string
	for p := range texts {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		f, err := parser.ParseFile(s.fset, p, texts[p], parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, &sourceFile{p, texts[p], f})
	}
	s.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: s.imports}
	var files []*ast.File
	for _, f := range s.files {
		files = append(files, f.ast)
	}
	if _, err := conf.Check("mutated/"+pkg, s.fset, files, s.info); err != nil {
		return nil, fmt.Errorf("package %s: %w", pkg, err)
	}
	return s, nil
}

// compiles says whether the package does with one file changed.
func (s *source) compiles(path string, text []byte) bool {
	changed, err := parser.ParseFile(s.fset, path, text, parser.SkipObjectResolution)
	if err != nil {
		return false
	}
	var files []*ast.File
	for _, f := range s.files {
		if f.path == path {
			files = append(files, changed)
		} else {
			files = append(files, f.ast)
		}
	}
	conf := types.Config{Importer: s.imports}
	_, err = conf.Check("mutated/"+s.pkg, s.fset, files, nil)
	return err == nil
}

func (s *source) file(path string) *sourceFile {
	for _, f := range s.files {
		if f.path == path {
			return f
		}
	}
	return nil
}

// edit replaces the bytes from..to of a file.
type edit struct {
	from, to int
	text     string
}

// apply makes edits that do not overlap.
func apply(text []byte, edits []edit) ([]byte, error) {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b edit) int { return a.from - b.from })
	var out []byte
	at := 0
	for _, e := range edits {
		if e.from < at || e.to < e.from || e.to > len(text) {
			return nil, errors.New("edits overlap")
		}
		out = append(append(out, text[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, text[at:]...), nil
}
