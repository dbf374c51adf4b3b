package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"slices"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Log is an open log. One actor owns it; it is not for concurrent use.
type Log struct {
	fs   actor.FS
	dir  string
	o    Options
	unit int

	segs []segment // oldest first; the last one is written
	f    actor.File
	size int64 // of the last segment's file
	// Records wait in buf and belong at the end of the last segment.
	buf []byte

	next     LSN // of the next record
	durable  LSN
	vouched  LSN // highest synced-up-to that is in a durable record
	promised LSN // highest synced-up-to in buf
	sealed   LSN // of the last mark of this life
	record   LSN // of the last record that is no mark
	acked    LSN // what Durable says
	start    LSN
	previous uint32
	nextID   uint64

	txn    txn
	repair *scan // what recovery still has to write before anything else
	r      reader

	poison *PoisonedError
	closed bool
}

// txn is the open transaction; id 0 is none.
type txn struct {
	id    uint64
	kind  uint16
	epoch int64
	begin place
	tried bool // a COMMIT may be on the disk in spite of ErrNoSpace
}

// Append adds a record outside transactions and returns its number. The
// record is durable when Durable reaches that number, see Sync. On an error
// the record is not in the log.
func (l *Log) Append(kind uint16, epoch int64, payload []byte) (LSN, error) {
	if err := l.ready(); err != nil {
		return 0, l.refused(err)
	}
	return l.append(Single, kind, 0, epoch, payload)
}

// Durable is the highest LSN that is durable together with everything before.
//
// It never is that of a mark at the end of the log, since recovery may take
// that back: a log sealed at 2, opened and killed while appending would else
// have called 2 durable, and have lost it.
func (l *Log) Durable() LSN { return l.acked }

// Last is the LSN of the last record or mark, durable or not; 0 for an empty
// log.
func (l *Log) Last() LSN { return l.next - 1 }

// First is the LSN of the oldest record that is kept, the next one's if there
// is none.
func (l *Log) First() LSN {
	if len(l.segs) == 0 {
		return l.next
	}
	return l.segs[0].first
}

// Sync makes every appended record durable.
//
// After ErrNoSpace the log is as before: nothing was acknowledged, the
// records still wait, and Sync may be called again when there is space. Any
// other failed write poisons the log.
func (l *Log) Sync() error {
	if err := l.ready(); err != nil {
		return l.refused(err)
	}
	if err := l.flush(); err != nil || !l.sometimes("wal/seal-early") {
		return err
	}
	// What was asked for is durable: a disk that has no space for the mark is
	// no reason to say that it is not.
	if err := l.vouch(); err != nil && !errors.Is(err, actor.ErrNoSpace) {
		return err
	}
	return nil
}

// Seal writes a mark that vouches for everything durable so far, if no record
// does yet. Without one, damage in the records of the last sync looks like a
// torn tail. Close seals.
func (l *Log) Seal() error {
	if err := l.Sync(); err != nil {
		return err
	}
	return l.vouch()
}

// vouch is Seal once everything is synced.
func (l *Log) vouch() error {
	// A mark needs none that vouches for it: an owner that seals on a timer
	// would fill its disk with them.
	if l.vouched == l.durable || l.sealed == l.durable && l.vouched == l.durable-1 || !l.fits(l.unit) {
		return nil
	}
	return l.mark()
}

// mark appends a MARK and syncs it; without space the log is as before.
func (l *Log) mark() error {
	undo := l.save()
	if _, err := l.append(Mark, 0, 0, 0, nil); err != nil {
		return err
	}
	err := l.flush()
	if errors.Is(err, actor.ErrNoSpace) {
		l.restore(undo)
	}
	return err
}

// Close seals and closes the log. A poisoned log is closed as it is.
func (l *Log) Close() error {
	if l.closed {
		return ErrClosed
	}
	err := l.Seal()
	if l.f != nil && l.poison == nil {
		if serr := l.f.Sync(); err == nil && serr != nil {
			err = l.failed("sync", l.current().path, serr)
		}
	}
	if l.f != nil {
		if cerr := l.f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("wal: close %s: %w", l.current().path, cerr)
		}
	}
	l.closed = true
	return err
}

// ready says whether the log takes work, and finishes a recovery that had no
// space for it.
func (l *Log) ready() error {
	switch {
	case l.closed:
		return ErrClosed
	case l.poison != nil:
		return l.poison
	case l.repair != nil:
		return l.finishRepair()
	}
	return nil
}

// current is the segment that is written.
func (l *Log) current() *segment { return &l.segs[len(l.segs)-1] }

// fits says whether n more bytes go into the current segment.
func (l *Log) fits(n int) bool {
	return l.current().end+int64(len(l.buf))+int64(n) <= l.size
}

// append encodes a record into the buffer. It does nothing on an error.
func (l *Log) append(op Op, kind uint16, txn uint64, epoch int64, payload []byte) (LSN, error) {
	if len(payload) > MaxPayload {
		return 0, l.refused(fmt.Errorf("wal: %d bytes: %w", len(payload), ErrTooLarge))
	}
	need := int(padded(len(payload), l.unit))
	// The ends of transactions and marks can be taken back by whoever appends
	// them, and what was written or rotated meanwhile could not.
	early := op == Single || op == Begin || op == Data
	if len(l.buf) > 0 && (len(l.buf)+need > l.o.BufferSize || early && l.sometimes("wal/small-batch")) {
		if err := l.flush(); err != nil {
			return 0, err
		}
	}
	// The last unit of a segment is kept for a mark: a full disk could
	// otherwise not even be told what may be removed.
	if op != Mark && !l.fits(need+l.unit) || !l.fits(need) ||
		early && l.current().end > 0 && l.sometimes("wal/rotate-early") {
		if err := l.rotate(need); err != nil {
			return 0, err
		}
	}
	h := Header{
		Kind:       kind,
		Length:     uint64(len(payload)),
		PayloadSum: crc32.Checksum(payload, castagnoli),
		Previous:   l.previous,
		LSN:        l.next,
		Txn:        txn,
		Op:         op,
		Segment:    l.current().id,
		Offset:     uint64(l.current().end) + uint64(len(l.buf)),
		SyncedUpTo: l.durable,
		Epoch:      epoch,
		Start:      l.start,
		Unit:       uint32(l.unit),
	}
	if op == Begin {
		h.Txn = uint64(l.next)
	}
	if l.o.Clock != nil {
		h.Time = l.o.Clock.Now().UnixMilli()
	}
	l.buf = encode(l.buf, &h, payload)
	l.previous, l.promised = h.HeaderSum, h.SyncedUpTo
	if op == Mark {
		l.sealed = h.LSN
	} else {
		l.record = h.LSN
	}
	l.next++
	if l.o.Facts != nil {
		l.tell(Event{What: Appended, LSN: h.LSN, Op: op, Kind: kind, Epoch: epoch, Sum: h.PayloadSum, Bytes: len(payload), Segment: h.Segment, Offset: int64(h.Offset)})
	}
	return h.LSN, nil
}

// encode appends a whole padded record to buf.
func encode(buf []byte, h *Header, payload []byte) []byte {
	at, need := len(buf), int(padded(len(payload), int(h.Unit)))
	buf = slices.Grow(buf, need)[:at+need]
	rec := buf[at:]
	clear(rec[:HeaderSize])
	h.put(rec)
	clear(rec[HeaderSize+copy(rec[HeaderSize:], payload):])
	return buf
}

// undo is what restore needs to take back records that were never written.
type undo struct {
	buffered int
	next     LSN
	previous uint32
	promised LSN
	sealed   LSN
	record   LSN
	txn      txn
}

func (l *Log) save() undo {
	return undo{len(l.buf), l.next, l.previous, l.promised, l.sealed, l.record, l.txn}
}

func (l *Log) restore(u undo) {
	l.buf, l.next, l.previous = l.buf[:u.buffered], u.next, u.previous
	l.promised, l.sealed, l.record, l.txn = u.promised, u.sealed, u.record, u.txn
}

// keepBuffer is the largest buffer that is kept from one batch to the next,
// in bytes: one long record shall not hold its memory forever.
const keepBuffer = 4 << 20

// flush writes the buffer with one call on the O_DSYNC descriptor.
func (l *Log) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	seg := l.current()
	if _, err := actor.WriteFull(l.f, l.buf, seg.end); err != nil {
		// Part of the batch may have landed. That is harmless: nobody was
		// told, and the next try writes the same bytes to the same place.
		return l.failed("write", seg.path, err)
	}
	seg.end += int64(len(l.buf))
	l.buf = l.buf[:0]
	if cap(l.buf) > keepBuffer && cap(l.buf) > 2*l.o.BufferSize {
		l.buf = nil
	}
	l.durable, l.vouched = l.next-1, max(l.vouched, l.promised)
	l.acked = l.record
	l.tell(Event{What: Durable, LSN: l.acked, Segment: seg.id, Offset: seg.end})
	return nil
}

// rotate starts a new segment with space for a record of need bytes.
func (l *Log) rotate(need int) error {
	if err := l.flush(); err != nil {
		return err
	}
	old := l.current()
	if err := l.f.Sync(); err != nil {
		return l.failed("sync", old.path, err)
	}
	l.reached("wal/rotate")
	before := l.f
	if err := l.create(int64(need)); err != nil {
		return err
	}
	if err := before.Close(); err != nil {
		return l.failed("close", old.path, err)
	}
	return nil
}

// create makes the next segment file and turns to it. Its name is durable
// before a record can be written, for a record in a file without a name would
// be lost with it.
func (l *Log) create(need int64) error {
	seg := segment{id: l.nextID, first: l.next}
	seg.path = path.Join(l.dir, SegmentName(seg.id))
	size := max(l.o.SegmentSize, need+int64(l.unit))
	f, op, err := l.prepare(seg.path, size)
	if err == nil {
		op, err = "sync of the directory", l.fs.SyncDir(l.dir)
	}
	if err != nil {
		if errors.Is(err, actor.ErrNoSpace) {
			l.discard(f, seg.path)
		}
		return l.failed(op, seg.path, err)
	}
	l.segs, l.f, l.size = append(l.segs, seg), f, size
	l.nextID++
	l.tell(Event{What: Opened, First: seg.first, Segment: seg.id})
	return nil
}

// prepare makes a file of zeros, durable except for its name. It returns the
// name of the step that failed.
func (l *Log) prepare(name string, size int64) (actor.File, string, error) {
	f, err := l.fs.Open(name, actor.Create|actor.Excl|actor.DSync)
	if err != nil {
		return nil, "create", err
	}
	if err := f.Allocate(size); err != nil {
		return f, "allocation", err
	}
	return f, "sync", f.Sync()
}

// discard takes back a file that there was no space for. Nothing depends on
// it being gone: recovery knows an unfinished file when it sees one.
func (l *Log) discard(f actor.File, name string) {
	if f != nil {
		_ = f.Close()
	}
	_ = l.fs.Remove(name)
	l.nextID++ // in case it is not gone
}

// failed turns an error of the disk into the log's. Only a full disk leaves
// the log usable: it is an answer. Anything else leaves open what is on the
// disk.
func (l *Log) failed(op, name string, err error) error {
	if errors.Is(err, actor.ErrNoSpace) {
		err = fmt.Errorf("wal: %s of %s: %w", op, name, err)
		return l.refused(err)
	}
	l.poison = &PoisonedError{Op: op, Path: name, Err: err}
	l.reached("wal/poison")
	return l.refused(l.poison)
}

func (l *Log) refused(err error) error {
	l.tell(Event{What: Refused, LSN: l.acked, Err: err})
	return err
}
