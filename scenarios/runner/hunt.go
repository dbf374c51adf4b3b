package runner

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
)

// Hunt says which run seeds are tried in search of failures.
type Hunt struct {
	First  uint64        // first run seed
	Seeds  int           // run seeds a scenario; 0: until the budget is spent
	Budget time.Duration // of wall time; 0: none
	Jobs   int           // runs at once; 0: Workers()
	// Shard i of n takes each n-th run: Shard counts from 0.
	Shard, Shards int
	StopFirst     bool // end with the first failure
	Commit        string
	// Skip says which runs were made before, if set.
	Skip func(s *scenarios.Scenario, seed uint64, n int) bool
	// Before is told of each run before it begins, by which of the Jobs, if set.
	Before func(job int, s *scenarios.Scenario, seed uint64, n int, steps []faults.Step) error
	// Done is called for each run, in the order in which they end.
	Done func(*Result)
	// Progress is called after each run; total is 0 where it is open.
	Progress func(done, total int)
	// Wrap makes the wrapper of each run, if set.
	Wrap func() Wrapper
}

// A Group is the failures with one signature.
type Group struct {
	Signature Signature
	Scenario  *scenarios.Scenario
	Runs      int
	// Best is the failure that takes the fewest events to reproduce.
	Best *Result
}

// Found is what a hunt came to.
type Found struct {
	Groups  []*Group // the most frequent first
	Runs    int
	Skipped int
	Events  uint64
	SimMS   int64
	Fired   map[string]uint64
	Judged  map[string]uint64
	Probes  map[string]uint64
	Wall    time.Duration
	Spent   bool // the budget ended it
}

// Clean says whether nothing was found.
func (f *Found) Clean() bool { return len(f.Groups) == 0 }

// Bound is the greatest probability of a failure per run that is compatible,
// at 95 %, with as many clean runs as there were: 3/N (the rule of three;
// exactly 1 − 0.05^(1/N)).
func (f *Found) Bound() float64 {
	if f.Runs == 0 {
		return 1
	}
	return 1 - math.Pow(0.05, 1/float64(f.Runs))
}

// Run makes the runs. A scenario that expects violations is not failed by
// those; everything else is a finding. An error means that a run could not be
// built.
//
// Which runs are made depends on the budget, and so on the machine; what a run
// comes to does not.
func (h Hunt) Run(list []*scenarios.Scenario) (*Found, error) {
	began := time.Now()
	f := &Found{Fired: map[string]uint64{}, Judged: map[string]uint64{}, Probes: map[string]uint64{}}
	groups := map[Signature]*Group{}
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		next int
		done bool
		bad  error
	)
	total, round := h.total(list), 0
	for _, s := range list {
		round += values(s)
	}
	take := func() (task, bool) {
		mu.Lock()
		defer mu.Unlock()
		for {
			if h.Budget > 0 && time.Since(began) >= h.Budget {
				f.Spent, done = true, true
			}
			if done || total > 0 && next == total {
				return task{}, false
			}
			t := h.task(list, next)
			i := next
			next++
			// Not i alone: of two scenarios each shard of two would get one.
			if h.Shards > 1 && (i+i/round)%h.Shards != h.Shard {
				continue
			}
			if h.Skip != nil && h.Skip(list[t.scenario], t.seed, t.n) {
				f.Skipped++
				continue
			}
			return t, true
		}
	}
	give := func(t task, r *Result, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			bad, done = cmp.Or(bad, err), true
			return
		}
		s := list[t.scenario]
		f.add(r)
		if sig, failed := Unexpected(s, r); failed {
			g := groups[sig]
			if g == nil {
				g = &Group{Signature: sig, Scenario: s, Best: r}
				groups[sig] = g
				f.Groups = append(f.Groups, g)
			}
			g.Runs++
			// Of equal ones the smaller seed, so that the order in which runs end
			// does not show.
			if c := cmp.Compare(r.Events, g.Best.Events); c < 0 || c == 0 && r.RunSeed < g.Best.RunSeed {
				g.Best, g.Scenario = r, s
			}
			done = done || h.StopFirst
		}
		if h.Done != nil {
			h.Done(r)
		}
		if h.Progress != nil {
			h.Progress(f.Runs+f.Skipped, total)
		}
	}
	jobs := h.Jobs
	if jobs <= 0 {
		jobs = Workers()
	}
	for job := range jobs {
		wg.Go(func() {
			for t, ok := take(); ok; t, ok = take() {
				o := Options{Seed: t.seed, N: t.n, Commit: h.Commit, Wrap: Make(h.Wrap)}
				if h.Before != nil {
					o.Before = func(steps []faults.Step) error { return h.Before(job, list[t.scenario], t.seed, t.n, steps) }
				}
				r, err := Run(list[t.scenario], o)
				give(t, r, err)
			}
		})
	}
	wg.Wait()
	if bad != nil {
		return nil, bad
	}
	slices.SortFunc(f.Groups, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(b.Runs, a.Runs), cmp.Compare(a.Signature.String(), b.Signature.String()))
	})
	f.Wall = time.Since(began)
	return f, nil
}

// total is how many runs there are, over all shards; 0 where only the budget
// ends them.
func (h Hunt) total(list []*scenarios.Scenario) int {
	if h.Seeds == 0 {
		return 0
	}
	n := 0
	for _, s := range list {
		n += values(s)
	}
	return n * h.Seeds
}

// values is how many runs one seed of a scenario makes.
func values(s *scenarios.Scenario) int {
	if s.Enumerate == nil {
		return 1
	}
	return s.Enumerate.To - s.Enumerate.From + 1
}

// task is the i-th run: all scenarios with the first seed, then all with the
// second, so that a budget is spent on all of them alike.
func (h Hunt) task(list []*scenarios.Scenario, i int) task {
	round := 0
	for _, s := range list {
		round += values(s)
	}
	t := task{seed: h.First + uint64(i/round)}
	i %= round
	for k, s := range list {
		if n := values(s); i < n {
			t.scenario = k
			if s.Enumerate != nil {
				t.n = s.Enumerate.From + i
			}
			return t
		}
		i -= values(s)
	}
	return t
}

// Unexpected is the signature of what a scenario did not expect of a run; ok is
// false where there is none.
func Unexpected(s *scenarios.Scenario, r *Result) (sig Signature, ok bool) {
	if r.Verdict == Broken {
		return r.Signature()
	}
	for i, v := range r.Violations {
		if s.Expect.Clean() || !contains(s.Expect, v.Invariant) {
			return r.Signatures()[i], true
		}
	}
	return Signature{}, false
}

func (f *Found) add(r *Result) {
	f.Runs++
	f.Events += r.Events
	f.SimMS += r.SimMS
	for k, n := range r.Fired {
		f.Fired[k] += n
	}
	for k, n := range r.Judged {
		f.Judged[k] += n
	}
	for k, n := range r.Probes {
		f.Probes[k] += n
	}
}

// Unreached lists the probes that the scenarios demand and no run reached.
func (f *Found) Unreached(list []*scenarios.Scenario) []string {
	var out []string
	for _, s := range list {
		for _, p := range s.MustReach {
			if f.Probes[p] == 0 && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return out
}
