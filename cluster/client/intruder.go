package client

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// IntruderOptions of an intruder.
type IntruderOptions struct {
	Every time.Duration `set:"every" doc:"between two attacks"`
	Key   bool          `set:"key" doc:"it holds the key of the run, as a subsystem that has gone wrong does"`

	Answers bool `set:"answers" doc:"it answers in place of the asset library, and maligns kernels"`
	Seals   bool `set:"seals" doc:"it says in Mycosynth's name that everybody has a change of the configuration"`
}

// IntruderDefaults are the options of an intruder that sets none.
func IntruderDefaults() *IntruderOptions { return &IntruderOptions{Every: 250 * time.Millisecond} }

// intruder reads along on the bus and sends what it must not: commands that
// are forged, altered, replayed or sent to somebody else, confirmations and
// pause tokens that nobody signed. It is no other node: to the bus and to
// everybody else it speaks under its own name.
type intruder struct {
	env    actor.Env
	job    *job.Job
	o      IntruderOptions
	codec  *wire.Codec
	heard  map[string][]overheard // by topic: the first ones and the newest
	n      uint64
	change uint64 // newest of the configuration
	ack    busv2.Ack
}

// overheard is a command as it stood on the bus.
type overheard struct {
	raw      []byte
	id       string
	confirms bool // it awaits a confirmation
	pauses   bool
	kernel   string // that it germinates
	auth     *envelopev2.Auth
}

// The topics that it reads along, and of whom.
const (
	toKasmina = "control.kasmina.commands"
	toTolaria = "control.tolaria.commands"
)

// NewIntruder makes the constructor of an intruder.
func NewIntruder(j *job.Job, o IntruderOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &intruder{env: env, job: j, o: o, codec: wire.NewCodecAs(env.Schema), heard: map[string][]overheard{}}, nil
	}
}

// Start implements actor.Actor.
func (i *intruder) Start() error {
	i.listen()
	i.env.Clock.SetTimer("attack", 0, i.o.Every)
	return nil
}

func (i *intruder) listen() {
	i.env.Net.Send(i.job.Oona, &busv2.Subscribe{Group: string(i.env.Self), Consumer: string(i.env.Self),
		Topics: i.reads(), MaxInFlight: 64, SchemaMinor: i.env.Schema.Minor}, actor.SendOptions{Key: "subscribe"})
	i.env.Clock.SetTimer("listen", 0, time.Second)
}

// Receive implements actor.Actor.
func (i *intruder) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		if m.Name == "listen" {
			i.listen()
			break
		}
		i.attack()
		i.env.Clock.SetTimer("attack", 0, i.o.Every)
	case *busv2.Delivery:
		i.overhear(m)
	}
	return nil
}

func (i *intruder) overhear(d *busv2.Delivery) {
	a := &i.ack
	a.Group, a.Consumer, a.Topic, a.Offset, a.ClaimGeneration = d.Group, string(i.env.Self), d.Topic, d.Offset, d.ClaimGeneration
	i.env.Net.Send(i.job.Oona, a, actor.SendOptions{})
	e, m, err := i.codec.Open(d.Envelope)
	if change, is := m.(*operationsv2.ConfigChange); is && err == nil {
		i.change = change.Revision
		i.seal(change.Revision)
		return
	}
	c, ok := m.(*adaptationv2.AdaptationCommand)
	if err != nil || !ok || e.Auth == nil || d.Attempt > 1 {
		return
	}
	auth := new(envelopev2.Auth)
	if auth.ParseCanonical(e.Auth.AppendCanonical(nil)) != nil {
		return
	}
	list := append(i.heard[d.Topic], overheard{raw: append([]byte(nil), d.Envelope...), id: c.CommandId,
		confirms: c.GetConstraints().GetRequireConfirmation(), pauses: c.GetPause() != nil, kernel: c.GetSeedLifecycle().GetKernelArtifactId(), auth: auth})
	if len(list) > 32 {
		list = append(list[:8], list[9:]...)
	}
	i.heard[d.Topic] = list
	i.answer(c)
}

// attack is the next one of its kinds.
func (i *intruder) attack() {
	i.n++
	topic, to, other, others := toKasmina, i.job.Kasmina, toTolaria, i.job.Tolaria
	if i.n/16%2 == 1 {
		topic, to, other, others = other, others, topic, to
	}
	i.seal(i.change)
	list := i.heard[topic]
	if len(list) == 0 {
		return
	}
	i.malign(list)
	newest, any := list[len(list)-1], list[i.env.Rand.For("choice", i.n, i.env.Incarnation)%uint64(len(list))]
	now := i.env.Clock.Now()
	switch i.n % 16 {
	case 0: // what was on the bus once comes again
		i.deliver(to, topic, any.raw)
	case 1: // and to somebody for whom it was not
		i.deliver(others, other, any.raw)
		for _, o := range list {
			if o.pauses {
				i.deliver(others, other, o.raw)
			}
		}
	case 2: // another command under a signature that is not its own
		i.forge(to, topic, newest, nil, kept{any.auth})
	case 3:
		i.forge(to, topic, newest, nil, nil)
	case 4:
		i.forge(to, topic, newest, nil, i.signer(false, i.nonce("key"), now))
	case 5:
		i.confirm(to, list)
	case 6, 7:
		i.pause(list)
	case 8: // the bus has topics of its own
		i.env.Net.Send(i.job.Oona, &adaptationv2.AdaptationCommand{CommandId: i.name()},
			actor.SendOptions{Topic: "bus.dead-letters", EventID: "dead-letter/" + i.name()})
	case 9: // a consumer that it does not know
		i.env.Net.Send(i.job.Oona, &busv2.Claim{Group: string(to), Consumer: string(i.env.Self), Topic: topic}, actor.SendOptions{})
	case 10: // nonce and time of one command for another
		i.forge(to, topic, newest, nil, i.signer(i.o.Key, any.auth.Nonce, any.auth.SignedAt.AsTime()))
	case 11:
		i.forge(to, topic, newest, nil, i.signer(i.o.Key, i.nonce("old"), now.Add(-2*job.MaxClockSkew)))
	case 12:
		i.forge(to, topic, newest, nil, i.signer(i.o.Key, i.nonce("new"), now.Add(2*job.MaxClockSkew)))
	case 13, 14, 15: // a pause whose token is none
		i.forge(to, topic, newest, i.badPause(), i.signer(i.o.Key, i.nonce("pause"), now))
	}
}

func (i *intruder) name() string {
	return fmt.Sprint(i.env.Self, "/", i.env.Incarnation, "/", i.n)
}

func (i *intruder) nonce(what string) []byte { return nonce(i.env, what, i.n) }

// deliver hands an envelope to a node as the bus does. What the node answers to
// the bus is about no entry.
func (i *intruder) deliver(to actor.ID, topic string, raw []byte) {
	i.env.Net.Send(to, &busv2.Delivery{Group: string(to), Topic: topic, Attempt: 1, Envelope: raw},
		actor.SendOptions{Key: "intrude/" + i.name()})
}

// kept is an auth that is put on something else.
type kept struct{ auth *envelopev2.Auth }

// Sign implements actor.Signer.
func (k kept) Sign(e *envelopev2.EventEnvelope, _ []byte) { e.Auth = k.auth }

// signer signs with the key of the run, or with another.
func (i *intruder) signer(genuine bool, nonce []byte, at time.Time) wire.Signer {
	key := i.job.Key
	if !genuine {
		key[0] ^= 1
	}
	s, err := wire.NewHMACSigner("run", key[:])
	if err != nil {
		return nil
	}
	copy(s.Nonce[:], nonce)
	s.SignedAt = at
	return s
}

// forge delivers a command of its own making: one that it heard under another
// id, and with other contents where some are given.
func (i *intruder) forge(to actor.ID, topic string, o overheard, p *adaptationv2.PauseCommand, s wire.Signer) {
	e, m, err := i.codec.Open(o.raw)
	c, ok := m.(*adaptationv2.AdaptationCommand)
	if err != nil || !ok {
		return
	}
	c.CommandId, e.EventId, e.Auth = "forged/"+i.name(), "forged/"+i.name(), nil
	c.Constraints = nil
	if p != nil {
		c.Command = &adaptationv2.AdaptationCommand_Pause{Pause: p}
	}
	out := wire.NewCodec()
	raw := out.Seal(nil, e, c, s)
	i.deliver(to, topic, raw)
}

// confirm confirms what awaits it, without being who may.
func (i *intruder) confirm(to actor.ID, list []overheard) {
	for k := len(list) - 1; k >= 0; k-- {
		if !list[k].confirms {
			continue
		}
		c := &adaptationv2.CommandConfirm{CommandId: list[k].id, Principal: string(i.env.Self), Approve: true}
		now := i.env.Clock.Now()
		o := actor.SendOptions{Key: "intrude/" + i.name()}
		switch i.n / 16 % 4 {
		case 1:
			c.Auth = &envelopev2.Auth{KeyId: "run", Nonce: i.nonce("confirm"), SignedAt: timestamppb.New(now), HmacSha256: make([]byte, 32)}
		case 2:
			key := i.job.Key
			key[0] ^= 1
			c.Auth = &envelopev2.Auth{KeyId: "run", Nonce: i.nonce("confirm"), SignedAt: timestamppb.New(now)}
			command.SignConfirm(c, key[:])
		case 3:
			o.Auth = i.signer(false, i.nonce("confirm"), now)
		}
		i.env.Net.Send(to, c, o)
		return
	}
}

// token is one that does not permit what it is used for.
func (i *intruder) token() *pausev2.PauseToken {
	now := i.env.Clock.Now()
	t := &pausev2.PauseToken{TokenId: "token/" + i.name(), Principal: string(i.env.Self), Role: "admin", Scope: pausev2.Scope_RUN,
		IssuedAt: timestamppb.New(now), ExpiresAt: timestamppb.New(now.Add(time.Minute)), KeyId: "run", Nonce: i.nonce("token"),
		MaxDuration: durations.From(2 * time.Second)}
	key := i.job.Key
	if i.o.Key && i.n%2 == 0 { // expired, but signed
		t.IssuedAt, t.ExpiresAt = timestamppb.New(now.Add(-time.Hour)), timestamppb.New(now.Add(-time.Minute))
	} else {
		key[0] ^= 1
	}
	command.SignToken(t, key[:])
	return t
}

// badPause is a command to pause with such a token.
func (i *intruder) badPause() *adaptationv2.PauseCommand {
	p := &adaptationv2.PauseCommand{Pause: true, MaxDurationMs: 1000, Reason: "intrusion"}
	if i.n%16 != 13 { // none at all
		p.PauseToken = i.token().AppendCanonical(nil)
	}
	return p
}

// pause asks Tamiyo for a pause, and for the end of one that it heard of.
func (i *intruder) pause(list []overheard) {
	i.env.Net.Send(i.job.Tamiyo, &pausev2.PauseRequest{PauseId: i.name(), TrainingRunId: i.job.RunID, Scope: pausev2.Scope_RUN,
		MaxDuration: durations.From(time.Second), Reason: "intrusion", Token: i.token()}, actor.SendOptions{Key: "intrude/" + i.name()})
	for k := len(list) - 1; k >= 0; k-- {
		if id, ok := strings.CutPrefix(list[k].id, "pause/"); ok {
			id = id[:max(strings.LastIndexByte(id, '/'), 0)]
			i.env.Net.Send(i.job.Tamiyo, &pausev2.ResumeRequest{PauseId: id, Principal: string(i.env.Self), Token: i.token()},
				actor.SendOptions{Key: "intrude-resume/" + i.name()})
			return
		}
	}
}
