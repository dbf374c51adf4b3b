package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/cluster"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
)

type sweepOptions struct {
	hunt   runner.Hunt
	shard  string
	class  string
	log    string
	resume bool
	junit  string
	github bool
	json   bool
	bundle string
	shrink time.Duration
	guided bool
	swarm  string
}

func newSweep() *cobra.Command {
	var o sweepOptions
	c := &cobra.Command{
		Use:   "sweep FILE|DIR…",
		Short: "Try many run seeds, and group what fails",
		Long: `sweep tries run seeds on all processors until a number or a budget is reached.
Failures are grouped by invariant, node and kind of finding; of each group the
run with the fewest events is shown, with the command that reproduces it. A
clean sweep says what it proves. What a scenario expects to be violated is no
failure.

With --log each run is a line of JSON in a file; --resume goes on where that
file ends. --shard 2/4 makes the second quarter of the runs.`,
		Example: `  espersim sweep scenarios/ --budget 10m
  espersim sweep scenarios/ --class short --budget 2m
  espersim sweep scenarios/triad-survivable.yaml --seeds 10000 --log sweep.jsonl --resume
  espersim sweep scenarios/ --seeds 200 --shard 1/4 --junit sweep.xml`,
		Args: counted(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(args, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.hunt.First, "seed", 1, "the first run seed")
	f.IntVar(&o.hunt.Seeds, "seeds", 0, "run seeds for each scenario; left out: until the budget is spent")
	f.DurationVar(&o.hunt.Budget, "budget", 0, "wall time after which no run is begun; left out with --seeds: none, else 1m")
	f.IntVar(&o.hunt.Jobs, "jobs", 0, "runs at once (default: one a processor)")
	f.BoolVar(&o.hunt.StopFirst, "stop-first", false, "end with the first failure")
	f.StringVar(&o.class, "class", "", "only the scenarios of this class: short or long")
	f.StringVar(&o.shard, "shard", "", "i/n: make every n-th run, beginning with the i-th")
	f.StringVar(&o.log, "log", "", "append one JSON object a run to this file")
	f.BoolVar(&o.resume, "resume", false, "leave out the runs that are in the --log file")
	f.StringVar(&o.junit, "junit", "", "write the findings to this file as JUnit XML")
	f.BoolVar(&o.github, "github", false, "print the findings as GitHub annotations, too")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	swarmFlag(f, &o.swarm)
	f.StringVar(&o.bundle, "bundle", "", "write a bundle of the shortest run of each group into this folder")
	f.BoolVar(&o.guided, "guided", false, "vary the plans that led to new states; needs --bundle, for the plans that fail")
	f.DurationVar(&o.shrink, "shrink", 0, "with --bundle: shrink each, for at most so long")
	return c
}

// logged is a run in the log of a sweep.
type logged struct {
	Scenario  string            `json:"scenario"`
	RunSeed   uint64            `json:"run_seed"`
	N         int               `json:"n,omitempty"`
	Verdict   runner.Verdict    `json:"verdict"`
	Failed    *runner.Signature `json:"failed,omitempty"` // what its scenario did not expect
	TraceHash string            `json:"trace_hash"`
	Events    uint64            `json:"events"`
	WallMS    int64             `json:"wall_ms"`
	Commit    string            `json:"commit,omitempty"`
	Swarm     string            `json:"swarm_given,omitempty"` // that the command line turned on
}

type runKey struct {
	scenario string
	seed     uint64
	n        int
	swarm    string
}

// keyOf is the run of a scenario as the log knows it.
func keyOf(s *scenarios.Scenario, seed uint64, n int) runKey {
	k := runKey{s.File, seed, n, ""}
	if s.SwarmGiven {
		k.swarm = s.Swarm
	}
	return k
}

func (o *sweepOptions) run(args []string, out, stderr io.Writer) error {
	list, err := load(args, stderr)
	if err != nil {
		return err
	}
	if err := turnOn(list, o.swarm); err != nil {
		return err
	}
	h := o.hunt
	h.Commit = commit()
	if o.class != "" {
		list = slices.DeleteFunc(list, func(s *scenarios.Scenario) bool { return s.Class != o.class })
	}
	switch {
	case o.class != "" && o.class != "short" && o.class != "long":
		return fmt.Errorf("--class is %q; want short or long", o.class)
	case len(list) == 0:
		return fmt.Errorf("no scenario is of class %s", o.class)
	case h.Seeds < 0 || h.Jobs < 0 || h.Budget < 0:
		return errors.New("--seeds, --jobs or --budget is negative; want a number of at least 0")
	case o.resume && o.log == "":
		return errors.New("--resume needs --log, the file that says which runs were made")
	case h.Seeds == 0 && h.Budget == 0:
		h.Budget = time.Minute
	}
	if o.shard != "" {
		if n, err := fmt.Sscanf(o.shard, "%d/%d", &h.Shard, &h.Shards); n != 2 || err != nil || h.Shard < 1 || h.Shard > h.Shards ||
			o.shard != fmt.Sprintf("%d/%d", h.Shard, h.Shards) {
			return fmt.Errorf("--shard is %q; want i/n with i from 1 to n, such as 2/4", o.shard)
		}
		h.Shard--
	}
	if o.guided {
		return o.guide(list, h, out, stderr)
	}
	var log *runLog
	if o.log != "" {
		if log, err = openLog(o.log, o.resume, h.Commit, stderr); err != nil {
			return err
		}
		log.files = map[string]*scenarios.Scenario{}
		for _, s := range list {
			log.files[s.File] = s
		}
		h.Skip = func(s *scenarios.Scenario, seed uint64, n int) bool { return log.made[keyOf(s, seed, n)] }
		h.Done = log.write
	}
	var under *notes
	if o.bundle != "" {
		if under, err = noteIn(o.bundle); err != nil {
			return err
		}
		h.Before = under.before
	} else if o.shrink != 0 {
		return errors.New("--shrink needs --bundle, the folder for the result")
	}
	if h.Jobs == 0 {
		h.Jobs = runner.Workers()
	}
	bar := newBar(stderr)
	h.Progress = func(done, total int) {
		if total == 0 {
			bar.set(int(time.Since(bar.began).Seconds()), max(int(h.Budget.Seconds()), 1))
			return
		}
		bar.set(done, total)
	}
	found, err := h.Run(list)
	bar.done()
	if cerr := log.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	var bundles []string
	if under != nil {
		if err := under.done(h.Jobs); err != nil {
			return err
		}
		for _, g := range found.Groups {
			to, err := bundled(o.bundle, g.Scenario, g.Best, o.shrink)
			if err != nil {
				return err
			}
			bundles = append(bundles, to)
		}
	}
	unreached := found.Unreached(list)
	var before []logged // what failed in the runs that are left out
	if log != nil {
		before = log.failed
	}
	if o.junit != "" {
		if err := writeJUnit(o.junit, list, found, unreached); err != nil {
			return err
		}
	}
	if o.json {
		if err := sweepJSON(out, found, unreached); err != nil {
			return err
		}
	} else {
		printSweep(out, found, before, unreached)
	}
	for _, b := range bundles {
		fmt.Fprintf(stderr, "bundle: %s\n", b)
	}
	if o.github {
		for _, g := range found.Groups {
			fmt.Fprintf(out, "::error file=%s,title=%s::%s%%0Aagain: %s\n", escapeProperty(g.Best.Scenario),
				escapeProperty(g.Signature.String()), escapeData(g.Best.Failure()), escapeData(g.Best.Repro()))
		}
	}
	switch {
	case !found.Clean():
		code := runner.ExitStuck
		for _, g := range found.Groups {
			switch {
			case g.Best.Verdict == runner.Broken:
				return exit{runner.ExitHarness}
			case g.Best.Verdict == runner.Violated:
				code = runner.ExitViolated
			}
		}
		return exit{code}
	case len(before) > 0:
		return exit{runner.ExitViolated}
	case found.Runs+found.Skipped == 0:
		return errors.New("no run was made: the shard or the budget is too small")
	case len(unreached) > 0 && o.shard == "" && found.Skipped == 0 && !(found.Spent && found.Runs < own(list)):
		return exit{runner.ExitViolated}
	}
	return nil
}

// own is how many runs the scenarios ask for themselves. A budget that is spent
// before says nothing about what was not reached.
func own(list []*scenarios.Scenario) int {
	n := 0
	for _, s := range list {
		values := 1
		if s.Enumerate != nil {
			values = s.Enumerate.To - s.Enumerate.From + 1
		}
		n += values * max(s.Seeds, 1)
	}
	return n
}

func printSweep(out io.Writer, f *runner.Found, before []logged, unreached []string) {
	for i, g := range f.Groups {
		fmt.Fprintf(out, "%d. %v\n   in %d of %d runs; the shortest, of %d events:\n   %s\n",
			i+1, g.Signature, g.Runs, f.Runs, g.Best.Events, g.Best.Failure())
		printDraw(out, "   ", g.Best.Swarm)
		printWaits(out, "   ", g.Best.Waits)
		fmt.Fprintf(out, "   again: %s\n   small: espersim shrink %s --seed %d%s%s\n\n",
			g.Best.Repro(), g.Best.Scenario, g.Best.RunSeed, enumerated(g.Best), g.Best.SwarmFlag())
	}
	for _, l := range before {
		r := runner.Result{Scenario: l.Scenario, RunSeed: l.RunSeed, N: l.N, SwarmGiven: l.Swarm}
		fmt.Fprintf(out, "failed before: %v\n   again: %s\n\n", l.Failed, r.Repro())
	}
	seconds := max(f.Wall.Seconds(), 1e-9)
	fmt.Fprintf(out, "%d runs", f.Runs)
	if f.Skipped > 0 {
		fmt.Fprintf(out, ", and %d that were made before", f.Skipped)
	}
	fmt.Fprintf(out, ", %d simulated seconds, %d events\n", f.SimMS/1000, f.Events)
	fmt.Fprintf(out, "%.1f s: %.1f runs and %.0f events a second\n", seconds, float64(f.Runs)/seconds, float64(f.Events)/seconds)
	if f.Clean() && len(before) == 0 && f.Runs > 0 {
		fmt.Fprintf(out, "clean: at 95 %%, the probability of a failure per run is below %.2g\n", f.Bound())
	}
	printProbes(out, f.Probes)
	for _, p := range unreached {
		fmt.Fprintf(out, "never reached: %s\n", p)
	}
}

// neverReached are the names that were not reached; prefix stands before each
// among those that were.
func neverReached(reached map[string]uint64, prefix string, names []string) []string {
	never := []string{}
	for _, n := range names {
		if reached[prefix+n] == 0 {
			never = append(never, n)
		}
	}
	return never
}

// printProbes prints how often each known probe was reached and each site
// taken, those that never were last.
func printProbes(out io.Writer, reached map[string]uint64) {
	for _, l := range []struct {
		what, prefix string
		names        []string
	}{{"probes reached", "", cluster.ProbeNames()}, {"sites taken", "sometimes/", faults.SiteNames()}} {
		never := neverReached(reached, l.prefix, l.names)
		if len(never) == len(l.names) && l.prefix != "" {
			continue // nothing turned any on
		}
		fmt.Fprintf(out, "%s: %d of %d\n", l.what, len(l.names)-len(never), len(l.names))
		for _, n := range l.names {
			if k := reached[l.prefix+n]; k > 0 {
				fmt.Fprintf(out, "  %-30s %10d\n", n, k)
			}
		}
		for _, n := range never {
			fmt.Fprintf(out, "  %-30s %10s\n", n, "never")
		}
	}
}

func enumerated(r *runner.Result) string {
	if r.N == 0 {
		return ""
	}
	return fmt.Sprintf(" --n %d", r.N)
}

type sweepReport struct {
	Version   int               `json:"version"` // of this form
	Runs      int               `json:"runs"`
	Skipped   int               `json:"skipped"`
	Events    uint64            `json:"events"`
	SimMS     int64             `json:"sim_ms"`
	WallMS    int64             `json:"wall_ms"`
	Bound     float64           `json:"failure_probability_below"` // at 95 %, of a clean sweep
	Groups    []sweepGroup      `json:"groups"`
	Fired     map[string]uint64 `json:"faults_fired"`
	Judged    map[string]uint64 `json:"judged"`
	Probes    map[string]uint64 `json:"probes"`
	Unreached []string          `json:"unreached"`
	Never     []string          `json:"probes_never_reached"` // of all that there are
	Spent     bool              `json:"budget_spent"`
}

type sweepGroup struct {
	Signature runner.Signature `json:"signature"`
	Runs      int              `json:"runs"`
	Best      *runner.Result   `json:"best"`
	Again     string           `json:"again"`
}

func sweepJSON(out io.Writer, f *runner.Found, unreached []string) error {
	r := sweepReport{Version: 1, Runs: f.Runs, Skipped: f.Skipped, Events: f.Events, SimMS: f.SimMS, WallMS: f.Wall.Milliseconds(),
		Groups: []sweepGroup{}, Fired: f.Fired, Judged: f.Judged, Probes: f.Probes, Unreached: unreached, Spent: f.Spent}
	if f.Clean() {
		r.Bound = f.Bound()
	}
	r.Never = neverReached(f.Probes, "", cluster.ProbeNames())
	if r.Unreached == nil {
		r.Unreached = []string{}
	}
	for _, g := range f.Groups {
		r.Groups = append(r.Groups, sweepGroup{g.Signature, g.Runs, g.Best, g.Best.Repro()})
	}
	return json.NewEncoder(out).Encode(r)
}

// runLog is the file of a sweep's runs.
type runLog struct {
	f      *os.File
	w      *bufio.Writer
	made   map[runKey]bool
	failed []logged // of those that were made before
	files  map[string]*scenarios.Scenario
	commit string
	err    error
}

// openLog opens a log to append to. A line that is not whole at its end was
// cut off when a sweep was stopped: that run is made again. Any other line that
// cannot be read is an error that names it.
func openLog(name string, resume bool, commit string, stderr io.Writer) (*runLog, error) {
	l := &runLog{made: map[runKey]bool{}, commit: commit}
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if len(b) > 0 && !resume {
		return nil, fmt.Errorf("%s is there already; go on with --resume, or name a new file", name)
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	for i, line := range bytes.Split(b[:whole], []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var r logged
		if err := json.Unmarshal(line, &r); err != nil || r.Scenario == "" {
			return nil, fmt.Errorf("%s:%d: it is no line of a sweep's log; want one JSON object a run", name, i+1)
		}
		if r.Commit != commit {
			return nil, fmt.Errorf("%s:%d: the run was made at commit %q, and this program is of %q: begin a new log", name, i+1, r.Commit, commit)
		}
		l.made[runKey{r.Scenario, r.RunSeed, r.N, r.Swarm}] = true
		if r.Failed != nil {
			l.failed = append(l.failed, r)
		}
	}
	if whole < len(b) {
		fmt.Fprintf(stderr, "%s: its last line is cut off; that run is made again\n", name)
	}
	if l.f, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, err
	}
	if err := errors.Join(l.f.Truncate(int64(whole)), seekEnd(l.f)); err != nil {
		return nil, err
	}
	l.w = bufio.NewWriter(l.f)
	return l, nil
}

func seekEnd(f *os.File) error {
	_, err := f.Seek(0, io.SeekEnd)
	return err
}

func (l *runLog) write(r *runner.Result) {
	line := logged{Scenario: r.Scenario, RunSeed: r.RunSeed, N: r.N, Verdict: r.Verdict, TraceHash: r.TraceHash,
		Events: r.Events, WallMS: r.WallMS, Commit: l.commit, Swarm: r.SwarmGiven}
	if sig, ok := runner.Unexpected(l.files[r.Scenario], r); ok {
		line.Failed = &sig
	}
	b, err := json.Marshal(line)
	if err == nil {
		_, err = l.w.Write(append(b, '\n'))
	}
	if err == nil {
		err = l.w.Flush()
	}
	if l.err == nil {
		l.err = err
	}
}

func (l *runLog) close() error {
	if l == nil {
		return nil
	}
	return errors.Join(l.err, l.f.Close())
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name     string         `xml:"name,attr"`
	Class    string         `xml:"classname,attr"`
	Failures []junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes one test case a scenario, with a failure for each group.
func writeJUnit(name string, list []*scenarios.Scenario, f *runner.Found, unreached []string) error {
	suite := junitSuite{Name: "espersim sweep", Time: fmt.Sprintf("%.3f", f.Wall.Seconds())}
	for _, s := range list {
		c := junitCase{Name: s.Name, Class: s.File}
		for _, g := range f.Groups {
			if g.Scenario != s {
				continue
			}
			c.Failures = append(c.Failures, junitFailure{Message: g.Best.Failure(), Type: g.Signature.Invariant,
				Text: fmt.Sprintf("%v\nin %d of %d runs\nagain: %s\n", g.Signature, g.Runs, f.Runs, g.Best.Repro())})
		}
		if len(c.Failures) > 0 {
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, c)
	}
	for _, p := range unreached {
		suite.Failures++
		suite.Cases = append(suite.Cases, junitCase{Name: "probe " + p, Class: "probes",
			Failures: []junitFailure{{Message: "never reached: " + p, Type: "probe"}}})
	}
	suite.Tests = len(suite.Cases)
	b, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(name, append([]byte(xml.Header), append(b, '\n')...))
}

// escapeData escapes what stands behind :: in a GitHub annotation.
func escapeData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// escapeProperty escapes the value of an annotation's property.
func escapeProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}
