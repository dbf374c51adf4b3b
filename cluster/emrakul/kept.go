package emrakul

import (
	"errors"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
)

// kept follows which records of the log are still needed: the newest, which says
// where the cycle stands; the newest that puts a mask out; and the one before it
// that set a mask, which is gone back to if that one is withdrawn. Nothing older
// says anything that these do not.
type kept struct {
	newest wal.LSN
	mask   wal.LSN // the newest record that set a mask; 0: none
	before wal.LSN // the one before the newest that put one out; 0: none did
}

// enter takes a record in.
func (k *kept) enter(state string, at wal.LSN) {
	k.newest = at
	switch state {
	case applying:
		if k.before = k.mask; k.before == 0 {
			k.before = at
		}
		k.mask = at
	case rollingBack:
		k.mask = at
	}
}

// from is the first record that is needed.
func (k *kept) from() wal.LSN {
	from := k.newest
	for _, at := range [2]wal.LSN{k.mask, k.before} {
		if at != 0 {
			from = min(from, at)
		}
	}
	return from
}

// trim lets go of what the log need not say any more, between two cycles. It may
// fail: then more is kept, until the log is opened anew.
func (m *emrakul) trim() {
	if !m.idle() {
		return
	}
	err := m.log.TruncateBefore(m.kept.from())
	if err != nil && !errors.Is(err, actor.ErrNoSpace) {
		m.env.Probe.Reached("emrakul/reopen")
		m.log = nil // the next tick opens it anew
	}
}
