package policy

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/cluster"
	"github.com/esper-sim/espersim/faults"
)

// marks are the calls that name a probe or a site, by the name of the method.
var marks = map[string]string{"Reached": "probe", "reached": "probe", "Sometimes": "site", "sometimes": "site"}

// A sweep says which probes were never reached, and a swarm draws among the
// sites: both lists hold what stands in the source, and nothing else.
func TestProbesAndSitesAreListed(t *testing.T) {
	files, fset := sources(t)
	found := map[string][]string{}
	for _, f := range files {
		if f.test || !under(f.pkg, "cluster") || under(f.pkg, "cluster/live", "cluster/actor") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || marks[sel.Sel.Name] == "" {
				return true
			}
			lit, ok := call.Args[0].(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				// The one place of each package that hands a name on.
				if id, ok := call.Args[0].(*ast.Ident); !ok || id.Name != "name" && id.Name != "site" {
					t.Errorf("%s: the name is no literal", fset.Position(call.Pos()))
				}
				return true
			}
			name, _ := strconv.Unquote(lit.Value) // the parser has checked it
			what := marks[sel.Sel.Name]
			if what == "site" && !strings.Contains(name, "/") {
				if faults.Lookup("bus/"+name) == nil && faults.Lookup("kernel/"+name) == nil && faults.Lookup("training/"+name) == nil {
					t.Errorf("%s: the site %q is no fault's", fset.Position(call.Pos()), name)
				}
				return true
			}
			if !slices.Contains(found[what], name) {
				found[what] = append(found[what], name)
			}
			return true
		})
	}
	for what, listed := range map[string][]string{"probe": cluster.ProbeNames(), "site": faults.SiteNames()} {
		if !slices.IsSorted(listed) {
			t.Errorf("the list of %ss is not sorted", what)
		}
		for _, name := range found[what] {
			if !slices.Contains(listed, name) {
				t.Errorf("the %s %q is not in the list", what, name)
			}
		}
		for _, name := range listed {
			if !slices.Contains(found[what], name) {
				t.Errorf("the %s %q is in the list, and not in the source", what, name)
			}
		}
	}
}
