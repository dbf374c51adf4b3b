package main

import (
	"fmt"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/guided"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// apart is how far the seeds of two searches are from each other: they share no
// run.
const apart = 1_000_000

// lap is one search: how many runs it took, and what it found, if anything.
type lap struct {
	Runs  int     `json:"runs"`
	By    string  `json:"by,omitempty"`
	CPU   float64 `json:"cpu"`
	Found bool    `json:"found"`
}

// race searches the one scenario again and again, and prints what each search
// took.
func (h *hunt) race(how string, repetitions, limit int) error {
	if len(h.list) != 1 {
		return fmt.Errorf("a search is of one scenario; %d were given", len(h.list))
	}
	search := map[string]func(*scenarios.Scenario, uint64, int) (lap, error){"random": random, "guided": follow}[how]
	if search == nil {
		return fmt.Errorf("%q is no search; want random or guided", how)
	}
	for k := range repetitions {
		before := spent()
		l, err := search(h.list[0], uint64(k)*apart+1, limit)
		if err != nil {
			return err
		}
		l.CPU = (spent() - before).Seconds()
		if err := h.out.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// random tries run seeds one after the other.
func random(s *scenarios.Scenario, seed uint64, limit int) (lap, error) {
	for k := range limit {
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
func follow(s *scenarios.Scenario, seed uint64, limit int) (lap, error) {
	r, err := guided.Hunt(s, guided.Options{Seed: seed, Runs: limit, StopFirst: true})
	if err != nil {
		return lap{}, err
	}
	if len(r.Failures) > 0 {
		return lap{Runs: r.Runs, By: r.Failures[0].Signature.Invariant, Found: true}, nil
	}
	return lap{Runs: r.Runs}, nil
}
