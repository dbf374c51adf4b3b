package urabrask

import (
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/karn"
	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
)

// onDevice is a reference device with the given noise.
func onDevice(t *testing.T, noise func(uint64) uint64) *simulated.Context {
	p, err := gpu.ByName("h100")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Duration(0)
	return simulated.NewChip(simulated.Config{Profile: p, Now: func() time.Duration { now += time.Second; return now }}).Open(simulated.Process{Noise: noise})
}

// validate takes bytes through all steps, as a run does.
func validate(t *testing.T, dev gpu.Accelerator, binary []byte) *measured {
	return validateIn(t, standard, dev, binary)
}

func validateIn(t *testing.T, mode *mode, dev gpu.Accelerator, binary []byte) *measured {
	b := &bench{mode: mode, dev: dev}
	if err := b.setUp("k", binary); err != nil {
		t.Fatal(err)
	}
	for i, s := range mode.steps {
		if !b.m.passed() && i < 2 {
			break
		}
		if err := s.do(b); err != nil {
			t.Fatalf("%s: %v", stageNames[s.stage], err)
		}
	}
	b.m.judge()
	if err := b.tearDown(); err != nil {
		t.Fatal(err)
	}
	if used, _ := dev.Memory(); used != 0 {
		t.Errorf("%d bytes of the device are still taken", used)
	}
	return &b.m
}

// Of Karn's fifty, exactly the adversarial eight are rejected, whatever pipeline
// compiled them and in whichever mode they are validated, and each for its own
// fault.
func TestAdversarialKernelsAreRejected(t *testing.T) {
	why := map[string]string{"BP043": "sandbox", "BP044": "sandbox", "BP045": "gradient", "BP046": "keeps", "BP047": "sandbox", "BP049": "sandbox"}
	for _, tm := range karn.Templates {
		ir, err := tm.IR(12)
		if err != nil {
			t.Fatal(err)
		}
		for p := kernel.Emergency; p <= kernel.Aggressive; p++ {
			k, err := kernel.Compile(ir, p, "h100", kernel.Toolchain)
			if err != nil {
				t.Fatal(err)
			}
			dev := gpu.Accelerator(onDevice(t, func(n uint64) uint64 { return n * 0x9e3779b97f4a7c15 }))
			mode := modeOf("ir-h100-" + p.String() + "-espc-1")
			if mode.onHost {
				dev = newHost(func(n int) time.Duration { return time.Duration(n) * time.Microsecond })
			}
			m := validateIn(t, mode, dev, k.Encode())
			if m.passed() == (tm.Tier() == karn.Adversarial) {
				t.Errorf("%s, %v: risk %.2f, %q; %+v", tm.ID, p, m.risk, m.reason(), m)
			}
			if want := why[tm.ID]; !strings.Contains(m.reason(), want) {
				t.Errorf("%s is rejected for %q, want %q", tm.ID, m.reason(), want)
			}
		}
	}
}

func good(t *testing.T) []byte {
	ir, err := karn.Templates[0].IR(12)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Compile(ir, kernel.Standard, "h100", kernel.Toolchain)
	if err != nil {
		t.Fatal(err)
	}
	return k.Encode()
}

// Bytes that are no kernel are a verdict, not an accident.
func TestBytesThatDoNotLoad(t *testing.T) {
	b := good(t)
	b[70] ^= 1
	if m := validate(t, onDevice(t, nil), b); m.passed() || !strings.Contains(m.reason(), "CRC-32C") {
		t.Errorf("%q", m.reason())
	}
}

// A latency that varies is measured again, and then rejected.
func TestUnsteadyLatency(t *testing.T) {
	unsteady := unsteadyDevice{onDevice(t, nil), new(int)}
	m := validate(t, unsteady, good(t))
	if m.passed() || m.measurements != reruns || !strings.Contains(m.reason(), "latency") {
		t.Errorf("%d measurements, %q", m.measurements, m.reason())
	}
}

// unsteadyDevice is slow every other time.
type unsteadyDevice struct {
	gpu.Accelerator
	n *int
}

func (d unsteadyDevice) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	t, err := d.Accelerator.Run(m, out, in)
	if *d.n++; *d.n%2 == 0 {
		t.Ran *= 3
	}
	return t, err
}

func TestTags(t *testing.T) {
	m := &measured{width: 12, params: 112, passes: 3, latency: 2}
	if got := strings.Join(m.tags("fast", nil), " "); got != "fast pipeline-fast size-medium stable width-12" {
		t.Errorf("by rule: %s", got)
	}
	many := make([]float64, enough)
	for i := range many {
		many[i] = float64(i) / 10
	}
	if got := strings.Join(m.tags("fast", many), " "); strings.Contains(got, "fast ") && strings.HasPrefix(got, "fast") {
		t.Errorf("by percentile it is not among the fast: %s", got)
	}
}

func TestSpread(t *testing.T) {
	if mean, cv := spread([]float64{1, 3}); mean != 2 || cv != 0.5 {
		t.Errorf("mean %v, variation %v", mean, cv)
	}
	if mean, cv := spread([]float64{0, 0}); mean != 0 || cv != 0 {
		t.Errorf("of zeros: %v, %v", mean, cv)
	}
}

func TestModes(t *testing.T) {
	for id, want := range map[string]*mode{"ir-h100-emergency-espc-1": emergency, "ir-h100-fast-espc-1": standard, "ir-h100-standard-espc-1": standard,
		"ir-h100-aggressive-espc-1": comprehensive, "residual-4": standard, "": standard} {
		if modeOf(id) != want {
			t.Errorf("%q is validated as %v", id, modeOf(id).id)
		}
	}
	for _, s := range emergency.steps {
		if s.stage == structural {
			t.Error("an emergency is asked for its structure")
		}
	}
}

// Only the comprehensive mode sees that a device becomes slower under load.
func TestLastingLoad(t *testing.T) {
	for _, c := range []struct {
		mode *mode
		want bool
	}{{standard, true}, {comprehensive, false}} {
		m := validateIn(t, c.mode, &tiringDevice{Accelerator: onDevice(t, nil)}, good(t))
		if m.passed() != c.want {
			t.Errorf("%v: %q", c.mode.id, m.reason())
		}
	}
}

// tiringDevice is a little slower with each launch.
type tiringDevice struct {
	gpu.Accelerator
	n time.Duration
}

func (d *tiringDevice) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	t, err := d.Accelerator.Run(m, out, in)
	d.n++
	t.Ran += t.Ran * d.n / 400
	return t, err
}
