// Package finding is what the governance checks report: a rule, a place, what
// is wrong there, and what would be right.
package finding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// A Finding is one violation of a rule.
type Finding struct {
	// Rule is the rule's name, such as "map-field".
	Rule string `json:"rule"`
	// Position is where: file, and line and column where they are known.
	schema.Position
	// What is wrong, as part of a sentence without a full stop.
	What string `json:"what"`
	// Want is what would be right.
	Want string `json:"want"`
	// ReachedBy are the packages that import the one with the finding,
	// directly or through others, sorted.
	ReachedBy []string `json:"reached_by,omitempty"`
}

// String is the finding in one line, as compilers write it.
func (f Finding) String() string {
	s := fmt.Sprintf("%v: %s: %s; want %s", f.Position, f.Rule, f.What, f.Want)
	if len(f.ReachedBy) > 0 {
		s += "; reached by " + strings.Join(f.ReachedBy, ", ")
	}
	return s
}

// GitHub is the finding as a workflow command, which GitHub Actions shows
// beside the line.
func (f Finding) GitHub() string {
	at := "file=" + property(f.File)
	if f.Line > 0 {
		at += fmt.Sprintf(",line=%d,col=%d", f.Line, f.Column)
	}
	text := f.What + "; want " + f.Want
	if len(f.ReachedBy) > 0 {
		text += "; reached by " + strings.Join(f.ReachedBy, ", ")
	}
	return fmt.Sprintf("::error %s,title=%s::%s", at, property(f.Rule), data(text))
}

// A file name or a text of the schema could end the command and begin another.
var data = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(s))
}

// Sort orders findings by place, then by rule and text.
func Sort(list []Finding) {
	slices.SortFunc(list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.What, b.What))
	})
}
