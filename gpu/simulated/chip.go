package simulated

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// Keyed is randomness asked by identity; see actor.Keyed.
type Keyed interface {
	For(purpose string, a, b uint64) uint64
}

// Config of a chip.
type Config struct {
	Profile gpu.Device
	Memory  int64 // bytes; 0: 40 GiB
	Index   int   // on its host
	UUID    string
	// Keyed decides what a fault of some rate hits, and which bit flips; nil: the
	// first candidates are hit.
	Keyed Keyed
	// Now is the time of the chip's host.
	Now func() time.Duration
}

// Chip is one simulated device.
type Chip struct {
	c     Config
	rules []*rule

	// A context is of the generation in which it was made; those of an older one
	// are lost.
	generation uint64
	// What fails until a reset, or until what its action says; 0: nothing. Of two
	// the one with the greater action stays.
	ill      gpu.Class
	illXid   int
	remap    gpu.Remap
	ecc      gpu.ECC
	memory   int64         // taken
	free     time.Duration // when the last launch ends
	busy     time.Duration // of all launches so far
	launches uint64
	samples  uint64
	asked    uint64 // allocations and loads
	events   []gpu.Event
	first    uint64 // the number of events[0]
	resets   int
	peers    []*Chip // where its links lead
	swaps    int
	watch    func(Change)
}

// Change is something that became of a chip, whoever did it.
type Change struct {
	What  string // failed: all contexts are lost; degraded: they are not; reset; replaced; corrupted: a bit of a result or of a tensor
	Class gpu.Class
	Era   uint64 // how often all contexts were lost
}

// Watch has f hear of every change.
func (c *Chip) Watch(f func(Change)) { c.watch = f }

func (c *Chip) changed(what string, class gpu.Class) {
	if c.watch != nil {
		c.watch(Change{what, class, c.generation})
	}
}

// NewChip makes a device that is well and has nothing on it.
func NewChip(c Config) *Chip {
	if c.Memory == 0 {
		c.Memory = 40 << 30
	}
	if c.Now == nil {
		c.Now = func() time.Duration { return 0 }
	}
	return &Chip{c: c, generation: 1, first: 1}
}

var _ gpu.Monitor = (*Chip)(nil)

// Clock gives the chip the time of its host.
func (c *Chip) Clock(now func() time.Duration) { c.c.Now = now }

// Profile is what the chip's times are made of.
func (c *Chip) Profile() gpu.Device { return c.c.Profile }

// Ill is what is wrong with the chip until somebody acts, and 0 when it is well.
func (c *Chip) Ill() gpu.Class { return c.ill }

// Resets is how often it was reset, losses of power included.
func (c *Chip) Resets() int { return c.resets }

// keep is how many events a driver keeps.
const keep = 256

// report adds to what the driver tells.
func (c *Chip) report(class gpu.Class, xid int, text string) {
	if xid == 0 {
		if list := class.Trait().Xids; len(list) > 0 {
			xid = list[0]
		}
	}
	if len(c.events) == keep {
		c.events = append(c.events[:0], c.events[1:]...)
		c.first++
	}
	c.events = append(c.events, gpu.Event{Number: c.first + uint64(len(c.events)), At: c.c.Now(), Xid: xid, Class: class, Text: text})
}

// sicken makes the chip ill until it is reset, restarted or replaced. All
// contexts are lost, unless it is only what leads to other devices.
func (c *Chip) sicken(class gpu.Class, xid int) {
	if c.ill != 0 && class.Trait().Action <= c.ill.Trait().Action {
		return
	}
	c.ill, c.illXid = class, xid
	if class == gpu.LinkFailed {
		c.changed("degraded", class)
		return
	}
	c.generation++
	c.changed("failed", class)
}

// reset loses all contexts, and mends what a reset mends.
func (c *Chip) reset(most gpu.Action) bool {
	c.generation++
	c.resets++
	defer func() { c.changed("reset", c.ill) }()
	c.memory, c.free = 0, 0
	c.ecc.CorrectedVolatile, c.ecc.UncorrectedVolatile = 0, 0
	if c.remap.Pending {
		c.remap.Pending = false
		c.remap.Uncorrected++
	}
	if c.ill != 0 && c.ill.Trait().Action > most {
		return false
	}
	c.ill, c.illXid = 0, 0
	return true
}

// PowerCycle is what the chip goes through when its host restarts.
func (c *Chip) PowerCycle() { c.reset(gpu.RestartNode) }

// Swap puts another chip in its place: one that is well, has another identity, and
// remembers nothing. Faults in force stay: they are the place's.
func (c *Chip) Swap() {
	c.reset(gpu.Replace)
	c.ecc, c.remap = gpu.ECC{}, gpu.Remap{}
	c.swaps++
	c.changed("replaced", 0)
}

// Identity implements gpu.Monitor.
func (c *Chip) Identity() (gpu.Identity, error) {
	id := c.c.UUID
	if id == "" {
		id = fmt.Sprintf("GPU-simulated-%d", c.c.Index)
	}
	if c.swaps > 0 {
		id = fmt.Sprintf("%s-%d", id, c.swaps+1)
	}
	return gpu.Identity{Index: c.c.Index, UUID: id, Model: c.c.Profile.Name(), Memory: c.c.Memory, Driver: "simulated"}, nil
}

// clocks of the reference device, MHz.
const maxClock = 1980

// Sample implements gpu.Monitor. A health check that lies says the opposite of how
// the device is.
func (c *Chip) Sample() (gpu.Sample, error) {
	now := c.c.Now()
	s := gpu.Sample{At: now, MemoryUsed: c.memory, Temperature: 45, PowerWatts: 120, ClockMHz: maxClock, MaxClockMHz: maxClock, ECC: c.ecc, Remap: c.remap}
	if c.free > now {
		s.Utilisation, s.Temperature, s.PowerWatts = 100, 66, 640
	}
	if f := c.throttle(); f > 1 {
		s.Throttle, s.Temperature = gpu.ThrottleSoftThermal, 88
		s.ClockMHz = int(maxClock / f)
	}
	if c.ill != 0 {
		s.Lost = c.ill == gpu.OffBus
		s.NeedsReset = true
	}
	c.samples++
	if c.hit(gpu.FalseHealth, c.samples) != nil {
		if s.Healthy() {
			s.NeedsReset = true
		} else {
			s.Lost, s.NeedsReset, s.Remap.Failed, s.ECC.UncorrectedVolatile = false, false, false, 0
		}
	}
	return s, nil
}

// Events implements gpu.Monitor.
func (c *Chip) Events(after uint64) ([]gpu.Event, uint64, error) {
	next := c.first + uint64(len(c.events)) - 1
	if after >= next {
		return nil, next, nil
	}
	from := max(after+1, c.first) - c.first
	return append([]gpu.Event(nil), c.events[from:]...), next, nil
}
