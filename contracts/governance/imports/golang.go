package imports

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-sim/espersim/contracts/governance/finding"
)

// encoders are packages that exist to encode or to build what is encoded: to
// import one is the finding.
var encoders = []string{
	"encoding/gob",
	"github.com/gogo/protobuf",
	"github.com/golang/protobuf/jsonpb",
	"github.com/golang/protobuf/ptypes",
	"github.com/planetscale/vtprotobuf",
	"github.com/vmihailenco/msgpack",
	"google.golang.org/protobuf/encoding", // protojson, prototext, protowire, protodelim
	"google.golang.org/protobuf/runtime",  // what generated code is made of
	"google.golang.org/protobuf/types/dynamicpb",
	"google.golang.org/protobuf/types/known/anypb",
	"google.golang.org/protobuf/types/known/structpb",
}

// libraries serialise and do other things too: their selectors are looked at.
var libraries = map[string]bool{
	"github.com/golang/protobuf/proto": true,
	"google.golang.org/protobuf/proto": true,
}

// serialises says whether a name of package proto encodes, decodes, or tells
// the size of an encoding.
func serialises(name string) bool {
	for _, p := range []string{"Marshal", "Unmarshal", "Size", "Append", "NewBuffer", "Buffer", "EncodeVarint", "DecodeVarint"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// generatedMethods encode or decode by generated code of other plugins,
// whatever they are called on.
var generatedMethods = map[string]bool{
	"MarshalVT": true, "MarshalVTStrict": true, "MarshalToVT": true, "MarshalToVTStrict": true,
	"MarshalToSizedBufferVT": true, "MarshalToSizedBufferVTStrict": true, "SizeVT": true,
	"UnmarshalVT": true, "UnmarshalVTUnsafe": true, "ProtoMethods": true,
	"XXX_Marshal": true, "XXX_Unmarshal": true, "XXX_Size": true,
}

// goFindings checks the Go files.
func (t *tree) goFindings() ([]finding.Finding, error) {
	byFolder := map[string][]finding.Finding{}
	imported := map[string]map[string]bool{} // importers by imported folder
	for _, name := range t.names {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") && !t.Tests {
			continue
		}
		fset := token.NewFileSet()
		// Identifiers are resolved within the file, so that a variable called
		// proto is not taken for the package.
		f, err := parser.ParseFile(fset, name, t.files[name], parser.ParseComments)
		if err != nil {
			return nil, t.placed(name, err)
		}
		folder := path.Dir(name)
		for _, imp := range f.Imports {
			p, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return nil, t.placed(name, err)
			}
			if own, ok := t.folderOf(p); ok && own != folder {
				if imported[own] == nil {
					imported[own] = map[string]bool{}
				}
				imported[own][folder] = true
			}
		}
		if !t.allowed(name) && !(strings.HasSuffix(name, ".pb.go") && ast.IsGenerated(f)) {
			byFolder[folder] = append(byFolder[folder], t.goFile(fset, name, f)...)
		}
	}
	importers := map[string][]string{}
	for own, by := range imported {
		importers[own] = slices.Sorted(maps.Keys(by))
	}
	var all []finding.Finding
	for folder, list := range byFolder {
		by := reached(folder, importers)
		for i := range list {
			list[i].ReachedBy = by
		}
		all = append(all, list...)
	}
	return all, nil
}

func (t *tree) placed(name string, err error) error {
	var list scanner.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		e := list[0]
		return fmt.Errorf("%v: %s; want Go that parses", t.position(name, e.Pos.Line, e.Pos.Column), e.Msg)
	}
	return fmt.Errorf("%s: %w", filepath.Join(t.root, name), err)
}

// folderOf is the folder of an import path of the tree's own modules.
func (t *tree) folderOf(imp string) (string, bool) {
	best, dir, found := "", "", false
	for folder, module := range t.modules {
		if module != "" && (imp == module || strings.HasPrefix(imp, module+"/")) && len(module) > len(best) {
			best, dir, found = module, folder, true
		}
	}
	if !found {
		return "", false
	}
	return path.Join(dir, strings.TrimPrefix(strings.TrimPrefix(imp, best), "/")), true
}

func (t *tree) goFile(fset *token.FileSet, name string, f *ast.File) []finding.Finding {
	var found []finding.Finding
	report := func(n ast.Node, what string) {
		p := fset.Position(n.Pos())
		found = append(found, finding.Finding{Rule: Rule, Position: t.position(name, p.Line, p.Column), What: what, Want: want})
	}
	called := map[string]string{} // package by its name in this file
	for _, imp := range f.Imports {
		p, _ := strconv.Unquote(imp.Path.Value) // goFindings has checked it
		local := path.Base(p)
		if imp.Name != nil {
			local = imp.Name.Name
		}
		switch {
		case encoder(p):
			report(imp, "imports "+p)
		case libraries[p] && local == ".":
			report(imp, fmt.Sprintf("imports %s into its own names, which hides what is used of it", p))
		case libraries[p] && local != "_":
			called[local] = p
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := s.X.(*ast.Ident); ok && id.Obj == nil && called[id.Name] != "" {
			if serialises(s.Sel.Name) {
				report(s, fmt.Sprintf("uses %s.%s of %s", id.Name, s.Sel.Name, called[id.Name]))
			}
			return true
		}
		if generatedMethods[s.Sel.Name] {
			report(s.Sel, "uses the method "+s.Sel.Name)
		}
		return true
	})
	return found
}

func encoder(imp string) bool {
	for _, e := range encoders {
		if imp == e || strings.HasPrefix(imp, e+"/") {
			return true
		}
	}
	return false
}
