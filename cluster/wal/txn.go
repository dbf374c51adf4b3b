package wal

import (
	"errors"
	"fmt"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Begin opens the log's one transaction. context is its execution context:
// model hash, toolchain version, run id, hardware fingerprint, as the owner
// encodes it. The LSN returned is the transaction's id.
//
// Records appended with Append meanwhile stand on their own.
func (l *Log) Begin(kind uint16, epoch int64, context []byte) (LSN, error) {
	if err := l.ready(); err != nil {
		return 0, l.refused(err)
	}
	if l.txn.id != 0 {
		return 0, l.refused(ErrTxnOpen)
	}
	lsn, err := l.append(Begin, kind, 0, epoch, context)
	if err != nil {
		return 0, err
	}
	seg := l.current()
	l.txn = txn{id: uint64(lsn), kind: kind, epoch: epoch, begin: place{
		segment: seg.id,
		off:     seg.end + int64(len(l.buf)) - padded(len(context), l.unit),
		lsn:     lsn,
		anyPrev: true,
	}}
	return lsn, nil
}

// InTxn says whether a transaction is open.
func (l *Log) InTxn() bool { return l.txn.id != 0 }

// Data adds a record to the transaction.
func (l *Log) Data(kind uint16, payload []byte) (LSN, error) {
	if err := l.inTxn(); err != nil {
		return 0, err
	}
	return l.append(Data, kind, l.txn.id, l.txn.epoch, payload)
}

// Commit makes the transaction durable and closes it. payload goes into the
// COMMIT record, such as the root over what was written.
//
// The COMMIT is written only after everything before it was synced and read
// back, and is then synced by itself: a COMMIT on the disk is the proof that
// its DATA is.
//
// After an error the transaction is still open, see InTxn, if the disk is full
// or what was written does not read back: Commit again, or Abort. If it is not
// open, the log is poisoned and the outcome unknown; recovery decides.
func (l *Log) Commit(payload []byte) (LSN, error) {
	if err := l.inTxn(); err != nil {
		return 0, err
	}
	if err := l.flush(); err != nil {
		return 0, err
	}
	if err := l.verifyTxn(); err != nil {
		return 0, l.refused(err)
	}
	l.reached("wal/before-commit")
	u := l.save()
	lsn, err := l.append(Commit, l.txn.kind, l.txn.id, l.txn.epoch, payload)
	if err != nil {
		return 0, err
	}
	l.txn = txn{}
	l.reached("wal/commit-unsynced")
	if err := l.flush(); err != nil {
		if errors.Is(err, actor.ErrNoSpace) {
			l.restore(u)
			l.txn.tried = true
		}
		return 0, err
	}
	return lsn, nil
}

// Abort closes the transaction without effect. It does not sync: if the
// record is lost, the transaction has no COMMIT and is as absent.
//
// It does after a Commit that found no space. A short write may have put the
// 288 bytes of the COMMIT onto the disk and only its padding found none: were
// the power to fail now, recovery would see a COMMIT that is whole. If there is
// no space for the ABORT either, the transaction stays open.
func (l *Log) Abort() error {
	if err := l.inTxn(); err != nil {
		return err
	}
	u := l.save()
	if _, err := l.append(Abort, l.txn.kind, l.txn.id, l.txn.epoch, nil); err != nil {
		return err
	}
	tried := l.txn.tried
	l.txn = txn{}
	if !tried {
		return nil
	}
	if err := l.flush(); err != nil {
		if errors.Is(err, actor.ErrNoSpace) {
			l.restore(u)
		}
		return err
	}
	return nil
}

func (l *Log) inTxn() error {
	if err := l.ready(); err != nil {
		return l.refused(err)
	}
	if l.txn.id == 0 {
		return l.refused(ErrNoTxn)
	}
	return nil
}

// verifyTxn reads back what the open transaction wrote.
func (l *Log) verifyTxn() error {
	if err := l.walk(l.txn.begin, l.next-1, func(Header, []byte) error { return nil }); err != nil {
		return fmt.Errorf("wal: transaction %d does not read back: %w", l.txn.id, err)
	}
	return nil
}
