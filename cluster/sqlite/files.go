package sqlite

import (
	"errors"
	"io"
	"path"
	"weak"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/esper-sim/espersim/cluster/actor"
)

// files is the operating system that SQLite sees: an actor's file system.
type files struct {
	fs actor.FS
	// gone says that nobody has the database any more: nothing may touch the
	// actor's files.
	gone flag
}

// door is what is registered with SQLite under a name. It must not keep the
// files of an actor that crashed: nobody closes those.
type door struct{ to weak.Pointer[files] }

var errGone = errors.New("the database was dropped")

// Open opens a file; names of temporary files are empty.
func (d door) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f := d.to.Value()
	if f == nil || f.gone.Load() {
		return nil, flags, errGone
	}
	const lasting = vfs.OPEN_MAIN_DB | vfs.OPEN_MAIN_JOURNAL | vfs.OPEN_WAL | vfs.OPEN_SUPER_JOURNAL
	if flags&lasting == 0 || name == "" {
		return &vfsutil.SliceFile{}, flags | vfs.OPEN_MEMORY, nil
	}
	if flags&vfs.OPEN_READONLY != 0 {
		file, err := again(func() (actor.File, error) { return f.fs.Open(name, actor.ReadOnly) })
		if err != nil {
			return nil, flags, told(err)
		}
		return &opened{File: file, files: f, dir: path.Dir(name)}, flags, nil
	}
	var flag actor.Flag
	if flags&vfs.OPEN_CREATE != 0 {
		flag = actor.Create
	}
	file, err := again(func() (actor.File, error) { return f.fs.Open(name, flag) })
	if err != nil {
		return nil, flags, told(err)
	}
	// That a file is there does not say that its name is durable: a life before
	// this one may have made it, and died before it synced the folder.
	return &opened{File: file, files: f, dir: path.Dir(name), unnamed: flag == actor.Create}, flags, nil
}

// Delete removes a file, and syncs its folder if SQLite asks for that.
func (d door) Delete(name string, syncDir bool) error {
	f := d.to.Value()
	if f == nil || f.gone.Load() {
		return errGone
	}
	err := retry(func() error { return f.fs.Remove(name) })
	if errors.Is(err, actor.ErrNotExist) {
		return sqlite3.IOERR_DELETE_NOENT
	}
	if err == nil && syncDir {
		if err := retry(func() error { return f.fs.SyncDir(path.Dir(name)) }); err != nil {
			return vfs.SystemError(err, sqlite3.IOERR_DIR_FSYNC)
		}
	}
	return told(err)
}

// Access says whether a file is there.
func (d door) Access(name string, _ vfs.AccessFlag) (bool, error) {
	f := d.to.Value()
	if f == nil || f.gone.Load() {
		return false, errGone
	}
	file, err := again(func() (actor.File, error) { return f.fs.Open(name, actor.ReadOnly) })
	if errors.Is(err, actor.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, told(err)
	}
	return true, file.Close()
}

// FullPathname leaves names as they are: they begin at the actor's root.
func (d door) FullPathname(name string) (string, error) { return path.Clean(name), nil }

// opened is an open file.
type opened struct {
	actor.File
	files   *files
	dir     string
	unnamed bool // its name may not be durable yet
	lock    vfs.LockLevel
	failed  error // of a sync: the file has to be opened anew
}

// live is the file, or an error where nobody has the database any more.
func (o *opened) live() (actor.File, error) {
	if o.files.gone.Load() {
		return nil, errGone
	}
	return o.File, nil
}

// Close closes the file.
func (o *opened) Close() error {
	f, err := o.live()
	if err != nil {
		return nil // the actor is gone, and its files with it
	}
	return f.Close()
}

// ReadAt reads; what lies behind the end comes with io.EOF.
func (o *opened) ReadAt(p []byte, off int64) (n int, err error) {
	f, err := o.live()
	if err != nil {
		return 0, err
	}
	for n < len(p) {
		k, err := f.ReadAt(p[n:], off+int64(n))
		n += k
		switch {
		case err == nil || errors.Is(err, actor.ErrInterrupted):
		case errors.Is(err, io.EOF):
			return n, io.EOF
		default:
			return n, told(err)
		}
	}
	return n, nil
}

// WriteAt writes all of p.
func (o *opened) WriteAt(p []byte, off int64) (int, error) {
	f, err := o.live()
	if err != nil {
		return 0, err
	}
	n, err := actor.WriteFull(f, p, off)
	return n, told(err)
}

// Truncate cuts the file.
func (o *opened) Truncate(size int64) error {
	f, err := o.live()
	if err != nil {
		return err
	}
	return told(retry(func() error { return f.Truncate(size) }))
}

// Sync makes the file durable, its name included. SQLite leaves the latter to
// the operating system layer, which does it for journals; here the database's
// own name is no different.
func (o *opened) Sync(flags vfs.SyncFlag) error {
	f, err := o.live()
	if err != nil {
		return err
	}
	if o.failed != nil {
		// SQLite undoes what it could not commit, and syncs its journal again. What
		// that says proves nothing: the pages that were not written are clean now.
		return o.failed
	}
	sync := f.Sync
	if flags&vfs.SYNC_DATAONLY != 0 {
		sync = f.Datasync
	}
	// A sync that was interrupted may have cleared what it would report: it is
	// as good as failed.
	if err := sync(); err != nil {
		o.failed = told(err)
		return o.failed
	}
	if o.unnamed {
		if err := o.files.fs.SyncDir(o.dir); err != nil {
			return vfs.SystemError(err, sqlite3.IOERR_DIR_FSYNC)
		}
		o.unnamed = false
	}
	return nil
}

// Size is the file's size.
func (o *opened) Size() (int64, error) {
	f, err := o.live()
	if err != nil {
		return 0, err
	}
	n, err := f.Size()
	return n, told(err)
}

// Lock and Unlock keep the level only: nobody else opens an actor's files.
func (o *opened) Lock(l vfs.LockLevel) error   { o.lock = max(o.lock, l); return nil }
func (o *opened) Unlock(l vfs.LockLevel) error { o.lock = min(o.lock, l); return nil }

// CheckReservedLock implements vfs.File.
func (o *opened) CheckReservedLock() (bool, error) { return o.lock >= vfs.LOCK_RESERVED, nil }

// SectorSize is the unit that the device writes atomically.
func (o *opened) SectorSize() int { return o.files.fs.Sector() }

// DeviceCharacteristics says what the disk promises: a torn write leaves the
// bytes beside it as they were, and nothing else.
func (o *opened) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return vfs.IOCAP_POWERSAFE_OVERWRITE
}

// told is an error as SQLite must see it: a full disk is no broken one. What
// else it is follows from the operation.
func told(err error) error {
	if errors.Is(err, actor.ErrNoSpace) {
		return vfs.SystemError(err, sqlite3.FULL)
	}
	return err
}

// retry repeats what was interrupted.
func retry(op func() error) error {
	for {
		if err := op(); !errors.Is(err, actor.ErrInterrupted) {
			return err
		}
	}
}

// again is retry for what has a result.
func again[T any](op func() (T, error)) (v T, err error) {
	err = retry(func() error { v, err = op(); return err })
	return v, err
}
