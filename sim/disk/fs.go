package disk

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
)

// A Gate stands between an actor and the disk. Any of its methods may panic
// to unwind a process that has died.
type Gate interface {
	// Before is called when nothing has happened yet. An error is returned to
	// the caller, and nothing will happen.
	Before(op *Op) error
	// Flight is called between issue and completion: here a simulator
	// suspends the actor for the operation's latency and op.Delay, and forever
	// where op.Hang. An error, such as actor.ErrDeadline, is returned to the
	// caller; op then belongs to the gate, which lets it land with
	// Disk.Complete or never does.
	Flight(op *Op) error
	// After is called at the end with the outcome, and may replace it.
	After(op *Op, err error) error
}

// life is shared by all file systems and files of one process.
type life struct {
	dead  bool
	epoch uint64
	files map[*File]bool // open; the order never matters
}

// FS is a Disk as actor.FS, for one life of one process.
type FS struct {
	d        *Disk
	gate     Gate
	life     *life
	deadline time.Duration
	op       *Op // for the calls that are not a file's
}

var _ actor.FS = (*FS)(nil)

// NewFS is a file system where every operation is issued and completed at
// once. The hook, if any, is called before each; it may return an error, which
// the operation then has instead of an effect, or panic to crash the caller at
// its k-th operation. Slow and hung operations end with actor.ErrDeadline
// where they exceed the deadline, the slow ones after they took effect, the
// hung ones without; without a deadline slow ones succeed and hung ones end
// with actor.ErrDeadline as well.
func NewFS(d *Disk, hook func(*Op) error) *FS {
	return NewGatedFS(d, immediate{d, hook})
}

// NewGatedFS is a file system whose operations pass the gate.
func NewGatedFS(d *Disk, g Gate) *FS {
	return &FS{d: d, gate: g, life: &life{epoch: d.epoch, files: map[*File]bool{}}, op: new(Op)}
}

// immediate is a gate without time.
type immediate struct {
	d    *Disk
	hook func(*Op) error
}

func (g immediate) Before(op *Op) error {
	if g.hook == nil {
		return nil
	}
	return g.hook(op)
}

func (g immediate) Flight(op *Op) error {
	if op.Hang {
		return actor.ErrDeadline
	}
	if op.Deadline > 0 && op.Delay > op.Deadline {
		_ = g.d.Complete(op) // it lands; its outcome is not told
		return actor.ErrDeadline
	}
	return nil
}

func (g immediate) After(_ *Op, err error) error { return err }

// Kill ends the life of the process: every later call on this file system and
// its files returns ErrDead. What it wrote stays in the cache.
func (s *FS) Kill() {
	if !s.alive() {
		return
	}
	for f := range s.life.files {
		f.release()
	}
	s.life.dead = true
}

func (s *FS) alive() bool { return !s.life.dead && s.life.epoch == s.d.epoch }

// run takes one operation from issue to completion. abandoned says that the
// gate kept the Op.
func (s *FS) run(op *Op) (err error, abandoned bool) {
	if !s.alive() {
		return ErrDead, false
	}
	op.Deadline = s.deadline
	if err := s.gate.Before(op); err != nil {
		return err, false
	}
	if !s.alive() { // the gate let time pass
		return ErrDead, false
	}
	_ = s.d.Apply(op) // the error comes back from Complete
	if err := s.gate.Flight(op); err != nil {
		return err, true
	}
	return s.gate.After(op, s.d.Complete(op)), false
}

// call runs an operation on a name.
func (s *FS) call(k OpKind, name, to string, flag actor.Flag) (*Op, error) {
	p, err := clean(name)
	if err != nil {
		return nil, err
	}
	op := s.op
	op.reset(k, p)
	op.Flag = flag
	if k == OpRename {
		if op.To, err = clean(to); err != nil {
			return nil, err
		}
	}
	err, abandoned := s.run(op)
	if abandoned {
		s.op = new(Op)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", k, name, err)
	}
	return op, nil
}

// Open implements actor.FS.
func (s *FS) Open(name string, flag actor.Flag) (actor.File, error) {
	op, err := s.call(OpOpen, name, "", flag)
	if err != nil {
		return nil, err
	}
	n := op.node
	n.open++
	f := &File{fs: s, node: n, path: op.Path, flag: flag, seen: n.errSeq, op: new(Op)}
	s.life.files[f] = true
	return f, nil
}

// Mkdir implements actor.FS.
func (s *FS) Mkdir(name string) error {
	_, err := s.call(OpMkdir, name, "", 0)
	return err
}

// Remove implements actor.FS. A directory must be empty.
func (s *FS) Remove(name string) error {
	_, err := s.call(OpRemove, name, "", 0)
	return err
}

// Rename implements actor.FS. It replaces a file, never a directory.
func (s *FS) Rename(oldname, newname string) error {
	_, err := s.call(OpRename, oldname, newname, 0)
	return err
}

// ReadDir implements actor.FS.
func (s *FS) ReadDir(dir string) ([]string, error) {
	op, err := s.call(OpReadDir, dir, "", 0)
	if err != nil {
		return nil, err
	}
	return op.Names, nil
}

// SyncDir implements actor.FS.
func (s *FS) SyncDir(dir string) error {
	_, err := s.call(OpSyncDir, dir, "", 0)
	return err
}

// Within implements actor.FS.
func (s *FS) Within(d time.Duration) actor.FS {
	c := *s
	c.deadline = d
	c.op = new(Op)
	return &c
}

// Sector implements actor.FS.
func (s *FS) Sector() int { return s.d.Sector() }

// File is an open descriptor.
type File struct {
	fs     *FS
	node   *inode
	path   string
	flag   actor.Flag
	seen   uint32 // failed syncs that this descriptor was told of
	closed bool
	op     *Op
}

var _ actor.File = (*File)(nil)

// call runs an operation on the file.
func (f *File) call(k OpKind, p []byte, off, length int64) (int, error) {
	if f.closed {
		return 0, actor.ErrClosed
	}
	op := f.op
	op.reset(k, f.path)
	op.file, op.node, op.Flag = f, f.node, f.flag
	op.Data, op.Off, op.Len = p, off, length
	err, abandoned := f.fs.run(op)
	if abandoned {
		f.op = new(Op)
		return 0, err
	}
	n := op.N
	if k == OpWrite && err != nil {
		n = 0
	}
	op.Data = nil
	return n, err
}

// ReadAt implements actor.File.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	return f.call(OpRead, p, off, int64(len(p)))
}

// WriteAt implements actor.File.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if f.flag&actor.ReadOnly != 0 {
		return 0, actor.ErrReadOnly
	}
	return f.call(OpWrite, p, off, int64(len(p)))
}

// Allocate implements actor.File.
func (f *File) Allocate(size int64) error {
	if f.flag&actor.ReadOnly != 0 {
		return actor.ErrReadOnly
	}
	_, err := f.call(OpAllocate, nil, 0, size)
	return err
}

// Truncate implements actor.File.
func (f *File) Truncate(size int64) error {
	if f.flag&actor.ReadOnly != 0 {
		return actor.ErrReadOnly
	}
	_, err := f.call(OpTruncate, nil, 0, size)
	return err
}

// Sync implements actor.File.
func (f *File) Sync() error {
	_, err := f.call(OpSync, nil, 0, 0)
	return err
}

// Datasync implements actor.File.
func (f *File) Datasync() error {
	_, err := f.call(OpDatasync, nil, 0, 0)
	return err
}

// Size implements actor.File.
func (f *File) Size() (int64, error) {
	if _, err := f.call(OpSize, nil, 0, 0); err != nil {
		return 0, err
	}
	return f.op.Len, nil
}

// Close implements actor.File. It syncs nothing.
func (f *File) Close() error {
	_, err := f.call(OpClose, nil, 0, 0)
	if err != nil {
		return err
	}
	f.closed = true
	f.release()
	delete(f.fs.life.files, f)
	return nil
}

// release lets the file go; the last descriptor of a removed file frees it.
func (f *File) release() {
	f.node.open--
	f.fs.d.free(f.node)
}
