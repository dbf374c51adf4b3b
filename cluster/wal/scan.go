package wal

import (
	"errors"
	"fmt"

	"github.com/esper-sim/espersim/cluster/actor"
)

// scan is what a directory of segments says, found without changing it.
type scan struct {
	live  []segment // what counts, oldest first
	dead  []segment // superseded by a later segment, or without a first record
	maxID uint64    // highest id of any file

	first   LSN
	durable LSN // highest LSN that something durable vouches for
	start   LSN // records before it may have been removed on purpose
	records int // without marks
	lastOp  Op
	record  LSN  // the last that is no mark; one less than the first if none is
	raised  bool // the last record raised start
	unit    int  // of the last record

	next place   // where the next record belongs
	tail []place // of the records after durable, all in the last live segment

	dirty  bool  // something that is no record stands at next
	defect error // what, if dirty

	begun     bool // a BEGIN was seen
	open      Header
	isOpen    bool // open is the BEGIN of a transaction without an end
	committed map[uint64]struct{}
}

// last is the highest LSN found, 0 for none.
func (s *scan) last() LSN { return s.next.lsn - 1 }

// scanner carries what scanning needs besides its result.
type scanner struct {
	scan
	fs    actor.FS
	floor LSN
	r     reader
	visit func(Header, []byte) // each valid record; may be nil
}

// scanDir reads every segment of dir. floor is Options.MinLSN.
func scanDir(fs actor.FS, dir string, floor LSN, visit func(Header, []byte)) (*scan, error) {
	segs, err := listSegments(fs, dir)
	if err != nil {
		return nil, err
	}
	s := &scanner{fs: fs, floor: floor, visit: visit}
	s.committed = map[uint64]struct{}{}
	s.durable, s.start, s.next = floor, 1, place{lsn: 1}
	if err := s.sort(segs); err != nil {
		return nil, err
	}
	for i := range s.live {
		limit := LSN(0)
		if i+1 < len(s.live) {
			limit = s.live[i+1].first
		}
		if err := s.segment(&s.live[i], limit); err != nil {
			return nil, err
		}
	}
	if len(s.live) == 0 {
		if err := s.end(segment{}, errZero); err != nil {
			return nil, err
		}
	}
	if s.first > s.start {
		return nil, &CorruptionError{LSN: s.start, Reason: fmt.Sprintf("the log starts at %d, but only records before %d were removed", s.first, s.start)}
	}
	s.dropMark()
	return &s.scan, nil
}

// sort tells live segments from dead ones by their first records.
//
// A segment supersedes whatever earlier segments hold from its first LSN on:
// recovery writes a tail anew into a new segment, so the old place may hold a
// second copy, or what was left of it. A segment without a first record was
// being made when the node died; whether it holds more than that is end's to
// find out.
func (s *scanner) sort(segs []segment) error {
	headed := make([]bool, len(segs))
	for i := range segs {
		s.maxID = max(s.maxID, segs[i].id)
		h, err := s.peek(segs[i])
		switch {
		case err == nil:
			headed[i], segs[i].first = true, h.LSN
		case isReadError(err) && errors.Is(err, actor.ErrIO):
			segs[i].unread = err
		case isFieldError(err):
		default:
			return err
		}
	}
	limit := LSN(1 << 62)
	for i := len(segs) - 1; i >= 0; i-- {
		if headed[i] && segs[i].first < limit {
			limit = segs[i].first
			s.live = append(s.live, segs[i])
		} else {
			s.dead = append(s.dead, segs[i])
		}
	}
	for i, j := 0, len(s.live)-1; i < j; i, j = i+1, j-1 {
		s.live[i], s.live[j] = s.live[j], s.live[i]
	}
	return nil
}

func isFieldError(err error) bool {
	var e *FieldError
	return errors.As(err, &e)
}

// peek reads the first header of a segment, twice if the first is no good.
func (s *scanner) peek(seg segment) (Header, error) {
	done, err := s.load(seg)
	if err != nil {
		return Header{}, err
	}
	defer done()
	for again := false; ; again = true {
		b, err := s.r.at(0, HeaderSize)
		if err != nil {
			return Header{}, err
		}
		h, err := DecodeHeader(b)
		if err == nil && h.Segment == seg.id && h.Offset == 0 {
			return h, nil
		}
		if again {
			if err == nil {
				err = h.checkPlace(place{segment: seg.id, lsn: h.LSN, anyPrev: true})
			}
			return h, err
		}
		s.r.forget()
	}
}

// load points the reader at a segment until done is called.
func (s *scanner) load(seg segment) (done func(), err error) {
	f, err := s.fs.Open(seg.path, actor.ReadOnly)
	if err != nil {
		return nil, fmt.Errorf("wal: open %s: %w", seg.path, err)
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("wal: size of %s: %w", seg.path, err)
	}
	s.r.reset(f, size)
	// A reader that fails to close has lost nothing.
	return func() { _ = f.Close() }, nil
}

// segment reads the records of a live segment up to limit, the first LSN of
// the next one, or to its end if there is no next.
func (s *scanner) segment(seg *segment, limit LSN) error {
	done, err := s.load(*seg)
	if err != nil {
		return err
	}
	defer done()
	s.next.segment, s.next.off = seg.id, 0
	if s.first == 0 {
		s.first, s.next.lsn, s.next.anyPrev = seg.first, seg.first, true
		s.record = seg.first - 1
	}
	// The next segment began, or the tail moved into this one, only after
	// everything before was synced.
	s.vouch(seg.first - 1)
	for limit == 0 || s.next.lsn < limit {
		h, payload, err := s.r.record(s.next)
		if err != nil {
			seg.end = s.next.off
			if limit != 0 {
				return s.damaged(seg.path, "a later segment vouches for it", err)
			}
			return s.end(*seg, err)
		}
		if err := s.accept(h); err != nil {
			return s.corrupt(seg.path, "it contradicts the records before", err)
		}
		if s.visit != nil {
			s.visit(h, payload)
		}
		seg.end = s.next.off
	}
	return nil
}

func (s *scanner) corrupt(path, reason string, err error) error {
	return &CorruptionError{Path: path, LSN: s.next.lsn, Offset: s.next.off, Reason: reason, Err: err}
}

// damaged is corrupt, except for a call that failed for another reason than the
// device's: an open or a read that exceeded its deadline says nothing about the
// data.
func (s *scanner) damaged(path, reason string, err error) error {
	if errors.Is(err, actor.ErrDeadline) || isReadError(err) && !errors.Is(err, actor.ErrIO) {
		return fmt.Errorf("wal: %s: %w", path, err)
	}
	return s.corrupt(path, reason, err)
}

// vouch notes that everything up to lsn is durable.
func (s *scanner) vouch(lsn LSN) {
	s.durable = max(s.durable, lsn)
	for len(s.tail) > 0 && s.tail[0].lsn <= s.durable {
		s.tail = s.tail[1:]
	}
}

// accept takes a valid record into the result.
func (s *scanner) accept(h Header) error {
	if h.Op == Begin && s.isOpen {
		return fmt.Errorf("BEGIN, but transaction %d is open", s.open.Txn)
	}
	if h.Op == Data || h.Op == Commit || h.Op == Abort {
		// Without any BEGIN before, the transaction's head was removed with
		// the segments before: nothing of it can be applied.
		if s.begun && (!s.isOpen || s.open.Txn != h.Txn) {
			return fmt.Errorf("%s of transaction %d, which is not open", h.Op, h.Txn)
		}
	}
	switch h.Op {
	case Begin:
		s.begun, s.isOpen, s.open = true, true, h
	case Commit:
		if s.isOpen {
			s.committed[h.Txn] = struct{}{}
		}
		s.isOpen = false
	case Abort:
		s.isOpen = false
	}
	if h.Op != Mark {
		s.records++
		s.record = h.LSN
	}
	s.raised = h.Start > s.start
	s.start = max(s.start, h.Start)
	s.unit = int(h.Unit)
	s.vouch(h.SyncedUpTo)
	if h.LSN > s.durable {
		s.tail = append(s.tail, s.next)
	}
	s.lastOp = h.Op
	s.next = place{segment: h.Segment, off: h.Next(), lsn: h.LSN + 1, previous: h.HeaderSum}
	return nil
}

// end decides what the first defect after the last good record is: the end
// of the log, or damage. It is damage if anything durable says that a record
// belongs there. Without such a witness it is what an unfinished write left.
func (s *scanner) end(seg segment, defect error) error {
	if isReadError(defect) {
		return s.damaged(seg.path, "the device cannot read it", defect)
	}
	if s.next.lsn <= s.floor {
		return s.corrupt(seg.path, fmt.Sprintf("missing, but the caller knows that %d was durable", s.floor), defect)
	}
	var voucher LSN
	if seg.path != "" {
		found, err := s.r.survey(seg.id, s.next, errors.Is(defect, errZero))
		if err != nil {
			return s.damaged(seg.path, "the device cannot read what follows", err)
		}
		if found.strayed != 0 {
			return s.corrupt(seg.path, fmt.Sprintf("it was written to offset %d instead", found.strayed), defect)
		}
		voucher = found.voucher
		s.dirty = found.dirty
	}
	for _, d := range s.dead {
		if d.first != 0 || d.id < seg.id {
			continue
		}
		if d.unread != nil {
			// Not to be taken for an empty one and removed, even if the device
			// can read it the next time: it may hold the last batch.
			return s.corrupt(d.path, "the device could not read what follows", d.unread)
		}
		found, err := s.surveyDead(d)
		if err != nil {
			return s.damaged(d.path, "the device cannot read what follows", err)
		}
		if found.voucher > voucher {
			voucher = found.voucher
			if seg.path == "" {
				seg = d
			}
		}
	}
	if voucher >= s.next.lsn {
		return s.corrupt(seg.path, fmt.Sprintf("a later record knows that %d was durable", voucher), defect)
	}
	if s.dirty {
		s.defect = defect
	}
	return nil
}

func (s *scanner) surveyDead(d segment) (rest, error) {
	saved := s.r
	s.r = reader{}
	defer func() { s.r = saved }()
	done, err := s.load(d)
	if err != nil {
		return rest{}, err
	}
	defer done()
	return s.r.survey(d.id, place{}, false)
}

// dropMark takes back a mark that ends the log and that nothing vouches for.
// It may be in the cache only, and says nothing that must be kept: the next
// record takes its number and its place.
//
// Not so a mark that raised start. Say the segments up to 20 were removed on
// the word of the mark at 30, record 30 is then written over it and tears: the
// log begins at 21, and nothing remembers that this was wanted. Such a mark
// stays in the tail and is written anew with it.
func (s *scanner) dropMark() {
	if n := len(s.tail); n > 0 && s.lastOp == Mark && !s.raised {
		s.next = s.tail[n-1]
		s.tail = s.tail[:n-1]
		s.live[len(s.live)-1].end = s.next.off
	}
}
