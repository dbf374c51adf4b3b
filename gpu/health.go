package gpu

import "time"

// A Monitor watches one device from outside: NVML, or what stands for it. It may
// be asked while the device is lost, and may be wrong: a health check that lies is
// a fault like others.
type Monitor interface {
	Identity() (Identity, error)
	// Sample is the device's state now.
	Sample() (Sample, error)
	// Events are what the driver reported since the event with that number, and
	// the number to go on from. The first call gives 0.
	Events(after uint64) ([]Event, uint64, error)
}

// Identity says which device it is.
type Identity struct {
	Index  int    `json:"index"`
	UUID   string `json:"uuid"`
	Model  string `json:"model"`
	Serial string `json:"serial,omitempty"`
	PCI    string `json:"pci,omitempty"` // domain:bus:device.function
	Memory int64  `json:"memory"`        // bytes
	Driver string `json:"driver,omitempty"`
	CUDA   string `json:"cuda,omitempty"` // of the driver, such as 12.4
}

// Throttle is why clocks are lower than they could be: a set of reasons, with
// NVML's numbers.
type Throttle uint64

// The reasons that slow work down. Others, such as an idle device, do not.
const (
	ThrottleSoftPower   Throttle = 0x4
	ThrottleHardware    Throttle = 0x8
	ThrottleSoftThermal Throttle = 0x20
	ThrottleHardThermal Throttle = 0x40
	ThrottleHardPower   Throttle = 0x80
	throttleThatMatters          = ThrottleSoftPower | ThrottleHardware | ThrottleSoftThermal | ThrottleHardThermal | ThrottleHardPower
)

// Slows says whether one of the reasons slows work down.
func (t Throttle) Slows() bool { return t&throttleThatMatters != 0 }

// Sample is what a device says of itself at one time.
type Sample struct {
	At          time.Duration `json:"at_ns"` // on the caller's monotonic clock
	MemoryUsed  int64         `json:"memory_used"`
	Utilisation int           `json:"utilisation"` // percent of the time in which a kernel ran
	Temperature int           `json:"temperature"` // °C
	PowerWatts  float64       `json:"power_w"`
	ClockMHz    int           `json:"clock_mhz"` // of the multiprocessors
	MaxClockMHz int           `json:"max_clock_mhz"`
	Throttle    Throttle      `json:"throttle"`
	ECC         ECC           `json:"ecc"`
	Remap       Remap         `json:"remap"`
	// Lost says that the device does not answer; the rest is as it was last.
	Lost bool `json:"lost,omitempty"`
	// NeedsReset says that the driver asks for a reset.
	NeedsReset bool `json:"needs_reset,omitempty"`
}

// Healthy says whether a host that believes the sample gives work to the device.
func (s Sample) Healthy() bool {
	return !s.Lost && !s.NeedsReset && !s.Remap.Failed && s.ECC.UncorrectedVolatile == 0
}

// ECC are counters of memory errors: volatile ones since the last reset, aggregate
// ones for ever.
type ECC struct {
	CorrectedVolatile    uint64 `json:"corrected_volatile"`
	UncorrectedVolatile  uint64 `json:"uncorrected_volatile"`
	CorrectedAggregate   uint64 `json:"corrected_aggregate"`
	UncorrectedAggregate uint64 `json:"uncorrected_aggregate"`
}

// Remap are rows of the memory that were replaced.
type Remap struct {
	Corrected   int  `json:"corrected"`   // for many corrected errors
	Uncorrected int  `json:"uncorrected"` // for an uncorrectable one
	Pending     bool `json:"pending"`     // at the next reset
	Failed      bool `json:"failed"`      // no spare row was left
}

// An Event is what a driver reports of a device, such as an Xid.
type Event struct {
	Number uint64        `json:"number"` // from 1
	At     time.Duration `json:"at_ns"`
	Xid    int           `json:"xid,omitempty"`
	Class  Class         `json:"class"`
	Text   string        `json:"text"`
}
