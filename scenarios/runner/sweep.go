package runner

import (
	"bytes"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"

	"github.com/esper-sim/espersim/checkers"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/sim/trace"
)

// Plan says which runs are made of scenarios.
type Plan struct {
	First uint64 // the first run seed
	Seeds int    // run seeds a scenario; 0: what the scenario says, else 1
	Only  bool   // First is the only seed, also where a scenario says more
	N     int    // if not 0, the only value of an enumeration
	Jobs  int    // runs at once; 0: Workers()
	Twice bool   // run everything twice and compare the hashes
	// Long includes scenarios of class long.
	Long   bool
	Commit string
	// NoJudge runs without checkers.
	NoJudge bool
	// Keep opens a file for the trace of a run, if set.
	Keep func(s *scenarios.Scenario, seed uint64, n int) (io.WriteCloser, error)
	// Export gets the model of each clean run that trained one, if set.
	Export func(s *scenarios.Scenario, seed uint64, n int, m *statev2.ModelExport) error
	// Done is called for each run, in the order in which they end.
	Done func(*Result)
	// Progress is called from time to time.
	Progress func(done, total int)
}

// Outcome is what the runs of one scenario came to, against its expectation.
type Outcome struct {
	Scenario   *scenarios.Scenario
	Runs       int
	Violated   map[string]int // runs by the first invariant that they violated
	Fired      map[string]uint64
	Judged     map[string]uint64
	Probes     map[string]uint64
	Events     uint64
	SimMS      int64
	WallMS     int64
	Unexpected *Result // the first run that came to something else
	Expected   *Result // the first run that violated what was expected
	First      *Result // the first run
	Problem    string  // why the scenario failed; empty: it passed
	Code       int     // exit code
}

// Exit codes; see the command's documentation.
const (
	ExitClean    = 0
	ExitViolated = 1
	ExitUsage    = 2
	ExitHarness  = 3
	ExitStuck    = 4
)

type task struct {
	scenario, n int
	seed        uint64
}

// Sweep makes all runs of the scenarios and judges each scenario by its
// expectation. The outcomes are in the order of the scenarios; they do not
// depend on Jobs. An error means that a run could not be built.
func Sweep(list []*scenarios.Scenario, p Plan) ([]*Outcome, error) {
	var tasks []task
	for i, s := range list {
		seeds := p.Seeds
		switch {
		case p.Only:
			seeds = 1
		case seeds == 0 || s.Class == "long" && !p.Long:
			seeds = max(s.Seeds, 1)
		}
		from, to := 0, 0
		if s.Enumerate != nil {
			from, to = s.Enumerate.From, s.Enumerate.To
			if p.N != 0 {
				from, to = p.N, p.N
			} else if !p.Only {
				// Every value is run already; more seeds would multiply it.
				seeds = max(s.Seeds, 1)
			}
		}
		for n := from; n <= to; n++ {
			for k := range seeds {
				tasks = append(tasks, task{i, n, p.First + uint64(k)})
			}
		}
	}
	outcomes := make([]*Outcome, len(list))
	for i, s := range list {
		outcomes[i] = &Outcome{Scenario: s, Violated: map[string]int{}, Fired: map[string]uint64{}, Judged: map[string]uint64{}, Probes: map[string]uint64{}}
	}
	// Results are added up in the order of the tasks, whatever order they end
	// in, and then let go: ten thousand runs need no more memory than ten.
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		next    int
		done    int
		added   int
		waiting = map[int]*Result{}
		failed  error
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(tasks) || failed != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	give := func(i int, r *Result, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			if failed == nil {
				failed = err
			}
			return
		}
		if p.Done != nil {
			p.Done(r)
		}
		waiting[i] = r
		for ; waiting[added] != nil; added++ {
			outcomes[tasks[added].scenario].add(waiting[added])
			delete(waiting, added)
		}
		done++
		if p.Progress != nil {
			p.Progress(done, len(tasks))
		}
	}
	jobs := p.Jobs
	if jobs <= 0 {
		jobs = Workers()
	}
	for range jobs {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				r, err := runTask(list[tasks[i].scenario], tasks[i], p)
				give(i, r, err)
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	for _, o := range outcomes {
		o.conclude()
	}
	return outcomes, nil
}

func runTask(s *scenarios.Scenario, t task, p Plan) (*Result, error) {
	o := Options{Seed: t.seed, N: t.n, Commit: p.Commit, NoJudge: p.NoJudge}
	if p.Export != nil {
		o.Export = func(m *statev2.ModelExport) error { return p.Export(s, t.seed, t.n, m) }
	}
	var file io.WriteCloser
	if p.Keep != nil {
		var err error
		if file, err = p.Keep(s, t.seed, t.n); err != nil {
			return nil, err
		}
		o.Trace = file
	}
	r, err := Run(s, o)
	if file != nil {
		if cerr := file.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}
	if err != nil {
		return nil, err
	}
	if p.Twice {
		again, err := Run(s, Options{Seed: t.seed, N: t.n})
		if err != nil {
			return nil, err
		}
		if again.TraceHash != r.TraceHash {
			r.Verdict = Broken
			r.Error = fmt.Sprintf("two runs of run seed %d have the hashes %s and %s: %s", t.seed, r.TraceHash, again.TraceHash, firstDivergence(s, t))
		}
	}
	return r, nil
}

// firstDivergence runs twice more, with traces, to say where the runs part.
func firstDivergence(s *scenarios.Scenario, t task) string {
	var readers [2]*trace.Reader
	for i := range readers {
		var b bytes.Buffer
		if _, err := Run(s, Options{Seed: t.seed, N: t.n, Trace: &b}); err != nil {
			return err.Error()
		}
		r, err := trace.NewReader(&b)
		if err != nil {
			return err.Error()
		}
		readers[i] = r
	}
	d, err := trace.Diff(readers[0], readers[1])
	switch {
	case err != nil:
		return err.Error()
	case d == nil:
		return "two more runs were equal"
	}
	return d.String()
}

func (o *Outcome) add(r *Result) {
	if o.First == nil {
		o.First = r
	}
	o.Runs++
	o.Events += r.Events
	o.SimMS += r.SimMS
	o.WallMS += r.WallMS
	for k, n := range r.Fired {
		o.Fired[k] += n
	}
	for k, n := range r.Judged {
		o.Judged[k] += n
	}
	for k, n := range r.Probes {
		o.Probes[k] += n
	}
	first := ""
	unexpected := r.Verdict == Broken
	for _, v := range r.Violations {
		if first == "" {
			first = v.Invariant
		}
		if o.Scenario.Expect.Clean() || !contains(o.Scenario.Expect, v.Invariant) {
			unexpected = true
		}
	}
	if first != "" {
		o.Violated[first]++
	}
	switch {
	case unexpected && o.Unexpected == nil:
		o.Unexpected = r
	case !unexpected && first != "" && o.Expected == nil:
		o.Expected = r
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// conclude compares what was found with what was expected.
func (o *Outcome) conclude() {
	s := o.Scenario
	var silent, unfired, unreached []string
	for _, id := range s.Checks {
		if o.Judged[id] == 0 {
			silent = append(silent, id)
		}
	}
	for _, k := range s.MustFire {
		if o.Fired[k] == 0 {
			unfired = append(unfired, k)
		}
	}
	for _, k := range s.MustReach {
		if o.Probes[k] == 0 {
			unreached = append(unreached, k)
		}
	}
	switch {
	case o.Unexpected != nil && o.Unexpected.Verdict == Broken:
		o.Problem, o.Code = o.Unexpected.Error, ExitHarness
	case o.Unexpected != nil && o.Unexpected.Verdict == Stuck:
		o.Problem, o.Code = o.Unexpected.Violations[0].String(), ExitStuck
	case o.Unexpected != nil:
		o.Problem, o.Code = o.Unexpected.Violations[0].String(), ExitViolated
	case !s.Expect.Clean() && o.Expected == nil:
		o.Problem, o.Code = fmt.Sprintf("no run violated %s", s.Expect), ExitViolated
	case len(unfired) > 0:
		o.Problem, o.Code = "never fired: "+strings.Join(unfired, ", "), ExitViolated
	case len(unreached) > 0:
		o.Problem, o.Code = "never reached: "+strings.Join(unreached, ", "), ExitViolated
	case len(silent) > 0 && s.Expect.Clean():
		o.Problem, o.Code = "nothing to judge for "+strings.Join(silent, ", "), ExitViolated
	}
}

// Worst is the exit code for several outcomes: a broken harness before a
// violation, a violation before a stuck run.
func Worst(outcomes []*Outcome) int {
	code := ExitClean
	rank := map[int]int{ExitClean: 0, ExitStuck: 1, ExitViolated: 2, ExitHarness: 3}
	for _, o := range outcomes {
		if rank[o.Code] > rank[code] {
			code = o.Code
		}
	}
	return code
}

// Totals adds up how often each kind of fault fired, and returns the kinds in
// order.
func Totals(outcomes []*Outcome) (kinds []string, fired map[string]uint64) {
	fired = map[string]uint64{}
	for _, o := range outcomes {
		for k, n := range o.Fired {
			fired[k] += n
		}
	}
	for k := range fired {
		kinds = append(kinds, k)
	}
	sort.Strings(kinds)
	return kinds, fired
}

// First is the first violation of a result, or nil.
func (r *Result) First() *checkers.Violation {
	if len(r.Violations) == 0 {
		return nil
	}
	return &r.Violations[0]
}
