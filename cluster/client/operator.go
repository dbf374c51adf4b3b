package client

import (
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// OperatorOptions of an operator.
type OperatorOptions struct {
	Every    time.Duration `set:"every" doc:"between two pauses; 0: it never pauses"`
	Pause    time.Duration `set:"pause" doc:"longest that a pause may last"`
	Resume   time.Duration `set:"resume" doc:"how long after a pause was granted it resumes; 0: it lets the pause run out"`
	Resend   time.Duration `set:"resend" doc:"how long it waits for an answer before it asks again"`
	Quota    int           `set:"quota" doc:"identity calls that its tokens ask for; 0: what a request may have at most"`
	Token    string        `set:"token" oneof:"valid,unsigned,forged,expired,replayed,wrong-role,mixed" doc:"what its tokens are like; mixed: one kind after the other"`
	Confirms bool          `set:"confirms" doc:"it confirms the commands that await it (for a Tamiyo with confirm operator)"`
	Signs    string        `set:"signs" oneof:"message,envelope" doc:"what it signs of a confirmation"`
}

// OperatorDefaults are the options of an operator that sets none.
func OperatorDefaults() *OperatorOptions {
	return &OperatorOptions{Every: 10 * time.Second, Pause: 2 * time.Second, Resume: time.Second,
		Resend: 500 * time.Millisecond, Token: "valid", Signs: "message"}
}

// tokens is the order in which mixed goes through the kinds of tokens.
var tokens = []string{"valid", "unsigned", "valid", "forged", "valid", "expired", "valid", "replayed", "valid", "wrong-role"}

// operator pauses the run from time to time, each pause until it is answered.
type operator struct {
	env     actor.Env
	job     *job.Job
	o       OperatorOptions
	pause   int64 // number of the present pause
	attempt uint32
	state   string // "", asking, paused, resuming
	token   *pausev2.PauseToken
	first   *pausev2.PauseToken // the first one that was valid
}

// NewOperator makes the constructor of an operator.
func NewOperator(j *job.Job, o OperatorOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) { return &operator{env: env, job: j, o: o}, nil }
}

// Start implements actor.Actor.
func (p *operator) Start() error {
	if p.o.Every > 0 {
		p.env.Clock.SetTimer("pause", 0, p.o.Every)
	}
	return nil
}

func (p *operator) id() string {
	return fmt.Sprint(p.env.Self, "-", p.env.Incarnation, "-", p.pause)
}

// Receive implements actor.Actor.
func (p *operator) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case "pause":
			p.pause++
			p.attempt, p.state = 0, "asking"
			p.token = p.newToken()
			p.env.Clock.SetTimer("pause", 0, p.o.Every)
			p.ask()
		case "ask":
			p.ask()
		case "resume":
			p.attempt, p.state = 0, "resuming"
			p.ask()
		}
	case *pausev2.PauseAck:
		if m.PauseId == p.id() {
			p.answered(m)
		}
	case *adaptationv2.CommandResult:
		if p.o.Confirms && m.Status == adaptationv2.CommandStatus_AWAITING_CONFIRMATION {
			p.confirm(from, m.CommandId)
		}
	}
	return nil
}

func (p *operator) answered(m *pausev2.PauseAck) {
	switch {
	case m.State == pausev2.PauseState_DENIED:
		p.state = ""
	case p.state == "asking" && m.State == pausev2.PauseState_PAUSING:
		p.state = "paused"
		if p.o.Resume > 0 {
			p.env.Clock.SetTimer("resume", 0, p.o.Resume)
		}
	case p.state == "resuming" && m.State == pausev2.PauseState_RESUMING:
		p.state = ""
	}
}

// ask sends the present request, again until it is answered.
func (p *operator) ask() {
	o := actor.SendOptions{Key: p.state + "/" + p.id(), Attempt: p.attempt}
	switch p.state {
	case "asking":
		p.env.Net.Send(p.job.Tamiyo, &pausev2.PauseRequest{PauseId: p.id(), TrainingRunId: p.job.RunID,
			Scope: pausev2.Scope_RUN, MaxDuration: durations.From(p.o.Pause), Reason: "maintenance", Token: p.token}, o)
	case "resuming":
		p.env.Net.Send(p.job.Tamiyo, &pausev2.ResumeRequest{PauseId: p.id(), Principal: string(p.env.Self), Reason: "done", Token: p.token}, o)
	default:
		return
	}
	p.attempt++
	if p.attempt < 20 {
		p.env.Clock.SetTimer("ask", 0, p.o.Resend)
	}
}

// newToken makes the token of the present pause, good or bad as the options
// say.
func (p *operator) newToken() *pausev2.PauseToken {
	kind := p.o.Token
	if kind == "mixed" {
		kind = tokens[int(p.pause-1)%len(tokens)]
	}
	now := p.env.Clock.Now()
	t := &pausev2.PauseToken{TokenId: "token/" + p.id(), Principal: string(p.env.Self), Role: "operator",
		Scope: pausev2.Scope_RUN, IssuedAt: timestamppb.New(now), ExpiresAt: timestamppb.New(now.Add(time.Minute)),
		QuotaUnits: uint32(p.o.Quota), MaxDuration: durations.From(p.o.Pause), KeyId: "run", Nonce: p.nonce("token", p.pause)}
	switch kind {
	case "expired":
		t.IssuedAt, t.ExpiresAt = timestamppb.New(now.Add(-time.Hour)), timestamppb.New(now.Add(-time.Second))
	case "wrong-role":
		t.Role = "researcher"
	case "replayed":
		if p.first != nil {
			return p.first
		}
	}
	if kind != "unsigned" {
		command.SignToken(t, p.job.Key[:])
	}
	switch {
	case kind == "forged":
		t.Signature[0] ^= 1
	case p.first == nil && kind == "valid":
		p.first = t
	}
	return t
}

func (p *operator) nonce(what string, n int64) []byte { return nonce(p.env, what, uint64(n)) }

// nonce is the one of a life for a purpose and number.
func nonce(env actor.Env, what string, n uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, env.Rand.For(what, n, env.Incarnation))
	return binary.LittleEndian.AppendUint64(b, env.Rand.For(what+"-2", n, env.Incarnation))
}

// confirm approves a command that its receiver told this operator of.
func (p *operator) confirm(to actor.ID, id string) {
	if p.o.Signs == "envelope" {
		s, err := wire.NewHMACSigner("run", p.job.Key[:])
		if err != nil {
			return
		}
		copy(s.Nonce[:], p.nonce("confirm", int64(hash(id)>>1)))
		s.SignedAt = p.env.Clock.Now()
		p.env.Net.Send(to, &adaptationv2.CommandConfirm{CommandId: id, Principal: string(p.env.Self), Approve: true},
			actor.SendOptions{Key: "confirm/" + id, Auth: s})
		return
	}
	c := &adaptationv2.CommandConfirm{CommandId: id, Principal: string(p.env.Self), Approve: true,
		Auth: &envelopev2.Auth{KeyId: "run", Nonce: p.nonce("confirm", int64(hash(id)>>1)), SignedAt: timestamppb.New(p.env.Clock.Now())}}
	command.SignConfirm(c, p.job.Key[:])
	p.env.Net.Send(to, c, actor.SendOptions{Key: "confirm/" + id})
}
