// Package guided searches for failures by plans that lead to new states.
//
// Random run seeds draw their faults independently of what they find. A guided
// hunt remembers the plan of every run that went through an abstract state
// which none had gone through before, and when in the run that was. It tries
// variations of those plans: steps dropped, doubled, moved, aimed at other
// targets, joined with the steps of another plan; and, most of all, the same run
// up to the moment of a state that few runs have come to, and faults right
// behind it. Decisions are keyed, so a run whose plan has the same beginning has
// the same beginning: what took a thousand runs to come to is there again, as in
// a debugger that goes back.
//
// It is coverage-guided fuzzing (AFL, and for the choice of what to vary
// AFLFast's rare branches) over plans, with the states of processes and protocols
// in the place of branches.
package guided

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/trace"
)

// Options of a guided hunt.
type Options struct {
	Seed   uint64        // of the search; also the first run seed
	Runs   int           // most runs; 0: until the budget is spent
	Budget time.Duration // of wall time; 0: none
	// StopFirst ends the hunt with the first failure.
	StopFirst bool
	// Wrap makes the wrapper of each run, if set.
	Wrap func() runner.Wrapper
	// Progress is called after each run.
	Progress func(runs, states, plans int)
}

// A Failure is a run that the scenario did not expect, with its plan.
type Failure struct {
	Signature runner.Signature
	Run       *runner.Result
	Steps     []faults.Step
	At        int // the number of the run, from 1
}

// Result of a guided hunt.
type Result struct {
	Failures []*Failure // the first of each signature
	Runs     int
	States   int // abstract states that were reached
	Plans    int // plans that reached new ones
}

// entry is a plan that reached something new.
type entry struct {
	seed  uint64
	steps []faults.Step
}

// feature is an abstract state with the run that came to it first.
type feature struct {
	id    uint64
	by    *entry
	where place
	runs  int // that came to it
	tried int // variations of it
}

// fresh is the share of runs that are random run seeds: one in so many.
const fresh = 5

// first is how many plans there must be before any is varied: among few, what
// looks rare is not.
const first = 24

// Hunt searches one scenario. The same options and number of runs make the same
// runs.
func Hunt(s *scenarios.Scenario, o Options) (*Result, error) {
	h := &hunt{s: s, o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x6775696465)), states: map[uint64]*feature{}}
	h.until = s.Duration.Std()
	if len(s.Random) > 0 {
		h.until = 0
		for _, r := range s.Random {
			h.until = max(h.until, r.Until.Std())
			if r.Until == 0 {
				h.until = s.Duration.Std()
			}
		}
	}
	h.nodes, h.hosts, h.racks = s.Names()
	res := &Result{}
	known := map[runner.Signature]bool{}
	began := time.Now()
	for seed := o.Seed; ; {
		if o.Runs > 0 && res.Runs >= o.Runs || o.Budget > 0 && time.Since(began) >= o.Budget {
			break
		}
		e := &entry{seed: seed}
		if len(h.corpus) >= first && h.rng.IntN(fresh) != 0 {
			e = h.vary()
		} else {
			var err error
			if e.steps, err = s.Steps(0, sim.NewSource(seed)); err != nil {
				return nil, err
			}
			seed++
		}
		r, news, err := h.run(e)
		if err != nil {
			return nil, err
		}
		res.Runs++
		if news > 0 {
			h.corpus = append(h.corpus, e)
		}
		if sig, failed := runner.Unexpected(s, r); failed && !known[sig] {
			known[sig] = true
			res.Failures = append(res.Failures, &Failure{Signature: sig, Run: r, Steps: e.steps, At: res.Runs})
			if o.StopFirst {
				break
			}
		}
		if o.Progress != nil {
			o.Progress(res.Runs, len(h.states), len(h.corpus))
		}
	}
	res.States, res.Plans = len(h.states), len(h.corpus)
	return res, nil
}

// longest bounds a plan: joined again and again, plans would double.
const longest = 150

type hunt struct {
	s                   *scenarios.Scenario
	o                   Options
	rng                 *rand.Rand
	states              map[uint64]*feature
	order               []*feature // in the order in which they were come to
	corpus              []*entry
	until               time.Duration // when the scenario's own faults end
	nodes, hosts, racks []string
}

// run makes one run and counts the states that are new.
func (h *hunt) run(e *entry) (*runner.Result, int, error) {
	w := newWatcher()
	steps := e.steps
	if steps == nil {
		steps = []faults.Step{} // nil would mean the scenario's own
	}
	r, err := runner.Run(h.s, runner.Options{Seed: e.seed, Steps: steps, Wrap: runner.Make(h.o.Wrap), Observers: []trace.Observer{w}})
	if err != nil {
		return nil, 0, err
	}
	w.reached(r.Probes)
	var found []*feature
	for f, where := range w.seen {
		if have := h.states[f]; have != nil {
			have.runs++
			continue
		}
		n := &feature{id: f, by: e, where: where, runs: 1}
		h.states[f] = n
		found = append(found, n)
	}
	// A map has no order, and a search must have one.
	slices.SortFunc(found, func(a, b *feature) int { return cmp.Compare(a.id, b.id) })
	h.order = append(h.order, found...)
	return r, len(found), nil
}

// pick chooses a state to go on from: of some drawn at random the one that the
// fewest runs have come to, for the times it was tried.
func (h *hunt) pick() *feature {
	var best *feature
	for range 12 {
		f := h.order[h.rng.IntN(len(h.order))]
		if best == nil || f.runs+2*f.tried < best.runs+2*best.tried {
			best = f
		}
	}
	best.tried++
	return best
}

// vary makes a new plan of one that reached something new.
func (h *hunt) vary() *entry {
	f := h.pick()
	e := &entry{seed: f.by.seed, steps: slices.Clone(f.by.steps)}
	if h.rng.IntN(4) > 0 {
		h.goOn(e, f)
	} else {
		// Another world half of the time: what led somewhere new may lead on from
		// there. In the same world it is the plan that has to.
		if h.rng.IntN(2) == 0 {
			e.seed = h.rng.Uint64() >> 16
		}
		for range h.rng.IntN(3) {
			e.steps = append(e.steps, h.pick().by.steps...)
		}
		for range 1 + h.rng.IntN(6) {
			e.steps = h.mutate(e.steps)
		}
	}
	for len(e.steps) > longest {
		i := h.rng.IntN(len(e.steps))
		e.steps = slices.Delete(e.steps, i, i+1)
	}
	slices.SortStableFunc(e.steps, func(a, b faults.Step) int { return int(a.At - b.At) })
	return e
}

// goOn leaves a plan as it is up to a state, and has faults follow it closely.
func (h *hunt) goOn(e *entry, f *feature) {
	if h.rng.IntN(2) == 0 {
		e.steps = slices.DeleteFunc(e.steps, func(s faults.Step) bool { return s.At > f.where.at })
		// What comes later is that of another plan.
		for _, s := range h.pick().by.steps {
			if s.At > f.where.at {
				e.steps = append(e.steps, s)
			}
		}
	}
	at := f.where.at
	for range 1 + h.rng.IntN(3) {
		s, ok := h.draw()
		if !ok {
			return
		}
		// From a moment to some seconds, each order of magnitude as often.
		at += time.Duration(1+h.rng.Int64N(9)) * []time.Duration{10 * time.Microsecond, 100 * time.Microsecond,
			time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond}[h.rng.IntN(5)]
		s.At = min(max(at, time.Millisecond), h.until)
		if h.rng.IntN(2) == 0 {
			s = h.point(s, f.where.node)
		}
		e.steps = append(e.steps, h.fit(s))
	}
}

// draw is one step as the scenario's own chance might have it.
func (h *hunt) draw() (faults.Step, bool) {
	for range 8 {
		drawn, err := h.s.Steps(0, sim.NewSource(h.rng.Uint64()))
		if err == nil && len(drawn) > 0 {
			return drawn[h.rng.IntN(len(drawn))], true
		}
	}
	return faults.Step{}, false
}

// point aims a step at a node, or at the host under it, if that is allowed.
func (h *hunt) point(s faults.Step, node string) faults.Step {
	to := node
	switch faults.Lookup(s.Fault.Kind).Shape {
	case faults.OnHosts:
		to = ""
		for _, n := range h.s.Cluster.Nodes {
			if n.Name == node {
				to = n.Host
			}
		}
	case faults.OnLinks, faults.OnRacks:
		return s
	}
	if to != "" && len(s.Fault.On) == 1 && h.allowed(s.Fault, to) {
		s.Fault.On = []string{to}
	}
	return s
}

// mutate makes one change.
func (h *hunt) mutate(steps []faults.Step) []faults.Step {
	end := h.until
	at := func(t time.Duration) time.Duration { return min(max(t, time.Millisecond), end-time.Millisecond) }
	if len(steps) == 0 {
		return h.borrow(steps)
	}
	i := h.rng.IntN(len(steps))
	switch h.rng.IntN(8) {
	case 0: // drop
		return slices.Delete(steps, i, i+1)
	case 1: // once more, soon after
		s := steps[i]
		s.At = at(s.At + time.Duration(h.rng.Int64N(int64(2*time.Second))))
		return append(steps, h.fit(s))
	case 2: // a little earlier or later
		s := steps[i]
		s.At = at(s.At + time.Duration(h.rng.Int64N(int64(400*time.Millisecond))) - 200*time.Millisecond)
		steps[i] = h.fit(s)
	case 3: // at another time
		s := steps[i]
		s.At = at(time.Duration(h.rng.Int64N(int64(end))))
		steps[i] = h.fit(s)
	case 4: // longer or shorter
		if steps[i].For > 0 {
			s := steps[i]
			s.For = max(s.For*time.Duration(1+h.rng.IntN(8))/4, time.Millisecond)
			steps[i] = h.fit(s)
		}
	case 5: // at another target, or another operation
		steps[i] = h.aim(steps[i])
	case 6: // right behind another
		j := h.rng.IntN(len(steps))
		s := steps[i]
		s.At = at(steps[j].At + time.Duration(h.rng.Int64N(int64(100*time.Millisecond))))
		steps[i] = h.fit(s)
	default:
		return h.borrow(steps)
	}
	return steps
}

// fit keeps a step inside of the run.
func (h *hunt) fit(s faults.Step) faults.Step {
	if s.For > 0 {
		s.For = min(s.For, h.s.Duration.Std()-s.At)
	}
	return s
}

// aim changes what a step is about.
func (h *hunt) aim(s faults.Step) faults.Step {
	if s.Fault.Op > 0 && h.rng.IntN(2) == 0 {
		s.Fault.Op = 1 + h.rng.IntN(2*s.Fault.Op+8)
		return s
	}
	have := h.nodes
	switch faults.Lookup(s.Fault.Kind).Shape {
	case faults.OnHosts:
		have = h.hosts
	case faults.OnRacks:
		have = h.racks
	case faults.OnLinks:
		return s
	}
	if len(have) == 0 || len(s.Fault.On) != 1 {
		return s
	}
	on := have[h.rng.IntN(len(have))]
	if !h.allowed(s.Fault, on) {
		return s
	}
	s.Fault.On = []string{on}
	return s
}

// allowed says whether a fault may hit a target: one that the scenario aims at
// names hits nothing else, since that may be what makes it survivable.
func (h *hunt) allowed(f faults.Fault, on string) bool {
	for _, r := range h.s.Random {
		g, err := faults.Parse(string(r.Fault))
		if err == nil && g.Kind == f.Kind && (slices.Contains(g.On, faults.Any) || slices.Contains(g.On, on)) {
			return true
		}
	}
	return false
}

// borrow takes a few steps that stand together in another plan, or of a random
// run seed.
func (h *hunt) borrow(steps []faults.Step) []faults.Step {
	var from []faults.Step
	if len(h.order) > 0 && h.rng.IntN(2) == 0 {
		from = h.pick().by.steps
	} else if drawn, err := h.s.Steps(0, sim.NewSource(h.rng.Uint64())); err == nil {
		from = drawn
	}
	if len(from) == 0 {
		return steps
	}
	i := h.rng.IntN(len(from))
	j := min(i+1+h.rng.IntN(4), len(from))
	return append(steps, from[i:j]...)
}
