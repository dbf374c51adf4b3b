package planted

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// A history that is not linearizable is drawn.
func TestPictureOfAHistory(t *testing.T) {
	for _, b := range bugs {
		if b.id != "R1" && b.id != "R2" {
			continue
		}
		s, err := scenarios.Load(filepath.Join("..", b.file), runner.Catalogue())
		if err != nil {
			t.Fatal(err)
		}
		s.Checks = []string{b.id}
		var page bytes.Buffer
		r, err := runner.Run(s, runner.Options{Seed: 1, Wrap: b.make().wrap(b.role), Picture: func(invariant string, draw func(io.Writer) error) {
			if invariant == b.id && page.Len() == 0 {
				if err := draw(&page); err != nil {
					t.Error(err)
				}
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Violations) == 0 || !strings.Contains(page.String(), "<html") {
			t.Errorf("%s: %d violations, a page of %d bytes", b.id, len(r.Violations), page.Len())
		}
	}
}
