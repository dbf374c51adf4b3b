package client

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
)

// PetitionerOptions of a petitioner.
type PetitionerOptions struct {
	Every  time.Duration `set:"every" doc:"between two petitions"`
	Count  int           `set:"count" doc:"petitions that it makes; 0: no limit"`
	Resend time.Duration `set:"resend" doc:"how long it waits for an answer before it asks again"`
	Risk   float64       `set:"risk" doc:"most risk of a design that it asks for"`
	Wrong  int           `set:"wrong" doc:"every so many-th petition breaks a rule, another one each time; 0: none"`
	Urgent int           `set:"urgent" doc:"every so many-th design is to be compiled at once; 0: none"`
}

// PetitionerDefaults are the options of a petitioner that sets none.
func PetitionerDefaults() *PetitionerOptions {
	return &PetitionerOptions{Every: 2 * time.Second, Count: 12, Resend: 1500 * time.Millisecond, Risk: 0.4, Urgent: 2}
}

// petitioner asks Karn for designs, and Tezzeret to compile some of what it got
// at once. It asks again until it is answered: every petition is (card 05).
type petitioner struct {
	env     actor.Env
	job     *job.Job
	o       PetitionerOptions
	n       int
	attempt uint32
	compile string // blueprint that is to be compiled; empty: it asks for a design
	done    bool   // the petition is answered
}

// NewPetitioner makes the constructor of a petitioner.
func NewPetitioner(j *job.Job, o PetitionerOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &petitioner{env: env, job: j, o: o, done: true}, nil
	}
}

// Start implements actor.Actor.
func (p *petitioner) Start() error {
	p.env.Clock.SetTimer("ask", 0, p.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (p *petitioner) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		if p.done {
			if p.o.Count > 0 && p.n >= p.o.Count {
				return nil
			}
			p.n++
			p.done, p.compile, p.attempt = false, "", 0
		}
		p.ask()
	case *innovationv2.BlueprintReply:
		if p.done || m.RequestId != p.id() || p.compile != "" {
			break
		}
		if m.Status == innovationv2.RequestStatus_DONE && p.o.Urgent > 0 && p.n%p.o.Urgent == 0 {
			p.compile, p.attempt = m.BlueprintId, 0
			p.ask()
			break
		}
		p.answered()
	case *innovationv2.CompileReply:
		if !p.done && m.RequestId == p.id() && m.Status != innovationv2.RequestStatus_BUSY {
			p.answered()
		}
	}
	return nil
}

func (p *petitioner) answered() {
	p.done = true
	p.env.Clock.SetTimer("ask", 0, p.o.Every)
}

func (p *petitioner) id() string {
	kind := "design"
	if p.compile != "" {
		kind = "compile"
	}
	return fmt.Sprint(p.env.Self, "/", p.env.Incarnation, "/", p.n, "/", kind)
}

func (p *petitioner) ask() {
	if p.o.Wrong > 0 && p.n%p.o.Wrong == 0 {
		p.askWrongly()
		return
	}
	to, m := p.job.Karn, canon.Message(&innovationv2.BlueprintRequest{RequestId: p.id(), CurriculumStage: uint32(p.n % 7), MaxRisk: p.o.Risk, DesignIntent: "a petition"})
	if p.compile != "" {
		to, m = p.job.Tezzeret, &innovationv2.CompileRequest{RequestId: p.id(), BlueprintId: p.compile, Emergency: true}
	}
	p.send(to, m)
}

// askWrongly asks for a risk that is none, for a kernel of no blueprint, or for a
// pipeline that there is not.
func (p *petitioner) askWrongly() {
	switch p.n / p.o.Wrong % 3 {
	case 0:
		p.send(p.job.Karn, &innovationv2.BlueprintRequest{RequestId: p.id(), MaxRisk: 7})
	case 1:
		p.send(p.job.Tezzeret, &innovationv2.CompileRequest{RequestId: p.id(), Emergency: true})
	case 2:
		p.send(p.job.Tezzeret, &innovationv2.CompileRequest{RequestId: p.id(), BlueprintId: "none", Pipeline: "divine"})
	}
}

func (p *petitioner) send(to actor.ID, m canon.Message) {
	p.env.Net.Send(to, m, actor.SendOptions{Key: "petition/" + p.id(), Attempt: p.attempt})
	p.attempt++
	p.env.Clock.SetTimer("ask", 0, p.o.Resend)
}
