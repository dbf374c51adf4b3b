package scenarios

import (
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/faults"
)

// Draw is what a run draws of the scenario's swarm under its keyed randomness;
// nil for a scenario without one.
func (s *Scenario) Draw(n int, keyed faults.Keyed) (*faults.Draw, error) {
	if s.Swarm == "" {
		return nil, nil
	}
	pool, err := s.randoms(fmt.Sprint(n))
	if err != nil {
		return nil, err
	}
	nodes, hosts, racks := s.Names()
	until := s.HealAt.Std()
	if until == 0 && s.Swarm == "survivable" {
		until = s.Duration.Std() / 2 // the other half is to recover in
	}
	if s.Swarm == "survivable" {
		var bus []string
		for _, n := range s.Cluster.Nodes {
			if n.Role() == "oona" {
				bus = append(bus, n.Name)
			}
		}
		pool = append(pool, faults.SurvivablePool(nodes, hosts, racks, bus)...)
	}
	return faults.Swarm{Pool: pool, Duration: s.Duration.Std(), Until: until, Nodes: nodes, Hosts: hosts, Racks: racks}.Draw(keyed), nil
}

// SiteRates are the sites of the code that are on in a run: those of the
// scenario, and of the draw those that the scenario says nothing of.
func (s *Scenario) SiteRates(d *faults.Draw) (list []faults.SiteRate) {
	for _, x := range s.Sites {
		list = append(list, faults.SiteRate{Site: x.Name, Rate: x.Rate})
	}
	if d != nil {
		for _, x := range d.Sites {
			if !slices.ContainsFunc(s.Sites, func(have Site) bool { return have.Name == x.Site }) {
				list = append(list, x)
			}
		}
	}
	return list
}

// Explicit is a scenario without chance: the steps as its plan, and what a
// swarm drew as its settings.
func (s *Scenario) Explicit(steps []faults.Step, d *faults.Draw) *Scenario {
	c := *s
	c.Random, c.Enumerate, c.Plan, c.Swarm, c.SwarmGiven, c.Sites = nil, nil, nil, "", false, nil
	for _, st := range steps {
		c.Plan = append(c.Plan, Step{At: Duration(st.At), For: Duration(st.For), Fault: FaultText(st.Fault.String())})
	}
	for _, x := range s.SiteRates(d) {
		c.Sites = append(c.Sites, Site{Name: x.Site, Rate: x.Rate})
	}
	return &c
}

// checkPhases checks when the faults heal, and who must be well when.
func (s *Scenario) checkPhases(nodes []string, fail func(path, wrong, want string) error) error {
	switch {
	case s.HealAt == 0 && s.Converge > 0:
		return fail("converge-within", "it says how long after heal-at, and there is no heal-at", "heal-at: such as 30s")
	case s.HealAt == 0 && len(s.Core) > 0:
		return fail("core", "the core must be well after heal-at, and there is no heal-at", "heal-at: such as 30s")
	case s.HealAt == 0:
		return nil
	case s.HealAt >= s.Duration:
		return fail("heal-at", fmt.Sprintf("the faults heal at %v, and the run ends at %v", s.HealAt, s.Duration), "an earlier time")
	case len(s.Core) > 0 && s.Converge == 0:
		return fail("core", "nothing says by when the core must be well", "converge-within: such as 20s")
	case s.HealAt+s.Converge >= s.Duration:
		return fail("converge-within", fmt.Sprintf("everything must be well at %v, and the run ends at %v", s.HealAt+s.Converge, s.Duration), "a longer duration, or a shorter time")
	}
	for i, n := range s.Core {
		path := fmt.Sprintf("core[%d]", i)
		if !contains(nodes, n) {
			return fail(path, fmt.Sprintf("unknown node %q", n), quoteNearest(n, nodes))
		}
		if contains(s.Core[:i], n) {
			return fail(path, fmt.Sprintf("node %q stands twice in the core", n), "it once")
		}
	}
	for i, st := range s.Plan {
		if st.At >= s.HealAt {
			return fail(fmt.Sprintf("plan[%d].at", i), fmt.Sprintf("it begins at %v, and all faults heal at %v", st.At, s.HealAt), "an earlier time")
		}
	}
	return nil
}

// healed ends what holds when the faults heal, and leaves out what would begin
// later.
func (s *Scenario) healed(steps []faults.Step) []faults.Step {
	at := s.HealAt.Std()
	if at == 0 {
		return steps
	}
	steps = slices.DeleteFunc(steps, func(st faults.Step) bool { return st.At >= at })
	for i := range steps {
		st := &steps[i]
		if k := faults.Lookup(st.Fault.Kind); !k.Once(st.For) && (st.For == 0 || st.At+st.For > at) {
			st.For = at - st.At
		}
	}
	return steps
}
