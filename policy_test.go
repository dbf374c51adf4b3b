// Package policy holds the project's rules as a test: which package may import
// which, what deterministic code must not call and what it calls instead, and
// that every package says what it is.
package policy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/esper-sim/espersim/"

// file is a parsed source file.
type file struct {
	path string // relative, with slashes
	pkg  string // folder, "." for the root
	test bool
	ast  *ast.File
}

func sources(t *testing.T) (files []file, fset *token.FileSet) {
	fset = token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		p = filepath.ToSlash(p)
		files = append(files, file{p, filepath.ToSlash(filepath.Dir(p)), strings.HasSuffix(p, "_test.go"), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("%d source files: the policy looked in the wrong place", len(files))
	}
	return files, fset
}

func under(pkg string, folders ...string) bool {
	for _, f := range folders {
		if pkg == f || strings.HasPrefix(pkg, f+"/") {
			return true
		}
	}
	return false
}

// layers say which of our own packages the code of a folder may import. The
// first row that matches counts. A row also allows what is below the folder.
var layers = []struct {
	folder string
	may    []string
}{
	{"cmd/espersim", []string{"scenarios", "checkers", "cluster", "contracts", "faults", "gpu", "sim"}},
	{"examples", []string{"simtest", "sim", "cluster/actor", "contracts"}},
	{"simtest", []string{"scenarios", "faults", "sim", "cluster/actor", "contracts"}},
	{"scenarios/bundle", []string{"scenarios", "checkers", "contracts/wire", "faults", "sim", "sim/trace"}},
	{"scenarios/guided", []string{"scenarios", "contracts/canon", "contracts/wire", "faults", "sim"}},
	{"scenarios/debugger", []string{"scenarios", "checkers", "contracts/wire", "faults", "sim"}},
	{"scenarios/shrink", []string{"scenarios", "checkers", "contracts/wire", "faults", "sim"}},
	{"scenarios/explore", []string{"scenarios", "checkers", "cluster", "contracts", "faults", "gpu", "sim"}},
	{"scenarios/mutants/hunter", []string{"scenarios", "scenarios/runner"}},
	{"scenarios/mutants", []string{"scenarios"}},
	{"scenarios/imported", []string{"scenarios", "faults", "gpu"}},
	{"scenarios/planted", []string{"scenarios", "checkers", "cluster", "contracts", "faults", "gpu", "sim"}},
	{"scenarios/runner", []string{"scenarios", "checkers", "cluster", "contracts", "faults", "gpu", "sim"}},
	{"scenarios", []string{"faults"}},
	{"checkers", []string{"checkers", "sim/trace", "contracts", "gpu"}},
	{"faults", []string{"cluster/actor", "gpu"}},
	{"sim/trace", nil},
	{"sim/disk", []string{"cluster/actor", "sim/disk"}},
	{"sim", []string{"sim/disk", "sim/trace", "cluster/actor", "contracts", "gpu"}},
	{"contracts", []string{"contracts"}},
	{"gpu", []string{"gpu"}},
	{"cluster/actor", []string{"contracts", "gpu"}},
	{"cluster/live", []string{"cluster/actor", "contracts", "gpu", "sim/trace"}},
	{"cluster", []string{"cluster", "contracts", "gpu"}},
	{".", nil},
}

// subsystems are the processes: they never import each other, nor what runs
// them.
var subsystems = []string{"tolaria", "kasmina", "tamiyo", "oona", "ledger", "vault", "client",
	"urza", "karn", "tezzeret", "urabrask", "nissa", "narset", "mycosynth", "leyline",
	"simic", "jace", "emrakul", "elesh"}

func TestImportLayers(t *testing.T) {
	files, _ := sources(t)
	for _, f := range files {
		if f.test {
			continue
		}
		var may []string
		found := false
		for _, l := range layers {
			if under(f.pkg, l.folder) || l.folder == "." && f.pkg == "." {
				may, found = l.may, true
				break
			}
		}
		if !found {
			t.Errorf("%s: no layer is declared for the folder %s", f.path, f.pkg)
			continue
		}
		for _, imp := range f.ast.Imports {
			p, _ := strconv.Unquote(imp.Path.Value) // the parser has checked it
			own, ok := strings.CutPrefix(p, module)
			if !ok {
				continue
			}
			if !under(own, may...) && !under(own, f.pkg) {
				t.Errorf("%s imports %s; %s may import %v only", f.path, own, f.pkg, may)
			}
			for _, s := range subsystems {
				if !under(f.pkg, "cluster/"+s) {
					continue
				}
				for _, other := range append(subsystems, "live") {
					if other != s && under(own, "cluster/"+other) {
						t.Errorf("%s imports %s: subsystems know each other by messages only", f.path, own)
					}
				}
			}
		}
	}
}

// deterministic is the code whose every result must be a function of scenario
// and run seed.
func deterministic(f file) bool {
	if f.test || under(f.pkg, "cluster/live", "sim/disk/oracle", "checkers/history") {
		return false
	}
	return under(f.pkg, "sim", "faults", "checkers", "cluster")
}

// banned calls, each with what to use instead.
var banned = map[string]string{
	"time.Now":          "env.Clock.Now, or the world's time",
	"time.Since":        "env.Clock.Monotonic",
	"time.Until":        "env.Clock.Monotonic",
	"time.Sleep":        "env.Clock.SetTimer",
	"time.After":        "env.Clock.SetTimer",
	"time.AfterFunc":    "env.Clock.SetTimer",
	"time.Tick":         "env.Clock.SetTimer",
	"time.NewTimer":     "env.Clock.SetTimer",
	"time.NewTicker":    "env.Clock.SetTimer",
	"runtime.NumCPU":    "nothing: a run must not depend on the machine",
	"runtime.Gosched":   "nothing: there is one thread of control",
	"proto.Marshal":     "canon.Message.AppendCanonical, or contracts/wire",
	"proto.Unmarshal":   "canon.Message.ParseCanonical, or contracts/wire",
	"protojson.Marshal": "canon.Message.AppendCanonical: its white space is random",
	"rsa.GenerateKey":   "ed25519.NewKeyFromSeed: RSA ignores its reader",
}

// bannedImports, each with what to use instead.
var bannedImports = map[string]string{
	"os":            "env.FS",
	"os/exec":       "nothing: actors start no processes",
	"net":           "env.Net",
	"net/http":      "env.Net",
	"sync":          "nothing: there is one thread of control",
	"sync/atomic":   "nothing: there is one thread of control",
	"math/rand":     "env.Rand, keyed by purpose and identity",
	"math/rand/v2":  "env.Rand, keyed by purpose and identity",
	"crypto/rand":   "env.Rand, keyed by purpose and identity",
	"unsafe":        "nothing",
	"hash/maphash":  "trace.Bytes: its seed differs in every process",
	"encoding/json": "contracts/wire",
	"encoding/gob":  "contracts/wire",
}

// bannedMath choose their instructions by processor, or may be fused.
var bannedMath = []string{"Exp", "Exp2", "Expm1", "Log", "Log2", "Log10", "Log1p", "Pow", "Sin", "Cos", "Tan", "Tanh", "Sinh", "Cosh", "Atan", "Atan2", "Cbrt", "Gamma", "Erf", "FMA", "Hypot"}

func TestDeterministicCodeCallsNothingElse(t *testing.T) {
	files, fset := sources(t)
	for _, f := range files {
		if !deterministic(f) {
			continue
		}
		for _, imp := range f.ast.Imports {
			p, _ := strconv.Unquote(imp.Path.Value) // the parser has checked it
			if instead, bad := bannedImports[p]; bad && !exempt[f.path+" "+p] {
				t.Errorf("%s imports %s; use %s", f.path, p, instead)
			}
		}
		complain := func(n ast.Node, what, instead string) {
			t.Errorf("%s: %s; use %s", fset.Position(n.Pos()), what, instead)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				complain(n, "a go statement", "mail and timers")
			case *ast.SelectStmt:
				complain(n, "a select statement", "mail and timers")
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "recover" && !under(f.pkg, "sim") && !exempt[f.path+" recover"] {
					complain(n, "recover", "nothing: it would catch the panic that ends a crashed actor")
				}
			case *ast.SelectorExpr:
				id, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				name := id.Name + "." + n.Sel.Name
				if instead, bad := banned[name]; bad {
					complain(n, name, instead)
				}
				if id.Name == "math" {
					for _, m := range bannedMath {
						if n.Sel.Name == m {
							complain(n, name, "the trainer's own functions: its instructions differ by processor")
						}
					}
				}
			}
			return true
		})
	}
}

// exempt are the places where a ban does not hold, each with the reason.
var exempt = map[string]bool{
	// SQLite asks the process, not its caller, for the seed of its generator: ADR 11.
	"cluster/sqlite/random.go crypto/rand": true,
	"cluster/sqlite/random.go sync":        true,
	"cluster/sqlite/random.go sync/atomic": true,

	// What the collector runs when nobody has a database any more: it touches no
	// actor.
	"cluster/sqlite/abandoned.go sync/atomic": true,
	"cluster/sqlite/abandoned.go recover":     true,
}

// Encoding and decoding of messages happen in the codec's packages only (C6).
func TestOnlyTheCodecImportsTheRuntime(t *testing.T) {
	files, _ := sources(t)
	for _, f := range files {
		if f.test || under(f.pkg, "contracts") {
			continue
		}
		for _, imp := range f.ast.Imports {
			p, _ := strconv.Unquote(imp.Path.Value) // the parser has checked it
			switch {
			case strings.HasPrefix(p, "google.golang.org/protobuf/encoding/"), p == "google.golang.org/protobuf/proto":
				t.Errorf("%s imports %s; encode through contracts/wire or canon.Message", f.path, p)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	files, _ := sources(t)
	docs := map[string]string{}
	for _, f := range files {
		if _, seen := docs[f.pkg]; !seen {
			docs[f.pkg] = ""
		}
		if f.ast.Doc != nil {
			docs[f.pkg] = f.ast.Doc.Text()
		}
		if ast.IsGenerated(f.ast) {
			docs[f.pkg] = "generated"
		}
	}
	for pkg, doc := range docs {
		if doc == "" {
			t.Errorf("package %s has no comment that says what it is", pkg)
		}
		for _, name := range []string{"util", "utils", "common", "manager", "helpers", "misc"} {
			if filepath.Base(pkg) == name {
				t.Errorf("package %s: the name says nothing", pkg)
			}
		}
	}
}

// Registration is an explicit map: what a program contains can be read in one
// place.
func TestNoInitFunctions(t *testing.T) {
	files, fset := sources(t)
	for _, f := range files {
		if ast.IsGenerated(f.ast) {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: an init function; use an explicit table", fset.Position(fn.Pos()))
			}
		}
	}
}

// The policy itself must fail on what it forbids.
func TestPolicySeesWhatItForbids(t *testing.T) {
	for src, want := range map[string]string{
		"func f() { go f() }":             "GoStmt",
		"func f() { select {} }":          "SelectStmt",
		"func f() { _ = time.Now() }":     "time.Now",
		"func f() { _ = math.Exp(1) }":    "math.Exp",
		"func f() { defer recover() }":    "recover",
		"func f() { proto.Marshal(nil) }": "proto.Marshal",
	} {
		parsed, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+src, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen := false
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if id, ok := n.X.(*ast.Ident); ok {
					name := id.Name + "." + n.Sel.Name
					_, bad := banned[name]
					for _, m := range bannedMath {
						bad = bad || name == "math."+m
					}
					seen = seen || bad && name == want
				}
			case *ast.Ident:
				seen = seen || n.Name == want
			}
			seen = seen || strings.HasSuffix(fmt.Sprintf("%T", n), want)
			return true
		})
		if !seen {
			t.Errorf("%q is not seen", src)
		}
	}
}
