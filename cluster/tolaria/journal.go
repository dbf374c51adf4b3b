package tolaria

import (
	"errors"
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/wal"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// Steps of a rollback in the journal.
const (
	stepStarted   = "STARTED"
	stepCommitted = "COMMITTED"
	stepDone      = "DONE"
	stepAborted   = "ABORTED"
	stepFailed    = "FAILED"
	stepConfig    = "CONFIG"  // no rollback: a revision of the configuration is in force from an epoch on
	stepMask      = "MASK"    // no rollback: a mask is about to come into force
	stepPresent   = "PRESENT" // no rollback: the generation, for a log that is cut
)

// journal is what Tolaria must remember over a crash beside commands and
// checkpoints: decisions of rollbacks, the generation, and which STARTED
// events the bus may not have.
type journal struct {
	t       *tolaria
	log     *wal.Log
	buf     []byte
	appends int // records since it was cut, also those of earlier lives
	waiting []waitingEvent
	owed    []*eventsv2.EpochEvent // that found no space in the log, oldest first

	open      *statev2.CoordinatorRecord // a rollback without an end, or nil
	committed map[string]bool            // rollbacks that were decided
	last      *statev2.CoordinatorRecord // the latest that ended
	began     bool                       // an epoch was started before this life
	count     int                        // rollbacks begun in this life
}

type waitingEvent struct {
	id  string
	lsn wal.LSN
}

func openJournal(t *tolaria) (*journal, error) {
	j := &journal{t: t, committed: map[string]bool{}}
	var events []*eventsv2.EpochEvent
	log, err := wal.Open(t.env.FS, "journal", wal.Options{
		Firm:        true,
		SegmentSize: int64(t.o.Segment), Deadline: t.o.Timeout, Clock: t.env.Clock, Probe: t.env.Probe,
		Facts: command.LogFacts(t.env.Facts, "tolaria/journal"),
		Replay: func(r wal.Record) error {
			// Who counted those of one life only would never cut the log of a
			// process that dies young.
			j.appends++
			m := new(statev2.CoordinatorRecord)
			if err := m.ParseCanonical(append([]byte(nil), r.Payload...)); err != nil {
				return err
			}
			switch {
			case m.Event != nil:
				events = append(events, m.Event)
				j.waiting = append(j.waiting, waitingEvent{eventID(m.Event), r.LSN})
				t.gen = max(t.gen, m.Event.RollbackGeneration)
				t.started = ref{m.Event.Epoch, 0, m.Event.RollbackGeneration}
				j.began = true
			case m.PublishedEventId != "":
				for i, w := range j.waiting {
					if w.id == m.PublishedEventId {
						j.waiting = append(j.waiting[:i], j.waiting[i+1:]...)
						events = append(events[:i], events[i+1:]...)
						break
					}
				}
			default:
				j.note(m)
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("tolaria: journal: %w", err)
	}
	j.log = log
	for _, e := range events {
		t.publish(e)
	}
	return j, nil
}

// note follows the steps of rollbacks.
func (j *journal) note(m *statev2.CoordinatorRecord) {
	switch m.Step {
	case stepStarted:
		j.open = m
	case stepCommitted:
		j.open = m
		j.committed[m.RollbackId] = true
		j.t.gen = max(j.t.gen, m.Generation)
		j.began = true
	case stepConfig:
		j.t.conf.since = &operationsv2.ConfigDecision{Revision: m.ConfigRevision, Epoch: m.Epoch, RollbackGeneration: m.Generation}
	case stepMask:
		j.t.masks.newest = m.Mask
	case stepPresent:
		j.t.gen = max(j.t.gen, m.Generation)
		j.began = true
	default:
		j.open, j.last = nil, m
	}
	if m.Culprits != nil {
		j.t.locked = m.Culprits
	}
}

func eventID(e *eventsv2.EpochEvent) string {
	return fmt.Sprintf("epoch/%s/%d/%d/%s", e.TrainingRunId, e.RollbackGeneration, e.Epoch, e.Phase)
}

func (j *journal) append(m *statev2.CoordinatorRecord) (wal.LSN, error) {
	j.buf = m.AppendCanonical(j.buf[:0])
	lsn, err := j.log.Append(1, m.Epoch, j.buf)
	j.appends++
	return lsn, err
}

// errFull: nothing was written, and nothing has changed.
var errFull = errors.New("the disk is full")

// step makes a step of a rollback durable. errFull means that it did not
// happen; any other error, that nobody knows.
func (j *journal) step(m *statev2.CoordinatorRecord) error {
	if m.Step == stepStarted {
		// Where every epoch ends in a rollback, the event of each is written while
		// one is open, and that is no time to cut the log.
		if err := j.trim(); err != nil {
			return err
		}
	}
	_, err := j.append(m)
	if err == nil {
		err = j.log.Sync()
	}
	if errors.Is(err, actor.ErrNoSpace) && (m.Step == stepStarted || m.Step == stepConfig || m.Step == stepMask) {
		return errFull
	}
	if err != nil {
		return fmt.Errorf("tolaria: journal: %w", err)
	}
	j.note(m)
	return nil
}

// event makes an epoch's STARTED event durable before it is published: a
// crash may lose the copy that is on its way, and the epochs on the bus would
// have a gap.
func (j *journal) event(e *eventsv2.EpochEvent) error {
	// Those before it first: with this one in the log and not the one before,
	// a crash while the bus is away would leave a gap for good.
	var err error
	for _, o := range append(j.owed, e) {
		w := waitingEvent{id: eventID(o)}
		if err == nil {
			w.lsn, err = j.append(&statev2.CoordinatorRecord{Event: o})
		}
		j.await(w)
		if err != nil && o == e {
			j.owed = append(j.owed, e)
		} else if err == nil {
			j.owed = slices.DeleteFunc(slices.Clone(j.owed), func(x *eventsv2.EpochEvent) bool { return x == o })
		}
	}
	if err == nil {
		err = j.log.Sync()
	}
	if errors.Is(err, actor.ErrNoSpace) {
		// It waits in memory, and is published all the same: a crash before there
		// is space loses this event and those after it.
		j.t.conservative("the disk is full: epoch events are not durable")
		err = nil
	}
	if err != nil {
		return fmt.Errorf("tolaria: journal: %w", err)
	}
	j.began = true
	return j.trim()
}

// await notes that the bus may not have an event.
func (j *journal) await(w waitingEvent) {
	for i := range j.waiting {
		if j.waiting[i].id == w.id {
			j.waiting[i].lsn = w.lsn
			return
		}
	}
	j.waiting = append(j.waiting, w)
}

// trimEvery is after how many records old segments are removed.
const trimEvery = 64

func (j *journal) trim() error {
	if j.appends < trimEvery || j.open != nil {
		return nil
	}
	lsn, err := j.append(&statev2.CoordinatorRecord{Step: stepPresent, Generation: j.t.gen, Culprits: j.t.locked})
	if err != nil {
		return nil //nolint:nilerr // it is tried again; a log that is broken says so at the next step
	}
	if d := j.t.conf.since; d != nil {
		at, err := j.append(&statev2.CoordinatorRecord{Step: stepConfig, ConfigRevision: d.Revision, Epoch: d.Epoch, Generation: d.RollbackGeneration})
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		lsn = min(lsn, at)
	}
	if m := j.t.masks.newest; m != nil {
		at, err := j.append(&statev2.CoordinatorRecord{Step: stepMask, Mask: m})
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		lsn = min(lsn, at)
	}
	if len(j.waiting) > 0 {
		lsn = min(lsn, j.waiting[0].lsn)
	}
	j.appends = 0
	if err := j.log.TruncateBefore(lsn); err != nil && !errors.Is(err, actor.ErrNoSpace) {
		return fmt.Errorf("tolaria: journal: %w", err)
	}
	return nil
}

// published notes that the bus has an event. It is not synced: the bus drops
// the second copy that a crash may lead to.
func (j *journal) published(id string) {
	for i, w := range j.waiting {
		if w.id == id {
			j.waiting = append(j.waiting[:i], j.waiting[i+1:]...)
			break
		}
	}
	j.owed = slices.DeleteFunc(j.owed, func(e *eventsv2.EpochEvent) bool { return eventID(e) == id })
	_, _ = j.append(&statev2.CoordinatorRecord{PublishedEventId: id})
}
