// Package device keeps the accelerators that a process computes on usable. It does
// what package gpu advises about an error, does more if the same comes again, and
// gives a device up that nothing helps: then it goes on with another of the host's,
// or says that there is none, and the process computes on its processor.
//
//   - [Guard]: the accelerators of a process.
//   - ladder.go: what is done about an error, and what if it was done before.
//   - watch.go: health from outside, which alone neither condemns a device nor
//     acquits it.
//
// Every step is a DeviceFact. What a later life must know (which device is not to
// be used, how often the host was restarted for it) is in a log before it is done:
// a process that has its host restarted again and again for a device that stays
// broken would train nothing else either.
package device

import (
	"errors"
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/journal"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/gpu"
)

// Options of a guard.
type Options struct {
	Dir     string        // of its log; empty: device
	Index   int           // on the host, of the first device that the process has
	Limit   time.Duration // longest that one launch may take
	Segment int           // bytes of a segment of its log
	Timeout time.Duration // longest that an operation on the disk may take
}

// Guard is what a process has of its host's accelerators. It uses one at a time.
type Guard struct {
	env   actor.Env
	o     Options
	units []*unit
	use   int // of units; -1: none is to be used
	era   uint64
	log   *journal.Log
	last  gpu.Class // of the last failure
	exit  *actor.Exit
}

// unit is one accelerator.
type unit struct {
	actor.Device
	index    int
	id       string
	streak   int    // calls that failed, one after the other
	failures uint64 // all of them
	seen     uint64 // the driver's reports that were read
	reports  uint64 // those among them that say that it is ill
	due      bool   // it is to be reset when it is idle
	sick     *evidencev2.DeviceFact
	well     int           // checks in a row that a sick device passed
	next     time.Duration // of them, not before
	rebuilt  []time.Duration
	wrong    []time.Duration          // when it computed something wrong
	past     []*evidencev2.DeviceFact // resets and restarts, from the log
	given    int                      // how often it was given up
	pending  *gpu.Error               // of what nothing could be done yet
}

// ErrNone says that a process has no accelerator that is to be used.
var ErrNone = errors.New("no accelerator is to be used")

// New makes the guard of a process's accelerators. Its log is opened by [Guard.Open].
func New(env actor.Env, o Options) *Guard {
	g := &Guard{env: env, o: o, use: -1, era: 1}
	for i, d := range env.Devices {
		u := &unit{Device: d, index: o.Index + i}
		if id, err := d.Health.Identity(); err == nil {
			u.id = id.UUID
		}
		// What the driver reported earlier, an earlier life has dealt with; what is
		// left of it the device's state says.
		_, u.seen, _ = d.Health.Events(0)
		d.Accel.Limit(o.Limit)
		g.units = append(g.units, u)
	}
	g.choose()
	if len(g.units) > 0 {
		dir := o.Dir
		if dir == "" {
			dir = "device"
		}
		g.log = journal.New(env, journal.Options{Dir: dir, Name: string(env.Self) + "/" + dir, Segment: o.Segment, Timeout: o.Timeout,
			Reset:  g.forget,
			Apply:  g.apply,
			Opened: g.choose,
		})
	}
	return g
}

// Open opens the log, if it is not open. It is called once more for each
// journal.Timer.
func (g *Guard) Open() {
	if g.log != nil {
		g.log.Open()
	}
}

func (g *Guard) forget() {
	for _, u := range g.units {
		u.sick, u.past, u.given = nil, nil, 0
	}
}

func (g *Guard) apply(_ uint64, record []byte) error {
	m := new(evidencev2.DeviceFact)
	if err := m.ParseCanonical(record); err != nil {
		return err
	}
	for _, u := range g.units {
		if u.id == m.Device {
			u.take(m)
		}
	}
	return nil
}

// take enters a record of the log.
func (u *unit) take(m *evidencev2.DeviceFact) {
	switch m.Step {
	case evidencev2.DeviceStep_DEVICE_SICK:
		u.sick, u.well = m, 0
		u.given++
	case evidencev2.DeviceStep_DEVICE_WELL:
		u.sick, u.past = nil, nil
	default:
		u.past = append(u.past, m)
	}
}

// choose takes the first device that is to be used.
func (g *Guard) choose() {
	for i, u := range g.units {
		if u.sick == nil {
			if i != g.use {
				g.use = i
				g.era++
			}
			return
		}
	}
	if g.use >= 0 {
		g.use = -1
		g.era++
	}
}

// Era rises whenever what the process had on the device is gone: what was
// allocated or loaded in an earlier one is to be made anew, and what was computed
// there and is not copied yet is lost.
func (g *Guard) Era() uint64 { return g.era }

// Usable says whether there is a device to compute on.
func (g *Guard) Usable() bool { return g.Accel() != nil }

// Present says whether the host has any.
func (g *Guard) Present() bool { return len(g.units) > 0 }

// Name is the model of the device that is used, and empty for none.
func (g *Guard) Name() string {
	if g.use < 0 {
		return ""
	}
	return g.units[g.use].Accel.Name()
}

// Memory is that of the device that is used.
func (g *Guard) Memory() (used, limit int64) {
	if g.use < 0 {
		return 0, 0
	}
	return g.units[g.use].Accel.Memory()
}

// Accel is the device that is used; nil: there is none. Who calls it directly tells
// of what came of it: Failed, Worked.
func (g *Guard) Accel() gpu.Accelerator {
	g.resume()
	if g.use < 0 || g.exit != nil || g.units[g.use].pending != nil {
		return nil
	}
	return g.units[g.use].Accel
}

// Do computes something on the device. op is called again after every recovery, and
// looks at Era for what it has to load again. The error is nil; or ErrNone; or an
// *actor.Exit, with which the process is to end; or a *gpu.Error of OutOfMemory,
// where no memory is free now; or what op returned, if that is no device's.
func (g *Guard) Do(op func(a gpu.Accelerator) error) error {
	for {
		a := g.Accel()
		if a == nil {
			return g.none()
		}
		err := op(a)
		if err == nil {
			g.Worked()
			return nil
		}
		if err := g.Failed(err); err != nil {
			return err
		}
	}
}

func (g *Guard) none() error {
	if g.exit != nil {
		return g.exit
	}
	return ErrNone
}

// Worked says that a call did well.
func (g *Guard) Worked() {
	if g.use < 0 {
		return
	}
	if u := g.units[g.use]; u.streak > 0 {
		u.streak = 0
		g.tell(u, evidencev2.DeviceStep_DEVICE_WORKS, nil, "")
	}
}

// Failed does what is to be done about an error of the device that is used. nil: it
// can be used again, or another one. Otherwise the error is one that Do returns.
func (g *Guard) Failed(err error) error {
	var e *gpu.Error
	if !errors.As(err, &e) || e.Class == gpu.InvalidHandle {
		return err
	}
	if g.use < 0 {
		return g.none()
	}
	u := g.units[g.use]
	u.streak++
	u.failures++
	g.last = e.Class
	step := evidencev2.DeviceStep_DEVICE_FAILED
	if e.Class == gpu.SilentCorruption {
		step = evidencev2.DeviceStep_DEVICE_WRONG
	}
	g.tell(u, step, e, e.Why)
	err = g.recover(u, e)
	if exit, ok := err.(*actor.Exit); ok {
		g.exit = exit
	}
	return err
}

// Aside declares that the process computes on its processor what it would on a
// device.
func (g *Guard) Aside() {
	if g.Present() {
		g.env.Facts.Record(&evidencev2.DeviceFact{Step: evidencev2.DeviceStep_DEVICE_ASIDE})
	}
}

// Last is the class of the last failure.
func (g *Guard) Last() gpu.Class { return g.last }

// Failures is how many calls have failed.
func (g *Guard) Failures() (n uint64) {
	for _, u := range g.units {
		n += u.failures
	}
	return n
}

// Exit is the error with which the process is to end, or nil. A handler returns it
// last.
func (g *Guard) Exit() error {
	if g.exit != nil {
		return g.exit
	}
	return nil
}

// tell declares what became of a device.
func (g *Guard) tell(u *unit, step evidencev2.DeviceStep, e *gpu.Error, detail string) {
	g.env.Facts.Record(u.fact(step, e, detail))
}

func (u *unit) fact(step evidencev2.DeviceStep, e *gpu.Error, detail string) *evidencev2.DeviceFact {
	f := &evidencev2.DeviceFact{Device: u.id, Index: int32(u.index), Step: step, Detail: detail}
	if e != nil {
		f.Class, f.Xid = e.Class.String(), int32(e.Xid)
	}
	return f
}

// write makes a step durable, and declares it. It reports false where that cannot be
// done now: the step must not be done either.
func (g *Guard) write(u *unit, step evidencev2.DeviceStep, e *gpu.Error, detail string) bool {
	f := u.fact(step, e, detail)
	f.AtMs = g.env.Clock.Now().UnixMilli()
	if !g.log.Usable() || !g.log.Write(f) {
		return false
	}
	declared := u.fact(step, e, detail)
	g.env.Facts.Record(declared)
	return true
}

// String is for errors and logs.
func (u *unit) String() string { return fmt.Sprintf("device %d (%s)", u.index, u.id) }
