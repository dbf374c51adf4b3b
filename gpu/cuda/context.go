//go:build linux && (amd64 || arm64) && (cgo || cuda)

package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/kernels"
)

// Context is what this process has of one device. Its methods may be called from any
// goroutine, one after the other.
//
// Its clock is the device's: Timing.Ran is what passed on it between the first
// kernel and the last, and Units are its microseconds.
type Context struct {
	d        *Driver
	identity gpu.Identity
	device   int32

	mu        sync.Mutex
	handle    uintptr // 0: there is none
	code      uintptr // the kernels' module; 0: not loaded yet
	functions map[string]uintptr
	next      uint64
	slices    map[gpu.Slice]uint64 // addresses
	modules   map[gpu.Module]*module
	taken     map[uint64]int64 // bytes by address
	used      int64            // their sum
	limit     time.Duration
	lost      *gpu.Error // why every call fails
}

// module is a program that was loaded: buffers, for a batch.
type module struct {
	p       gpu.Lowerable
	batch   int
	buffers []uint64 // addresses
	sizes   []int
}

var _ gpu.Accelerator = (*Context)(nil)

// Context makes one on the device with an index, from 0.
func (d *Driver) Context(index int) (*Context, error) {
	id, err := d.Identity(index)
	if err != nil {
		return nil, err
	}
	x := &Context{d: d, identity: id}
	var a arguments
	defer a.release()
	if e := d.call("open", "cuDeviceGet", pointer(&a, &x.device), uintptr(index)); e != nil {
		return nil, e
	}
	capability, e := d.capability(x.device)
	if e != nil {
		return nil, e
	}
	if capability < leastCapability {
		return nil, refuse("open", "%s has compute capability %d.%d; want 7.0 or newer", id.Model, capability/10, capability%10)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.create("open"); e != nil {
		return nil, e
	}
	return x, nil
}

// create makes the driver's context, and forgets what was in the one before.
func (x *Context) create(op string) *gpu.Error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var a arguments
	defer a.release()
	x.handle, x.code, x.lost, x.used = 0, 0, nil, 0
	x.functions, x.slices, x.modules, x.taken = map[string]uintptr{}, map[gpu.Slice]uint64{}, map[gpu.Module]*module{}, map[uint64]int64{}
	var handle uintptr
	if e := x.d.call(op, "cuCtxCreate_v2", pointer(&a, &handle), 0, uintptr(x.device)); e != nil {
		return x.keep(e)
	}
	x.handle = handle
	return nil
}

// keep remembers an error that every later call returns, too.
func (x *Context) keep(e *gpu.Error) *gpu.Error {
	if s := e.Class.Trait().Scope; s != gpu.OneCall {
		x.lost = e
	}
	return e
}

// enter makes the context this thread's, until leave. It is the driver that goes by
// threads.
func (x *Context) enter(op string) *gpu.Error {
	x.mu.Lock()
	runtime.LockOSThread()
	var e *gpu.Error
	switch {
	case x.lost != nil:
		lost := *x.lost
		lost.Op = op
		e = &lost
	case x.handle == 0:
		e = refuse(op, "the context was closed")
	default:
		if e = x.d.call(op, "cuCtxSetCurrent", x.handle); e != nil {
			e = x.keep(e)
		}
	}
	if e != nil {
		x.leave()
	}
	return e
}

func (x *Context) leave() {
	runtime.UnlockOSThread()
	x.mu.Unlock()
}

// Identity says which device it is.
func (x *Context) Identity() gpu.Identity { return x.identity }

// Name implements gpu.Accelerator.
func (x *Context) Name() string { return x.identity.Model }

// Memory is how much is taken, by whomever, and how much there is; where the driver
// does not answer, what this process has taken.
func (x *Context) Memory() (used, limit int64) {
	if e := x.enter("memory"); e != nil {
		return x.used, x.identity.Memory
	}
	defer x.leave()
	var a arguments
	defer a.release()
	var free, total uint64
	if e := x.d.call("memory", "cuMemGetInfo_v2", pointer(&a, &free), pointer(&a, &total)); e != nil {
		x.keep(e)
		return x.used, x.identity.Memory
	}
	return int64(total - free), int64(total)
}

// Limit implements gpu.Accelerator.
func (x *Context) Limit(d time.Duration) {
	x.mu.Lock()
	x.limit = d
	x.mu.Unlock()
}

// take takes memory: at least 4 bytes, since the driver gives no less than 1.
func (x *Context) take(op string, bytes int64) (uint64, *gpu.Error) {
	if bytes < 0 {
		return 0, &gpu.Error{Op: op, Class: gpu.OutOfMemory, Why: fmt.Sprintf("%d bytes", bytes)}
	}
	var a arguments
	defer a.release()
	var address uint64
	if e := x.d.call(op, "cuMemAlloc_v2", pointer(&a, &address), uintptr(max(bytes, 4))); e != nil {
		return 0, x.keep(e)
	}
	x.taken[address] = max(bytes, 4)
	x.used += x.taken[address]
	return address, nil
}

func (x *Context) give(op string, address uint64) *gpu.Error {
	x.used -= x.taken[address]
	delete(x.taken, address)
	if e := x.d.call(op, "cuMemFree_v2", uintptr(address)); e != nil {
		return x.keep(e)
	}
	return nil
}

func missing(op, what string, n uint64) error {
	return &gpu.Error{Op: op, Class: gpu.InvalidHandle, Code: 400, Why: fmt.Sprintf("there is no %s %d", what, n)}
}

// Alloc implements gpu.Accelerator.
func (x *Context) Alloc(bytes int64) (gpu.Slice, error) {
	if e := x.enter("alloc"); e != nil {
		return 0, e
	}
	defer x.leave()
	address, e := x.take("alloc", bytes)
	if e != nil {
		return 0, e
	}
	x.next++
	x.slices[gpu.Slice(x.next)] = address
	return gpu.Slice(x.next), nil
}

// Free implements gpu.Accelerator.
func (x *Context) Free(s gpu.Slice) error {
	if e := x.enter("free"); e != nil {
		return e
	}
	defer x.leave()
	address, ok := x.slices[s]
	if !ok {
		return missing("free", "slice", uint64(s))
	}
	delete(x.slices, s)
	if e := x.give("free", address); e != nil {
		return e
	}
	return nil
}

// Load implements gpu.Accelerator. The program must be a gpu.Lowerable.
func (x *Context) Load(p gpu.Program, batch int) (gpu.Module, error) {
	low, ok := p.(gpu.Lowerable)
	if !ok {
		return 0, &gpu.Error{Op: "load", Class: gpu.InvalidHandle, Why: "the program does not say by which kernels it is computed"}
	}
	l, err := low.Lower(batch)
	if err == nil {
		err = kernels.Check(&l)
	}
	if err != nil {
		return 0, &gpu.Error{Op: "load", Class: gpu.InvalidHandle, Why: err.Error()}
	}
	if e := x.enter("load"); e != nil {
		return 0, e
	}
	defer x.leave()
	if e := x.prepare(&l); e != nil {
		return 0, e
	}
	m := &module{p: low, batch: batch}
	for _, b := range l.Buffers {
		address, e := x.take("load", 4*int64(b.Len))
		if e != nil {
			for _, taken := range m.buffers {
				_ = x.give("load", taken) // the first error is the one to report
			}
			return 0, e
		}
		m.buffers, m.sizes = append(m.buffers, address), append(m.sizes, b.Len)
	}
	x.next++
	x.modules[gpu.Module(x.next)] = m
	return gpu.Module(x.next), nil
}

// prepare has the driver compile the kernels, once in a context, and finds those of
// a lowering.
func (x *Context) prepare(l *gpu.Lowering) *gpu.Error {
	var a arguments
	defer a.release()
	if x.code == 0 {
		text := append([]byte(kernels.PTX), 0)
		var code uintptr
		if e := x.d.call("load", "cuModuleLoadData", pointer(&a, &code), pointer(&a, &text[0])); e != nil {
			return x.keep(e)
		}
		x.code = code
	}
	for _, s := range l.Steps {
		if x.functions[s.Kernel] != 0 {
			continue
		}
		name := append([]byte(kernels.Prefix+s.Kernel), 0)
		var f uintptr
		if e := x.d.call("load", "cuModuleGetFunction", pointer(&a, &f), x.code, pointer(&a, &name[0])); e != nil {
			return x.keep(e)
		}
		x.functions[s.Kernel] = f
	}
	return nil
}

// Unload implements gpu.Accelerator.
func (x *Context) Unload(m gpu.Module) error {
	if e := x.enter("unload"); e != nil {
		return e
	}
	defer x.leave()
	loaded, ok := x.modules[m]
	if !ok {
		return missing("unload", "module", uint64(m))
	}
	delete(x.modules, m)
	var errs []error
	for _, address := range loaded.buffers {
		if e := x.give("unload", address); e != nil {
			errs = append(errs, e)
		}
	}
	return errors.Join(errs...)
}

// Rebuild implements gpu.Accelerator. A kernel that hangs may keep its context from
// ending: then only a new process gets rid of it.
func (x *Context) Rebuild() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.lost != nil && x.lost.Class.Trait().Action > gpu.RebuildContext {
		lost := *x.lost
		lost.Op = "rebuild"
		return &lost
	}
	if e := x.destroy("rebuild"); e != nil && e.Class.Trait().Action > gpu.RebuildContext {
		return e
	}
	if e := x.create("rebuild"); e != nil {
		return e
	}
	return nil
}

// destroy ends the driver's context, which waits for its kernels: if one hangs, only
// for as long as a launch may take.
func (x *Context) destroy(op string) *gpu.Error {
	if x.handle == 0 {
		return nil
	}
	handle := x.handle
	x.handle = 0
	end := func() *gpu.Error { return x.d.call(op, "cuCtxDestroy_v2", handle) }
	if x.lost == nil || x.lost.Class != gpu.Hung || x.limit == 0 {
		return end()
	}
	done := make(chan *gpu.Error, 1)
	go func() { done <- end() }()
	timer := time.NewTimer(x.limit)
	defer timer.Stop()
	select {
	case e := <-done:
		return e
	case <-timer.C:
		return x.keep(&gpu.Error{Op: op, Class: gpu.AppFault, Code: launchTimeout, Why: "the context does not end while its kernel hangs"})
	}
}

// Reset implements gpu.Accelerator: it always fails. A process cannot reset a device
// of which others may have contexts.
func (x *Context) Reset() error {
	return refuse("reset", "a process cannot reset a device; end all that use it, and run nvidia-smi --gpu-reset --id=%d as root", x.identity.Index)
}

// Close gives everything back.
func (x *Context) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.destroy("close"); e != nil {
		return e
	}
	return nil
}
