package narset

import (
	"errors"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/wal"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// journal is Narset's log: summaries until the bus has them, and by them which
// reports were summed up.
type journal struct {
	env     actor.Env
	o       *Options
	log     *wal.Log
	refused error
	waiting []*entry // that the bus may not have, oldest first
	recent  []*entry // the newest summaries: their reports are known
	known   map[string]bool
	buf     []byte
}

type entry struct {
	s   *operationsv2.RegionSummary
	lsn wal.LSN
}

// remembered is how many summaries are kept at least.
const remembered = 256

func (j *journal) start() error {
	j.log, j.waiting, j.recent, j.known = nil, nil, nil, map[string]bool{}
	if j.refused != nil {
		return j.refused
	}
	log, err := wal.Open(j.env.FS, "narset", wal.Options{
		Firm: true, SegmentSize: int64(j.o.Segment), Deadline: j.o.Timeout, Clock: j.env.Clock, Probe: j.env.Probe,
		Facts: command.LogFacts(j.env.Facts, string(j.env.Self)),
		Replay: func(r wal.Record) error {
			m := new(statev2.NarsetRecord)
			if err := m.ParseCanonical(append([]byte(nil), r.Payload...)); err != nil {
				return &wal.CorruptionError{LSN: r.LSN, Reason: "it is no record of Narset's", Err: err}
			}
			j.apply(m, r.LSN)
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

func (j *journal) apply(m *statev2.NarsetRecord, lsn wal.LSN) {
	if s := m.Summary; s != nil {
		e := &entry{s, lsn}
		j.waiting, j.recent = append(j.waiting, e), append(j.recent, e)
		for _, id := range s.TelemetryIds {
			j.known[id] = true
		}
		return
	}
	for i, e := range j.waiting {
		if e.s.SummaryId == m.PublishedEventId {
			j.waiting = append(j.waiting[:i], j.waiting[i+1:]...)
			return
		}
	}
}

func (j *journal) append(m *statev2.NarsetRecord) error {
	if j.log == nil {
		return wal.ErrClosed
	}
	j.buf = m.AppendCanonical(j.buf[:0])
	lsn, err := j.log.Append(1, 0, j.buf)
	if err == nil {
		j.apply(m, lsn)
	}
	return err
}

// trim lets go of old summaries that the bus has.
func (j *journal) trim() error {
	if len(j.recent) < 2*remembered {
		return nil
	}
	before := j.recent[len(j.recent)-remembered].lsn
	if len(j.waiting) > 0 {
		before = min(before, j.waiting[0].lsn)
	}
	k := 0
	for k < len(j.recent) && j.recent[k].lsn < before {
		for _, id := range j.recent[k].s.TelemetryIds {
			delete(j.known, id)
		}
		k++
	}
	j.recent = append(j.recent[:0], j.recent[k:]...)
	return j.log.TruncateBefore(before)
}
