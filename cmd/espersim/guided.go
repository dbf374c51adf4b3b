package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/esper-sim/espersim/contracts/governance/compat"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/guided"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim"
)

// guidedReport is the result for one scenario as JSON.
type guidedReport struct {
	Scenario string          `json:"scenario"`
	Runs     int             `json:"runs"`
	States   int             `json:"states"`
	Plans    int             `json:"plans"`
	Failures []guidedFailure `json:"failures"`
}

type guidedFailure struct {
	Signature runner.Signature `json:"signature"`
	Run       int              `json:"run"` // its number in the search
	Plan      string           `json:"plan"`
	Again     string           `json:"again"`
}

// explicit is a scenario with a plan in the place of its chance, and nothing
// that a sweep of it would demand.
func explicit(s *scenarios.Scenario, steps []faults.Step, seed uint64) (*scenarios.Scenario, error) {
	draw, err := s.Draw(0, sim.NewSource(seed))
	if err != nil {
		return nil, err
	}
	c := s.Explicit(steps, draw)
	c.MustFire, c.MustReach = nil, nil
	return c, nil
}

// guide hunts in one scenario after the other. --seeds is the number of runs
// then, and the budget is shared out.
func (o *sweepOptions) guide(list []*scenarios.Scenario, h runner.Hunt, out, stderr io.Writer) error {
	switch {
	case o.bundle == "":
		return errors.New("--guided needs --bundle, the folder for the plans that fail: no run seed alone makes them")
	case o.log != "" || o.shard != "" || o.junit != "" || o.github:
		return errors.New("--guided is one search, each run of which depends on those before: it takes no --log, --shard, --junit or --github")
	}
	code := runner.ExitClean
	for _, s := range list {
		if s.Enumerate != nil {
			fmt.Fprintf(stderr, "%s: it enumerates, and is left out\n", s.File)
			continue
		}
		bar := newBar(stderr)
		budget := h.Budget / time.Duration(len(list))
		r, err := guided.Hunt(s, guided.Options{Seed: h.First, Runs: h.Seeds, Budget: budget, StopFirst: h.StopFirst,
			Progress: func(runs, states, plans int) {
				if h.Seeds > 0 {
					bar.set(runs, h.Seeds)
				} else {
					bar.set(int(time.Since(bar.began).Milliseconds()), max(int(budget.Milliseconds()), 1))
				}
			}})
		bar.done()
		if err != nil {
			return err
		}
		report := guidedReport{Scenario: s.File, Runs: r.Runs, States: r.States, Plans: r.Plans, Failures: []guidedFailure{}}
		for i, f := range r.Failures {
			name := fmt.Sprintf("%s-guided-%d-%d.yaml", strings.TrimSuffix(filepath.Base(s.File), ".yaml"), h.First, i+1)
			to := filepath.Join(o.bundle, notAName.ReplaceAllString(name, "-"))
			if _, err := noteIn(o.bundle); err != nil {
				return err
			}
			plain, err := explicit(s, f.Steps, f.Run.RunSeed)
			if err != nil {
				return err
			}
			text, err := scenarios.Format(plain)
			if err != nil {
				return err
			}
			if err := writeWhole(to, text); err != nil {
				return err
			}
			report.Failures = append(report.Failures, guidedFailure{f.Signature, f.At, to,
				fmt.Sprintf("espersim replay %s --seed %d", compat.Quote(to), f.Run.RunSeed)})
			switch {
			case f.Run.Verdict == runner.Broken:
				code = runner.ExitHarness
			case code != runner.ExitHarness && f.Run.Verdict == runner.Violated:
				code = runner.ExitViolated
			case code == runner.ExitClean:
				code = runner.ExitStuck
			}
		}
		if o.json {
			if err := json.NewEncoder(out).Encode(report); err != nil {
				return err
			}
			continue
		}
		for i, f := range report.Failures {
			fmt.Fprintf(out, "%v\n   in run %d: %s\n   again: %s\n   small: espersim shrink %s --seed %d\n\n", f.Signature, f.Run,
				r.Failures[i].Run.Failure(), f.Again, compat.Quote(f.Plan), r.Failures[i].Run.RunSeed)
		}
		fmt.Fprintf(out, "%s: %d runs, %d states, %d plans that reached new ones, %d failures\n", s.File, r.Runs, r.States, r.Plans, len(r.Failures))
	}
	if code != runner.ExitClean {
		return exit{code}
	}
	return nil
}
