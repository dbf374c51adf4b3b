//go:build linux && (amd64 || arm64) && (cgo || cuda)

package cuda

import (
	"fmt"
	"math"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// blockSize is how many threads a block has.
const blockSize = 128

// Run implements gpu.Accelerator. A launch that fails has changed neither out nor
// what the program has on the host.
func (x *Context) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	if e := x.enter("run"); e != nil {
		return gpu.Timing{}, e
	}
	defer x.leave()
	loaded, ok := x.modules[m]
	if !ok {
		return gpu.Timing{}, missing("run", "module", uint64(m))
	}
	l, err := loaded.p.Lower(loaded.batch)
	if err == nil {
		err = loaded.fits(&l, len(out), len(in))
	}
	if err != nil {
		return gpu.Timing{}, &gpu.Error{Op: "run", Class: gpu.InvalidHandle, Why: err.Error()}
	}
	if e := x.upload(loaded, &l, in); e != nil {
		return gpu.Timing{}, x.keep(e)
	}
	took, e := x.launch(loaded, &l)
	if e == nil {
		e = x.download(loaded, &l, out)
	}
	if e != nil {
		return gpu.Timing{}, x.keep(e)
	}
	return gpu.Timing{Ran: took, Units: max(int(took/time.Microsecond), 1)}, nil
}

// fits says whether a lowering is for the buffers that there are.
func (m *module) fits(l *gpu.Lowering, out, in int) error {
	if len(l.Buffers) != len(m.sizes) {
		return fmt.Errorf("the program has %d buffers; it was loaded with %d", len(l.Buffers), len(m.sizes))
	}
	for i, b := range l.Buffers {
		if b.Len != m.sizes[i] {
			return fmt.Errorf("buffer %d has %d numbers; it was loaded with %d", i, b.Len, m.sizes[i])
		}
	}
	if in != m.sizes[l.In] || out != m.sizes[l.Out] {
		return fmt.Errorf("%d numbers come in and %d go out; a batch of %d has %d and %d", in, out, m.batch, m.sizes[l.In], m.sizes[l.Out])
	}
	return nil
}

// upload copies what comes from the host.
func (x *Context) upload(m *module, l *gpu.Lowering, in []float32) *gpu.Error {
	var a arguments
	defer a.release()
	for i, b := range l.Buffers {
		from := b.Host
		if i == l.In {
			from = in
		}
		if len(from) == 0 {
			continue
		}
		if e := x.d.call("run", "cuMemcpyHtoD_v2", uintptr(m.buffers[i]), pointer(&a, &from[0]), uintptr(4*len(from))); e != nil {
			return e
		}
	}
	return nil
}

// download copies what goes to the host: all of it, or nothing.
func (x *Context) download(m *module, l *gpu.Lowering, out []float32) *gpu.Error {
	var a arguments
	defer a.release()
	staged := make([][]float32, len(l.Buffers))
	for i, b := range l.Buffers {
		if b.Len == 0 || i != l.Out && !b.Written {
			continue
		}
		staged[i] = make([]float32, b.Len)
		if e := x.d.call("run", "cuMemcpyDtoH_v2", pointer(&a, &staged[i][0]), uintptr(m.buffers[i]), uintptr(4*b.Len)); e != nil {
			return e
		}
	}
	for i, b := range l.Buffers {
		if b.Written {
			copy(b.Host, staged[i])
		}
		if i == l.Out {
			copy(out, staged[i])
		}
	}
	return nil
}

// launch starts the kernels, one behind the other, and waits for the last.
func (x *Context) launch(m *module, l *gpu.Lowering) (time.Duration, *gpu.Error) {
	var a arguments
	defer a.release()
	var events [2]uintptr
	for i := range events {
		if e := x.d.call("run", "cuEventCreate", pointer(&a, &events[i]), 0); e != nil {
			return 0, e
		}
		defer x.d.result("cuEventDestroy_v2", events[i]) // with the context, if not now
	}
	if e := x.d.call("run", "cuEventRecord", events[0], 0); e != nil {
		return 0, e
	}
	for i := range l.Steps {
		if e := x.start(m, &l.Steps[i]); e != nil {
			return 0, e
		}
	}
	if e := x.d.call("run", "cuEventRecord", events[1], 0); e != nil {
		return 0, e
	}
	if e := x.wait(events[1]); e != nil {
		return 0, e
	}
	var ms float32
	if e := x.d.call("run", "cuEventElapsedTime", pointer(&a, &ms), events[0], events[1]); e != nil {
		return 0, e
	}
	return time.Duration(float64(ms) * float64(time.Millisecond)), nil
}

// start starts one kernel. The driver copies the arguments before it returns.
func (x *Context) start(m *module, s *gpu.KernelStep) *gpu.Error {
	if s.Counts[0] == 0 {
		return nil
	}
	var a arguments
	defer a.release()
	// An argument's value is in the lower bytes of its slot: both processors are
	// little-endian.
	slots := make([]uint64, 0, 16)
	for _, v := range s.Views {
		slots = append(slots, m.buffers[v.Buffer]+4*uint64(v.Offset))
	}
	for _, c := range s.Counts {
		slots = append(slots, uint64(c))
	}
	for _, f := range s.Factors {
		slots = append(slots, uint64(math.Float32bits(f)))
	}
	places := make([]uintptr, len(slots))
	for i := range slots {
		places[i] = pointer(&a, &slots[i])
	}
	blocks := uintptr((s.Counts[0]-1)/blockSize + 1)
	if e := x.d.call("run", "cuLaunchKernel", x.functions[s.Kernel], blocks, 1, 1, blockSize, 1, 1, 0, 0, pointer(&a, &places[0]), 0); e != nil {
		e.Why += ", " + s.Kernel
		return e
	}
	return nil
}

// The pauses between two looks at a launch that is bounded.
const (
	firstPause = 20 * time.Microsecond
	lastPause  = 2 * time.Millisecond
)

// wait waits for an event: for ever, or for as long as a launch may take.
func (x *Context) wait(event uintptr) *gpu.Error {
	if x.limit == 0 {
		return x.d.call("run", "cuEventSynchronize", event)
	}
	began := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		r := x.d.result("cuEventQuery", event)
		switch {
		case r == success:
			return nil
		case r != notReady:
			return x.d.failed("run", "cuEventQuery", r)
		case time.Since(began) >= x.limit:
			return &gpu.Error{Op: "run", Class: gpu.Hung, Code: launchTimeout, Why: fmt.Sprintf("no end after %v", x.limit)}
		}
		time.Sleep(pause)
	}
}
