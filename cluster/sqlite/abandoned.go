package sqlite

import (
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3"
)

// abandoned is a database that nobody has any more: its actor crashed, or its
// world has ended. SQLite's memory is not Go's, and only closing frees it.
type abandoned struct {
	c     *sqlite3.Conn
	files *files
}

// flag is set by the collector, and read by whoever comes after.
type flag struct{ atomic.Bool }

// release closes a database without touching a file of its actor, which belong to
// a world of another goroutine, or to none.
func release(a abandoned) {
	a.files.gone.Store(true)
	// The crash went through the midst of SQLite. It has always closed so far;
	// if it ever panics, its memory is lost, and nothing else.
	defer func() { _ = recover() }()
	for _, s := range slices.Collect(a.c.Stmts()) { // closing one moves another
		_ = s.Close()
	}
	_ = a.c.Close() // its last words are about files that are gone
}

// collectEvery is how many databases are opened between two collections. Go's
// collector does not see what they hold, a third of a megabyte each, and in a sweep
// would let thousands of them pile up.
const collectEvery = 256

var sinceCollected atomic.Int64

func collect() {
	if sinceCollected.Add(1) >= collectEvery {
		sinceCollected.Store(0)
		runtime.GC()
	}
}
