package client

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// CommanderOptions of a commander.
type CommanderOptions struct {
	Every  time.Duration `set:"every" doc:"between two commands"`
	Resend time.Duration `set:"resend" doc:"how long it waits for the bus before it publishes again"`
	TTL    int           `set:"ttl" doc:"epochs that a command is in force"`
	Quiet  time.Duration `set:"quiet" doc:"from when on it commands nothing; 0: never"`
	Orders string        `set:"orders" oneof:"mixed,wild" doc:"mixed: good ones and ones that must have no effect; wild: learning rates at which the loss explodes"`
}

// CommanderDefaults are the options of a commander that sets none.
func CommanderDefaults() *CommanderOptions {
	return &CommanderOptions{Every: time.Second, Resend: 300 * time.Millisecond, TTL: 12, Orders: "mixed"}
}

// commander commands by itself, beside Tamiyo: what Tamiyo never would, and
// what nobody may. It asks for the newest checkpoint first, to know the epoch,
// and then publishes one command until the bus has answered.
type commander struct {
	env    actor.Env
	job    *job.Job
	o      CommanderOptions
	signer *wire.HMACSigner
	count  int64
	tries  uint32
	query  string
	open   *order // that the bus has not answered
	nonce  [wire.NonceSize]byte
}

// order is one command and how it is published.
type order struct {
	m      *adaptationv2.AdaptationCommand
	topic  string
	nonce  [wire.NonceSize]byte
	age    time.Duration // how long ago it says it was signed
	forged bool          // signed with another key
	bare   bool          // not signed at all
}

// NewCommander makes the constructor of a commander.
func NewCommander(j *job.Job, o CommanderOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		s, err := wire.NewHMACSigner("run", j.Key[:])
		return &commander{env: env, job: j, o: o, signer: s}, err
	}
}

// Start implements actor.Actor.
func (c *commander) Start() error {
	c.env.Clock.SetTimer("command", 0, c.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (c *commander) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch {
		case m.Name == "again":
			c.publish()
		case c.o.Quiet == 0 || c.env.Clock.Monotonic() < c.o.Quiet:
			c.count++
			c.query = fmt.Sprint(c.env.Self, "/", c.env.Incarnation, "/", c.count)
			c.env.Net.Send(c.job.Tolaria, &trainingv2.CheckpointQuery{QueryId: c.query}, actor.SendOptions{Key: fmt.Sprint("query/", c.count)})
			c.env.Clock.SetTimer("command", 0, c.o.Every)
		}
	case *trainingv2.CheckpointInfo:
		if m.QueryId == c.query && c.query != "" && m.CheckpointId != "" {
			c.query, c.tries = "", 0
			c.open = c.order(m)
			c.publish()
		}
	case *busv2.PublishAck:
		if c.open != nil && m.EventId == "command/"+c.open.m.CommandId {
			c.open = nil
		}
	}
	return nil
}

func (c *commander) publish() {
	if c.open == nil {
		return
	}
	id := "command/" + c.open.m.CommandId
	o := actor.SendOptions{Key: id, EventID: id, Topic: c.open.topic, Attempt: c.tries, RunID: c.job.RunID, Auth: c}
	if c.open.bare {
		o.Auth = nil
	}
	c.env.Net.Send(c.job.Oona, c.open.m, o)
	c.tries++
	c.env.Clock.SetTimer("again", 0, c.o.Resend)
}

// Sign implements actor.Signer.
func (c *commander) Sign(e *envelopev2.EventEnvelope, payload []byte) {
	c.signer.Nonce, c.signer.SignedAt = c.open.nonce, c.env.Clock.Now().Add(-c.open.age)
	c.signer.Sign(e, payload)
	if c.open.forged {
		e.Auth.HmacSha256[0] ^= 1
	}
}

// order makes the next command. newest is the newest checkpoint.
func (c *commander) order(newest *trainingv2.CheckpointInfo) *order {
	o := &order{topic: toTolaria, m: &adaptationv2.AdaptationCommand{
		TargetEpoch: newest.Epoch, TtlEpochs: int32(c.o.TTL), CreatedAt: timestamppb.New(c.env.Clock.Now()),
		TrainingRunId: c.job.RunID, Issuer: string(c.env.Self)}}
	binary.LittleEndian.PutUint64(o.nonce[:8], c.env.Rand.For("nonce", uint64(c.count), c.env.Incarnation))
	binary.LittleEndian.PutUint64(o.nonce[8:], c.env.Rand.For("nonce-2", uint64(c.count), c.env.Incarnation))
	rate := func(group string, r float64) {
		o.m.Command = &adaptationv2.AdaptationCommand_LrUpdate{LrUpdate: &adaptationv2.LearningRateUpdate{
			PolicyName: "by hand", GroupRates: []*adaptationv2.LearningRateGroup{{ParamGroup: group, LearningRate: r}}}}
	}
	change := func(kind, config, hashed string) {
		sum := sha256.Sum256([]byte(hashed))
		o.m.Command = &adaptationv2.AdaptationCommand_ArchChange{ArchChange: &adaptationv2.ArchitectureChange{
			ChangeType: kind, SerializedConfig: []byte(config), ValidationHash: hex.EncodeToString(sum[:])}}
	}
	requires := func(names ...string) { o.m.Constraints = &adaptationv2.ExecutionConstraints{RequiredSubsystems: names} }
	what := "wild"
	if c.o.Orders == "wild" {
		rate("default", 1)
	} else {
		what = orders[int(c.count-1)%len(orders)]
	}
	switch what {
	case "rate":
		rate("default", 0.02+0.001*float64(c.count%5))
	case "warm-rate":
		rate("default", 0.025+0.001*float64(c.count%5))
		o.m.GetLrUpdate().ApplyWarmup = true
	case "other-config": // the hash is that of what somebody else had checked
		change("rhythm", "checkpoint-every: 3\n", "checkpoint-every: 4\n")
	case "rhythm":
		config := fmt.Sprintf("checkpoint-every: %d\n", 3+c.count%3)
		change("rhythm", config, config)
		requires("tolaria", "tamiyo")
	case "unknown-change":
		change("pickle", "\x80\x04", "\x80\x04")
	case "bad-config":
		change("rhythm", "checkpoint-every: 0\n", "checkpoint-every: 0\n")
	case "germinate", "cull": // of a seed that is Tamiyo's as well
		o.topic = toKasmina
		l := &adaptationv2.SeedLifecycleCommand{Seed: &telemetryv2.SeedRef{LayerId: 1, SeedId: 2},
			Operation: adaptationv2.SeedOperation_CULL}
		if what == "germinate" {
			l.Operation, l.KernelArtifactId = adaptationv2.SeedOperation_GERMINATE, "residual-4"
		}
		o.m.Command = &adaptationv2.AdaptationCommand_SeedLifecycle{SeedLifecycle: l}
		requires("tamiyo")
	case "other-layer": // there is no such seed; it is rejected when it is due
		o.topic = toKasmina
		o.m.Command = &adaptationv2.AdaptationCommand_SeedLifecycle{SeedLifecycle: &adaptationv2.SeedLifecycleCommand{
			Seed: &telemetryv2.SeedRef{LayerId: 99, SeedId: 1}, Operation: adaptationv2.SeedOperation_CULL}}
		requires("tamiyo", "kasmina", "tolaria")
	case "unknown-subsystem":
		rate("default", 0.5)
		requires("karn")
	case "too-fast":
		rate("default", 2)
	case "unknown-group":
		rate("graft", 0.5)
	case "used-nonce":
		rate("default", 0.5)
		o.nonce = c.nonce
	case "old":
		rate("default", 0.5)
		o.age = 10 * time.Minute
	case "early":
		rate("default", 0.5)
		o.age = -10 * time.Minute
	case "forged":
		rate("default", 0.5)
		o.forged = true
	case "bare":
		rate("default", 0.5)
		o.bare = true
	case "other-run":
		rate("default", 0.5)
		o.m.TrainingRunId = "another run"
	case "over":
		rate("default", 0.5)
		o.m.TargetEpoch, o.m.TtlEpochs = 0, 1
	case "unknown-checkpoint":
		o.m.Command = &adaptationv2.AdaptationCommand_Rollback{Rollback: &adaptationv2.RollbackCommand{
			Type: adaptationv2.RollbackCommand_FULL, CheckpointId: "nowhere", Reason: "by hand"}}
	case "rollback":
		o.m.Command = &adaptationv2.AdaptationCommand_Rollback{Rollback: &adaptationv2.RollbackCommand{
			Type: adaptationv2.RollbackCommand_FULL, CheckpointId: newest.CheckpointId, Reason: "by hand"}}
	}
	if !o.forged && !o.bare && o.age == 0 {
		c.nonce = o.nonce
	}
	o.m.CommandId = fmt.Sprint("by-hand/", what, "/", c.env.Self, "/", c.env.Incarnation, "/", c.count)
	return o
}

// orders is the order in which mixed goes through the kinds of commands.
var orders = []string{"rate", "used-nonce", "other-config", "rhythm", "cull", "unknown-change", "other-layer", "forged", "bad-config", "old",
	"germinate", "unknown-subsystem", "rate", "too-fast", "bare", "unknown-group", "early", "unknown-checkpoint", "other-run", "warm-rate", "rollback", "over"}
