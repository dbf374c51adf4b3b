package tamiyo

import (
	"errors"
	"sort"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/wal"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// journal is Tamiyo's log: what must not be forgotten by a crash. It is never
// trimmed, since a field report stays retrievable from its owner for ever
// (row O8); it grows with adaptations, not with time.
type journal struct {
	env     actor.Env
	segment int
	timeout time.Duration
	log     *wal.Log
	refused error // damage; nil and no log: the disk did not answer
	buf     []byte
	anew    bool // it was opened anew, and may know of more than was told

	// What the log says.
	generation uint32 // of the newest decision
	epoch      int64
	former     []*pending // seed commands, the newest last
	open       map[string]*adaptation
	reported   map[string]bool
	unacked    map[string]*operationalv2.FieldReport
	tokens     map[string]string // token id to pause id
	quotas     map[string]uint32 // pause id to what was granted
	granted    uint32            // pause quota, in the log when it was opened
	choices    map[string]choice // by command id: of a policy that was learnt
	ended      map[string]count  // by policy
	policies   []*policyv2.PolicyUpdate
}

// formerly bounds the commands whose results an earlier life may still get.
const formerly = 256

func (j *journal) start() {
	j.log, j.refused = nil, nil
	j.generation, j.epoch, j.granted, j.former = 0, -1, 0, nil
	j.open, j.reported = make(map[string]*adaptation), make(map[string]bool)
	j.unacked, j.tokens = make(map[string]*operationalv2.FieldReport), make(map[string]string)
	j.quotas = make(map[string]uint32)
	j.choices, j.ended, j.policies = make(map[string]choice), make(map[string]count), nil
	log, err := wal.Open(j.env.FS, "tamiyo", wal.Options{
		Firm:        true,
		SegmentSize: int64(j.segment), Deadline: j.timeout, Clock: j.env.Clock, Probe: j.env.Probe,
		Facts: command.LogFacts(j.env.Facts, string(j.env.Self)),
		Replay: func(r wal.Record) error {
			m := new(statev2.TamiyoRecord)
			if err := m.ParseCanonical(append([]byte(nil), r.Payload...)); err != nil {
				return &wal.CorruptionError{LSN: r.LSN, Reason: "it is no record of Tamiyo's", Err: err}
			}
			j.apply(m)
			return nil
		},
	})
	var damage *wal.CorruptionError
	switch {
	case errors.As(err, &damage):
		j.refused = err
	case err == nil:
		j.log = log
	}
}

// apply enters a record. Records are the journal's own.
func (j *journal) apply(m *statev2.TamiyoRecord) {
	switch {
	case m.Issued != nil:
		if m.Generation > j.generation || m.Generation == j.generation && m.Epoch > j.epoch {
			j.generation, j.epoch = m.Generation, m.Epoch
		}
		if m.PolicyVersion != "" {
			j.choices[m.Issued.CommandId] = choice{m.PolicyVersion, m.Likelihood}
		}
		if c := m.Issued.GetSeedLifecycle(); c != nil {
			if len(j.former) == formerly {
				j.former = j.former[:copy(j.former, j.former[1:])]
			}
			j.former = append(j.former, &pending{id: m.Issued.CommandId, op: c.Operation, seed: graft.RefOf(c.Seed),
				kernel: c.KernelArtifactId, pre: m.PreMetric, issued: m.Generation})
		}
	case m.Opened != nil:
		if id := m.Opened.CommandId; !j.reported[id] {
			j.open[id] = adaptationFrom(m.Opened)
		}
	case m.Report != nil:
		id := adaptationID(m.Report.ReportId)
		delete(j.open, id)
		if c, ok := j.choices[id]; ok && !j.reported[id] {
			n := j.ended[c.version]
			n.all++
			if m.Report.Outcome == "FOSSILIZED" {
				n.good++
			}
			j.ended[c.version] = n
		}
		j.reported[id] = true
		j.unacked[m.Report.ReportId] = m.Report
	case m.AcknowledgedReportId != "":
		delete(j.unacked, m.AcknowledgedReportId)
	case m.Policy != nil:
		j.release(m.Policy)
	case m.PauseId != "":
		j.tokens[m.TokenId], j.quotas[m.PauseId] = m.PauseId, m.Granted
		j.granted += m.Granted
	}
}

// write makes a record durable before anything follows from it. false: it is
// not known to be, and nothing may follow.
func (j *journal) write(ms ...*statev2.TamiyoRecord) bool {
	if j.log == nil {
		return false
	}
	for _, m := range ms {
		j.buf = m.AppendCanonical(j.buf[:0])
		if _, err := j.log.Append(1, m.Epoch, j.buf); err != nil {
			return j.failed(err)
		}
	}
	if err := j.log.Sync(); err != nil {
		return j.failed(err)
	}
	for _, m := range ms {
		j.apply(m)
	}
	return true
}

// note logs a record without waiting for it: losing it costs a repetition.
func (j *journal) note(m *statev2.TamiyoRecord) {
	j.apply(m)
	if j.log != nil {
		j.buf = m.AppendCanonical(j.buf[:0])
		if _, err := j.log.Append(1, 0, j.buf); err != nil {
			j.failed(err)
		}
	}
}

// failed reopens a log whose last write has an unknown outcome. After a full
// disk the records may still be written by a later sync: the log is opened
// anew as well, so that memory and disk agree.
func (j *journal) failed(error) bool {
	j.env.Probe.Reached("tamiyo/reopen")
	j.log, j.anew = nil, true
	j.start()
	return false
}

// opened lists the adaptations without a report, by command id.
func (j *journal) opened() []*adaptation {
	var list []*adaptation
	for _, a := range j.open {
		list = append(list, a)
	}
	sort.Slice(list, func(a, b int) bool { return list[a].id < list[b].id })
	return list
}

// waiting lists the reports that the bus has not acknowledged, by id.
func (j *journal) waiting() []*operationalv2.FieldReport {
	var list []*operationalv2.FieldReport
	for _, r := range j.unacked {
		list = append(list, r)
	}
	sort.Slice(list, func(a, b int) bool { return list[a].ReportId < list[b].ReportId })
	return list
}

const reportPrefix = "report/"

func reportID(adaptation string) string   { return reportPrefix + adaptation }
func adaptationID(reportID string) string { return reportID[min(len(reportPrefix), len(reportID)):] }
