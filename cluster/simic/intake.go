package simic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// taken is a report on its way through the pipeline:
//
//	RECEIVED → VALIDATED → REWARDED → STORED → ACKED
//
// or, after one retry, RECEIVED → REJECTED → ACKED.
type taken struct {
	delivery busv2.Delivery // without the envelope
	event    string
	id       string
	record   *statev2.SimicRecord // what it becomes; nil: it is known already
	stored   bool                 // the record is in the log, and not durable yet
}

// report takes a report in.
func (s *simic) report(d *busv2.Delivery, e *envelopev2.EventEnvelope, m *operationalv2.FieldReport) {
	for _, w := range s.waiting {
		if w.event == e.EventId {
			// It comes again while it waits: the newer claim is the valid one.
			w.claim(d)
			return
		}
	}
	var w *taken
	start := s.env.Clock.Monotonic()
	ticket, ok := s.breakers["report_processing"].Allow(start)
	if !ok {
		return // the bus delivers it again
	}
	w = &taken{event: strings.Clone(e.EventId), id: strings.Clone(m.ReportId)}
	w.claim(d)
	err := s.authentic(e)
	if err == nil {
		err = validate(m, s.job.KernelIDs())
	}
	switch {
	case s.journal.seen[digestOf(m.ReportId)]:
	case err == nil:
		if !slices.Contains(s.job.KernelIDs(), m.KernelArtifactId) {
			s.env.Probe.Reached("simic/library-kernel")
		}
		w.record = &statev2.SimicRecord{Experience: reward(m, s.job.KernelIDs(), s.env.Clock.Now().UnixMilli())}
	case d.Attempt < 2:
		s.in.Nack(d, err.Error())
		w = nil
	default:
		if w.id == "" {
			w.id = "event/" + w.event
		}
		w.record = &statev2.SimicRecord{RejectedReportId: w.id, Reason: err.Error()}
		s.hint(w.id, err.Error())
	}
	end := s.env.Clock.Monotonic()
	s.breakers["report_processing"].Done(end, ticket, end-start <= reportBudget)
	if w == nil {
		return
	}
	s.waiting = append(s.waiting, w)
	s.takeIn()
}

// claim notes how a delivery is acknowledged.
func (w *taken) claim(d *busv2.Delivery) {
	c := &w.delivery
	c.Group, c.Topic, c.Offset, c.Attempt, c.ClaimGeneration = strings.Clone(d.Group), strings.Clone(d.Topic), d.Offset, d.Attempt, d.ClaimGeneration
}

// authentic says who may report: Tamiyo.
func (s *simic) authentic(e *envelopev2.EventEnvelope) error {
	if actor.ID(e.SourceSubsystem) != s.job.Tamiyo {
		return fmt.Errorf("%s may not report", e.SourceSubsystem)
	}
	return nil
}

// takeIn stores the reports that are not stored yet, and has them made durable
// soon, or at once when there are many.
func (s *simic) takeIn() {
	if s.journal.log == nil || len(s.waiting) == 0 {
		return
	}
	for _, w := range s.waiting {
		if w.stored {
			continue
		}
		if w.record != nil && s.journal.seen[digestOf(w.id)] {
			w.record = nil // an earlier delivery, or an earlier life, has stored it
		}
		if w.record != nil && !s.journal.note(w.record) {
			s.unstored()
			return
		}
		w.stored = true
	}
	if len(s.waiting) >= inFlight/2 {
		s.flush()
		return
	}
	s.env.Clock.SetTimer("flush", 0, s.o.Linger)
}

// unstored is called when the log has failed: nothing that waits is in it for
// certain.
func (s *simic) unstored() {
	for _, w := range s.waiting {
		w.stored = false
	}
	s.lost()
}

// flush makes what was stored durable, and acknowledges it.
func (s *simic) flush() {
	if s.journal.log == nil || len(s.waiting) == 0 {
		return
	}
	if !s.journal.sync() {
		s.unstored()
		return
	}
	for _, w := range s.waiting {
		action := "DUPLICATE"
		if w.record != nil {
			if action = "EXPERIENCE"; w.record.Experience == nil {
				action = "REJECTED"
			}
		}
		s.env.Facts.Record(&evidencev2.ReportFact{ReportId: w.id, Action: action})
		s.in.Ack(&w.delivery, &envelopev2.EventEnvelope{EventId: w.event})
	}
	s.waiting = s.waiting[:0]
}

// hint tells Tamiyo of a report that breaks a rule.
func (s *simic) hint(id, why string) {
	s.env.Net.Send(s.job.Tamiyo, &telemetryv2.EmergencyNotice{NoticeId: "hint/" + id, Level: telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_MINOR,
		Source: Subsystem, Reason: why}, actor.SendOptions{Key: "hint/" + id})
}
