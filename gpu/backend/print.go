package backend

import (
	"fmt"
	"io"
	"strings"

	"github.com/esper-sim/espersim/gpu"
)

// throttles are the reasons for low clocks in words, in the order of their numbers.
var throttles = []struct {
	t    gpu.Throttle
	name string
}{
	{gpu.ThrottleSoftPower, "power limit"},
	{gpu.ThrottleHardware, "hardware slowdown"},
	{gpu.ThrottleSoftThermal, "heat"},
	{gpu.ThrottleHardThermal, "heat, by the hardware"},
	{gpu.ThrottleHardPower, "power brake"},
}

func throttled(t gpu.Throttle) string {
	var names []string
	for _, r := range throttles {
		if t&r.t != 0 {
			names = append(names, r.name)
		}
	}
	if len(names) == 0 {
		return "not throttled"
	}
	return "throttled: " + strings.Join(names, ", ")
}

// Print writes what is known of devices as text.
func Print(w io.Writer, list []Info) {
	for _, d := range list {
		id := d.Identity
		fmt.Fprintf(w, "device %d, %s: %s\n", id.Index, d.Backend, name(id.Model))
		for _, l := range []struct{ name, text string }{{"uuid", id.UUID}, {"serial", id.Serial}, {"pci", id.PCI}, {"driver", id.Driver}, {"cuda", id.CUDA}} {
			if l.text != "" {
				fmt.Fprintf(w, "    %-12s %s\n", l.name, l.text)
			}
		}
		if id.Memory > 0 {
			fmt.Fprintf(w, "    %-12s %s\n", "memory", mebibytes(id.Memory))
		}
		if d.Failed != "" {
			fmt.Fprintf(w, "    %-12s %s\n", "state", d.Failed)
		}
		if d.Sample != nil {
			printSample(w, d.Sample)
		}
	}
}

func name(model string) string {
	if model == "" {
		return "it does not say who it is"
	}
	return model
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

func printSample(w io.Writer, s *gpu.Sample) {
	state := "well"
	switch {
	case s.Lost:
		state = "lost"
	case s.NeedsReset:
		state = "needs a reset"
	case s.Remap.Failed:
		state = "a row of its memory is bad, and no spare one is left"
	case s.ECC.UncorrectedVolatile > 0:
		state = "its memory had uncorrectable errors"
	}
	fmt.Fprintf(w, "    %-12s %s\n", "state", state)
	if s.MaxClockMHz == 0 && !s.Healthy() {
		return // it was never well enough to be measured
	}
	for _, l := range []struct{ name, text string }{
		{"used", fmt.Sprintf("%s, %d %% of the time", mebibytes(s.MemoryUsed), s.Utilisation)},
		{"temperature", fmt.Sprintf("%d °C, %.0f W", s.Temperature, s.PowerWatts)},
		{"clock", fmt.Sprintf("%d of %d MHz, %s", s.ClockMHz, s.MaxClockMHz, throttled(s.Throttle))},
		{"ecc", fmt.Sprintf("%d corrected, %d not; ever: %d and %d", s.ECC.CorrectedVolatile, s.ECC.UncorrectedVolatile, s.ECC.CorrectedAggregate, s.ECC.UncorrectedAggregate)},
		{"rows", fmt.Sprintf("%d replaced; at the next reset: %v", s.Remap.Corrected+s.Remap.Uncorrected, s.Remap.Pending)},
	} {
		fmt.Fprintf(w, "    %-12s %s\n", l.name, l.text)
	}
}
