package wal

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Open recovers the log in dir, making it if there is none, and readies it
// for appending.
//
// It replays a prefix of what was appended, at least up to what was durable.
// A record that was appended and never acknowledged may be in the prefix; if
// so it is durable before Open returns. What follows the prefix is superseded
// for good. Damage before the durable mark is a *CorruptionError.
//
// If the disk is full the log opens for reading: records are replayed, and
// the first call that writes tries again.
func Open(fs actor.FS, dir string, o Options) (*Log, error) {
	if o.SegmentSize < 0 || o.BufferSize < 0 {
		return nil, fmt.Errorf("wal: negative size in options: segment %d, buffer %d", o.SegmentSize, o.BufferSize)
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.BufferSize == 0 {
		o.BufferSize = DefaultBufferSize
	}
	if o.Deadline > 0 {
		fs = fs.Within(o.Deadline)
	}
	unit := fs.Sector()
	if unit < minUnit || unit > maxUnit || unit&(unit-1) != 0 {
		return nil, fmt.Errorf("wal: sector of %d bytes is not a power of two from 512 to 65536", unit)
	}
	if err := makeDir(fs, dir); err != nil {
		return nil, err
	}
	unfinished, err := listUnfinished(fs, dir)
	if err != nil {
		return nil, err
	}
	s, err := scanDir(fs, dir, o.MinLSN, nil)
	if err != nil {
		return nil, err
	}
	for _, seg := range unfinished {
		s.maxID = max(s.maxID, seg.id)
		s.dead = append(s.dead, seg)
	}
	l := &Log{
		fs: fs, dir: dir, o: o, unit: unit,
		segs: s.live, nextID: s.maxID + 1,
		next: s.next.lsn, previous: s.next.previous,
		durable: min(s.durable, s.last()), vouched: min(s.durable, s.last()), start: s.start,
		record: s.record, acked: min(s.record, s.durable),
		repair: s,
	}
	if s.dirty {
		l.reached("wal/torn-tail")
		l.tell(Event{What: Cut, LSN: s.next.lsn, Segment: s.next.segment, Offset: s.next.off, Err: s.defect})
	}
	if err := l.finishRepair(); err != nil && (o.Firm || !errors.Is(err, actor.ErrNoSpace)) {
		l.abandon()
		return nil, err
	}
	l.tell(Event{What: Recovered, First: s.first, LSN: s.last(), Synced: s.durable})
	if o.Replay != nil {
		if err := l.replay(s); err != nil {
			l.abandon()
			return nil, err
		}
	}
	return l, nil
}

// makeDir makes dir with a durable name. It does so at every opening: a
// process that died between the two calls left a name in the cache only.
func makeDir(fs actor.FS, dir string) error {
	if err := fs.Mkdir(dir); err != nil {
		return fmt.Errorf("wal: make %s: %w", dir, err)
	}
	if err := fs.SyncDir(path.Dir(dir)); err != nil {
		return fmt.Errorf("wal: sync directory of %s: %w", dir, err)
	}
	return nil
}

// listUnfinished finds the files of recoveries that died. Their numbers are
// not used again, see mustMove.
func listUnfinished(fs actor.FS, dir string) ([]segment, error) {
	names, err := fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("wal: list %s: %w", dir, err)
	}
	var list []segment
	for _, name := range names {
		base, ok := strings.CutSuffix(path.Base(name), tmpSuffix)
		if id, isSegment := ParseSegmentName(base); ok && isSegment {
			list = append(list, segment{id: id, path: path.Join(dir, base+tmpSuffix)})
		}
	}
	return list, nil
}

func (l *Log) abandon() {
	if l.f != nil {
		_ = l.f.Close()
	}
	l.closed = true
}

// replay hands the recovered records to the owner.
func (l *Log) replay(s *scan) error {
	return l.Read(1, s.last(), func(r Record) error {
		if r.Txn != 0 {
			if _, ok := s.committed[r.Txn]; !ok {
				return nil
			}
		}
		return l.o.Replay(r)
	})
}
