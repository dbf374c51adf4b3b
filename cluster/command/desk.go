// Package command is how Tolaria and Kasmina take commands from the bus: one
// path for both, so that there is one place to get it right.
//
//   - [Desk.Deliver] verifies signature, nonce and time, validates, logs the
//     command durably and acknowledges the delivery.
//   - [Desk.Due] hands out what is due at an epoch boundary, in the order of
//     ids, and expires what is not due any more.
//   - [Desk.Settle] and [Desk.Flush] log what became of it, and publish the
//     result until the bus has it.
//
// What it promises (rows A1 to A4 and L2 of the invariants): a command id is
// handed out until it is settled and never after, also over restarts; only
// within its window; never before its confirmation; a captured message never
// works twice; every authentic command gets one result.
package command

import (
	"errors"
	"fmt"
	"sort"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/wal"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/contracts/validate"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Options of a desk.
type Options struct {
	Subsystem string // in results and facts, and the consumer group
	Topic     string
	Dir       string // of the log
	Segment   int64
	Deadline  time.Duration // of an operation on the disk
	// Accepts says why the subsystem has no use for a command, or nil.
	Accepts func(*adaptationv2.AdaptationCommand) error
}

// Status is what became of a command.
type Status = adaptationv2.CommandStatus

// Command is one that was taken in.
type Command struct {
	M       *adaptationv2.AdaptationCommand
	replyTo string
	nonce   []byte
	signed  *timestamppb.Timestamp
	taken   time.Duration // monotonic; -1: in a former life
	waits   bool          // for its confirmation
	asked   bool
	result  *adaptationv2.CommandResult // nil: pending
	effect  string
	gen     uint32
	told    bool // the result was published and its fact declared
	has     struct{ command, result, confirmed, published bool }
	done    bool // the bus has the result
}

// Pending says whether it is still open what becomes of the command.
func (c *Command) Pending() bool { return c.result == nil }

// Desk takes commands in. One actor owns it.
type Desk struct {
	env     actor.Env
	job     *job.Job
	o       Options
	box     *outbox.Box
	log     *wal.Log
	refused error // why the log takes nothing
	owed    error // why the log does not have all of the commands yet
	codec   *wire.Codec
	byID    map[string]*Command
	order   []*Command // as they came
	nonces  nonces
	floor   int64 // see forget.go
	due     []*Command
	ack     busv2.Ack
	nack    busv2.Nack
	sub     busv2.Subscribe
	fact    evidencev2.CommandFact
	buf     []byte
}

// Open recovers the desk's log and publishes results that the bus may not
// have. A damaged log is no error: the desk then refuses every command, since
// it cannot know which it has obeyed.
func Open(env actor.Env, j *job.Job, box *outbox.Box, o Options) (*Desk, error) {
	d := &Desk{env: env, job: j, o: o, box: box, codec: wire.NewCodecAs(env.Schema), byID: map[string]*Command{}}
	if err := d.open(); err != nil {
		return nil, err
	}
	return d, nil
}

// open replays the log into memory. Commands that memory has and the log has
// not are appended again: the log was poisoned between the two.
func (d *Desk) open() error {
	for _, c := range d.order {
		c.has = struct{ command, result, confirmed, published bool }{}
	}
	log, err := wal.Open(d.env.FS, d.o.Dir, wal.Options{
		Firm:        true,
		SegmentSize: d.o.Segment, Deadline: d.o.Deadline, Clock: d.env.Clock, Probe: d.env.Probe,
		Facts: LogFacts(d.env.Facts, d.o.Subsystem+"/"+d.o.Dir), Replay: d.replay,
	})
	var damage *wal.CorruptionError
	if errors.As(err, &damage) {
		d.log, d.refused = nil, err
		return nil
	}
	if err != nil {
		d.log, d.refused = nil, err
		return err
	}
	d.log, d.refused, d.owed = log, nil, nil
	for _, c := range d.order {
		d.save(c)
		if c.told && !c.done {
			d.publish(c) // the bus may not have it
		}
	}
	return nil
}

func (d *Desk) replay(r wal.Record) error {
	m := new(statev2.CommandRecord)
	// A command of a newer minor version is in the log with all it came with.
	if err := d.env.Schema.Reread(m, append([]byte(nil), r.Payload...)); err != nil {
		return err
	}
	switch {
	case m.Command != nil:
		c := d.byID[m.Command.CommandId]
		if c == nil {
			c = &Command{M: m.Command, replyTo: m.ReplyTo, nonce: m.Nonce, signed: m.SignedAt, taken: -1,
				waits: m.Command.GetConstraints().GetRequireConfirmation()}
			d.byID[m.Command.CommandId] = c
			d.order = append(d.order, c)
			if m.SignedAt != nil {
				signed := m.SignedAt.AsTime().UnixNano()
				// Its own time stands for now: forgetting is for later.
				d.nonces.add(m.Nonce, signed, signed)
			}
		}
		c.has.command = true
	case m.Result != nil:
		if c := d.byID[m.Result.CommandId]; c != nil {
			if c.result == nil {
				// It took effect in an earlier life. Telling it again as if it
				// were new made one command two, where the log could be opened
				// on the second try only.
				c.result, c.told = m.Result, true
			}
			c.has.result = true
		}
	case m.ConfirmedCommandId != "":
		if c := d.byID[m.ConfirmedCommandId]; c != nil {
			c.waits, c.has.confirmed = false, true
		}
	case m.PublishedCommandId != "":
		if c := d.byID[m.PublishedCommandId]; c != nil {
			c.done, c.has.published = true, true
		}
	case m.SignedAt != nil:
		d.floor = max(d.floor, m.SignedAt.AsTime().UnixNano())
	}
	return nil
}

func (d *Desk) append(m *statev2.CommandRecord) error {
	if d.log == nil {
		return d.refused
	}
	d.buf = m.AppendCanonical(d.buf[:0])
	_, err := d.log.Append(1, 0, d.buf)
	return err
}

// save appends whatever the log does not have of a command. What it cannot
// append the log owes, and sync comes back to it.
func (d *Desk) save(c *Command) {
	var failed error
	put := func(has *bool, want bool, m *statev2.CommandRecord) {
		if !want || *has || failed != nil { // a result behind a command that is missing would be read as nobody's
			return
		}
		if failed = d.append(m); failed == nil {
			*has = true
		}
	}
	defer func() {
		if failed != nil {
			d.owed = failed
		}
	}()
	put(&c.has.command, true, &statev2.CommandRecord{Command: c.M, Nonce: c.nonce, SignedAt: c.signed, ReplyTo: c.replyTo})
	put(&c.has.confirmed, !c.waits && c.M.GetConstraints().GetRequireConfirmation(), &statev2.CommandRecord{ConfirmedCommandId: c.M.CommandId})
	put(&c.has.result, c.result != nil, &statev2.CommandRecord{Result: c.result})
	put(&c.has.published, c.done, &statev2.CommandRecord{PublishedCommandId: c.M.CommandId})
}

// sync makes everything durable. A log that a failure poisoned is opened
// anew, once.
func (d *Desk) sync() error {
	if d.log == nil {
		return d.refused
	}
	err := d.settle()
	var poison *wal.PoisonedError
	if errors.As(err, &poison) {
		if err = d.open(); err == nil && d.log != nil {
			err = d.settle()
		}
	}
	return err
}

// settle appends what the log owes and syncs it. A log that has space again is
// not yet one that holds what there was no space for.
func (d *Desk) settle() error {
	if d.owed != nil {
		d.owed = nil
		for _, c := range d.order {
			d.save(c)
		}
		if d.owed != nil {
			return d.owed
		}
	}
	return d.log.Sync()
}

// Renew joins the consumer group, or shows that its consumer lives. The owner
// calls it every second.
func (d *Desk) Renew() {
	d.sub.Group, d.sub.Consumer, d.sub.Durable, d.sub.MaxInFlight = d.o.Subsystem, string(d.env.Self), true, 32
	d.sub.SchemaMinor = d.env.Schema.Minor
	d.sub.Topics = append(d.sub.Topics[:0], d.o.Topic)
	d.env.Net.Send(d.job.Oona, &d.sub, actor.SendOptions{Key: "subscribe/" + d.o.Subsystem})
	var damage *wal.CorruptionError
	if d.log == nil && !errors.As(d.refused, &damage) {
		_ = d.open()
	}
	d.forget()
	// Once a second at most, and only if there is something new: that the bus
	// has a result need not be synced at once, but a desk that never did told
	// it again in every life. The seal makes damage to the last records seen.
	if d.sync() == nil && d.log != nil {
		_ = d.log.Seal()
	}
}

// Deliver takes one delivery from the bus. It returns the command if it is
// new and pending.
func (d *Desk) Deliver(m *busv2.Delivery, epoch int64, generation uint32) *Command {
	if m.Topic != d.o.Topic {
		return nil
	}
	e, payload, err := d.codec.Open(m.Envelope)
	if err == nil {
		err = wire.Verify(e, d.job.Key[:])
	}
	if err == nil && e.Topic != d.o.Topic {
		// Signed, and for somebody else: whoever delivers it could have it carried
		// out twice.
		err = fmt.Errorf("it was published on the topic %q", e.Topic)
	}
	if err == nil && e.SchemaMinor > d.env.Schema.Minor {
		d.env.Probe.Reached("command/newer-than-known")
	}
	cmd, ok := payload.(*adaptationv2.AdaptationCommand)
	switch {
	case err != nil:
		// Whoever wrote this may have taken another command's id: no result.
		id := ""
		if ok {
			id = cmd.CommandId
		}
		d.declare(id, "REFUSED", epoch, generation, "", err.Error())
		d.answer(m, true)
		return nil
	case !ok:
		d.declare("", "REFUSED", epoch, generation, "", "it is no command")
		d.answer(m, true)
		return nil
	}
	if d.log == nil {
		d.answer(m, false)
		return nil
	}
	if c := d.byID[cmd.CommandId]; c != nil && cmd.CommandId != "" {
		// It may still wait for the disk to have space: an acknowledgement now
		// would let the bus forget what a crash makes this node forget, too.
		if d.sync() != nil || !c.has.command {
			d.answer(m, false)
			return nil
		}
		d.answer(m, true)
		d.declare(cmd.CommandId, "DUPLICATE", epoch, generation, "", "")
		if c.result != nil && !c.done {
			d.publish(c)
		}
		return nil
	}
	if d.forgotten(cmd) {
		d.answer(m, true)
		d.declare(cmd.CommandId, "REFUSED", epoch, generation, "", "it is older than commands that are forgotten by now, and may be one of them")
		return nil
	}
	now := d.env.Clock.Now().UnixNano()
	signed := e.Auth.SignedAt.AsTime().UnixNano()
	why := d.nonces.check(e.Auth.Nonce, signed, now)
	if cmd.CommandId == "" {
		d.declare("", "REFUSED", epoch, generation, "", "it has no command id")
		d.answer(m, true)
		return nil
	}
	if why == "" {
		why = d.unacceptable(cmd)
	}
	if why == "" {
		why = overtaken(cmd, generation)
	}
	c := d.keep(cmd, e)
	if c == nil {
		d.answer(m, false)
		return nil
	}
	d.nonces.add(c.nonce, signed, now)
	d.byID[c.M.CommandId] = c
	d.order = append(d.order, c)
	if why != "" {
		c.result = d.made(c, adaptationv2.CommandStatus_REJECTED, epoch, why)
		c.gen = generation
	}
	d.save(c)
	if err := d.sync(); err != nil || !c.has.command {
		// Nobody was told: forget it, and take it again when it comes again.
		if !c.has.command {
			delete(d.byID, c.M.CommandId)
			d.order = d.order[:len(d.order)-1]
		}
		d.answer(m, false)
		return nil
	}
	d.answer(m, true)
	if c.result != nil {
		d.tell(c)
		return nil
	}
	if c.waits {
		d.ask(c, epoch, generation)
	}
	return c
}

// overtaken says why a command of an older generation is rejected: what it was
// decided on was rolled back. Its issuer may have been left out of the rollback
// as dead, and not know of it yet.
func overtaken(c *adaptationv2.AdaptationCommand, generation uint32) string {
	if g := c.RollbackGeneration; g != 0 && g < generation {
		return fmt.Sprintf("it is of generation %d, and this is %d", g, generation)
	}
	return ""
}

// unacceptable says why an authentic command is rejected at once.
func (d *Desk) unacceptable(c *adaptationv2.AdaptationCommand) string {
	if err := validate.Command(c); err != nil {
		return err.Error()
	}
	if c.TrainingRunId != "" && c.TrainingRunId != d.job.RunID {
		return fmt.Sprintf("it is for the run %q, and this is %q", c.TrainingRunId, d.job.RunID)
	}
	for _, s := range c.GetConstraints().GetRequiredSubsystems() {
		switch s {
		case "tolaria", "kasmina", "tamiyo":
		default:
			return fmt.Sprintf("it requires the subsystem %q; known are tolaria, kasmina and tamiyo", s)
		}
	}
	if d.o.Accepts != nil {
		if err := d.o.Accepts(c); err != nil {
			return err.Error()
		}
	}
	return ""
}

// keep copies a command out of the decoder's memory.
func (d *Desk) keep(m *adaptationv2.AdaptationCommand, e *envelopev2.EventEnvelope) *Command {
	own := new(adaptationv2.AdaptationCommand)
	if d.env.Schema.Read(own, append([]byte(nil), e.Payload...), e.SchemaMinor) != nil {
		return nil
	}
	c := &Command{M: own, replyTo: e.ReplyTo, taken: d.env.Clock.Monotonic(),
		nonce:  append([]byte(nil), e.Auth.Nonce...),
		signed: &timestamppb.Timestamp{Seconds: e.Auth.SignedAt.Seconds, Nanos: e.Auth.SignedAt.Nanos},
		waits:  m.GetConstraints().GetRequireConfirmation()}
	if c.replyTo == "" {
		c.replyTo = e.SourceSubsystem
	}
	return c
}

func (d *Desk) answer(m *busv2.Delivery, ok bool) {
	key := fmt.Sprint("ack/", m.Topic, "/", m.Offset, "/", m.Attempt)
	if ok {
		d.ack.Group, d.ack.Consumer, d.ack.Topic = m.Group, string(d.env.Self), m.Topic
		d.ack.Offset, d.ack.ClaimGeneration = m.Offset, m.ClaimGeneration
		d.env.Net.Send(d.job.Oona, &d.ack, actor.SendOptions{Key: key})
		return
	}
	d.nack.Group, d.nack.Consumer, d.nack.Topic = m.Group, string(d.env.Self), m.Topic
	d.nack.Offset, d.nack.ClaimGeneration, d.nack.Reason = m.Offset, m.ClaimGeneration, "the command log takes nothing"
	d.env.Net.Send(d.job.Oona, &d.nack, actor.SendOptions{Key: key})
}

// ask tells the issuer that the command waits for a confirmation.
func (d *Desk) ask(c *Command, epoch int64, generation uint32) {
	c.asked = true
	d.declare(c.M.CommandId, "AWAITING_CONFIRMATION", epoch, generation, "", "")
	if c.replyTo != "" {
		r := d.made(c, adaptationv2.CommandStatus_AWAITING_CONFIRMATION, epoch, "")
		d.env.Net.Send(actor.ID(c.replyTo), r, actor.SendOptions{Key: "awaiting/" + c.M.CommandId})
	}
}

// Confirm takes a confirmation, whose envelope is given for its signature. It
// returns the command if it is pending from now on.
func (d *Desk) Confirm(m *adaptationv2.CommandConfirm, e *envelopev2.EventEnvelope, epoch int64, generation uint32) *Command {
	c := d.byID[m.CommandId]
	if c == nil || c.result != nil || !c.waits || d.log == nil {
		return nil
	}
	auth, ok := Authentic(m, e, d.job.Key[:])
	if !ok {
		d.declare(m.CommandId, "REFUSED", epoch, generation, "", "the confirmation is not authentic")
		return nil
	}
	now, signed := d.env.Clock.Now().UnixNano(), auth.SignedAt.AsTime().UnixNano()
	if why := d.nonces.check(auth.Nonce, signed, now); why != "" {
		d.declare(m.CommandId, "REFUSED", epoch, generation, "", "confirmation: "+why)
		return nil
	}
	d.nonces.add(auth.Nonce, signed, now)
	if !m.Approve {
		d.Settle(c, adaptationv2.CommandStatus_REJECTED, epoch, generation, "", "an operator denied it")
		_ = d.Flush()
		return nil
	}
	c.waits = false
	d.save(c)
	if d.sync() != nil {
		c.waits = true
		c.has.confirmed = false
		return nil
	}
	return c
}

// Obeyed says whether any command has ever taken effect, in this life or an
// earlier one.
func (d *Desk) Obeyed() bool {
	if d.floor != 0 {
		return true // if none of those forgotten was obeyed, there is a long life behind it all the same
	}
	for _, c := range d.order {
		if c.result != nil && c.result.Status == adaptationv2.CommandStatus_APPLIED {
			return true
		}
	}
	return false
}

// Find is the command with an id, or nil.
func (d *Desk) Find(id string) *Command { return d.byID[id] }

// Waiting lists the commands that have no result, in the order of their arrival.
func (d *Desk) Waiting() (list []*Command) {
	for _, c := range d.order {
		if c.result == nil {
			list = append(list, c)
		}
	}
	return list
}

// Due lists the pending commands that are in force in an epoch, in the order
// of their ids, and expires those whose window has ended. only, if not nil,
// leaves commands waiting for which it is false; present says which
// subsystems took part in the boundary. The list is valid until the next call.
func (d *Desk) Due(epoch int64, generation uint32, present func(string) bool, only func(*adaptationv2.AdaptationCommand) bool) []*Command {
	d.due = d.due[:0]
	if d.log == nil {
		return nil // what is obeyed now could not be remembered
	}
	now := d.env.Clock.Monotonic()
	for _, c := range d.order {
		if c.result != nil {
			continue
		}
		limits := c.M.GetConstraints()
		latest := time.Duration(limits.GetMaxLatencyMs()) * time.Millisecond
		switch {
		case epoch-c.M.TargetEpoch >= int64(c.M.TtlEpochs):
			why := "its window has ended"
			if c.waits {
				why = "nobody confirmed it"
			}
			d.Settle(c, adaptationv2.CommandStatus_EXPIRED, epoch, generation, "", why)
		case latest > 0 && (c.taken < 0 || now-c.taken > latest):
			d.Settle(c, adaptationv2.CommandStatus_EXPIRED, epoch, generation, "", "it could not be carried out within "+latest.String())
		case overtaken(c.M, generation) != "":
			d.Settle(c, adaptationv2.CommandStatus_REJECTED, epoch, generation, "", overtaken(c.M, generation))
		case epoch < c.M.TargetEpoch || c.waits:
		case only != nil && !only(c.M):
		case !all(limits.GetRequiredSubsystems(), present):
		default:
			d.due = append(d.due, c)
		}
	}
	sort.Slice(d.due, func(i, j int) bool { return d.due[i].M.CommandId < d.due[j].M.CommandId })
	return d.due
}

func all(names []string, present func(string) bool) bool {
	for _, n := range names {
		if present != nil && !present(n) {
			return false
		}
	}
	return true
}

// Settle notes what became of a command. It is told to others by Flush only.
func (d *Desk) Settle(c *Command, s Status, epoch int64, generation uint32, effect, why string) {
	if c.result != nil {
		return
	}
	c.result = d.made(c, s, epoch, why)
	c.effect, c.gen = effect, generation
	d.save(c)
}

func (d *Desk) made(c *Command, s Status, epoch int64, why string) *adaptationv2.CommandResult {
	return &adaptationv2.CommandResult{CommandId: c.M.CommandId, Subsystem: d.o.Subsystem, Status: s,
		AppliedEpoch: epoch, Reason: why, Timestamp: timestamppb.New(d.env.Clock.Now())}
}

// Flush makes settlements durable, and then declares and publishes them. On
// an error nothing was told.
func (d *Desk) Flush() error {
	waiting := false
	for _, c := range d.order {
		waiting = waiting || c.result != nil && !c.told
	}
	if !waiting {
		return nil
	}
	if err := d.sync(); err != nil {
		return err
	}
	for _, c := range d.order {
		if c.result != nil && !c.told {
			d.tell(c)
		}
	}
	return nil
}

func (d *Desk) tell(c *Command) {
	c.told = true
	r := c.result
	d.declare(r.CommandId, r.Status.String(), r.AppliedEpoch, c.gen, c.effect, r.Reason)
	d.publish(c)
}

func (d *Desk) publish(c *Command) {
	d.box.Put(outbox.Letter{
		ID: "result/" + d.o.Subsystem + "/" + c.M.CommandId, Topic: "control.command.results",
		Message: c.result,
		// A reader that cannot log what it is told, because its disk fails for a
		// while, is no reason to give a result up: with the bus's own five tries
		// Tamiyo never heard that a seed had been germinated.
		Options: actor.SendOptions{RunID: d.job.RunID, CorrelationID: c.M.CommandId, MaxAttempts: 10_000},
		Done: func() {
			c.done = true
			d.save(c) // not synced: the bus knows the event id if it comes again
		},
	})
}

func (d *Desk) declare(id, status string, epoch int64, generation uint32, effect, why string) {
	d.fact.CommandId, d.fact.Subsystem, d.fact.Status = id, d.o.Subsystem, status
	d.fact.Epoch, d.fact.Generation, d.fact.Effect, d.fact.Reason = epoch, generation, effect, why
	d.env.Facts.Record(&d.fact)
}
