package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/scenarios/planted"
)

// mayBeOpen are the features that may be anything but working: what needs HTTP,
// TLS or the SDK.
var mayBeOpen = []string{"F72", "F74", "F75", "F76", "F77", "F78", "F82"}

var featureRow = regexp.MustCompile(`(?m)^\| (F\d+) \| (.+?) \| (.+?) \| (.+?) \| (.*?) \|$`)

// Every feature has its row; what works names evidence that exists.
func TestFeaturesHaveEvidence(t *testing.T) {
	text, err := os.ReadFile("docs/FEATURES.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := featureRow.FindAllStringSubmatch(string(text), -1)
	if len(rows) != 117 {
		t.Fatalf("%d rows; want F01 to F117", len(rows))
	}
	for i, r := range rows {
		id, state, evidence := r[1], r[4], r[5]
		if want := fmt.Sprintf("F%02d", i+1); id != want {
			t.Errorf("row %s; want %s", id, want)
		}
		switch {
		case state == "works":
			if evidence == "" {
				t.Errorf("%s works, and nothing shows it", id)
			}
		case strings.HasPrefix(state, "rows F"): // acceptance: what it is made of
		case strings.HasPrefix(state, "open: "):
			if !slices.Contains(mayBeOpen, id) {
				t.Errorf("%s is open", id)
			}
		default:
			t.Errorf("%s: the state %q; want works, rows or open:", id, state)
		}
		for e := range strings.SplitSeq(evidence, ", ") {
			if e != "" {
				if err := shown(e); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		}
	}
}

// shown checks one piece of evidence: an invariant, a scenario, or a package and
// its test.
func shown(e string) error {
	where, test, isTest := strings.Cut(strings.TrimPrefix(e, "`"), "` ")
	switch {
	case isTest:
		files, err := filepath.Glob(filepath.Join(where, "*_test.go"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no tests in %s", where)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if strings.Contains(string(b), "func "+test+"(") {
				return nil
			}
		}
		return fmt.Errorf("no %s in %s", test, where)
	case strings.HasPrefix(e, "`"):
		_, err := os.Stat(strings.Trim(e, "`"))
		return err
	}
	if !slices.ContainsFunc(planted.Rows(), func(r planted.Row) bool { return r.ID == e }) {
		return fmt.Errorf("no invariant %s", e)
	}
	return nil
}

// pair is what the name of a scenario of the tour ends with.
const asWritten, ours = "-as-written.yaml", "-ours.yaml"

// Every defect of the requirements document has evidence that exists, and every
// scenario of the tour has a pair with the same plan.
func TestTourOfTheDesign(t *testing.T) {
	text, err := os.ReadFile("docs/hld.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| .+ \| (.+?) \|$`).FindAllStringSubmatch(string(text), -1)
	if len(rows) != 62 {
		t.Fatalf("%d rows; want the 62 defects", len(rows))
	}
	for i, r := range rows {
		if r[1] != fmt.Sprint(i+1) {
			t.Errorf("row %s; want %d", r[1], i+1)
		}
		for e := range strings.SplitSeq(r[2], ", ") {
			if err := shown(e); err != nil {
				t.Errorf("defect %s: %v", r[1], err)
			}
		}
	}
	plan := regexp.MustCompile(`(?ms)^(?:plan|random):\n.*?^(?:checks|expect)`)
	files, err := filepath.Glob("scenarios/hld/*" + ours)
	if err != nil || len(files) == 0 {
		t.Fatalf("no tour: %v", err)
	}
	for _, f := range files {
		of, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		other := strings.TrimSuffix(f, ours)
		theirs, err := os.ReadFile(other + asWritten)
		if err != nil {
			theirs, err = os.ReadFile(other + ".yaml")
		}
		if err != nil {
			t.Errorf("%s: no pair: %v", f, err)
			continue
		}
		if a, b := plan.FindString(string(of)), plan.FindString(string(theirs)); a == "" || a != b {
			t.Errorf("%s: the plan is not that of its pair", f)
		}
	}
}
