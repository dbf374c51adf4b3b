// Package shrink turns a failing run into a small scenario that fails in the
// same way.
//
// The run's random faults become explicit steps first. Then everything that is
// not needed goes: steps by delta debugging (Zeller, Hildebrandt: Simplifying
// and Isolating Failure-Inducing Input, 2002), durations and parameters of the
// steps that are left, nodes, settings, time. Each candidate is run, and kept
// only if it fails with the same signature: a shrink that takes any failure
// for its own drifts to another bug. At the end the plan is made to fail under
// other run seeds, too, where that can be done: a crash at a moment becomes a
// crash at an operation.
package shrink

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim"
)

// Options of a shrink.
type Options struct {
	Seed   uint64
	N      int
	Budget time.Duration // of wall time, after which what there is is final; 0: a minute
	Others int           // other run seeds that the result is tried with; 0: 100
	// Wrap makes the wrapper of each run, if set.
	Wrap func() runner.Wrapper
	// Progress is told what is being tried.
	Progress func(phase string, runs, steps int)
}

// Result of a shrink.
type Result struct {
	Signature runner.Signature
	Scenario  *scenarios.Scenario // explicit, and its own expectation
	Seed      uint64
	Run       *runner.Result // of it
	Before    int            // steps that the failing run had
	Runs      int            // that were made
	// Others is how many other run seeds were tried, and Fail of them with the
	// same signature.
	Others, Fail int
	// Without says, for each step, what the run comes to without it.
	Without []string
	// Spent is true if the budget ended the search.
	Spent bool
}

// ErrClean is the error for a run that does not fail.
var ErrClean = errors.New("the run is clean: there is nothing to shrink")

// shrinker is a search under way: the smallest failing scenario so far.
type shrinker struct {
	o     Options
	sig   runner.Signature
	s     *scenarios.Scenario
	steps []faults.Step
	runs  int
	until time.Time
	spent bool
}

// Shrink makes the smallest scenario that it finds.
func Shrink(s *scenarios.Scenario, o Options) (*Result, error) {
	if o.Budget == 0 {
		o.Budget = time.Minute
	}
	if o.Others == 0 {
		o.Others = 100
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	first, err := runner.Run(s, runner.Options{Seed: o.Seed, N: o.N, Wrap: runner.Make(o.Wrap)})
	if err != nil {
		return nil, err
	}
	sig, ok := first.Signature()
	if !ok {
		return nil, ErrClean
	}
	draw, err := s.Draw(o.N, sim.NewSource(o.Seed))
	if err != nil {
		return nil, err
	}
	z := &shrinker{o: o, sig: sig, s: explicit(s, draw), steps: slices.Clone(first.Plan), until: time.Now().Add(o.Budget), runs: 1}
	if !z.fails(z.s, z.steps) {
		return nil, fmt.Errorf("run seed %d fails with %v, and its explicit plan does not: the faults are not all in it", o.Seed, sig)
	}
	z.cutBehind(first)
	z.dropSites()
	z.dropSteps()
	z.dropNodes()
	z.simplify()
	z.dropSteps()
	z.dropSites()
	z.dropSettings()
	z.shorten()
	z.steady()
	z.round()
	z.dropMore()
	z.shorten()
	return z.result(len(first.Plan))
}

// explicit is a scenario without its random faults and expectations. The sites
// of the code that a swarm drew are its settings.
func explicit(s *scenarios.Scenario, draw *faults.Draw) *scenarios.Scenario {
	c := *s.Explicit(nil, draw)
	c.MustFire, c.MustReach, c.Expect, c.Class, c.Seeds = nil, nil, nil, "short", 0
	c.Cluster.Hosts = slices.Clone(s.Cluster.Hosts)
	c.Cluster.Nodes = slices.Clone(s.Cluster.Nodes)
	return &c
}

// run makes one run of a candidate.
func (z *shrinker) run(s *scenarios.Scenario, steps []faults.Step, seed uint64) *runner.Result {
	z.runs++
	if steps == nil {
		steps = []faults.Step{} // nil would mean the scenario's own
	}
	// To the end: what a candidate violates first may be another invariant than
	// the one that is looked for, by a hair.
	r, err := runner.Run(s, runner.Options{Seed: seed, Steps: steps, Wrap: runner.Make(z.o.Wrap), All: true})
	if err != nil {
		return nil // a candidate that cannot be built is no candidate
	}
	return r
}

func (z *shrinker) same(r *runner.Result) bool {
	if r == nil {
		return false
	}
	return slices.Contains(r.Signatures(), z.sig)
}

// fails says whether a candidate fails as the run that is shrunk does. Once
// the budget is spent nothing does.
func (z *shrinker) fails(s *scenarios.Scenario, steps []faults.Step) bool {
	if z.spent = z.spent || time.Now().After(z.until); z.spent {
		return false
	}
	return z.same(z.run(s, steps, z.o.Seed))
}

// keep takes a candidate if it fails.
func (z *shrinker) keep(s *scenarios.Scenario, steps []faults.Step) bool {
	if !z.fails(s, steps) {
		return false
	}
	z.s, z.steps = s, steps
	return true
}

// violation is the one with the signature.
func (z *shrinker) violation(r *runner.Result) checkers.Violation {
	for i, sig := range r.Signatures() {
		if sig == z.sig {
			return r.Violations[i]
		}
	}
	return r.Violations[0]
}

// cutBehind drops what begins after the violation.
func (z *shrinker) cutBehind(r *runner.Result) {
	if len(r.Violations) == 0 {
		return
	}
	at := time.Duration(z.violation(r).At)
	z.keep(z.s, slices.DeleteFunc(slices.Clone(z.steps), func(s faults.Step) bool { return s.At > at }))
}

// dropSteps is delta debugging over the steps: halves, quarters, and so on down
// to single ones, until none can go.
func (z *shrinker) dropSteps() {
	for pieces := 2; len(z.steps) > 0; {
		z.o.Progress("dropping steps", z.runs, len(z.steps))
		pieces = min(pieces, len(z.steps))
		size := (len(z.steps) + pieces - 1) / pieces
		dropped := false
		for from := 0; from < len(z.steps); {
			to := min(from+size, len(z.steps))
			rest := slices.Delete(slices.Clone(z.steps), from, to)
			if z.keep(z.s, rest) {
				dropped = true
				continue // what stands at from is new
			}
			from = to
		}
		switch {
		case z.spent:
			return
		case dropped:
			pieces = max(pieces-1, 2)
		case size == 1:
			return
		default:
			pieces *= 2
		}
	}
}

// dropSites turns off the rare ways of the code that are not needed, all at
// once if that can be.
func (z *shrinker) dropSites() {
	z.o.Progress("dropping sites", z.runs, len(z.steps))
	if len(z.s.Sites) == 0 {
		return
	}
	c := *z.s
	if c.Sites = nil; z.keep(&c, z.steps) {
		return
	}
	for i := len(z.s.Sites) - 1; i >= 0; i-- {
		c := *z.s
		if c.Sites = slices.Delete(slices.Clone(c.Sites), i, i+1); len(c.Sites) == 0 {
			c.Sites = nil
		}
		z.keep(&c, z.steps)
	}
}

// dropNodes drops nodes that no step is about, and hosts that carry none.
func (z *shrinker) dropNodes() {
	for i := len(z.s.Cluster.Nodes) - 1; i >= 0; i-- {
		z.o.Progress("dropping nodes", z.runs, len(z.steps))
		c := *z.s
		name := c.Cluster.Nodes[i].Name
		if slices.ContainsFunc(z.steps, func(s faults.Step) bool {
			return slices.Contains(s.Fault.On, name) || slices.Contains(s.Fault.Peers, name)
		}) {
			continue
		}
		c.Cluster.Nodes = slices.Delete(slices.Clone(c.Cluster.Nodes), i, i+1)
		z.keep(&c, z.steps)
	}
	c := *z.s
	c.Cluster.Hosts = slices.DeleteFunc(slices.Clone(c.Cluster.Hosts), func(h scenarios.Host) bool {
		used := slices.ContainsFunc(c.Cluster.Nodes, func(n scenarios.Node) bool { return n.Host == h.Name })
		for _, s := range z.steps {
			used = used || slices.Contains(s.Fault.On, h.Name) || slices.Contains(s.Fault.On, h.Rack)
		}
		return !used
	})
	if len(c.Cluster.Hosts) < len(z.s.Cluster.Hosts) {
		z.keep(&c, z.steps)
	}
}

// with is the plan with one step changed.
func (z *shrinker) with(i int, change func(*faults.Step)) []faults.Step {
	steps := slices.Clone(z.steps)
	steps[i].Fault.On = slices.Clone(steps[i].Fault.On)
	steps[i].Fault.Peers = slices.Clone(steps[i].Fault.Peers)
	change(&steps[i])
	return steps
}

// simplify takes from each step what it does not need: targets, parameters,
// half of its time.
func (z *shrinker) simplify() {
	for i := range z.steps {
		z.o.Progress("simplifying steps", z.runs, len(z.steps))
		for k := len(z.steps[i].Fault.On) - 1; k >= 0 && len(z.steps[i].Fault.On) > 1; k-- {
			z.keep(z.s, z.with(i, func(s *faults.Step) { s.Fault.On = slices.Delete(s.Fault.On, k, k+1) }))
		}
		for k := len(z.steps[i].Fault.Peers) - 1; k >= 0 && len(z.steps[i].Fault.Peers) > 1; k-- {
			z.keep(z.s, z.with(i, func(s *faults.Step) { s.Fault.Peers = slices.Delete(s.Fault.Peers, k, k+1) }))
		}
		kind := faults.Lookup(z.steps[i].Fault.Kind)
		for _, p := range kind.Params {
			if slices.Contains(kind.Needs, p) {
				continue
			}
			z.try(i, func(s *faults.Step) { clearParam(&s.Fault, p) })
		}
		for range 6 {
			if z.steps[i].For <= 10*time.Millisecond || !z.try(i, func(s *faults.Step) { s.For = (s.For / 2).Round(time.Millisecond) }) {
				break
			}
		}
	}
}

// try keeps the plan with one step changed, if it fails and is another.
func (z *shrinker) try(i int, change func(*faults.Step)) bool {
	steps := z.with(i, change)
	if steps[i].String() == z.steps[i].String() {
		return false
	}
	return z.keep(z.s, steps)
}

// clearParam leaves a parameter out.
func clearParam(f *faults.Fault, name string) {
	switch name {
	case "restart":
		f.Restart = 0
	case "delay":
		f.Delay = 0
	case "period":
		f.Period = 0
	case "rate":
		f.Rate = 0
	case "count":
		f.Count = 0
	case "skip":
		f.Skip = 0
	case "type":
		f.Type = ""
	case "path":
		f.Path = ""
	case "offset":
		f.Offset = 0
	case "size":
		f.Size = 0
	}
}

// dropSettings takes the settings back to their defaults: of nodes, links, and
// of the training job.
func (z *shrinker) dropSettings() {
	z.o.Progress("dropping settings", z.runs, len(z.steps))
	for i := range z.s.Cluster.Nodes {
		for k := len(z.s.Cluster.Nodes[i].Options.Values) - 1; k >= 0; k-- {
			c := *z.s
			c.Cluster.Nodes = slices.Clone(c.Cluster.Nodes)
			n := &c.Cluster.Nodes[i]
			if n.Options.Values = slices.Delete(slices.Clone(n.Options.Values), k, k+1); len(n.Options.Values) == 0 {
				n.Options.Values = nil
			}
			z.keep(&c, z.steps)
		}
	}
	for _, change := range []func(*scenarios.Scenario){
		func(c *scenarios.Scenario) { c.Cluster.Link = scenarios.Link{} },
		func(c *scenarios.Scenario) { c.Training = scenarios.Training{} },
		func(c *scenarios.Scenario) { c.Sometimes = 0 },
		func(c *scenarios.Scenario) { c.Core = nil },
		func(c *scenarios.Scenario) { c.HealAt, c.Converge, c.Core = 0, 0, nil },
	} {
		c := *z.s
		change(&c)
		z.keep(&c, z.steps)
	}
}

// shorten ends the run soon after the violation.
func (z *shrinker) shorten() {
	r := z.run(z.s, z.steps, z.o.Seed)
	if !z.same(r) || len(r.Violations) == 0 {
		return
	}
	at := time.Duration(z.violation(r).At)
	for _, slack := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second} {
		end := (at + slack).Truncate(time.Second) + time.Second
		if end >= z.s.Duration.Std() {
			return
		}
		c := *z.s
		c.Duration = scenarios.Duration(end)
		if c.HealAt+c.Converge >= c.Duration {
			c.HealAt, c.Converge, c.Core = 0, 0, nil
		}
		cut := slices.Clone(z.steps)
		for i := range cut {
			if cut[i].At+cut[i].For > end {
				cut[i].For = end - cut[i].At
			}
		}
		if z.keep(&c, cut) {
			return
		}
	}
}

// dropMore drops steps that a steadier plan no longer needs.
func (z *shrinker) dropMore() {
	for i := len(z.steps) - 1; i >= 0 && len(z.steps) > 1; i-- {
		rest := slices.Delete(slices.Clone(z.steps), i, i+1)
		if !z.worse(rest) {
			z.keep(z.s, rest)
		}
	}
}

// round gives the steps times that are easy to read.
func (z *shrinker) round() {
	for i := range z.steps {
		for _, unit := range []time.Duration{time.Second, 100 * time.Millisecond, 10 * time.Millisecond, time.Millisecond} {
			change := func(s *faults.Step) {
				s.At = max(s.At.Round(unit), unit)
				if s.For > 0 {
					s.For = max(s.For.Round(unit), unit)
				}
			}
			steps := z.with(i, change)
			if steps[i].String() == z.steps[i].String() {
				break
			}
			if z.worse(steps) {
				continue
			}
			if z.keep(z.s, steps) {
				break
			}
		}
	}
	slices.SortStableFunc(z.steps, func(a, b faults.Step) int { return int(a.At - b.At) })
}

// result is the final scenario and what is to be said of it.
func (z *shrinker) result(before int) (*Result, error) {
	z.o.Progress("trying other run seeds", z.runs, len(z.steps))
	final := z.run(z.s, z.steps, z.o.Seed)
	if !z.same(final) {
		return nil, fmt.Errorf("the shrunk plan does not fail again: the harness lost determinism")
	}
	out := *z.s
	for _, s := range z.steps {
		out.Plan = append(out.Plan, scenarios.Step{At: scenarios.Duration(s.At), For: scenarios.Duration(s.For), Fault: scenarios.FaultText(s.Fault.String())})
	}
	out.Name = "shrunk: " + z.sig.Shape
	out.About = fmt.Sprintf("%s\nShrunk from run seed %d of %s: %d steps of %d are needed.\n", z.failure(final), z.o.Seed, z.s.Name, len(z.steps), before)
	if inv := z.sig.Invariant; inv != "harness" {
		out.Checks = []string{inv}
		out.Expect = scenarios.Expectation{inv}
		for _, v := range final.Violations { // what else the same checkers say
			if !slices.Contains(out.Expect, v.Invariant) {
				out.Expect = append(out.Expect, v.Invariant)
			}
		}
	}
	r := &Result{Signature: z.sig, Scenario: &out, Seed: z.o.Seed, Run: final, Before: before, Others: z.o.Others}
	for k := range z.o.Others {
		if z.same(z.run(z.s, z.steps, others(z.o.Seed, k))) {
			r.Fail++
		}
	}
	for i := range z.steps {
		without := z.run(z.s, slices.Delete(slices.Clone(z.steps), i, i+1), z.o.Seed)
		said := "clean"
		if without == nil {
			said = "no run"
		} else if sig, bad := without.Signature(); bad {
			said = sig.String()
		}
		r.Without = append(r.Without, said)
	}
	r.Runs, r.Spent = z.runs, z.spent
	return r, nil
}

// failure is the line that says what went wrong.
func (z *shrinker) failure(r *runner.Result) string {
	if len(r.Violations) > 0 && r.Verdict != runner.Broken {
		return z.violation(r).String()
	}
	return r.Failure()
}

// others are the run seeds that a result is tried with.
func others(seed uint64, k int) uint64 { return sim.NewSource(seed).At("other", uint64(k), 0) >> 16 }
