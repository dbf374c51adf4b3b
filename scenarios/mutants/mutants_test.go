package mutants

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// shared is one loader for all tests: listing what is built takes a second.
var shared = sync.OnceValues(func() (*loader, error) { return newLoader("../..") })

// A mutant that is as bad as it can be is built through the overlay, without a
// change of the tree, and found at once.
func TestAKilledMutant(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the hunter")
	}
	const id = "wal/Log.moveTail/lose-field/1"
	m, err := Find("../..", id)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("../..", m.File)
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) == string(m.text) {
		t.Fatal("the mutant changes nothing")
	}
	diff, err := m.Diff("../..")
	if err != nil || !strings.Contains(diff, "\n-") || !strings.Contains(diff, "\n+") {
		t.Errorf("the difference is %q, %v", diff, err)
	}
	b, err := NewBench("../..", 20*time.Second, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Run(context.Background(), m, false)
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != Killed || r.By != "P1" || r.Again == "" {
		t.Errorf("it came to %+v", r)
	}
	if !b.Holds(r, false) {
		t.Error("the result does not hold for the tree that it is of")
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != string(before) {
		t.Errorf("the tree has changed: %v", err)
	}
}

// A tree that does not build is an error that says so, and no score.
func TestATreeThatDoesNotBuild(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.org/broken\n")
	write("cluster/wal/wal.go", "package wal\n\nfunc f() int { return \"no number\" }\n")
	if _, err := Choose(root, 1); err == nil || !strings.Contains(err.Error(), "does not build") {
		t.Errorf("the error is %v", err)
	}
}

// Results outlive an interruption in the middle of a line; the latest counts.
func TestResultsResume(t *testing.T) {
	name := filepath.Join(t.TempDir(), "results.jsonl")
	r, err := OpenResults(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []Result{{ID: "a", Status: Survived}, {ID: "b", Status: Killed}, {ID: "a", Status: Killed, By: "W1"}} {
		if err := r.Put(one); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":"c","sta`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenResults(name); err != nil {
		t.Fatal(err)
	}
	if one, ok := r.Get("a"); !ok || one.By != "W1" {
		t.Errorf("a is %+v", one)
	}
	if _, ok := r.Get("c"); ok {
		t.Error("the line that was cut off counts")
	}
	if err := r.Put(Result{ID: "c", Status: Killed}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenResults(name); err != nil {
		t.Fatal(err)
	}
	if one, ok := r.Get("c"); !ok || one.Status != Killed {
		t.Errorf("c is %+v", one)
	}
	_ = r.Close()
}

// What was killed stays killed when the suite grows; what survived is hunted
// again, also with a larger budget; and everything when the system changes.
func TestWhichResultsHold(t *testing.T) {
	b := &Bench{Budget: time.Minute, system: "s", suite: "u"}
	for _, c := range []struct {
		r    Result
		want bool
	}{
		{Result{Status: Killed, System: "s", Suite: "older"}, true},
		{Result{Status: Killed, System: "older", Suite: "u"}, false},
		{Result{Status: Survived, System: "s", Suite: "u", Budget: time.Minute}, true},
		{Result{Status: Survived, System: "s", Suite: "older", Budget: time.Minute}, false},
		{Result{Status: Survived, System: "s", Suite: "u", Budget: time.Second}, false},
	} {
		if got := b.Holds(c.r, false); got != c.want {
			t.Errorf("%+v holds: %v", c.r, got)
		}
	}
}

// The scenarios of a package come first, and none is left out or doubled.
func TestScenariosOfAPackage(t *testing.T) {
	count := -1
	for _, p := range Packages {
		list, first, err := files("../..", p.Name)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, f := range list {
			if seen[f] {
				t.Errorf("%s: %s is there twice", p.Name, f)
			}
			seen[f] = true
		}
		if first < 5 || count >= 0 && len(list) != count {
			t.Errorf("%s: %d of %d scenarios concern it", p.Name, first, len(list))
		}
		count = len(list)
	}
}

// The table tells arguments from kills.
func TestTable(t *testing.T) {
	r, err := OpenResults(filepath.Join(t.TempDir(), "results.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	list := []*Mutant{
		{ID: "wal/f/forget/1", Package: "wal", Operator: "forget", File: "cluster/wal/f.go", Line: 3, What: "`a || b` is left out"},
		{ID: "wal/g/forget/1", Package: "wal", Operator: "forget", File: "cluster/wal/f.go", Line: 9, What: "`c` is left out"},
		{ID: "oona/h/lie/1", Package: "oona", Operator: "lie", File: "cluster/oona/h.go", Line: 2, What: "`d` is left out"},
	}
	for _, one := range []Result{{ID: list[0].ID, Status: Killed, By: "W1", Runs: 7, CPU: 0.25}, {ID: list[1].ID, Status: Survived, Runs: 900, CPU: 120, Made: 500, Differs: 3}} {
		if err := r.Put(one); err != nil {
			t.Fatal(err)
		}
	}
	text, err := table(list, r, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 mutants: 1 killed, 1 survived, 0 equivalent, 1 not run", "**50 %**", "`a \\|\\| b` is left out | killed | 7 | 0.2", "3 of 500 runs", "| not run |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	if text, err = table(list, r, map[string]string{list[1].ID: "because of this and that"}); err != nil || !strings.Contains(string(text), "**100 %**") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err = table(list, r, map[string]string{list[0].ID: "because of this and that"}); err == nil {
		t.Error("a killed mutant is argued to be equivalent")
	}
	if _, err = table(list, r, map[string]string{"wal/gone/forget/1": "because of this and that"}); err == nil {
		t.Error("an argument about nothing is taken")
	}
}

// A run that never ends is found in the run where it hangs, one that kills its
// process in the one where it dies, and the searches behind them are made. What
// could not begin at all is no finding.
func TestASearchThatHangs(t *testing.T) {
	hunter := filepath.Join(t.TempDir(), "hunter")
	script := `#!/bin/sh
while [ "$1" != "-from" ]; do shift; done
case "$2" in
0) echo '{"begin":true,"runs":0}'; echo '{"runs":9,"by":"W1"}'; echo '{"begin":true,"runs":0}'; echo '{"begin":true,"runs":6}'; exec tail -f /dev/null;;
2) echo '{"begin":true,"runs":3}'; echo '{"beg'; exit 2;;
3) echo '{"runs":40}';;
4) echo "no such scenario" >&2; exit 64;;
esac
`
	if err := os.WriteFile(hunter, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	b := &Bench{Root: ".", Stalled: time.Second}
	counts, by, err := b.search(context.Background(), hunter, "guided", "s.yaml", 4, 40)
	if want := []int{9, 7, 4, 40}; err != nil || !slices.Equal(counts, want) || by != "crash" {
		t.Errorf("the searches took %v, found by %q, %v; want %v", counts, by, err, want)
	}
	if _, err = b.searchOn(context.Background(), hunter, "-from", "4"); err == nil || !strings.Contains(err.Error(), "no such scenario") {
		t.Errorf("what could not begin came to %v", err)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err = b.search(stopped, hunter, "guided", "s.yaml", 4, 40); err == nil {
		t.Error("who is told to stop goes on")
	}
}
