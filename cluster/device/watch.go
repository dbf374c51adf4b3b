package device

import (
	"time"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/gpu"
)

// Timer is the name of the timer that the owner passes to Tick.
const Timer = "device"

const (
	every     = time.Second
	probation = 30 * time.Second
	enough    = 3 // checks in a row
)

// Tick looks at the devices' health, and is called again for each Timer.
func (g *Guard) Tick() {
	if !g.Present() || g.exit != nil {
		return
	}
	g.env.Clock.SetTimer(Timer, 0, every)
	for i, u := range g.units {
		if u.sick != nil {
			g.retry(u)
			continue
		}
		g.read(u)
		if i == g.use && u.pending == nil {
			g.look(u)
		}
	}
}

// read takes in what the driver reported.
func (g *Guard) read(u *unit) {
	events, next, err := u.Health.Events(u.seen)
	if err != nil {
		return // the next reading tells
	}
	u.seen = next
	for _, e := range events {
		if e.Class != gpu.Throttled {
			u.reports++ // slow is not ill
		}
		if e.Class == gpu.RemapPending || e.Class == gpu.MemoryContained {
			u.due = true
		}
		g.tell(u, evidencev2.DeviceStep_DEVICE_REPORTED, &gpu.Error{Class: e.Class, Xid: e.Xid}, e.Text)
	}
}

// look compares what a device says of itself with what it does. A health check may
// lie: a device that it calls sick has its way if it computes what it should. What
// is to be done if it does not, is done with the error of that.
func (g *Guard) look(u *unit) {
	s, err := u.Health.Sample()
	if err != nil {
		return
	}
	if u.due = u.due || s.Remap.Pending; s.Healthy() || u.due {
		return
	}
	if g.check() == nil {
		g.env.Probe.Reached("device/disputed")
		g.tell(u, evidencev2.DeviceStep_DEVICE_DISPUTED, nil, "it computes what it should")
	}
}

// check computes something on the device whose result is known.
func (g *Guard) check() error {
	var p known
	in, out := p.input(), make([]float32, knownSize)
	return g.Do(func(a gpu.Accelerator) error {
		m, err := a.Load(p, 1)
		if err != nil {
			return err
		}
		if _, err = a.Run(m, out, in); err != nil {
			return err
		}
		if err = a.Unload(m); err == nil && !p.right(out) {
			err = &gpu.Error{Op: "run", Class: gpu.SilentCorruption, Why: "a known result is wrong"}
		}
		return err
	})
}

// retry looks whether a device that was given up is another now, or does its work
// again.
func (g *Guard) retry(u *unit) {
	now := g.env.Clock.Monotonic()
	if now < u.next {
		return
	}
	u.next = now + u.probation()/enough
	id, err := u.Health.Identity()
	switch {
	case err != nil:
		return
	case id.UUID != u.id:
		old := u.id
		u.id, u.given = id.UUID, 0
		if failure(u.Accel.Rebuild()) != nil || !g.write(u, evidencev2.DeviceStep_DEVICE_WELL, nil, "it is in the place of "+old) {
			u.id = old
			return
		}
	default:
		if failure(u.Accel.Rebuild()) != nil || !u.passes() {
			u.well = 0
			return
		}
		if u.well++; u.well < enough || !g.write(u, evidencev2.DeviceStep_DEVICE_WELL, nil, "it did what it should, several times") {
			return
		}
	}
	g.env.Probe.Reached("device/well")
	u.Accel.Limit(g.o.Limit)
	u.sick, u.streak, u.due, u.rebuilt, u.wrong = nil, 0, false, nil, nil
	g.choose()
}

// probation is how long a device is left alone that was given up: longer each time.
// Few devices make most of the failures, and each does well in between.
func (u *unit) probation() time.Duration {
	return probation << min(max(u.given-1, 0), 8)
}

// passes says whether a device that is not used computes a known result.
func (u *unit) passes() bool {
	var p known
	out := make([]float32, knownSize)
	m, err := u.Accel.Load(p, 1)
	if err != nil {
		return false
	}
	_, err = u.Accel.Run(m, out, p.input())
	return err == nil && u.Accel.Unload(m) == nil && p.right(out)
}

// Tend is called when the process has nothing on the device: it is reset, if that is
// due. No call has failed, so that it counts for nothing: a device is not given up
// for rows that were replaced.
func (g *Guard) Tend() {
	if g.Accel() == nil || !g.units[g.use].due {
		return
	}
	u := g.units[g.use]
	if !g.write(u, evidencev2.DeviceStep_DEVICE_RESET, nil, "a row of its memory is to be replaced") {
		return
	}
	g.env.Probe.Reached("device/tended")
	u.due = false
	e := failure(u.Accel.Reset())
	if e == nil {
		e = g.rebuild(u)
	}
	if e != nil {
		_ = g.Failed(e) // what there was to do about it is done, or the process ends
	}
}

// Mark is how a device stood at some time.
type Mark struct {
	use               int
	era               uint64
	failures, reports uint64
}

// Mark is how the device that is used stands now.
func (g *Guard) Mark() Mark {
	if g.use < 0 {
		return Mark{use: -1}
	}
	u := g.units[g.use]
	g.read(u)
	return Mark{g.use, g.era, u.failures, u.reports}
}

// Undisturbed says whether nothing has happened to the device since: what was
// measured on it in between counts.
func (g *Guard) Undisturbed(m Mark) bool { return m.use >= 0 && g.Mark() == m && !g.units[m.use].due }

// known is a program whose result is known without computing it there.
type known struct{}

const knownSize = 64

// Footprint implements gpu.Program.
func (known) Footprint(int) gpu.Footprint {
	return gpu.Footprint{Passes: 1, Flops: 2 * knownSize, Bytes: 8 * knownSize}
}

// Run implements gpu.Program.
func (known) Run(out, in []float32) {
	for i := range out {
		out[i] = float32(in[i]*3) + in[len(in)-1-i]
	}
}

func (known) input() []float32 {
	in := make([]float32, knownSize)
	for i := range in {
		in[i] = float32(i) - 20
	}
	return in
}

// right compares the result bit for bit: the values are whole numbers.
func (known) right(out []float32) bool {
	for i, v := range out {
		if v != float32(3*(i-20)+(knownSize-1-i-20)) {
			return false
		}
	}
	return true
}
