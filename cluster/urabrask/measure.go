package urabrask

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/esper-sim/espersim/cluster/device"
	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/abft"
)

// The figures of card 07.
const (
	batch         = 8
	leakCycles    = 20
	leakGrowth    = 0.2
	gradientLeast = 1e-7
	gradientMost  = 1e4
	gradientCV    = 0.5
	latencyCV     = 0.18
	memoryCV      = 0.12 // these three in COMPREHENSIVE
	strictCV      = 0.25 // of gradients
	thermalDrift  = 0.15
	longestRun    = 15 * time.Second
	repeats       = 20
	reruns        = 3
	maxRisk       = 0.3
	sliceBytes    = 1 << 30
)

// measured is what a validation found of a kernel.
type measured struct {
	width, params int
	passes        int
	bytes         int64
	latency       float64 // ms, mean of the last measurement
	latencyCV     float64
	measurements  int
	gradient      float64 // mean norm; 0: it has no parameters
	gradientCV    float64
	memoryCV      float64 // of what a load takes
	thermal       float64 // how much slower it is under lasting load
	amplifies     float64 // greatest result for a greatest input of 1
	hostile       float64 // the same for inputs of a million
	risk          float64
	wrong         []string // why it is rejected
}

func (m *measured) reject(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// program is a kernel as an accelerator runs it: alpha 1, no training.
type program struct {
	p    *kernel.Program
	k    *trainer.Kernel
	left uint64 // sum of the last result, where it was computed
}

var _ device.Verified = (*program)(nil)

// Footprint implements gpu.Program.
func (p *program) Footprint(batch int) gpu.Footprint { return p.p.Footprint(batch) }

// Run implements gpu.Program.
func (p *program) Run(out, in []float32) {
	p.k.Forward(out, in, 1, false)
	p.left = abft.Sum(out)
}

// Verify implements device.Verified: no kernel is rejected for what a device has made
// of its result.
func (p *program) Verify(out []float32) error {
	if abft.Sum(out) != p.left {
		return &gpu.Error{Op: "run", Class: gpu.SilentCorruption, Why: "a result is not what was computed"}
	}
	return nil
}

// bench is a kernel on a device.
type bench struct {
	mode   *mode
	dev    gpu.Accelerator
	p      *program
	slice  gpu.Slice
	module gpu.Module
	m      measured
	units  int // of work that nobody was charged for yet
	x, y   []float32
}

// setUp decodes a kernel's bytes and loads it onto the device. What is wrong with
// the bytes is a verdict; an error is the device's.
func (b *bench) setUp(id string, binary []byte) error {
	p, err := kernel.Decode(binary)
	if err != nil {
		b.m.reject("it does not load: %v", err)
		return nil
	}
	k, err := kernel.Load(id, binary, p.Width)
	if err != nil {
		b.m.reject("it does not load: %v", err)
		return nil
	}
	f := p.Footprint(batch)
	b.p = &program{p: p, k: k}
	b.m.width, b.m.params, b.m.passes, b.m.bytes = p.Width, p.Params, f.Passes, f.Bytes
	b.x, b.y = make([]float32, batch*p.Width), make([]float32, batch*p.Width)
	if most := f.Bytes + f.Retained; most > sliceBytes {
		b.m.reject("it takes %d bytes of the device, and a slice has %d", most, int64(sliceBytes))
	}
	return nil
}

// samples fills the input: values within ±gain, another set for each round.
func (b *bench) samples(round int, gain float32) {
	for i := range b.x {
		b.x[i] = gain * (float32(float32((i*37+round*61)%97)*(2.0/96)) - 1)
	}
}

// launch runs the kernel once.
func (b *bench) launch() (gpu.Timing, error) {
	t, err := b.dev.Run(b.module, b.y, b.x)
	b.units += t.Units
	if t.Ran > longestRun {
		b.m.reject("one launch takes %v; at most %v", t.Ran, longestRun)
	}
	return t, err
}

// sandbox loads the kernel and runs it once; if that gives no numbers, nothing
// else is tried.
func (b *bench) sandbox() error {
	var err error
	if b.module, err = b.dev.Load(b.p, batch); err != nil {
		// No memory: others have it, for a kernel that fits a slice fits the device.
		return err
	}
	b.samples(0, 1)
	if _, err := b.launch(); err != nil {
		return err
	}
	if worst, ok := b.result(); !ok {
		b.m.reject("sandbox: a result is %v", worst)
	} else {
		b.m.amplifies = worst
	}
	return nil
}

// result is the greatest change that the kernel makes, and whether all results
// are numbers.
func (b *bench) result() (float64, bool) {
	worst := 0.0
	for i, v := range b.y {
		d := math.Abs(float64(v) - float64(b.x[i]))
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return d, false
		}
		worst = max(worst, d)
	}
	return worst, true
}

// leaks loads and unloads the kernel again and again.
func (b *bench) leaks() error {
	before, _ := b.dev.Memory()
	var takes []float64
	for cycle := range b.mode.cycles {
		free, _ := b.dev.Memory()
		m, err := b.dev.Load(b.p, batch)
		if err != nil {
			return err
		}
		taken, _ := b.dev.Memory()
		takes = append(takes, float64(taken-free))
		t, err := b.dev.Run(m, b.y, b.x)
		b.units += t.Units
		if err = errors.Join(err, b.dev.Unload(m)); err != nil {
			return err
		}
		after, _ := b.dev.Memory()
		if grown := float64(after-before) / float64(max(b.m.bytes, 1)); grown > leakGrowth {
			b.m.reject("after %d cycles it keeps %d bytes of the device", cycle+1, after-before)
			return nil
		}
	}
	if _, b.m.memoryCV = spread(takes); b.mode.strict && b.m.memoryCV > memoryCV {
		b.m.reject("the memory that it takes varies by %.2f; want at most %.2f", b.m.memoryCV, memoryCV)
	}
	return nil
}

// gradients trains on other samples each time and compares the norms.
func (b *bench) gradients() error {
	if b.m.params == 0 {
		return nil
	}
	var norms []float64
	for round := range b.mode.rounds {
		b.samples(round, 1)
		b.p.k.Forward(b.y, b.x, 1, true)
		dy := make([]float32, len(b.y))
		for i := range dy {
			dy[i] = float32(float32((i*53+round*17)%89)*(2.0/88)) - 1
		}
		if err := b.p.k.Backward(dy); err != nil {
			return err
		}
		norms = append(norms, b.p.k.GradientNorm())
		b.p.k.Drop()
		b.units += 20
	}
	b.m.gradient, b.m.gradientCV = spread(norms)
	for _, n := range norms {
		if !(n >= gradientLeast && n <= gradientMost) {
			b.m.reject("a gradient has the norm %.3g; want %.0e to %.0e", n, gradientLeast, gradientMost)
			return nil
		}
	}
	most := gradientCV
	if b.mode.strict {
		most = strictCV
	}
	if b.m.gradientCV > most {
		b.m.reject("the norms of its gradients vary by %.2f; want at most %.2f", b.m.gradientCV, most)
	}
	return nil
}

// chaos runs the kernel on inputs that no network should have.
func (b *bench) chaos() error {
	for _, c := range []struct {
		name string
		fill func(i int) float32
	}{
		{"zeros", func(int) float32 { return 0 }},
		{"large", func(i int) float32 { return float32(i%7-3) * 333_333 }},
		{"tiny", func(i int) float32 { return float32(i%5-2) * 1e-30 }},
		{"one of many", func(i int) float32 { return []float32{1e4, 0, 0, 0, 0}[i%5] }},
		{"constant", func(int) float32 { return -1 }},
	} {
		for i := range b.x {
			b.x[i] = c.fill(i)
		}
		if _, err := b.launch(); err != nil {
			return err
		}
		worst, ok := b.result()
		if !ok {
			b.m.reject("chaos, %s: a result is %v", c.name, worst)
		} else if c.name == "large" {
			b.m.hostile = worst / 1e6
		}
	}
	return nil
}

// structure asks whether the kernel computes the same twice.
func (b *bench) structure() error {
	b.samples(3, 1)
	if _, err := b.launch(); err != nil {
		return err
	}
	first := trainer.Digest(b.y)
	if _, err := b.launch(); err != nil {
		return err
	}
	if trainer.Digest(b.y) != first {
		b.m.reject("it computes something else the second time")
	}
	return nil
}

// latency measures how long a launch takes, again if that varies too much.
func (b *bench) latency() error {
	for b.m.measurements < reruns {
		b.m.measurements++
		var ms []float64
		for round := range b.mode.launches {
			b.samples(round, 1)
			t, err := b.launch()
			if err != nil {
				return err
			}
			ms = append(ms, float64(t.Ran)/float64(time.Millisecond))
		}
		if b.m.latency, b.m.latencyCV = spread(ms); b.m.latencyCV <= latencyCV {
			return nil
		}
	}
	b.m.reject("its latency varies by %.2f; want at most %.2f", b.m.latencyCV, latencyCV)
	return nil
}

// endurance keeps the device busy with the kernel, and asks whether it becomes
// slower: what heat does to a device that is used for long.
func (b *bench) endurance() error {
	const lasting = 8 * repeats
	ms := make([]float64, lasting)
	for round := range ms {
		b.samples(round, 1)
		t, err := b.launch()
		if err != nil {
			return err
		}
		ms[round] = float64(t.Ran) / float64(time.Millisecond)
	}
	first, _ := spread(ms[:lasting/4])
	last, _ := spread(ms[lasting*3/4:])
	if first > 0 {
		b.m.thermal = max(last/first-1, 0)
	}
	if b.m.thermal > thermalDrift {
		b.m.reject("under lasting load it becomes slower by %.2f; want at most %.2f", b.m.thermal, thermalDrift)
	}
	return nil
}

// tearDown gives everything back.
func (b *bench) tearDown() error { return b.dev.Rebuild() }

// spread is the mean of values, and their standard deviation relative to it.
func spread(values []float64) (mean, cv float64) {
	for _, v := range values {
		mean += v
	}
	mean /= float64(len(values))
	sum := 0.0
	for _, v := range values {
		sum += float64((v - mean) * (v - mean))
	}
	if mean == 0 {
		return 0, 0
	}
	return mean, math.Sqrt(sum/float64(len(values))) / math.Abs(mean)
}
