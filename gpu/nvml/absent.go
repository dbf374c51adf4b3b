//go:build !nvml || !cgo

package nvml

import "github.com/esper-sim/espersim/gpu"

// Driver is the opened library.
type Driver struct{}

// Open always fails: the binding was not built in.
func Open(Config) (*Driver, error) {
	return nil, &gpu.Error{Op: "open", Class: gpu.NotInitialized, Why: "this program was built without NVML; build it with CGO_ENABLED=1 and -tags nvml"}
}

// Devices is how many there are.
func (*Driver) Devices() int { return 0 }

// Device watches one of them.
func (*Driver) Device(int) (gpu.Monitor, error) {
	_, err := Open(Config{})
	return nil, err
}

// Close ends the use of the library.
func (*Driver) Close() error { return nil }
