package simulated

import (
	"math"

	"github.com/esper-sim/espersim/gpu"
)

// breaks is what a fault makes of a launch, or nil.
func (x *Context) breaks(p gpu.Program) *gpu.Error {
	c := x.chip
	n := c.launches
	if len(c.rules) == 0 && c.ill == 0 {
		return nil
	}
	if _, talks := p.(gpu.Collective); talks {
		if r := c.hit(gpu.LinkFailed, n); r != nil {
			c.link(r)
		}
		if c.ill == gpu.LinkFailed {
			return &gpu.Error{Op: "run", Class: gpu.LinkFailed, Xid: c.illXid}
		}
	}
	for _, class := range []gpu.Class{gpu.OffBus, gpu.RemapFailed, gpu.Firmware, gpu.MemoryUncontained, gpu.RemapPending,
		gpu.MemoryContained, gpu.AppFault, gpu.Sticky, gpu.Hung, gpu.LaunchFailed} {
		r := c.hit(class, n)
		if r == nil {
			continue
		}
		if e := x.strike(class, r); e != nil {
			return e
		}
	}
	return nil
}

// strike does what a fault of a class does.
func (x *Context) strike(class gpu.Class, r *rule) *gpu.Error {
	c := x.chip
	e := &gpu.Error{Op: "run", Class: class, Xid: r.Xid}
	if xids := class.Trait().Xids; e.Xid == 0 && len(xids) > 0 {
		e.Xid = xids[0]
	}
	switch class {
	case gpu.OffBus, gpu.RemapFailed, gpu.MemoryUncontained:
		c.report(class, e.Xid, class.Trait().Summary)
		if class != gpu.OffBus {
			c.ecc.UncorrectedVolatile++
			c.ecc.UncorrectedAggregate++
		}
		c.remap.Failed = c.remap.Failed || class == gpu.RemapFailed
		c.sicken(class, e.Xid)
	case gpu.Firmware:
		c.report(class, e.Xid, class.Trait().Summary)
		x.hold(FirmwareTimeout)
		// At Delta 99 % stay so until a reset.
		if c.share("gpu/gsp-stays", c.launches) < 0.99 {
			c.sicken(class, e.Xid)
		}
	case gpu.RemapPending:
		c.report(class, e.Xid, class.Trait().Summary)
		c.remap.Pending = true
		c.changed("degraded", class)
		return nil // the launch does well
	case gpu.MemoryContained:
		c.report(class, e.Xid, class.Trait().Summary)
		c.ecc.UncorrectedVolatile++
		c.ecc.UncorrectedAggregate++
		c.remap.Pending = true
		x.lose(e)
	case gpu.AppFault:
		c.report(class, e.Xid, class.Trait().Summary)
		x.lose(e)
	case gpu.Sticky:
		e.Code = 719
		x.lose(e)
	case gpu.Hung:
		if x.limit == 0 {
			x.hold(forever)
		}
		x.hold(x.limit)
		e.Code = 702
		x.lose(e)
	}
	return e
}

// link breaks what passes between devices. At Delta it stays so in 66 % of the
// cases, spreads in 14 %, and ends by itself in 20 %.
func (c *Chip) link(r *rule) {
	xid := r.Xid
	if xid == 0 {
		xid = gpu.LinkFailed.Trait().Xids[0]
	}
	c.report(gpu.LinkFailed, xid, gpu.LinkFailed.Trait().Summary)
	switch draw := c.share("gpu/nvlink-stays", c.launches); {
	case draw < 0.66:
		c.sicken(gpu.LinkFailed, xid)
	case draw < 0.80:
		c.sicken(gpu.LinkFailed, xid)
		for _, p := range c.peers {
			p.report(gpu.LinkFailed, xid, "a neighbour's link fails")
			p.sicken(gpu.LinkFailed, xid)
		}
	}
}

// Connect says which chips the links of this one lead to.
func (c *Chip) Connect(peers ...*Chip) { c.peers = append(c.peers, peers...) }

// corrupt flips a bit: of the result, or of what the program has in the device's
// memory.
func (c *Chip) corrupt(p gpu.Program, out []float32) {
	where := c.draw("gpu/corrupt", c.launches, 1)
	hit := out
	if r, ok := p.(gpu.Resident); ok {
		tensors := append([][]float32{out}, r.Tensors()...)
		n := uint64(0)
		for _, t := range tensors {
			n += uint64(len(t))
		}
		where %= max(n, 1)
		for _, t := range tensors {
			if hit = t; where < uint64(len(t)) {
				break
			}
			where -= uint64(len(t))
		}
	}
	if len(hit) == 0 {
		return
	}
	c.changed("corrupted", gpu.SilentCorruption)
	at := &hit[where%uint64(len(hit))]
	*at = math.Float32frombits(math.Float32bits(*at) ^ 1<<(c.draw("gpu/corrupt", c.launches, 2)%32))
}
