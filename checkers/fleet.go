package checkers

import (
	"fmt"
	"time"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/sim/trace"
)

// fleet judges G4, and G3 for fleets: a step is a collective of all devices.
//
// G4: it is done only when each member has sent its sum in the present generation,
// and what the lead has asked for comes to an end, good or bad, within five times a
// step and some minutes.
// G3: the state after it is that of a run in which nothing failed.
type fleet struct {
	states []uint64        // after each step, where nothing fails
	gave   map[string]bool // members whose sum of the step in hand was sent
	asked  string          // what the lead asked for last
	since  int64           // when; 0: it waits for nobody
	seq    uint64
	step   int64 // that is in hand
	gen    int64
	usual  int64 // ns
	lead   string
	device bool // one has failed
}

func newFleet(Params) Checker { return &fleet{gave: map[string]bool{}} }

func (*fleet) Invariants() []string { return []string{"G4", "G3"} }

// longest is how long a collective may take beside five steps.
const longest = int64(5 * time.Minute)

func (c *fleet) Observe(e *Event, j *Judge) {
	if c.since > 0 && e.At-c.since > 5*c.usual+longest {
		j.Violate("G4", c.lead, fmt.Sprintf("it waits for the answers to %q of step %d since %s", c.asked, c.step, trace.Stamp(c.since)), c.seq)
		c.since = 0
	}
	switch e.Kind {
	case trace.NodeCrashed, trace.NodeExited:
		if e.Node == c.lead {
			c.since = 0
		}
	case trace.DeviceChanged:
		c.device = true
	case trace.DeviceOperated:
		if class := failedAs(e.Text); class != 0 && class != gpu.OutOfMemory {
			c.device = true
		}
	case trace.MessageSent:
		if m, ok := e.Mail.Payload.(*trainingv2.FleetNote); ok {
			c.note(e, m)
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.FleetFact); ok {
			c.fact(e, f, j)
		}
	}
}

func (c *fleet) note(e *Event, m *trainingv2.FleetNote) {
	switch m.Kind {
	case "go", "begin":
		if m.Kind != c.asked || int64(m.Generation) != c.gen || m.Number != c.step {
			c.asked, c.gen, c.step, c.since, c.seq, c.lead = m.Kind, int64(m.Generation), m.Number, e.At, e.Seq, e.Node
			clear(c.gave)
		}
	case "sum":
		if int64(m.Generation) == c.gen && m.Number == c.step {
			c.gave[e.Node] = true
		}
	}
}

func (c *fleet) fact(e *Event, f *evidencev2.FleetFact, j *Judge) {
	c.since = 0
	c.usual = f.StepMs * 1e6
	if f.Step != evidencev2.FleetStep_FLEET_STEP_DONE {
		return
	}
	if len(c.gave) < int(f.Members) || f.Number != c.step || int64(f.Generation) != c.gen {
		j.Violate("G4", e.Node, fmt.Sprintf("step %d of generation %d is done, and %d of %d members have sent their sum", f.Number, f.Generation, len(c.gave), f.Members))
		return
	}
	j.Judged("G4")
	if want := c.after(f.Number, int64(f.Devices)); f.State != want {
		j.Violate("G3", e.Node, fmt.Sprintf("after step %d the state is %d; where nothing fails it is %d", f.Number, f.State, want))
		return
	}
	if c.device {
		j.Judged("G3")
	}
}

// after is the state after a step where nothing fails: each rank gives a whole number
// to a step.
func (c *fleet) after(step, ranks int64) uint64 {
	for int64(len(c.states)) <= step {
		n, sum, before := int64(len(c.states)), int64(0), uint64(0)
		for r := range ranks {
			sum += (r*7919 + n*104729) % 251
		}
		if n > 0 {
			before = c.states[n-1]
		}
		c.states = append(c.states, (before*31+uint64(sum))%(1<<31))
	}
	return c.states[step]
}

// Finish implements Checker.
func (*fleet) Finish(*Judge) {}
