// Package scenarios reads scenario files: a cluster, its workload, what goes
// wrong in it and when, what is checked, and what is expected.
//
// Files are strict. Everything that is not understood is an error with file,
// line and column; see [Error]. schema.json beside this file is generated from
// the types here, for editors.
//
// # Compatibility
//
// A file names the version of the format that it was written for. A program
// reads all versions up to its own: keys are added, and never change their
// meaning within a version. A file of a newer version is refused.
package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/esper-sim/espersim/faults"
)

// Version is the newest version of the format.
const Version = 1

// Scenario is one file.
type Scenario struct {
	Version  int      `yaml:"version" need:"yes" doc:"version: 1"`
	Name     string   `yaml:"name" need:"yes" doc:"a short name for reports"`
	About    string   `yaml:"about" doc:"what the scenario shows, for people"`
	Class    string   `yaml:"class" oneof:"short,long" doc:"short runs in every test, long in a soak"`
	Duration Duration `yaml:"duration" need:"yes" doc:"virtual time of a run, such as 30s"`
	Seeds    int      `yaml:"seeds" doc:"how many run seeds are run unless the command line says otherwise"`

	Cluster  Cluster  `yaml:"cluster" need:"yes" doc:"hosts and nodes"`
	Training Training `yaml:"training" doc:"the training job, where nodes take part in one"`

	Plan      []Step      `yaml:"plan" doc:"faults at given times"`
	Random    []Random    `yaml:"random" doc:"faults that arrive at random"`
	Fleet     Fleet       `yaml:"fleet" doc:"failures of accelerators and their hosts at measured rates"`
	Swarm     string      `yaml:"swarm" oneof:"listed,survivable" doc:"each run draws its own share of the random faults, and of the code's rare ways: listed, of those in random; survivable, of every survivable kind that fits the cluster, too"`
	Sites     []Site      `yaml:"sites" doc:"rare ways of the code that are taken; see espersim faults sites"`
	Enumerate *Enumerate  `yaml:"enumerate" doc:"one run for each value of $n in the plan"`
	Sometimes float64     `yaml:"sometimes" doc:"probability that rare but allowed behaviour is taken at each of its sites"`
	HealAt    Duration    `yaml:"heal-at" doc:"every fault ends then, and every node is started"`
	Converge  Duration    `yaml:"converge-within" doc:"how long after heal-at everything may take to be well again"`
	Core      []string    `yaml:"core" doc:"nodes that must be well again after heal-at while the others stay down; left out: all"`
	Checks    []string    `yaml:"checks" doc:"ids of invariants; left out: all that the nodes give reason for"`
	Void      []Void      `yaml:"void" doc:"invariants that the plan makes void, each with the reason"`
	Expect    Expectation `yaml:"expect" need:"yes" doc:"clean, or the ids of the invariants that must be violated"`
	MustFire  []string    `yaml:"must-fire" doc:"kinds of faults that must fire in at least one run"`
	MustReach []string    `yaml:"must-reach" doc:"probes that must be reached in at least one run"`

	File string // where it was read from
	// SwarmGiven says that Swarm does not stand in the file: a command line
	// turned it on.
	SwarmGiven bool
}

// Cluster is what runs.
type Cluster struct {
	Hosts []Host `yaml:"hosts" need:"yes" doc:"machines"`
	Nodes []Node `yaml:"nodes" need:"yes" doc:"processes on them"`
	Link  Link   `yaml:"link" doc:"the network between any two nodes"`
}

// Host is a machine.
type Host struct {
	Name    string `yaml:"name" need:"yes" doc:"a name"`
	Rack    string `yaml:"rack" doc:"the rack it stands in"`
	Device  string `yaml:"device" oneof:"h100,a100,v100,cpu" doc:"which profile its compute time follows"`
	Devices int    `yaml:"devices" doc:"how many accelerators it has; left out: one"`
	Count   int    `yaml:"count" doc:"so many like it, named name-1, name-2 …; left out: one, named name"`
	Disk    Disk   `yaml:"disk" doc:"its disk"`
}

// Disk is a host's disk.
type Disk struct {
	Profile  string `yaml:"profile" oneof:"posix-weak,ext4" doc:"what the file system promises beyond POSIX"`
	Sector   int    `yaml:"sector" doc:"bytes that are written atomically: 512 or 4096"`
	Capacity Size   `yaml:"capacity" doc:"bytes; left out: no limit"`
}

// Node is a process.
type Node struct {
	Name    string        `yaml:"name" need:"yes" doc:"a name"`
	Is      string        `yaml:"is" doc:"the role; left out: the name"`
	Host    string        `yaml:"host" need:"yes" doc:"the host it runs on"`
	Count   int           `yaml:"count" doc:"so many like it, named name-1, name-2 …; on as many hosts of a counted one, each on its own"`
	Restart *Duration     `yaml:"restart" doc:"how long after it ended by itself it starts again; left out: 200ms"`
	Schema  SchemaVersion `yaml:"schema" doc:"the version of the contracts that it speaks, such as 2.0; left out: the newest"`
	Options Options       `yaml:"options" doc:"what the role takes; see espersim roles"`
}

// SchemaVersion is a version of the contracts, such as 2.0; empty: the newest.
type SchemaVersion string

// Role is the role of the node.
func (n Node) Role() string {
	if n.Is != "" {
		return n.Is
	}
	return n.Name
}

// Options are a role's own settings, checked when the run is built.
type Options struct {
	Values []Option
}

// Option is one setting.
type Option struct {
	Key, Value   string
	Line, Column int
}

// Link is a network between nodes.
type Link struct {
	Min  Duration `yaml:"min" doc:"least latency"`
	P50  Duration `yaml:"p50" doc:"median latency"`
	P99  Duration `yaml:"p99" doc:"latency that one message in a hundred exceeds"`
	Max  Duration `yaml:"max" doc:"most latency"`
	Loss float64  `yaml:"loss" doc:"probability that a message vanishes"`
}

// Training is the job that Tolaria and Kasmina do.
type Training struct {
	Model           string   `yaml:"model" doc:"file with a layer graph, relative to the scenario; left out: the built-in one"`
	GraftAfter      []string `yaml:"graft-after" doc:"layers that a graft layer is put behind; left out: every relu"`
	Samples         int      `yaml:"samples" doc:"size of the training set"`
	Batch           int      `yaml:"batch" doc:"samples a step"`
	Steps           int      `yaml:"steps" doc:"steps an epoch"`
	LearningRate    float64  `yaml:"learning-rate" doc:"base learning rate"`
	CheckpointEvery int      `yaml:"checkpoint-every" doc:"epochs between checkpoints"`
	Seeds           int      `yaml:"seeds" doc:"seed slots a graft layer"`
	Policy          string   `yaml:"policy" doc:"Tamiyo's policy: heuristic, busy or idle"`
	Library         bool     `yaml:"library" doc:"kernels come from the asset library: Tamiyo asks it which there are, Kasmina for their bytes"`
}

// Step is one fault of the plan.
type Step struct {
	At    Duration  `yaml:"at" need:"yes" doc:"when it begins"`
	For   Duration  `yaml:"for" doc:"how long it holds; left out: to the end of the run"`
	Fault FaultText `yaml:"fault" need:"yes" doc:"the fault; see espersim faults"`
}

// Random is a fault that arrives at random.
type Random struct {
	Fault FaultText `yaml:"fault" need:"yes" doc:"the fault; the target any is drawn anew each time"`
	Every Duration  `yaml:"every" need:"yes" doc:"mean time between two"`
	For   Duration  `yaml:"for" doc:"how long each holds"`
	From  Duration  `yaml:"from" doc:"not before"`
	Until Duration  `yaml:"until" doc:"not after; left out: the end of the run"`
}

// Fleet are failures at measured rates.
type Fleet struct {
	Rates  string  `yaml:"rates" doc:"which: llama-3, delta-h100 or delta-a100"`
	Times  float64 `yaml:"times" doc:"so many times as often; left out: as measured"`
	Lemons float64 `yaml:"lemons" doc:"the share of the devices' failures that befalls few of them"`
}

// Site turns a rare way of the code on, in every node.
type Site struct {
	Name string  `yaml:"site" need:"yes" doc:"its name; see espersim faults sites"`
	Rate float64 `yaml:"rate" need:"yes" doc:"probability at each pass"`
}

// Enumerate makes one run for each value of $n.
type Enumerate struct {
	From int `yaml:"from" need:"yes" doc:"first value of $n"`
	To   int `yaml:"to" need:"yes" doc:"last value of $n"`
}

// Void is an invariant that a plan makes void.
type Void struct {
	Invariant string `yaml:"invariant" need:"yes" doc:"its id"`
	Because   string `yaml:"because" need:"yes" doc:"the reason"`
}

// Expectation is what the runs of a scenario must come to: nothing, or
// violations of these invariants and of no others.
type Expectation []string

// Clean says whether no run may violate anything.
func (e Expectation) Clean() bool { return len(e) == 0 || len(e) == 1 && e[0] == "clean" }

// String is the expectation as it is written.
func (e Expectation) String() string {
	if e.Clean() {
		return "clean"
	}
	return strings.Join(e, ", ")
}

// Catalogue is what a loader checks names against.
type Catalogue struct {
	Roles      []string
	Invariants []string
	Probes     []string // those that must-reach may name, beside sites; nil: any
	// CheckOption says whether a role takes a setting.
	CheckOption func(role, key, value string) error
}

// Load reads a file. Every error of the file is an *Error.
func Load(path string, c Catalogue) (*Scenario, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, b, c)
}

// Parse reads a scenario from b; path is for messages and relative names.
func Parse(path string, b []byte, c Catalogue) (*Scenario, error) {
	var root, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	err := dec.Decode(&root)
	if err == nil {
		switch next := dec.Decode(&second); {
		case next == nil && len(second.Content) > 0:
			return nil, &Error{File: path, Line: max(second.Line, 1), Column: max(second.Column, 1), Wrong: "a second document", Want: "one scenario a file"}
		case !errors.Is(next, io.EOF):
			err = next
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		line := 1
		msg := strings.TrimPrefix(err.Error(), "yaml: ")
		_, _ = fmt.Sscanf(msg, "line %d:", &line) // without a line it is about the first
		if _, after, ok := strings.Cut(msg, fmt.Sprintf("line %d: ", line)); ok {
			msg = after
		}
		return nil, &Error{File: path, Line: line, Column: 1, Wrong: strings.ReplaceAll(msg, "\n", " "), Want: "YAML"}
	}
	if len(root.Content) == 0 {
		return nil, &Error{File: path, Line: 1, Column: 1, Wrong: "the file is empty", Want: "a scenario"}
	}
	d := &decoder{file: path, at: map[string]*yaml.Node{}}
	s := &Scenario{File: path, Class: "short"}
	if err := d.value(root.Content[0], reflect.ValueOf(s).Elem(), ""); err != nil {
		return nil, err
	}
	if err := d.expand(s); err != nil {
		return nil, err
	}
	if err := d.check(s, c); err != nil {
		return nil, err
	}
	return s, nil
}

// place is where a path was read, or the nearest thing around it.
func (d *decoder) place(path string) *yaml.Node {
	for path != "" {
		if n := d.at[path]; n != nil {
			return n
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return d.at[""]
}

func (d *decoder) check(s *Scenario, c Catalogue) error {
	fail := func(path, wrong, want string) error { return d.bad(d.place(path), wrong, want) }
	if s.Version < 1 || s.Version > Version {
		return fail("version", fmt.Sprintf("version %d of the format", s.Version), fmt.Sprintf("1 to %d", Version))
	}
	if s.Duration <= 0 {
		return fail("duration", "the run has no duration", "such as 30s")
	}
	if s.Sometimes < 0 || s.Sometimes > 1 {
		return fail("sometimes", fmt.Sprintf("a probability of %v", s.Sometimes), "0 to 1")
	}
	var nodes, hosts, racks []string
	for i, h := range s.Cluster.Hosts {
		path := fmt.Sprintf("cluster.hosts[%d]", i)
		if contains(hosts, h.Name) {
			return fail(path+".name", fmt.Sprintf("host %q is declared twice", h.Name), "another name")
		}
		if h.Devices < 0 || h.Devices > mostDevices {
			return fail(path+".devices", fmt.Sprintf("%d accelerators", h.Devices), fmt.Sprintf("1 to %d", mostDevices))
		}
		if h.Disk.Sector != 0 && h.Disk.Sector != 512 && h.Disk.Sector != 4096 {
			return fail(path+".disk.sector", fmt.Sprintf("a sector of %d bytes", h.Disk.Sector), "512 or 4096")
		}
		hosts = append(hosts, h.Name)
		if h.Rack != "" && !contains(racks, h.Rack) {
			racks = append(racks, h.Rack)
		}
	}
	for i, n := range s.Cluster.Nodes {
		path := fmt.Sprintf("cluster.nodes[%d]", i)
		if contains(nodes, n.Name) {
			return fail(path+".name", fmt.Sprintf("node %q is declared twice", n.Name), "another name")
		}
		if !contains(hosts, n.Host) {
			return fail(path+".host", fmt.Sprintf("unknown host %q", n.Host), quoteNearest(n.Host, hosts))
		}
		if !contains(c.Roles, n.Role()) {
			at := path + ".is"
			if n.Is == "" {
				at = path + ".name"
			}
			return fail(at, fmt.Sprintf("unknown role %q", n.Role()), quoteNearest(n.Role(), c.Roles))
		}
		for _, o := range n.Options.Values {
			if c.CheckOption == nil {
				break
			}
			if err := c.CheckOption(n.Role(), o.Key, o.Value); err != nil {
				return &Error{File: d.file, Line: o.Line, Column: o.Column, Wrong: err.Error()}
			}
		}
		nodes = append(nodes, n.Name)
	}
	checkFault := func(path string, f FaultText, at, hold Duration) error {
		if s.Enumerate == nil && strings.Contains(string(f), "$n") {
			return fail(path+".fault", "$n without an enumeration", "enumerate: {from: …, to: …}")
		}
		fault, err := f.with("1")
		if err != nil {
			return fail(path+".fault", err.Error(), "")
		}
		if err := fault.Targets(nodes, hosts, racks); err != nil {
			return fail(path+".fault", err.Error(), "")
		}
		k := faults.Lookup(fault.Kind)
		if k.Instant && hold > 0 {
			return fail(path+".for", fmt.Sprintf("%s happens once and has no duration", k.Name), "no \"for\"")
		}
		if at >= s.Duration {
			return fail(path, fmt.Sprintf("it begins at %v, and the run ends at %v", at, s.Duration), "an earlier time")
		}
		return nil
	}
	for i, st := range s.Plan {
		path := fmt.Sprintf("plan[%d]", i)
		if err := checkFault(path, st.Fault, st.At, st.For); err != nil {
			return err
		}
		if f, _ := st.Fault.with("1"); contains(f.On, faults.Any) {
			return fail(path+".fault", "a plan's step has the target any", "a name; any is for random faults")
		}
	}
	for i, r := range s.Random {
		path := fmt.Sprintf("random[%d]", i)
		if err := checkFault(path, r.Fault, r.From, 0); err != nil {
			return err
		}
		if r.Every <= 0 {
			return fail(path+".every", "no mean time between two arrivals", "such as 10s")
		}
		f, _ := r.Fault.with("1")
		if k := faults.Lookup(f.Kind); !k.Once(r.For.Std()) && r.For <= 0 {
			return fail(path, fmt.Sprintf("%s needs a duration", k.Name), "for: such as 500ms")
		}
	}
	if f := s.Fleet; f != (Fleet{}) {
		if !contains(faults.FleetRates(), f.Rates) {
			return fail("fleet.rates", fmt.Sprintf("unknown rates %q", f.Rates), quoteNearest(f.Rates, faults.FleetRates()))
		}
		if !(f.Times >= 0 && f.Times <= 1e6) {
			return fail("fleet.times", fmt.Sprintf("%v times as often", f.Times), "a number from 0 to 1000000")
		}
		if !(f.Lemons >= 0 && f.Lemons <= 1) {
			return fail("fleet.lemons", fmt.Sprintf("a share of %v", f.Lemons), "0 to 1")
		}
	}
	if s.Swarm == "listed" && len(s.Random) == 0 {
		return fail("swarm", "a swarm of the listed faults, and none is listed", "random: […], or swarm: survivable")
	}
	for i, x := range s.Sites {
		path := fmt.Sprintf("sites[%d]", i)
		if _, ok := faults.FindSite(x.Name); !ok {
			return fail(path+".site", fmt.Sprintf("unknown site %q", x.Name), quoteNearest(x.Name, faults.SiteNames()))
		}
		if !(x.Rate > 0 && x.Rate <= 1) {
			return fail(path+".rate", fmt.Sprintf("a probability of %v", x.Rate), "above 0 and at most 1")
		}
		for _, before := range s.Sites[:i] {
			if before.Name == x.Name {
				return fail(path+".site", fmt.Sprintf("the site %q is given twice", x.Name), "it once")
			}
		}
	}
	if err := s.checkPhases(nodes, fail); err != nil {
		return err
	}
	if e := s.Enumerate; e != nil && (e.From < 0 || e.To < e.From || e.To-e.From > 100_000) {
		return fail("enumerate", fmt.Sprintf("from %d to %d", e.From, e.To), "a rising range of at most 100000 values")
	}
	ids := func(path string, list []string) error {
		for i, id := range list {
			if !contains(c.Invariants, id) {
				return fail(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("unknown invariant %q", id), quoteNearest(id, c.Invariants))
			}
		}
		return nil
	}
	if err := ids("checks", s.Checks); err != nil {
		return err
	}
	if !s.Expect.Clean() {
		if err := ids("expect", s.Expect); err != nil {
			return err
		}
	}
	for i, v := range s.Void {
		if !contains(c.Invariants, v.Invariant) {
			return fail(fmt.Sprintf("void[%d].invariant", i), fmt.Sprintf("unknown invariant %q", v.Invariant), quoteNearest(v.Invariant, c.Invariants))
		}
	}
	for i, k := range s.MustFire {
		if faults.Lookup(k) == nil {
			return fail(fmt.Sprintf("must-fire[%d]", i), fmt.Sprintf("unknown kind of fault %q", k), quoteNearest(k, faults.Names()))
		}
	}
	probes := slices.Clone(c.Probes)
	for _, site := range faults.SiteNames() {
		probes = append(probes, "sometimes/"+site)
	}
	for i, p := range s.MustReach {
		if c.Probes != nil && !contains(probes, p) && faults.Lookup("bus/"+strings.TrimPrefix(p, "sometimes/")) == nil {
			return fail(fmt.Sprintf("must-reach[%d]", i), fmt.Sprintf("unknown probe %q", p), quoteNearest(p, probes))
		}
	}
	return nil
}

func quoteNearest(word string, list []string) string {
	return fmt.Sprintf("%q", faults.Nearest(word, list))
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Steps are the faults of one run in order of time: the plan, with n in the
// place of $n, and what the random faults amount to under the run's keyed
// randomness.
func (s *Scenario) Steps(n int, keyed faults.Keyed) ([]faults.Step, error) {
	value := fmt.Sprint(n)
	var steps []faults.Step
	for _, st := range s.Plan {
		f, err := st.Fault.with(value)
		if err != nil {
			return nil, err
		}
		steps = append(steps, faults.Step{At: st.At.Std(), For: st.For.Std(), Fault: f})
	}
	draw, err := s.Draw(n, keyed)
	switch {
	case err != nil:
		return nil, err
	case draw != nil:
		steps = append(steps, draw.Expand()...)
	default:
		randoms, err := s.randoms(value)
		if err != nil {
			return nil, err
		}
		nodes, hosts, racks := s.Names()
		steps = append(steps, faults.Expand(randoms, s.Duration.Std(), keyed, nodes, hosts, racks)...)
	}
	if s.Fleet.Rates != "" {
		more, err := faults.Fleet(s.Fleet).Steps(s.places(), s.Duration.Std(), keyed)
		if err != nil {
			return nil, err
		}
		steps = append(steps, more...)
	}
	sort.SliceStable(steps, func(i, j int) bool { return steps[i].At < steps[j].At })
	return s.healed(steps), nil
}

// randoms are the random faults with value in the place of $n.
func (s *Scenario) randoms(value string) (list []faults.Random, err error) {
	for _, r := range s.Random {
		f, err := r.Fault.with(value)
		if err != nil {
			return nil, err
		}
		list = append(list, faults.Random{Fault: f, Every: r.Every.Std(), For: r.For.Std(), From: r.From.Std(), Until: r.Until.Std()})
	}
	return list, nil
}

// Names lists the nodes, hosts and racks of the cluster.
func (s *Scenario) Names() (nodes, hosts, racks []string) {
	for _, n := range s.Cluster.Nodes {
		nodes = append(nodes, n.Name)
	}
	for _, h := range s.Cluster.Hosts {
		hosts = append(hosts, h.Name)
		if h.Rack != "" && !contains(racks, h.Rack) {
			racks = append(racks, h.Rack)
		}
	}
	return nodes, hosts, racks
}

// Find lists the scenario files that the arguments name: files as they are,
// folders with every *.yaml below them.
func Find(args []string) ([]string, error) {
	var files []string
	for _, a := range args {
		info, err := os.Stat(a)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, a)
			continue
		}
		err = filepath.WalkDir(a, func(p string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() && e.Name() == "models" {
				return filepath.SkipDir // layer graphs that scenarios name
			}
			if err == nil && !e.IsDir() && filepath.Ext(p) == ".yaml" {
				files = append(files, p)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	sort.Strings(files)
	return files, nil
}
