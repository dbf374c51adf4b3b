package tape

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// Calibration is what a tape says of a device's speed: a profile that a simulated
// device may have, and the medians that it is made of.
type Calibration struct {
	Model  string `json:"model"`
	Driver string `json:"driver,omitempty"`
	CUDA   string `json:"cuda,omitempty"`
	// LaunchNS is how long a unit of gpu.Launch takes; 1000 on the reference device.
	LaunchNS int64 `json:"launch_ns"`
	// Kernels are the programs that were run, in the order of their first launch, for
	// each size.
	Kernels []Median `json:"kernels"`
}

// Median is how long launches of one program and size took.
type Median struct {
	Program  string        `json:"program"`
	Batch    int           `json:"batch"`
	Passes   int           `json:"passes"`
	Flops    int64         `json:"flops"` // a sample
	Launches int           `json:"launches"`
	Least    time.Duration `json:"least_ns"`
	Median   time.Duration `json:"median_ns"`
	Most     time.Duration `json:"most_ns"`
	Units    int64         `json:"units"` // that the model of package simulated counts
	UnitNS   int64         `json:"unit_ns"`
}

// units is what the model counts for a launch: 5 for a pass over memory, and 1 for a
// million operations; at least 1.
func units(f footprint, batch int) int64 {
	return max(5*int64(f.Passes)+(f.Flops*int64(batch)+5e5)/1e6, 1)
}

// Calibrate sums a tape up. The length of a unit is the median of the programs': one
// of which the model is far off does not move it. An error says what the tape lacks.
func (t *Tape) Calibrate() (*Calibration, error) {
	c := &Calibration{Model: t.Head.Identity.Model, Driver: t.Head.Identity.Driver, CUDA: t.Head.Identity.CUDA}
	if c.Model == "" {
		c.Model = t.Head.Name
	}
	modules := map[uint64]int{} // index into Kernels
	var took [][]time.Duration
	for i := range t.records {
		r := &t.records[i]
		switch {
		case r.Op == "load" && r.Error == nil:
			m := Median{Program: r.Program, Batch: r.Batch, Passes: r.Takes.Passes, Flops: r.Takes.Flops, Units: units(*r.Takes, r.Batch)}
			k := slices.IndexFunc(c.Kernels, func(o Median) bool {
				return o.Program == m.Program && o.Batch == m.Batch && o.Passes == m.Passes && o.Flops == m.Flops
			})
			if k < 0 {
				k = len(c.Kernels)
				c.Kernels, took = append(c.Kernels, m), append(took, nil)
			}
			modules[r.Module] = k
		case r.Op == "run" && r.Error == nil:
			k := modules[r.Module] // Read has seen that it was loaded
			took[k] = append(took[k], r.Timing.Ran)
		}
	}
	var lengths []int64
	kept := c.Kernels[:0]
	for k, m := range c.Kernels {
		if len(took[k]) == 0 {
			continue
		}
		slices.Sort(took[k])
		m.Launches, m.Least, m.Most = len(took[k]), took[k][0], took[k][len(took[k])-1]
		m.Median = took[k][len(took[k])/2]
		m.UnitNS = int64(m.Median) / m.Units
		lengths = append(lengths, m.UnitNS)
		kept = append(kept, m)
	}
	c.Kernels = kept
	if len(lengths) == 0 {
		return nil, fmt.Errorf("the tape has no launch that did well")
	}
	slices.Sort(lengths)
	c.LaunchNS = max(lengths[len(lengths)/2], 1)
	return c, nil
}

// Profile is the device that was measured: its launches take as long as they took.
// Everything else is as on the reference device, since nothing of it was recorded.
func (c *Calibration) Profile() (*gpu.Profile, error) {
	if c.LaunchNS < 1 || c.Model == "" {
		return nil, fmt.Errorf("a calibration of %q with %d ns a unit; want a model, and at least 1", c.Model, c.LaunchNS)
	}
	p, err := gpu.ByName("h100")
	if err != nil {
		return nil, err
	}
	p.Model = c.Model
	p.Costs[gpu.Launch] = gpu.Cost{PerUnit: time.Duration(c.LaunchNS)}
	return p, nil
}

// Print writes the calibration as text.
func (c *Calibration) Print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s: %d ns a unit of launch\n\n%-20s %6s %7s %10s %9s %12s %12s %12s %9s\n",
		c.Model, c.LaunchNS, "program", "batch", "passes", "flops", "launches", "least", "median", "most", "ns/unit"); err != nil {
		return err
	}
	for _, m := range c.Kernels {
		if _, err := fmt.Fprintf(w, "%-20s %6d %7d %10d %9d %12v %12v %12v %9d\n",
			m.Program, m.Batch, m.Passes, m.Flops, m.Launches, m.Least, m.Median, m.Most, m.UnitNS); err != nil {
			return err
		}
	}
	return nil
}
