package device

import (
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/gpu"
)

// The ladder: how often an action may be taken within a time before the next
// greater one is. An action that did not help so often will not.
const (
	mostRetries  = 2 // one after the other
	mostRebuilds = 3
	mostRestarts = 3
	mostResets   = 2
	mostReboots  = 2
	mostWrong    = 3

	rebuildWindow = time.Minute
	wrongWindow   = 10 * time.Minute
	restartWindow = 10 * time.Minute
	resetWindow   = 10 * time.Minute
	rebootWindow  = time.Hour
)

// recover does what is to be done about an error. nil: the call is to be made again.
func (g *Guard) recover(u *unit, e *gpu.Error) error {
	action := e.Class.Trait().Action
	for {
		switch action {
		case gpu.Compare:
			// What computes something wrong now and then is not mended by anything
			// that a host could do: few devices do it, and these again and again.
			if may(&u.wrong, g.env.Clock.Monotonic(), wrongWindow, mostWrong) {
				g.env.Probe.Reached("device/computed-again")
				return nil
			}
			g.env.Probe.Reached("device/lemon")
			action = gpu.Replace
		case gpu.Retry, gpu.Wait:
			if u.streak <= mostRetries {
				g.env.Probe.Reached("device/retried")
				return nil
			}
			action = gpu.RebuildContext
		case gpu.FreeMemory:
			// Others have it, or the caller: who passes no memory back gets the
			// error, and is not to blame a device for it.
			if u.streak == 1 {
				g.env.Probe.Reached("device/retried")
				return nil
			}
			u.streak = 0
			return e
		case gpu.RebuildContext:
			if !may(&u.rebuilt, g.env.Clock.Monotonic(), rebuildWindow, mostRebuilds) {
				action = gpu.ResetDevice
				continue
			}
			if again := g.rebuild(u); again != nil {
				e, action = again, max(again.Class.Trait().Action, gpu.RebuildContext)
				continue
			}
			return nil
		case gpu.RestartProcess:
			if g.count(u, evidencev2.DeviceStep_DEVICE_RESTART, restartWindow) >= mostRestarts {
				action = gpu.ResetDevice
				continue
			}
			if !g.write(u, evidencev2.DeviceStep_DEVICE_RESTART, e, "") {
				return g.rest(u, e)
			}
			g.env.Probe.Reached("device/restart")
			return &actor.Exit{Why: u.String() + ": " + e.Error()}
		case gpu.ResetDevice:
			if g.count(u, evidencev2.DeviceStep_DEVICE_RESET, resetWindow) >= mostResets {
				action = gpu.RestartNode
				continue
			}
			if !g.write(u, evidencev2.DeviceStep_DEVICE_RESET, e, "") {
				return g.rest(u, e)
			}
			g.env.Probe.Reached("device/reset")
			if again := failure(u.Accel.Reset()); again != nil {
				e, action = again, max(again.Class.Trait().Action, gpu.ResetDevice)
				continue
			}
			u.due = false
			if again := g.rebuild(u); again != nil {
				if again.Class.Trait().Action == gpu.RestartProcess {
					// The device is well, and this process gets no context on it.
					return &actor.Exit{Why: u.String() + ": " + again.Error()}
				}
				e, action = again, max(again.Class.Trait().Action, gpu.ResetDevice)
				continue
			}
			return nil
		case gpu.RestartNode:
			if g.count(u, evidencev2.DeviceStep_DEVICE_REBOOT, rebootWindow) >= mostReboots {
				action = gpu.Replace
				continue
			}
			if !g.write(u, evidencev2.DeviceStep_DEVICE_REBOOT, e, "") {
				return g.rest(u, e)
			}
			g.env.Probe.Reached("device/reboot")
			return &actor.Exit{Why: u.String() + ": " + e.Error(), Reboot: true}
		default: // Replace, or nothing that a host could do
			if !g.write(u, evidencev2.DeviceStep_DEVICE_SICK, e, "") {
				return g.rest(u, e)
			}
			g.env.Probe.Reached("device/sick")
			u.next = g.env.Clock.Monotonic() + u.probation()
			g.choose()
			return nil
		}
	}
}

// failure is an accelerator's error, or nil.
func failure(err error) *gpu.Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*gpu.Error); ok {
		return e
	}
	return &gpu.Error{Class: gpu.Sticky, Why: err.Error()}
}

// rebuild makes another context.
func (g *Guard) rebuild(u *unit) *gpu.Error {
	g.era++
	if e := failure(u.Accel.Rebuild()); e != nil {
		return e
	}
	g.env.Probe.Reached("device/rebuilt")
	u.Accel.Limit(g.o.Limit)
	g.tell(u, evidencev2.DeviceStep_DEVICE_REBUILT, nil, "")
	return nil
}

// may says whether something may be done once more within a time, and counts it.
func may(past *[]time.Duration, now, within time.Duration, most int) bool {
	k := 0
	for k < len(*past) && now-(*past)[k] >= within {
		k++
	}
	*past = append((*past)[:0], (*past)[k:]...)
	if len(*past) >= most {
		return false
	}
	*past = append(*past, now)
	return true
}

// count is how often a step was taken lately, in whatever life.
func (g *Guard) count(u *unit, step evidencev2.DeviceStep, within time.Duration) (n int) {
	since := g.env.Clock.Now().Add(-within).UnixMilli()
	for _, f := range u.past {
		if f.Step == step && f.AtMs >= since && f.Class != "" {
			n++
		}
	}
	return n
}

// rest leaves a device alone for as long as what is to be done about it cannot be
// made durable.
func (g *Guard) rest(u *unit, e *gpu.Error) error {
	g.env.Probe.Reached("device/rest")
	u.pending = e
	return ErrNone
}

// resume does what there was to do about a device that was left alone, if that can be
// made durable now.
func (g *Guard) resume() {
	if g.use < 0 || g.exit != nil {
		return
	}
	u := g.units[g.use]
	e := u.pending
	if e == nil || !g.log.Usable() {
		return
	}
	u.pending = nil
	if exit, ok := g.recover(u, e).(*actor.Exit); ok {
		g.exit = exit
	}
}
