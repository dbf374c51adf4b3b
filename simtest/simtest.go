// Package simtest tests a system of one's own under faults, from a plain go test:
// actors, checkers, faults and assertions that are not Esper's.
//
//	func TestMine(t *testing.T) { simtest.Test(t, mine) }
//
// [Test] runs many run seeds. Each draws its own arrivals of the faults; the first
// run that violates anything is shrunk to the steps that it takes, run again to
// see that it does the same, and printed with the flag that repeats it:
//
//	go test ./mine -run TestMine -simtest.seed=7
//
// Actors are written against package cluster/actor, and their messages are
// generated ones, such as [github.com/esper-sim/espersim/contracts/generated/go/evidence/v2.Note].
package simtest

import (
	"errors"
	"flag"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

var (
	seedFlag  = flag.Uint64("simtest.seed", 0, "the one run seed to run; 0: all")
	seedsFlag = flag.Int("simtest.seeds", 0, "how many run seeds to run; 0: what the test says")
)

// System is what is tested, and under what.
type System struct {
	Nodes    []sim.Node // each on the host that it names; the hosts are made
	Link     sim.Link
	Duration time.Duration // virtual time of a run
	Quiet    time.Duration // no fault arrives later; 0: half of Duration
	Seeds    int           // run seeds; 0: 20
	// Random are faults of the catalogue, as `espersim faults list` prints them,
	// and how often they arrive; Own are others.
	Random []Random
	Own    []Fault
	// Checkers makes the checkers of one run.
	Checkers func() []Checker
}

// Random is a fault of the catalogue that arrives at random.
type Random struct {
	Fault string        // such as "crash any restart=200ms"
	Every time.Duration // mean time between two
	For   time.Duration // how long each holds, where it does
}

// Fault is one of the system's own: Do makes it happen to a node that is drawn.
type Fault struct {
	Name  string
	Every time.Duration
	Do    func(w *sim.World, node string)
}

// A Checker judges one run. An error is a violation and ends the run.
type Checker interface {
	// Observe sees every event in order, and the message or fact that it carries;
	// nil where it carries none. Neither may be kept.
	Observe(e *trace.Event, m canon.Message) error
	// Finish is called once, at the end of a run without violations.
	Finish() error
}

// assertion is the kind of the notes that Always writes down.
const assertion = "simtest/always"

// Always asserts inside an actor that something holds whenever this place is
// passed. What does not is a violation, and a test in which no run passed the
// place fails as well.
func Always(env actor.Env, holds bool, name string) {
	env.Probe.Reached("always/" + name)
	if !holds {
		env.Facts.Record(&evidencev2.Note{Kind: assertion, Words: []string{name}})
	}
}

// A Step is a fault at its time.
type Step struct {
	faults.Step
	own *Fault
}

// String is the step as people read it.
func (s Step) String() string {
	if s.own != nil {
		return fmt.Sprintf("at %v: %s %s", s.At, s.own.Name, s.Fault.On[0])
	}
	return s.Step.String()
}

// Result is what became of a run.
type Result struct {
	Seed      uint64
	Violation error // nil: none
	At        time.Duration
	Hash      string
	Steps     []Step
	Probes    map[string]uint64
}

// String says what was found, and what it takes.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "run seed %d, at %v: %v\n", r.Seed, r.At, r.Violation)
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "    %v\n", s)
	}
	fmt.Fprintf(&b, "    again: -simtest.seed=%d, trace hash %s", r.Seed, r.Hash)
	return b.String()
}

// Test runs the system and fails with the first run that violates anything,
// shrunk. An assertion that no run passed is a failure, too: name those that the
// runs must pass.
func Test(t testing.TB, s System, passed ...string) {
	t.Helper()
	r, probes, err := Hunt(s)
	switch {
	case err != nil:
		t.Fatal(err)
	case r != nil:
		t.Fatalf("%v", r)
	case *seedFlag != 0:
		return
	}
	for _, name := range passed {
		if probes["always/"+name] == 0 {
			t.Errorf("no run has passed the assertion %q", name)
		}
	}
}

// Hunt runs the seeds and returns the first run that violates anything, shrunk;
// nil: none does. The probes are those of all runs.
func Hunt(s System) (*Result, map[string]uint64, error) {
	probes := map[string]uint64{}
	first, n := uint64(1), max(s.Seeds, 1)
	if s.Seeds == 0 {
		n = 20
	}
	if *seedsFlag > 0 {
		n = *seedsFlag
	}
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	for seed := first; seed < first+uint64(n); seed++ {
		steps, err := s.steps(seed)
		if err != nil {
			return nil, nil, err
		}
		r, err := s.Run(seed, steps)
		if err != nil {
			return nil, nil, err
		}
		for k, v := range r.Probes {
			probes[k] += v
		}
		if r.Violation != nil {
			r, err = s.shrink(r)
			return r, probes, err
		}
	}
	return nil, probes, nil
}

// scenario is the system as far as faults must know it.
func (s System) scenario() *scenarios.Scenario {
	sc := &scenarios.Scenario{Duration: scenarios.Duration(s.Duration)}
	seen := map[string]bool{}
	for _, n := range s.Nodes {
		if !seen[n.Host] {
			seen[n.Host] = true
			sc.Cluster.Hosts = append(sc.Cluster.Hosts, scenarios.Host{Name: n.Host})
		}
		sc.Cluster.Nodes = append(sc.Cluster.Nodes, scenarios.Node{Name: string(n.ID), Host: n.Host})
	}
	return sc
}

// steps are the faults of a run in order of time.
func (s System) steps(seed uint64) ([]Step, error) {
	nodes, hosts, racks := s.scenario().Names()
	until := s.Quiet
	if until == 0 {
		until = s.Duration / 2
	}
	var steps []Step
	add := func(f faults.Fault, every, hold time.Duration, key string, own *Fault) {
		r := faults.Random{Fault: f, Every: every, For: hold, Until: until, Key: key}
		for _, x := range faults.Expand([]faults.Random{r}, s.Duration, sim.NewSource(seed), nodes, hosts, racks) {
			steps = append(steps, Step{x, own})
		}
	}
	for _, r := range s.Random {
		f, err := faults.Parse(r.Fault)
		if err == nil {
			err = f.Targets(nodes, hosts, racks)
		}
		if err != nil {
			return nil, err
		}
		add(f, r.Every, r.For, "", nil)
	}
	for i := range s.Own {
		// Its arrivals and targets are drawn as those of a fault of the catalogue.
		add(faults.Fault{Kind: "crash", On: []string{faults.Any}}, s.Own[i].Every, 0, "own "+s.Own[i].Name, &s.Own[i])
	}
	sort.SliceStable(steps, func(i, j int) bool { return steps[i].At < steps[j].At })
	return steps, nil
}

// Run runs the system once with these steps. An error means that the run could
// not be built, or that the harness failed.
func (s System) Run(seed uint64, steps []Step) (*Result, error) {
	r := &Result{Seed: seed, Steps: steps}
	sc, keyed := s.scenario(), sim.NewSource(seed)
	cfg := sim.Config{Seed: seed, Nodes: s.Nodes, Link: s.Link, Poison: true}
	for _, h := range sc.Cluster.Hosts {
		d, err := disk.New(disk.Config{Keyed: keyed.Named(h.Name)})
		if err != nil {
			return nil, err
		}
		cfg.Hosts = append(cfg.Hosts, sim.Host{Name: h.Name, Disk: d})
	}
	var w *sim.World
	judge := &observer{stop: func() { w.Stop() }}
	if s.Checkers != nil {
		judge.checkers = s.Checkers()
	}
	cfg.Trace = trace.NewLog(judge)
	w, err := sim.New(cfg)
	if err != nil {
		return nil, err
	}
	hands := runner.Hold(w, sc)
	var known []faults.Step
	for i, x := range steps {
		if x.own == nil {
			known = append(known, x.Step)
			continue
		}
		w.At(x.At, uint64(i), func() {
			hands.FaultBegan(x.own.Name+" "+x.Fault.On[0], i)
			x.own.Do(w, x.Fault.On[0])
		})
	}
	schedule := faults.Start(hands, hands, known)
	err = w.Run(s.Duration)
	_, injected := schedule.Finish()
	w.End()
	if err = errors.Join(err, injected); err != nil {
		return nil, fmt.Errorf("run seed %d: %w", seed, err)
	}
	for _, c := range judge.checkers {
		if judge.found == nil {
			judge.found = c.Finish()
			judge.at = int64(w.Now())
		}
	}
	r.Violation, r.At, r.Hash, r.Probes = judge.found, time.Duration(judge.at), w.Hash().String(), w.Probes()
	return r, nil
}

// shrink leaves out steps, in ever smaller groups, as long as the run still
// violates the same.
func (s System) shrink(r *Result) (*Result, error) {
	for size := len(r.Steps); size > 0; size /= 2 {
		for from := 0; from+size <= len(r.Steps); {
			fewer := append(append([]Step(nil), r.Steps[:from]...), r.Steps[from+size:]...)
			again, err := s.Run(r.Seed, fewer)
			if err != nil {
				return nil, err
			}
			if again.Violation != nil && kindOf(again.Violation) == kindOf(r.Violation) {
				r = again
			} else {
				from += size
			}
		}
	}
	again, err := s.Run(r.Seed, r.Steps)
	if err == nil && again.Hash != r.Hash {
		err = fmt.Errorf("two runs of run seed %d have the hashes %s and %s: something in the system is not deterministic", r.Seed, r.Hash, again.Hash)
	}
	return again, err
}

// kindOf is a violation without its numbers: what sort it is.
func kindOf(err error) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}

// observer shows a run to the checkers until one finds something.
type observer struct {
	checkers []Checker
	stop     func()
	found    error
	at       int64
}

// Observe implements trace.Observer.
func (o *observer) Observe(e *trace.Event) {
	if o.found != nil {
		return
	}
	var m canon.Message
	switch v := e.Value.(type) {
	case *wire.Mail:
		m = v.Payload
	case canon.Message:
		m = v
	}
	switch note, ok := m.(*evidencev2.Note); {
	case e.Kind == trace.NodeExited && e.Text != "":
		o.found = fmt.Errorf("%s ended: %s", e.Node, e.Text)
	case e.Kind == trace.FactDeclared && ok && note.Kind == assertion:
		o.found = fmt.Errorf("%s: it does not always hold that %s", e.Node, strings.Join(note.Words, " "))
	}
	for _, c := range o.checkers {
		if o.found == nil {
			o.found = c.Observe(e, m)
		}
	}
	if o.found != nil {
		o.at = e.At
		o.stop()
	}
}
