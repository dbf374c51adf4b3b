package contractstest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/contracts/governance/compat"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// Option narrows what Evolve complains about.
type Option func(*options)

type options struct {
	allowed  map[string]bool
	used     map[string]bool
	policy   bool
	evidence bool
	frozen   []string
}

// AllowLossy accepts the change of the named field, enum value or method, such
// as "x.v1.Item.count", whatever it loses and whatever the policy says of it. A
// name at which nothing is lost or forbidden fails the test: what is allowed
// without need hides the next loss.
func AllowLossy(names ...string) Option {
	return func(o *options) {
		for _, n := range names {
			o.allowed[n] = true
		}
	}
}

// PolicyOnly looks at declarations only: a change that needs a major version
// fails, one that loses something does not.
func PolicyOnly() Option { return func(o *options) { o.evidence = false } }

// EvidenceOnly looks at messages only: a change that loses something fails, one
// that the policy forbids does not.
func EvidenceOnly() Option { return func(o *options) { o.policy = false } }

// Frozen names packages that may not change at all.
func Frozen(packages ...string) Option {
	return func(o *options) { o.frozen = append(o.frozen, packages...) }
}

// Evolve compares two versions of a schema, given as .proto files by import
// path, and fails t for every change that needs a major version or loses
// something in either direction, with the message that shows it. It returns
// the report.
func Evolve(t testing.TB, oldFiles, newFiles map[string]string, opts ...Option) *compat.Report {
	t.Helper()
	o := options{allowed: map[string]bool{}, used: map[string]bool{}, policy: true, evidence: true}
	for _, opt := range opts {
		opt(&o)
	}
	old, err := schema.FromSources("old", oldFiles)
	if err != nil {
		t.Fatalf("the old schema: %v", err)
	}
	new, err := schema.FromSources("new", newFiles)
	if err != nil {
		t.Fatalf("the new schema: %v", err)
	}
	checker := compat.New()
	checker.Frozen = o.frozen
	r := checker.Compare(old, new)
	for _, c := range r.Changes {
		for _, p := range o.problems(c) {
			t.Errorf("%s: %s\n%s", c.Position, c.Text, p)
		}
	}
	for name := range o.allowed {
		if !o.used[name] {
			t.Errorf("AllowLossy(%q): nothing is lost or forbidden there; want the option gone", name)
		}
	}
	return r
}

func (o *options) problems(c compat.Change) (out []string) {
	if c.Frozen {
		out = append(out, fmt.Sprintf("  package %s is frozen", c.Package))
	}
	if c.Level == compat.Major && o.policy && !o.allowed[c.Subject] {
		out = append(out, fmt.Sprintf("  major: %s", c.Reason))
	}
	if c.Level == compat.Major && o.policy && o.allowed[c.Subject] {
		o.used[c.Subject] = true
	}
	if !o.evidence {
		return out
	}
	for _, way := range []struct {
		name string
		e    compat.Evidence
	}{{"old writer, new reader", c.OldToNew}, {"new writer, old reader", c.NewToOld}} {
		if way.e.Class.Clean() {
			continue
		}
		if o.allowed[c.Subject] {
			o.used[c.Subject] = true
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "  %s: %s", way.name, way.e.Class)
		if w := way.e.Witness; w != nil {
			fmt.Fprintf(&b, "\n    written   %s %s\n    bytes     %s\n    seen      %s", w.Message, w.Written, w.Hex, w.Seen)
			if w.Back != "" {
				fmt.Fprintf(&b, "\n    relay     %s\n    read back %s", w.Relay, w.Back)
			}
		}
		out = append(out, b.String())
	}
	return out
}
