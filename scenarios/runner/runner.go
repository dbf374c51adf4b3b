// Package runner runs scenarios. It is the one place that knows every part of
// a run, and [Run] is one run from beginning to end: load, boot, the plan's
// steps inject, the world runs, the checkers judge, the result says what was
// found.
package runner

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"time"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/cluster"
	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/oona"
	"github.com/esper-sim/espersim/cluster/setting"
	"github.com/esper-sim/espersim/cluster/trainer"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// Catalogue is what scenario files are checked against.
func Catalogue() scenarios.Catalogue {
	return scenarios.Catalogue{
		Roles: cluster.RoleNames(), Invariants: checkers.IDs(), Probes: cluster.ProbeNames(), CheckOption: cluster.CheckOption,
	}
}

// Options of one run.
type Options struct {
	Seed    uint64
	N       int       // value of $n, for scenarios that enumerate
	Trace   io.Writer // if set, the trace is written there
	NoJudge bool      // no checkers: for the overhead, and to show that they change nothing
	All     bool      // go on after the first violation
	Poison  bool      // overwrite received messages after use; see sim.Config
	// Steps replaces the faults that the scenario and seed amount to.
	Steps []faults.Step
	// Decisions sees every random decision; see sim.Decision.
	Decisions func(sim.Decision)
	// Deviate has single messages otherwise than the links do; see sim.Config.
	Deviate func(sim.Transit) sim.Deviation
	Commit  string // for the trace's header
	// Picture is given a drawing of each history that is not linearizable.
	Picture func(invariant string, draw func(io.Writer) error)
	// Observers see every event of the run, after the checkers did.
	Observers []trace.Observer
	// Before, if set, is told the faults of the run before it begins: what is
	// written down then outlives a crash of this program.
	Before func(steps []faults.Step) error
	// Export, if set, gets the evolved model with its lineage at the end of a
	// run that trained one (HLD section 9.2). It needs the judge.
	Export func(*statev2.ModelExport) error
	// Wrap, if set, stands between the world and the processes: it is given
	// the constructor of each node and returns the one that is used. A wrapped
	// constructor may hand another actor.Env to the process, or return an actor
	// around it. That is how a known bug is planted into the real system, to
	// see that a checker finds it, and how a test watches a process from
	// outside. A run with Wrap is as deterministic as what it adds.
	Wrap Wrapper
	// Follow keeps account of who waits for whom; see checkers.Suite.Waits.
	Follow bool
	// Drive, if set, runs the world in the place of World.Run: step by step, or to
	// where somebody wants to look. What it returns is the harness's failure.
	Drive func(*Driven) error
}

// Driven is a run in the hands of Options.Drive.
type Driven struct {
	World *sim.World
	Suite *checkers.Suite // nil without a judge
	Steps []faults.Step
	Draw  *faults.Draw // nil without a swarm
	End   time.Duration
}

// A Wrapper stands between the world and the processes of one run; see
// Options.Wrap. What tries many runs is given a function that makes a fresh one
// for each: a planted bug may remember what it did.
type Wrapper func(node, role string, c actor.Constructor) actor.Constructor

// Make is the wrapper that make gives, or none where it is nil.
func Make(make func() Wrapper) Wrapper {
	if make == nil {
		return nil
	}
	return make()
}

// Verdict is what became of a run.
type Verdict string

// The verdicts.
const (
	Clean    Verdict = "clean"
	Violated Verdict = "violated"
	Stuck    Verdict = "stuck"   // a liveness invariant was violated, and no other
	Broken   Verdict = "harness" // the run itself failed
)

// Result is one run.
type Result struct {
	Scenario   string               `json:"scenario"`
	Name       string               `json:"name"`
	RunSeed    uint64               `json:"run_seed"`
	N          int                  `json:"n,omitempty"`
	Verdict    Verdict              `json:"verdict"`
	TraceHash  string               `json:"trace_hash"`
	Events     uint64               `json:"events"`
	Messages   uint64               `json:"messages"`
	SimMS      int64                `json:"sim_ms"`
	WallMS     int64                `json:"wall_ms"`
	Fired      map[string]uint64    `json:"faults_fired"`
	Violations []checkers.Violation `json:"violations"`
	Judged     map[string]uint64    `json:"judged"`
	Probes     map[string]uint64    `json:"probes"`
	// Swarm is what the run drew of the scenario's swarm, for people: the biases
	// first, then a fault or site each.
	Swarm []string `json:"swarm,omitempty"`
	// Waits is who waits for whom at the end of a run that is stuck.
	Waits *checkers.WaitReport `json:"waits,omitempty"`
	// SwarmGiven is the swarm where a command line turned it on.
	SwarmGiven string `json:"swarm_given,omitempty"`
	// Fleet is what became of a fleet's training; nil: there is none.
	Fleet *Fleet        `json:"fleet,omitempty"`
	Error string        `json:"error,omitempty"`
	Plan  []faults.Step `json:"-"`
}

// Run runs a scenario once. An error means that the run could not be built;
// what goes wrong inside it is in the result.
func Run(s *scenarios.Scenario, o Options) (res *Result, err error) {
	began := time.Now()
	res = &Result{Scenario: s.File, Name: s.Name, RunSeed: o.Seed, N: o.N, Fired: map[string]uint64{}}
	keyed := sim.NewSource(o.Seed)
	draw, err := s.Draw(o.N, keyed)
	if err != nil {
		return nil, err
	}
	if draw != nil {
		res.Swarm = draw.Lines()
	}
	if s.SwarmGiven {
		res.SwarmGiven = s.Swarm
	}
	steps := o.Steps
	if steps == nil {
		if steps, err = s.Steps(o.N, keyed); err != nil {
			return nil, err
		}
	}
	res.Plan = steps
	if o.Before != nil {
		if err := o.Before(steps); err != nil {
			return nil, err
		}
	}
	j, err := Job(s)
	if err != nil {
		return nil, err
	}

	var w *sim.World
	var observers []trace.Observer
	var file *trace.Writer
	if o.Trace != nil {
		if file, err = trace.NewWriter(o.Trace, trace.Header{Scenario: s.File, RunSeed: o.Seed, Commit: o.Commit}); err != nil {
			return nil, err
		}
		observers = append(observers, file)
	}
	var suite *checkers.Suite
	if !o.NoJudge {
		p := checkers.Params{
			RunSeed: o.Seed, Void: map[string]string{}, Settled: settled(s, steps),
			Phases: checkers.Phases{Heal: s.HealAt.Std(), Within: s.Converge.Std(), Core: s.Core},
			// A wrapped constructor may remember the run, and make another of a
			// second one.
			Follow: o.Follow || o.Wrap != nil,
			Bus:    string(j.Oona), Key: j.Key[:], WallStart: sim.Epoch, Embargo: j.Rules.EmbargoEpochs, Rhythm: j.Checkpoint, Picture: o.Picture,
		}
		p.MaxSkew, p.Drift = clockErrors(steps)
		p.Damaged = damages(steps)
		p.Attempts, p.Lease, p.Retention = busSettings(s)
		for _, v := range s.Void {
			p.Void[v.Invariant] = v.Because
		}
		var calm *replay
		p.Prove = slices.Contains(s.Checks, "I10")
		p.Replay = replayer(j, o.Export != nil || p.Prove, &calm)
		if o.Export != nil {
			defer func() { err = calm.export(o.Export, res, err) }()
		}
		stop := func() {
			if !o.All {
				w.Stop()
			}
		}
		if suite, err = checkers.NewSuite(s.Checks, p, 100, stop); err != nil {
			return nil, err
		}
		observers = append(observers, suite)
	}
	observers = append(observers, o.Observers...)
	var fleet *fleetWatch
	if hasFleet(s) {
		fleet = new(fleetWatch)
		observers = append(observers, fleet)
	}
	if w, err = boot(s, j, o, keyed, draw, trace.NewLog(observers...)); err != nil {
		return nil, err
	}
	adapter := &world{w: w, s: s}
	schedule := faults.Start(adapter, adapter, steps)
	if s.HealAt > 0 {
		heal(w, s)
	}
	var runErr error
	if o.Drive != nil {
		runErr = o.Drive(&Driven{World: w, Suite: suite, Steps: steps, Draw: draw, End: s.Duration.Std()})
	} else {
		runErr = w.Run(s.Duration.Std())
	}
	fired, injectErr := schedule.Finish()
	w.End()

	res.Fired = fired
	res.TraceHash = w.Hash().String()
	res.Events, res.Messages = w.Trace().Len(), w.Messages()
	res.SimMS = w.Now().Milliseconds()
	res.Probes = w.Probes()
	if fleet != nil {
		res.Fleet = fleet.result()
	}
	res.Verdict = Clean
	if suite != nil {
		var judgeErr error
		if res.Violations, judgeErr = suite.Finish(); judgeErr != nil && runErr == nil {
			runErr = judgeErr
		}
		res.Judged = suite.Judgements()
		res.Verdict = verdict(res.Violations)
		if res.Verdict == Stuck {
			res.Waits = suite.Waits()
		}
	}
	if file != nil {
		if err := file.Close(); err != nil && runErr == nil {
			runErr = err
		}
	}
	if runErr == nil {
		runErr = injectErr
	}
	if runErr != nil {
		res.Verdict, res.Error = Broken, runErr.Error()
	}
	if res.Verdict == Stuck && res.Waits == nil {
		if err := res.explain(s, o); err != nil {
			return nil, err
		}
	}
	res.WallMS = time.Since(began).Milliseconds()
	return res, nil
}

// explain makes a stuck run once more to see who waits for whom. Runs that are
// clean need not pay for it.
func (r *Result) explain(s *scenarios.Scenario, o Options) error {
	again, err := Run(s, Options{Seed: o.Seed, N: o.N, Poison: o.Poison, All: o.All, Steps: r.Plan, Follow: true})
	if err == nil && again.TraceHash == r.TraceHash {
		r.Waits = again.Waits
	}
	return err
}

// heal ends what a plan's steps do not end by themselves: nodes that are down
// are started, crashes that wait for their moment are called off, and the code
// takes its usual ways. With a core, the nodes outside of it end for good.
func heal(w *sim.World, s *scenarios.Scenario) {
	// Just after the steps that end at that time.
	w.At(s.HealAt.Std()+time.Nanosecond, 0, func() {
		w.Heal(func(node string) bool { return len(s.Core) == 0 || contains(s.Core, node) })
	})
}

func verdict(violations []checkers.Violation) Verdict {
	if len(violations) == 0 {
		return Clean
	}
	for _, v := range violations {
		if inv := checkers.Find(v.Invariant); inv == nil || !inv.Liveness {
			return Violated
		}
	}
	return Stuck
}

// settled says from when on the faults of a plan are over: the liveness
// invariants are judged from there; nil: they are not.
func settled(s *scenarios.Scenario, steps []faults.Step) func(int64) bool {
	duration := s.Duration.Std()
	if n := len(s.Core); n > 0 && n < len(s.Cluster.Nodes) {
		return nil // whoever needs a node that is down for good may wait for ever
	}
	if heal := s.HealAt.Std(); heal > 0 {
		return func(at int64) bool { return at >= int64(heal) }
	}
	var last time.Duration
	for _, s := range steps {
		k := faults.Lookup(s.Fault.Kind)
		end := s.At + s.For
		if !k.Once(s.For) && s.For == 0 {
			end = duration // it holds to the end
		}
		if s.Fault.Restart > 0 {
			end += s.Fault.Restart
		}
		last = max(last, end)
	}
	return func(at int64) bool { return at >= int64(last) }
}

// clockErrors is how wrong the clocks of a plan may be, for the statements that
// allow for it.
func clockErrors(steps []faults.Step) (skew time.Duration, drift int64) {
	for _, s := range steps {
		skew += max(s.Fault.By, -s.Fault.By)
		drift = max(drift, s.Fault.PPM, -s.Fault.PPM)
	}
	return skew, drift
}

// damages says whether a plan has a disk lose or change what it has confirmed,
// or show it as it was: a log asks twice, and believes the second answer.
func damages(steps []faults.Step) bool {
	return slices.ContainsFunc(steps, func(s faults.Step) bool {
		k := faults.Lookup(s.Fault.Kind)
		return k.Area == "disk" && (k.Class != faults.Survivable || k.Name == "disk/stale-read")
	})
}

// busSettings are what the checkers must know of the bus's own settings.
func busSettings(s *scenarios.Scenario) (attempts uint32, lease, retention time.Duration) {
	o := oona.Defaults()
	for _, n := range s.Cluster.Nodes {
		if n.Role() != "oona" {
			continue
		}
		for _, v := range n.Options.Values {
			_ = setting.Set(o, v.Key, v.Value) // boot complains of what it cannot set
		}
	}
	return uint32(o.Attempts), o.Lease, o.Age
}

// chips are the accelerators of a host.
func chips(h *scenarios.Host, device gpu.Device, keyed sim.Source) []*simulated.Chip {
	list := make([]*simulated.Chip, max(h.Devices, 1))
	for i := range list {
		name := h.Name
		if i > 0 {
			name = fmt.Sprint(h.Name, "/", i+1)
		}
		list[i] = simulated.NewChip(simulated.Config{Profile: device, Index: i, UUID: "GPU-" + name, Keyed: keyed.Named(name)})
	}
	for i, c := range list {
		for k, peer := range list {
			if k != i {
				c.Connect(peer)
			}
		}
	}
	return list
}

// boot builds the world of a scenario.
func boot(s *scenarios.Scenario, j *job.Job, o Options, keyed sim.Source, draw *faults.Draw, log *trace.Log) (*sim.World, error) {
	cfg := sim.Config{
		Name: s.Name, Seed: o.Seed, Trace: log, Poison: o.Poison,
		Sometimes: s.Sometimes, Decisions: o.Decisions, Deviate: o.Deviate,
		Link: sim.Link{Loss: s.Cluster.Link.Loss, Latency: sim.Latency{
			Min: s.Cluster.Link.Min.Std(), P50: s.Cluster.Link.P50.Std(),
			P99: s.Cluster.Link.P99.Std(), Max: s.Cluster.Link.Max.Std(),
		}},
	}
	for _, site := range s.SiteRates(draw) {
		if cfg.Sites == nil {
			cfg.Sites = map[string]float64{}
		}
		cfg.Sites[site.Site] = site.Rate
	}
	for _, h := range s.Cluster.Hosts {
		profile := disk.PosixWeak
		if h.Disk.Profile == "ext4" {
			profile = disk.Ext4
		}
		d, err := disk.New(disk.Config{Profile: profile, Sector: h.Disk.Sector, Capacity: int64(h.Disk.Capacity), Keyed: keyed.Named(h.Name)})
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", h.Name, err)
		}
		device, err := gpu.ByName(h.Device)
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", h.Name, err)
		}
		cfg.Hosts = append(cfg.Hosts, sim.Host{Name: h.Name, Rack: h.Rack, Disk: d, Device: device, Chips: chips(&h, device, keyed)})
	}
	for _, n := range s.Cluster.Nodes {
		var settings []cluster.Setting
		for _, v := range n.Options.Values {
			settings = append(settings, cluster.Setting{Key: v.Key, Value: v.Value})
		}
		make, err := cluster.Constructor(j, n.Role(), settings)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", n.Name, err)
		}
		if o.Wrap != nil {
			make = o.Wrap(n.Name, n.Role(), make)
		}
		role, _ := cluster.FindRole(n.Role())
		restart := 200 * time.Millisecond
		if n.Restart != nil {
			restart = n.Restart.Std()
		}
		schema := wire.Newest
		if n.Schema != "" {
			if schema, err = wire.ParseVersion(string(n.Schema)); err != nil {
				return nil, fmt.Errorf("node %s: schema: %w", n.Name, err)
			}
		}
		cfg.Nodes = append(cfg.Nodes, sim.Node{ID: actor.ID(n.Name), Host: n.Host, Make: make, Callback: role.Callback, Restart: restart, Schema: schema})
	}
	return sim.New(cfg)
}

// Job is the training job of a scenario.
func Job(s *scenarios.Scenario) (*job.Job, error) {
	j, err := job.Default()
	if err != nil {
		return nil, err
	}
	t := s.Training
	if t.Model != "" {
		path := filepath.Join(filepath.Dir(s.File), t.Model)
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		g, err := trainer.ParseGraph(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if j.Graph, err = trainer.InjectGrafts(g, t.GraftAfter...); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, n := range []struct {
		given int
		into  *int
	}{{t.Samples, &j.Samples}, {t.Batch, &j.Batch}, {t.Steps, &j.Steps}, {t.CheckpointEvery, &j.Checkpoint}, {t.Seeds, &j.Slots}} {
		if n.given > 0 {
			*n.into = n.given
		}
	}
	if t.LearningRate > 0 {
		j.LearningRate = t.LearningRate
	}
	if t.Policy != "" {
		j.Policy = t.Policy
	}
	j.Library = t.Library
	if need := j.Batch * j.Steps; need > j.Samples {
		return nil, fmt.Errorf("%s: %d steps of %d samples need a training set of %d; it has %d", s.File, j.Steps, j.Batch, need, j.Samples)
	}
	for _, n := range s.Cluster.Nodes {
		switch n.Role() {
		case "tolaria":
			j.Tolaria = actor.ID(n.Name)
		case "kasmina":
			j.Kasmina = actor.ID(n.Name)
		case "tamiyo":
			j.Tamiyo = actor.ID(n.Name)
		case "oona":
			j.Oona = actor.ID(n.Name)
		}
	}
	return j, nil
}

// Repro is the command that runs a result again.
func (r *Result) Repro() string {
	s := fmt.Sprintf("espersim replay %s --seed %d", r.Scenario, r.RunSeed)
	if r.N != 0 {
		s += fmt.Sprintf(" --n %d", r.N)
	}
	return s + r.SwarmFlag()
}

// SwarmFlag is what the command that runs a result again needs beside the seed,
// where a command line and not the scenario turned the swarm on; else empty.
func (r *Result) SwarmFlag() string {
	if r.SwarmGiven == "" {
		return ""
	}
	return " --swarm=" + r.SwarmGiven
}

// FiredKinds lists the kinds of faults of the run's plan, sorted.
func (r *Result) FiredKinds() []string {
	kinds := make([]string, 0, len(r.Fired))
	for k := range r.Fired {
		kinds = append(kinds, k)
	}
	sort.Strings(kinds)
	return kinds
}

// Workers is how many runs go on at once unless the command line says
// otherwise: one for each processor, since a run is one thread.
func Workers() int { return runtime.GOMAXPROCS(0) }
