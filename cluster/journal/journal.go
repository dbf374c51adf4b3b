// Package journal is the write-ahead log of a subsystem whose state is what its
// records say: each is applied when it is durable, and all are applied again
// when the log is opened.
//
// After an error of the disk the log is opened anew, with all records: memory
// and disk agree again. Until that succeeds, [Log.Write] says no, and nothing
// may follow from what it was given.
package journal

import (
	"errors"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
)

// Timer is the name of the timer that the owner passes to Open.
const Timer = "journal"

// again is how long a log that could not be opened is left alone.
const again = 200 * time.Millisecond

// kind marks the records of journals in a log.
const kind = 1

// Options of a journal.
type Options struct {
	Dir     string
	Name    string // of the log, in facts; empty: the process's
	Segment int
	Timeout time.Duration // longest that an operation on the disk may take
	Reset   func()        // forgets everything: all records follow
	// Apply enters the bytes of a record, which nobody else has. txn is the
	// transaction that it is part of; 0: none. An error means that they are none of
	// the owner's.
	Apply  func(txn uint64, record []byte) error
	Opened func() // the log is open, and everything applied
}

// Log is the journal.
type Log struct {
	env     actor.Env
	o       Options
	log     *wal.Log
	refused error
	buf     []byte
}

// New makes a journal that is not open.
func New(env actor.Env, o Options) *Log { return &Log{env: env, o: o} }

// Usable says whether the log is open.
func (l *Log) Usable() bool { return l.log != nil }

// Open opens the log, if it is not open and not known to be damaged. It does not
// end the process: what cannot be opened now is tried again.
func (l *Log) Open() {
	if l.log != nil || l.refused != nil {
		return
	}
	l.o.Reset()
	name := l.o.Name
	if name == "" {
		name = string(l.env.Self)
	}
	log, err := wal.Open(l.env.FS, l.o.Dir, wal.Options{
		Firm: true, SegmentSize: int64(l.o.Segment), Deadline: l.o.Timeout, Clock: l.env.Clock, Probe: l.env.Probe,
		Facts: command.LogFacts(l.env.Facts, name),
		Replay: func(r wal.Record) error {
			if r.Op == wal.Begin || r.Op == wal.Commit {
				return nil
			}
			if err := l.o.Apply(r.Txn, append([]byte(nil), r.Payload...)); err != nil {
				return &wal.CorruptionError{LSN: r.LSN, Reason: "it is no record of " + name + "'s", Err: err}
			}
			return nil
		},
	})
	var damage *wal.CorruptionError
	switch {
	case errors.As(err, &damage):
		l.refused = err
		l.env.Log.Error("the log is damaged and stays closed: " + err.Error())
	case err != nil:
		l.env.Clock.SetTimer(Timer, 0, again)
	default:
		l.log = log
		l.o.Opened()
	}
}

// Write makes records durable and applies them. false: they are not known to
// be durable, and nothing may follow.
func (l *Log) Write(ms ...canon.Message) bool {
	if l.log == nil {
		return false
	}
	var all [][]byte
	for _, m := range ms {
		b := m.AppendCanonical(nil)
		if _, err := l.log.Append(kind, 0, b); err != nil {
			return l.failed()
		}
		all = append(all, b)
	}
	if err := l.log.Sync(); err != nil {
		return l.failed()
	}
	return l.apply(0, all)
}

// Commit is Write in one transaction, whose id it returns. context is the
// circumstances of what is recorded.
func (l *Log) Commit(context []byte, ms ...canon.Message) (uint64, bool) {
	if l.log == nil {
		return 0, false
	}
	id, err := l.log.Begin(kind, 0, context)
	if err != nil {
		return 0, l.failed()
	}
	var all [][]byte
	for _, m := range ms {
		b := m.AppendCanonical(nil)
		if _, err := l.log.Data(kind, b); err != nil {
			return 0, l.failed()
		}
		all = append(all, b)
	}
	if _, err := l.log.Commit(nil); err != nil {
		return 0, l.failed()
	}
	return uint64(id), l.apply(uint64(id), all)
}

func (l *Log) apply(txn uint64, all [][]byte) bool {
	for _, b := range all {
		if err := l.o.Apply(txn, b); err != nil {
			l.env.Log.Error("a record that was just encoded: " + err.Error())
		}
	}
	return true
}

// failed opens the log anew, soon: a record whose write failed may be in it or
// not, and what it says then counts. Not now: the caller is in the middle of
// something, and must not find another state when it goes on.
func (l *Log) failed() bool {
	l.env.Probe.Reached("journal/reopen")
	l.log = nil
	l.env.Clock.SetTimer(Timer, 0, again)
	return false
}
