//go:build nvml && cgo

package nvml

import (
	"fmt"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/esper-sim/espersim/gpu"
)

// Monitor watches one device.
type Monitor struct {
	d      *Driver
	index  int
	device nvml.Device

	mu     sync.Mutex
	last   gpu.Sample
	set    nvml.EventSet // nil: the device reports no events
	events []gpu.Event
	first  uint64 // the number of events[0]
}

var _ gpu.Monitor = (*Monitor)(nil)

// keep is how many events a monitor keeps.
const keep = 256

// wanted are the events that a monitor registers for, where the device has them.
const wanted = nvml.EventTypeXidCriticalError

// Device watches the device with an index, from 0. It is told of events from now on.
func (d *Driver) Device(index int) (gpu.Monitor, error) {
	if index < 0 || index >= d.devices {
		return nil, refuse("open", "there is no device %d; want 0 to %d", index, d.devices-1)
	}
	device, r := d.api.DeviceGetHandleByIndex(index)
	if r != nvml.SUCCESS {
		return nil, failed("open", r)
	}
	m := &Monitor{d: d, index: index, device: device, first: 1}
	if err := m.listen(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.open = append(d.open, m)
	d.mu.Unlock()
	return m, nil
}

// listen registers for events. A device without them is one that only samples tell
// of.
func (m *Monitor) listen() error {
	types, r := m.device.GetSupportedEventTypes()
	if r == nvml.ERROR_NOT_SUPPORTED || r == nvml.SUCCESS && types&wanted == 0 {
		return nil
	}
	if r != nvml.SUCCESS {
		return failed("open", r)
	}
	set, r := m.d.api.EventSetCreate()
	if r != nvml.SUCCESS {
		return failed("open", r)
	}
	if r := m.device.RegisterEvents(wanted, set); r != nvml.SUCCESS {
		_ = set.Free() // the first error is the one to report
		return failed("open", r)
	}
	m.set = set
	return nil
}

func (m *Monitor) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.set != nil {
		_ = m.set.Free() // the library ends with it
		m.set = nil
	}
}

// Identity implements gpu.Monitor. Boards without a serial number have none.
func (m *Monitor) Identity() (gpu.Identity, error) {
	id := gpu.Identity{Index: m.index}
	asked := ask{op: "identity"}
	id.Model = value(&asked, m.device.GetName)
	id.UUID = value(&asked, m.device.GetUUID)
	id.Serial = value(&asked, m.device.GetSerial)
	pci := value(&asked, m.device.GetPciInfo)
	if asked.err == nil {
		id.PCI = fmt.Sprintf("%08x:%02x:%02x.0", pci.Domain, pci.Bus, pci.Device)
	}
	id.Memory = int64(value(&asked, m.device.GetMemoryInfo).Total)
	id.Driver = value(&asked, m.d.api.SystemGetDriverVersion)
	if v := value(&asked, m.d.api.SystemGetCudaDriverVersion_v2); v > 0 {
		id.CUDA = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
	}
	if asked.err != nil {
		return gpu.Identity{}, asked.err
	}
	return id, nil
}

// ask is a series of questions that ends at the first error.
type ask struct {
	op  string
	err *gpu.Error
	r   nvml.Return
}

func value[T any](a *ask, question func() (T, nvml.Return)) (v T) {
	if a.err != nil {
		return v
	}
	got, r := question()
	switch r {
	case nvml.SUCCESS:
		return got
	case nvml.ERROR_NOT_SUPPORTED: // as of the serial number of some boards: it stays 0
	default:
		a.err, a.r = failed(a.op, r), r
	}
	return v
}

// Sample implements gpu.Monitor. What the device does not measure is 0. A device
// that is lost is no error: the sample says so, and the rest is as it was last.
func (m *Monitor) Sample() (gpu.Sample, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := gpu.Sample{At: m.d.now()}
	asked := ask{op: "sample"}
	s.MemoryUsed = int64(value(&asked, m.device.GetMemoryInfo).Used)
	s.Utilisation = int(value(&asked, m.device.GetUtilizationRates).Gpu)
	s.Temperature = int(value(&asked, func() (uint32, nvml.Return) { return m.device.GetTemperature(nvml.TEMPERATURE_GPU) }))
	s.PowerWatts = float64(value(&asked, m.device.GetPowerUsage)) / 1000
	s.ClockMHz = int(value(&asked, func() (uint32, nvml.Return) { return m.device.GetClockInfo(nvml.CLOCK_SM) }))
	s.MaxClockMHz = int(value(&asked, func() (uint32, nvml.Return) { return m.device.GetMaxClockInfo(nvml.CLOCK_SM) }))
	s.Throttle = gpu.Throttle(value(&asked, m.device.GetCurrentClocksThrottleReasons))
	for _, c := range []struct {
		into    *uint64
		kind    nvml.MemoryErrorType
		counter nvml.EccCounterType
	}{
		{&s.ECC.CorrectedVolatile, nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.VOLATILE_ECC},
		{&s.ECC.UncorrectedVolatile, nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC},
		{&s.ECC.CorrectedAggregate, nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.AGGREGATE_ECC},
		{&s.ECC.UncorrectedAggregate, nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.AGGREGATE_ECC},
	} {
		*c.into = value(&asked, func() (uint64, nvml.Return) { return m.device.GetTotalEccErrors(c.kind, c.counter) })
	}
	s.Remap = value(&asked, func() (gpu.Remap, nvml.Return) {
		corrected, uncorrected, pending, failed, r := m.device.GetRemappedRows()
		return gpu.Remap{Corrected: corrected, Uncorrected: uncorrected, Pending: pending, Failed: failed}, r
	})
	if asked.err == nil {
		m.last = s
		return s, nil
	}
	known := m.last
	known.At = s.At
	switch asked.r {
	case nvml.ERROR_GPU_IS_LOST:
		known.Lost, known.NeedsReset = true, true
	case nvml.ERROR_RESET_REQUIRED:
		known.NeedsReset = true
	default:
		return gpu.Sample{}, asked.err
	}
	return known, nil
}

// Events implements gpu.Monitor. It takes what the driver has and does not wait.
func (m *Monitor) Events(after uint64) ([]gpu.Event, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.set != nil {
		e, r := m.set.Wait(0)
		if r == nvml.ERROR_TIMEOUT || r == nvml.ERROR_GPU_IS_LOST {
			break // nothing more; that the device is lost is said by a sample
		}
		if r != nvml.SUCCESS {
			return nil, after, failed("events", r)
		}
		if e.EventType == nvml.EventTypeXidCriticalError {
			m.note(int(e.EventData))
		}
	}
	next := m.first + uint64(len(m.events)) - 1
	if after >= next {
		return nil, next, nil
	}
	from := max(after+1, m.first) - m.first
	return append([]gpu.Event(nil), m.events[from:]...), next, nil
}

func (m *Monitor) note(xid int) {
	class, known := gpu.OfXid(xid)
	text := "an Xid that the table of classes does not have"
	if known {
		text = class.Trait().Summary
	}
	if len(m.events) == keep {
		m.events = append(m.events[:0], m.events[1:]...)
		m.first++
	}
	m.events = append(m.events, gpu.Event{Number: m.first + uint64(len(m.events)), At: m.d.now(), Xid: xid, Class: class, Text: text})
}
