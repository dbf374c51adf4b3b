package client

import (
	"fmt"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
)

// ViewerOptions of a viewer.
type ViewerOptions struct {
	Every  time.Duration `set:"every" doc:"between two looks"`
	Role   string        `set:"role" oneof:"viewer,operator,admin" doc:"whose key it signs with"`
	Forged bool          `set:"forged" doc:"somebody who cannot sign sends each of its answers before it does"`
	Answer string        `set:"answer" oneof:"none,ack,silence,both" doc:"what it does with an alert that fires; both: the one, and then the other"`
}

// ViewerDefaults are the options of a viewer that sets none.
func ViewerDefaults() *ViewerOptions {
	return &ViewerOptions{Every: time.Second, Role: "operator", Answer: "ack"}
}

// viewer asks Nissa for metrics, status and logs by turns, and answers alerts.
type viewer struct {
	env    actor.Env
	job    *job.Job
	o      ViewerOptions
	signer *command.Signer
	n      int
	series string // that it looks at next
}

// NewViewer makes the constructor of a viewer.
func NewViewer(j *job.Job, o ViewerOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		key := j.RoleKey(o.Role)
		s, err := command.NewSignerAs(env, o.Role, key[:])
		return &viewer{env: env, job: j, o: o, signer: s}, err
	}
}

// Start implements actor.Actor.
func (v *viewer) Start() error {
	v.env.Clock.SetTimer("look", 0, v.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (v *viewer) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *operationsv2.StatusReply:
		for _, a := range m.Alerts {
			v.answer(a)
		}
	case *operationsv2.MetricsReply:
		if m.Text != "" {
			v.choose(m.Text)
		}
	default:
		if from == v.env.Self {
			v.look()
		}
	}
	return nil
}

func (v *viewer) look() {
	v.n++
	id := fmt.Sprint(v.env.Self, "/", v.env.Incarnation, "/", v.n)
	switch v.n % 4 {
	case 0:
		v.env.Net.Send(v.job.Nissa, &operationsv2.MetricsQuery{QueryId: id}, actor.SendOptions{Key: "metrics/" + id})
	case 1:
		v.env.Net.Send(v.job.Nissa, &operationsv2.StatusQuery{QueryId: id}, actor.SendOptions{Key: "status/" + id})
	case 2:
		v.env.Net.Send(v.job.Nissa, &operationsv2.MetricsQuery{QueryId: id, Series: "logs"}, actor.SendOptions{Key: "logs/" + id, Auth: v.signer})
	default:
		if v.series != "" {
			v.env.Net.Send(v.job.Nissa, &operationsv2.MetricsQuery{QueryId: id, Series: v.series}, actor.SendOptions{Key: "series/" + id})
		}
	}
	v.env.Clock.SetTimer("look", 0, v.o.Every)
}

// choose picks a series from the text.
func (v *viewer) choose(text string) {
	var names []string
	for _, l := range strings.Split(text, "\n") {
		if i := strings.LastIndexByte(l, '}'); i > 0 && !strings.HasPrefix(l, "#") {
			names = append(names, l[:i+1])
		}
	}
	if len(names) > 0 {
		v.series = names[v.n%len(names)]
	}
}

func (v *viewer) answer(a *platformv2.AlertEvent) {
	to := platformv2.AlertState_ACKED
	switch {
	case v.o.Answer == "none", a.State == platformv2.AlertState_PENDING, a.State == platformv2.AlertState_SILENCED:
		return
	case v.o.Answer == "silence", v.o.Answer == "both" && a.State == platformv2.AlertState_ACKED:
		to = platformv2.AlertState_SILENCED
	case a.State == platformv2.AlertState_ACKED:
		return
	}
	id := fmt.Sprint(a.AlertId, "/", to)
	m := &operationsv2.AlertCommand{CommandId: id, AlertId: a.AlertId, State: to, Principal: v.o.Role}
	if v.o.Forged {
		v.env.Net.Send(v.job.Nissa, m, actor.SendOptions{Key: "forged/" + id})
	}
	v.env.Net.Send(v.job.Nissa, m, actor.SendOptions{Key: "answer/" + id, Auth: v.signer})
}
