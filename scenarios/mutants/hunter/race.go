package main

import (
	"errors"
	"fmt"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/guided"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// apart is how far the seeds of two searches are from each other: they share no
// run.
const apart = 1_000_000

// lap is a line of a race: that a run of a search begins, or the end of one: how
// many runs it took, and what it found, if anything.
type lap struct {
	Begin bool    `json:"begin,omitempty"`
	Runs  int     `json:"runs"` // of this search, made until then
	By    string  `json:"by,omitempty"`
	CPU   float64 `json:"cpu"`
	Found bool    `json:"found"`
}

// race searches the one scenario again and again, from the search with number
// from on, and prints what each took. Each run is told of when it begins: one that
// never ends is seen by whoever waits for the next line.
func (h *hunt) race(how string, from, repetitions, limit int) error {
	if len(h.list) != 1 {
		return fmt.Errorf("a search is of one scenario; %d were given", len(h.list))
	}
	search := map[string]func(*scenarios.Scenario, uint64, int, func(made int)) (lap, error){"random": random, "guided": follow}[how]
	if search == nil {
		return fmt.Errorf("%q is no search; want random or guided", how)
	}
	var silent error
	begin := func(made int) {
		if err := h.out.Encode(lap{Begin: true, Runs: made}); err != nil {
			silent = err
		}
	}
	for k := from; k < repetitions; k++ {
		before := spent()
		l, err := search(h.list[0], uint64(k)*apart+1, limit, begin)
		if err != nil {
			return err
		}
		l.CPU = (spent() - before).Seconds()
		if err := errors.Join(silent, h.out.Encode(l)); err != nil {
			return err
		}
	}
	return nil
}

// random tries run seeds one after the other.
func random(s *scenarios.Scenario, seed uint64, limit int, begin func(made int)) (lap, error) {
	for k := range limit {
		begin(k)
		r, err := runner.Run(s, runner.Options{Seed: seed + uint64(k)})
		if err != nil {
			return lap{}, err
		}
		if sig, bad := runner.Unexpected(s, r); bad {
			return lap{Runs: k + 1, By: sig.Invariant, Found: true}, nil
		}
	}
	return lap{Runs: limit}, nil
}

// follow searches by what new states plans lead to.
func follow(s *scenarios.Scenario, seed uint64, limit int, begin func(made int)) (lap, error) {
	begin(0)
	r, err := guided.Hunt(s, guided.Options{Seed: seed, Runs: limit, StopFirst: true, Progress: func(made, _, _ int) { begin(made) }})
	if err != nil {
		return lap{}, err
	}
	if len(r.Failures) > 0 {
		return lap{Runs: r.Runs, By: r.Failures[0].Signature.Invariant, Found: true}, nil
	}
	return lap{Runs: r.Runs}, nil
}
