package wal

import (
	"errors"
	"fmt"
	"sort"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Read calls fn for the records from one LSN to another, both included, in
// order. It reads the disk and checks every byte it hands out.
//
// Only durable records are there to read. Those of aborted and open
// transactions are among them: Replay sorts them out, Read does not.
func (l *Log) Read(from, to LSN, fn func(Record) error) error {
	if l.closed {
		return ErrClosed
	}
	from, to = max(from, l.First()), min(to, l.readable())
	if from > to {
		return nil
	}
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].first > from }) - 1
	p := place{segment: l.segs[i].id, lsn: l.segs[i].first, anyPrev: true}
	return l.walk(p, to, func(h Header, payload []byte) error {
		if h.LSN < from || h.Op == Mark {
			return nil
		}
		return fn(recordOf(h, payload))
	})
}

// readable is the last LSN in the files: the last durable one, or what
// recovery found if there was no space yet to make that durable.
func (l *Log) readable() LSN {
	if l.repair != nil {
		return max(l.durable, l.repair.last())
	}
	return l.durable
}

func recordOf(h Header, payload []byte) Record {
	return Record{LSN: h.LSN, Op: h.Op, Kind: h.Kind, Txn: h.Txn, Epoch: h.Epoch, Time: h.Time, Payload: payload}
}

// walk reads records from p to an LSN. A defect is always damage here: these
// records were read or written before.
func (l *Log) walk(p place, to LSN, fn func(Header, []byte) error) error {
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].id >= p.segment })
	for ; p.lsn <= to && i < len(l.segs); i++ {
		p.segment = l.segs[i].id
		if err := l.walkSegment(&l.segs[i], &p, to, fn); err != nil {
			return err
		}
		p.off = 0
	}
	if p.lsn <= to {
		return &CorruptionError{LSN: p.lsn, Reason: "no segment holds it"}
	}
	return nil
}

func (l *Log) walkSegment(seg *segment, p *place, to LSN, fn func(Header, []byte) error) error {
	f := l.f
	if f == nil || seg.id != l.current().id {
		var err error
		if f, err = l.fs.Open(seg.path, actor.ReadOnly); err != nil {
			return fmt.Errorf("wal: open %s: %w", seg.path, err)
		}
		defer func() { _ = f.Close() }()
	}
	l.r.reset(f, seg.end)
	defer l.r.reset(nil, 0)
	for p.off < seg.end && p.lsn <= to {
		h, payload, err := l.r.record(*p)
		if isReadError(err) && !errors.Is(err, actor.ErrIO) {
			return fmt.Errorf("wal: %s: %w", seg.path, err)
		}
		if err != nil {
			return &CorruptionError{Path: seg.path, LSN: p.lsn, Offset: p.off, Reason: "a durable record is damaged", Err: err}
		}
		if err := fn(h, payload); err != nil {
			return err
		}
		*p = place{segment: p.segment, off: h.Next(), lsn: h.LSN + 1, previous: h.HeaderSum}
	}
	return nil
}
