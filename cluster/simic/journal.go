package simic

import (
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/wal"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// recordKind marks Simic's records in the log.
const recordKind = 1

// remembered bounds the reports that are known as taken in. The bus keeps far
// fewer entries that it could deliver again.
const remembered = 200_000

// digest names a report by command and report id.
type digest [16]byte

func digestOf(report string) digest {
	sum := sha256.Sum256([]byte(report))
	return digest(sum[:16])
}

// journal is Simic's log and what it says.
type journal struct {
	env     actor.Env
	o       *Options
	log     *wal.Log
	refused error // damage; nil and no log: the disk did not answer
	buf     []byte
	base    wal.LSN // of the newest snapshot

	buffer   *buffer
	seen     map[digest]bool
	order    []digest // of seen, oldest first
	policies []*statev2.PolicyRecord
	learner  *statev2.LearnerState
}

func (j *journal) clear() {
	j.buffer, j.seen, j.order = newBuffer(j.o.Capacity, j.o.TTL), map[digest]bool{}, nil
	j.policies, j.learner = nil, &statev2.LearnerState{}
}

// open reads the log.
func (j *journal) open() bool {
	j.log, j.base = nil, 0
	if j.refused != nil {
		return false
	}
	j.clear()
	log, err := wal.Open(j.env.FS, "simic", wal.Options{
		Firm: true, SegmentSize: int64(j.o.Segment), Deadline: j.o.Timeout, Clock: j.env.Clock, Probe: j.env.Probe,
		Facts: command.LogFacts(j.env.Facts, string(j.env.Self)),
		Replay: func(r wal.Record) error {
			m := new(statev2.SimicRecord)
			if err := m.ParseCanonical(append([]byte(nil), r.Payload...)); err != nil {
				return &wal.CorruptionError{LSN: r.LSN, Reason: "it is no record of Simic's", Err: err}
			}
			if m.Snapshot != nil {
				j.base = r.LSN
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
	return j.log != nil
}

// apply enters a record. Records are the journal's own.
func (j *journal) apply(m *statev2.SimicRecord) {
	switch {
	case m.Experience != nil:
		j.know(digestOf(m.Experience.ReportId))
		j.buffer.add(m.Experience, j.since(m.Experience.StoredMs))
	case m.RejectedReportId != "":
		j.know(digestOf(m.RejectedReportId))
	case m.Policy != nil:
		if i := slices.IndexFunc(j.policies, func(p *statev2.PolicyRecord) bool { return p.Version == m.Policy.Version }); i >= 0 {
			j.policies[i] = m.Policy
		} else {
			j.policies = append(j.policies, m.Policy)
		}
	case m.Learner != nil:
		j.learner = m.Learner
	case m.Snapshot != nil:
		s := m.Snapshot
		j.clear()
		for _, x := range s.Experiences {
			j.buffer.add(x, j.since(x.StoredMs))
		}
		for _, d := range s.Seen {
			if len(d) == len(digest{}) {
				j.know(digest(d))
			}
		}
		j.policies = s.Policies
		if s.Learner != nil {
			j.learner = s.Learner
		}
	}
}

// since is when something was stored, on the monotonic clock. The wall clock is
// asked how long ago that was, and cannot make it longer ago than an experience
// lives, nor later than now.
func (j *journal) since(ms int64) time.Duration {
	age := time.Duration(j.env.Clock.Now().UnixMilli()-ms) * time.Millisecond
	return j.env.Clock.Monotonic() - min(max(age, 0), j.o.TTL)
}

func (j *journal) know(d digest) {
	if j.seen[d] {
		return
	}
	if len(j.order) >= remembered {
		for _, old := range j.order[:remembered/10] {
			delete(j.seen, old)
		}
		j.order = j.order[:copy(j.order, j.order[remembered/10:])]
	}
	j.seen[d] = true
	j.order = append(j.order, d)
}

func (j *journal) find(version string) *statev2.PolicyRecord {
	for _, p := range j.policies {
		if p.Version == version {
			return p
		}
	}
	return nil
}

// inStage finds the newest policy of a stage.
func (j *journal) inStage(s policyv2.PolicyStage) *statev2.PolicyRecord {
	for i := len(j.policies) - 1; i >= 0; i-- {
		if j.policies[i].Stage == s {
			return j.policies[i]
		}
	}
	return nil
}

// note appends a record that a later sync makes durable.
func (j *journal) note(m *statev2.SimicRecord) bool {
	if j.log == nil {
		return false
	}
	j.buf = m.AppendCanonical(j.buf[:0])
	lsn, err := j.log.Append(recordKind, 0, j.buf)
	if err != nil {
		return j.failed()
	}
	if m.Snapshot != nil {
		j.base = lsn
	} else {
		j.apply(m)
	}
	return true
}

// sync makes everything durable that was noted.
func (j *journal) sync() bool {
	if j.log == nil {
		return false
	}
	if err := j.log.Sync(); err != nil {
		return j.failed()
	}
	return true
}

// write makes records durable before anything follows from them.
func (j *journal) write(ms ...*statev2.SimicRecord) bool {
	for _, m := range ms {
		if !j.note(m) {
			return false
		}
	}
	return j.sync()
}

// failed closes a log whose last write has an unknown outcome. What it holds is
// found when it is opened anew.
func (j *journal) failed() bool {
	j.env.Probe.Reached("simic/reopen")
	j.log = nil
	return false
}

// kept is how many of the policies that came to their end are remembered.
const kept = 8

// trim writes a snapshot, once the log has grown to several times what it says,
// and lets go of what is before it.
func (j *journal) trim() bool {
	if j.log == nil || int(j.log.Last()-max(j.base, j.log.First())) < 1024+2*len(j.buffer.entries) {
		return true
	}
	s := &statev2.SimicSnapshot{Learner: j.learner}
	for i := range j.buffer.entries {
		s.Experiences = append(s.Experiences, j.buffer.entries[i].Experience)
	}
	for i := range j.order {
		s.Seen = append(s.Seen, j.order[i][:])
	}
	for i, p := range j.policies {
		ended := p.Stage == policyv2.PolicyStage_REJECTED || p.Stage == policyv2.PolicyStage_ROLLED_BACK
		if !ended || i >= len(j.policies)-kept {
			s.Policies = append(s.Policies, p)
		}
	}
	j.policies = s.Policies
	if !j.write(&statev2.SimicRecord{Snapshot: s}) {
		return false
	}
	j.env.Probe.Reached("simic/snapshot")
	if err := j.log.TruncateBefore(j.base); err != nil {
		return j.failed()
	}
	return true
}
