package runner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/faults"
)

// Gaps says what outcomes leave out of all that there is: fault kinds of which
// none was seen at work, and invariants for which no run had anything to judge.
// Each is a sentence.
func Gaps(outcomes []*Outcome) []string {
	fired, judged := map[string]bool{}, map[string]bool{}
	for _, o := range outcomes {
		for k, n := range o.Fired {
			fired[k] = fired[k] || n > 0
		}
		for id, n := range o.Judged {
			judged[id] = judged[id] || n > 0
		}
		for id := range o.Violated {
			judged[id] = true
		}
	}
	var gaps []string
	var kinds, ids []string
	for _, k := range faults.Catalogue() {
		if !fired[k.Name] {
			kinds = append(kinds, k.Name)
		}
	}
	for _, i := range checkers.Catalogue() {
		if !judged[i.ID] {
			ids = append(ids, i.ID)
		}
	}
	slices.Sort(kinds)
	if len(kinds) > 0 {
		gaps = append(gaps, fmt.Sprintf("no run saw these faults: %s", strings.Join(kinds, ", ")))
	}
	if len(ids) > 0 {
		gaps = append(gaps, fmt.Sprintf("no run had anything to judge for these invariants: %s", strings.Join(ids, ", ")))
	}
	return gaps
}
