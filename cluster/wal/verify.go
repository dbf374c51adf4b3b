package wal

import (
	"errors"
	"fmt"
	"io"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Report is what Verify found.
type Report struct {
	First, Last LSN
	Durable     LSN // highest LSN that a later record vouches for
	Records     int // without marks
	Segments    int
	Committed   int
	OpenTxn     uint64 // transaction without an end; recovery aborts it
	// Torn is what stands behind the last record if that is not zeros.
	// Recovery cuts it: nothing vouches for it.
	Torn    error
	TornAt  int64
	Unbound int // records that only the next opening makes durable
}

// Verify reads a whole log without changing it and calls fn, which may be
// nil, for every record that counts. The error of a damaged log is a
// *CorruptionError.
func Verify(fs actor.FS, dir string, fn func(Info)) (Report, error) {
	var visit func(Header, []byte)
	if fn != nil {
		visit = func(h Header, payload []byte) { fn(Info{Header: h, Payload: payload}) }
	}
	s, err := scanDir(fs, dir, 0, visit)
	if err != nil {
		return Report{}, err
	}
	r := Report{
		First: s.first, Last: s.last(), Durable: min(s.durable, s.last()), Records: s.records,
		Segments: len(s.live), Committed: len(s.committed), Torn: s.defect, Unbound: len(s.tail),
	}
	if s.isOpen {
		r.OpenTxn = s.open.Txn
	}
	if s.dirty {
		r.TornAt = s.next.off
	}
	return r, nil
}

// Info is one record of a segment file. Payload is valid until the callback
// that got it returns.
type Info struct {
	Header  Header
	Payload []byte
}

// String is one line about the record.
func (i Info) String() string {
	h := i.Header
	s := fmt.Sprintf("%10d  LSN %d  %s", h.Offset, h.LSN, h.Op)
	if h.Txn != 0 {
		s += fmt.Sprintf(" txn %d", h.Txn)
	}
	return s + fmt.Sprintf("  kind %d  epoch %d  %d bytes  crc %08x  synced %d", h.Kind, h.Epoch, h.Length, h.PayloadSum, h.SyncedUpTo)
}

// DumpError is where a segment file stops being a sequence of records.
type DumpError struct {
	Name   string
	Offset int64 // of the record
	Err    error // often a *FieldError: which field, what it is, what it must be
}

func (e *DumpError) Error() string {
	return fmt.Sprintf("%s: record at offset %d: %v", e.Name, e.Offset, e.Err)
}

func (e *DumpError) Unwrap() error { return e.Err }

// Dump calls fn for each record of one segment file. It stops without an
// error at a header of zeros or the end of the file, and with a *DumpError at
// anything else. One file cannot tell a torn tail from damage; Verify can.
func Dump(name string, r io.ReaderAt, size int64, fn func(Info) error) error {
	rd := reader{f: r, size: size}
	p := place{anyPrev: true}
	for p.off < size {
		b, err := rd.at(p.off, HeaderSize)
		if err != nil {
			return &DumpError{name, p.off, err}
		}
		h, err := DecodeHeader(b)
		if errors.Is(err, errZero) {
			return nil
		}
		if err != nil {
			return &DumpError{name, p.off, err}
		}
		if p.anyPrev {
			p.segment, p.lsn = h.Segment, h.LSN
		}
		h, payload, err := rd.record(p)
		if err != nil {
			return &DumpError{name, p.off, err}
		}
		if err := fn(Info{Header: h, Payload: payload}); err != nil {
			return err
		}
		p = place{segment: h.Segment, off: h.Next(), lsn: h.LSN + 1, previous: h.HeaderSum}
	}
	return nil
}
