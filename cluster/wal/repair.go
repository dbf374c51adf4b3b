package wal

import (
	"errors"
	"fmt"
	"path"

	"github.com/esper-sim/espersim/cluster/actor"
)

// finishRepair makes what recovery found durable, once: before it, nothing
// may be appended, since an acknowledgement covers everything before it.
//
// Records after the durable mark may be in the page cache only, and rescanning
// proves nothing: after a failed fsync, reads serve the cache and the next
// fsync says OK. So they are written anew. Not in place: the last
// acknowledged batch is among them (no later record vouches for it yet), and a
// crash in the middle of overwriting it could destroy the one good copy. They
// go to a new file that gets a segment's name when it is complete.
//
// The same move gets rid of a torn tail: the new segment supersedes it, so it
// cannot come back, whatever the crash after this one keeps.
func (l *Log) finishRepair() error {
	s := l.repair
	if l.f == nil {
		var err error
		switch {
		case len(s.live) == 0:
			err = l.create(0)
		case l.mustMove(s):
			err = l.moveTail(s)
		default:
			err = l.resume(s)
		}
		if err != nil {
			return err
		}
	}
	if err := l.removeDead(s); err != nil {
		return err
	}
	// The last life left a transaction open, and the tail was not moved: end
	// it, so that the log never holds two.
	if s.isOpen && l.next == s.next.lsn {
		if _, err := l.append(Abort, s.open.Kind, s.open.Txn, s.open.Epoch, nil); err != nil {
			return err
		}
	}
	l.repair = nil
	return nil
}

// mustMove says whether appending behind the last record is unsafe.
func (l *Log) mustMove(s *scan) bool {
	last := s.live[len(s.live)-1]
	switch {
	case len(s.tail) > 0, s.dirty, s.unit != l.unit:
		return true
	case s.maxID > last.id:
		// A file that never counted, but that records may have been written
		// into: 10, 11 and 12 of segment 3, say. If it is removed and the next
		// segment is number 3 again, freed blocks may show under it, and in
		// them a perfect record 11 that was cut for good. So a higher number
		// becomes durable before it is removed.
		return true
	case s.durable < last.first:
		// Nothing vouches for any record of this segment, so nothing says
		// that its name was ever synced.
		return true
	}
	return false
}

// resume opens the last segment for appending.
func (l *Log) resume(s *scan) error {
	seg := l.current()
	f, err := l.fs.Open(seg.path, actor.DSync)
	if err != nil {
		return l.failed("opening", seg.path, err)
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return l.failed("size", seg.path, err)
	}
	l.f, l.size = f, max(size, l.o.SegmentSize)
	return nil
}

// moveTail writes the records after the durable mark into a new segment.
func (l *Log) moveTail(s *scan) error {
	seg := segment{id: l.nextID, first: s.durable + 1}
	seg.path = path.Join(l.dir, SegmentName(seg.id))
	from := s.next // where the old segment's part ends
	if len(s.tail) > 0 {
		from = s.tail[0]
	}
	seg.first = from.lsn
	copied := s.next.off - from.off + int64(len(s.tail)*l.unit)
	size := max(l.o.SegmentSize, copied+2*int64(l.unit))

	tmp := seg.path + tmpSuffix
	f, op, err := l.prepare(tmp, size)
	if err == nil {
		// So that the number is known to be used, whatever comes, see mustMove.
		op, err = "sync of the directory before copying", l.fs.SyncDir(l.dir)
	}
	var w tailWriter
	if err == nil {
		w = tailWriter{l: l, f: f, seg: seg.id, lsn: from.lsn, previous: from.previous, synced: l.durable}
		op, err = "copy", w.copy(s)
	}
	if err == nil {
		op, err = "rename", l.fs.Rename(tmp, seg.path)
	}
	if err == nil {
		op, err = "sync of the directory", l.fs.SyncDir(l.dir)
	}
	if err != nil {
		if f != nil && op != "sync of the directory" {
			l.setAside(s, f, seg.id, tmp)
		}
		var c *CorruptionError
		if errors.As(err, &c) && c.LSN > s.durable {
			// The tail was in the page cache only, and is gone since recovery
			// read it: a failed write, an opening that found no space to write
			// it anew, then memory pressure. No promise is broken, but what
			// was replayed no longer holds: start over from the disk.
			err = c.Err
		}
		if op == "sync of the directory" {
			// The new segment is in the name space of this process already,
			// and cannot be taken back: start over from the disk.
			l.poison = &PoisonedError{Op: op, Path: seg.path, Err: err}
			return l.refused(l.poison)
		}
		return l.failed(op, tmp, err)
	}
	seg.end = w.off
	l.current().end = from.off
	l.segs = append(l.segs, seg)
	l.f, l.size = f, size
	l.nextID++
	l.next, l.previous = w.lsn, w.previous
	// Durable, but nothing on the disk says so yet: the records claim the old
	// mark. If the name of this file were lost in a crash, so would be the
	// claim.
	l.durable = w.lsn - 1
	if s.isOpen {
		l.record = l.durable // the ABORT
	}
	l.acked = l.record
	l.tell(Event{What: Rewritten, First: seg.first, LSN: l.durable, Segment: seg.id})
	return l.trimOld(s, from)
}

// setAside gives up a file that could not be completed. Its space is freed,
// its name stays until a higher number is durable.
func (l *Log) setAside(s *scan, f actor.File, id uint64, name string) {
	_ = f.Truncate(0)
	_ = f.Close()
	s.dead = append(s.dead, segment{id: id, path: name})
	s.maxID = max(s.maxID, id)
	l.nextID++
}

// tailWriter encodes records for a new segment and writes them.
type tailWriter struct {
	l        *Log
	f        actor.File
	seg      uint64
	off      int64
	buf      []byte
	lsn      LSN
	previous uint32
	synced   LSN
}

// copy writes the tail that s found, the end of a transaction that it left
// open, and at least a mark: without a first record the segment would
// supersede nothing.
func (w *tailWriter) copy(s *scan) error {
	old := w.l.current()
	if len(s.tail) > 0 {
		err := w.l.walk(s.tail[0], s.last(), func(h Header, payload []byte) error {
			return w.add(h, payload)
		})
		if err != nil {
			return err
		}
	}
	head := Header{Op: Mark}
	if s.isOpen {
		head = Header{Op: Abort, Txn: s.open.Txn, Kind: s.open.Kind, Epoch: s.open.Epoch}
	}
	if s.isOpen || len(s.tail) == 0 {
		head.LSN = w.lsn
		if err := w.add(head, nil); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return fmt.Errorf("of %s: %w", old.path, err)
	}
	return w.f.Sync()
}

// add takes a record over: its content, with a new place and chain.
func (w *tailWriter) add(h Header, payload []byte) error {
	h.Length = uint64(len(payload))
	h.Segment, h.Offset = w.seg, uint64(w.off)+uint64(len(w.buf))
	h.Previous, h.SyncedUpTo = w.previous, w.synced
	h.Start, h.Unit = w.l.start, uint32(w.l.unit)
	w.buf = encode(w.buf, &h, payload)
	w.previous, w.lsn = h.HeaderSum, h.LSN+1
	if len(w.buf) > w.l.o.BufferSize {
		return w.flush()
	}
	return nil
}

func (w *tailWriter) flush() error {
	_, err := actor.WriteFull(w.f, w.buf, w.off)
	w.off += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// trimOld gives back the space of what the new segment supersedes. It is not
// needed for anything else, so it may be lost.
func (l *Log) trimOld(s *scan, from place) error {
	i := len(l.segs) - 2
	old := l.segs[i]
	if from.off == 0 {
		s.dead = append(s.dead, old)
		l.segs = append(l.segs[:i], l.segs[i+1])
		return nil
	}
	f, err := l.fs.Open(old.path, 0)
	if err != nil {
		return l.failed("opening", old.path, err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(from.off); err != nil {
		return l.failed("truncation", old.path, err)
	}
	return nil
}

// removeDead removes files that hold nothing. Recovery ignores them too.
func (l *Log) removeDead(s *scan) error {
	for _, d := range s.dead {
		if err := l.fs.Remove(d.path); err != nil && !errors.Is(err, actor.ErrNotExist) {
			return l.failed("removal", d.path, err)
		}
	}
	if len(s.dead) == 0 {
		return nil
	}
	s.dead = nil
	if err := l.fs.SyncDir(l.dir); err != nil {
		return l.failed("sync of the directory", l.dir, err)
	}
	return nil
}
