package device_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/device"
	"github.com/esper-sim/espersim/contracts/canon"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// worker computes something every 100 ms.
type worker struct {
	env    actor.Env
	guard  *device.Guard
	module gpu.Module
	era    uint64
	done   *int
	aside  *int
}

type twice struct{}

func (twice) Footprint(int) gpu.Footprint { return gpu.Footprint{Passes: 1, Bytes: 64} }
func (twice) Run(out, in []float32) {
	for i, v := range in {
		out[i] = 2 * v
	}
}

func (w *worker) Start() error {
	w.guard.Open()
	w.guard.Tick()
	w.env.Clock.SetTimer("work", 0, 0)
	return nil
}

func (w *worker) Receive(_ actor.ID, m canon.Message) error {
	t, ok := m.(*localv2.TimerFired)
	if !ok {
		return nil
	}
	switch t.Name {
	case device.Timer:
		w.guard.Tick()
	case "work":
		w.env.Clock.SetTimer("work", 0, 100*time.Millisecond)
		w.guard.Tend()
		in, out := []float32{1, 2}, make([]float32, 2)
		err := w.guard.Do(func(a gpu.Accelerator) error {
			if w.module == 0 || w.era != w.guard.Era() {
				m, err := a.Load(twice{}, 1)
				if err != nil {
					return err
				}
				w.module, w.era = m, w.guard.Era()
			}
			_, err := a.Run(w.module, out, in)
			if err == nil && (out[0] != 2 || out[1] != 4) {
				err = &gpu.Error{Op: "run", Class: gpu.SilentCorruption}
			}
			return err
		})
		switch {
		case err == device.ErrNone:
			*w.aside++
		case err == nil && out[1] == 4:
			*w.done++
		}
	}
	return w.guard.Exit()
}

// steps notes what processes say of their devices.
type steps struct {
	t    *testing.T
	said []string
}

func (s *steps) Observe(e *trace.Event) {
	switch e.Kind {
	case trace.FactDeclared:
		if !strings.HasSuffix(e.Text, ".DeviceFact") {
			return
		}
		m := new(evidencev2.DeviceFact)
		if err := m.ParseCanonical(append([]byte(nil), e.Data...)); err != nil {
			s.t.Fatal(err)
		}
		s.said = append(s.said, fmt.Sprintf("%d %s", m.Index+1, strings.ToLower(strings.TrimPrefix(m.Step.String(), "DEVICE_"))))
	case trace.NodeExited:
		s.said = append(s.said, "exit")
	}
}

// work runs a worker with some devices for a time.
func work(t *testing.T, devices int, d time.Duration, faults ...simulated.Fault) (*steps, []*simulated.Chip, int, int) {
	p, err := gpu.ByName("a100")
	if err != nil {
		t.Fatal(err)
	}
	var chips []*simulated.Chip
	for i := range devices {
		chips = append(chips, simulated.NewChip(simulated.Config{Profile: p, Index: i, UUID: fmt.Sprint("GPU-", i)}))
	}
	for _, f := range faults {
		if _, err := chips[0].Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	files, err := disk.New(disk.Config{Profile: disk.Ext4})
	if err != nil {
		t.Fatal(err)
	}
	s := &steps{t: t}
	done, aside := 0, 0
	w, err := sim.New(sim.Config{Name: "guard", Seed: 1, Trace: trace.NewLog(s),
		Hosts: []sim.Host{{Name: "h", Disk: files, Device: p, Chips: chips}},
		Nodes: []sim.Node{{ID: "w", Host: "h", Restart: 100 * time.Millisecond, Make: func(e actor.Env) (actor.Actor, error) {
			return &worker{env: e, done: &done, aside: &aside, guard: device.New(e, device.Options{Limit: time.Second, Segment: 4096, Timeout: time.Second})}, nil
		}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(d); err != nil {
		t.Fatal(err)
	}
	return s, chips, done, aside
}

// What is done about each class, first and when it comes again.
func TestLadder(t *testing.T) {
	for _, c := range []struct {
		f      simulated.Fault
		for_   time.Duration
		said   string
		resets int
	}{
		{simulated.Fault{Class: gpu.LaunchFailed, Limit: 1}, time.Second, "1 failed,1 works", 0},
		{simulated.Fault{Class: gpu.LaunchFailed, Limit: 3}, time.Second, "1 failed,1 failed,1 failed,1 rebuilt,1 works", 0},
		{simulated.Fault{Class: gpu.Sticky, Limit: 1}, time.Second, "1 failed,1 rebuilt,1 works", 0},
		{simulated.Fault{Class: gpu.Sticky, Limit: 4}, 10 * time.Second, "1 failed,1 rebuilt,1 failed,1 rebuilt,1 failed,1 rebuilt,1 failed,1 reset,1 rebuilt,1 works", 1},
		{simulated.Fault{Class: gpu.Hung, Limit: 1}, 3 * time.Second, "1 failed,1 rebuilt,1 works", 0},
		{simulated.Fault{Class: gpu.MemoryContained, Limit: 1}, 10 * time.Second, "1 failed,1 rebuilt,1 works,1 reported,1 reset,1 rebuilt", 1},
		{simulated.Fault{Class: gpu.MemoryUncontained, Limit: 1}, 10 * time.Second, "1 failed,1 reset,1 rebuilt,1 works,1 reported", 1},
		{simulated.Fault{Class: gpu.RemapPending, Limit: 1}, 10 * time.Second, "1 reported,1 reset,1 rebuilt", 1},
		{simulated.Fault{Class: gpu.AppFault, Limit: 1}, time.Second, "1 failed,1 restart,exit", 0},
		{simulated.Fault{Class: gpu.AppFault, Limit: 4}, 10 * time.Second, "1 failed,1 restart,exit,1 failed,1 restart,exit,1 failed,1 restart,exit,1 failed,1 reset,exit", 1},
		{simulated.Fault{Class: gpu.OffBus, Limit: 1}, 30 * time.Second, "1 failed,1 reboot,exit", 1},
		{simulated.Fault{Class: gpu.OutOfMemory, Limit: 1}, time.Second, "1 failed,1 works", 0},
		{simulated.Fault{Class: gpu.OutOfMemory}, 200 * time.Millisecond, "1 failed,1 failed,1 failed,1 failed", 0},
		{simulated.Fault{Class: gpu.FalseHealth, Limit: 1}, 3 * time.Second, "1 disputed", 0},
		{simulated.Fault{Class: gpu.SilentCorruption, Limit: 1}, time.Second, "1 wrong,1 works", 0},
		{simulated.Fault{Class: gpu.SilentCorruption, Limit: 3}, time.Second, "1 wrong,1 wrong,1 wrong,1 works", 0},
		{simulated.Fault{Class: gpu.Throttled, Limit: 1}, 2 * time.Second, "", 0},
	} {
		t.Run(fmt.Sprint(c.f.Class, "/", c.f.Limit), func(t *testing.T) {
			s, chips, done, _ := work(t, 1, c.for_, c.f)
			if got := strings.Join(s.said, ","); got != c.said {
				t.Errorf("it says %s\nwant    %s", got, c.said)
			}
			if chips[0].Resets() != c.resets {
				t.Errorf("%d resets, want %d", chips[0].Resets(), c.resets)
			}
			if done == 0 && c.f.Limit > 0 {
				t.Error("nothing was computed")
			}
		})
	}
}

// A device that nothing helps is given up, in later lives as well, until it is
// another one, or does its work again.
func TestGivenUp(t *testing.T) {
	s, chips, done, aside := work(t, 1, 2*time.Minute, simulated.Fault{Class: gpu.OffBus, Limit: 3})
	got := strings.Join(s.said, ",")
	if want := "1 failed,1 reboot,exit,1 failed,1 reboot,exit,1 failed,1 sick"; !strings.HasPrefix(got, want) {
		t.Errorf("it says %s\nwant    %s", got, want)
	}
	if aside < 100 {
		t.Errorf("%d times was nothing computed on the device that is given up", aside)
	}
	chips[0].Swap()
	if done != 0 {
		t.Errorf("%d results, and no launch did well", done)
	}
}

// A device that computes something wrong again and again is given up, and used again
// when it does what it should.
func TestLemon(t *testing.T) {
	s, _, done, aside := work(t, 1, 2*time.Minute, simulated.Fault{Class: gpu.SilentCorruption, Limit: 4})
	if got, want := strings.Join(s.said, ","), "1 wrong,1 wrong,1 wrong,1 wrong,1 sick,1 well"; got != want {
		t.Errorf("it says %s\nwant    %s", got, want)
	}
	if done < 600 || aside < 300 {
		t.Errorf("%d results, and %d times none", done, aside)
	}
}

// Another device of the host is used where there is one.
func TestAnotherDevice(t *testing.T) {
	s, _, done, aside := work(t, 2, 10*time.Second, simulated.Fault{Class: gpu.RemapFailed, Limit: 1})
	if got, want := strings.Join(s.said, ","), "1 failed,1 sick,2 works"; got != want && got != "1 failed,1 sick" {
		t.Errorf("it says %s\nwant    %s", got, want)
	}
	if done < 90 || aside > 0 {
		t.Errorf("%d results, and %d times none", done, aside)
	}
}
