package scenarios_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// Every scenario of the tree comes back from what Format makes of it.
func TestFormatReadsBack(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".yaml") || strings.HasPrefix(name, "models") || strings.HasPrefix(name, "testdata") {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s, err := scenarios.Parse(name, b, runner.Catalogue())
		if err != nil {
			return err
		}
		text, err := scenarios.Format(s)
		if err != nil {
			return err
		}
		again, err := scenarios.Parse(name, text, runner.Catalogue())
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			return nil
		}
		for _, x := range []*scenarios.Scenario{s, again} {
			for i := range x.Cluster.Nodes {
				for k := range x.Cluster.Nodes[i].Options.Values {
					o := &x.Cluster.Nodes[i].Options.Values[k]
					o.Line, o.Column = 0, 0
				}
			}
			if x.Expect.Clean() {
				x.Expect = nil
			}
		}
		if !reflect.DeepEqual(s, again) {
			t.Errorf("%s comes back as another\n%s", name, text)
		}
		seen++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 60 {
		t.Errorf("%d scenarios", seen)
	}
}
