package nissa

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// journal is Nissa's log: the audit trail, and what became of alerts. It is
// never trimmed.
type journal struct {
	env     actor.Env
	o       *Options
	log     *wal.Log
	refused error // damage: it stays closed

	next    uint64 // number of the next audit record
	ids     map[string]bool
	order   []string
	open    map[string]*platformv2.AlertEvent // by key: the newest state of those that have not ended
	waiting []*platformv2.AlertEvent          // that the bus may not have, oldest first
	buf     []byte
}

// auditedIDs is how many event ids are known, so that an event which comes again
// is recorded once. The bus keeps far fewer.
const auditedIDs = 1 << 16

func (j *journal) start() error {
	j.log, j.next, j.ids, j.order = nil, 1, map[string]bool{}, nil
	j.open, j.waiting = map[string]*platformv2.AlertEvent{}, nil
	if j.refused != nil {
		return j.refused
	}
	log, err := wal.Open(j.env.FS, "nissa", wal.Options{
		Firm: true, SegmentSize: int64(j.o.Segment), Deadline: j.o.Timeout, Clock: j.env.Clock, Probe: j.env.Probe,
		Facts: command.LogFacts(j.env.Facts, string(j.env.Self)),
		Replay: func(r wal.Record) error {
			m := new(statev2.NissaRecord)
			if err := m.ParseCanonical(append([]byte(nil), r.Payload...)); err != nil {
				return &wal.CorruptionError{LSN: r.LSN, Reason: "it is no record of Nissa's", Err: err}
			}
			j.apply(m)
			return nil
		},
	})
	var damage *wal.CorruptionError
	if errors.As(err, &damage) {
		j.refused = err
	}
	if err == nil {
		j.log = log
	}
	return err
}

func (j *journal) apply(m *statev2.NissaRecord) {
	switch {
	case m.Audit != nil:
		j.next = m.Audit.SequenceNumber + 1
		j.know(m.Audit.EventId)
	case m.Alert != nil:
		key := keyOf(m.Alert)
		if m.Alert.State == platformv2.AlertState_RESOLVED {
			delete(j.open, key)
		} else {
			j.open[key] = m.Alert
		}
		if m.Alert.State != platformv2.AlertState_PENDING {
			j.waiting = append(j.waiting, m.Alert)
		}
	case m.PublishedEventId != "":
		for i, e := range j.waiting {
			if publicationID(e) == m.PublishedEventId {
				j.waiting = append(j.waiting[:i], j.waiting[i+1:]...)
				break
			}
		}
	}
}

func (j *journal) know(event string) {
	if event == "" || j.ids[event] {
		return
	}
	j.ids[event] = true
	j.order = append(j.order, event)
	if len(j.order) > auditedIDs {
		for _, id := range j.order[:auditedIDs/4] {
			delete(j.ids, id)
		}
		j.order = append(j.order[:0], j.order[auditedIDs/4:]...)
	}
}

// append adds a record, which is durable after the next sync.
func (j *journal) append(m *statev2.NissaRecord) error {
	if j.log == nil {
		return wal.ErrClosed
	}
	j.buf = m.AppendCanonical(j.buf[:0])
	_, err := j.log.Append(1, 0, j.buf)
	if err == nil {
		j.apply(m)
	}
	return err
}

func publicationID(e *platformv2.AlertEvent) string { return e.AlertId + "/" + e.State.String() }

// record is what the audit trail says of an event: nil if it does not belong
// there. Whoever changes something, and what came of it.
func record(topic string, e *envelopev2.EventEnvelope, m canon.Message) *operationsv2.AuditRecord {
	r := &operationsv2.AuditRecord{EventId: e.EventId, Principal: e.SourceSubsystem, RecordedAt: e.CreatedAt}
	switch m := m.(type) {
	case *adaptationv2.AdaptationCommand:
		r.Action, r.Subject, r.Outcome = "command", m.CommandId, "issued on "+topic
	case *adaptationv2.CommandResult:
		r.Action, r.Subject, r.Outcome = "command-result", m.CommandId, m.Status.String()
	case *eventsv2.EpochEvent:
		switch m.Phase {
		case eventsv2.EpochPhase_PAUSED, eventsv2.EpochPhase_RESUMED, eventsv2.EpochPhase_ROLLED_BACK:
			r.Action, r.Subject, r.Outcome = "run", m.TrainingRunId, fmt.Sprintf("%s at epoch %d, generation %d", m.Phase, m.Epoch, m.RollbackGeneration)
		default:
			return nil
		}
	case *operationalv2.FieldReport:
		r.Action, r.Subject, r.Outcome = "adaptation", m.ReportId, m.Outcome
	case *eventsv2.KernelCharacterizedEvent:
		r.Action, r.Subject, r.Outcome = "verdict", m.KernelArtifactId, m.Verdict.String()
	case *eventsv2.BlueprintSubmittedEvent:
		r.Action, r.Subject, r.Outcome = "blueprint", m.BlueprintId, m.Tier.String()
	case *operationsv2.ConfigChange:
		r.Action, r.Subject, r.Outcome = "configuration", fmt.Sprint("revision ", m.Revision), fmt.Sprint("announced, not before epoch ", m.EffectiveEpoch)
	default:
		return nil
	}
	return r
}

// stamp is the present as a message has it.
func stamp(env actor.Env) *timestamppb.Timestamp { return timestamppb.New(env.Clock.Now()) }
