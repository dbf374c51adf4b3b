package ledger

import (
	"errors"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
)

const entryKind = 1

// hardened is a store over package wal.
type hardened struct{ log *wal.Log }

func openHardened(env actor.Env, o Options, note func([]byte) error) (store, error) {
	log, err := wal.Open(env.FS, "wal", wal.Options{
		SegmentSize: int64(o.Segment), Deadline: o.Timeout, Clock: env.Clock, Probe: env.Probe,
		Replay: func(r wal.Record) error { return note(r.Payload) },
	})
	if err != nil {
		return nil, asDamage(err)
	}
	return &hardened{log}, nil
}

func asDamage(err error) error {
	var c *wal.CorruptionError
	if errors.As(err, &c) {
		return &damageError{err}
	}
	return err
}

func (h *hardened) append(p []byte) (int64, error) {
	lsn, err := h.log.Append(entryKind, 0, p)
	return int64(lsn), err
}

func (h *hardened) sync() error { return h.log.Sync() }

var errEnough = errors.New("enough")

func (h *hardened) read(from int64, limit int, fn func(int64, []byte)) (next int64, end bool, err error) {
	next = max(from, 1)
	n := 0
	err = h.log.Read(wal.LSN(next), h.log.Durable(), func(r wal.Record) error {
		if n == limit {
			return errEnough
		}
		n++
		fn(int64(r.LSN), r.Payload)
		next = int64(r.LSN) + 1
		return nil
	})
	if errors.Is(err, errEnough) {
		return next, false, nil
	}
	return next, err == nil, asDamage(err)
}
