package kasmina

import (
	"errors"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/device"
	"github.com/esper-sim/espersim/gpu"
)

// launchLimit is how long one launch may take. Nothing else ends a kernel that hangs.
const launchLimit = 100 * time.Millisecond

// onHost is how much longer than on a device a layer's kernels take here (card 03).
const onHost = 5

// launch is a layer's kernels, forwards or backwards, as the program of a device.
type launch struct {
	k        *kasmina
	layer    int32
	back     bool
	training bool
	err      error // of the kernels
	module   gpu.Module
	era      uint64 // of the device, in which it was loaded
	trust    trust
}

var _ gpu.Resident = (*launch)(nil)

// Footprint implements gpu.Program.
func (l *launch) Footprint(batch int) gpu.Footprint {
	f := gpu.Footprint{Passes: 1}
	for _, g := range l.k.grafts {
		if int32(g.Layer) == l.layer {
			f.Bytes = int64(8 * batch * g.Width)
		}
	}
	return f
}

// Run implements gpu.Program. It ends with a sum over all that it leaves.
func (l *launch) Run(out, in []float32) {
	l.compute(out, in)
	l.Leave(out)
}

func (l *launch) compute(out, in []float32) {
	if l.back {
		l.err = l.k.bed.Backward(l.layer, in)
		return
	}
	copy(out, in)
	if l.k.env.Probe.Sometimes("throws") {
		l.err = errors.New("it does what it may not")
		return
	}
	l.err = l.k.bed.Forward(l.layer, out, l.training, false)
}

// program is what stands for a layer's kernels.
func (k *kasmina) program(layer int32, back bool) *launch {
	id := 2 * layer
	if back {
		id++
	}
	p := k.programs[id]
	if p == nil {
		p = &launch{k: k, layer: layer, back: back}
		k.programs[id] = p
	}
	return p
}

// errDevice says that a launch failed for no fault of a kernel.
var errDevice = errors.New("the device does not compute now")

// run computes a layer's kernels on the process's device, or on its processor where
// none is to be used. What it costs on a device is charged by the caller, whatever
// the device says of the launch. An error is the kernels', errDevice, or an
// *actor.Exit.
func (k *kasmina) run(p *launch, out, in []float32, work gpu.Work, units int) error {
	p.keep()
	err := k.device.Do(func(a gpu.Accelerator) error {
		if p.module == 0 || p.era != k.device.Era() {
			m, err := a.Load(p, k.job.Batch)
			if err != nil {
				return err
			}
			p.module, p.era = m, k.device.Era()
		}
		p.err = nil
		if _, err := a.Run(p.module, out, in); err != nil {
			return err
		}
		return p.verify(out)
	})
	var exit *actor.Exit
	switch {
	case err == nil:
		return p.err
	case errors.As(err, &exit):
		return exit
	case errors.Is(err, device.ErrNone):
		if k.device.Present() {
			k.env.Probe.Reached("kasmina/on-host")
			k.device.Aside()
			k.env.Clock.Work(work, (onHost-1)*units)
		}
		p.err = nil
		p.Run(out, in)
		return p.err
	}
	k.env.Log.Warn(err.Error())
	return errDevice
}
