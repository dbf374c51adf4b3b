// Package planted holds, for each invariant, a bug that breaks it, and the run
// that finds it: the proof that the checker of the invariant sees something.
//
// A bug of a process stands at the seam between it and the world
// (runner.Options.Wrap), so that what is judged is the real system with one thing
// wrong. A bug of the contracts is a change to a copy of their sources, which the
// check that is named must find (see [Static]).
//
//   - [Bugs], [Bug]: the table.
//   - [Bug.Hunt]: the run with the bug that finds it, and the same without.
//   - [Rows], [Row]: the catalogue of invariants with all that proves each.
package planted

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// A Bug is planted into one process, and breaks one invariant.
type Bug = planted

// MostSeeds is how many runs a bug may take to be found.
const MostSeeds = 20

// Bugs lists them all.
func Bugs() []Bug { return bugs }

// Invariant is the id of what it breaks.
func (b planted) Invariant() string { return b.id }

// Where is the role of the process that it is in.
func (b planted) Where() string { return b.role }

// What says in words what is wrong.
func (b planted) What() string { return b.bug }

// Liar says that the facts of the process with the bug claim that all is well.
func (b planted) Liar() bool { return b.liar }

// File is the scenario that finds it, or "inline".
func (b planted) File() string {
	if strings.HasSuffix(b.file, ".yaml") {
		return b.file
	}
	return "inline"
}

// Scenario is what finds the bug, or with broken the same with the bug where it
// is in the role's own options. folder holds the scenario files.
func (b planted) Scenario(folder string, broken bool) (*scenarios.Scenario, error) {
	text := b.file
	if broken && b.broken != "" {
		text = b.broken
	}
	var s *scenarios.Scenario
	var err error
	if strings.HasSuffix(text, ".yaml") {
		s, err = scenarios.Load(filepath.Join(folder, filepath.FromSlash(text)), runner.Catalogue())
	} else {
		s, err = scenarios.Parse("planted.yaml", []byte(text), runner.Catalogue())
	}
	if err != nil {
		return nil, err
	}
	s.Checks = []string{b.id}
	return s, nil
}

// Wrapper makes the bug anew for each run; nil where it is in the scenario.
func (b planted) Wrapper() func() runner.Wrapper {
	switch {
	case b.id == "A3":
		return func() runner.Wrapper { return unsigned() }
	case b.make != nil:
		return func() runner.Wrapper { return b.make().wrap(b.role) }
	}
	return nil
}

// Found says whether a run was found guilty of an invariant.
func Found(r *runner.Result, id string) bool {
	for _, v := range r.Violations {
		if v.Invariant == id {
			return true
		}
	}
	return false
}

// Hunt runs with the bug until its invariant is violated, and says how many run
// seeds that took. The same run without the bug must be judged and clean. folder
// holds the scenario files.
func (b planted) Hunt(folder string) (seeds int, err error) {
	s, err := b.Scenario(folder, true)
	if err != nil {
		return 0, err
	}
	clean, err := b.Scenario(folder, false)
	if err != nil {
		return 0, err
	}
	for seed := uint64(1); seed <= MostSeeds; seed++ {
		r, err := runner.Run(s, runner.Options{Seed: seed, All: true, Wrap: runner.Make(b.Wrapper())})
		if err != nil {
			return 0, err
		}
		if r.Error != "" {
			return 0, fmt.Errorf("%s: the run with the bug failed: %s", b.id, r.Error)
		}
		if !Found(r, b.id) {
			continue
		}
		if r, err = runner.Run(clean, runner.Options{Seed: seed}); err != nil {
			return 0, err
		}
		if r.Verdict != runner.Clean || r.Judged[b.id] == 0 {
			return 0, fmt.Errorf("%s: without the bug: %s %s %v, judged %d times", b.id, r.Verdict, r.Error, r.Violations, r.Judged[b.id])
		}
		return int(seed), nil
	}
	return 0, fmt.Errorf("%s: the bug was not found in %d runs: %s", b.id, MostSeeds, b.bug)
}

// Unsynced is a bug for witnesses: the syncs of a role say yes and do nothing.
func Unsynced(role string) runner.Wrapper { return (&hooks{nosync: true}).wrap(role) }
