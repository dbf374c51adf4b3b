package trainer

import "github.com/esper-sim/espersim/gpu/abft"

// A WatchedBlock has its products checked, and says what it keeps between a forward
// pass and the way back.
type WatchedBlock interface {
	Block
	Watch(c *abft.Check)
	// Kept appends the tensors that Backward reads.
	Kept(list [][]float32) [][]float32
}

// Watch has the kernel's matrix products checked from now on; nil: not any more. What
// is wrong is counted there.
func (k *Kernel) Watch(c *abft.Check) {
	k.watch = c
	if b, ok := k.block.(WatchedBlock); ok {
		b.Watch(c)
	}
}

// Resident appends what the kernel has on a device now, beside its parameters:
// gradients, if it has any, and what a forward pass has kept for the way back.
func (k *Kernel) Resident(list [][]float32) [][]float32 {
	if k.dirty {
		list = append(list, k.grads)
	}
	if !k.held {
		return list
	}
	if b, ok := k.block.(WatchedBlock); ok {
		return b.Kept(append(list, k.x))
	}
	return append(list, k.x, k.h)
}

// sent are a kernel's parameters as they were last sent to a device.
type sent struct {
	params []float32
	valid  bool // nobody but a device can have changed the kernel's since
}

// send notes the parameters as what a device is to have.
func (k *Kernel) send() {
	if s := &k.sent; !s.valid {
		s.params, s.valid = append(s.params[:0], k.Params...), true
	}
}

// Intact says whether the parameters are those that were sent last: see Copy.
func (k *Kernel) Intact() bool { return k.sent.valid && abft.Equal(k.Params, k.sent.params) }

// Copy is what a kernel has on a device, as it was at some time. The zero value is of
// none.
type Copy struct {
	k           *Kernel
	tensors     [][]float32 // where it belongs
	data        []float32
	held, dirty bool
}

// Of copies what the kernel has beside its parameters, and sends these.
func (c *Copy) Of(k *Kernel) {
	k.send()
	c.k, c.held, c.dirty = k, k.held, k.dirty
	c.tensors = k.Resident(c.tensors[:0])
	c.data = c.data[:0]
	for _, t := range c.tensors {
		c.data = append(c.data, t...)
	}
}

// Return makes the kernel what it was, with the parameters that were sent.
func (c *Copy) Return() {
	copy(c.k.Params, c.k.sent.params)
	if c.k.held, c.k.dirty = c.held, c.dirty; !c.dirty {
		clear(c.k.grads)
	}
	data := c.data
	for _, t := range c.tensors {
		data = data[copy(t, data):]
	}
}
