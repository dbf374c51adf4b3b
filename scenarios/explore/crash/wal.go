package crash

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

// walSegment is the size of a segment: eight units, so that a few records fill
// it.
const walSegment = 4 << 10

// logDir is where the logs are.
const logDir = "wal"

// Sizes of payloads, in bytes: a record of one unit, and one of four, which
// can tear in three places and does not fit twice into a segment.
const (
	shortPayload = 10
	longPayload  = 1500
)

// walOps are the operations, in the order of their numbers: every call of the
// log's interface that may change it, and its two ends, Close and the death of
// its process.
var walOps = []struct {
	name string
	do   func(s *walSubject, fs actor.FS) error
}{
	{"append", func(s *walSubject, _ actor.FS) error { return s.append(shortPayload) }},
	{"append-long", func(s *walSubject, _ actor.FS) error { return s.append(longPayload) }},
	{"sync", func(s *walSubject, _ actor.FS) error { return s.log.Sync() }},
	{"seal", func(s *walSubject, _ actor.FS) error { return s.log.Seal() }},
	{"begin", func(s *walSubject, _ actor.FS) error { return s.begin() }},
	{"data", func(s *walSubject, _ actor.FS) error { return s.data() }},
	{"commit", func(s *walSubject, _ actor.FS) error { return s.commit() }},
	{"abort", func(s *walSubject, _ actor.FS) error { return s.abort() }},
	{"truncate", func(s *walSubject, _ actor.FS) error { return s.truncate() }},
	{"close", func(s *walSubject, fs actor.FS) error {
		if err := s.log.Close(); err != nil {
			return err
		}
		s.note()
		return s.Open(fs)
	}},
	{"reopen", func(s *walSubject, fs actor.FS) error { return s.Open(fs) }},
}

func walWorkload() *Workload {
	w := &Workload{
		Name: "wal", Summary: "the write-ahead log: all sequences of its operations, in segments of 4 KiB",
		Most: 3, New: func() Subject { return &walSubject{} },
		Starts: []Start{
			{Name: "new", Summary: "an empty disk"},
			{"used", "a log with four records, of which one was not synced", walUsed},
			{"torn", "a log whose last write has left noise", walTorn},
			{"recycled", "a log whose old segments were removed, on a disk that may use their blocks again", walRecycled},
		},
	}
	for _, o := range walOps {
		w.Operations = append(w.Operations, o.name)
	}
	return w
}

// walUsed leaves a log that a process has used and died over.
func walUsed(d *disk.Disk, s Subject) (*disk.Disk, Subject, error) {
	m := s.(*walSubject)
	err := m.Open(disk.NewFS(d, nil))
	for i := 0; err == nil && i < 3; i++ {
		err = errors.Join(m.append(shortPayload), m.synced())
	}
	if err == nil {
		err = m.append(shortPayload)
	}
	return d, m, err
}

// walTorn leaves a log that lost its power in a write of two units.
func walTorn(d *disk.Disk, s Subject) (*disk.Disk, Subject, error) {
	d, s, err := walUsed(d, s)
	if err != nil {
		return nil, nil, err
	}
	m := s.(*walSubject)
	var torn *disk.Disk
	var then Subject
	t := &tap{d: d, on: true}
	t.visit = func(midway bool, op *disk.Op) {
		if midway && op.Kind == disk.OpWrite && torn == nil {
			torn, then = d.After(disk.Outcome{disk.FateGarbage, disk.FateNew}), m.Clone()
		}
	}
	if err := m.Open(disk.NewGatedFS(d, t)); err != nil {
		return nil, nil, err
	}
	torn = nil // recovery may have written, too
	err = errors.Join(m.append(shortPayload), m.append(shortPayload), m.synced())
	if err == nil && torn == nil {
		err = errors.New("the log wrote nothing")
	}
	return torn, then, err
}

// walRecycled leaves a log that begins in its third segment.
func walRecycled(d *disk.Disk, s Subject) (*disk.Disk, Subject, error) {
	m := s.(*walSubject)
	err := m.Open(disk.NewFS(d, nil))
	for i := 0; err == nil && i < 3; i++ {
		err = errors.Join(m.append(longPayload), m.append(shortPayload), m.synced())
	}
	if err == nil {
		err = m.truncate()
	}
	if err == nil && m.log.First() == 1 {
		err = errors.New("nothing was removed")
	}
	return d, m, err
}

// record is a record as the model knows it.
type record struct {
	lsn  wal.LSN
	op   wal.Op
	txn  uint64
	text string
}

func (r record) String() string {
	s := fmt.Sprintf("%d:%v", r.lsn, r.op)
	if r.text != "" {
		s += fmt.Sprintf("(%.6s, %d bytes)", r.text, len(r.text))
	}
	return s
}

// walSubject is the log and the model of it: a list. What may be recovered
// follows from it without any thought of files.
type walSubject struct {
	log  *wal.Log
	recs []record
	// Up to here everything was acknowledged.
	acked wal.LSN
	cut   wal.LSN // records before may have been removed
	count int     // payloads made
	txn   uint64
}

// Clone implements Subject.
func (s *walSubject) Clone() Subject {
	c := *s
	c.log, c.recs = nil, slices.Clone(s.recs)
	return &c
}

// Promise implements Subject.
func (s *walSubject) Promise() uint64 {
	h := hash(uint64(s.acked), uint64(s.cut), uint64(s.count), uint64(len(s.recs)))
	for _, r := range s.recs {
		// Length and beginning tell payloads apart.
		h = hash(h, uint64(r.lsn), uint64(r.op), r.txn, hashText(r.text[:min(len(r.text), 8)]), uint64(len(r.text)))
	}
	return h
}

// text is a payload that no other record has.
func (s *walSubject) text(n int) string {
	s.count++
	p := fmt.Sprintf("%d.", s.count)
	return strings.Repeat(p, n/len(p)+1)[:max(n, len(p))]
}

// note takes what the log says is durable.
func (s *walSubject) note() { s.acked = max(s.acked, s.log.Durable()) }

// push enters a record before the call that writes it: a crash in the call may
// leave it.
func (s *walSubject) push(op wal.Op, text string) {
	s.recs = append(s.recs, record{s.log.Last() + 1, op, s.txn, text})
	if op == wal.Begin {
		r := &s.recs[len(s.recs)-1]
		r.txn = uint64(r.lsn)
	}
}

// result compares the number of the record that was pushed.
func (s *walSubject) result(lsn wal.LSN, err error) error {
	s.note()
	last := &s.recs[len(s.recs)-1]
	if err != nil {
		s.recs = s.recs[:len(s.recs)-1]
		return err
	}
	if last.lsn != lsn {
		return violated("W2", "a record got LSN %d; the next was %d", lsn, last.lsn)
	}
	return nil
}

func (s *walSubject) append(n int) error {
	text := s.text(n)
	s.push(wal.Single, text)
	r := &s.recs[len(s.recs)-1]
	r.txn = 0
	return s.result(s.log.Append(1, 1, []byte(text)))
}

func (s *walSubject) begin() error {
	if s.txn != 0 {
		return notNow(s.log.Begin(2, 1, nil))
	}
	text := s.text(shortPayload)
	s.push(wal.Begin, text)
	lsn, err := s.log.Begin(2, 1, []byte(text))
	if err = s.result(lsn, err); err == nil {
		s.txn = uint64(lsn)
	}
	return err
}

func (s *walSubject) data() error {
	if s.txn == 0 {
		return notNow(s.log.Data(3, nil))
	}
	text := s.text(shortPayload)
	s.push(wal.Data, text)
	return s.result(s.log.Data(3, []byte(text)))
}

func (s *walSubject) commit() error {
	if s.txn == 0 {
		return notNow(s.log.Commit(nil))
	}
	text := s.text(shortPayload)
	s.push(wal.Commit, text)
	lsn, err := s.log.Commit([]byte(text))
	if err = s.result(lsn, err); err == nil {
		s.txn = 0
		s.acked = max(s.acked, lsn) // a COMMIT that returned is durable
	}
	return err
}

func (s *walSubject) abort() error {
	if s.txn == 0 {
		return notNow(0, s.log.Abort())
	}
	s.push(wal.Abort, "")
	lsn := s.recs[len(s.recs)-1].lsn
	err := s.result(lsn, s.log.Abort())
	if err == nil {
		s.txn = 0
	}
	return err
}

func (s *walSubject) truncate() error {
	before := s.log.Last()
	s.cut = max(s.cut, before)
	err := s.log.TruncateBefore(before)
	s.note()
	if err == nil && s.txn != 0 && s.log.First() > wal.LSN(s.txn) {
		return violated("W4", "the BEGIN of the open transaction %d was removed", s.txn)
	}
	return err
}

// synced makes everything durable.
func (s *walSubject) synced() error {
	err := s.log.Sync()
	s.note()
	return err
}

// errSenseless is an operation that makes no sense now.
var errSenseless = errors.New("it makes no sense now")

// notNow wants the log to refuse.
func notNow(_ wal.LSN, err error) error {
	if errors.Is(err, wal.ErrNoTxn) || errors.Is(err, wal.ErrTxnOpen) {
		return errSenseless
	}
	return violated("W4", "one transaction at a time, and the log says: %v", err)
}

// Do implements Subject.
func (s *walSubject) Do(op int, fs actor.FS) (bool, error) {
	err := walOps[op].do(s, fs)
	if errors.Is(err, errSenseless) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	s.note()
	if name := walOps[op].name; name == "sync" || name == "seal" {
		if n := len(s.recs); n > 0 && s.recs[n-1].lsn > s.acked {
			return true, violated("W1", "%s returned, and Durable is %d of %d", name, s.acked, s.recs[n-1].lsn)
		}
	}
	return true, nil
}

// Continue implements Subject.
func (s *walSubject) Continue(actor.FS) error {
	if err := s.append(shortPayload); err != nil {
		return err
	}
	return s.synced()
}

// visible is what recovery must replay of a list of records.
func visible(recs []record, first wal.LSN) (list []record) {
	for _, r := range recs {
		if r.lsn < first {
			continue
		}
		if r.txn != 0 && (wal.LSN(r.txn) < first || !slices.ContainsFunc(recs, func(c record) bool { return c.txn == r.txn && c.op == wal.Commit })) {
			continue
		}
		list = append(list, r)
	}
	return list
}

// Open implements Subject: W1, W2 and W4 are judged by what is replayed.
func (s *walSubject) Open(fs actor.FS) error {
	var got []record
	l, err := wal.Open(fs, logDir, wal.Options{SegmentSize: walSegment, BufferSize: walSegment / 2,
		Replay: func(r wal.Record) error {
			got = append(got, record{r.LSN, r.Op, r.Txn, string(r.Payload)})
			return nil
		}})
	if err != nil {
		var c *wal.CorruptionError
		if errors.As(err, &c) && c.LSN == 0 {
			return violated("W3", "it refuses without saying which record is damaged: %v", err)
		}
		return violated("W1", "nothing was damaged, and the log does not open: %v", err)
	}
	first := l.First()
	if first > max(s.cut, 1) {
		return violated("W1", "the log begins at LSN %d; removal was asked for before %d", first, s.cut)
	}
	for p := len(s.recs); p >= 0; p-- {
		if p < len(s.recs) && s.recs[p].lsn <= s.acked {
			break
		}
		if kept := visible(s.recs[:p], first); slices.Equal(kept, got) {
			// What was removed stays in the model: a crash may undo a removal.
			s.recs, s.txn, s.log = visible(s.recs[:p], 0), 0, l
			s.note()
			return nil
		}
	}
	return s.explain(got, first)
}

// explain says which promise a recovery has broken.
func (s *walSubject) explain(got []record, first wal.LSN) error {
	all := visible(s.recs, first)
	for _, r := range got {
		if r.txn != 0 && !slices.Contains(all, r) && slices.Contains(s.recs, r) {
			return violated("W4", "record %v is there, and its transaction has no COMMIT; recovered %v", r, got)
		}
	}
	for _, r := range all {
		if r.lsn <= s.acked && !slices.Contains(got, r) {
			return violated("W1", "record %v was acknowledged and is gone; recovered %v of %v, acknowledged up to %d", r, got, all, s.acked)
		}
	}
	return violated("W2", "recovered %v, which is no prefix of %v", got, all)
}
