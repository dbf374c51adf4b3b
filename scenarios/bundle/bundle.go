// Package bundle keeps everything about a failing run in one folder, for
// somebody else to look at and to run again.
//
//	report.json         what was found: version, signature, commit, seed, hash
//	scenario.yaml       the scenario as it was
//	plan.yaml           the same with the run's faults as explicit steps
//	README.txt          how to run it again
//	run.trace           the trace of a second run, which must be the same
//	R1.html, R2.html    the history that is not linearizable, where that was found
//	run.perfetto.json   the trace for a browser: ui.perfetto.dev
//	shrunk.yaml         the smallest scenario that fails alike, if it was asked for
//
// What a crash could take away is written first: seed, scenario and plan before
// the run is judged.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/scenarios/shrink"
	"github.com/esper-sim/espersim/sim"
)

// Version of report.json.
const Version = 1

// Report is report.json. Fields are added, and keep their meaning within a
// version.
type Report struct {
	Version    int                  `json:"version"`
	Commit     string               `json:"commit,omitempty"`
	Scenario   string               `json:"scenario"` // its file, where it was run
	SHA256     string               `json:"scenario_sha256"`
	RunSeed    uint64               `json:"run_seed"`
	N          int                  `json:"n,omitempty"`
	Signature  *runner.Signature    `json:"signature,omitempty"` // none: the run was not judged to its end
	TraceHash  string               `json:"trace_hash,omitempty"`
	Verdict    runner.Verdict       `json:"verdict,omitempty"`
	Violations []checkers.Violation `json:"violations,omitempty"`
	Error      string               `json:"error,omitempty"`
	Fired      map[string]uint64    `json:"faults_fired,omitempty"`
	Shrunk     string               `json:"shrunk,omitempty"` // file in the folder
	// Swarm is what the run drew; SwarmGiven is the swarm itself where it does not stand in
	// the scenario, since a command line turned it on.
	Swarm []string `json:"swarm,omitempty"`
	// Waits is who waits for whom at the end of a run that is stuck.
	Waits      *checkers.WaitReport `json:"waits,omitempty"`
	SwarmGiven string               `json:"swarm_given,omitempty"`
}

// Bundle is a folder being written.
type Bundle struct {
	dir    string
	s      *scenarios.Scenario
	report Report
}

// Begin makes the folder, which must not be there, and writes what is known
// before a run.
func Begin(dir string, s *scenarios.Scenario, seed uint64, n int, commit string) (*Bundle, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(s.File)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	b := &Bundle{dir: dir, s: s, report: Report{Version: Version, Commit: commit, Scenario: s.File,
		SHA256: hex.EncodeToString(sum[:]), RunSeed: seed, N: n}}
	draw, err := s.Draw(n, sim.NewSource(seed))
	if err != nil {
		return nil, err
	}
	if draw != nil {
		b.report.Swarm = draw.Lines()
	}
	if s.SwarmGiven {
		b.report.SwarmGiven = s.Swarm
	}
	err = errors.Join(b.write("scenario.yaml", text), b.readme(), b.writeReport())
	if m := s.Training.Model; m != "" && err == nil {
		var model []byte
		if model, err = os.ReadFile(filepath.Join(filepath.Dir(s.File), m)); err == nil {
			err = b.write(m, model)
		}
	}
	return b, err
}

// Plan writes the run's faults as explicit steps.
func (b *Bundle) Plan(steps []faults.Step) error {
	draw, err := b.s.Draw(b.report.N, sim.NewSource(b.report.RunSeed))
	if err != nil {
		return err
	}
	text, err := scenarios.Format(b.s.Explicit(steps, draw))
	if err != nil {
		return err
	}
	return b.write("plan.yaml", text)
}

// Finish writes what the run came to, and runs it again for its trace. With a
// budget it shrinks it, too.
func (b *Bundle) Finish(r *runner.Result, budget time.Duration) error {
	if sig, ok := runner.Unexpected(b.s, r); ok {
		b.report.Signature = &sig
	} else if sig, ok := r.Signature(); ok {
		b.report.Signature = &sig
	}
	b.report.TraceHash, b.report.Verdict, b.report.Violations = r.TraceHash, r.Verdict, r.Violations
	b.report.Error, b.report.Fired, b.report.Waits = r.Error, r.Fired, r.Waits
	if err := errors.Join(b.writeReport(), b.readme()); err != nil {
		return err
	}
	var stored bytes.Buffer
	var drawn error
	again, err := runner.Run(b.s, runner.Options{Seed: b.report.RunSeed, N: b.report.N, Trace: &stored, Commit: b.report.Commit,
		Picture: func(invariant string, draw func(io.Writer) error) {
			var page bytes.Buffer
			if err := draw(&page); err != nil {
				drawn = errors.Join(drawn, err)
			} else if page.Len() > 0 {
				drawn = errors.Join(drawn, b.write(invariant+".html", page.Bytes()))
			}
		}})
	if err = errors.Join(err, drawn); err != nil {
		return err
	}
	if again.TraceHash != r.TraceHash {
		return fmt.Errorf("run seed %d has the hash %s the first time and %s the second: the harness lost determinism", r.RunSeed, r.TraceHash, again.TraceHash)
	}
	var picture bytes.Buffer
	if err := Perfetto(&picture, bytes.NewReader(stored.Bytes())); err != nil {
		return err
	}
	if err := errors.Join(b.write("run.trace", stored.Bytes()), b.write("run.perfetto.json", picture.Bytes())); err != nil {
		return err
	}
	if budget > 0 {
		small, err := shrink.Shrink(b.s, shrink.Options{Seed: b.report.RunSeed, N: b.report.N, Budget: budget})
		if err != nil {
			return err
		}
		text, err := scenarios.Format(small.Scenario)
		if err != nil {
			return err
		}
		b.report.Shrunk = "shrunk.yaml"
		if err := errors.Join(b.write("shrunk.yaml", text), b.writeReport(), b.readme()); err != nil {
			return err
		}
	}
	return nil
}

// Discard removes a bundle of a run that turned out to be clean.
func (b *Bundle) Discard() error { return os.RemoveAll(b.dir) }

func (b *Bundle) writeReport() error {
	text, err := json.MarshalIndent(b.report, "", "  ")
	if err != nil {
		return err
	}
	return b.write("report.json", append(text, '\n'))
}

func (b *Bundle) readme() error {
	var t strings.Builder
	fmt.Fprintf(&t, "A run of %s (%s).\n\n", b.s.Name, b.report.Scenario)
	for i, l := range b.report.Swarm {
		if i == 0 {
			l = "It drew " + l + ":"
		}
		fmt.Fprintf(&t, "%s\n", l)
	}
	if len(b.report.Swarm) > 0 {
		fmt.Fprintln(&t)
	}
	for _, v := range b.report.Violations {
		fmt.Fprintf(&t, "%s\n", v)
	}
	if b.report.Waits != nil {
		for _, l := range b.report.Waits.Lines() {
			fmt.Fprintf(&t, "%s\n", l)
		}
	}
	if b.report.Error != "" {
		fmt.Fprintf(&t, "%s\n", b.report.Error)
	}
	if b.report.Verdict == "" {
		fmt.Fprintf(&t, "The run was not judged to its end.\n")
	}
	fmt.Fprintf(&t, "\nRun it again, in this folder's parent:\n\n    espersim replay %s\n", filepath.Base(b.dir))
	fmt.Fprintf(&t, "\nor in this folder:\n\n    espersim replay scenario.yaml --seed %d", b.report.RunSeed)
	if b.report.N != 0 {
		fmt.Fprintf(&t, " --n %d", b.report.N)
	}
	if b.report.SwarmGiven != "" {
		fmt.Fprintf(&t, " --swarm=%s", b.report.SwarmGiven)
	}
	fmt.Fprintf(&t, "\n")
	if b.report.Commit != "" {
		fmt.Fprintf(&t, "\nIt was made at commit %s; a run seed reproduces at one commit only.\n", b.report.Commit)
	}
	if b.report.Shrunk != "" {
		fmt.Fprintf(&t, "\n%s is the smallest scenario that was found to fail alike.\n", b.report.Shrunk)
	}
	return b.write("README.txt", []byte(t.String()))
}

// write stores a file whole or not at all.
func (b *Bundle) write(name string, text []byte) error {
	f, err := os.CreateTemp(b.dir, "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(filepath.Join(b.dir, name)), 0o755); err == nil {
			err = os.Rename(f.Name(), filepath.Join(b.dir, name))
		}
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to report
	}
	return err
}

// Read reads a bundle's report and the scenario's text.
func Read(dir string) (*Report, []byte, error) {
	name := filepath.Join(dir, "report.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, nil, fmt.Errorf("%s: it is no report of a run: %w", name, err)
	}
	if r.Version < 1 || r.Version > Version {
		return nil, nil, fmt.Errorf("%s: version %d of the report; this program reads 1 to %d", name, r.Version, Version)
	}
	scenario, err := os.ReadFile(filepath.Join(dir, "scenario.yaml"))
	return r, scenario, err
}
