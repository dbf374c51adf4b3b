package live

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Files is actor.FS over a folder of the real file system.
//
// Operations are not cancelled when a deadline of Within passes: the kernel
// offers no way to take a write back. The caller is told ErrDeadline once the
// operation has returned too late.
type Files struct {
	root     string
	deadline time.Duration
	failed   func(error) // told about what the disk refused or was too slow for
}

// NewFiles is the file system below root, which must exist.
func NewFiles(root string) (*Files, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", root)
	}
	return &Files{root: root}, nil
}

var _ actor.FS = (*Files)(nil)

func (f *Files) path(name string) (string, error) {
	p := filepath.Clean("/" + name)
	if strings.Contains(name, "..") {
		return "", fmt.Errorf("name %q leaves the folder", name)
	}
	return filepath.Join(f.root, p), nil
}

// translate turns the kernel's errors into those of the seam.
func translate(err error) error {
	if err == nil {
		return nil
	}
	for _, t := range []struct{ from, to error }{
		{os.ErrNotExist, actor.ErrNotExist}, {os.ErrExist, actor.ErrExist}, {os.ErrClosed, actor.ErrClosed},
		{syscall.EIO, actor.ErrIO}, {syscall.ENOSPC, actor.ErrNoSpace}, {syscall.EDQUOT, actor.ErrNoSpace}, {syscall.EINTR, actor.ErrInterrupted},
	} {
		if errors.Is(err, t.from) {
			return fmt.Errorf("%w (%v)", t.to, err)
		}
	}
	return err
}

// late says whether an operation that began then has missed the deadline.
func (f *Files) late(began time.Time, err error) error {
	if err = translate(err); err == nil && f.deadline > 0 && time.Since(began) > f.deadline {
		err = actor.ErrDeadline
	}
	if f.failed != nil && (errors.Is(err, actor.ErrDeadline) || errors.Is(err, actor.ErrIO) || errors.Is(err, actor.ErrNoSpace)) {
		f.failed(err)
	}
	return err
}

// Open implements actor.FS.
func (f *Files) Open(name string, flag actor.Flag) (actor.File, error) {
	p, err := f.path(name)
	if err != nil {
		return nil, err
	}
	mode := os.O_RDWR
	if flag&actor.ReadOnly != 0 {
		mode = os.O_RDONLY
	}
	if flag&actor.Create != 0 {
		mode |= os.O_CREATE
	}
	if flag&actor.Excl != 0 {
		mode |= os.O_EXCL
	}
	if flag&actor.DSync != 0 {
		mode |= syscall.O_DSYNC
	}
	began := time.Now()
	// 0600: what a training run holds is nobody else's business (II.1 #11).
	file, err := os.OpenFile(p, mode, 0o600)
	if err = f.late(began, err); err != nil {
		return nil, err
	}
	return &openFile{f: file, fs: f, flag: flag}, nil
}

// Mkdir implements actor.FS.
func (f *Files) Mkdir(name string) error {
	p, err := f.path(name)
	if err != nil {
		return err
	}
	if err := os.Mkdir(p, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return translate(err)
	}
	return nil
}

// Remove implements actor.FS.
func (f *Files) Remove(name string) error {
	p, err := f.path(name)
	if err != nil {
		return err
	}
	return translate(os.Remove(p))
}

// Rename implements actor.FS.
func (f *Files) Rename(oldname, newname string) error {
	a, err := f.path(oldname)
	if err != nil {
		return err
	}
	b, err := f.path(newname)
	if err != nil {
		return err
	}
	return translate(os.Rename(a, b))
}

// ReadDir implements actor.FS.
func (f *Files) ReadDir(dir string) ([]string, error) {
	p, err := f.path(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(p)
	if err != nil {
		return nil, translate(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	sort.Strings(names)
	return names, nil
}

// SyncDir implements actor.FS.
func (f *Files) SyncDir(dir string) error {
	p, err := f.path(dir)
	if err != nil {
		return err
	}
	began := time.Now()
	d, err := os.Open(p)
	if err != nil {
		return translate(err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return f.late(began, err)
}

// Within implements actor.FS.
func (f *Files) Within(d time.Duration) actor.FS {
	c := *f
	c.deadline = d
	return &c
}

// Sector implements actor.FS: the larger of the two, which is safe on both.
func (f *Files) Sector() int { return 4096 }

type openFile struct {
	f    *os.File
	fs   *Files
	flag actor.Flag
}

func (o *openFile) ReadAt(p []byte, off int64) (int, error) {
	began := time.Now()
	n, err := o.f.ReadAt(p, off)
	if err == io.EOF {
		return n, err
	}
	return n, o.fs.late(began, err)
}

func (o *openFile) WriteAt(p []byte, off int64) (int, error) {
	if o.flag&actor.ReadOnly != 0 {
		return 0, actor.ErrReadOnly
	}
	began := time.Now()
	if o.flag&actor.Append != 0 {
		end, err := o.Size()
		if err != nil {
			return 0, err
		}
		off = end
	}
	n, err := o.f.WriteAt(p, off)
	return n, o.fs.late(began, err)
}

func (o *openFile) Allocate(size int64) error {
	have, err := o.Size()
	if err != nil || have >= size {
		return err
	}
	err = syscall.Fallocate(int(o.f.Fd()), 0, have, size-have)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		_, err = actor.WriteFull(o, make([]byte, size-have), have)
	}
	return translate(err)
}

func (o *openFile) Truncate(size int64) error { return translate(o.f.Truncate(size)) }

func (o *openFile) Sync() error {
	began := time.Now()
	return o.fs.late(began, o.f.Sync())
}

func (o *openFile) Datasync() error {
	began := time.Now()
	return o.fs.late(began, syscall.Fdatasync(int(o.f.Fd())))
}

func (o *openFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, translate(err)
	}
	return info.Size(), nil
}

func (o *openFile) Close() error { return translate(o.f.Close()) }
