package ledger

import (
	"errors"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
)

const entryKind = 1

// hardened is a store over package wal.
type hardened struct {
	log   *wal.Log
	found wal.LSN // the last entry that recovery found
}

func openHardened(env actor.Env, o Options, note func([]byte) error) (store, error) {
	h := &hardened{}
	log, err := wal.Open(env.FS, "wal", wal.Options{
		SegmentSize: int64(o.Segment), Deadline: o.Timeout, Clock: env.Clock, Probe: env.Probe,
		Replay: func(r wal.Record) error {
			h.found = r.LSN
			return note(r.Payload)
		},
	})
	if err != nil {
		return nil, asDamage(err)
	}
	h.log = log
	return h, nil
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
	if h.log.Durable() < h.found {
		// The disk had no space for what recovery must write before it can
		// vouch for the last entries. They were acknowledged in an earlier life
		// for all one knows: a reading without them would be a lie.
		if err := h.log.Sync(); err != nil {
			return next, false, err
		}
	}
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
