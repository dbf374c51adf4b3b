package sim

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/gpu/simulated"
	"github.com/esper-sim/espersim/sim/trace"
)

// devices opens the host's accelerators for a new life of a process.
func (n *node) devices(life uint64) []actor.Device {
	chips := n.host.spec.Chips
	list := make([]actor.Device, len(chips))
	n.accels = make([]*simulated.Context, len(chips))
	for i, c := range chips {
		purpose := "launch"
		if i > 0 {
			purpose = fmt.Sprint("launch/", i+1)
		}
		x := c.Open(simulated.Process{
			Noise: func(launch uint64) uint64 { return n.src.At(purpose, launch, life) },
			Hold:  func(d time.Duration) { n.suspend(int64(d)) },
			Done:  func(o simulated.Outcome) { n.operated(i, o) },
		})
		n.accels[i] = x
		list[i] = actor.Device{Accel: x, Health: c}
	}
	return list
}

// operated records what came of a call of an accelerator.
func (n *node) operated(device int, o simulated.Outcome) {
	w := n.w
	e := w.log.Next(w.now, trace.DeviceOperated)
	e.From(string(n.spec.ID), n.life, n.sum)
	e.Peer, e.Arg, e.Cause = n.host.spec.Name, trace.DeviceArg(device, o.Era), n.cause
	e.Text = o.Op
	if o.Class != 0 {
		e.Text += ": " + o.Class.String()
	}
	w.log.Commit()
}

// changed records what became of an accelerator, whoever did it.
func (w *World) changed(h *host, device int, c simulated.Change) {
	e := w.log.Next(w.now, trace.DeviceChanged)
	e.Node, e.Arg, e.Text = h.spec.Name, trace.DeviceArg(device, c.Era), c.What
	if c.Class != 0 {
		e.Text += ": " + c.Class.String()
	}
	w.log.Commit()
}

// closeDevices gives back what a process held: it has ended.
func (n *node) closeDevices() {
	for _, x := range n.accels {
		x.Close()
	}
	n.accels = nil
}
