package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/esper-sim/espersim/cluster/actor"
)

// source is what the reader reads: an actor.File, or any io.ReaderAt.
type source = io.ReaderAt

const windowSize = 256 << 10

// reader reads records of one segment at a time through a window, so that
// small records cost one call to the disk for many.
type reader struct {
	f    source
	size int64
	buf  []byte
	off  int64 // of the window
	n    int   // bytes valid in it
}

// reset points the reader at another file; the window's memory is kept.
func (r *reader) reset(f source, size int64) { *r = reader{f: f, size: size, buf: r.buf} }

// forget drops the window, so that the next read asks the disk again.
func (r *reader) forget() { r.n = 0 }

// readError is a read that the device failed, twice.
type readError struct {
	off int64
	err error
}

func (e *readError) Error() string {
	return fmt.Sprintf("reading at offset %d failed twice: %v", e.off, e.err)
}

func (e *readError) Unwrap() error { return e.err }

// at returns n bytes at off, or fewer where the file ends. They are valid
// until the next call. Callers bound n by MaxPayload and, through the file's
// size, so is memory.
func (r *reader) at(off int64, n int) ([]byte, error) {
	if off >= r.size {
		return nil, nil
	}
	n = int(min(int64(n), r.size-off))
	if off >= r.off && off+int64(n) <= r.off+int64(r.n) {
		return r.buf[off-r.off:][:n], nil
	}
	want := int(min(int64(max(n, windowSize)), r.size-off))
	if cap(r.buf) < want {
		r.buf = make([]byte, want)
	}
	r.buf, r.off, r.n = r.buf[:want], off, 0
	got, err := r.f.ReadAt(r.buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		// A latent sector error may pass; one more try, then it is final. The
		// try asks for no more than is needed: one bad sector in the window,
		// perhaps in free space, must not be blamed on every record in it.
		r.buf = r.buf[:n]
		if got, err = r.f.ReadAt(r.buf, off); err != nil && !errors.Is(err, io.EOF) {
			return nil, &readError{off, err}
		}
	}
	r.n = got
	return r.buf[:min(n, got)], nil
}

// place is what the reader knows about the record that must come next.
type place struct {
	segment  uint64
	off      int64
	lsn      LSN
	previous uint32
	anyPrev  bool // the record before is not there to compare with
}

// record reads the record at p and checks it against everything known. It
// asks the disk a second time before it reports a defect: a stale read does
// not come back, damage does. The payload is valid until the next call.
func (r *reader) record(p place) (Header, []byte, error) {
	h, payload, err := r.recordOnce(p)
	if err == nil || isReadError(err) { // at has asked twice already
		return h, payload, err
	}
	r.forget()
	return r.recordOnce(p)
}

func (r *reader) recordOnce(p place) (Header, []byte, error) {
	b, err := r.at(p.off, HeaderSize)
	if err != nil {
		return Header{}, nil, err
	}
	h, err := DecodeHeader(b)
	if err != nil {
		return h, nil, err
	}
	if err := h.checkPlace(p); err != nil {
		return h, nil, err
	}
	if left := r.size - p.off - HeaderSize; int64(h.Length) > left {
		return h, nil, &FieldError{Field: "payload length", At: offLength, Got: h.Length, Detail: fmt.Sprintf("only %d bytes are left in the file", left)}
	}
	b, err = r.at(p.off, HeaderSize+int(h.Length))
	if err != nil {
		return h, nil, err
	}
	// The file may be shorter than its size said, if it shrinks under us.
	if len(b) < HeaderSize+int(h.Length) {
		return h, nil, &FieldError{Field: "payload", At: HeaderSize, Got: uint64(len(b)), Detail: "bytes of the record were readable"}
	}
	payload := b[HeaderSize:]
	if sum := crc32.Checksum(payload, castagnoli); sum != h.PayloadSum {
		return h, nil, &FieldError{Field: "payload checksum", At: offPayloadSum, Got: uint64(h.PayloadSum), Want: uint64(sum)}
	}
	return h, payload, nil
}

// checkPlace says whether a valid header stands where it was written. A
// misdirected write fails here at the place it hit, and as a missing record
// at the place it missed.
func (h *Header) checkPlace(p place) error {
	switch {
	case h.Segment != p.segment:
		return &FieldError{Field: "segment", At: offSegment, Got: h.Segment, Want: p.segment}
	case h.Offset != uint64(p.off):
		return &FieldError{Field: "own offset", At: offOffset, Got: h.Offset, Want: uint64(p.off)}
	case h.LSN != p.lsn:
		return &FieldError{Field: "LSN", At: offLSN, Got: uint64(h.LSN), Want: uint64(p.lsn)}
	case h.Previous != p.previous && !p.anyPrev:
		return &FieldError{Field: "previous checksum", At: offPrevious, Got: uint64(h.Previous), Want: uint64(p.previous)}
	}
	return nil
}

func isReadError(err error) bool {
	if err == nil { // the usual case must not pay for e, which escapes
		return false
	}
	var e *readError
	return errors.As(err, &e)
}

// rest is what lies behind the last good record of a segment.
type rest struct {
	dirty   bool  // a byte that is not zero
	voucher LSN   // the highest synced-up-to of any whole header found, 0 for none
	strayed int64 // where the record that was to come next stands instead, 0 for nowhere
}

// survey searches a segment from next to its end, at every place a record
// could begin. The places do not depend on lengths, for a damaged record's
// length cannot be trusted.
//
// A record found elsewhere that says it belongs at next, where no whole header
// stands, is a misdirected write. A mark does not count: it may have stood at
// next and been taken back, and a crash may leave an old copy of its block.
//
// A sector that cannot be read ends the search with an error, unless the search
// began in space that was never written, see free: then nothing was ever
// acknowledged behind, and the sector only makes what follows dirty.
func (r *reader) survey(segment uint64, next place, free bool) (rest, error) {
	var found rest
	var inPlace bool
	for off := next.off / minUnit * minUnit; off < r.size; {
		b, err := r.at(off, windowSize)
		if err != nil { // find out where
			b, err = r.at(off, minUnit)
		}
		if isReadError(err) && errors.Is(err, actor.ErrIO) && free {
			found.dirty = true
			off += minUnit
			continue
		}
		if err != nil {
			return found, err
		}
		if len(b) == 0 {
			break
		}
		if !allZero(b) {
			found.dirty = true
			for i := 0; i+HeaderSize <= len(b); i += minUnit {
				if string(b[i:i+4]) != magic {
					continue
				}
				// A record of this segment in the wrong place of it vouches
				// too: it was written after what it vouches for.
				h, err := DecodeHeader(b[i:])
				if err != nil || h.Segment != segment {
					continue
				}
				found.voucher = max(found.voucher, h.SyncedUpTo)
				at := off + int64(i)
				inPlace = inPlace || at == next.off && h.checkPlace(next) == nil
				if at != next.off && h.Op != Mark && next.lsn != 0 && h.checkPlace(next) == nil {
					found.strayed = at
				}
			}
		}
		off += int64((len(b) + minUnit - 1) / minUnit * minUnit)
	}
	if inPlace {
		found.strayed = 0
	}
	return found, nil
}
