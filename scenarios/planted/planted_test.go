package planted

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/esper-sim/espersim/checkers"
)

var update = flag.Bool("update", false, "write docs/planted.md")

// TestPlantedBugs is the proof of each checker: a bug in the real system, and
// the run that finds it. The same run without the bug is clean.
func TestPlantedBugs(t *testing.T) {
	seeds := map[string]int{}
	liars := 0
	for _, b := range bugs {
		if b.liar {
			liars++
		}
		t.Run(b.id, func(t *testing.T) {
			n, err := b.Hunt("..")
			if err != nil {
				t.Fatal(err)
			}
			seeds[b.id] = n
		})
	}
	for _, s := range Statics() {
		t.Run(s.ID, func(t *testing.T) {
			if err := s.Hunt(filepath.Join("..", "..")); err != nil {
				t.Fatal(err)
			}
		})
	}
	if liars < 3 {
		t.Errorf("%d of the bugs lie in their facts; want at least 3", liars)
	}
	text := Document(seeds)
	t.Log("\n" + text)
	path := filepath.Join("..", "..", "docs", "planted.md")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !t.Failed() && string(want) != text {
		t.Error("docs/planted.md is not what this test finds: run it with -update")
	}
}

// partI are the ids of the digest's part I.
var partI = []string{
	"C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11",
	"O1", "O2", "O3", "O4", "O5", "O6", "O7", "O8", "O9",
	"A1", "A2", "A3", "A4", "A5", "A6", "A7",
	"K1", "K2", "K3", "K4", "K5", "K6", "K7", "K8",
	"T1", "T2", "T3", "T4", "T5", "T6", "T7",
	"W1", "W2", "W3", "W4", "W5", "W6",
	"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10",
	"J1", "J2", "J3",
	"L1", "L2", "L3", "L4", "L5", "L6", "L7",
}

// The catalogue has every invariant of the digest's part I, and each row says
// all there is to say: no id is missing, and no column is empty.
func TestTheCatalogueIsWhole(t *testing.T) {
	if len(partI) != 68 {
		t.Fatalf("%d ids; part I has 68", len(partI))
	}
	rows := map[string]Row{}
	for _, r := range Rows() {
		if _, twice := rows[r.ID]; twice {
			t.Errorf("%s is in the catalogue twice", r.ID)
		}
		rows[r.ID] = r
		for column, text := range map[string]string{"statement": r.Statement, "source": r.Source, "checker": r.Checker, "planted bug": r.Bug, "scenario": r.Scenario} {
			if text == "" {
				t.Errorf("%s: the column %q is empty", r.ID, column)
			}
		}
	}
	for _, id := range partI {
		if _, have := rows[id]; !have {
			t.Errorf("%s is not in the catalogue", id)
		}
	}
	for _, inv := range checkers.Catalogue() {
		if _, have := rows[inv.ID]; !have {
			t.Errorf("%s has no row", inv.ID)
		}
	}
}
