// Package deviceload is what a device is recorded and calibrated with: the programs
// that a training run has it compute, alone and together, in several sizes. A list is
// a function of its seed, so that a tape of it can be played with one made anew.
package deviceload

import (
	"errors"
	"fmt"
	"time"

	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"

	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/cluster/trainer"
	"github.com/esper-sim/espersim/gpu"
)

// Program is one that a device computes, and that has a name.
type Program interface {
	gpu.Lowerable
	ProgramName() string
}

// Item is a program of a size.
type Item struct {
	Program Program
	Batch   int
	Out     int                       // how many numbers come out
	Input   func(round int) []float32 // what goes in
}

// Limit is how long one launch may take.
const Limit = 30 * time.Second

// numbers are inputs within ±1, another list for each round.
func numbers(n int, seed uint64) func(round int) []float32 {
	return func(round int) []float32 {
		x := make([]float32, n)
		trainer.Draw(x, seed, uint64(round), 6) // fan 6: within ±1
		return x
	}
}

// Items lists the programs.
func Items(seed uint64) ([]Item, error) {
	var list []Item
	for _, size := range []struct{ in, out, batch int }{{16, 16, 8}, {64, 64, 32}, {256, 256, 64}} {
		p, err := trainer.NewProduct(size.in, size.out)
		if err != nil {
			return nil, err
		}
		list = append(list, Item{p, size.batch, size.batch * size.out, numbers(size.batch*size.in, seed)})
	}
	for _, size := range []struct{ width, hidden, batch int }{{16, 8, 8}, {64, 32, 32}} {
		k, err := trainer.NewKernel(fmt.Sprint("residual ", size.width), size.width, size.hidden)
		if err != nil {
			return nil, err
		}
		p, err := trainer.NewResidual(k, 0.5)
		if err != nil {
			return nil, err
		}
		list = append(list, Item{p, size.batch, size.batch * size.width, numbers(size.batch*size.width, seed)})
	}
	for _, size := range []struct{ width, batch int }{{16, 8}, {64, 32}} {
		p, err := compiled(size.width)
		if err != nil {
			return nil, err
		}
		list = append(list, Item{p, size.batch, size.batch * size.width, numbers(size.batch*size.width, seed)})
	}
	for _, n := range []int{1000, 100000} {
		p, err := trainer.NewDescent(n, 0.01)
		if err != nil {
			return nil, err
		}
		list = append(list, Item{p, 1, n, numbers(n, seed)})
	}
	for _, batch := range []int{8, 64} {
		item, err := training(seed, batch)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, nil
}

// compiled is a kernel as Tezzeret makes them, with an operation of every kind.
func compiled(width int) (Program, error) {
	ir := &blueprintv2.BlueprintIR{SchemaVersion: 1}
	before := ""
	for i, op := range []string{"input", "dense", "relu", "norm", "scale", "leaky", "dense", "gate", "gain", "clip", "softsign", "dense", "output"} {
		n := &blueprintv2.BlueprintIR_Node{Id: fmt.Sprintf("n%02d", i), Op: op, InShape: []int64{int64(width)}, OutShape: []int64{int64(width)}}
		switch op {
		case "input":
			n.InShape = nil
		case "output":
			n.OutShape = nil
		case "scale", "gain":
			n.Attributes = []*telemetryv2.Label{{Key: "gain", Value: "0.5"}}
		}
		ir.Nodes = append(ir.Nodes, n)
		if before != "" {
			ir.Edges = append(ir.Edges, &blueprintv2.BlueprintIR_Edge{From: before, To: n.Id})
		}
		before = n.Id
	}
	p, err := kernel.Compile(kernel.Canonical(ir), kernel.Standard, "h100", kernel.Toolchain)
	if err != nil {
		return nil, err
	}
	return kernel.Blend(fmt.Sprint("compiled ", width), p.Encode(), width, 0.5)
}

// training is the network that scenarios train, with a kernel at its second place.
func training(seed uint64, batch int) (Item, error) {
	g, err := trainer.ParseGraph([]byte(trainer.RingsGraph))
	if err != nil {
		return Item{}, err
	}
	if g, err = trainer.InjectGrafts(g); err != nil {
		return Item{}, err
	}
	m, err := trainer.NewModel(g, seed)
	if err != nil {
		return Item{}, err
	}
	k, err := trainer.NewKernel(fmt.Sprint("grafted ", seed), 12, 8)
	if err != nil {
		return Item{}, err
	}
	step, err := trainer.NewStep(m, 0.02, batch, trainer.Grafted{Layer: 2, Kernel: k, Alpha: 0.5})
	if err != nil {
		return Item{}, err
	}
	data := trainer.Rings(8*batch, seed)
	return Item{step, batch, 2, func(round int) []float32 {
		at := round % 8 * batch
		return step.Input(nil, data.X[2*at:2*(at+batch)], data.Labels[at:at+batch])
	}}, nil
}

// Report is what became of the programs.
type Report struct {
	Programs, Launches int
	Failed             []*gpu.Error // and was cured
	Samples, Events    int
	told               uint64 // the number of the last event
}

// attempts is how often one launch is tried.
const attempts = 4

// Run has a device compute every program so many times, one after the other, and
// looks at it after each; m may be nil. What fails is tried again after what its
// class asks for; an error is what nothing here cures.
func Run(x gpu.Accelerator, m gpu.Monitor, items []Item, repeats int) (*Report, error) {
	r := &Report{}
	x.Limit(Limit)
	for _, it := range items {
		if err := r.item(x, it, repeats); err != nil {
			return r, fmt.Errorf("%s, batch %d: %w", it.Program.ProgramName(), it.Batch, err)
		}
		r.Programs++
		if err := r.look(m); err != nil {
			return r, err
		}
	}
	return r, nil
}

// look takes what the monitor says.
func (r *Report) look(m gpu.Monitor) error {
	if m == nil {
		return nil
	}
	if _, err := m.Sample(); err != nil {
		return err
	}
	r.Samples++
	events, next, err := m.Events(r.told)
	r.Events += len(events)
	r.told = next
	return err
}

func (r *Report) item(x gpu.Accelerator, it Item, repeats int) error {
	out := make([]float32, it.Out)
	loaded := false
	var module gpu.Module
	for round := range repeats {
		in := it.Input(round)
		for attempt := 1; ; attempt++ {
			var err error
			if !loaded {
				module, err = x.Load(it.Program, it.Batch)
				loaded = err == nil
			}
			if err == nil {
				if _, err = x.Run(module, out, in); err == nil {
					r.Launches++
					break
				}
			}
			if loaded, err = r.cure(x, err, loaded, attempt); err != nil {
				return err
			}
		}
	}
	if !loaded {
		return nil
	}
	return x.Unload(module)
}

// cure does what an error asks for. What was loaded is lost with a context.
func (r *Report) cure(x gpu.Accelerator, err error, loaded bool, attempt int) (bool, error) {
	var e *gpu.Error
	if !errors.As(err, &e) || attempt >= attempts {
		return loaded, err
	}
	switch gpu.Advice(err) {
	case gpu.Retry, gpu.FreeMemory, gpu.Wait:
		err = nil
	case gpu.RebuildContext:
		loaded, err = false, x.Rebuild()
	case gpu.ResetDevice:
		if err = x.Reset(); err == nil {
			loaded, err = false, x.Rebuild()
		}
	}
	if err == nil {
		r.Failed = append(r.Failed, e)
	}
	return loaded, err
}
