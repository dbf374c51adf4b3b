package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/journal"
	"github.com/esper-sim/espersim/contracts/canon"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
)

// LeadOptions of a lead.
type LeadOptions struct {
	Hosts      int           `set:"hosts" doc:"hosts that take part at a time; others are spare"`
	Step       time.Duration `set:"step" doc:"how long a step takes where nothing disturbs it"`
	Checkpoint int           `set:"checkpoint" doc:"steps between two checkpoints"`
	Save       time.Duration `set:"save" doc:"how long saving a checkpoint takes"`
	Patience   time.Duration `set:"patience" doc:"how much longer than usual a step or a start may take"`
	Segment    int           `set:"segment" doc:"bytes of a segment of its log"`
	Timeout    time.Duration `set:"timeout" doc:"deadline of one operation on the disk"`
}

// LeadDefaults are the options of a lead that sets none.
func LeadDefaults() *LeadOptions {
	return &LeadOptions{Hosts: 1, Step: 10 * time.Second, Checkpoint: 30, Save: 2 * time.Second, Patience: 30 * time.Second, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

// silence is how long a host may say nothing and still be taken for a member.
const silence = 25 * time.Second

// host is a worker as the lead knows it.
type host struct {
	id      actor.ID
	heard   time.Duration
	devices int64
	usable  int64
	life    int64
	member  bool
	done    bool  // it has answered what was asked last
	first   int64 // rank of its first device
	failed  int   // how often it interrupted the others
	rest    time.Duration
}

// checkpoint is what the log has.
type checkpoint struct {
	step       int64
	state      uint64
	generation int64
}

type phase uint8

const (
	gathering phase = iota // until there are enough hosts
	starting               // until all members stand at the step
	running
)

type lead struct {
	env   actor.Env
	o     LeadOptions
	log   *journal.Log
	hosts []*host // by name

	phase      phase
	generation int64
	step       int64 // that is asked for
	state      uint64
	total      int64 // of the present step
	waits      int
	saved      checkpoint // the newest
	serial     int64
}

// NewLead makes the constructor of who leads a fleet.
func NewLead(o LeadOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		l := &lead{env: env, o: o}
		l.log = journal.New(env, journal.Options{Dir: "lead", Segment: o.Segment, Timeout: o.Timeout,
			Reset: func() { l.saved = checkpoint{} },
			Apply: func(_ uint64, record []byte) error {
				m := new(evidencev2.FleetFact)
				if err := m.ParseCanonical(record); err != nil {
					return err
				}
				l.saved = checkpoint{m.Number, m.State, int64(m.Generation)}
				return nil
			},
			Opened: func() { l.generation = max(l.generation, l.saved.generation) },
		})
		return l, nil
	}
}

// Start implements actor.Actor.
func (l *lead) Start() error {
	l.log.Open()
	l.env.Clock.SetTimer("gather", 0, time.Second)
	return nil
}

// Receive implements actor.Actor.
func (l *lead) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch {
		case m.Name == journal.Timer:
			l.log.Open()
		case m.Name == "gather" && l.phase == gathering:
			l.gather()
		case m.Name == "deadline" && m.Arg == l.serial && l.phase != gathering:
			l.late()
		}
	case *trainingv2.FleetNote:
		l.heard(from, m)
	}
	return nil
}

// host finds a worker, or makes room for it.
func (l *lead) host(id actor.ID) *host {
	i, ok := slices.BinarySearchFunc(l.hosts, id, func(h *host, id actor.ID) int { return strings.Compare(string(h.id), string(id)) })
	if !ok {
		l.hosts = slices.Insert(l.hosts, i, &host{id: actor.ID(strings.Clone(string(id)))})
	}
	return l.hosts[i]
}

// heard takes in what a worker says.
func (l *lead) heard(from actor.ID, m *trainingv2.FleetNote) {
	h := l.host(from)
	h.heard = l.env.Clock.Monotonic()
	switch m.Kind {
	case alive:
		life := value(m, 2)
		again := h.life != 0 && life != h.life
		h.devices, h.usable, h.life = value(m, 0), value(m, 1), life
		if h.member && l.phase != gathering && again {
			l.interrupt(h, "it began anew")
		}
	case ready:
		if l.phase == starting && h.member && !h.done && int64(m.Generation) == l.generation {
			l.answered(h)
		}
	case sum:
		if l.phase == running && h.member && !h.done && int64(m.Generation) == l.generation && m.Number == l.step {
			l.total += value(m, 0)
			l.answered(h)
		}
	case broke:
		if h.member && int64(m.Generation) == l.generation && l.phase != gathering {
			l.interrupt(h, strings.Clone(m.Reason))
		}
	}
}

// answered counts an answer, and goes on behind the last.
func (l *lead) answered(h *host) {
	h.done = true
	if l.waits--; l.waits > 0 {
		return
	}
	if l.phase == starting {
		l.phase = running
		l.tell(evidencev2.FleetStep_FLEET_STARTED, nil, "")
		l.next()
		return
	}
	l.state = Next(l.state, l.total)
	l.tell(evidencev2.FleetStep_FLEET_STEP_DONE, nil, "")
	l.step++
	if l.step%int64(max(l.o.Checkpoint, 1)) == 0 {
		l.save()
	}
	l.next()
}

// save makes a checkpoint durable. Where that fails the one before stays.
func (l *lead) save() {
	l.env.Clock.Work(gpu.Snapshot, int(l.o.Save/(200*time.Microsecond)))
	m := &evidencev2.FleetFact{Step: evidencev2.FleetStep_FLEET_SAVED, Number: l.step, State: l.state, Generation: uint32(l.generation)}
	if l.log.Usable() && l.log.Write(m) {
		l.tell(evidencev2.FleetStep_FLEET_SAVED, nil, "")
	}
}

// next has the members do the next step.
func (l *lead) next() {
	l.total = 0
	l.ask(note(goOn, l.generation, l.step), l.o.Step+l.o.Patience)
}

// ask asks all members, and waits for so long.
func (l *lead) ask(m *trainingv2.FleetNote, limit time.Duration) {
	l.waits = 0
	for _, h := range l.hosts {
		if !h.member {
			continue
		}
		h.done = false
		l.waits++
		o := m
		if m.Kind == begin {
			o = note(begin, l.generation, l.step, h.first, value(m, 0))
		}
		l.env.Net.Send(h.id, o, actor.SendOptions{Key: fmt.Sprint(m.Kind, "/", l.generation, "/", l.step)})
	}
	l.serial++
	l.env.Clock.SetTimer("deadline", l.serial, limit)
}

// late gives up waiting for who has not answered.
func (l *lead) late() {
	for _, h := range l.hosts {
		if h.member && !h.done {
			l.interrupt(h, "it does not answer")
			return
		}
	}
}

// interrupt begins again behind the newest checkpoint, with whom there is. A host
// that interrupts the others again and again is left out for longer each time.
func (l *lead) interrupt(h *host, why string) {
	h.failed++
	h.rest = l.env.Clock.Monotonic() + time.Duration(min(h.failed-1, 30))*time.Minute
	l.tell(evidencev2.FleetStep_FLEET_INTERRUPTED, h, why)
	for _, x := range l.hosts {
		if x.member && !x.done && x != h {
			x.done = true
		}
		x.member = false
	}
	l.phase = gathering
	l.env.Clock.SetTimer("gather", 0, time.Second)
}

// gather takes members from the hosts that are well, those first that interrupted
// the others least.
func (l *lead) gather() {
	l.env.Clock.SetTimer("gather", 0, time.Second)
	if !l.log.Usable() {
		return
	}
	now := l.env.Clock.Monotonic()
	var well []*host
	for _, h := range l.hosts {
		if h.usable == h.devices && h.devices > 0 && now-h.heard < silence {
			well = append(well, h)
		}
	}
	if len(well) < l.o.Hosts {
		return
	}
	slices.SortStableFunc(well, func(a, b *host) int {
		if resting := rests(a, now) - rests(b, now); resting != 0 {
			return resting
		}
		return a.failed - b.failed
	})
	members := well[:l.o.Hosts]
	slices.SortFunc(members, func(a, b *host) int { return strings.Compare(string(a.id), string(b.id)) })
	ranks := int64(0)
	for _, h := range members {
		h.member, h.first = true, ranks
		ranks += h.devices
	}
	l.generation++
	l.step, l.state, l.phase = l.saved.step, l.saved.state, starting
	l.ask(note(begin, l.generation, l.step, ranks), 3*l.o.Patience)
}

func rests(h *host, now time.Duration) int {
	if now < h.rest {
		return 1
	}
	return 0
}

// tell declares what became of the training.
func (l *lead) tell(s evidencev2.FleetStep, h *host, why string) {
	f := &evidencev2.FleetFact{Step: s, Generation: uint32(l.generation), Number: l.step, State: l.state, Reason: why, StepMs: l.o.Step.Milliseconds()}
	if h != nil {
		f.Member = string(h.id)
	}
	for _, x := range l.hosts {
		if x.member {
			f.Members++
			f.Devices += uint32(x.devices)
		}
	}
	l.env.Facts.Record(f)
}
