//go:build linux && (amd64 || arm64) && (cgo || cuda)

package cuda_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/cuda"
	"github.com/esper-sim/espersim/gpu/gputest"
)

// open builds a stub of its own for the test, since a stub remembers, and opens it.
func open(t *testing.T) (*gputest.Script, *cuda.Driver) {
	t.Helper()
	s := gputest.NewScript(t)
	d, err := cuda.Open(gputest.Build(t, t.TempDir(), source))
	if err != nil {
		t.Fatal(err)
	}
	return s, d
}

const source = "testdata/libcuda.c"

func context(t *testing.T) (*gputest.Script, *cuda.Context) {
	t.Helper()
	s, d := open(t)
	x, err := d.Context(0)
	if err != nil {
		t.Fatal(err)
	}
	return s, x
}

func wants(t *testing.T, err error, class gpu.Class, text string) {
	t.Helper()
	var e *gpu.Error
	if !errors.As(err, &e) || e.Class != class || !strings.Contains(e.Error(), text) {
		t.Errorf("%v; want %v, %q", err, class, text)
	}
}

func newStep(t *testing.T) *trainer.Step {
	t.Helper()
	g, err := trainer.ParseGraph([]byte(trainer.RingsGraph))
	if err != nil {
		t.Fatal(err)
	}
	if g, err = trainer.InjectGrafts(g); err != nil {
		t.Fatal(err)
	}
	m, err := trainer.NewModel(g, 5)
	if err != nil {
		t.Fatal(err)
	}
	k, err := trainer.NewKernel("grafted", 12, 6)
	if err != nil {
		t.Fatal(err)
	}
	s, err := trainer.NewStep(m, 0.05, batch, trainer.Grafted{Layer: 2, Kernel: k, Alpha: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const batch = 16

var data = trainer.Rings(batch*8, 11)

func minibatch(s *trainer.Step, i int) []float32 {
	return s.Input(nil, data.X[2*batch*i:2*batch*(i+1)], data.Labels[batch*i:batch*(i+1)])
}

func differs(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return true
		}
	}
	return false
}

// Training on the device gives the parameters that training on the processor gives,
// in each bit, through the loading and the calls that a real driver gets.
func TestTrainingIsTheProcessors(t *testing.T) {
	_, x := context(t)
	defer func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}()
	x.Limit(time.Minute)
	ours, theirs := newStep(t), newStep(t)
	m, err := x.Load(ours, batch)
	if err != nil {
		t.Fatal(err)
	}
	if used, limit := x.Memory(); used < 4*int64(len(ours.Tensors()[0])) || limit != 85520809984 {
		t.Errorf("%d bytes of %d are taken", used, limit)
	}
	first := append([]float32(nil), ours.Tensors()[0]...)
	for i := range 8 {
		got, want := make([]float32, 2), make([]float32, 2)
		timing, err := x.Run(m, got, minibatch(ours, i))
		if err != nil {
			t.Fatal(err)
		}
		if timing.Ran != 12*time.Microsecond || timing.Units != 12 {
			t.Errorf("%+v", timing)
		}
		theirs.Run(want, minibatch(theirs, i))
		if differs(got, want) {
			t.Errorf("step %d gives %v; want %v", i, got, want)
		}
	}
	for i, tensor := range theirs.Tensors() {
		if differs(ours.Tensors()[i], tensor) {
			t.Errorf("tensor %d differs", i)
		}
	}
	if !differs(first, ours.Tensors()[0]) {
		t.Error("nothing was learned")
	}
	if err := x.Unload(m); err != nil {
		t.Fatal(err)
	}
	if used, _ := x.Memory(); used != 0 {
		t.Errorf("%d bytes are taken after unloading", used)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	s := gputest.NewScript(t)
	_, err := cuda.Open("libcuda-that-is-nowhere.so.1")
	wants(t, err, gpu.NotInitialized, "install NVIDIA's driver, which brings libcuda.so.1")
	_, err = cuda.Open(gputest.Build(t, t.TempDir(), source, "cuLaunchKernel"))
	wants(t, err, gpu.NotInitialized, "has no cuLaunchKernel")
	path := gputest.Build(t, t.TempDir(), source)
	for _, c := range []struct {
		line, text string
		class      gpu.Class
	}{
		{"fail cuInit 100 1 1", "(CUDA 100): cuInit: CUDA_ERROR_NO_DEVICE", gpu.NotInitialized},
		{"fail cuInit 3 1 1", "(CUDA 3): cuInit", gpu.NotInitialized},
		{"fail cuInit 46 1 1", "(CUDA 46)", gpu.OffBus},
		{"set count 0", "the driver knows no device", gpu.NotInitialized},
	} {
		s.Write(c.line)
		_, err := cuda.Open(path)
		wants(t, err, c.class, c.text)
	}
	s.Write("set count 2", "set capability 61")
	d, err := cuda.Open(path)
	if err != nil || d.Devices() != 2 {
		t.Fatalf("%v", err)
	}
	_, err = d.Context(2)
	wants(t, err, gpu.NotInitialized, "there is no device 2; want 0 to 1")
	_, err = d.Context(1)
	wants(t, err, gpu.NotInitialized, "has compute capability 6.1; want 7.0 or newer")
	id, err := d.Identity(1)
	want := gpu.Identity{Index: 1, UUID: "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f", Model: "NVIDIA H100 80GB HBM3", PCI: "0000:19:00.0", Memory: 85520809984, CUDA: "12.4"}
	if err != nil || id != want {
		t.Errorf("%+v, %v", id, err)
	}
}

// other is a program that no kernel computes.
type other struct{}

func (other) Footprint(int) gpu.Footprint { return gpu.Footprint{} }
func (other) Run(out, in []float32)       {}

// What is the caller's mistake is refused, changes nothing and keeps nothing from
// working.
func TestCallersMistakes(t *testing.T) {
	_, x := context(t)
	_, err := x.Load(other{}, 1)
	wants(t, err, gpu.InvalidHandle, "does not say by which kernels")
	_, err = x.Load(newStep(t), batch+1)
	wants(t, err, gpu.InvalidHandle, "a batch of 17; want 1 to 16")
	wants(t, x.Free(7), gpu.InvalidHandle, "there is no slice 7")
	wants(t, x.Unload(7), gpu.InvalidHandle, "there is no module 7")
	_, err = x.Run(7, nil, nil)
	wants(t, err, gpu.InvalidHandle, "there is no module 7")
	step := newStep(t)
	m, err := x.Load(step, batch)
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.Run(m, make([]float32, 2), make([]float32, 3))
	wants(t, err, gpu.InvalidHandle, "3 numbers come in and 2 go out; a batch of 16 has 48 and 2")
	_, err = x.Alloc(-1)
	wants(t, err, gpu.OutOfMemory, "-1 bytes")
	if _, err := x.Run(m, make([]float32, 2), minibatch(step, 0)); err != nil {
		t.Error(err)
	}
	wants(t, x.Reset(), gpu.NotInitialized, "nvidia-smi --gpu-reset --id=0")
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	_, err = x.Alloc(1)
	wants(t, err, gpu.NotInitialized, "the context was closed")
}

// An allocation that does not fit leaves nothing behind, and the next may do well.
func TestOutOfMemory(t *testing.T) {
	s, x := context(t)
	s.Write("set memory 2000")
	a, err := x.Alloc(1500)
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.Alloc(600)
	wants(t, err, gpu.OutOfMemory, "(CUDA 2): cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY")
	_, err = x.Load(newStep(t), batch)
	wants(t, err, gpu.OutOfMemory, "load")
	if used, limit := x.Memory(); used != 1500 || limit != 2000 {
		t.Errorf("%d bytes of %d are taken", used, limit)
	}
	if err := x.Free(a); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Alloc(600); err != nil {
		t.Error(err)
	}
}

// An error that stays fails every call, until the context is rebuilt; what was on the
// device is gone then, what is on the host is as it was before the launch, and the
// training goes on.
func TestStickyErrors(t *testing.T) {
	s, x := context(t)
	ours, theirs := newStep(t), newStep(t)
	out := make([]float32, 2)
	load := func() gpu.Module {
		m, err := x.Load(ours, batch)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := load()
	for i, line := range []string{"fail cuLaunchKernel 719 5 1", "fail cuEventSynchronize 700 1 1", "fail cuMemcpyDtoH_v2 214 2 1"} {
		before := append([]float32(nil), ours.Tensors()[0]...)
		s.Write(line)
		_, err := x.Run(m, out, minibatch(ours, i))
		wants(t, err, gpu.Sticky, "run")
		if gpu.Advice(err) != gpu.RebuildContext {
			t.Errorf("the advice is to %v", gpu.Advice(err))
		}
		if differs(before, ours.Tensors()[0]) {
			t.Error("a launch that failed has changed the parameters")
		}
		s.Write()
		_, err = x.Alloc(1)
		wants(t, err, gpu.Sticky, "alloc")
		if err := x.Rebuild(); err != nil {
			t.Fatal(err)
		}
		_, err = x.Run(m, out, minibatch(ours, i))
		wants(t, err, gpu.InvalidHandle, "there is no module")
		m = load()
		if _, err := x.Run(m, out, minibatch(ours, i)); err != nil {
			t.Fatal(err)
		}
		theirs.Run(out, minibatch(theirs, i))
	}
	for i, tensor := range theirs.Tensors() {
		if differs(ours.Tensors()[i], tensor) {
			t.Errorf("tensor %d differs", i)
		}
	}
}

// A device that is lost fails everything, and no context brings it back.
func TestLost(t *testing.T) {
	s, x := context(t)
	if _, err := x.Alloc(100); err != nil {
		t.Fatal(err)
	}
	s.Write("fail * 46 1 1000000")
	_, err := x.Alloc(1)
	wants(t, err, gpu.OffBus, "(CUDA 46)")
	if err := x.Rebuild(); gpu.Advice(err) != gpu.RestartNode {
		t.Errorf("%v", err)
	}
	if used, limit := x.Memory(); used != 100 || limit != 85520809984 {
		t.Errorf("%d of %d", used, limit)
	}
}

// A kernel that does not end is given up after the limit. If its context ends it is
// rebuilt, and if not only a new process helps.
func TestHung(t *testing.T) {
	s, x := context(t)
	step := newStep(t)
	m, err := x.Load(step, batch)
	if err != nil {
		t.Fatal(err)
	}
	x.Limit(20 * time.Millisecond)
	s.Write("set hangs 1")
	_, err = x.Run(m, make([]float32, 2), minibatch(step, 0))
	wants(t, err, gpu.Hung, "no end after 20ms")
	s.Write()
	if err := x.Rebuild(); err != nil {
		t.Fatal(err)
	}
	if m, err = x.Load(step, batch); err != nil {
		t.Fatal(err)
	}
	s.Write("set hangs 1", "set destroy-hangs 1")
	_, err = x.Run(m, make([]float32, 2), minibatch(step, 0))
	wants(t, err, gpu.Hung, "no end after 20ms")
	err = x.Rebuild()
	wants(t, err, gpu.AppFault, "the context does not end while its kernel hangs")
	if gpu.Advice(err) != gpu.RestartProcess {
		t.Errorf("the advice is to %v", gpu.Advice(err))
	}
	_, err = x.Alloc(1)
	wants(t, err, gpu.AppFault, "alloc")
}

// PTX that the driver does not take is an error of the load.
func TestKernelsThatAreNotTaken(t *testing.T) {
	s, x := context(t)
	s.Write("fail cuModuleLoadData 222 1 1")
	_, err := x.Load(newStep(t), batch)
	wants(t, err, gpu.Sticky, "load: sticky (CUDA 222): cuModuleLoadData")
}

// A device that computes wrongly says nothing: what comes back differs.
func TestSilentCorruption(t *testing.T) {
	s, x := context(t)
	s.Write("set corrupt-launch 9")
	ours, theirs := newStep(t), newStep(t)
	m, err := x.Load(ours, batch)
	if err != nil {
		t.Fatal(err)
	}
	got, want := make([]float32, 2), make([]float32, 2)
	if _, err := x.Run(m, got, minibatch(ours, 0)); err != nil {
		t.Fatal(err)
	}
	theirs.Run(want, minibatch(theirs, 0))
	if !differs(got, want) && !differs(ours.Tensors()[0], theirs.Tensors()[0]) {
		t.Error("nothing differs")
	}
}
