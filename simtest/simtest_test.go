package simtest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/trace"
	"github.com/esper-sim/espersim/simtest"
)

// ticker asserts something at each tick of its timer, and ends where end says so.
type ticker struct {
	env   actor.Env
	holds func(env actor.Env, tick int) bool
	end   error
	n     int
}

func (k *ticker) Start() error { return k.Receive("", nil) }

func (k *ticker) Receive(actor.ID, canon.Message) error {
	k.n++
	simtest.Always(k.env, k.holds(k.env, k.n), "ticks are few")
	k.env.Clock.SetTimer("tick", 0, 100*time.Millisecond)
	return k.end
}

func system(holds func(env actor.Env, tick int) bool, end error) simtest.System {
	return simtest.System{
		Nodes: []sim.Node{{ID: "a", Host: "h", Restart: time.Hour, Make: func(env actor.Env) (actor.Actor, error) {
			return &ticker{env: env, holds: holds, end: end}, nil
		}}},
		Duration: 2 * time.Second,
		Random:   []simtest.Random{{Fault: "crash a restart=50ms", Every: 300 * time.Millisecond}},
		Own:      []simtest.Fault{{Name: "nothing", Every: 200 * time.Millisecond, Do: func(*sim.World, string) {}}},
	}
}

// An assertion that does not hold is found; the plan is what it takes, and no more.
func TestAlways(t *testing.T) {
	r, _, err := simtest.Hunt(system(func(env actor.Env, _ int) bool { return env.Incarnation < 3 }, nil))
	if err != nil || r == nil {
		t.Fatal(r, err)
	}
	if len(r.Steps) != 2 || r.Steps[0].Fault.Kind != "crash" || !strings.Contains(r.String(), "ticks are few") || !strings.Contains(r.String(), "-simtest.seed=") {
		t.Errorf("it takes two crashes, and not\n%v", r)
	}
}

// What ends by an error is found without a checker; what takes no fault is shrunk
// to none.
func TestErrorAndEmptyPlan(t *testing.T) {
	r, _, err := simtest.Hunt(system(func(actor.Env, int) bool { return true }, errors.New("broken")))
	if err != nil || r == nil || !strings.Contains(r.Violation.Error(), "broken") || len(r.Steps) != 0 {
		t.Fatal(r, err)
	}
}

// A system that holds passes, and says which assertions it has passed.
func TestClean(t *testing.T) {
	s := system(func(actor.Env, int) bool { return true }, nil)
	simtest.Test(t, s, "ticks are few")
	_, probes, err := simtest.Hunt(s)
	if err != nil || probes["always/ticks are few"] == 0 || probes["always/nobody asks"] != 0 {
		t.Fatal(probes, err)
	}
}

// A system that remembers the run before is no simulation.
func TestNondeterminism(t *testing.T) {
	runs := 0
	s := system(func(_ actor.Env, tick int) bool { return tick < 5 }, nil)
	s.Checkers = func() []simtest.Checker {
		runs++
		return nil
	}
	make := s.Nodes[0].Make
	s.Nodes[0].Make = func(env actor.Env) (actor.Actor, error) {
		env.Probe.Reached("built")
		if runs > 1 {
			env.Clock.SetTimer("more", 0, time.Duration(runs)*time.Millisecond)
		}
		return make(env)
	}
	if _, _, err := simtest.Hunt(s); err == nil || !strings.Contains(err.Error(), "not deterministic") {
		t.Fatal(err)
	}
}

type counting struct{ n int }

func (c *counting) Observe(*trace.Event, canon.Message) error { c.n++; return nil }
func (c *counting) Finish() error {
	if c.n > 0 {
		return errors.New("it saw something")
	}
	return nil
}

// A fault that cannot be is an error; what a checker finds at the end counts.
func TestFinishAndBadFault(t *testing.T) {
	s := system(func(actor.Env, int) bool { return true }, nil)
	s.Checkers = func() []simtest.Checker { return []simtest.Checker{&counting{}} }
	if r, _, err := simtest.Hunt(s); err != nil || r == nil || r.Violation.Error() != "it saw something" {
		t.Error(r, err)
	}
	s.Random[0].Fault = "crash nobody"
	if _, _, err := simtest.Hunt(s); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Error(err)
	}
}
