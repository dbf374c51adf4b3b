// Package cuda runs programs on NVIDIA devices through the driver's own interface,
// libcuda.so.1, which it loads when it is opened: no compiler and no toolkit is
// needed, on the host or when this is built. A program runs if it says by which
// kernels (gpu.Lowerable); these are package kernels' PTX, which the driver compiles
// for the device.
//
// It is built in on Linux, on amd64 and arm64, with cgo; without cgo only with the
// build tag cuda, since the program is linked dynamically then, and otherwise is
// not. Elsewhere [Open] says so.
package cuda

// DefaultLibrary is what the dynamic linker is asked for.
const DefaultLibrary = "libcuda.so.1"
