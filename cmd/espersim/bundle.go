package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/bundle"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// notes are the runs under way, one file a worker: if this program dies in one,
// the file says which it was.
type notes struct {
	dir   string
	files map[string]bool
}

// running is the content of such a file.
type running struct {
	Scenario string   `json:"scenario"`
	RunSeed  uint64   `json:"run_seed"`
	N        int      `json:"n,omitempty"`
	Plan     []string `json:"plan"`
	Again    string   `json:"again"`
}

func noteIn(dir string) (*notes, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return &notes{dir: dir, files: map[string]bool{}}, nil
}

func (k *notes) name(job int) string {
	return filepath.Join(k.dir, fmt.Sprintf("running-%d.json", job))
}

// before writes down a run that begins.
func (k *notes) before(job int, s *scenarios.Scenario, seed uint64, n int, steps []faults.Step) error {
	r := running{Scenario: s.File, RunSeed: seed, N: n, Plan: []string{},
		Again: again(s, seed, n)}
	for _, st := range steps {
		r.Plan = append(r.Plan, st.String())
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(k.name(job), append(b, '\n'), 0o644)
}

// again is the command that makes a run once more.
func again(s *scenarios.Scenario, seed uint64, n int) string {
	r := runner.Result{Scenario: s.File, RunSeed: seed, N: n}
	if s.SwarmGiven {
		r.SwarmGiven = s.Swarm
	}
	return r.Repro()
}

// done removes the files: every run has ended.
func (k *notes) done(jobs int) error {
	var all error
	for job := range jobs {
		if err := os.Remove(k.name(job)); err != nil && !errors.Is(err, os.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return all
}

var notAName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// bundled writes the bundle of a failing run into a new folder below dir, and
// returns it. With a budget the run is shrunk, too.
func bundled(dir string, s *scenarios.Scenario, r *runner.Result, budget time.Duration) (string, error) {
	base := fmt.Sprintf("%s-seed-%d", strings.TrimSuffix(filepath.Base(s.File), ".yaml"), r.RunSeed)
	if r.N != 0 {
		base += fmt.Sprintf("-n-%d", r.N)
	}
	to := filepath.Join(dir, notAName.ReplaceAllString(base, "-"))
	b, err := bundle.Begin(to, s, r.RunSeed, r.N, commit())
	if errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("%s is there already; want a new folder", to)
	}
	if err == nil {
		err = b.Plan(r.Plan)
	}
	if err == nil {
		err = b.Finish(r, budget)
	}
	return to, err
}
