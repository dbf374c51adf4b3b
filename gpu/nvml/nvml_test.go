//go:build nvml && cgo

package nvml_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/gputest"
	"github.com/esper-sim/espersim/gpu/nvml"
)

const source = "testdata/libnvidia-ml.c"

// stub is the one whole library of this process: it can be bound to one only.
var stub struct {
	once sync.Once
	dir  string
	path string
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(stub.dir) // of this process only
	os.Exit(code)
}

func library(t *testing.T) string {
	t.Helper()
	stub.once.Do(func() {
		var err error
		if stub.dir, err = os.MkdirTemp("", "espersim-nvml-"); err != nil {
			t.Fatal(err)
		}
		stub.path = gputest.Build(t, stub.dir, source)
	})
	return stub.path
}

// driver opens the stub, with a clock that goes on by a second whenever it is read.
func driver(t *testing.T) *nvml.Driver {
	t.Helper()
	now := time.Duration(0)
	d, err := nvml.Open(nvml.Config{Library: library(t), Now: func() time.Duration { now += time.Second; return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func monitor(t *testing.T) gpu.Monitor {
	t.Helper()
	m, err := driver(t).Device(0)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wants(t *testing.T, err error, class gpu.Class, text string) {
	t.Helper()
	var e *gpu.Error
	if !errors.As(err, &e) || e.Class != class || !strings.Contains(e.Error(), text) {
		t.Errorf("%v; want %v, %q", err, class, text)
	}
}

// What is missing is said before anything is bound to the library: a symbol that the
// binding does not find ends the process.
func TestWhatIsMissing(t *testing.T) {
	gputest.NewScript(t)
	_, err := nvml.Open(nvml.Config{Library: "libnvidia-ml-that-is-nowhere.so.1"})
	wants(t, err, gpu.NotInitialized, "install NVIDIA's driver, which brings libnvidia-ml.so.1")
	for _, symbol := range []string{"nvmlInit_v2", "nvmlErrorString", "nvmlDeviceGetRemappedRows", "nvmlEventSetWait_v2"} {
		_, err := nvml.Open(nvml.Config{Library: gputest.Build(t, t.TempDir(), source, symbol)})
		wants(t, err, gpu.NotInitialized, "has no "+symbol)
	}
}

// A process is bound to one library.
func TestOneLibrary(t *testing.T) {
	gputest.NewScript(t)
	driver(t)
	_, err := nvml.Open(nvml.Config{Library: "libother.so"})
	wants(t, err, gpu.NotInitialized, "want a process of its own for libother.so")
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	s := gputest.NewScript(t)
	path := library(t)
	for _, c := range []struct{ line, text string }{
		{"fail nvmlInit_v2 9 1 1", "NVML 9, Driver Not Loaded; load the kernel module nvidia"},
		{"fail nvmlInit_v2 18 1 1", "restart the host"},
		{"fail nvmlDeviceGetCount_v2 4 1 1", "give the user access"},
		{"set count 0", "the driver knows no device"},
	} {
		s.Write(c.line)
		_, err := nvml.Open(nvml.Config{Library: path})
		wants(t, err, gpu.NotInitialized, c.text)
	}
	s.Write("set count 2")
	d := driver(t)
	if d.Devices() != 2 {
		t.Errorf("%d devices", d.Devices())
	}
	_, err := d.Device(2)
	wants(t, err, gpu.NotInitialized, "there is no device 2; want 0 to 1")
	second, err := d.Device(1)
	if err != nil {
		t.Fatal(err)
	}
	id, err := second.Identity()
	if err != nil || id.Index != 1 || id.PCI != "00000000:19:00.0" || !strings.HasSuffix(id.UUID, "1") {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestIdentity(t *testing.T) {
	s := gputest.NewScript(t)
	m := monitor(t)
	want := gpu.Identity{UUID: "GPU-00000000-0000-0000-0000-000000000000", Model: "NVIDIA H100 80GB HBM3", Serial: "1650000000000",
		PCI: "00000000:18:00.0", Memory: 85520809984, Driver: "550.54.15", CUDA: "12.4"}
	if id, err := m.Identity(); err != nil || id != want {
		t.Errorf("%+v, %v", id, err)
	}
	// A board without a serial number is not ill.
	s.Write("fail nvmlDeviceGetSerial 3 1 100")
	want.Serial = ""
	if id, err := m.Identity(); err != nil || id != want {
		t.Errorf("%+v, %v", id, err)
	}
	s.Write("fail nvmlDeviceGetUUID 999 1 100")
	_, err := m.Identity()
	wants(t, err, gpu.Firmware, "identity: gsp: NVML 999")
}

func TestSample(t *testing.T) {
	s := gputest.NewScript(t)
	s.Write("set used 4096", "set utilisation 99", "set temperature 88", "set power 700500", "set clock 990", "set max-clock 1980",
		"set throttle 36", "set ecc-corrected 1", "set ecc-uncorrected 2", "set ecc-corrected-ever 3", "set ecc-uncorrected-ever 4",
		"set remapped-corrected 5", "set remapped-uncorrected 6", "set remap-pending 1")
	m := monitor(t)
	want := gpu.Sample{At: time.Second, MemoryUsed: 4096, Utilisation: 99, Temperature: 88, PowerWatts: 700.5, ClockMHz: 990, MaxClockMHz: 1980,
		Throttle: gpu.ThrottleSoftPower | gpu.ThrottleSoftThermal, ECC: gpu.ECC{CorrectedVolatile: 1, UncorrectedVolatile: 2, CorrectedAggregate: 3, UncorrectedAggregate: 4},
		Remap: gpu.Remap{Corrected: 5, Uncorrected: 6, Pending: true}}
	got, err := m.Sample()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got.Healthy() {
		t.Error("a device with an uncorrectable error is well")
	}

	// A device that is lost is known as it was last.
	s.Write("fail nvmlDeviceGetMemoryInfo 15 1 100")
	got, err = m.Sample()
	want.At, want.Lost, want.NeedsReset = 2*time.Second, true, true
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	// It was not: the next sample has not kept it.
	s.Write("set remap-failed 1")
	if got, err = m.Sample(); err != nil || got.Lost || got.Temperature != 51 || !got.Remap.Failed {
		t.Errorf("%+v, %v", got, err)
	}
	s.Write("fail nvmlDeviceGetTemperature 16 1 100")
	if got, err = m.Sample(); err != nil || got.Lost || !got.NeedsReset {
		t.Errorf("%+v, %v", got, err)
	}
	// A firmware that does not answer is an error.
	s.Write("fail nvmlDeviceGetClockInfo 10 1 100")
	_, err = m.Sample()
	wants(t, err, gpu.Firmware, "sample: gsp: NVML 10, Timeout")
	// No ECC, no remapping: a device that cannot is not ill.
	s.Write("fail nvmlDeviceGetTotalEccErrors 3 1 100", "fail nvmlDeviceGetRemappedRows 3 1 100")
	if got, err = m.Sample(); err != nil || !got.Healthy() || got.ECC != (gpu.ECC{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEvents(t *testing.T) {
	s := gputest.NewScript(t)
	m := monitor(t)
	if events, next, err := m.Events(0); err != nil || len(events) != 0 || next != 0 {
		t.Errorf("%v, %d, %v", events, next, err)
	}
	s.Write("event 94", "event 79", "event 1234")
	events, next, err := m.Events(0)
	want := []gpu.Event{
		{Number: 1, At: time.Second, Xid: 94, Class: gpu.MemoryContained, Text: gpu.MemoryContained.Trait().Summary},
		{Number: 2, At: 2 * time.Second, Xid: 79, Class: gpu.OffBus, Text: gpu.OffBus.Trait().Summary},
		{Number: 3, At: 3 * time.Second, Xid: 1234, Text: "an Xid that the table of classes does not have"},
	}
	if err != nil || next != 3 || !reflect.DeepEqual(events, want) {
		t.Errorf("%+v, %d, %v", events, next, err)
	}
	s.Write("event 94", "event 79", "event 1234", "event 119")
	if events, next, err = m.Events(3); err != nil || next != 4 || len(events) != 1 || events[0].Class != gpu.Firmware {
		t.Errorf("%+v, %d, %v", events, next, err)
	}
	s.Write("fail nvmlEventSetWait_v2 15 1 100")
	if events, next, err = m.Events(2); err != nil || next != 4 || len(events) != 2 {
		t.Errorf("of a device that is lost: %+v, %d, %v", events, next, err)
	}
	s.Write("fail nvmlEventSetWait_v2 999 1 100")
	_, _, err = m.Events(4)
	wants(t, err, gpu.Firmware, "NVML 999")
}

// A monitor keeps the last 256 events.
func TestEventsAreBounded(t *testing.T) {
	s := gputest.NewScript(t)
	m := monitor(t)
	lines := make([]string, 300)
	for i := range lines {
		lines[i] = "event 63"
	}
	s.Write(lines...)
	events, next, err := m.Events(0)
	if err != nil || next != 300 || len(events) != 256 || events[0].Number != 45 || events[255].Number != 300 {
		t.Errorf("%d events, next %d, %v", len(events), next, err)
	}
}

// A device that reports no events is watched all the same.
func TestNoEvents(t *testing.T) {
	s := gputest.NewScript(t)
	s.Write("fail nvmlDeviceGetSupportedEventTypes 3 1 100", "fail nvmlEventSetCreate 999 1 100")
	if events, next, err := monitor(t).Events(0); err != nil || events != nil || next != 0 {
		t.Errorf("%v, %d, %v", events, next, err)
	}
}
