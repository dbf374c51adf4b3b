package wal

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
)

const (
	segmentSuffix = ".wal"
	// tmpSuffix marks the file into which recovery writes the tail anew before
	// it gets the name of a segment. What bears it was never finished.
	tmpSuffix = ".tmp"
)

// SegmentName is the file name of a segment: twenty digits, so that names
// sort as numbers do.
func SegmentName(id uint64) string { return fmt.Sprintf("%020d%s", id, segmentSuffix) }

// ParseSegmentName is the inverse of SegmentName, for ids from 1 to 2⁶²−1.
func ParseSegmentName(name string) (id uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	// The number after the highest one must exist, too.
	return id, err == nil && id > 0 && id < 1<<62 && SegmentName(id) == name
}

// segment is a file of the log and the part of it that counts.
type segment struct {
	id    uint64
	path  string
	first LSN   // of its first record
	end   int64 // bytes that count; what lies behind is free or superseded
	// unread is the device's error about the first header, if there was one.
	unread error
}

// listSegments finds the segment files of a directory, oldest first.
func listSegments(fs actor.FS, dir string) ([]segment, error) {
	names, err := fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("wal: list %s: %w", dir, err)
	}
	var segs []segment
	for _, name := range names {
		if id, ok := ParseSegmentName(path.Base(name)); ok {
			segs = append(segs, segment{id: id, path: path.Join(dir, SegmentName(id))})
		}
	}
	return segs, nil
}
