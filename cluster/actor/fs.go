package actor

import (
	"errors"
	"time"
)

// FS is the file system of a node's host. Names are slash-separated paths
// relative to the node's own root. Every call may suspend the handler, and a
// crash may fall into any of them.
//
// Nothing is durable before it was synced: file data by File.Sync, File.Datasync or a
// DSync descriptor, names (creation, rename, removal) by SyncDir of the
// directory.
type FS interface {
	// Open opens a file. Without Create, a missing file is ErrNotExist.
	Open(name string, flag Flag) (File, error)
	// Mkdir makes a directory; one that is there is no error.
	Mkdir(name string) error
	Remove(name string) error
	Rename(oldname, newname string) error
	// ReadDir lists the names in a directory, sorted.
	ReadDir(dir string) ([]string, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
	// Within is the same file system with a deadline for each operation, also
	// of files opened through it. After it expires the call returns
	// ErrDeadline: its outcome is unknown, and it may still land later.
	Within(d time.Duration) FS
	// Sector is the size in bytes that the device writes atomically: 512 or
	// 4096.
	Sector() int
}

// File is an open file. Offsets are explicit; there is no position.
type File interface {
	// ReadAt reads like io.ReaderAt: fewer than len(p) bytes come with io.EOF.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes like pwrite(2): it may write fewer bytes than asked
	// without an error. Callers loop, see WriteFull.
	WriteAt(p []byte, off int64) (int, error)
	// Allocate makes the file at least size bytes long, the new bytes zero.
	Allocate(size int64) error
	Truncate(size int64) error
	// Sync is fsync(2). After an error nothing is known about the cached data,
	// and a second Sync that succeeds proves nothing (ATC'20, "Can
	// Applications Recover from fsync Failures?").
	Sync() error
	// Datasync is fdatasync(2): data and size, not times.
	Datasync() error
	Size() (int64, error)
	Close() error
}

// Flag says how a file is opened.
type Flag uint8

// The flags of FS.Open. Files are opened for reading and writing unless
// ReadOnly is given.
const (
	ReadOnly Flag = 1 << iota
	Create        // make the file if it is missing
	Excl          // with Create: it must be missing, else ErrExist
	DSync         // each write is durable, in its own range, when it returns
	Append        // each WriteAt ignores its offset and writes at the end
)

// Errors of FS and File, compared with errors.Is.
var (
	ErrNotExist    = errors.New("file does not exist")
	ErrExist       = errors.New("file already exists")
	ErrIO          = errors.New("input/output error")
	ErrNoSpace     = errors.New("no space left on device")
	ErrInterrupted = errors.New("interrupted system call")
	ErrDeadline    = errors.New("deadline exceeded: the outcome is unknown")
	ErrClosed      = errors.New("file already closed")
	ErrReadOnly    = errors.New("file is open for reading only")
)

// WriteFull writes all of p at off. Short writes and interruptions are
// continued at the offset they stopped at, so they never leave a gap. It
// returns how many bytes were written before the first other error.
func WriteFull(f File, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := f.WriteAt(p[done:], off+int64(done))
		done += n
		if err != nil && !errors.Is(err, ErrInterrupted) {
			return done, err
		}
	}
	return done, nil
}
