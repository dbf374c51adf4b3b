package wal

import (
	"errors"
	"fmt"
)

// Errors of wrong use, compared with errors.Is.
var (
	ErrTooLarge = errors.New("payload is over 64 MiB: split it with wal.Chunks")
	ErrTxnOpen  = errors.New("a transaction is open: one at a time for each log")
	ErrNoTxn    = errors.New("no transaction is open")
	ErrClosed   = errors.New("log is closed")
)

// CorruptionError is damage that recovery must not repair by cutting, because
// something durable vouches for the record: a later record that knew it to be
// synced, or the caller's floor. The log is left as it was found.
type CorruptionError struct {
	Path   string // of the segment, "" when a whole segment is missing
	LSN    LSN    // the record that is damaged or missing
	Offset int64  // where it stands or should stand, in bytes
	Reason string
	Err    error // what was found there; may be nil
}

func (e *CorruptionError) Error() string {
	s := fmt.Sprintf("wal: corruption at LSN %d, %s offset %d: %s", e.LSN, e.Path, e.Offset, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *CorruptionError) Unwrap() error { return e.Err }

// PoisonedError is the answer of a log to every call after a write or sync
// whose outcome is unknown. The failed operation is never tried again: after
// a failed fsync the kernel forgets that the pages are dirty, and the next
// fsync says OK about data that is not on the disk. Open the log anew.
type PoisonedError struct {
	Op   string // what failed: "write", "sync", "create", …
	Path string
	Err  error
}

func (e *PoisonedError) Error() string {
	return fmt.Sprintf("wal: poisoned by a failed %s of %s: %v", e.Op, e.Path, e.Err)
}

func (e *PoisonedError) Unwrap() error { return e.Err }
