package tamiyo

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/config"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/outbox"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// pending is a command whose result has not come.
type pending struct {
	id      string
	seed    graft.Ref
	op      adaptationv2.SeedOperation
	kernel  string
	pre     float64
	issued  uint32   // generation in which it was issued, and took effect if it did
	packets int64    // Tamiyo's count of packets when it was issued
	awaits  actor.ID // who waits for its confirmation
	asked   uint32
}

// stamp signs with a fresh nonce at each use: the nonce is a function of the
// life, what is signed, and how often.
type stamp struct {
	env    actor.Env
	signer *wire.HMACSigner
	count  map[string]uint64
}

// Sign implements actor.Signer.
func (s *stamp) Sign(e *envelopev2.EventEnvelope, payload []byte) {
	s.next(e.EventId)
	s.signer.Sign(e, payload)
}

// next sets the nonce and the time of the next signature about an id.
func (s *stamp) next(id string) [wire.NonceSize]byte {
	if len(s.count) > 1024 {
		s.count = nil // the signatures of so many commands ago are not repeated
	}
	if s.count == nil {
		s.count = make(map[string]uint64)
	}
	s.count[id]++
	sum := sha256.Sum256([]byte(id))
	a, b := binary.LittleEndian.Uint64(sum[:]), s.env.Incarnation<<32|s.count[id]
	binary.LittleEndian.PutUint64(s.signer.Nonce[:8], s.env.Rand.For("nonce", a, b))
	binary.LittleEndian.PutUint64(s.signer.Nonce[8:], s.env.Rand.For("nonce-2", a, b))
	s.signer.SignedAt = s.env.Clock.Now()
	return s.signer.Nonce
}

// order makes a command of an action. It is logged before it is published, so
// that no later life decides about the same boundary.
func (t *tamiyo) order(a Action, by choice, epoch int64, risk Risk, loss float64) {
	c := &adaptationv2.AdaptationCommand{Issuer: Subsystem, PolicyVersion: t.policy.Version(), RiskLevel: risk.Score}
	name, topic := "", toTolaria
	switch a.Kind {
	case MoveSeed:
		name, topic = a.Op.String()+"/"+a.Seed.String(), toKasmina
		c.Command = &adaptationv2.AdaptationCommand_SeedLifecycle{SeedLifecycle: &adaptationv2.SeedLifecycleCommand{
			Seed: a.Seed.Proto(), Operation: a.Op, KernelArtifactId: a.Kernel, ExpectedStage: a.Stage}}
		if a.Op == adaptationv2.SeedOperation_FOSSILIZE {
			c.Constraints = &adaptationv2.ExecutionConstraints{RequireConfirmation: t.o.Confirm != "none",
				RequiredSubsystems: []string{"kasmina", "tolaria"}}
		}
	case SetRate:
		name = "LR"
		c.Command = &adaptationv2.AdaptationCommand_LrUpdate{LrUpdate: &adaptationv2.LearningRateUpdate{
			PolicyName: t.policy.Version(), ApplyWarmup: a.Warm,
			GroupRates: []*adaptationv2.LearningRateGroup{{ParamGroup: "default", LearningRate: a.Rate}}}}
	case SetRhythm:
		name = "ARCH"
		config := fmt.Appendf(nil, "checkpoint-every: %d\n", a.Every)
		sum := sha256.Sum256(config)
		c.Command = &adaptationv2.AdaptationCommand_ArchChange{ArchChange: &adaptationv2.ArchitectureChange{
			ChangeType: "rhythm", SerializedConfig: config, ValidationHash: hex.EncodeToString(sum[:])}}
		c.Constraints = &adaptationv2.ExecutionConstraints{MaxLatencyMs: 60_000}
	case GoBack:
		name = "ROLLBACK"
		r := &adaptationv2.RollbackCommand{Reason: a.Reason}
		if a.Full {
			r.Type = adaptationv2.RollbackCommand_FULL
		}
		c.Command = &adaptationv2.AdaptationCommand_Rollback{Rollback: r}
	default:
		return
	}
	c.CommandId = fmt.Sprint(name, "/e", epoch, "/g", t.p.generation)
	if a.Kind != GoBack {
		c.RollbackGeneration = t.p.generation
	}
	if by.version != "" {
		c.PolicyVersion = by.version
	}
	t.fill(c, epoch)
	if !t.journal.write(&statev2.TamiyoRecord{Issued: c, Epoch: epoch, Generation: t.p.generation, PreMetric: loss, PolicyVersion: by.version, Likelihood: by.likelihood}) {
		return
	}
	p := &pending{id: c.CommandId, op: a.Op, kernel: a.Kernel, pre: loss, issued: t.p.generation, packets: t.packets}
	if a.Kind == MoveSeed {
		p.seed = a.Seed
	}
	t.pending = append(t.pending, p)
	t.send(topic, c)
}

// fill completes what all commands have.
func (t *tamiyo) fill(c *adaptationv2.AdaptationCommand, epoch int64) {
	c.TargetEpoch, c.TtlEpochs = epoch+1, int32(t.ttl())
	c.CreatedAt = timestamppb.New(t.env.Clock.Now())
	c.TrainingRunId, c.Issuer = t.job.RunID, Subsystem
}

// publish sends a command that is not about a decision, such as a pause.
func (t *tamiyo) publish(topic string, c *adaptationv2.AdaptationCommand) {
	t.fill(c, t.mind.epoch)
	t.send(topic, c)
}

func (t *tamiyo) send(topic string, c *adaptationv2.AdaptationCommand) {
	replyTo := string(t.env.Self)
	if t.o.Confirm == "operator" && c.GetConstraints().GetRequireConfirmation() {
		replyTo = t.o.Asks
	}
	t.box.Put(outbox.Letter{ID: "command/" + c.CommandId, Topic: topic, Message: c, Ordered: true, Tries: 3,
		Options: actor.SendOptions{RunID: t.job.RunID, Epoch: c.TargetEpoch, Priority: envelopev2.Priority_STRATEGIC,
			ReplyTo: replyTo, Auth: t.stamp,
			// What ends a command is its window, and it ends with a result. How
			// often its receiver's disk was full is no reason to give it up.
			MaxAttempts: 10_000}})
}

// watchDelivery enters conservative mode when the bus took no command in three
// tries.
func (t *tamiyo) watchDelivery() {
	if t.box.Dropped != t.dropped {
		t.dropped = t.box.Dropped
		t.mode(true, "the bus did not take a command in three tries")
	}
}

// forget gives up commands that can have no result any more: their windows
// have passed, whatever became of them.
func (t *tamiyo) forget() {
	t.pending = slices.DeleteFunc(t.pending, func(p *pending) bool {
		return t.packets-p.packets > int64(t.ttl())+6
	})
}

func (t *tamiyo) find(id string) *pending {
	for _, p := range t.pending {
		if p.id == id {
			return p
		}
	}
	return nil
}

// result takes the result of a command from the bus. It says whether
// everything that follows is durable.
func (t *tamiyo) result(m *adaptationv2.CommandResult) bool {
	id, epoch, status := m.CommandId, m.AppliedEpoch, m.Status
	p := t.find(id)
	if status == adaptationv2.CommandStatus_DUPLICATE || status == adaptationv2.CommandStatus_ACCEPTED ||
		status == adaptationv2.CommandStatus_AWAITING_CONFIRMATION {
		return true
	}
	if p == nil {
		// Of a life before this one. If it germinated a seed, that must not be
		// lost; the rollback that follows every restart tells what came of it.
		p = t.former(id)
		if p == nil {
			// A log that is not open says nothing of former lives; it may later.
			return t.journal.log != nil || t.journal.refused != nil
		}
	}
	if status == adaptationv2.CommandStatus_APPLIED && p.seed != (graft.Ref{}) && !t.applied(p, epoch) {
		return false
	}
	t.pending = slices.DeleteFunc(t.pending, func(q *pending) bool { return q == p })
	return true
}

// former finds a seed command that an earlier life issued.
func (t *tamiyo) former(id string) *pending {
	for _, p := range t.journal.former {
		if p.id == id {
			return p
		}
	}
	return nil
}

// applied follows a seed command that took effect: it begins an adaptation, or
// ends one.
func (t *tamiyo) applied(p *pending, epoch int64) bool {
	if p.op == adaptationv2.SeedOperation_GERMINATE {
		if t.journal.reported[p.id] {
			return true
		}
		// It may be in the log without being in memory: what a write came to whose
		// outcome was unknown, only the log that was opened anew knows.
		a := t.journal.open[p.id]
		if a == nil {
			a = &adaptation{id: p.id, seed: p.seed, kernel: p.kernel, stage: graft.Germinated, since: epoch, pre: p.pre, issued: p.issued}
			if t.p.undone(p.issued, epoch) {
				// The rollback overtook the result. Taken for one that lives, it got the
				// report of the next adaptation of its seed.
				t.env.Probe.Reached("tamiyo/undone-result")
				return t.report(a, "ROLLED_BACK", lastLoss(t.mind.recent))
			}
			if !t.journal.write(&statev2.TamiyoRecord{Opened: a.proto()}) {
				return false
			}
		}
		t.mind.add(a)
		return true
	}
	how, ends := outcome(p.op)
	a := t.mind.adaptationBefore(p.seed, epoch)
	switch {
	case !ends || t.p.undone(p.issued, epoch):
		return true
	case a == nil:
		// What the log knows may be missing here until it is open.
		return !t.unread || t.journal.refused != nil
	}
	return t.report(a, how, lastLoss(t.mind.recent))
}

// report ends an adaptation with its one terminal field report: logged, then
// published until the bus has it.
func (t *tamiyo) report(a *adaptation, how string, post float64) bool {
	if a.reported || t.journal.reported[a.id] {
		t.mind.close(a.id)
		return true
	}
	r := &operationalv2.FieldReport{ReportId: reportID(a.id), BlueprintId: blueprintOf(a.kernel),
		KernelArtifactId: a.kernel, SeedId: a.seed.String(), PreMetric: a.pre, PostMetric: post, Outcome: how,
		EvalMetrics: []*operationalv2.EvaluationMetric{{MetricName: "loss_change", MetricValue: post - a.pre}},
		Timestamp:   timestamppb.New(t.env.Clock.Now())}
	r.EvalMetrics = append(r.EvalMetrics, t.journal.choices[a.id].metrics()...)
	if !t.journal.write(&statev2.TamiyoRecord{Report: r}) {
		return false
	}
	t.mind.close(a.id)
	t.tellReport(r.ReportId, "PERSISTED")
	t.post(r)
	return true
}

func (t *tamiyo) post(r *operationalv2.FieldReport) {
	id := r.ReportId
	t.tellReport(id, "PUBLISHED")
	t.box.Put(outbox.Letter{ID: id, Topic: reports, Message: r,
		// A reader whose disk fails for a while is no reason to give a report up:
		// with the bus's own five tries it was lost to Simic.
		Options: actor.SendOptions{RunID: t.job.RunID, MaxAttempts: 10_000},
		Done: func() {
			t.journal.note(&statev2.TamiyoRecord{AcknowledgedReportId: id})
			t.tellReport(id, "ACKNOWLEDGED")
		}})
}

func (t *tamiyo) tellReport(id, action string) {
	t.env.Facts.Record(&evidencev2.ReportFact{ReportId: id, Action: action})
}

// awaited is told that a command waits for its confirmation. Tamiyo confirms
// what it ordered itself, if that is its part.
func (t *tamiyo) awaited(from actor.ID, m *adaptationv2.CommandResult) {
	if m.Status != adaptationv2.CommandStatus_AWAITING_CONFIRMATION || t.o.Confirm != "self" {
		return
	}
	if p := t.find(m.CommandId); p != nil {
		p.awaits = from
		t.confirmCommand(p)
	}
}

// reconfirm repeats confirmations whose command still has no result: one may
// have been lost.
func (t *tamiyo) reconfirm() {
	for _, p := range t.pending {
		if p.awaits != "" {
			t.confirmCommand(p)
		}
	}
}

func (t *tamiyo) confirmCommand(p *pending) {
	if !t.p.works() {
		return
	}
	c := &adaptationv2.CommandConfirm{CommandId: p.id, Principal: Subsystem, Approve: true, Auth: &envelopev2.Auth{}}
	nonce := t.stamp.next("confirm/" + p.id)
	c.Auth.KeyId, c.Auth.Nonce, c.Auth.SignedAt = t.stamp.signer.KeyID, nonce[:], timestamppb.New(t.stamp.signer.SignedAt)
	command.SignConfirm(c, t.job.Key[:])
	t.env.Net.Send(p.awaits, c, actor.SendOptions{Key: "confirm/" + p.id, Attempt: p.asked})
	p.asked++
}

// ttl is in how many epochs a command is in force.
func (t *tamiyo) ttl() int { return t.conf.Int(config.CommandTTL, t.o.TTL) }
