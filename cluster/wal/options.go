package wal

import (
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Default sizes, in bytes.
const (
	DefaultSegmentSize = 100 << 20 // the HLD's rotation
	DefaultBufferSize  = 1 << 20
)

// Options of a log. The zero value is usable.
type Options struct {
	// SegmentSize is where a segment ends and the next begins, in bytes;
	// 0 means DefaultSegmentSize. A record that is longer gets a segment of
	// its own. Opening reads the whole last segment, so a simulation that
	// restarts often chooses a small one.
	SegmentSize int64
	// BufferSize is how many bytes of records may wait for Sync before Append
	// writes them itself; 0 means DefaultBufferSize.
	BufferSize int
	// MinLSN is a floor that something outside the log vouches for, such as
	// the LSN a checkpoint stored: if recovery ends before it, acknowledged
	// records are lost and Open says so.
	MinLSN LSN
	// Deadline bounds each operation on the disk; 0 means none. An operation
	// that exceeds it poisons the log.
	Deadline time.Duration
	// Firm makes Open fail with ErrNoSpace where the disk is too full to make
	// durable what was recovered. Without it the log is readable all the same,
	// and the rest is due with the next Sync: for owners that show nothing to
	// anybody before that. A bus that delivered a replayed entry from a full disk
	// lost it in the next power failure.
	Firm bool
	// Replay is called for each recovered record in order: those outside
	// transactions, and BEGIN, DATA and COMMIT of committed ones. Its error
	// ends Open.
	Replay func(Record) error
	// Clock stamps records, for information; nil stamps zero.
	Clock actor.Clock
	// Facts is told what happens to the log; nil is not.
	Facts func(Event)
	Probe actor.Probe
}

// Record is one record as readers see it. Payload is valid until the callback
// that got it returns.
type Record struct {
	LSN     LSN
	Op      Op
	Kind    uint16
	Txn     uint64
	Epoch   int64
	Time    int64 // ms since 1970; information only
	Payload []byte
}

// EventKind says what an Event is about.
type EventKind uint8

// The events. Each lists the fields that it fills.
const (
	Opened    EventKind = iota // Segment, Offset: a new segment file is ready
	Appended                   // LSN, Op, Kind, Epoch, Sum, Bytes
	Durable                    // LSN: this and everything before
	Recovered                  // First, LSN (the last), Synced
	Cut                        // LSN (first one cut), Segment, Offset, Err
	Refused                    // LSN (last durable one), Err
	Truncated                  // First: the oldest record that is kept
	Rewritten                  // First, LSN: the tail was written anew and synced
	numEventKinds
)

var eventNames = [numEventKinds]string{"opened", "appended", "durable", "recovered", "cut", "refused", "truncated", "rewritten"}

// String is the event's name in lower case.
func (k EventKind) String() string {
	if k < numEventKinds {
		return eventNames[k]
	}
	return "unknown"
}

// Event tells an owner what happened to its log, to be turned into a fact for
// checkers. It is a value, so that telling costs no allocation.
type Event struct {
	What    EventKind
	LSN     LSN
	First   LSN
	Synced  LSN
	Op      Op
	Kind    uint16
	Epoch   int64
	Sum     uint32 // CRC32C of the payload
	Bytes   int    // of the payload
	Segment uint64
	Offset  int64
	Err     error
}

func (l *Log) tell(e Event) {
	if l.o.Facts != nil {
		l.o.Facts(e)
	}
}

func (l *Log) reached(name string) {
	if l.o.Probe != nil {
		l.o.Probe.Reached(name)
	}
}

// sometimes says whether a simulation has the log do early what it does anyway.
func (l *Log) sometimes(site string) bool {
	return l.o.Probe != nil && l.o.Probe.Sometimes(site)
}
