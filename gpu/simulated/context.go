package simulated

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// Process is who has a context.
type Process struct {
	// Noise is a keyed draw for the n-th launch; nil: no noise.
	Noise func(n uint64) uint64
	// Hold suspends the process, for a call that does not return at once; nil: it
	// returns at once.
	Hold func(time.Duration)
	// Done hears of every launch, rebuilding and reset, and of every other call that
	// failed; nil: nobody does.
	Done func(Outcome)
}

// Outcome is what came of a call.
type Outcome struct {
	Op    string    // as in gpu.Error
	Class gpu.Class // of the error; 0: it did well
	Era   uint64    // of the context: it rises with each that the process makes
}

// Context is what one process has of a chip.
type Context struct {
	chip       *Chip
	p          Process
	generation uint64
	used       int64
	next       uint64
	slices     map[gpu.Slice]int64
	modules    map[gpu.Module]module
	launches   uint64
	limit      time.Duration
	lost       *gpu.Error // why every call fails
	era        uint64
}

type module struct {
	p         gpu.Program
	footprint gpu.Footprint
	batch     int
}

// Open gives a process a context. What its earlier life held was given back when
// that ended: Close.
func (c *Chip) Open(p Process) *Context {
	x := &Context{chip: c, p: p}
	x.fresh()
	return x
}

func (x *Context) fresh() {
	x.generation, x.used, x.lost = x.chip.generation, 0, nil
	x.era++
	x.slices, x.modules = map[gpu.Slice]int64{}, map[gpu.Module]module{}
}

// Close gives back what the process held: it has ended.
func (x *Context) Close() {
	if x.generation == x.chip.generation {
		x.chip.memory -= x.used
	}
	x.generation, x.used = 0, 0
}

var _ gpu.Accelerator = (*Context)(nil)

// Name is the profile's.
func (x *Context) Name() string { return x.chip.c.Profile.Name() }

// Memory is how much is taken, by whomever, and how much there is.
func (x *Context) Memory() (used, limit int64) { return x.chip.memory, x.chip.c.Memory }

// Limit implements gpu.Accelerator.
func (x *Context) Limit(d time.Duration) { x.limit = d }

// The firmware's time-out, after which a call that hangs fails, and how long a
// reset takes.
const (
	FirmwareTimeout = 6 * time.Second
	ResetTime       = 2 * time.Second
	RebuildTime     = 300 * time.Millisecond
)

// forever is how long a launch hangs that nobody bounds.
const forever = time.Duration(math.MaxInt64 / 4)

func (x *Context) hold(d time.Duration) {
	if x.p.Hold != nil {
		x.p.Hold(d)
	}
}

// fails is why an operation is refused before it begins, or nil.
func (x *Context) fails(op string) *gpu.Error {
	c := x.chip
	switch {
	case c.ill == gpu.Firmware:
		x.hold(FirmwareTimeout)
		fallthrough
	case c.ill != 0 && c.ill != gpu.LinkFailed:
		return &gpu.Error{Op: op, Class: c.ill, Xid: c.illXid}
	case x.lost != nil:
		e := *x.lost
		e.Op = op
		return &e
	case x.generation != c.generation:
		return &gpu.Error{Op: op, Class: gpu.Sticky, Why: "the device was reset"}
	}
	return nil
}

// lose makes every later call fail, too.
func (x *Context) lose(e *gpu.Error) *gpu.Error {
	x.lost = e
	return e
}

func (x *Context) take(op string, bytes int64) error {
	c := x.chip
	c.asked++
	if c.hit(gpu.OutOfMemory, c.asked) != nil {
		return &gpu.Error{Op: op, Class: gpu.OutOfMemory, Code: 2, Why: "another has taken it"}
	}
	if bytes < 0 || bytes > c.c.Memory-c.memory {
		return &gpu.Error{Op: op, Class: gpu.OutOfMemory, Code: 2, Why: fmt.Sprintf("%d bytes of %d are free, %d wanted", c.c.Memory-c.memory, c.c.Memory, bytes)}
	}
	c.memory += bytes
	x.used += bytes
	return nil
}

func (x *Context) give(bytes int64) {
	x.chip.memory -= bytes
	x.used -= bytes
}

// done tells of a call's outcome, and passes its error on.
func (x *Context) done(op string, err error) error {
	if x.p.Done == nil || err == nil && op != "run" && op != "rebuild" && op != "reset" {
		return err
	}
	o := Outcome{Op: op, Era: x.era}
	var e *gpu.Error
	if errors.As(err, &e) {
		o.Class = e.Class
	}
	x.p.Done(o)
	return err
}

// Alloc implements gpu.Accelerator.
func (x *Context) Alloc(bytes int64) (gpu.Slice, error) {
	s, err := x.alloc(bytes)
	return s, x.done("alloc", err)
}

// Free implements gpu.Accelerator.
func (x *Context) Free(s gpu.Slice) error { return x.done("free", x.freeSlice(s)) }

// Load implements gpu.Accelerator.
func (x *Context) Load(p gpu.Program, batch int) (gpu.Module, error) {
	m, err := x.load(p, batch)
	return m, x.done("load", err)
}

// Unload implements gpu.Accelerator. What the program retains stays taken.
func (x *Context) Unload(m gpu.Module) error { return x.done("unload", x.unload(m)) }

// Run implements gpu.Accelerator.
func (x *Context) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	t, err := x.run(m, out, in)
	return t, x.done("run", err)
}

// Rebuild implements gpu.Accelerator. A context that is well is only emptied, which
// takes no time.
func (x *Context) Rebuild() error { return x.done("rebuild", x.rebuild()) }

// Reset implements gpu.Accelerator.
func (x *Context) Reset() error { return x.done("reset", x.reset()) }

func (x *Context) alloc(bytes int64) (gpu.Slice, error) {
	if e := x.fails("alloc"); e != nil {
		return 0, e
	}
	if err := x.take("alloc", bytes); err != nil {
		return 0, err
	}
	x.next++
	x.slices[gpu.Slice(x.next)] = bytes
	return gpu.Slice(x.next), nil
}

func (x *Context) freeSlice(s gpu.Slice) error {
	if e := x.fails("free"); e != nil {
		return e
	}
	bytes, ok := x.slices[s]
	if !ok {
		return &gpu.Error{Op: "free", Class: gpu.InvalidHandle, Code: 400, Why: fmt.Sprintf("there is no slice %d", s)}
	}
	delete(x.slices, s)
	x.give(bytes)
	return nil
}

func (x *Context) load(p gpu.Program, batch int) (gpu.Module, error) {
	if e := x.fails("load"); e != nil {
		return 0, e
	}
	f := p.Footprint(batch)
	if err := x.take("load", f.Bytes+f.Retained); err != nil {
		return 0, err
	}
	x.next++
	x.modules[gpu.Module(x.next)] = module{p, f, batch}
	return gpu.Module(x.next), nil
}

func (x *Context) unload(m gpu.Module) error {
	if e := x.fails("unload"); e != nil {
		return e
	}
	l, ok := x.modules[m]
	if !ok {
		return &gpu.Error{Op: "unload", Class: gpu.InvalidHandle, Code: 400, Why: fmt.Sprintf("there is no module %d", m)}
	}
	delete(x.modules, m)
	x.give(l.footprint.Bytes)
	return nil
}

func (x *Context) run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	if e := x.fails("run"); e != nil {
		return gpu.Timing{}, e
	}
	l, ok := x.modules[m]
	if !ok {
		return gpu.Timing{}, &gpu.Error{Op: "run", Class: gpu.InvalidHandle, Code: 400, Why: fmt.Sprintf("there is no module %d", m)}
	}
	c := x.chip
	c.launches++
	if e := x.breaks(l.p); e != nil {
		return gpu.Timing{}, e
	}
	l.p.Run(out, in)
	if c.hit(gpu.SilentCorruption, c.launches) != nil {
		c.corrupt(l.p, out)
	}
	return x.timing(&l), nil
}

// timing is how long the launch takes.
func (x *Context) timing(l *module) gpu.Timing {
	c := x.chip
	x.launches++
	units := float64(5*l.footprint.Passes) + float64(l.footprint.Flops*int64(l.batch))/1e6
	if x.p.Noise != nil {
		// Within 5 % either way.
		units *= 0.95 + 0.1*float64(x.p.Noise(x.launches)>>11)/(1<<53)
	}
	if slower := c.throttle(); slower > 1 {
		units *= slower
		c.slowed()
	}
	t := gpu.Timing{Units: max(int(units+0.5), 1)}
	t.Ran = c.c.Profile.Cost(gpu.Launch, t.Units)
	now := c.c.Now()
	t.Queued = max(c.free-now, 0)
	c.free = now + t.Queued + t.Ran
	c.busy += t.Ran
	if t.Ran > 0 {
		t.Units += int(t.Queued * time.Duration(t.Units) / t.Ran)
	}
	return t
}

// slowed counts that a throttled device made a launch slower.
func (c *Chip) slowed() {
	for _, r := range c.rules {
		if r.Class == gpu.Throttled && !r.lifted {
			r.fired++
		}
	}
}

func (x *Context) rebuild() error {
	if x.lost != nil || x.chip.ill != 0 || x.generation != x.chip.generation {
		x.hold(RebuildTime)
	}
	if x.lost != nil && x.lost.Class.Trait().Action > gpu.RebuildContext {
		e := *x.lost
		e.Op = "rebuild"
		return &e
	}
	if c := x.chip; c.ill != 0 && c.ill != gpu.LinkFailed {
		if c.ill == gpu.Firmware {
			x.hold(FirmwareTimeout)
		}
		return &gpu.Error{Op: "rebuild", Class: c.ill, Xid: c.illXid}
	}
	x.Close()
	x.fresh()
	return nil
}

func (x *Context) reset() error {
	x.hold(ResetTime)
	if c := x.chip; !c.reset(gpu.ResetDevice) {
		return &gpu.Error{Op: "reset", Class: c.ill, Xid: c.illXid}
	}
	return nil
}
