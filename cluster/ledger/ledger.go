// Package ledger is the smallest system that can lose data: a process that
// appends its clients' entries to a write-ahead log and reads them back. It is
// there to judge a log alone: the hardened one of package wal, or the HLD's
// WALWriter as it is written.
//
// A reply DONE to an append promises that the entry survives every crash, and
// everything read comes from the files, not from memory.
package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
)

// Options of a ledger.
type Options struct {
	WAL     string        `set:"wal" oneof:"hardened,hld" doc:"which log it writes: the hardened one, or the HLD's as written"`
	Group   time.Duration `set:"group" doc:"how long appends gather before one sync makes them durable"`
	Segment int           `set:"segment" doc:"bytes a segment of the hardened log"`
	Timeout time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
}

// Defaults are the options of a ledger that sets none.
func Defaults() *Options {
	return &Options{WAL: "hardened", Group: 2 * time.Millisecond, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

// store is a log as the ledger uses it.
type store interface {
	// append takes an entry; it is durable after sync.
	append(payload []byte) (position int64, err error)
	sync() error
	// read calls fn for entries from a position on, in order.
	read(from int64, limit int, fn func(position int64, payload []byte)) (next int64, end bool, err error)
}

type ledger struct {
	env  actor.Env
	o    Options
	log  store
	seen map[string]int64 // highest sequence in the log, by client
	wait []waiting
	// refused is why the log refuses to go on: damage that it found.
	refused error
	entry   ledgerv2.Entry
	reply   ledgerv2.AppendReply
	buf     []byte
}

// waiting is an append whose reply waits for the next sync.
type waiting struct {
	from     actor.ID
	client   string
	sequence int64
	position int64
}

// New makes the constructor of a ledger.
func New(o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &ledger{env: env, o: o, seen: make(map[string]int64)}, nil
	}
}

// Start recovers the log. Damage does not end the process: it answers with it.
func (l *ledger) Start() error { return l.open() }

func (l *ledger) open() error {
	l.log, l.refused = nil, nil
	clear(l.seen)
	note := func(payload []byte) error {
		if err := l.entry.ParseCanonical(payload); err != nil {
			return err
		}
		l.seen[l.entry.Client] = max(l.seen[l.entry.Client], l.entry.Sequence)
		return nil
	}
	var err error
	if l.o.WAL == "hld" {
		l.log, err = openWritten(l.env, note)
	} else {
		l.log, err = openHardened(l.env, l.o, note)
	}
	var damage *damageError
	if errors.As(err, &damage) {
		l.refused = damage
		return nil
	}
	return err
}

// damageError is a log's word that what it had promised is gone or changed.
type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

// Receive implements actor.Actor.
func (l *ledger) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *ledgerv2.AppendRequest:
		return l.append(from, m)
	case *ledgerv2.ReadRequest:
		return l.read(from, m)
	case *localv2.TimerFired:
		return l.sync()
	}
	return nil
}

func (l *ledger) append(from actor.ID, m *ledgerv2.AppendRequest) error {
	switch {
	case l.refused != nil:
		l.answer(waiting{from, m.Client, m.Sequence, 0}, ledgerv2.Outcome_CORRUPT, l.refused.Error())
		return nil
	case m.Sequence <= l.seen[m.Client]:
		// It is in the log already: durable with the next sync at the latest.
		l.wait = append(l.wait, waiting{from, m.Client, m.Sequence, 0})
	default:
		l.entry.Position, l.entry.Client, l.entry.Sequence, l.entry.Payload = 0, m.Client, m.Sequence, m.Payload
		l.buf = l.entry.AppendCanonical(l.buf[:0])
		at, err := l.log.append(l.buf)
		if err != nil {
			l.answer(waiting{from, m.Client, m.Sequence, 0}, ledgerv2.Outcome_FAILED, err.Error())
			return l.reopen()
		}
		l.seen[m.Client] = m.Sequence
		l.wait = append(l.wait, waiting{from, m.Client, m.Sequence, at})
	}
	if len(l.wait) == 1 {
		if l.o.WAL == "hld" {
			return l.sync() // the HLD's writer syncs each entry itself
		}
		l.env.Clock.SetTimer("sync", 0, l.o.Group)
	}
	return nil
}

// sync makes everything durable that waits, and answers.
func (l *ledger) sync() error {
	if len(l.wait) == 0 || l.log == nil {
		return nil
	}
	err := l.log.sync()
	for _, w := range l.wait {
		if err != nil {
			l.answer(w, ledgerv2.Outcome_FAILED, err.Error())
		} else {
			l.answer(w, ledgerv2.Outcome_DONE, "")
		}
	}
	l.wait = l.wait[:0]
	if err != nil {
		return l.reopen()
	}
	return nil
}

// reopen recovers a log whose last write or sync has an unknown outcome.
func (l *ledger) reopen() error {
	for _, w := range l.wait {
		l.answer(w, ledgerv2.Outcome_FAILED, "the log was opened anew")
	}
	l.wait = l.wait[:0]
	l.env.Probe.Reached("ledger-reopened")
	return l.open()
}

func (l *ledger) answer(w waiting, o ledgerv2.Outcome, why string) {
	l.reply.Client, l.reply.Sequence, l.reply.Outcome = w.client, w.sequence, o
	l.reply.Position, l.reply.Reason = w.position, why
	l.env.Net.Send(w.from, &l.reply, actor.SendOptions{Key: fmt.Sprint("append/", w.client, w.sequence)})
}

func (l *ledger) read(from actor.ID, m *ledgerv2.ReadRequest) error {
	var poisoned *wal.PoisonedError
	r := &ledgerv2.ReadReply{Client: m.Client, ReadId: m.ReadId, Outcome: ledgerv2.Outcome_DONE}
	if l.refused != nil {
		r.Outcome, r.Reason = ledgerv2.Outcome_CORRUPT, l.refused.Error()
	} else {
		limit := int(min(max(m.MaxEntries, 1), 1000))
		var bad error
		next, end, err := l.log.read(m.FromPosition, limit, func(at int64, payload []byte) {
			e := new(ledgerv2.Entry)
			if err := e.ParseCanonical(payload); err != nil {
				bad = err
			}
			e.Payload = append([]byte(nil), e.Payload...)
			e.Position = at
			r.Entries = append(r.Entries, e)
		})
		var damage *damageError
		switch {
		case errors.As(err, &damage):
			r.Outcome, r.Reason, r.Entries = ledgerv2.Outcome_CORRUPT, err.Error(), nil
			l.refused = damage
		case err != nil:
			r.Outcome, r.Reason, r.Entries = ledgerv2.Outcome_FAILED, err.Error(), nil
			errors.As(err, &poisoned)
		case bad != nil:
			r.Reason = "an entry that is none: " + bad.Error()
		}
		r.NextPosition, r.End = next, end
	}
	l.env.Net.Send(from, r, actor.SendOptions{Key: fmt.Sprint("read/", m.Client, m.ReadId, m.FromPosition)})
	if poisoned != nil {
		// A reading may have to finish a repair first. If that fails, what is
		// appended next, to a disk that is well again, would be refused for it.
		return l.reopen()
	}
	return nil
}
