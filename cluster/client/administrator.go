package client

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/config"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
)

// AdministratorOptions of an administrator.
type AdministratorOptions struct {
	Every   time.Duration `set:"every" doc:"between two changes"`
	Count   int           `set:"count" doc:"changes that it asks for"`
	Resend  time.Duration `set:"resend" doc:"how long it waits for an answer before it asks again"`
	Key     string        `set:"key" doc:"the only key that it changes; empty: all by turns"`
	Foreign bool          `set:"foreign" doc:"somebody who cannot sign asks for another value before each of its requests"`
	Wrong   int           `set:"wrong" doc:"every so many-th request is one that must be refused; 0: none"`
}

// AdministratorDefaults are the options of an administrator that sets none.
func AdministratorDefaults() *AdministratorOptions {
	return &AdministratorOptions{Every: 2 * time.Second, Count: 12, Resend: 300 * time.Millisecond, Wrong: 5}
}

// changes are what it goes through: key and value.
var changes = []string{
	config.CommandTTL + "=5", config.TelemetryEvery + "=2", config.FanIn + "=16", config.CheckpointEvery + "=3", config.EvaluateEvery + "=500",
	config.CommandTTL + "=3", config.TelemetryEvery + "=8", config.FanIn + "=32", config.CheckpointEvery + "=4", config.EvaluateEvery + "=1000",
}

// administrator changes the configuration.
type administrator struct {
	env      actor.Env
	job      *job.Job
	o        AdministratorOptions
	signer   *command.Signer
	next     int // number of the change, from 1
	tries    uint32
	versions map[string]uint64
}

// NewAdministrator makes the constructor of an administrator.
func NewAdministrator(j *job.Job, o AdministratorOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		s, err := command.NewSigner(env, j.Key[:])
		return &administrator{env: env, job: j, o: o, signer: s, next: 1, versions: map[string]uint64{}}, err
	}
}

// Start implements actor.Actor.
func (a *administrator) Start() error {
	a.env.Clock.SetTimer("change", 0, a.o.Every)
	return nil
}

func (a *administrator) id() string {
	return fmt.Sprint("change/", a.env.Self, "/", a.env.Incarnation, "/", a.next)
}

// Receive implements actor.Actor.
func (a *administrator) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *operationsv2.ConfigReply:
		if m.RequestId != a.id() {
			break
		}
		key, _ := a.change()
		a.versions[key] = m.Version
		a.next++
		a.tries = 0
		a.env.Clock.SetTimer("change", 0, a.o.Every)
	default:
		if from == a.env.Self {
			a.ask()
		}
	}
	return nil
}

func (a *administrator) change() (key, value string) {
	list := changes
	if a.o.Key != "" {
		list = slices.DeleteFunc(slices.Clone(changes), func(c string) bool { return !strings.HasPrefix(c, a.o.Key+"=") })
	}
	if len(list) == 0 {
		return a.o.Key, ""
	}
	key, value, _ = strings.Cut(list[(a.next-1)%len(list)], "=")
	return key, value
}

func (a *administrator) ask() {
	if a.next > a.o.Count {
		return
	}
	key, value := a.change()
	m := &operationsv2.ConfigRequest{RequestId: a.id(), Key: key, Value: value, ExpectedVersion: a.versions[key]}
	if a.o.Wrong > 0 && a.next%a.o.Wrong == 0 {
		m.Value = strconv.Itoa(-a.next)
	}
	if a.o.Foreign && a.tries == 0 {
		f := &operationsv2.ConfigRequest{RequestId: "foreign/" + m.RequestId, Key: key, Value: "7", ExpectedVersion: m.ExpectedVersion}
		a.env.Net.Send(a.job.Mycosynth, f, actor.SendOptions{Key: f.RequestId})
	}
	a.env.Net.Send(a.job.Mycosynth, m, actor.SendOptions{Key: m.RequestId, Attempt: a.tries, Auth: a.signer})
	a.tries++
	a.env.Clock.SetTimer("change", 0, a.o.Resend)
}
