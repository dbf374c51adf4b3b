package disk

import (
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
)

// OpKind says which call of actor.FS or actor.File an Op is.
type OpKind uint8

// The operations.
const (
	OpOpen OpKind = iota
	OpMkdir
	OpRemove
	OpRename
	OpReadDir
	OpSyncDir
	OpRead
	OpWrite
	OpAllocate
	OpTruncate
	OpSync
	OpDatasync
	OpSize
	OpClose
)

var opNames = [...]string{"open", "mkdir", "remove", "rename", "readdir", "syncdir", "read", "write",
	"allocate", "truncate", "sync", "datasync", "size", "close"}

func (k OpKind) String() string { return nameOf(opNames[:], int(k)) }

// onFile says whether the operation is one of a descriptor.
func (k OpKind) onFile() bool { return k >= OpRead }

// nameOf is the name of the i-th value of an enumeration.
func nameOf(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return "unknown"
	}
	return names[i]
}

// An Op is one operation on its way. FS makes it; a Gate may read its
// exported fields. It is valid until the call that it stands for returned,
// unless [Gate.Flight] kept it.
type Op struct {
	Kind     OpKind
	Path     string        // cleaned; the root is ""
	To       string        // of a rename: the new name
	Off      int64         // of reads and writes; of an appending write once it is issued
	Len      int64         // bytes asked for; the size for Allocate and Truncate
	Data     []byte        // the caller's buffer of a read or write
	Flag     actor.Flag    // of the descriptor
	Deadline time.Duration // from FS.Within; 0 is none

	// Set when the operation is issued.
	Delay time.Duration // what faults add to its duration
	Hang  bool          // it never completes

	// Set at the end.
	N     int      // bytes done; the size for OpSize is in Len
	Names []string // of a ReadDir
	Err   error

	file   *File
	node   *inode // of the file, or of a SyncDir's directory
	epoch  uint64
	seq    uint64 // what a sync covers
	own    uint64 // a DSync write's own number
	struck struck // what faults do to it
}

// Durable says whether completing the operation makes anything durable.
func (op *Op) Durable() bool {
	switch op.Kind {
	case OpSync, OpDatasync, OpSyncDir:
		return true
	case OpWrite:
		return op.Flag&actor.DSync != 0
	}
	return false
}

// reset makes the op ready for its next use; buffers of the last are let go.
func (op *Op) reset(k OpKind, path string) {
	*op = Op{Kind: k, Path: path}
}
