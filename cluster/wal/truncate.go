package wal

import (
	"errors"
	"sort"

	"github.com/esper-sim/espersim/cluster/actor"
)

// TruncateBefore removes the segments in which every record is older than
// lsn. The segment that holds lsn stays, and so does everything from the BEGIN
// of an open transaction on.
//
// That records may be missing from now on is made durable first, as a mark
// with a new start. A log that begins later than its start lost something.
func (l *Log) TruncateBefore(lsn LSN) error {
	if err := l.Sync(); err != nil {
		return err
	}
	if l.txn.id != 0 {
		lsn = min(lsn, LSN(l.txn.id))
	}
	n := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].first > lsn }) - 1
	if n <= 0 {
		return nil
	}
	if l.start < l.segs[n].first {
		was := l.start
		l.start = l.segs[n].first
		if err := l.mark(); err != nil {
			l.start = was
			return err
		}
	}
	// Oldest first, and each made durable before the next: a crash leaves a
	// log without a gap.
	for ; n > 0; n-- {
		old := l.segs[0].path
		if err := l.fs.Remove(old); err != nil && !errors.Is(err, actor.ErrNotExist) {
			return l.failed("removal", old, err)
		}
		if err := l.fs.SyncDir(l.dir); err != nil {
			return l.failed("sync of the directory", l.dir, err)
		}
		l.segs = l.segs[1:]
	}
	l.tell(Event{What: Truncated, First: l.segs[0].first})
	return nil
}
