package fleet

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/device"
	"github.com/esper-sim/espersim/cluster/journal"
	"github.com/esper-sim/espersim/contracts/canon"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
)

// WorkerOptions of a worker.
type WorkerOptions struct {
	Lead    string        `set:"lead" doc:"the node that leads the fleet"`
	Step    time.Duration `set:"step" doc:"how long a step takes where nothing disturbs it"`
	Restore time.Duration `set:"restore" doc:"how long it takes to load a checkpoint"`
	Beat    time.Duration `set:"beat" doc:"between two signs of life"`
	Segment int           `set:"segment" doc:"bytes of a segment of its logs"`
	Timeout time.Duration `set:"timeout" doc:"deadline of one operation on the disk"`
}

// WorkerDefaults are the options of a worker that sets none.
func WorkerDefaults() *WorkerOptions {
	return &WorkerOptions{Lead: "lead", Step: 10 * time.Second, Restore: 30 * time.Second, Beat: 10 * time.Second, Segment: 16 << 10, Timeout: 500 * time.Millisecond}
}

// The kinds of messages. Numbers: generation, step, and what the kind says.
const (
	alive = "alive" // worker: how many devices it has, and how many are to be used
	begin = "begin" // lead: the first rank, and how many ranks there are in all
	ready = "ready" // worker: it stands at the step
	goOn  = "go"    // lead: do this step
	sum   = "sum"   // worker: its devices' sum
	broke = "broke" // worker: a device failed, in words
)

func note(kind string, generation, step int64, more ...int64) *trainingv2.FleetNote {
	return &trainingv2.FleetNote{Kind: kind, Generation: uint32(generation), Number: step, Values: more}
}

// value is a value of a message, or 0.
func value(m *trainingv2.FleetNote, i int) int64 {
	if i < len(m.Values) {
		return m.Values[i]
	}
	return 0
}

type worker struct {
	env        actor.Env
	o          WorkerOptions
	guards     []*device.Guard
	parts      []part
	generation int64 // that it takes part in; 0: none
	first      int64 // rank of its first device
	ranks      int64
}

// part is what is on one device.
type part struct {
	module gpu.Module
	era    uint64
}

// NewWorker makes the constructor of a host of a fleet.
func NewWorker(o WorkerOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		w := &worker{env: env, o: o, parts: make([]part, len(env.Devices))}
		for i, d := range env.Devices {
			e := env
			e.Devices = []actor.Device{d}
			w.guards = append(w.guards, device.New(e, device.Options{Dir: fmt.Sprint("device-", i+1), Index: i,
				Limit: 3 * o.Step, Segment: o.Segment, Timeout: o.Timeout}))
		}
		return w, nil
	}
}

// Start implements actor.Actor.
func (w *worker) Start() error {
	for _, g := range w.guards {
		g.Open()
		g.Tick()
	}
	w.beat()
	return nil
}

// beat tells the lead that the host lives, and how well it is.
func (w *worker) beat() {
	usable := int64(0)
	for _, g := range w.guards {
		if g.Usable() {
			usable++
		}
	}
	w.send(note(alive, w.generation, 0, int64(len(w.guards)), usable, int64(w.env.Incarnation)))
	w.env.Clock.SetTimer("beat", 0, w.o.Beat)
}

func (w *worker) send(m *trainingv2.FleetNote) {
	w.env.Net.Send(actor.ID(w.o.Lead), m, actor.SendOptions{Key: fmt.Sprint(m.Kind, "/", m.Generation, "/", m.Number)})
}

// Receive implements actor.Actor.
func (w *worker) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case "beat":
			w.beat()
		case device.Timer:
			for _, g := range w.guards {
				g.Tick()
			}
		case journal.Timer:
			for _, g := range w.guards {
				g.Open()
			}
		}
	case *trainingv2.FleetNote:
		if from == actor.ID(w.o.Lead) {
			w.order(m)
		}
	}
	for _, g := range w.guards {
		if err := g.Exit(); err != nil {
			return err
		}
	}
	return nil
}

// order does what the lead says.
func (w *worker) order(m *trainingv2.FleetNote) {
	generation, step := int64(m.Generation), m.Number
	switch {
	case m.Kind == begin && generation > w.generation:
		w.generation, w.first, w.ranks = generation, value(m, 0), value(m, 1)
		w.load()
		w.env.Clock.Work(gpu.Restore, int(w.o.Restore/(300*time.Microsecond)))
		w.send(note(ready, generation, step))
	case m.Kind == begin && generation == w.generation:
		w.send(note(ready, generation, step))
	case m.Kind == goOn && generation == w.generation:
		s, err := w.step(step)
		if err == nil {
			w.send(note(sum, generation, step, s))
			return
		}
		w.generation = 0
		r := note(broke, generation, step)
		r.Reason = err.Error()
		w.send(r)
	}
}

// load puts the model onto the devices that are to be used. Where that fails the next
// step says so.
func (w *worker) load() {
	for i, g := range w.guards {
		g.Tend() // nothing that counts is on it now
		p := &w.parts[i]
		err := g.Do(func(a gpu.Accelerator) error {
			if p.module != 0 && p.era == g.Era() {
				if err := a.Unload(p.module); err != nil {
					return err
				}
			}
			p.module = 0
			m, err := a.Load(shard{int(w.ranks), w.o.Step}, 1)
			if err != nil {
				return err
			}
			p.module, p.era = m, g.Era()
			return nil
		})
		if err != nil {
			w.env.Log.Warn(fmt.Sprintf("device %d: %v", i+1, err))
		}
	}
}

// step computes the host's part of a step, on all devices at once. What was on a
// device that had to be made usable again is lost, and all begin again behind the
// checkpoint.
func (w *worker) step(n int64) (int64, error) {
	total, units := int64(0), 0
	in, out := make([]float32, 2), make([]float32, 1)
	for i, g := range w.guards {
		p := &w.parts[i]
		in[0], in[1] = float32(w.first+int64(i)), float32(n)
		err := g.Do(func(a gpu.Accelerator) error {
			if p.module == 0 || p.era != g.Era() {
				return device.ErrLost
			}
			t, err := a.Run(p.module, out, in)
			units = max(units, t.Units)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("device %d: %w", i+1, err)
		}
		total += int64(out[0])
	}
	w.env.Clock.Work(gpu.Launch, units)
	return total, nil
}
