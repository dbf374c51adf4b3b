package manifest

import (
	"fmt"

	"github.com/esper-sim/espersim/contracts/governance/compat"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// A Verdict is what a change of a schema asks of its version.
type Verdict int

// The verdicts, the lightest first.
const (
	None  Verdict = iota // nothing changed
	Minor                // additions: the minor version rises
	Major                // a new package, .vN+1
)

func (v Verdict) String() string {
	switch v {
	case None:
		return "none"
	case Minor:
		return "minor"
	case Major:
		return "major"
	}
	return fmt.Sprintf("Verdict(%d)", int(v))
}

// A Judge says what the change from one schema to another asks for, and why:
// one line for each change, those that ask for most first.
type Judge func(old, new *schema.Schema) (Verdict, []string, error)

// Policy is the Judge of the compatibility rules (HLD section 8.4), as package
// compat has them.
func Policy(old, new *schema.Schema) (Verdict, []string, error) {
	r := compat.Compare(old, new)
	var why []string
	for level := compat.Major; level > compat.None; level-- {
		for _, c := range r.Changes {
			if c.Level == level {
				why = append(why, c.Text)
			}
		}
	}
	return verdicts[r.Bump], why, nil
}

var verdicts = map[compat.Level]Verdict{compat.None: None, compat.Minor: Minor, compat.Major: Major}
