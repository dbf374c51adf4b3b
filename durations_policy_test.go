package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

const durationpb = "google.golang.org/protobuf/types/known/durationpb"

// rawDurations are the files that may take Durations apart, each with the
// reason.
var rawDurations = map[string]string{
	"contracts/durations/durations.go":       "the conversions",
	"contracts/governance/dynamic/accept.go": "judges Durations of messages that were not compiled in, invalid ones above all",
}

// rawDuration says what converts a Duration by hand, or is empty: New and
// AsDuration, which takes 10,000 years for 292, and the parts themselves. local
// is the name of package durationpb in the file.
func rawDuration(n ast.Node, local string) string {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		if id, ok := n.X.(*ast.Ident); ok && local != "" && id.Name == local && n.Sel.Name == "New" {
			return "durationpb.New; use durations.From or FromMS"
		}
		if n.Sel.Name == "AsDuration" {
			return "AsDuration; use durations.To, Budget or Within"
		}
	case *ast.CompositeLit:
		if s, ok := n.Type.(*ast.SelectorExpr); ok && len(n.Elts) > 0 {
			if id, ok := s.X.(*ast.Ident); ok && local != "" && id.Name == local && s.Sel.Name == "Duration" {
				return "a Duration from its parts; use durations.From or FromMS"
			}
		}
	}
	return ""
}

// durationName is what a file calls package durationpb.
func durationName(f *ast.File) string {
	for _, imp := range f.Imports {
		if p, _ := strconv.Unquote(imp.Path.Value); p == durationpb { // the parser has checked it
			if imp.Name != nil {
				return imp.Name.Name
			}
			return "durationpb"
		}
	}
	return ""
}

// Durations are converted in one package (C8): floor division makes −1 ms
// invalid, truncation makes 18.999999 ms fit into 18.
func TestDurationsAreConvertedInOnePlace(t *testing.T) {
	files, fset := sources(t)
	for _, f := range files {
		if f.test || ast.IsGenerated(f.ast) || rawDurations[f.path] != "" {
			continue
		}
		local := durationName(f.ast)
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if what := rawDuration(n, local); what != "" {
				t.Errorf("%s: %s", fset.Position(n.Pos()), what)
			}
			return true
		})
	}
}

func TestDurationPolicySeesWhatItForbids(t *testing.T) {
	for src, want := range map[string]bool{
		`import "` + durationpb + `"; var d = durationpb.New(1)`:                         true,
		`import x "` + durationpb + `"; var d = x.New(1)`:                                true,
		`import x "` + durationpb + `"; var d = &x.Duration{Seconds: 1}`:                 true,
		`func f(m interface{ AsDuration() int64 }) { m.AsDuration() }`:                   true,
		`import "` + durationpb + `"; var d durationpb.Duration; var e = &d; var f = *e`: false,
		`import "` + durationpb + `"; var d = new(durationpb.Duration)`:                  false,
		`import durationpb "example.com/mine"; var d = durationpb.New(1)`:                false,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+src, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen := false
		ast.Inspect(f, func(n ast.Node) bool {
			seen = seen || rawDuration(n, durationName(f)) != ""
			return true
		})
		if seen != want {
			t.Errorf("%s: seen %v", src, seen)
		}
	}
}
