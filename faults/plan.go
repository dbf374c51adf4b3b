package faults

import (
	"fmt"
	"sort"
	"time"
)

// A Step is one fault of a plan: when it begins, and for how long it holds.
type Step struct {
	At    time.Duration
	For   time.Duration // 0 for what happens once; else until the end of the run
	Fault Fault
}

// String is the step as people read it.
func (s Step) String() string {
	t := fmt.Sprintf("at %v", s.At)
	if s.For > 0 {
		t += fmt.Sprintf(" for %v", s.For)
	}
	return t + ": " + s.Fault.String()
}

// Random is a fault that arrives at random: a Poisson process.
type Random struct {
	Fault Fault         // a target of Any is drawn anew at each arrival
	Every time.Duration // mean time between arrivals
	For   time.Duration // how long each holds
	From  time.Duration
	Until time.Duration // 0: the end of the run
	// Key is what its arrivals are drawn by; empty: the fault's text. A fault
	// whose parameters were drawn keeps the key of the one it was drawn from.
	Key string
}

// Keyed is randomness asked by identity: the n-th arrival of a fault does not
// move when another fault is removed from the plan.
type Keyed interface {
	For(purpose string, a, b uint64) uint64
}

// Expand turns random faults into the explicit steps that they amount to under
// a run seed, in order of time. nodes, hosts and racks are what Any stands for.
func Expand(randoms []Random, duration time.Duration, keyed Keyed, nodes, hosts, racks []string) []Step {
	return expand(randoms, duration, keyed, names{nodes, hosts, racks}, nil)
}

// names are what Any stands for.
type names struct{ nodes, hosts, racks []string }

// of are the names that a shape is aimed at.
func (n names) of(s Shape) []string {
	switch s {
	case OnHosts:
		return n.hosts
	case OnRacks:
		return n.racks
	}
	return n.nodes
}

// expand is Expand under the biases of a swarm's draw, if there is one.
func expand(randoms []Random, duration time.Duration, keyed Keyed, have names, bias *Draw) []Step {
	var steps []Step
	twins := map[string]int{}
	for _, r := range randoms {
		k := Lookup(r.Fault.Kind)
		if k == nil || r.Every <= 0 {
			continue
		}
		end := duration
		if r.Until > 0 && r.Until < end {
			end = r.Until
		}
		purpose := "arrival " + r.key()
		// Two equal faults are two processes, not one that hits twice.
		if twins[purpose]++; twins[purpose] > 1 {
			purpose += fmt.Sprint(" #", twins[purpose])
		}
		at := r.From
		for n := uint64(0); ; n++ {
			at += time.Duration(exponential(keyed.For(purpose, n, 0), int64(r.Every)))
			if at >= end {
				break
			}
			s := Step{At: bias.moment(at, r.From, end), Fault: r.Fault}
			if !k.Instant {
				s.For = min(r.For, end-s.At)
			}
			s.Fault.On = drawTargets(r.Fault.On, have.of(k.Shape), keyed.For(purpose, n, 1))
			bias.lemon(&s, r.Fault.On, k.Shape, keyed.For(purpose, n, 2))
			steps = append(steps, s)
			if twin, ok := bias.twin(s, k, have, keyed, purpose, n, end); ok {
				steps = append(steps, twin)
			}
		}
	}
	sort.SliceStable(steps, func(i, j int) bool { return steps[i].At < steps[j].At })
	return steps
}

// key is what the arrivals are drawn by.
func (r Random) key() string {
	if r.Key != "" {
		return r.Key
	}
	return r.Fault.String()
}

func drawTargets(on, have []string, draw uint64) []string {
	out := append([]string(nil), on...)
	for i, n := range out {
		if n == Any && len(have) > 0 {
			out[i] = have[draw%uint64(len(have))]
		}
	}
	return out
}

// waiting holds the quantiles of the exponential distribution with mean 1 at
// i/16, in units of 1/1000; the last stands for the tail. A table, since
// math.Log chooses its instructions by processor and a run must not depend on
// that.
var waiting = [17]int64{
	0, 65, 134, 208, 288, 375, 470, 575, 693, 827, 981, 1163, 1386, 1674,
	2079, 2773, 4773,
}

// exponential maps a draw to a waiting time with the given mean.
func exponential(draw uint64, mean int64) int64 {
	i := draw >> 60
	lo, hi := waiting[i], waiting[i+1]
	milli := lo + (hi-lo)*int64(draw<<4>>44)>>20
	return mean/1000*milli + mean%1000*milli/1000
}

// A Schedule is a plan at work in one run.
type Schedule struct {
	active []*Active
	steps  []Step
	err    error
}

// Observer is told about each step as it begins and ends.
type Observer interface {
	FaultBegan(text string, step int)
	FaultEnded(text string, step int)
}

// Start arranges for every step to happen in w. It is called before the run.
func Start(w World, o Observer, steps []Step) *Schedule {
	s := &Schedule{active: make([]*Active, len(steps)), steps: steps}
	for i := range steps {
		step := steps[i]
		w.After(step.At, func() {
			text := step.Fault.String()
			o.FaultBegan(text, i)
			f := step.Fault
			f.hold = step.For
			a, err := f.Inject(w)
			if err != nil {
				if s.err == nil {
					s.err = fmt.Errorf("step %d, %v: %w", i+1, step, err)
				}
				return
			}
			s.active[i] = a
			if step.For > 0 {
				w.After(step.For, func() {
					a.End()
					o.FaultEnded(text, i)
				})
			}
		})
	}
	return s
}

// Finish ends what still holds and returns how often each kind fired, and the
// first error of an injection.
func (s *Schedule) Finish() (map[string]uint64, error) {
	fired := make(map[string]uint64)
	for i, a := range s.active {
		kind := s.steps[i].Fault.Kind
		if a != nil {
			a.End()
			fired[kind] += a.Fired()
		} else {
			fired[kind] += 0 // planned, and never came to it
		}
	}
	return fired, s.err
}
