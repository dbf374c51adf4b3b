package checkers

import (
	"fmt"
	"strings"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// rates judges T5: a step is trained at the rate that the run began with, or that
// the command which changed it last asked for, or that was in force when the
// checkpoint was taken that a rollback has gone back to. A rate that is none of
// these came from somewhere else than the learning-rate controller.
type rates struct {
	asked map[string]float64  // command id to the rate that it asks for
	marks map[string]expected // checkpoint id to the rate then
	now   map[string]expected // by node
}

// expected is the rate that a node must train at; not known at first.
type expected struct {
	rate  float64
	known bool
	by    string
}

func newRates(Params) Checker {
	return &rates{asked: map[string]float64{}, marks: map[string]expected{}, now: map[string]expected{}}
}

func (*rates) Invariants() []string { return []string{"T5"} }

func (c *rates) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.MessageDelivered:
		if e.Inner != nil {
			c.command(e.Inner)
		}
	case trace.MessageSent:
		c.command(e.Mail)
		switch m := e.Mail.Payload.(type) {
		case *trainingv2.BoundaryRequest:
			if _, known := c.marks[m.CheckpointId]; m.CheckpointId != "" && !known {
				c.marks[strings.Clone(m.CheckpointId)] = c.now[e.Node]
			}
		case *trainingv2.ForwardRequest:
			if m.Training {
				c.trains(e, m.LearningRate, j)
			}
		case *trainingv2.BackwardRequest:
			c.trains(e, m.LearningRate, j)
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.CommandFact:
			if r, ok := c.asked[f.CommandId]; ok && f.Status == "APPLIED" {
				c.now[e.Node] = expected{r, true, "the command " + strings.Clone(f.CommandId)}
			}
		case *evidencev2.RollbackFact:
			if f.Step == evidencev2.RollbackStep_RB_RESTORED && f.Subsystem == "tolaria" {
				at := c.marks[f.CheckpointId]
				at.by = "the checkpoint " + strings.Clone(f.CheckpointId)
				c.now[e.Node] = at
			}
		case *evidencev2.StepFact:
			c.trains(e, f.LearningRate, j)
		}
	}
}

func (c *rates) command(mail *wire.Mail) {
	m, ok := mail.Payload.(*adaptationv2.AdaptationCommand)
	if !ok {
		return
	}
	if u := m.GetLrUpdate(); u != nil && len(u.GroupRates) > 0 {
		c.asked[strings.Clone(m.CommandId)] = u.GroupRates[0].GetLearningRate()
	}
}

// trains compares a rate with the one that must hold. They come from one number
// and have nothing to differ by.
func (c *rates) trains(e *Event, rate float64, j *Judge) {
	want := c.now[e.Node]
	switch {
	case !want.known:
		by := want.by
		if by == "" {
			by = "the beginning"
		}
		c.now[e.Node] = expected{rate, true, by}
	case rate != want.rate:
		j.Violate("T5", e.Node, fmt.Sprintf("it trains at the rate %v; since %s it is %v", rate, want.by, want.rate))
	default:
		j.Judged("T5")
	}
}

func (*rates) Finish(*Judge) {}
