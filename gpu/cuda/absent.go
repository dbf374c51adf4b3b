//go:build !linux || (!amd64 && !arm64) || (!cgo && !cuda)

package cuda

import "github.com/esper-sim/espersim/gpu"

// Driver is the opened library.
type Driver struct{}

// Open always fails: the driver's interface was not built in.
func Open(string) (*Driver, error) {
	return nil, &gpu.Error{Op: "open", Class: gpu.NotInitialized, Why: "this program was built without CUDA; build it for Linux on amd64 or arm64, with CGO_ENABLED=1 or -tags cuda"}
}

// Devices is how many there are.
func (*Driver) Devices() int { return 0 }

// Identity says which device it is.
func (*Driver) Identity(int) (gpu.Identity, error) {
	_, err := Open("")
	return gpu.Identity{}, err
}

// Context is what this process has of a device.
type Context struct{ gpu.Accelerator }

// Context makes one.
func (*Driver) Context(int) (*Context, error) {
	_, err := Open("")
	return nil, err
}

// Close gives everything back.
func (*Context) Close() error { return nil }
