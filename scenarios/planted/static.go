package planted

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/esper-sim/espersim/contracts/governance/finding"
	"github.com/esper-sim/espersim/contracts/governance/golden"
	"github.com/esper-sim/espersim/contracts/governance/imports"
	"github.com/esper-sim/espersim/contracts/governance/lint"
	"github.com/esper-sim/espersim/contracts/governance/manifest"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/contracts/governance/settings"
	"github.com/esper-sim/espersim/contracts/wire"
)

// A Static is an invariant that no run can break, since what it is about is
// decided before one starts: by the contracts' sources or by the code. A check
// over those judges it, and its planted bug is a change to a copy of them.
type Static struct {
	ID        string
	Statement string
	Source    string
	Checker   string // the command that checks, and the test that runs it
	Where     string // the file that the bug is in
	Bug       string
	rule      string // that finds it
	change    func(text string) (string, error)
	check     func(root string) ([]finding.Finding, error) // of a tree like the repository
	parts     []string                                     // of the tree that the check needs
}

// Statics lists them.
func Statics() []Static { return statics }

var statics = []Static{
	{ID: "C1", Statement: "no message that crosses a plane has a map, at any depth", Source: "HLD 8.0.1 I5",
		Checker: "espersim contracts lint (map-field)", Where: "contracts/v2/telemetry.proto", Bug: "a map of labels in the telemetry of seeds",
		rule: lint.MapField, change: replace("message SeedTelemetry {", "message SeedTelemetry {\n  map<string, string> labels = 900;"),
		check: linted, parts: contractsOnly},
	{ID: "C3", Statement: "the fixture value of each message type encodes to the stored golden bytes, in every language", Source: "HLD 8.0.7",
		Checker: "espersim contracts golden; contracts/governance/crosslang.TestCoverage", Where: "contracts/golden/fixtures.yaml", Bug: "another learning rate in a fixture than in its golden bytes",
		rule: "golden", change: replace("learning_rate: 0.001", "learning_rate: 0.002"),
		check: goldens, parts: contractsOnly},
	{ID: "C4", Statement: "descriptors that are not those of the manifest's hash have a raised version: minor for additions, major for what is forbidden", Source: "HLD 8.0.1 I1",
		Checker: "espersim contracts versions (version-bump)", Where: "contracts/v2/pause.proto", Bug: "a new field under the old version",
		rule: manifest.Changed, change: replace("message ResumeRequest {", "message ResumeRequest {\n  string note = 900;"),
		check: versioned, parts: contractsOnly},
	{ID: "C5", Statement: "within a major version no field number, type, name or enum value is removed, reused or reordered, also with its reservation", Source: "HLD 8.4",
		Checker: "espersim contracts breaking (policy)", Where: "contracts/v2/training.proto", Bug: "a field is taken away, and its number and name are reserved",
		rule: "major", change: replace("  int32 batch = 3;\n  int32 width = 4;\n  repeated float gradients = 5;", "  reserved 3;\n  reserved \"batch\";\n  int32 width = 4;\n  repeated float gradients = 5;"),
		check: compatible, parts: contractsOnly},
	{ID: "C6", Statement: "encoding and decoding happen in the generated codec and nowhere else", Source: "HLD 8.0.1 I2, I4",
		Checker: "espersim contracts lint (manual-serialisation)", Where: "cluster/tolaria/state.go", Bug: "a subsystem that encodes a message by itself",
		rule: imports.Rule, change: func(text string) (string, error) {
			return strings.Replace(text, "import (", "import (\n\t\"google.golang.org/protobuf/proto\"", 1) +
				"\n\nfunc planted(m proto.Message) ([]byte, error) { return proto.Marshal(m) }\n", nil
		}, check: codec, parts: []string{"go.mod", "cluster", "contracts/build/protobuf.yaml"}},
	{ID: "C7", Statement: "no field that counts has a floating type", Source: "HLD 8.0.2",
		Checker: "espersim contracts lint (float-counter)", Where: "contracts/v2/training.proto", Bug: "a floating count of samples",
		rule: lint.FloatCounter, change: replace("  int32 batch = 3;\n  int32 width = 4;\n  repeated float gradients = 5;", "  float batch_count = 3;\n  int32 width = 4;\n  repeated float gradients = 5;"),
		check: linted, parts: contractsOnly},
}

var contractsOnly = []string{"contracts"}

func replace(old, new string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !strings.Contains(text, old) {
			return "", fmt.Errorf("%q is not there any more", old)
		}
		return strings.Replace(text, old, new, 1), nil
	}
}

// linted is what the linter says of the contracts.
func linted(root string) ([]finding.Finding, error) {
	dir := filepath.Join(root, "contracts")
	s, err := schema.LoadDir(dir)
	if err != nil {
		return nil, err
	}
	own, err := settings.Read(dir)
	if err != nil {
		return nil, err
	}
	rules := lint.Settings{Topics: wire.Topics, Consumers: wire.Consumers}
	if rules.Planes, err = own.PlaneOf(); err != nil {
		return nil, err
	}
	return lint.Check(s, rules), nil
}

func goldens(root string) (found []finding.Finding, err error) {
	r, err := golden.Check(filepath.Join(root, "contracts"))
	if err != nil {
		return nil, err
	}
	for _, m := range r.Mismatches {
		found = append(found, finding.Finding{Rule: "golden", What: m.String()})
	}
	return found, nil
}

func versioned(root string) ([]finding.Finding, error) {
	dir := filepath.Join(root, "contracts")
	s, err := schema.LoadDir(dir)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Load(dir)
	if err != nil {
		return nil, err
	}
	return m.Check(s, manifest.Policy)
}

// compatible compares the contracts with the newest release of each version.
func compatible(root string) (found []finding.Finding, err error) {
	dir := filepath.Join(root, "contracts")
	s, err := schema.LoadDir(dir)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Load(dir)
	if err != nil {
		return nil, err
	}
	all, err := m.Propose(s, manifest.Policy)
	for _, p := range all {
		if p.Verdict == manifest.Major {
			found = append(found, finding.Finding{Rule: "major", What: strings.Join(p.Why, "; ")})
		}
	}
	return found, err
}

// codec looks for hand-made serialisation in the subsystems.
func codec(root string) ([]finding.Finding, error) {
	own, err := settings.Read(filepath.Join(root, "contracts"))
	if err != nil {
		return nil, err
	}
	exempt := imports.Settings{Allowed: own.Serialisation.Allowed, Tests: own.Serialisation.Tests}
	return imports.Check(filepath.Join(root, "cluster"), exempt.Within("cluster"))
}

// Hunt checks the repository at root, which must be clean, and then a copy with
// the bug, which must be found.
func (s Static) Hunt(root string) error {
	found, err := s.check(root)
	if err != nil {
		return fmt.Errorf("%s: %w", s.ID, err)
	}
	for _, f := range found {
		if f.Rule == s.rule {
			return fmt.Errorf("%s: without the bug: %v", s.ID, f)
		}
	}
	copied, err := os.MkdirTemp("", "espersim-planted-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(copied)
	if err := s.plant(root, copied); err != nil {
		return fmt.Errorf("%s: %w", s.ID, err)
	}
	if found, err = s.check(copied); err != nil {
		return fmt.Errorf("%s: with the bug: %w", s.ID, err)
	}
	for _, f := range found {
		if f.Rule == s.rule {
			return nil
		}
	}
	return fmt.Errorf("%s: the bug was not found: %s", s.ID, s.Bug)
}

// plant copies what the check needs, with the bug in it.
func (s Static) plant(root, to string) error {
	for _, part := range s.parts {
		err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(part)), func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			if d.IsDir() {
				if rel == filepath.Join("contracts", "generated") {
					return fs.SkipDir
				}
				return os.MkdirAll(filepath.Join(to, rel), 0o755)
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), text, 0o644)
		})
		if err != nil {
			return err
		}
	}
	name := filepath.Join(to, filepath.FromSlash(s.Where))
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	changed, err := s.change(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", s.Where, err)
	}
	return os.WriteFile(name, []byte(changed), 0o644)
}
