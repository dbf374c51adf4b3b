package wal_test

import (
	"errors"
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

// stop unwinds a process that a test kills.
type stop struct{}

// tripwire is a gate that kills the process at its k-th operation: before it,
// or in its midst, when it is issued and not complete. k 0 only counts.
type tripwire struct {
	d      *disk.Disk
	k, n   int
	midway bool
}

func (g *tripwire) Before(*disk.Op) error {
	if g.n++; g.n == g.k && !g.midway {
		panic(stop{})
	}
	return nil
}

func (g *tripwire) Flight(op *disk.Op) error {
	if g.n == g.k && g.midway {
		panic(stop{})
	}
	if op.Hang {
		return actor.ErrDeadline
	}
	return nil
}

func (g *tripwire) After(_ *disk.Op, err error) error { return err }

// run reports whether f came to its end.
func (g *tripwire) run(f func(actor.FS)) (finished bool) {
	fs := disk.NewGatedFS(g.d, g)
	defer func() {
		if r := recover(); r != nil {
			if r != (stop{}) {
				panic(r)
			}
			fs.Kill()
		}
	}()
	f(fs)
	return true
}

// rec is a record as the model knows it.
type rec struct {
	lsn  wal.LSN
	op   wal.Op
	txn  uint64
	text string
}

// String is one word; a payload begins with its number.
func (r rec) String() string { return fmt.Sprintf("%d:%v:%.6s/%d", r.lsn, r.op, r.text, len(r.text)) }

// model is a log as it should be: a list. What the log may return after a
// crash follows from it without any thought of files.
type model struct {
	recs  []rec
	maybe []rec   // COMMITs that found no space: on the disk, or not
	acked wal.LSN // everything up to here was acknowledged
	cut   wal.LSN // records before may have been removed
	count int
	txn   uint64
}

// text is a payload that no other record has, of about n bytes.
func (m *model) text(n int) string {
	m.count++
	s := fmt.Sprintf("%d.", m.count)
	for len(s) < n {
		s += s
	}
	return s[:max(n, len(fmt.Sprint(m.count))+1)]
}

func (m *model) push(r rec) {
	for len(m.recs) > 0 && m.recs[len(m.recs)-1].lsn >= r.lsn {
		m.recs = m.recs[:len(m.recs)-1]
	}
	m.recs = append(m.recs, r)
}

// pop takes back the record of a call that says it is not in the log.
func (m *model) pop(lsn wal.LSN) {
	for len(m.recs) > 0 && m.recs[len(m.recs)-1].lsn >= lsn {
		m.recs = m.recs[:len(m.recs)-1]
	}
}

// note takes what the log says is durable.
func (m *model) note(l *wal.Log) {
	m.acked = max(m.acked, l.Durable())
	m.maybe = slices.DeleteFunc(m.maybe, func(r rec) bool { return r.lsn <= m.acked })
}

func (m *model) append(l *wal.Log, size int) error {
	r := rec{l.Last() + 1, wal.Single, 0, m.text(size)}
	m.push(r)
	lsn, err := l.Append(1, 1, []byte(r.text))
	m.note(l)
	return m.result(r.lsn, lsn, err)
}

func (m *model) result(want, got wal.LSN, err error) error {
	if err != nil {
		m.pop(want)
		return err
	}
	if want != got { // the call first finished a recovery that had no space
		r := &m.recs[len(m.recs)-1]
		if r.lsn = got; r.op == wal.Begin {
			r.txn = uint64(got)
		}
	}
	return nil
}

func (m *model) sync(l *wal.Log) error {
	err := l.Sync()
	m.note(l)
	if err == nil && len(m.recs) > 0 && m.recs[len(m.recs)-1].lsn > m.acked {
		panic("Sync succeeded and something is not durable")
	}
	return err
}

func (m *model) begin(l *wal.Log) error {
	want := l.Last() + 1
	r := rec{want, wal.Begin, uint64(want), m.text(10)}
	m.push(r)
	lsn, err := l.Begin(2, 1, []byte(r.text))
	m.note(l)
	if err == nil {
		m.txn = uint64(lsn)
	}
	return m.result(want, lsn, err)
}

func (m *model) data(l *wal.Log, size int) error {
	r := rec{l.Last() + 1, wal.Data, m.txn, m.text(size)}
	m.push(r)
	lsn, err := l.Data(3, []byte(r.text))
	m.note(l)
	return m.result(r.lsn, lsn, err)
}

func (m *model) commit(l *wal.Log) error {
	r := rec{l.Last() + 1, wal.Commit, m.txn, m.text(10)}
	m.push(r)
	_, err := l.Commit([]byte(r.text))
	switch {
	case err != nil && l.InTxn() && !errors.Is(err, actor.ErrNoSpace): // not written
		m.pop(r.lsn)
	case errors.Is(err, actor.ErrNoSpace):
		m.pop(r.lsn)
		m.maybe = append(m.maybe, r)
	case err == nil:
		m.txn = 0
	}
	m.note(l)
	return err
}

func (m *model) abort(l *wal.Log) error {
	want := l.Last() + 1
	tried := slices.ContainsFunc(m.maybe, func(r rec) bool { return r.txn == m.txn })
	m.push(rec{want, wal.Abort, m.txn, ""})
	err := l.Abort()
	if err != nil {
		m.pop(want)
	} else {
		if m.txn = 0; tried {
			m.maybe = nil // an acknowledged ABORT is final
		}
	}
	m.note(l)
	return err
}

func (m *model) truncate(l *wal.Log, before wal.LSN) error {
	m.cut = max(m.cut, before)
	err := l.TruncateBefore(before)
	m.note(l)
	if m.txn != 0 && l.First() > wal.LSN(m.txn) {
		panic("the BEGIN of an open transaction was removed")
	}
	return err
}

// visible is what recovery must replay of a list of records.
func visible(recs []rec, first wal.LSN) (list []rec) {
	committed := map[uint64]bool{}
	for _, r := range recs {
		if r.op == wal.Commit {
			committed[r.txn] = true
		}
	}
	for _, r := range recs {
		if r.lsn >= first && (r.txn == 0 || committed[r.txn] && wal.LSN(r.txn) >= first) {
			list = append(list, r)
		}
	}
	return list
}

// recovered checks what a new life of the log replays, and is then that life.
func (m *model) recovered(l *wal.Log, got []rec) error {
	first := l.First()
	if first > max(m.cut, 1) {
		return fmt.Errorf("log starts at %d, removal was asked for before %d", first, m.cut)
	}
	lists := [][]rec{m.recs}
	for _, r := range m.maybe {
		i := slices.IndexFunc(m.recs, func(o rec) bool { return o.lsn >= r.lsn })
		if i < 0 {
			i = len(m.recs)
		}
		lists = append(lists, append(slices.Clone(m.recs[:i]), r))
	}
	for _, recs := range lists {
		for p := len(recs); p >= 0; p-- {
			if p < len(recs) && recs[p].lsn <= m.acked {
				break
			}
			if slices.Equal(visible(recs[:p], first), got) {
				// What was removed stays in the model: a crash may undo a
				// removal whose sync has failed.
				m.recs, m.maybe, m.txn = visible(recs[:p], 0), nil, 0
				m.note(l)
				return nil
			}
		}
	}
	return fmt.Errorf("recovered %v\nappended %v\nperhaps %v\nacknowledged up to %d, first %d", got, m.recs, m.maybe, m.acked, first)
}

// revive opens the log and compares it with the model.
func (m *model) revive(fs actor.FS, o wal.Options) (*wal.Log, error) {
	var got []rec
	o.Replay = func(r wal.Record) error {
		got = append(got, rec{r.LSN, r.Op, r.Txn, string(r.Payload)})
		return nil
	}
	l, err := wal.Open(fs, dir, o)
	if err != nil {
		return nil, err
	}
	return l, m.recovered(l, got)
}

func (m *model) clone() *model {
	c := *m
	c.recs, c.maybe = slices.Clone(m.recs), slices.Clone(m.maybe)
	return &c
}
