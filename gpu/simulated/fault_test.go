package simulated_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
)

// talk is a program that talks to other devices.
type talk struct{ double }

func (talk) Peers() int { return 2 }

// bench is a chip with a process, which notes how long calls held it.
type bench struct {
	chip *simulated.Chip
	x    *simulated.Context
	held time.Duration
	m    gpu.Module
	out  []float32
}

func newBench(t *testing.T, p gpu.Program) *bench {
	t.Helper()
	profile, err := gpu.ByName("h100")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{out: make([]float32, 4)}
	b.chip = simulated.NewChip(simulated.Config{Profile: profile, Memory: 1000})
	b.x = b.chip.Open(simulated.Process{Hold: func(d time.Duration) { b.held += d }})
	b.load(t, p)
	return b
}

func (b *bench) load(t *testing.T, p gpu.Program) {
	t.Helper()
	var err error
	if b.m, err = b.x.Load(p, 1); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) run() error {
	_, err := b.x.Run(b.m, b.out, []float32{1, 2, 3, 4})
	return err
}

func classOf(err error) gpu.Class {
	var e *gpu.Error
	if errors.As(err, &e) {
		return e.Class
	}
	return 0
}

// Every class of the table does what its row says: it hits once, fails what it
// fails, and is cured by what cures it and by nothing less.
func TestEveryClassIsSeenAndCured(t *testing.T) {
	for _, row := range gpu.Traits() {
		switch row.Class {
		case gpu.InvalidHandle, gpu.NotInitialized: // no faults of a device
			continue
		case gpu.OutOfMemory, gpu.FalseHealth, gpu.Throttled, gpu.SilentCorruption, gpu.RemapPending: // tests of their own
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			var p gpu.Program = double{gpu.Footprint{Passes: 1, Bytes: 10}}
			if row.Class == gpu.LinkFailed {
				p = talk{double{gpu.Footprint{Passes: 1, Bytes: 10}}}
			}
			b := newBench(t, p)
			b.x.Limit(time.Second)
			id, err := b.chip.Inject(simulated.Fault{Class: row.Class, Limit: 1})
			if err != nil {
				t.Fatal(err)
			}
			other := b.chip.Open(simulated.Process{}) // another process on the device
			if err := b.run(); classOf(err) != row.Class {
				t.Fatalf("the launch: %v", err)
			}
			if b.chip.Fired(id) != 1 {
				t.Errorf("it fired %d times", b.chip.Fired(id))
			}
			if gpu.Advice(&gpu.Error{Class: row.Class}) != row.Action {
				t.Error("the advice is not the table's")
			}
			_, otherErr := other.Alloc(1)
			if reaches := row.Scope == gpu.OneDevice && row.Class != gpu.LinkFailed; (otherErr != nil) != reaches {
				t.Errorf("another process on the device: %v", otherErr)
			}
			other.Close()
			if len(row.Xids) > 0 {
				events, _, _ := b.chip.Events(0)
				if !slices.ContainsFunc(events, func(e gpu.Event) bool { return e.Xid == row.Xids[0] }) {
					t.Errorf("the driver reports %v", events)
				}
			}
			if row.Class == gpu.Firmware && b.held < simulated.FirmwareTimeout {
				t.Errorf("it hung for %v", b.held)
			}
			if row.Class == gpu.Hung && b.held != time.Second {
				t.Errorf("it hung for %v", b.held)
			}
			if row.Scope != gpu.OneCall {
				if err := b.run(); err == nil {
					t.Error("the next launch does well")
				}
			}
			// What cures it, from the least on.
			cures := []struct {
				action gpu.Action
				do     func()
			}{
				{gpu.Retry, func() {}},
				{gpu.RebuildContext, func() { _ = b.x.Rebuild() }},
				{gpu.RestartProcess, func() {
					b.x.Close()
					b.x = b.chip.Open(simulated.Process{Hold: func(d time.Duration) { b.held += d }})
					b.x.Limit(time.Second)
				}},
				{gpu.ResetDevice, func() { _ = b.x.Reset(); _ = b.x.Rebuild() }},
				{gpu.RestartNode, func() { b.chip.PowerCycle(); _ = b.x.Rebuild() }},
				{gpu.Replace, func() { b.chip.Swap(); _ = b.x.Rebuild() }},
			}
			for _, c := range cures {
				c.do()
				if c.action != gpu.Retry {
					b.m, err = b.x.Load(p, 1)
				}
				if err == nil {
					err = b.run()
				}
				if well := c.action >= row.Action; (err == nil) != well {
					t.Fatalf("after %q: %v", c.action, err)
				}
				if err == nil {
					break
				}
				err = nil
			}
			if used, _ := b.x.Memory(); used != 10 {
				t.Errorf("%d bytes are taken by what takes 10", used)
			}
		})
	}
}

// A launch that nobody bounds hangs for ever.
func TestHungWithoutALimit(t *testing.T) {
	b := newBench(t, double{})
	if _, err := b.chip.Inject(simulated.Fault{Class: gpu.Hung}); err != nil {
		t.Fatal(err)
	}
	if err := b.run(); err == nil || b.held < 24*365*time.Hour {
		t.Errorf("%v, held for %v", err, b.held)
	}
}

func TestOutOfMemoryPasses(t *testing.T) {
	b := newBench(t, double{})
	if _, err := b.chip.Inject(simulated.Fault{Class: gpu.OutOfMemory, Skip: 1, Limit: 1}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []gpu.Class{0, gpu.OutOfMemory, 0} {
		if _, err := b.x.Alloc(1); classOf(err) != want {
			t.Errorf("allocation %d: %v", i, err)
		}
	}
}

func TestThrottleIsSlowerAndSaysSo(t *testing.T) {
	b := newBench(t, double{gpu.Footprint{Passes: 20}})
	launch := func() gpu.Timing {
		timing, err := b.x.Run(b.m, b.out, b.out)
		if err != nil {
			t.Fatal(err)
		}
		return timing
	}
	before := launch()
	id, err := b.chip.Inject(simulated.Fault{Class: gpu.Throttled, Factor: 3})
	if err != nil {
		t.Fatal(err)
	}
	if during := launch(); during.Ran != 3*before.Ran {
		t.Errorf("%v became %v", before.Ran, during.Ran)
	}
	if s, _ := b.chip.Sample(); !s.Throttle.Slows() || s.ClockMHz >= s.MaxClockMHz || !s.Healthy() {
		t.Errorf("%+v", s)
	}
	b.chip.Lift(id)
	if after := launch(); after.Ran != before.Ran || b.chip.Fired(id) != 1 {
		t.Errorf("%v after it, fired %d times", after.Ran, b.chip.Fired(id))
	}
}

// resident has a tensor on the device.
type resident struct {
	double
	w []float32
}

func (r resident) Tensors() [][]float32 { return [][]float32{r.w} }

// hashed is randomness asked by identity.
type hashed uint64

func (h hashed) For(purpose string, a, b uint64) uint64 {
	x := uint64(h)
	for _, c := range purpose {
		x = (x ^ uint64(c)) * 0x100000001b3
	}
	x = (x ^ a) * 0x9e3779b97f4a7c15
	x = (x ^ b ^ x>>29) * 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// A silent corruption changes one bit, of the result or of what is in memory, and
// neither an error nor the health check nor the driver says anything.
func TestSilentCorruption(t *testing.T) {
	profile, err := gpu.ByName("h100")
	if err != nil {
		t.Fatal(err)
	}
	results, tensors := 0, 0
	for seed := range 64 {
		chip := simulated.NewChip(simulated.Config{Profile: profile, Keyed: hashed(seed)})
		x := chip.Open(simulated.Process{})
		p := resident{w: []float32{1, 1, 1, 1}}
		m, err := x.Load(p, 1)
		if err != nil {
			t.Fatal(err)
		}
		id, err := chip.Inject(simulated.Fault{Class: gpu.SilentCorruption, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, 4)
		if _, err := x.Run(m, out, []float32{1, 2, 3, 4}); err != nil {
			t.Fatal(err)
		}
		wrong := 0
		for i, v := range out {
			if v != float32(2*(i+1)) {
				wrong++
				results++
			}
		}
		for _, v := range p.w {
			if v != 1 {
				wrong++
				tensors++
			}
		}
		s, _ := chip.Sample()
		events, _, _ := chip.Events(0)
		if wrong != 1 || !s.Healthy() || len(events) != 0 || chip.Fired(id) != 1 {
			t.Errorf("%d wrong, %+v, %v", wrong, s, events)
		}
	}
	if results == 0 || tensors == 0 {
		t.Errorf("%d results and %d tensors were hit", results, tensors)
	}
}

// A row that is to be replaced fails nothing, is told, and is replaced by a reset.
func TestRemapPending(t *testing.T) {
	b := newBench(t, double{})
	if _, err := b.chip.Inject(simulated.Fault{Class: gpu.RemapPending, Limit: 1}); err != nil {
		t.Fatal(err)
	}
	if err := b.run(); err != nil {
		t.Fatal(err)
	}
	if s, _ := b.chip.Sample(); !s.Remap.Pending {
		t.Errorf("%+v", s.Remap)
	}
	if err := b.x.Reset(); err != nil {
		t.Fatal(err)
	}
	if s, _ := b.chip.Sample(); s.Remap.Pending || s.Remap.Uncorrected != 1 {
		t.Errorf("%+v", s.Remap)
	}
}

// A health check that lies says the opposite of how the device is.
func TestFalseHealth(t *testing.T) {
	b := newBench(t, double{})
	id, err := b.chip.Inject(simulated.Fault{Class: gpu.FalseHealth})
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := b.chip.Sample(); s.Healthy() {
		t.Error("a well device is called well")
	}
	if _, err := b.chip.Inject(simulated.Fault{Class: gpu.OffBus, Limit: 1}); err != nil {
		t.Fatal(err)
	}
	_ = b.run()
	if s, _ := b.chip.Sample(); !s.Healthy() {
		t.Error("a lost device is called lost")
	}
	b.chip.Lift(id)
	if s, _ := b.chip.Sample(); s.Healthy() || !s.Lost {
		t.Errorf("%+v", s)
	}
}

// A link spreads its failure in 14 % of the cases, and ends by itself in 20 %.
func TestLinksSpread(t *testing.T) {
	profile, err := gpu.ByName("h100")
	if err != nil {
		t.Fatal(err)
	}
	const runs = 4000
	alone, spread, passed := 0, 0, 0
	for seed := range runs {
		chip := simulated.NewChip(simulated.Config{Profile: profile, Keyed: hashed(seed)})
		peer := simulated.NewChip(simulated.Config{Profile: profile, Index: 1})
		chip.Connect(peer)
		x := chip.Open(simulated.Process{})
		m, err := x.Load(talk{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := chip.Inject(simulated.Fault{Class: gpu.LinkFailed, Limit: 1}); err != nil {
			t.Fatal(err)
		}
		_, err = x.Run(m, nil, nil)
		switch {
		case err == nil:
			passed++
		case peer.Ill() == gpu.LinkFailed:
			spread++
		default:
			alone++
		}
	}
	for _, c := range []struct {
		name string
		got  int
		want float64
	}{{"stay", alone, 0.66}, {"spread", spread, 0.14}, {"pass", passed, 0.20}} {
		if share := float64(c.got) / runs; share < c.want-0.03 || share > c.want+0.03 {
			t.Errorf("%s: %.3f, want %.2f", c.name, share, c.want)
		}
	}
}

// Events are numbered, and asked for from a number on.
func TestEvents(t *testing.T) {
	b := newBench(t, double{})
	if _, err := b.chip.Inject(simulated.Fault{Class: gpu.RemapPending, Limit: 300}); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for range 300 {
		if err := b.run(); err != nil {
			t.Fatal(err)
		}
	}
	events, next, err := b.chip.Events(last)
	if err != nil || len(events) != 256 || events[255].Number != 300 || next != 300 {
		t.Fatalf("%d events, next %d, %v", len(events), next, err)
	}
	if events, _, _ = b.chip.Events(298); len(events) != 2 {
		t.Errorf("%d events after 298", len(events))
	}
	if events, _, _ = b.chip.Events(300); len(events) != 0 {
		t.Errorf("%d events after the last", len(events))
	}
}
