//go:build linux && (amd64 || arm64) && (cgo || cuda)

package cuda

import (
	"bytes"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/esper-sim/espersim/gpu"
)

// symbols are the driver's functions that are called, with the versions that their
// arguments are of.
var symbols = []string{
	"cuInit", "cuDriverGetVersion", "cuGetErrorName",
	"cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetUuid", "cuDeviceGetPCIBusId", "cuDeviceTotalMem_v2", "cuDeviceGetAttribute",
	"cuCtxCreate_v2", "cuCtxDestroy_v2", "cuCtxSetCurrent",
	"cuMemGetInfo_v2", "cuMemAlloc_v2", "cuMemFree_v2", "cuMemcpyHtoD_v2", "cuMemcpyDtoH_v2",
	"cuModuleLoadData", "cuModuleUnload", "cuModuleGetFunction", "cuLaunchKernel",
	"cuEventCreate", "cuEventDestroy_v2", "cuEventRecord", "cuEventQuery", "cuEventSynchronize", "cuEventElapsedTime",
}

// Results that are no errors, or that are told apart from others.
const (
	success       = 0
	notReady      = 600
	launchTimeout = 702
)

// The least device that the kernels' PTX is for: compute capability 7.0, and the
// attributes that say which one a device has.
const (
	leastCapability = 70
	attributeMajor  = 75
	attributeMinor  = 76
)

// Driver is the opened library.
type Driver struct {
	functions map[string]uintptr
	devices   int
	version   string
}

func refuse(op, format string, args ...any) *gpu.Error {
	return &gpu.Error{Op: op, Class: gpu.NotInitialized, Why: fmt.Sprintf(format, args...)}
}

// Open loads the library, empty for DefaultLibrary, and asks it for the host's
// devices. An error is a *gpu.Error and says what to install. The library stays
// loaded: a driver that has been used is not to be unloaded.
func Open(library string) (*Driver, error) {
	if library == "" {
		library = DefaultLibrary
	}
	handle, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, refuse("open", "%v; install NVIDIA's driver, which brings %s, or name the library", err, DefaultLibrary)
	}
	d := &Driver{functions: map[string]uintptr{}}
	for _, name := range symbols {
		f, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, refuse("open", "%s has no %s; install a driver of version 525 or newer", library, name)
		}
		d.functions[name] = f
	}
	if e := d.call("open", "cuInit", 0); e != nil {
		if e.Class == gpu.NotInitialized {
			e.Why += ": the driver finds no device that this process may use; see that its kernel module is loaded and /dev/nvidia0 is there"
		}
		return nil, e
	}
	var a arguments
	defer a.release()
	var version, n int32
	if e := d.call("open", "cuDriverGetVersion", pointer(&a, &version)); e != nil {
		return nil, e
	}
	d.version = fmt.Sprintf("%d.%d", version/1000, version%1000/10)
	if e := d.call("open", "cuDeviceGetCount", pointer(&a, &n)); e != nil {
		return nil, e
	}
	if n == 0 {
		return nil, refuse("open", "the driver knows no device")
	}
	d.devices = int(n)
	return d, nil
}

// Devices is how many there are.
func (d *Driver) Devices() int { return d.devices }

// arguments keep what a call points to where it is.
type arguments struct{ runtime.Pinner }

func (a *arguments) release() { a.Unpin() }

// pointer is a pointer as an argument. What it points to stays until release.
func pointer[T any](a *arguments, p *T) uintptr {
	a.Pin(p)
	return uintptr(unsafe.Pointer(p))
}

// result calls a function and returns CUDA's result.
func (d *Driver) result(symbol string, args ...uintptr) int {
	r, _, _ := purego.SyscallN(d.functions[symbol], args...)
	return int(int32(r))
}

// call calls a function; nil: it succeeded.
func (d *Driver) call(op, symbol string, args ...uintptr) *gpu.Error {
	if r := d.result(symbol, args...); r != success {
		return d.failed(op, symbol, r)
	}
	return nil
}

// failed is the error of a result.
func (d *Driver) failed(op, symbol string, r int) *gpu.Error {
	why := symbol
	if name := d.errorName(r); name != "" {
		why += ": " + name
	}
	return &gpu.Error{Op: op, Class: gpu.OfCUDA(r), Code: r, Why: why}
}

func (d *Driver) errorName(r int) string {
	var a arguments
	defer a.release()
	var text *byte
	if d.result("cuGetErrorName", uintptr(r), pointer(&a, &text)) != success || text == nil {
		return ""
	}
	const longest = 128
	b := unsafe.Slice(text, longest) // only as far as the NUL is read
	for i := range longest {
		if b[i] == 0 {
			return string(b[:i])
		}
	}
	return ""
}

// Identity says which device it is.
func (d *Driver) Identity(index int) (gpu.Identity, error) {
	if index < 0 || index >= d.devices {
		return gpu.Identity{}, refuse("identity", "there is no device %d; want 0 to %d", index, d.devices-1)
	}
	var a arguments
	defer a.release()
	var device int32
	var total uint64
	var name, pci [256]byte
	var uuid [16]byte
	for _, q := range []struct {
		symbol string
		args   []uintptr
	}{
		{"cuDeviceGet", []uintptr{pointer(&a, &device), uintptr(index)}},
		{"cuDeviceGetName", []uintptr{pointer(&a, &name), uintptr(len(name)), 0}},
		{"cuDeviceGetUuid", []uintptr{pointer(&a, &uuid), 0}},
		{"cuDeviceGetPCIBusId", []uintptr{pointer(&a, &pci), uintptr(len(pci)), 0}},
		{"cuDeviceTotalMem_v2", []uintptr{pointer(&a, &total), 0}},
	} {
		if q.symbol != "cuDeviceGet" {
			q.args[len(q.args)-1] = uintptr(device)
		}
		if e := d.call("identity", q.symbol, q.args...); e != nil {
			return gpu.Identity{}, e
		}
	}
	return gpu.Identity{Index: index, Model: text(name[:]), PCI: text(pci[:]), Memory: int64(total), CUDA: d.version,
		UUID: fmt.Sprintf("GPU-%x-%x-%x-%x-%x", uuid[:4], uuid[4:6], uuid[6:8], uuid[8:10], uuid[10:])}, nil
}

func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// capability is a device's compute capability, as 90 for 9.0.
func (d *Driver) capability(device int32) (int, *gpu.Error) {
	var a arguments
	defer a.release()
	var major, minor int32
	if e := d.call("open", "cuDeviceGetAttribute", pointer(&a, &major), attributeMajor, uintptr(device)); e != nil {
		return 0, e
	}
	if e := d.call("open", "cuDeviceGetAttribute", pointer(&a, &minor), attributeMinor, uintptr(device)); e != nil {
		return 0, e
	}
	return int(10*major + minor), nil
}
