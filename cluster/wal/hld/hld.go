// Package hld is the WALWriter of the HLD, section 8.3, as it is written there,
// for scenarios that show what it loses.
//
// Two mechanical changes were needed for it to run at all (defect 1 of the
// digest's part II.1): the Python module does not import time, and hashlib has
// no crc32, so the clock is injected and the CRC is the CRC-32 of IEEE 802.3
// that zlib has. Everything else is kept, and the comments carry the numbers of
// the defects.
//
// The HLD has no reader (7). [Read] is the one that its format suggests: it
// trusts the header's length, checks magic and CRC of the data, and takes the
// first thing that is no entry for the end.
package hld

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/esper-sim/espersim/cluster/actor"
)

// The constants of the class.
const (
	HeaderSize   = 256
	magic        = "ESPR"
	version      = 2
	endianMarker = 0x1234567890ABCDEF
)

// Writer is the HLD's WALWriter.
type Writer struct {
	fs    actor.FS
	path  string
	clock actor.Clock
	f     actor.File
}

// NewWriter is __init__.
func NewWriter(fs actor.FS, path string, clock actor.Clock) *Writer {
	return &Writer{fs: fs, path: path, clock: clock}
}

// OpenWAL is open_wal: O_WRONLY | O_CREAT | O_APPEND | O_DSYNC. The directory
// is not synced (11), and what an earlier life left behind is not looked at (7).
func (w *Writer) OpenWAL() error {
	f, err := w.fs.Open(w.path, actor.Create|actor.Append|actor.DSync)
	if err != nil {
		return err
	}
	w.f = f
	return nil
}

// WriteEntry is write_entry: a header of 256 bytes, then the data, then fsync.
// There is no limit on the length, and no rotation (12); no sequence number,
// transaction or epoch (6); the time is the wall clock's (13).
func (w *Writer) WriteEntry(entryType string, data []byte) error {
	if w.f == nil { // (10) is Python's: descriptor 0 would count as not opened
		return errors.New("WAL not opened")
	}
	var header [HeaderSize]byte
	copy(header[0:4], magic)
	binary.LittleEndian.PutUint32(header[4:], version)
	binary.LittleEndian.PutUint64(header[8:], uint64(w.clock.Now().UnixMilli()))
	name := []byte(entryType)
	if len(name) > 32 {
		name = name[:32] // cut in the middle of a character (9)
	}
	binary.LittleEndian.PutUint32(header[16:], uint32(len(name)))
	copy(header[20:52], name)
	binary.LittleEndian.PutUint64(header[52:], uint64(len(data)))
	// 32 bytes are documented, 4 are used (2), and the header itself is not
	// covered (5).
	binary.LittleEndian.PutUint32(header[60:], crc32.ChecksumIEEE(data))
	binary.LittleEndian.PutUint64(header[92:], endianMarker) // it can detect nothing (8)

	// "Write header + data atomically": two writes (3), whose results are not
	// looked at (4). os.write raises on an error, and returns how much was
	// written otherwise.
	if _, err := w.f.WriteAt(header[:], 0); err != nil {
		return err
	}
	if _, err := w.f.WriteAt(data, 0); err != nil {
		return err
	}
	return w.f.Sync()
}

// CloseWAL is close_wal.
func (w *Writer) CloseWAL() error {
	if w.f == nil {
		return nil
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	err := w.f.Close()
	w.f = nil
	return err
}

// Read calls fn for up to limit entries from an offset on, with the offset of
// each. It returns the offset behind the last one, and whether it came to the
// end: the first place where no entry stands. A file that is not there is empty.
func Read(fs actor.FS, path string, from int64, limit int, fn func(off int64, data []byte)) (next int64, end bool, err error) {
	f, err := fs.Open(path, actor.ReadOnly)
	if errors.Is(err, actor.ErrNotExist) {
		return from, true, nil
	}
	if err != nil {
		return from, false, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	size, err := f.Size()
	if err != nil {
		return from, false, err
	}
	off := from
	for n := 0; ; n++ {
		if n == limit {
			return off, false, nil
		}
		var header [HeaderSize]byte
		if k, err := f.ReadAt(header[:], off); err != nil || k < HeaderSize {
			if err == nil || errors.Is(err, io.EOF) {
				return off, true, nil
			}
			return off, false, fmt.Errorf("%s at %d: %w", path, off, err)
		}
		length := binary.LittleEndian.Uint64(header[52:])
		if string(header[:4]) != magic || length > uint64(size) {
			return off, true, nil // not an entry
		}
		data := make([]byte, length)
		if k, err := f.ReadAt(data, off+HeaderSize); k < len(data) {
			if err == nil || errors.Is(err, io.EOF) {
				return off, true, nil // a short tail
			}
			return off, false, fmt.Errorf("%s at %d: %w", path, off, err)
		}
		if crc32.ChecksumIEEE(data) != binary.LittleEndian.Uint32(header[60:]) {
			return off, true, nil
		}
		fn(off, data)
		off += HeaderSize + int64(length)
	}
}
