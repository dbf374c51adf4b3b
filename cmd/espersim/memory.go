package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A run makes garbage quickly and keeps little, so that collecting rarely is a
// fifth of its time. But what is collected rarely grows with the length of a
// run: pace is therefore generous up to small, and ordinary above it.
const (
	pace  = 2000     // percent of the live heap that may be garbage
	small = 34 << 20 // bytes of the whole process
)

// paceCollector sets the collector up, and follows the live heap from
// collection to collection.
func paceCollector() {
	debug.SetGCPercent(pace)
	debug.SetMemoryLimit(small)
	follow()
}

// follow is called after each collection: by a finalizer, which is the one
// hook that the runtime offers.
func follow() {
	type sentinel struct{ _ [16]byte }
	s := new(sentinel)
	runtime.SetFinalizer(s, func(*sentinel) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		// The limit is soft: a process whose live heap needs more gets twice
		// that, as with the collector's default pace.
		debug.SetMemoryLimit(max(small, 2*int64(live[0].Value.Uint64())+small/3))
		follow()
	})
}
