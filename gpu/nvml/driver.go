//go:build nvml && cgo

package nvml

import (
	"fmt"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/esper-sim/espersim/gpu"
)

// needed are the symbols that this package comes to call. The binding resolves a
// symbol at its first call, and one that is missing then ends the process, so that
// they are looked up before.
var needed = []string{
	"nvmlInit_v2", "nvmlShutdown", "nvmlErrorString",
	"nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion_v2",
	"nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2",
	"nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetSerial", "nvmlDeviceGetPciInfo_v3",
	"nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTemperature", "nvmlDeviceGetPowerUsage",
	"nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetCurrentClocksThrottleReasons",
	"nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetRemappedRows",
	"nvmlEventSetCreate", "nvmlEventSetFree", "nvmlEventSetWait_v2", "nvmlDeviceGetSupportedEventTypes", "nvmlDeviceRegisterEvents",
}

// loaded is the library whose symbols the process is bound to. It stays mapped for
// ever: what was bound once is not bound again.
var loaded struct {
	sync.Mutex
	name   string
	handle *dl.DynamicLibrary
}

// Driver is the opened library.
type Driver struct {
	api     nvml.Interface
	now     func() time.Duration
	devices int

	mu   sync.Mutex // around the monitors
	open []*Monitor
}

func refuse(op, format string, args ...any) error {
	return &gpu.Error{Op: op, Class: gpu.NotInitialized, Why: fmt.Sprintf(format, args...)}
}

// load maps the library into the process and looks for every symbol.
func load(name string) error {
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.handle != nil {
		if loaded.name != name {
			return refuse("open", "this process has loaded %s already, and can have no other; want a process of its own for %s", loaded.name, name)
		}
		return nil
	}
	handle := dl.New(name, dl.RTLD_LAZY|dl.RTLD_LOCAL)
	if err := handle.Open(); err != nil {
		return refuse("open", "%v; install NVIDIA's driver, which brings %s, or name the library", err, DefaultLibrary)
	}
	for _, symbol := range needed {
		if handle.Lookup(symbol) != nil {
			_ = handle.Close() // nothing is bound to it
			return refuse("open", "%s has no %s; install a driver of version 525 or newer", name, symbol)
		}
	}
	loaded.name, loaded.handle = name, handle
	return nil
}

// Open loads the library and asks it for the host's devices. An error is a
// *gpu.Error and says what to install.
func Open(c Config) (*Driver, error) {
	if c.Library == "" {
		c.Library = DefaultLibrary
	}
	if c.Now == nil {
		began := time.Now()
		c.Now = func() time.Duration { return time.Since(began) }
	}
	if err := load(c.Library); err != nil {
		return nil, err
	}
	d := &Driver{api: nvml.New(nvml.WithLibraryPath(c.Library)), now: c.Now}
	if r := d.api.Init(); r != nvml.SUCCESS {
		return nil, failed("open", r)
	}
	n, r := d.api.DeviceGetCount()
	if r != nvml.SUCCESS {
		_ = d.Close() // the first error is the one to report
		return nil, failed("open", r)
	}
	if n == 0 {
		_ = d.Close()
		return nil, refuse("open", "the driver knows no device")
	}
	d.devices = n
	return d, nil
}

// Devices is how many there are.
func (d *Driver) Devices() int { return d.devices }

// Close ends the use of the library, and of all monitors.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.open {
		m.close()
	}
	d.open = nil
	if r := d.api.Shutdown(); r != nvml.SUCCESS {
		return failed("close", r)
	}
	return nil
}

// classes of NVML's results. Others come of no driver that may be used.
var classes = map[nvml.Return]gpu.Class{
	nvml.ERROR_GPU_IS_LOST:    gpu.OffBus,
	nvml.ERROR_RESET_REQUIRED: gpu.MemoryUncontained,
	nvml.ERROR_TIMEOUT:        gpu.Firmware,
	nvml.ERROR_IRQ_ISSUE:      gpu.Firmware,
	nvml.ERROR_UNKNOWN:        gpu.Firmware,
}

// cures are what to do about results that a host can do something about.
var cures = map[nvml.Return]string{
	nvml.ERROR_DRIVER_NOT_LOADED:       "load the kernel module nvidia",
	nvml.ERROR_NO_PERMISSION:           "give the user access to /dev/nvidiactl and /dev/nvidia0",
	nvml.ERROR_LIB_RM_VERSION_MISMATCH: "library and kernel module are of two versions; restart the host",
	nvml.ERROR_RESET_REQUIRED:          "reset the device with nvidia-smi --gpu-reset",
	nvml.ERROR_GPU_IS_LOST:             "restart the host",
}

func failed(op string, r nvml.Return) *gpu.Error {
	c, ok := classes[r]
	if !ok {
		c = gpu.NotInitialized
	}
	why := fmt.Sprintf("NVML %d, %s", int(r), nvml.ErrorString(r))
	if cure := cures[r]; cure != "" {
		why += "; " + cure
	}
	return &gpu.Error{Op: op, Class: c, Why: why}
}
