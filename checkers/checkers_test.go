package checkers_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

var (
	key   = bytes.Repeat([]byte{7}, wire.KeySize)
	start = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
)

// tape is a run that a test makes up, event by event. Each event takes a
// millisecond.
type tape struct {
	t      *testing.T
	log    *trace.Log
	codec  *wire.Codec
	now    int64
	nonce  byte
	signer *wire.HMACSigner
}

func newTape(t *testing.T, o ...trace.Observer) *tape {
	s, err := wire.NewHMACSigner("k", key)
	if err != nil {
		t.Fatal(err)
	}
	return &tape{t: t, log: trace.NewLog(o...), codec: wire.NewCodec(), signer: s}
}

func (p *tape) wait(d time.Duration) { p.now += int64(d) }

func (p *tape) event(k trace.Kind, node string, fill func(*trace.Event)) uint64 {
	p.now += int64(time.Millisecond)
	e := p.log.Next(p.now, k)
	e.Node, e.Incarnation = node, 1
	if fill != nil {
		fill(e)
	}
	return p.log.Commit()
}

// seal makes an envelope of its own memory.
func (p *tape) seal(env *envelopev2.EventEnvelope, m canon.Message, signed bool) []byte {
	var s wire.Signer
	if signed {
		p.nonce++
		p.signer.Nonce[0], p.signer.SignedAt = p.nonce, start.Add(time.Duration(p.now))
		s = p.signer
	}
	return p.codec.Seal(nil, env, m, s)
}

func (p *tape) sentBytes(from, to string, b []byte) uint64 {
	return p.event(trace.MessageSent, from, func(e *trace.Event) { e.Peer, e.Data = to, b })
}

func (p *tape) deliverBytes(from, to string, b []byte) uint64 {
	return p.event(trace.MessageDelivered, from, func(e *trace.Event) { e.Peer, e.Data = to, b })
}

func (p *tape) sent(from, to string, m canon.Message) uint64 {
	return p.sentBytes(from, to, p.seal(&envelopev2.EventEnvelope{EventId: "m"}, m, false))
}

// sentBy is sent by the handler that an event began.
func (p *tape) sentBy(from, to string, m canon.Message, cause uint64) {
	b := p.seal(&envelopev2.EventEnvelope{EventId: "m"}, m, false)
	p.event(trace.MessageSent, from, func(e *trace.Event) { e.Peer, e.Data, e.Cause = to, b, cause })
}

// mail is sent and delivered.
func (p *tape) mail(from, to string, m canon.Message) (delivered uint64) {
	b := p.seal(&envelopev2.EventEnvelope{EventId: "m"}, m, false)
	p.sentBytes(from, to, b)
	return p.deliverBytes(from, to, b)
}

// publish sends a signed publication to the bus and returns its bytes.
func (p *tape) publish(from, topic, event string, m canon.Message) []byte {
	b := p.seal(&envelopev2.EventEnvelope{EventId: event, Topic: topic, Priority: envelopev2.Priority_NORMAL}, m, true)
	p.sentBytes(from, "oona", b)
	return b
}

func (p *tape) accepted(to, topic, event string, offset int64) {
	p.sent("oona", to, &busv2.PublishAck{EventId: event, Topic: topic, Offset: offset, Status: busv2.PublishStatus_ACCEPTED, Reason: "pressure=100"})
}

func (p *tape) deliver(group, topic string, offset int64, attempt uint32, b []byte) {
	p.mail("oona", "kasmina", &busv2.Delivery{Group: group, Topic: topic, Offset: offset, Attempt: attempt, Envelope: b})
}

func (p *tape) fact(node string, m canon.Message) uint64 {
	return p.factBy(node, m, 0)
}

func (p *tape) factBy(node string, m canon.Message, cause uint64) uint64 {
	return p.event(trace.FactDeclared, node, func(e *trace.Event) {
		e.Text, e.Data, e.Cause = m.FullName(), m.AppendCanonical(nil), cause
	})
}

// asks has Tolaria ask Kasmina for some steps of an epoch, each of them twice.
func (p *tape) asks(epoch int64, steps int) {
	for i := range steps {
		for range 2 {
			p.sent("tolaria", "kasmina", &trainingv2.ForwardRequest{Step: step(epoch, int32(i), 1), Training: true})
		}
	}
}

// op is an operation on a file that works; data is what it writes.
func (p *tape) op(text string, at int64, data []byte) {
	p.event(trace.DiskOperation, "oona", func(e *trace.Event) { e.Text, e.Arg, e.Data = text, at, data })
}

// opFails is an operation that the device fails.
func (p *tape) opFails(text string) {
	p.op(text, 0, nil)
	p.op(text+" failed: input/output error", 0, nil)
}

// begins makes a file of zeros.
func (p *tape) begins(name string) {
	p.op("open "+name, 0, nil)
	p.op("allocate "+name, 0, nil)
}

// segment makes a segment of a log as it should be made, with a first record.
func (p *tape) segment(name string, first []byte) {
	p.begins(name)
	p.op("sync "+name, 0, nil)
	p.op("syncdir "+path.Dir(name), 0, nil)
	p.op("dsync-write "+name, 0, first)
}

// record is a record of a log without a payload.
func record(lsn, start uint64) []byte {
	b := make([]byte, 512)
	copy(b, "ESPR")
	binary.LittleEndian.PutUint64(b[100:], lsn)
	binary.LittleEndian.PutUint64(b[152:], start)
	binary.LittleEndian.PutUint32(b[160:], 512)
	return b
}

// command publishes and delivers a command for Kasmina.
func (p *tape) command(c *adaptationv2.AdaptationCommand) []byte {
	b := p.publish("tamiyo", "control.kasmina.commands", "e-"+c.CommandId, c)
	p.accepted("tamiyo", "control.kasmina.commands", "e-"+c.CommandId, 1)
	p.deliver("kasmina", "control.kasmina.commands", 1, 1, b)
	return b
}

func (p *tape) applied(node, id string, epoch int64) {
	p.fact(node, &evidencev2.CommandFact{CommandId: id, Subsystem: node, Status: "APPLIED", Epoch: epoch})
}

func germinate() *adaptationv2.AdaptationCommand {
	return &adaptationv2.AdaptationCommand{CommandId: "c1", TargetEpoch: 3, TtlEpochs: 2, Command: &adaptationv2.AdaptationCommand_SeedLifecycle{
		SeedLifecycle: &adaptationv2.SeedLifecycleCommand{Operation: adaptationv2.SeedOperation_GERMINATE}}}
}

// needing is a command that requires a subsystem.
func (p *tape) needing(subsystem string) {
	c := germinate()
	c.Constraints = &adaptationv2.ExecutionConstraints{RequiredSubsystems: []string{subsystem}}
	p.command(c)
}

func (p *tape) token(role string) []byte {
	t := &pausev2.PauseToken{TokenId: "t", Principal: "op", Role: role, MaxDuration: durationpb.New(time.Second)}
	t.Signature = hmacOf(t.AppendCanonical(nil))
	return t.AppendCanonical(nil)
}

func pauseCommand(token []byte) *adaptationv2.AdaptationCommand {
	return &adaptationv2.AdaptationCommand{CommandId: "p1", TargetEpoch: 3, TtlEpochs: 2, Command: &adaptationv2.AdaptationCommand_Pause{
		Pause: &adaptationv2.PauseCommand{Pause: true, MaxDurationMs: 1000, PauseToken: token}}}
}

func step(epoch int64, n int32, gen uint32) *trainingv2.StepRef {
	return &trainingv2.StepRef{Epoch: epoch, Step: n, Generation: gen}
}

// forward is a pass through a layer and what came out.
func (p *tape) forward(st *trainingv2.StepRef, out float32, status trainingv2.ReplyStatus, use ...*trainingv2.KernelUse) {
	p.mail("tolaria", "kasmina", &trainingv2.ForwardRequest{Step: st, LayerId: 1, Batch: 1, Width: 1, Activations: []float32{1}, Training: true})
	p.sent("kasmina", "tolaria", &trainingv2.ForwardReply{Step: st, LayerId: 1, Status: status, Activations: []float32{out}, Kernels: use, Training: true})
}

func (p *tape) stage(from, to telemetryv2.SeedStage, cause evidencev2.StageCause, by uint64) {
	p.factBy("kasmina", &evidencev2.StageFact{Seed: &telemetryv2.SeedRef{LayerId: 1, SeedId: 1}, From: from, To: to, Cause: cause, CommandId: "c", AtBoundary: true}, by)
}

func (p *tape) rollback(node string, s evidencev2.RollbackStep, id string, epoch int64, gen uint32) {
	p.fact(node, &evidencev2.RollbackFact{RollbackId: id, Subsystem: node, Step: s, Tier: "FULL", Epoch: epoch, Generation: gen})
}

func (p *tape) wholeRollback(epochs [3]int64) {
	p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r1", 4, 2)
	for i, n := range []string{"tamiyo", "kasmina"} {
		p.rollback(n, evidencev2.RollbackStep_RB_PREPARED, "r1", epochs[i], 2)
	}
	p.rollback("tolaria", evidencev2.RollbackStep_RB_COMMITTED, "r1", 4, 2)
	for i, n := range []string{"tamiyo", "kasmina", "tolaria"} {
		p.rollback(n, evidencev2.RollbackStep_RB_RESTORED, "r1", epochs[i], 2)
	}
	p.rollback("tolaria", evidencev2.RollbackStep_RB_DONE, "r1", 4, 2)
}

func (p *tape) started(epoch int64, gen uint32) {
	m := &eventsv2.EpochEvent{Epoch: epoch, RollbackGeneration: gen, Phase: eventsv2.EpochPhase_STARTED}
	p.publish("tolaria", "system.events.epoch", fmt.Sprintf("epoch/%d/%d", gen, epoch), m)
}

// checkpoint is saved whole, from what the subsystems sent.
func (p *tape) checkpoint(id string, epoch, kasminaEpoch int64, retained uint32) []byte {
	root := sha256.Sum256([]byte(id))
	f := &evidencev2.CheckpointFact{Action: evidencev2.CheckpointAction_CHECKPOINT_SAVED, CheckpointId: id, Epoch: epoch, Root: root[:], Retained: retained}
	for _, name := range []string{"host", "kasmina", "tamiyo"} {
		data := []byte(name + id)
		sum := sha256.Sum256(data)
		if name == "kasmina" {
			p.sent("kasmina", "tolaria", &trainingv2.BoundaryReply{Status: trainingv2.ReplyStatus_OK, Part: &trainingv2.StatePart{CheckpointId: id, Subsystem: name, Epoch: kasminaEpoch, Data: data}})
		} else if name == "tamiyo" {
			p.sent("tamiyo", "tolaria", &trainingv2.StatePart{CheckpointId: id, Subsystem: name, Epoch: epoch, Data: data})
		}
		f.Parts = append(f.Parts, &evidencev2.PartDigest{Name: name, Epoch: epoch, Sha256: sum[:]})
	}
	p.fact("tolaria", f)
	return root[:]
}

func pick[T any](guilty bool, bad, good T) T {
	if guilty {
		return bad
	}
	return good
}

// cases has, for each invariant, how a run goes that violates it and how the
// same run goes that does not.
var cases = map[string]func(p *tape, guilty bool){
	"C2": func(p *tape, guilty bool) {
		b := p.seal(&envelopev2.EventEnvelope{EventId: "x"}, &busv2.Ack{Group: "g", Offset: 3}, false)
		if guilty { // a field of the envelope twice, with a checksum that is right
			b = reseal(append([]byte{0x0a, 1, 'y'}, b...))
		}
		p.deliverBytes("a", "b", b)
	},
	"C9": func(p *tape, guilty bool) {
		const topic = "telemetry.seed.health"
		sub := func(minor uint32) {
			p.mail("kasmina", "oona", &busv2.Subscribe{Group: "g", Consumer: "kasmina", Topics: []string{topic}, SchemaMinor: minor})
		}
		sub(0)
		p.deliver("g", topic, 1, 1, p.publish("tolaria", topic, "e1", &telemetryv2.SeedTelemetry{TelemetryId: "a"}))
		if !guilty {
			sub(1)
		}
		b := p.publish("tolaria", topic, "e2", &telemetryv2.SeedTelemetry{TelemetryId: "b", RollbackGeneration: 1})
		p.deliverBytes("tolaria", "oona", b)
		p.deliver("g", topic, 2, 1, b)
	},
	"C10": func(p *tape, guilty bool) {
		p.publish("tolaria", pick(guilty, "telemetry.seed.health", "system.events.epoch"), "x", &eventsv2.EpochEvent{})
	},
	"C11": func(p *tape, guilty bool) {
		b := p.seal(&envelopev2.EventEnvelope{EventId: "x"}, &busv2.Ack{Group: "g", Offset: 3}, false)
		if guilty {
			b[len(b)/2] ^= 4
		}
		p.deliverBytes("a", "b", b)
	},
	"O1": func(p *tape, guilty bool) {
		b := p.publish("kasmina", "telemetry.seed.health", "e1", &telemetryv2.SeedTelemetry{TelemetryId: "a"})
		if guilty { // altered before anybody saw it
			b = p.seal(&envelopev2.EventEnvelope{EventId: "e1", Topic: "telemetry.seed.health"}, &telemetryv2.SeedTelemetry{TelemetryId: "b"}, true)
		}
		p.deliver("g", "telemetry.seed.health", 1, 1, b)
	},
	"O2": func(p *tape, guilty bool) {
		p.mail("tamiyo", "oona", &busv2.Subscribe{Group: "g", Consumer: "tamiyo", Topics: []string{"telemetry.seed.health"}, Durable: true})
		b := p.publish("kasmina", "telemetry.seed.health", "e1", &telemetryv2.SeedTelemetry{TelemetryId: "a"})
		p.accepted("kasmina", "telemetry.seed.health", "e1", 1)
		p.deliver("g", "telemetry.seed.health", 1, 1, b)
		if !guilty {
			p.sent("oona", "tamiyo", &busv2.AckReply{Group: "g", Topic: "telemetry.seed.health", Offset: 1, Status: busv2.AckStatus_ACKED})
		}
		p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_TRIMMED, Topic: "telemetry.seed.health", Offset: 1})
	},
	"O3": func(p *tape, guilty bool) {
		b := p.command(germinate())
		p.deliver("kasmina", "control.kasmina.commands", 1, 2, b)
		p.applied("kasmina", "c1", 3)
		if guilty {
			p.applied("kasmina", "c1", 3)
		}
	},
	"O4": func(p *tape, guilty bool) {
		for _, n := range pick(guilty, []string{"a", "b"}, []string{"a", "a"}) {
			p.sent("oona", n, &busv2.AckReply{Group: "g", Topic: "t", Offset: 1, Status: busv2.AckStatus_ACKED})
		}
	},
	"O5": func(p *tape, guilty bool) { p.overtaken(guilty) },
	"O6": func(p *tape, guilty bool) { p.flooded(guilty) },
	"O7": func(p *tape, guilty bool) { p.raised(guilty) },
	"O8": func(p *tape, guilty bool) { p.letGo(guilty) },
	"E2": func(p *tape, guilty bool) { p.rebuilt(guilty) },
	"R4": func(p *tape, guilty bool) { p.readAgain(guilty) },
	"A1": func(p *tape, guilty bool) {
		p.command(germinate())
		p.applied("kasmina", "c1", 3)
		if guilty {
			p.applied("kasmina", "c1", 4)
		}
	},
	"A2": func(p *tape, guilty bool) {
		p.command(germinate())
		p.applied("kasmina", "c1", pick[int64](guilty, 5, 4))
	},
	"A3": func(p *tape, guilty bool) {
		c := germinate()
		b := p.publish("tamiyo", "control.kasmina.commands", "e-c1", c)
		if guilty {
			b = p.seal(&envelopev2.EventEnvelope{EventId: "e-c1", Topic: "control.kasmina.commands"}, c, false)
		}
		p.deliver("kasmina", "control.kasmina.commands", 1, 1, b)
		p.applied("kasmina", "c1", 3)
	},
	"A4": func(p *tape, guilty bool) {
		c := germinate()
		c.Constraints = &adaptationv2.ExecutionConstraints{RequireConfirmation: true}
		p.command(c)
		b := p.seal(&envelopev2.EventEnvelope{EventId: "y"}, &adaptationv2.CommandConfirm{CommandId: "c1", Approve: true}, !guilty)
		p.deliverBytes("operator", "kasmina", b)
		p.applied("kasmina", "c1", 3)
	},
	"O9": func(p *tape, guilty bool) {
		p.asks(3, 3)
		p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "kasmina", From: "CLOSED", To: "OPEN"})
		p.wait(pick(guilty, time.Second, 2*time.Second))
		p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "kasmina", From: "OPEN", To: "HALF_OPEN"})
	},
	"A5": func(p *tape, guilty bool) {
		p.command(pauseCommand(p.token(pick(guilty, "guest", "operator"))))
		p.fact("kasmina", &evidencev2.PauseFact{PauseId: "p1", State: "PAUSED", MaxDurationNs: int64(time.Hour)})
		p.fact("kasmina", &evidencev2.PauseFact{PauseId: "p1", State: "RUNNING"})
	},
	"A6": func(p *tape, guilty bool) {
		p.command(pauseCommand(p.token("operator")))
		p.fact("kasmina", &evidencev2.PauseFact{PauseId: "p1", State: "PAUSED"})
		p.forward(step(3, 0, 1), pick[float32](guilty, 2, 1), trainingv2.ReplyStatus_OK)
	},
	"K1": func(p *tape, guilty bool) {
		by := p.mail("tolaria", "kasmina", &trainingv2.BoundaryRequest{Epoch: 3})
		p.stage(telemetryv2.SeedStage_DORMANT, pick(guilty, telemetryv2.SeedStage_GRAFTING, telemetryv2.SeedStage_GERMINATED), evidencev2.StageCause_BY_COMMAND, by)
	},
	"K2": func(p *tape, guilty bool) {
		by := p.mail("tolaria", "kasmina", &trainingv2.BoundaryRequest{Epoch: 3})
		if guilty {
			by = p.mail("tolaria", "kasmina", &trainingv2.BackwardRequest{Step: step(3, 0, 1)})
		}
		p.stage(telemetryv2.SeedStage_DORMANT, telemetryv2.SeedStage_GERMINATED, evidencev2.StageCause_BY_COMMAND, by)
	},
	"K4": func(p *tape, guilty bool) {
		// It hides its kernel from the reply, too.
		p.forward(step(3, 0, 1), pick[float32](guilty, 2, 1), trainingv2.ReplyStatus_OK)
	},
	"K5": func(p *tape, guilty bool) {
		for _, alpha := range []uint32{500, pick[uint32](guilty, 400, 600)} {
			p.forward(step(3, 0, 1), 1, trainingv2.ReplyStatus_OK, &trainingv2.KernelUse{Seed: &telemetryv2.SeedRef{LayerId: 1, SeedId: 1}, AlphaMilli: alpha, Stage: telemetryv2.SeedStage_GRAFTING})
		}
	},
	"I7": func(p *tape, guilty bool) {
		c := germinate()
		c.GetSeedLifecycle().Seed, c.GetSeedLifecycle().KernelArtifactId = &telemetryv2.SeedRef{LayerId: 1, SeedId: 1}, "k"
		p.command(c)
		stage := func(from, to telemetryv2.SeedStage) {
			p.fact("kasmina", &evidencev2.StageFact{Seed: c.GetSeedLifecycle().Seed, From: from, To: to, CommandId: "c1"})
		}
		stage(telemetryv2.SeedStage_DORMANT, telemetryv2.SeedStage_GERMINATED)
		p.applied("kasmina", "c1", 3)
		stage(telemetryv2.SeedStage_GERMINATED, telemetryv2.SeedStage_CULLED)
		p.publish("tamiyo", "innovation.field_reports", "report/c1", &operationalv2.FieldReport{ReportId: "report/c1",
			BlueprintId: "b", KernelArtifactId: "k", SeedId: "1/1", Outcome: pick(guilty, "FOSSILIZED", "CULLED")})
	},
	"T1": func(p *tape, guilty bool) {
		for i := range 9 { // whatever it says it keeps
			p.checkpoint(fmt.Sprint("k", i), int64(i), int64(i), uint32(min(i+1, 5)))
			if !guilty && i >= 5 {
				p.fact("tolaria", &evidencev2.CheckpointFact{Action: evidencev2.CheckpointAction_CHECKPOINT_EVICTED, CheckpointId: fmt.Sprint("k", i-5), Retained: 5})
			}
		}
	},
	"T2": func(p *tape, guilty bool) { p.checkpoint("k1", 4, pick[int64](guilty, 3, 4), 1) },
	"T3": func(p *tape, guilty bool) {
		p.wholeRollback([3]int64{4, pick[int64](guilty, 8, 4), 4})
	},
	"T4": func(p *tape, guilty bool) {
		p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r1", 4, 2)
		p.rollback("kasmina", evidencev2.RollbackStep_RB_PREPARED, "r1", 4, 2)
		p.rollback("kasmina", evidencev2.RollbackStep_RB_FENCED, "r1", 4, 2)
		p.forward(step(3, 0, 1), 1, pick(guilty, trainingv2.ReplyStatus_OK, trainingv2.ReplyStatus_FENCED))
	},
	"T6": func(p *tape, guilty bool) {
		p.started(1, 1)
		p.started(pick[int64](guilty, 3, 2), 1)
	},
	"T7": func(p *tape, guilty bool) {
		p.sent("tolaria", "tamiyo", &systemstatev2.SystemStatePacket{PacketId: "k"})
		p.wait(pick(guilty, 3*time.Second, time.Second))
		p.fact("tolaria", &evidencev2.DecisionFact{WaitedNs: 1})
	},
	"W1": func(p *tape, guilty bool) {
		p.ledger(2, pick(guilty, 1, 2), func([]byte) {})
	},
	"W2": func(p *tape, guilty bool) {
		p.ledger(1, 1, func(b []byte) {
			if guilty {
				copy(b, "something quite different")
			}
		})
	},
	"W3": func(p *tape, guilty bool) {
		p.ledger(1, 1, func(b []byte) {
			if guilty {
				b[0] ^= 1
			}
		})
	},
	"W4": func(p *tape, guilty bool) {
		p.seals("b1", "root1", "one")
		p.opens("b1", "root1", pick(guilty, []string{"a"}, []string{"a", "b"}), "one")
	},
	"W5": func(p *tape, guilty bool) {
		p.seals("b1", "root1", "one")
		p.opens("b1", "root1", []string{"a", "b"}, pick(guilty, "two", "one"))
	},
	"W6": func(p *tape, guilty bool) {
		p.seals("b1", "root1", "one")
		p.seals("b2", pick(guilty, "root1", "root2"), "two")
	},
	"W7": func(p *tape, guilty bool) {
		p.begins("oona/bus/1.wal")
		if !guilty {
			p.op("sync oona/bus/1.wal", 0, nil)
		}
		p.op("syncdir oona/bus", 0, nil)
		p.op("dsync-write oona/bus/1.wal", 0, record(1, 1))
	},
	"W8": func(p *tape, guilty bool) {
		p.segment("oona/bus/1.wal", record(1, 1))
		p.segment("oona/bus/2.wal", record(2, 1))
		p.op("dsync-write oona/bus/2.wal", 512, record(3, 2))
		if !guilty {
			p.op("remove oona/bus/1.wal", 0, nil)
			p.op("syncdir oona/bus", 0, nil)
		}
		p.op("dsync-write oona/bus/2.wal", 1024, record(4, 2))
	},
	"W9": func(p *tape, guilty bool) {
		by := p.mail("oona", "kasmina", &busv2.Delivery{Group: "kasmina", Topic: "control.kasmina.commands", Offset: 1})
		p.factBy("kasmina", &evidencev2.LogFact{Log: "kasmina/commands", Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 1}, by)
		if !guilty {
			p.factBy("kasmina", &evidencev2.LogFact{Log: "kasmina/commands", Action: evidencev2.LogAction_LOG_DURABLE, Lsn: 1}, by)
		}
		p.sentBy("kasmina", "oona", &busv2.Ack{Group: "kasmina", Consumer: "kasmina", Topic: "control.kasmina.commands", Offset: 1}, by)
	},
	"J2": func(p *tape, guilty bool) {
		c := &operationsv2.ConfigChange{Revision: 1, EffectiveEpoch: 5, Entries: []*operationsv2.ConfigEntry{{Key: "k", Value: "1", Version: 1}}}
		p.wants("k", "1", 1)
		p.publish("mycosynth", "operations.config", "config/1", c)
		p.sent("mycosynth", "tolaria", &operationsv2.ConfigSeal{Revision: 1})
		sum := sha256.Sum256((&operationsv2.ConfigSnapshot{Entries: c.Entries}).AppendCanonical(nil))
		none := sha256.Sum256(nil)
		p.sent("tolaria", "kasmina", &trainingv2.BoundaryRequest{Epoch: 5, Generation: 1, ConfigRevision: 1})
		p.fact("kasmina", &evidencev2.ConfigFact{Subsystem: "kasmina", Revision: 1, Epoch: 5, Generation: 1, EntriesSha256: sum[:]})
		f := &evidencev2.ConfigFact{Subsystem: "tamiyo", Revision: 1, Epoch: 5, Generation: 1, EntriesSha256: sum[:]}
		if guilty { // it sees the change an epoch later
			f.Revision, f.EntriesSha256 = 0, none[:]
		}
		p.fact("tamiyo", f)
	},
	"J3": func(p *tape, guilty bool) {
		const topic = "telemetry.seed.health"
		for i, id := range []string{"a", "b"} {
			p.publish("kasmina", topic, id, &telemetryv2.SeedTelemetry{TelemetryId: id, RegionId: "r", Seed: &telemetryv2.SeedRef{LayerId: 1, SeedId: int32(i)}, LocalLoss: float64(1 + 2*i),
				Health: &systemstatev2.SeedHealth{Status: systemstatev2.SeedHealth_HEALTHY}})
		}
		p.publish("narset", "telemetry.region.summaries", "s", &operationsv2.RegionSummary{SummaryId: "s", RegionId: "r", TelemetryIds: []string{"a", "b"},
			MeanLoss: pick(guilty, 1.0, 2.0), Seeds: []*telemetryv2.SeedRef{{LayerId: 1}, {LayerId: 1, SeedId: 1}}})
	},
	"J4": func(p *tape, guilty bool) {
		p.mail("tolaria", "nissa", &systemstatev2.SystemStatePacket{Epoch: 3, RollbackGeneration: 1})
		p.mail("tolaria", "nissa", &systemstatev2.SystemStatePacket{Epoch: 2, RollbackGeneration: 2})
		p.sent("nissa", "viewer", &operationsv2.StatusReply{QueryId: "q", State: &systemstatev2.SystemStatePacket{Epoch: pick(guilty, int64(3), 2), RollbackGeneration: pick(guilty, uint32(1), 2)}})
	},
	"L6": func(p *tape, guilty bool) {
		for range 30 {
			p.mail("altered", "leyline", &operationsv2.VersionQuery{Subsystem: "altered", SchemaMajor: 2, DescriptorSetSha256: []byte("no such schemas")})
			if !guilty {
				p.publish("nissa", "operations.alerts", "x", &platformv2.AlertEvent{AlertId: "x", Rule: "contract-mismatch", State: platformv2.AlertState_FIRING,
					Labels: []*telemetryv2.Label{{Key: "subsystem", Value: "altered"}}})
			}
			p.wait(time.Second)
		}
	},
	"L1": func(p *tape, guilty bool) {
		p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r1", 4, 2)
		if !guilty {
			p.rollback("tolaria", evidencev2.RollbackStep_RB_ABORTED, "r1", 4, 2)
		}
		p.wait(31 * time.Second)
		p.fact("oona", &evidencev2.BusFact{})
	},
	"L2": func(p *tape, guilty bool) {
		p.command(germinate())
		if !guilty {
			p.publish("kasmina", "control.command.results", "r", &adaptationv2.CommandResult{CommandId: "c1", Status: adaptationv2.CommandStatus_REJECTED})
		}
		p.wait(31 * time.Second)
		p.fact("oona", &evidencev2.BusFact{})
	},
	"H1": func(p *tape, guilty bool) {
		for _, n := range []string{"kasmina", "oona"} {
			p.event(trace.NodeStarted, n, nil)
			p.event(trace.NodeReady, n, nil)
		}
		const topic = "control.command.results"
		p.publish("kasmina", topic, "e1", &adaptationv2.CommandResult{CommandId: "c"})
		if !guilty {
			p.mail("oona", "kasmina", &busv2.PublishAck{EventId: "e1", Topic: topic, Status: busv2.PublishStatus_ACCEPTED})
		}
		p.wait(31 * time.Second)
		p.event(trace.TimerFired, "kasmina", nil)
	},
	"L5": func(p *tape, guilty bool) {
		for range 8 {
			p.publish("kasmina", "telemetry.seed.health", "e1", &telemetryv2.SeedTelemetry{TelemetryId: "a"})
			p.wait(2 * time.Second)
		}
		if !guilty {
			p.mail("oona", "kasmina", &busv2.PublishAck{EventId: "e1", Topic: "telemetry.seed.health", Offset: 1, Status: busv2.PublishStatus_ACCEPTED})
		}
	},
	"I4": func(p *tape, guilty bool) {
		p.sent("tezzeret", "urza", &assetsv2.StoreKernel{Kernel: &blueprintv2.CompiledKernelArtifact{Id: "k"}, Binary: []byte("one")})
		p.sent("tezzeret", "urza", &assetsv2.StoreKernel{Kernel: &blueprintv2.CompiledKernelArtifact{Id: "k"}, Binary: pick(guilty, []byte("two"), []byte("one"))})
	},
	"I5": func(p *tape, guilty bool) {
		p.fact("tezzeret", &evidencev2.JobFact{Subsystem: "tezzeret", State: "COMPILED"})
		p.fact("tezzeret", &evidencev2.LogFact{Log: "tezzeret", Action: evidencev2.LogAction_LOG_DURABLE, Lsn: pick[uint64](guilty, 8, 9)})
		p.fact("tezzeret", &evidencev2.LogFact{Log: "tezzeret/device", Action: pick(guilty, evidencev2.LogAction_LOG_DURABLE, evidencev2.LogAction_LOG_RECOVERED), Lsn: pick[uint64](guilty, 9, 0)})
		p.sent("tezzeret", "urza", &assetsv2.StoreKernel{Kernel: &blueprintv2.CompiledKernelArtifact{Id: "k"}, Binary: []byte("one"), WalTransactionId: "7"})
	},
	"I6": func(p *tape, guilty bool) {
		p.sent("karn", "urza", &assetsv2.StoreBlueprint{Ir: &blueprintv2.BlueprintIR{DesignIntent: pick(guilty, "BP043", "BP042")}})
	},
	"K3": func(p *tape, guilty bool) {
		id := strings.Repeat("a", 64) + "-h100-fast-t"
		sum := sha256.Sum256([]byte("one"))
		p.sent("kasmina", "urza", &assetsv2.FetchKernel{KernelArtifactId: id})
		p.mail("urza", "kasmina", &assetsv2.FetchKernelReply{Status: assetsv2.AssetStatus_EXISTS, Binary: []byte("one"), BinarySha256: sum[:],
			Kernel: &blueprintv2.CompiledKernelArtifact{Id: id, Status: pick(guilty, blueprintv2.KernelStatus_PENDING_BENCHMARKING, blueprintv2.KernelStatus_VALIDATED)}})
		p.sent("kasmina", "tolaria", &trainingv2.ForwardReply{Status: trainingv2.ReplyStatus_OK, Kernels: []*trainingv2.KernelUse{{KernelArtifactId: id}}})
	},
	"L3": func(p *tape, guilty bool) {
		p.fact("tezzeret", &evidencev2.JobFact{Subsystem: "tezzeret"})
		p.fact("urabrask", &evidencev2.JobFact{Subsystem: "urabrask"})
		p.publish("urza", "compilation.blueprint.submitted", "e", &eventsv2.BlueprintSubmittedEvent{BlueprintId: "b"})
		p.sent("urabrask", "urza", &assetsv2.StoreReport{KernelArtifactId: "k", Status: blueprintv2.KernelStatus_REJECTED})
		if !guilty {
			p.publish("urza", "validation.kernel.characterized", "v", &eventsv2.KernelCharacterizedEvent{KernelArtifactId: "k", BlueprintId: "b", Verdict: eventsv2.KernelVerdict_KERNEL_REJECTED})
			p.publish("urza", "compilation.blueprint.submitted", "e", &eventsv2.BlueprintSubmittedEvent{BlueprintId: "b"}) // its answer was lost
		}
		p.wait(16 * time.Second)
		p.fact("urabrask", &evidencev2.JobFact{Subsystem: "urabrask"})
	},
	"L7": func(p *tape, guilty bool) {
		p.event(trace.NodeStarted, "tolaria", nil)
		p.wait(16 * time.Second)
		p.fact("tolaria", pick[canon.Message](guilty, &evidencev2.DecisionFact{}, &evidencev2.EpochFact{}))
	},
	"E1": func(p *tape, guilty bool) {
		d := sha256.Sum256([]byte("1 epochs"))
		claimed := d[:]
		p.fact("tolaria", &evidencev2.EpochFact{Epoch: 0, Generation: 1, WeightsSha256: claimed, OptimizerSha256: claimed, SampleOrderSha256: claimed, GlobalStep: 8})
		grafts := pick(guilty, bytes.Repeat([]byte{1}, 32), claimed)
		p.sent("kasmina", "tolaria", &trainingv2.BoundaryReply{Epoch: 1, Generation: 1, Status: trainingv2.ReplyStatus_OK, StateDigest: grafts})
	},
	"R1": func(p *tape, guilty bool) {
		p.checkpoint("k1", 4, 4, 1)
		p.checkpoint("k2", 8, 8, 2)
		p.sent("reader", "tolaria", &trainingv2.CheckpointQuery{QueryId: "q"})
		p.mail("tolaria", "reader", &trainingv2.CheckpointInfo{QueryId: "q", CheckpointId: pick(guilty, "k1", "k2")})
	},
	"R2": func(p *tape, guilty bool) {
		p.command(germinate())
		p.applied("kasmina", "c1", 3)
		p.fact("kasmina", &evidencev2.CommandFact{CommandId: "c1", Subsystem: "kasmina", Status: pick(guilty, "REJECTED", "DUPLICATE")})
	},
	"I11": func(p *tape, guilty bool) { p.chooses("simic-1", pick(guilty, 0.5, likely)) },
	"I12": func(p *tape, guilty bool) {
		p.works("tezzeret", "QUEUED", "VALIDATING", "COMPILING", "SIGNING", pick(guilty, "READY", "COMPILED"))
	},
	"I8": func(p *tape, guilty bool) { p.release(release{skip: pick(guilty, "chaos", "")}) },
	"L4": func(p *tape, guilty bool) {
		p.sent("simic", "oona", &busv2.Subscribe{Group: "simic-trainer", Consumer: "simic"})
		p.reports("report/a", pick(guilty, "", "EXPERIENCE"), false)
		p.wait(time.Minute)
		p.fact("simic", &evidencev2.ModeFact{})
	},
	"J1": func(p *tape, guilty bool) {
		p.publish("jace", "innovation.curriculum", "d", &policyv2.CurriculumDecision{DecisionId: "d", Mode: policyv2.CurriculumMode_TASK_DRIVEN,
			Strategies: pick(guilty, nil, []string{"explore"}), Confidence: 0.5})
	},
	"I9": func(p *tape, guilty bool) {
		p.prune(pick(guilty, prune{verdict: pruningv2.PruningVerdict_NO_GO}, prune{}))
	},
	"P1": func(p *tape, guilty bool) {
		p.event(trace.NodeStarted, "oona", nil)
		p.event(trace.NodeReady, "oona", nil)
		p.event(trace.DiskOperation, "oona", func(e *trace.Event) { e.Text = "sync log failed: input/output error" })
		p.event(trace.NodeExited, "oona", func(e *trace.Event) {
			e.Text, e.Arg = "it ended", pick[int64](guilty, 1, 0)
		})
	},
}

// ledger appends entries, acknowledges them, and reads some back.
func (p *tape) ledger(entries, read int, spoil func([]byte)) {
	var list []*ledgerv2.Entry
	for i := range entries {
		b := fmt.Appendf(nil, "entry %d of a client that writes on", i)
		p.sent("writer", "ledger", &ledgerv2.AppendRequest{Client: "writer", Sequence: int64(i + 1), Payload: b})
		p.sent("ledger", "writer", &ledgerv2.AppendReply{Client: "writer", Sequence: int64(i + 1), Outcome: ledgerv2.Outcome_DONE})
		back := slices.Clone(b)
		spoil(back)
		list = append(list, &ledgerv2.Entry{Client: "writer", Sequence: int64(i + 1), Payload: back})
	}
	p.sent("writer", "ledger", &ledgerv2.ReadRequest{Client: "writer", ReadId: 1})
	p.sent("ledger", "writer", &ledgerv2.ReadReply{Client: "writer", ReadId: 1, Outcome: ledgerv2.Outcome_DONE, Entries: list[:read], End: true})
}

func (p *tape) seals(id, root, data string) {
	p.sent("sealer", "vault", &ledgerv2.SealRequest{BundleId: id, Components: []*ledgerv2.Component{{Name: "a", Data: []byte(data)}, {Name: "b", Data: []byte("x")}}})
	p.sent("vault", "sealer", &ledgerv2.SealReply{BundleId: id, Outcome: ledgerv2.Outcome_DONE, Root: []byte(root)})
}

func (p *tape) opens(id, root string, names []string, data string) {
	r := &ledgerv2.OpenReply{BundleId: id, Outcome: ledgerv2.Outcome_DONE, Root: []byte(root)}
	for _, n := range names {
		r.Components = append(r.Components, &ledgerv2.Component{Name: n, Data: []byte(pick(n == "a", data, "x"))})
	}
	p.sent("vault", "sealer", r)
}

// counted is a replayer whose every digest is that of how many epochs it
// trained.
type counted struct{ n int }

func (c *counted) Epoch(*checkers.LineageEpoch) (checkers.Digests, error) {
	c.n++
	d := sha256.Sum256(fmt.Appendf(nil, "%d epochs", c.n))
	return checkers.Digests{Weights: d, Optimizer: d, SampleOrder: d, Grafts: d, GlobalStep: uint64(8 * c.n)}, nil
}
func (c *counted) Mark(int64)           {}
func (c *counted) Return(int64) error   { return nil }
func (c *counted) Forget(int64)         {}
func (c *counted) Learn(string, []byte) {}
func (c *counted) Prove() (int, error) {
	if c.n > 1 {
		return 0, errors.New("an adaptation has no name")
	}
	return c.n, nil
}

func params() checkers.Params {
	return checkers.Params{
		Key: key, WallStart: start, Embargo: 8, Settled: func(int64) bool { return true },
		Phases: checkers.Phases{Heal: 10 * time.Second, Within: 20 * time.Second},
		Prove:  true,
		Replay: func() (checkers.Replayer, error) { return &counted{}, nil },
	}
}

// clause is a way to violate an invariant, and how the run goes that does not.
type clause struct {
	id  string
	run func(p *tape, guilty bool)
}

// liars are runs whose facts and answers say that all is well where the rest of
// the trace says otherwise; and how they go when it is true.
var liars = map[string]clause{
	"a pause that grants itself more time": {"A5", func(p *tape, guilty bool) {
		p.command(pauseCommand(p.token("operator")))
		p.fact("kasmina", &evidencev2.PauseFact{PauseId: "p1", State: "PAUSED", MaxDurationNs: int64(time.Hour)})
		p.wait(pick(guilty, 2*time.Second, time.Second))
		p.fact("kasmina", &evidencev2.PauseFact{PauseId: "p1", State: "RUNNING"})
	}},
	"a kernel that is served with other bytes": {"I4", func(p *tape, guilty bool) {
		p.sent("tezzeret", "urza", &assetsv2.StoreKernel{Kernel: &blueprintv2.CompiledKernelArtifact{Id: "k"}, Binary: []byte("one")})
		p.sent("kasmina", "urza", &assetsv2.FetchKernel{KernelArtifactId: "k"})
		p.sent("urza", "kasmina", &assetsv2.FetchKernelReply{Status: assetsv2.AssetStatus_EXISTS, Kernel: &blueprintv2.CompiledKernelArtifact{Id: "k"}, Binary: pick(guilty, []byte("two"), []byte("one"))})
	}},
	"a kernel that nobody handed in": {"I5", func(p *tape, guilty bool) {
		p.sent("donor", "urza", &assetsv2.StoreKernel{Kernel: &blueprintv2.CompiledKernelArtifact{Id: "k"}, Binary: []byte("one")})
		sum := sha256.Sum256(pick(guilty, []byte("two"), []byte("one")))
		p.publish("urza", "compilation.kernel.ready", "e", &eventsv2.KernelReadyEvent{KernelArtifactId: "k", BinarySha256: sum[:]})
	}},
	"a verdict that no report gives": {"I5", func(p *tape, guilty bool) {
		p.sent("urabrask", "urza", &assetsv2.StoreReport{KernelArtifactId: "k", Status: pick(guilty, blueprintv2.KernelStatus_REJECTED, blueprintv2.KernelStatus_VALIDATED)})
		p.publish("urza", "validation.kernel.characterized", "e", &eventsv2.KernelCharacterizedEvent{KernelArtifactId: "k", Verdict: eventsv2.KernelVerdict_KERNEL_VALIDATED})
	}},
	"a mutation of an adversarial design": {"I6", func(p *tape, guilty bool) {
		p.sent("karn", "urza", &assetsv2.StoreBlueprint{Ir: &blueprintv2.BlueprintIR{}, Metadata: []*blueprintv2.MetadataEntry{{Key: "template", Value: pick(guilty, "BP050", "BP001")}}})
	}},
	"a validated kernel with other bytes": {"K3", func(p *tape, guilty bool) {
		id := strings.Repeat("a", 64) + "-h100-fast-t"
		sum := sha256.Sum256([]byte("one"))
		p.sent("kasmina", "urza", &assetsv2.FetchKernel{KernelArtifactId: id})
		p.mail("urza", "kasmina", &assetsv2.FetchKernelReply{Status: assetsv2.AssetStatus_EXISTS, Binary: pick(guilty, []byte("two"), []byte("one")), BinarySha256: sum[:],
			Kernel: &blueprintv2.CompiledKernelArtifact{Id: id, Status: blueprintv2.KernelStatus_KERNEL_ACTIVE}})
		p.sent("kasmina", "tolaria", &trainingv2.ForwardReply{Status: trainingv2.ReplyStatus_OK, Kernels: []*trainingv2.KernelUse{{KernelArtifactId: id}}})
	}},
	"a kernel that a stranger gave": {"K3", func(p *tape, guilty bool) {
		id := strings.Repeat("a", 64) + "-h100-fast-t"
		sum := sha256.Sum256([]byte("one"))
		p.sent("kasmina", "urza", &assetsv2.FetchKernel{KernelArtifactId: id})
		p.mail(pick(guilty, "intruder", "urza"), "kasmina", &assetsv2.FetchKernelReply{Status: assetsv2.AssetStatus_EXISTS, Binary: []byte("one"), BinarySha256: sum[:],
			Kernel: &blueprintv2.CompiledKernelArtifact{Id: id, Status: blueprintv2.KernelStatus_VALIDATED}})
		p.sent("kasmina", "tolaria", &trainingv2.ForwardReply{Status: trainingv2.ReplyStatus_OK, Kernels: []*trainingv2.KernelUse{{KernelArtifactId: id}}})
	}},
	"a blueprint that waits for a breaker that is open too long": {"L3", func(p *tape, guilty bool) {
		p.fact("tezzeret", &evidencev2.JobFact{JobId: "j", Subsystem: "tezzeret", State: "QUEUED"})
		p.fact("urabrask", &evidencev2.JobFact{JobId: "j", Subsystem: "urabrask", State: "QUEUED"})
		for _, id := range []string{"b1", "b2"} {
			p.publish("urza", "compilation.blueprint.submitted", "e-"+id, &eventsv2.BlueprintSubmittedEvent{BlueprintId: id})
		}
		p.sent("tezzeret", "urza", &assetsv2.MoveAsset{AssetId: "b1", Blueprint: blueprintv2.BlueprintStatus_INVALID})
		p.fact("tezzeret", &evidencev2.BreakerFact{Subsystem: "tezzeret", Breaker: "tezzeret/timeout", From: "CLOSED", To: "OPEN"})
		p.wait(pick(guilty, 6*time.Minute, 5*time.Minute))
		p.fact("tezzeret", &evidencev2.LogFact{Log: "tezzeret", Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 1})
	}},
	"a blueprint that is nothing": {"L3", func(p *tape, guilty bool) {
		p.fact("tezzeret", &evidencev2.JobFact{Subsystem: "tezzeret"})
		p.fact("urabrask", &evidencev2.JobFact{Subsystem: "urabrask"})
		p.publish("urza", "compilation.blueprint.submitted", "e", &eventsv2.BlueprintSubmittedEvent{BlueprintId: "b"})
		p.sent("tezzeret", "urza", &assetsv2.MoveAsset{AssetId: "b", Blueprint: pick(guilty, blueprintv2.BlueprintStatus_COMPILING, blueprintv2.BlueprintStatus_INVALID)})
		p.wait(16 * time.Second)
		p.fact("urabrask", &evidencev2.JobFact{Subsystem: "urabrask"})
		p.sent("tezzeret", "urza", &assetsv2.MoveAsset{AssetId: "c", Blueprint: blueprintv2.BlueprintStatus_INVALID})
	}},
	"a breaker that lets a call through": {"O9", func(p *tape, guilty bool) {
		for range 2 {
			p.fact("tolaria", &evidencev2.DecisionFact{Fallback: true})
		}
		p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "tamiyo", From: "CLOSED", To: "OPEN"})
		p.fact("tolaria", &evidencev2.DecisionFact{Fallback: true})
		if guilty {
			p.sent("tolaria", "tamiyo", &systemstatev2.SystemStatePacket{PacketId: "state/run/1/4", Epoch: 4})
		}
	}},
	"a breaker that counts what failed before an answer": {"O9", func(p *tape, guilty bool) {
		p.asks(3, 2)
		p.sent("tolaria", "kasmina", &trainingv2.BoundaryRequest{Epoch: 4, Generation: 1})
		p.asks(4, pick(guilty, 1, 3))
		p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "kasmina", From: "CLOSED", To: "OPEN"})
	}},
	"a breaker that opens too early": {"O9", func(p *tape, guilty bool) {
		for range pick(guilty, 1, 2) {
			p.fact("tolaria", &evidencev2.DecisionFact{Fallback: true})
		}
		p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "tamiyo", From: "CLOSED", To: "OPEN"})
	}},
	"a breaker that does not open": {"O9", func(p *tape, guilty bool) {
		for range pick(guilty, 3, 2) {
			p.fact("tolaria", &evidencev2.DecisionFact{Fallback: true})
		}
		p.fact("tolaria", &evidencev2.DecisionFact{})
	}},
	"a breaker with a shortcut": {"O9", func(p *tape, guilty bool) {
		for range 2 {
			p.fact("tolaria", &evidencev2.DecisionFact{Fallback: true})
		}
		p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "tamiyo", From: "CLOSED", To: "OPEN"})
		p.wait(10 * time.Second)
		if !guilty {
			p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "tamiyo", From: "OPEN", To: "HALF_OPEN"})
			p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "tamiyo", From: "HALF_OPEN", To: "CLOSED"})
		} else {
			p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "tamiyo", From: "OPEN", To: "CLOSED"})
		}
	}},
	"a breaker that does not close": {"O9", func(p *tape, guilty bool) {
		for range 2 {
			p.fact("tolaria", &evidencev2.DecisionFact{Fallback: true})
		}
		p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "tamiyo", From: "CLOSED", To: "OPEN"})
		p.wait(10 * time.Second)
		p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "tamiyo", From: "OPEN", To: "HALF_OPEN"})
		if !guilty {
			p.fact("tolaria", &evidencev2.BreakerFact{Subsystem: "tolaria", Breaker: "tamiyo", From: "HALF_OPEN", To: "CLOSED"})
		}
		p.fact("tolaria", &evidencev2.DecisionFact{})
	}},
	"a participant that is fenced for nothing": {"T4", func(p *tape, guilty bool) {
		p.rollback("tamiyo", evidencev2.RollbackStep_RB_PREPARED, "r1", 4, 2)
		if guilty {
			p.rollback("tamiyo", evidencev2.RollbackStep_RB_RESTORED, "r1", 4, 2)
		}
		p.rollback("tamiyo", evidencev2.RollbackStep_RB_FENCED, "r1", 4, 2)
	}},
	"a dead letter that is nowhere": {"O2", func(p *tape, guilty bool) {
		p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_DEAD_LETTERED, Topic: "telemetry.seed.health", Group: "g", Offset: 1, EventId: "e1"})
		if !guilty {
			p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_APPENDED, Topic: "bus.dead-letters", Offset: 1, EventId: "dead-letter/g/e1"})
		}
		p.wait(11 * time.Second)
		p.fact("oona", &evidencev2.BusFact{})
	}},
	"a bus that trims what it has trimmed": {"O2", func(p *tape, guilty bool) {
		for range 2 {
			p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_TRIMMED, Topic: "t", Offset: 7})
			if !guilty {
				p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_RECOVERED, Topic: "t", Offset: 9})
			}
		}
	}},
	"a log that repeats a sync that failed": {"W7", func(p *tape, guilty bool) {
		p.segment("oona/bus/1.wal", record(1, 1))
		p.opFails("sync oona/bus/1.wal")
		if !guilty {
			p.op("open oona/bus/1.wal", 0, nil)
		}
		p.op("sync oona/bus/1.wal", 0, nil)
	}},
	"a log that writes on after a write with an unknown outcome": {"W7", func(p *tape, guilty bool) {
		p.segment("oona/bus/1.wal", record(1, 1))
		p.opFails("dsync-write oona/bus/1.wal")
		if !guilty {
			p.op("open oona/bus/1.wal", 0, nil)
		}
		p.op("dsync-write oona/bus/1.wal", 512, record(2, 1))
	}},
	"a log whose file has no durable name": {"W7", func(p *tape, guilty bool) {
		p.segment("oona/bus/1.wal", record(1, 1))
		p.op("rename oona/bus/1.wal oona/bus/2.wal", 0, nil)
		if !guilty {
			p.op("syncdir oona/bus", 0, nil)
		}
		p.op("dsync-write oona/bus/1.wal", 512, record(2, 1)) // by the name that it was opened under
	}},
	"a log with a file that it had no space for": {"W8", func(p *tape, guilty bool) {
		p.segment("oona/bus/1.wal", record(1, 1))
		p.begins("oona/bus/2.wal")
		p.op("sync oona/bus/2.wal", 0, nil)
		p.op("sync oona/bus/2.wal failed: no space left on device", 0, nil)
		if !guilty {
			p.op("remove oona/bus/2.wal", 0, nil)
		}
		p.op("dsync-write oona/bus/1.wal", 512, record(2, 1))
	}},
	"a log with a segment that another supersedes": {"W8", func(p *tape, guilty bool) {
		p.segment("oona/bus/1.wal", record(1, 1))
		p.segment("oona/bus/2.wal", record(1, 1))
		if !guilty {
			p.op("remove oona/bus/1.wal", 0, nil)
		}
		p.op("dsync-write oona/bus/2.wal", 512, record(2, 1))
	}},
	"a store that keeps what it has salvaged": {"W8", func(p *tape, guilty bool) {
		p.segment("oona/store/1.wal", record(1, 1))
		p.segment("oona/store/g1.new/1.wal", record(1, 1))
		p.op("rename oona/store/g1.new oona/store/g1", 0, nil)
		p.op("syncdir oona/store", 0, nil)
		if !guilty {
			p.op("remove oona/store/1.wal", 0, nil)
		}
		p.op("dsync-write oona/store/g1/1.wal", 512, record(2, 1))
	}},
	"a configuration whose older files are kept": {"W8", func(p *tape, guilty bool) {
		for n := range uint64(6) { // each begun early, with a record or with many
			p.segment(fmt.Sprintf("kasmina/config/%d.wal", n+1), record(1+n*pick[uint64](guilty, 8, 1), 1))
		}
	}},
	"a journal that is never cut": {"W8", func(p *tape, guilty bool) {
		p.segment("tolaria/journal/1.wal", record(1, 1))
		p.segment("tolaria/journal/2.wal", record(pick[uint64](guilty, 500, 200), 1))
		p.segment("tolaria/journal/3.wal", record(pick[uint64](guilty, 501, 201), 1))
		p.op("remove tolaria/journal/1.wal", 0, nil)
		p.op("readdir tolaria/journal", 0, nil)
	}},
	"a log that takes its own recovery for damage": {"P1", func(p *tape, guilty bool) {
		p.event(trace.NodeReady, "ledger", nil)
		p.sent("ledger", "writer", &ledgerv2.ReadReply{Client: "writer", ReadId: 1, Outcome: pick(guilty, ledgerv2.Outcome_CORRUPT, ledgerv2.Outcome_DONE)})
	}},
	"a vault that refuses what its disk has not": {"P1", func(p *tape, guilty bool) {
		p.opFails("dsync-write vault/1.wal")
		p.mail("sealer", "vault", &ledgerv2.SealRequest{BundleId: "b", Components: []*ledgerv2.Component{{Name: "a"}}})
		p.sent("vault", "sealer", &ledgerv2.SealReply{BundleId: "b", Outcome: pick(guilty, ledgerv2.Outcome_FAILED, ledgerv2.Outcome_DONE)})
	}},
	"a vault that answers with another context": {"W5", func(p *tape, guilty bool) {
		c := []*ledgerv2.Component{{Name: "a", Data: []byte("x")}}
		label := func(v string) []*telemetryv2.Label { return []*telemetryv2.Label{{Key: "model", Value: v}} }
		p.sent("sealer", "vault", &ledgerv2.SealRequest{BundleId: "b", Components: c, Context: label("one")})
		p.sent("vault", "sealer", &ledgerv2.SealReply{BundleId: "b", Outcome: ledgerv2.Outcome_DONE, Root: []byte("r")})
		p.sent("vault", "sealer", &ledgerv2.OpenReply{BundleId: "b", Outcome: ledgerv2.Outcome_DONE, Root: []byte("r"), Components: c, Context: label(pick(guilty, "two", "one"))})
	}},
	"a vault whose root is not that of the format": {"W6", func(p *tape, guilty bool) {
		root, err := hex.DecodeString(vaultRoot)
		if err != nil {
			panic(err)
		}
		if guilty {
			root[0] ^= 1
		}
		p.seals("b1", string(root), "one")
	}},
	"a vault that answers with another root": {"W5", func(p *tape, guilty bool) {
		p.seals("b1", "root1", "one")
		p.opens("b1", pick(guilty, "root2", "root1"), []string{"a", "b"}, "one")
	}},
	"a bus that dead-letters what it never delivered": {"O2", func(p *tape, guilty bool) {
		const topic = "telemetry.seed.health"
		p.mail("tamiyo", "oona", &busv2.Subscribe{Group: "g", Consumer: "tamiyo", Topics: []string{topic}, Durable: true})
		b := p.publish("kasmina", topic, "e1", &telemetryv2.SeedTelemetry{TelemetryId: "a"})
		p.accepted("kasmina", topic, "e1", 1)
		if !guilty {
			p.deliver("g", topic, 1, 1, b)
		}
		p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_DEAD_LETTERED, Topic: topic, Group: "g", Offset: 1})
	}},
	"a participant that crosses while it is prepared": {"T4", func(p *tape, guilty bool) {
		p.rollback("kasmina", evidencev2.RollbackStep_RB_PREPARED, "r1", 4, 2)
		p.sent("kasmina", "tolaria", &trainingv2.BoundaryReply{Epoch: 3, Status: pick(guilty, trainingv2.ReplyStatus_OK, trainingv2.ReplyStatus_FENCED)})
		p.rollback("kasmina", evidencev2.RollbackStep_RB_FENCED, "r1", 4, 2)
	}},
	"a participant that gives its part while it is prepared": {"T4", func(p *tape, guilty bool) {
		p.rollback("tamiyo", evidencev2.RollbackStep_RB_PREPARED, "r1", 4, 2)
		if !guilty {
			p.rollback("tamiyo", evidencev2.RollbackStep_RB_ABORTED, "r1", 4, 2)
		}
		p.sent("tamiyo", "tolaria", &trainingv2.StatePart{CheckpointId: "k1", Subsystem: "tamiyo"})
	}},
	"a participant that prepares for where it is": {"T4", func(p *tape, guilty bool) {
		p.wholeRollback([3]int64{4, 4, 4})
		p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r2", 4, 3)
		p.rollback("kasmina", evidencev2.RollbackStep_RB_PREPARED, "r2", 4, pick[uint32](guilty, 2, 3))
	}},
	"a rollback that is done without who lives and is not fenced in": {"T3", func(p *tape, guilty bool) {
		p.wholeRollback([3]int64{4, 4, 4})
		p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r2", 6, 3)
		p.rollback("tamiyo", evidencev2.RollbackStep_RB_PREPARED, "r2", 6, 3)
		p.rollback("kasmina", evidencev2.RollbackStep_RB_PREPARED, "r2", 6, 3)
		p.rollback("tolaria", evidencev2.RollbackStep_RB_COMMITTED, "r2", 6, 3)
		p.rollback("kasmina", evidencev2.RollbackStep_RB_RESTORED, "r2", 6, 3)
		p.rollback("tolaria", evidencev2.RollbackStep_RB_RESTORED, "r2", 6, 3)
		if !guilty {
			p.rollback("tamiyo", evidencev2.RollbackStep_RB_FENCED, "r2", 6, 3)
		}
		p.rollback("tolaria", evidencev2.RollbackStep_RB_DONE, "r2", 6, 3)
	}},
	"a rollback that died with its coordinator and is forgotten": {"T3", func(p *tape, guilty bool) {
		p.wholeRollback([3]int64{4, 4, 4})
		p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r2", 4, 3)
		p.event(trace.NodeCrashed, "tolaria", func(*trace.Event) {})
		p.event(trace.NodeStarted, "tolaria", func(*trace.Event) {})
		if !guilty {
			p.rollback("tolaria", evidencev2.RollbackStep_RB_ABORTED, "r2", 4, 3)
		}
		p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r3", 4, 3)
	}},
	"an auxiliary that restores before the core": {"T3", func(p *tape, guilty bool) {
		list := []string{"tamiyo", "kasmina", "tolaria", "emrakul", "simic"}
		if guilty {
			list[2], list[3] = list[3], list[2]
		}
		p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r1", 4, 2)
		for _, n := range list {
			p.rollback(n, evidencev2.RollbackStep_RB_RESTORED, "r1", 4, 2)
		}
		p.rollback("tolaria", evidencev2.RollbackStep_RB_DONE, "r1", 4, 2)
	}},
	"auxiliaries that do not restore by their names": {"T3", func(p *tape, guilty bool) {
		p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r1", 4, 2)
		for _, n := range []string{"tamiyo", "kasmina", "tolaria", pick(guilty, "simic", "emrakul"), pick(guilty, "emrakul", "simic")} {
			p.rollback(n, evidencev2.RollbackStep_RB_RESTORED, "r1", 4, 2)
		}
		p.rollback("tolaria", evidencev2.RollbackStep_RB_DONE, "r1", 4, 2)
	}},
	"a rollback that goes on after its end": {"T3", func(p *tape, guilty bool) {
		p.rollback("tolaria", evidencev2.RollbackStep_RB_STARTED, "r1", 4, 2)
		p.rollback("tolaria", evidencev2.RollbackStep_RB_COMMITTED, "r1", 4, 2)
		for range 2 { // a life after tells it again
			p.rollback("tolaria", evidencev2.RollbackStep_RB_FAILED, "r1", 4, 2)
		}
		if guilty {
			p.rollback("tolaria", evidencev2.RollbackStep_RB_RESTORED, "r1", 4, 2)
		}
	}},
	"a rollback that is hurried by who is out of step": {"T4", func(p *tape, guilty bool) {
		for _, wait := range []time.Duration{0, 1100 * time.Millisecond, pick(guilty, 1900*time.Millisecond, 2100*time.Millisecond)} {
			p.wait(wait)
			id := fmt.Sprint("r", p.now)
			p.fact("tolaria", &evidencev2.RollbackFact{RollbackId: id, Subsystem: "tolaria", Step: evidencev2.RollbackStep_RB_STARTED, Reason: "kasmina is out of sync"})
			p.rollback("tolaria", evidencev2.RollbackStep_RB_ABORTED, id, 4, 2)
		}
	}},
	"a rollback that names no culprit": {"T3", func(p *tape, guilty bool) {
		grafted := &telemetryv2.SeedRef{LayerId: 1, SeedId: 2}
		p.mail("kasmina", "tolaria", &trainingv2.BoundaryReply{Epoch: 3, Status: trainingv2.ReplyStatus_OK,
			Seeds: []*trainingv2.KernelUse{{Seed: grafted, Stage: telemetryv2.SeedStage_GRAFTING}}})
		p.fact("tolaria", &evidencev2.EpochFact{Epoch: 3, KasminaJoined: true})
		p.fact("tolaria", &evidencev2.StepFact{Step: step(4, 0, 1), Loss: math.NaN()})
		p.fact("tolaria", &evidencev2.RollbackFact{RollbackId: "r1", Subsystem: "tolaria", Step: evidencev2.RollbackStep_RB_STARTED, Reason: "the loss exploded"})
		m := &trainingv2.RestorePart{RollbackId: "r1", Culprits: []*telemetryv2.SeedRef{{LayerId: 1, SeedId: 1}}}
		if !guilty {
			m.Culprits = append(m.Culprits, grafted)
		}
		p.sent("tolaria", "kasmina", m)
	}},
	"a rollback for a loss that is none": {"T3", func(p *tape, guilty bool) {
		for _, loss := range []float64{0.2, 0.3, pick(guilty, 2.9, 3.1)} {
			p.fact("tolaria", &evidencev2.StepFact{Step: step(3, 0, 1), Loss: loss})
		}
		p.fact("tolaria", &evidencev2.RollbackFact{RollbackId: "r1", Subsystem: "tolaria", Step: evidencev2.RollbackStep_RB_STARTED, Reason: "the loss exploded"})
	}},
	"a part of a checkpoint that is none": {"W5", func(p *tape, guilty bool) {
		p.checkpoint("k1", 4, 4, 1)
		p.sent("tolaria", "kasmina", &trainingv2.RestorePart{Part: &trainingv2.StatePart{CheckpointId: pick(guilty, "k2", "k1"), Subsystem: "kasmina", Data: []byte("kasminak1")}})
	}},
	"a part that is handed to somebody else": {"W5", func(p *tape, guilty bool) {
		p.checkpoint("k1", 4, 4, 1)
		p.sent("tolaria", pick(guilty, "tamiyo", "kasmina"), &trainingv2.RestorePart{Part: &trainingv2.StatePart{CheckpointId: "k1", Subsystem: "kasmina", Data: []byte("kasminak1")}})
	}},
	"a pause that ends by nothing": {"A6", func(p *tape, guilty bool) {
		p.command(pauseCommand(p.token("operator")))
		p.fact("tolaria", &evidencev2.PauseFact{PauseId: "p1", State: "PAUSED"})
		if !guilty {
			p.applied("tolaria", "resume", 3)
		}
		p.fact("tolaria", &evidencev2.PauseFact{PauseId: "p1", State: "RUNNING"})
		p.fact("tolaria", &evidencev2.StepFact{Step: step(3, 0, 1)})
	}},
	"training that is frozen and goes on": {"A6", func(p *tape, guilty bool) {
		p.fact("tolaria", &evidencev2.ModeFact{From: "NORMAL", To: "FROZEN"})
		if !guilty {
			p.fact("tolaria", &evidencev2.ModeFact{From: "FROZEN", To: "CONSERVATIVE"})
		}
		p.fact("tolaria", &evidencev2.StepFact{Step: step(3, 0, 1)})
	}},
	"a command that is carried out in a freeze": {"A6", func(p *tape, guilty bool) {
		p.command(germinate())
		if guilty {
			p.fact("tolaria", &evidencev2.ModeFact{From: "NORMAL", To: "FROZEN"})
		}
		p.applied("tolaria", "c1", 3)
	}},
	"a mode that begins where no other ended": {"A6", func(p *tape, guilty bool) {
		p.fact("tolaria", &evidencev2.ModeFact{From: "NORMAL", To: "FROZEN"})
		p.fact("tolaria", &evidencev2.ModeFact{From: pick(guilty, "NORMAL", "FROZEN"), To: "CONSERVATIVE"})
	}},
	"an event that names another mode": {"A6", func(p *tape, guilty bool) {
		p.fact("tolaria", &evidencev2.ModeFact{From: "NORMAL", To: "FROZEN"})
		p.rollback("tolaria", evidencev2.RollbackStep_RB_CONFIRMED, "r1", 4, 2)
		p.publish("tolaria", "system.events.epoch", "e", &eventsv2.EpochEvent{Epoch: 4, RollbackGeneration: 2, Phase: eventsv2.EpochPhase_ROLLED_BACK,
			Mode: pick(guilty, eventsv2.RunMode_NORMAL, eventsv2.RunMode_FROZEN)})
	}},
	"an emergency that is acknowledged and forgotten": {"A6", func(p *tape, guilty bool) {
		p.mail("sentinel", "tolaria", &telemetryv2.EmergencyNotice{NoticeId: "n", Level: telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL})
		p.sent("tolaria", "sentinel", &pausev2.PauseAck{PauseId: "n", State: pausev2.PauseState_PAUSED})
		p.fact("tolaria", &evidencev2.StepFact{Step: step(3, 0, 1)}) // it was in flight
		if !guilty {
			p.fact("tolaria", &evidencev2.ModeFact{From: "NORMAL", To: "FROZEN"})
			p.fact("tolaria", &evidencev2.ModeFact{From: "FROZEN", To: "CONSERVATIVE"})
		}
		p.fact("tolaria", &evidencev2.StepFact{Step: step(3, 1, 1)})
	}},
	"an emergency that nobody acknowledges": {"A6", func(p *tape, guilty bool) {
		p.mail("sentinel", "kasmina", &telemetryv2.EmergencyNotice{NoticeId: "n", Level: telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL})
		if !guilty {
			p.sent("kasmina", "sentinel", &pausev2.PauseAck{PauseId: "n", State: pausev2.PauseState_PAUSED})
		}
		p.wait(100 * time.Millisecond)
		p.fact("oona", &evidencev2.BusFact{})
	}},
	"a configuration that is not what was hashed": {"A3", func(p *tape, guilty bool) {
		config := []byte("checkpoint-every: 3")
		sum := sha256.Sum256(config)
		if guilty {
			config[len(config)-1] = '9'
		}
		p.command(&adaptationv2.AdaptationCommand{CommandId: "c1", TargetEpoch: 3, TtlEpochs: 2, Command: &adaptationv2.AdaptationCommand_ArchChange{
			ArchChange: &adaptationv2.ArchitectureChange{SerializedConfig: config, ValidationHash: hex.EncodeToString(sum[:])}}})
		p.applied("tolaria", "c1", 3)
	}},
	"a command that does not wait for whom it requires": {"A2", func(p *tape, guilty bool) {
		p.fact("tolaria", &evidencev2.DecisionFact{Epoch: 2, Fallback: guilty})
		p.needing("tamiyo")
		p.applied("kasmina", "c1", 3)
	}},
	"a command that does not wait for whom it requires, at Tolaria": {"A2", func(p *tape, guilty bool) {
		p.needing("tamiyo")
		p.applied("tolaria", "c1", 3)
		p.fact("tolaria", &evidencev2.DecisionFact{Epoch: 2, Fallback: guilty})
	}},
	"a command that expires in vain": {"L2", func(p *tape, guilty bool) {
		p.needing("tamiyo")
		p.sent("kasmina", "oona", &busv2.Ack{Group: "kasmina", Topic: "control.kasmina.commands", Offset: 1})
		p.fact("tolaria", &evidencev2.DecisionFact{Epoch: 2, Generation: 1, Fallback: !guilty})
		p.fact("kasmina", &evidencev2.BoundaryFact{Epoch: 3, Generation: 1})
		p.fact("tolaria", &evidencev2.EpochFact{Epoch: 3, Generation: 1, KasminaJoined: true})
		p.publish("kasmina", "control.command.results", "r", &adaptationv2.CommandResult{CommandId: "c1", Status: adaptationv2.CommandStatus_EXPIRED})
	}},
	"a command that was signed and has no result": {"L2", func(p *tape, guilty bool) {
		b := p.publish("tamiyo", "control.kasmina.commands", "e-c1", germinate())
		p.accepted("tamiyo", "control.kasmina.commands", "e-c1", 1)
		if !guilty {
			b = p.seal(&envelopev2.EventEnvelope{EventId: "e-c1", Topic: "control.kasmina.commands"}, germinate(), false)
		}
		p.deliver("kasmina", "control.kasmina.commands", 1, 1, b)
		p.wait(31 * time.Second)
		p.fact("oona", &evidencev2.BusFact{})
	}},
	"a publication that is given up": {"L5", func(p *tape, guilty bool) {
		p.started(3, 1)
		if !guilty {
			p.mail("oona", "tolaria", &busv2.PublishAck{EventId: "epoch/1/3", Topic: "system.events.epoch", Status: busv2.PublishStatus_ACCEPTED})
		}
		p.wait(11 * time.Second)
		p.fact("oona", &evidencev2.BusFact{})
	}},
	"an event that overtakes another": {"O1", func(p *tape, guilty bool) {
		p.started(3, 1)
		if !guilty {
			p.mail("oona", "tolaria", &busv2.PublishAck{EventId: "epoch/1/3", Topic: "system.events.epoch", Status: busv2.PublishStatus_ACCEPTED})
		}
		p.started(4, 1)
	}},
	"a command that was not given its time": {"O1", func(p *tape, guilty bool) {
		p.publish("tamiyo", "control.kasmina.commands", "e1", germinate())
		p.wait(pick(guilty, 100*time.Millisecond, time.Second))
		p.publish("tamiyo", "control.kasmina.commands", "e2", germinate())
	}},
	"a Kasmina that stays away": {"L7", func(p *tape, guilty bool) {
		p.event(trace.NodeStarted, "tolaria", nil)
		p.event(trace.NodeReady, "kasmina", nil)
		for range 4 {
			p.wait(10 * time.Second)
			p.fact("tolaria", &evidencev2.EpochFact{KasminaJoined: !guilty})
		}
	}},
	"a restore that is told to be a boundary": {"K2", func(p *tape, guilty bool) {
		by := p.mail("tolaria", "kasmina", &trainingv2.BackwardRequest{Step: step(3, 0, 1)})
		p.factBy("kasmina", &evidencev2.StageFact{Seed: &telemetryv2.SeedRef{LayerId: 1, SeedId: 1}, From: telemetryv2.SeedStage_DORMANT,
			To: telemetryv2.SeedStage_TRAINING, Cause: evidencev2.StageCause_BY_ROLLBACK, CommandId: "r1", AtBoundary: guilty}, by)
	}},
	"a bus that says an entry was acknowledged": {"O2", func(p *tape, guilty bool) {
		const topic = "telemetry.seed.health"
		p.mail("tamiyo", "oona", &busv2.Subscribe{Group: "g", Consumer: "tamiyo", Topics: []string{topic}, Durable: true})
		p.publish("kasmina", topic, "e1", &telemetryv2.SeedTelemetry{TelemetryId: "a"})
		p.accepted("kasmina", topic, "e1", 1)
		p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_ACKED, Topic: topic, Group: "g", Offset: 1})
		if !guilty {
			p.sent("oona", "tamiyo", &busv2.AckReply{Group: "g", Topic: topic, Offset: 1, Status: busv2.AckStatus_ACKED})
		}
		p.wait(21 * time.Second)
		p.fact("oona", &evidencev2.BusFact{})
	}},
	"a bus that delivers more often than it may": {"O2", func(p *tape, guilty bool) {
		const topic = "telemetry.seed.health"
		b := p.seal(&envelopev2.EventEnvelope{EventId: "e1", Topic: topic, MaxAttempts: 2}, &telemetryv2.SeedTelemetry{TelemetryId: "a"}, true)
		p.sentBytes("kasmina", "oona", b)
		for n := range pick[uint32](guilty, 3, 2) {
			p.deliver("g", topic, 1, n+1, b)
		}
	}},
	"a bus that hands out to one that is gone": {"O2", func(p *tape, guilty bool) {
		const topic = "telemetry.seed.health"
		p.mail("kasmina", "oona", &busv2.Subscribe{Group: "g", Consumer: "kasmina", Topics: []string{topic}})
		p.wait(pick(guilty, 10*time.Second, 8*time.Second))
		p.deliver("g", topic, 1, 1, p.publish("tolaria", topic, "e1", &telemetryv2.SeedTelemetry{TelemetryId: "a"}))
	}},
	"a dead letter that somebody published": {"O2", func(p *tape, guilty bool) {
		if !guilty {
			p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_DEAD_LETTERED, Topic: "t", Group: "g", Offset: 1, EventId: "e1"})
		}
		p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_APPENDED, Topic: "bus.dead-letters", Offset: 1, EventId: "dead-letter/g/e1"})
	}},
	"a field report for each of two endings": {"I7", func(p *tape, guilty bool) {
		cases["I7"](p, false)
		if guilty {
			p.publish("tamiyo", "innovation.field_reports", "report/c1", &operationalv2.FieldReport{ReportId: "report/c1",
				BlueprintId: "b", KernelArtifactId: "k", SeedId: "1/1", Outcome: "ROLLED_BACK"})
		}
	}},
	"an end that was undone before it was reported": {"I7", func(p *tape, guilty bool) {
		c := germinate()
		seed := &telemetryv2.SeedRef{LayerId: 1, SeedId: 1}
		c.GetSeedLifecycle().Seed, c.GetSeedLifecycle().KernelArtifactId = seed, "k"
		p.command(c)
		p.fact("kasmina", &evidencev2.StageFact{Seed: seed, From: telemetryv2.SeedStage_DORMANT, To: telemetryv2.SeedStage_GERMINATED, CommandId: "c1", Epoch: 3})
		p.applied("kasmina", "c1", 3)
		p.fact("kasmina", &evidencev2.StageFact{Seed: seed, From: telemetryv2.SeedStage_GERMINATED, To: telemetryv2.SeedStage_CULLED, CommandId: "c2", Epoch: 5})
		p.wait(5 * time.Second)
		p.rollback("tolaria", evidencev2.RollbackStep_RB_COMMITTED, "r1", 4, 2)
		if !guilty { // it may have been in the log
			p.fact("tamiyo", &evidencev2.LogFact{Log: "tamiyo", Action: evidencev2.LogAction_LOG_RECOVERED, Lsn: 3})
		}
		p.publish("tamiyo", "innovation.field_reports", "report/c1", &operationalv2.FieldReport{ReportId: "report/c1",
			BlueprintId: "b", KernelArtifactId: "k", SeedId: "1/1", Outcome: "CULLED"})
	}},
	"an adaptation that was taken back, and nobody says so": {"I7", func(p *tape, guilty bool) {
		p.command(germinate())
		p.fact("kasmina", &evidencev2.StageFact{Seed: &telemetryv2.SeedRef{}, To: telemetryv2.SeedStage_GERMINATED, CommandId: "c1", Epoch: 5})
		p.applied("kasmina", "c1", 5)
		p.rollback("tolaria", evidencev2.RollbackStep_RB_COMMITTED, "r1", 4, 2)
		if !guilty {
			p.publish("tamiyo", "innovation.field_reports", "report/c1", &operationalv2.FieldReport{ReportId: "report/c1",
				BlueprintId: "b", SeedId: "0/0", Outcome: "ROLLED_BACK"})
		}
		p.wait(21 * time.Second)
		p.fact("oona", &evidencev2.BusFact{})
	}},
	"a command that is logged when it is sent": {"W9", func(p *tape, guilty bool) {
		by := p.mail("tolaria", "tamiyo", &systemstatev2.SystemStatePacket{PacketId: "k"})
		c := germinate()
		c.Issuer = "tamiyo"
		b := p.seal(&envelopev2.EventEnvelope{EventId: "e", Topic: "control.kasmina.commands"}, c, true)
		for _, sends := range pick(guilty, []bool{true, false}, []bool{false, true}) {
			if sends {
				p.event(trace.MessageSent, "tamiyo", func(e *trace.Event) { e.Peer, e.Data, e.Cause = "oona", b, by })
				continue
			}
			p.factBy("tamiyo", &evidencev2.LogFact{Log: "tamiyo", Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 1}, by)
			p.factBy("tamiyo", &evidencev2.LogFact{Log: "tamiyo", Action: evidencev2.LogAction_LOG_DURABLE, Lsn: 1}, by)
		}
	}},
	"a confirmation that is refused though it is genuine": {"A3", func(p *tape, guilty bool) {
		c := germinate()
		c.Constraints = &adaptationv2.ExecutionConstraints{RequireConfirmation: true}
		p.command(c)
		by := p.deliverBytes("operator", "kasmina", p.seal(&envelopev2.EventEnvelope{EventId: "y"}, &adaptationv2.CommandConfirm{CommandId: "c1", Approve: true}, guilty))
		p.factBy("kasmina", &evidencev2.CommandFact{CommandId: "c1", Status: "REFUSED"}, by)
	}},
	"a status that is none": {"L2", func(p *tape, guilty bool) {
		p.command(germinate())
		p.fact("kasmina", &evidencev2.CommandFact{CommandId: "c1", Status: pick(guilty, "c1", "REJECTED")})
	}},
	"a command that nobody issued": {"L2", func(p *tape, guilty bool) {
		p.command(germinate())
		p.fact("kasmina", &evidencev2.CommandFact{CommandId: pick(guilty, "AWAITING", "c1"), Status: "REJECTED"})
	}},
	"a pause that is granted for a forged token": {"A5", func(p *tape, guilty bool) {
		t := &pausev2.PauseToken{TokenId: "t", Role: "operator"}
		t.Signature = hmacOf(t.AppendCanonical(nil))
		if guilty {
			t.Signature[0] ^= 1
		}
		p.mail("operator", "tamiyo", &pausev2.PauseRequest{PauseId: "p1", Token: t})
		p.sent("tamiyo", "operator", &pausev2.PauseAck{PauseId: "p1", Subsystem: "tamiyo", State: pausev2.PauseState_PAUSING})
	}},
	"a token that serves twice": {"A5", func(p *tape, guilty bool) {
		t := &pausev2.PauseToken{TokenId: "t", Role: "operator"}
		t.Signature = hmacOf(t.AppendCanonical(nil))
		for _, id := range []string{"p1", pick(guilty, "p2", "p1")} {
			p.mail("operator", "tamiyo", &pausev2.PauseRequest{PauseId: id, Token: t})
			p.sent("tamiyo", "operator", &pausev2.PauseAck{PauseId: id, Subsystem: "tamiyo", State: pausev2.PauseState_PAUSING})
		}
	}},
	"a pause that is granted, and then denied": {"A5", func(p *tape, guilty bool) {
		t := &pausev2.PauseToken{TokenId: "t", Role: "operator"}
		t.Signature = hmacOf(t.AppendCanonical(nil))
		for _, s := range []pausev2.PauseState{pausev2.PauseState_PAUSING, pick(guilty, pausev2.PauseState_DENIED, pausev2.PauseState_PAUSING)} {
			p.mail("operator", "tamiyo", &pausev2.PauseRequest{PauseId: "p1", Token: t})
			p.sent("tamiyo", "operator", &pausev2.PauseAck{PauseId: "p1", Subsystem: "tamiyo", State: s})
		}
	}},
	"a pause that is granted again with another quota": {"A5", func(p *tape, guilty bool) {
		t := &pausev2.PauseToken{TokenId: "t", Role: "operator"}
		t.Signature = hmacOf(t.AppendCanonical(nil))
		for _, quota := range []uint32{7, pick[uint32](guilty, 0, 7)} {
			p.mail("operator", "tamiyo", &pausev2.PauseRequest{PauseId: "p1", Token: t})
			p.sent("tamiyo", "operator", &pausev2.PauseAck{PauseId: "p1", Subsystem: "tamiyo", State: pausev2.PauseState_PAUSING, GrantedQuota: quota})
		}
	}},
	"a pause that is granted and not published": {"A5", func(p *tape, guilty bool) {
		t := new(pausev2.PauseToken)
		if err := t.ParseCanonical(p.token("operator")); err != nil {
			p.t.Fatal(err)
		}
		for _, topic := range []string{"control.tolaria.commands", "control.kasmina.commands"}[:pick(guilty, 1, 2)] {
			c := pauseCommand(p.token("operator"))
			c.CommandId += topic
			p.publish("tamiyo", topic, "e-"+topic, c)
		}
		p.mail("operator", "tamiyo", &pausev2.PauseRequest{PauseId: "p1", Token: t})
		p.sent("tamiyo", "operator", &pausev2.PauseAck{PauseId: "p1", Subsystem: "tamiyo", State: pausev2.PauseState_PAUSING})
		p.wait(11 * time.Second)
		p.fact("kasmina", &evidencev2.LogFact{Log: "kasmina", Action: evidencev2.LogAction_LOG_APPENDED, Lsn: 1})
	}},
	"a resume for a forged token": {"A5", func(p *tape, guilty bool) {
		t := &pausev2.PauseToken{TokenId: "t", Role: pick(guilty, "guest", "operator")}
		t.Signature = hmacOf(t.AppendCanonical(nil))
		p.mail("operator", "tamiyo", &pausev2.ResumeRequest{PauseId: "p1", Token: t})
		p.sent("tamiyo", "operator", &pausev2.PauseAck{PauseId: "p1", Subsystem: "tamiyo", State: pausev2.PauseState_RESUMING})
	}},
	"a reading with a gap": {"O1", func(p *tape, guilty bool) {
		p.mail("reader", "oona", &busv2.ReadLog{QueryId: "q", Topic: "t", FromOffset: 2})
		p.sent("oona", "reader", &busv2.LogSlice{QueryId: "q", Topic: "t", FirstOffset: 1, NextOffset: 4,
			Entries: []*busv2.LogEntry{{Offset: 2, Envelope: []byte("b")}, {Offset: pick[int64](guilty, 4, 3), Envelope: []byte("c")}}})
	}},
	"a reading that is empty": {"O1", func(p *tape, guilty bool) {
		p.mail("reader", "oona", &busv2.ReadLog{QueryId: "q", Topic: "t", FromOffset: 2})
		p.sent("oona", "reader", &busv2.LogSlice{QueryId: "q", Topic: "t", FirstOffset: 1, NextOffset: pick[int64](guilty, 4, 2)})
	}},
	"a log that begins behind what was trimmed": {"O1", func(p *tape, guilty bool) {
		p.mail("reader", "oona", &busv2.ReadLog{QueryId: "q", Topic: "t"})
		p.fact("oona", &evidencev2.BusFact{Action: evidencev2.BusAction_BUS_TRIMMED, Topic: "t", Offset: 3})
		p.sent("oona", "reader", &busv2.LogSlice{QueryId: "q", Topic: "t", FirstOffset: pick[int64](guilty, 5, 4), NextOffset: 6,
			Entries: []*busv2.LogEntry{{Offset: pick[int64](guilty, 5, 4), Envelope: []byte("c")}}})
	}},
}

func TestLiars(t *testing.T) { holds(t, liars) }

// holds says whether the guilty runs are found guilty, and the others of nothing.
func holds(t *testing.T, clauses map[string]clause) {
	for name, l := range clauses {
		t.Run(name, func(t *testing.T) {
			for _, guilty := range []bool{false, true} {
				s, err := checkers.NewSuite([]string{l.id}, params(), 10, nil)
				if err != nil {
					t.Fatal(err)
				}
				l.run(newTape(t, s), guilty)
				found, err := s.Finish()
				if err != nil {
					t.Fatal(err)
				}
				if guilty != slices.ContainsFunc(found, func(v checkers.Violation) bool { return v.Invariant == l.id }) {
					t.Errorf("guilty %v: %v", guilty, found)
				}
			}
		})
	}
}

// caseOf is the case of an invariant, or nil.
func caseOf(id string) func(p *tape, guilty bool) {
	for _, table := range []map[string]func(p *tape, guilty bool){cases, libraryCases, seedCases, deviceCases} {
		if table[id] != nil {
			return table[id]
		}
	}
	return nil
}

// judge runs a case through a suite, live and from the file it leaves.
func judge(t *testing.T, id string, guilty bool) (violations []checkers.Violation, judged uint64) {
	t.Helper()
	live, err := checkers.NewSuite([]string{id}, params(), 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	var stored bytes.Buffer
	w, err := trace.NewWriter(&stored, trace.Header{Scenario: id})
	if err != nil {
		t.Fatal(err)
	}
	p := newTape(t, live, w)
	caseOf(id)(p, guilty)
	if violations, err = live.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := checkers.NewSuite([]string{id}, params(), 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := trace.NewReader(&stored)
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		again.Observe(e)
	}
	fromFile, err := again.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(violations, fromFile) {
		t.Errorf("live %v\nfrom the file %v", violations, fromFile)
	}
	return violations, live.Judgements()[id]
}

// TestEveryInvariant holds each invariant to its word: the guilty run is found
// guilty of it, the clean one of nothing, and both were judged.
func TestEveryInvariant(t *testing.T) {
	for _, inv := range checkers.Catalogue() {
		t.Run(inv.ID, func(t *testing.T) {
			if caseOf(inv.ID) == nil {
				t.Fatal("no case: nothing shows that its checker can find anything")
			}
			clean, judged := judge(t, inv.ID, false)
			if len(clean) > 0 {
				t.Errorf("the clean run: %v", clean)
			}
			if judged == 0 {
				t.Error("the clean run was not put to the test")
			}
			bad, _ := judge(t, inv.ID, true)
			for _, v := range bad {
				if v.Invariant == inv.ID {
					return
				}
			}
			t.Errorf("the guilty run: %v", bad)
		})
	}
	for id := range cases {
		if checkers.Find(id) == nil {
			t.Errorf("there is no invariant %s", id)
		}
	}
}

// TestLostNames: what a disk that lies had and a power loss took is not missed by
// W8, and what a disk has that does not lie stays to be judged.
func TestLostNames(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		p := params()
		p.Damaged = damaged
		s, err := checkers.NewSuite([]string{"W8"}, p, 10, nil)
		if err != nil {
			t.Fatal(err)
		}
		tape := newTape(t, s)
		tape.event(trace.NodeStarted, "oona", func(e *trace.Event) { e.Text = "store" })
		tape.segment("oona/bus/1.wal", record(1, 1))
		tape.op("readdir oona/store", 0, nil)
		tape.event(trace.NodeCrashed, "oona", nil)
		tape.event(trace.HostCrashed, "store", nil)
		tape.event(trace.NodeStarted, "oona", func(e *trace.Event) { e.Text = "store" })
		tape.segment("oona/bus/2.wal", record(1, 1))
		tape.op("dsync-write oona/bus/2.wal", 512, record(2, 1))
		found, err := s.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if damaged == (len(found) > 0) {
			t.Errorf("damaged %v: %v", damaged, found)
		}
	}
}

// TestVoid: what a scenario makes void is no finding, and nothing else is.
func TestVoid(t *testing.T) {
	for _, void := range []string{"T6", "T7"} {
		p := params()
		p.Void = map[string]string{void: "the test says so"}
		s, err := checkers.NewSuite([]string{"T6"}, p, 10, nil)
		if err != nil {
			t.Fatal(err)
		}
		cases["T6"](newTape(t, s), true)
		found, err := s.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if want := void != "T6"; len(found) > 0 != want {
			t.Errorf("with %s void: %v", void, found)
		}
	}
}

// vaultRoot is the root of what seals("b1", …, "one") asks for, computed by the
// vault's own tree.
const vaultRoot = "530fa698eb945fbccb1005d03c3cdae26c8c453954614e595aa4bae6f89b14c9"
