// Package nvml watches NVIDIA devices through the driver's management library,
// libnvidia-ml.so.1, which it loads when it is opened. It only watches: what runs
// on a device is package cuda's.
//
// The binding needs cgo and the build tag nvml. Without them [Open] says so, and
// everything else is the same.
package nvml

import "time"

// DefaultLibrary is what the dynamic linker is asked for.
const DefaultLibrary = "libnvidia-ml.so.1"

// Config says where the library is and whose time samples have.
type Config struct {
	Library string               // a path, or a name for the dynamic linker; empty: DefaultLibrary
	Now     func() time.Duration // monotonic; nil: since Open
}
