package shrink

import (
	"slices"
	"time"

	"github.com/esper-sim/espersim/faults"
)

// probe is how many other run seeds decide between two plans.
const probe = 12

// share is how many of some other run seeds a plan fails under. It gives up
// once it cannot reach least.
func (z *shrinker) share(steps []faults.Step, least int) int {
	fail := 0
	for k := range probe {
		if fail+probe-k < least {
			break
		}
		if z.spent = z.spent || time.Now().After(z.until); z.spent {
			return fail
		}
		if z.same(z.run(z.s, steps, others(z.o.Seed, 1_000_000+k))) {
			fail++
		}
	}
	return fail
}

// worse says whether a plan fails under fewer other run seeds than the one
// there is.
func (z *shrinker) worse(steps []faults.Step) bool {
	now := z.share(z.steps, 0)
	return z.share(steps, now) < now
}

// steady looks for a plan of the same steps that fails under other run seeds,
// too. A crash at a moment hits another place in each run; one at an operation
// or at a message hits the same.
func (z *shrinker) steady() {
	for i := range z.steps {
		best := z.share(z.steps, 0)
		if best == probe {
			return
		}
		for _, change := range z.variants(i) {
			z.o.Progress("trying other run seeds", z.runs, len(z.steps))
			steps := z.with(i, change)
			if steps[i].String() == z.steps[i].String() || !z.fails(z.s, steps) {
				continue
			}
			if n := z.share(steps, best+1); n > best {
				best = n
				z.steps = steps
			}
			if best == probe || z.spent {
				break
			}
		}
	}
}

// variants are other ways to write a step.
func (z *shrinker) variants(i int) []func(*faults.Step) {
	s := z.steps[i]
	var list []func(*faults.Step)
	set := func(f func(*faults.Step)) { list = append(list, f) }
	if s.Fault.Rate > 0 {
		set(func(s *faults.Step) { s.Fault.Rate = 0 })
	}
	if s.Fault.Count > 0 {
		set(func(s *faults.Step) { s.Fault.Count = 0 })
	}
	if s.For > 0 {
		for _, k := range []time.Duration{2, 4, 8} {
			set(func(s *faults.Step) { s.For = min(s.For*k, z.s.Duration.Std()-s.At) })
		}
		set(func(s *faults.Step) {
			end := s.At + s.For
			s.At = max(s.At/2, time.Millisecond)
			s.For = end - s.At
		})
	}
	// An operation or message instead of a moment.
	var nodes []string
	to := ""
	switch s.Fault.Kind {
	case "crash", "crash-at-op":
		nodes, to = s.Fault.On, "crash-at-op"
	case "power-at-op":
		nodes, to = s.Fault.On, "power-at-op"
	case "crash-host":
		to = "power-at-op"
		for _, n := range z.s.Cluster.Nodes {
			if slices.Contains(s.Fault.On, n.Host) {
				nodes = append(nodes, n.Name)
			}
		}
	}
	for _, n := range nodes {
		for op := 1; op <= 12; op++ {
			set(func(s *faults.Step) {
				s.Fault.Kind, s.Fault.On, s.Fault.Op = to, []string{n}, op
			})
		}
		// What a node is doing at a moment differs from run seed to run seed;
		// what it does first does not.
		for op := 1; op <= 40; op++ {
			set(func(s *faults.Step) {
				s.At, s.Fault.Kind, s.Fault.On, s.Fault.Op = time.Millisecond, to, []string{n}, op
			})
		}
	}
	return list
}
