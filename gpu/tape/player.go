package tape

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// A Mismatch says where a run left the tape.
type Mismatch struct {
	Line   int // of the tape
	Launch int // the launch it is about, or the last before it; from 1
	Wrong  string
	Want   string
}

// Error implements error.
func (e *Mismatch) Error() string {
	s := fmt.Sprintf("tape, line %d: launch %d: %s", e.Line, e.Launch, e.Wrong)
	if e.Launch == 0 {
		s = fmt.Sprintf("tape, line %d: before the first launch: %s", e.Line, e.Wrong)
	}
	if e.Want != "" {
		s += "; want " + e.Want
	}
	return s
}

// Player is the recorded device. Its operations must come in the order of the tape;
// its monitor answers what was true at the operation that came last.
type Player struct {
	t       *Tape
	hold    func(time.Duration)
	at      int // the record to play next
	modules map[gpu.Module]gpu.Program
	launch  int

	used, limit int64
	sample      *record
	events      []gpu.Event
	next        uint64
	left        *Mismatch // why nothing is played any more
}

var (
	_ gpu.Accelerator = (*Player)(nil)
	_ gpu.Monitor     = (*Player)(nil)
)

// Play begins with the tape. hold is told how long an operation takes that fails, as
// one that hangs first does; nil: it returns at once.
func (t *Tape) Play(hold func(time.Duration)) *Player {
	if hold == nil {
		hold = func(time.Duration) {}
	}
	p := &Player{t: t, hold: hold, at: 1, modules: map[gpu.Module]gpu.Program{}}
	p.watch()
	return p
}

// watch takes in what no operation asks for: memory, samples and events, up to the
// next operation.
func (p *Player) watch() {
	for ; p.at < len(p.t.records); p.at++ {
		switch c := &p.t.records[p.at]; c.Op {
		case "memory":
			p.used, p.limit = c.Used, c.Limit
		case "sample":
			p.sample = c
		case "events":
			p.events, p.next = append(p.events, c.Events...), max(p.next, c.Next)
		default:
			return
		}
	}
}

// leave ends the playing. Everything else fails in the same way.
func (p *Player) leave(c *record, want, wrong string, args ...any) error {
	p.left = &Mismatch{Line: c.line, Launch: p.launch, Wrong: fmt.Sprintf(wrong, args...), Want: want}
	return p.left
}

// take is the record of the operation that comes now.
func (p *Player) take(op string) (*record, error) {
	if p.left != nil {
		return nil, p.left
	}
	c := &p.t.records[p.at]
	if c.Op != op {
		return nil, p.leave(c, c.Op, "%s", op)
	}
	if op == "run" {
		p.launch = c.Launch
	}
	p.at++
	p.watch()
	return c, nil
}

// outcome is the error that was recorded.
func (p *Player) outcome(c *record) error {
	if c.Error == nil {
		return nil
	}
	p.hold(time.Duration(c.TookNS))
	e := gpu.Error(*c.Error)
	return &e
}

// Done says whether everything was played: nil, or what comes next on the tape.
func (p *Player) Done() error {
	if p.left != nil {
		return p.left
	}
	if c := &p.t.records[p.at]; c.Op != "end" {
		return p.leave(c, c.Op, "the run has ended")
	}
	return nil
}

// Name implements gpu.Accelerator.
func (p *Player) Name() string { return p.t.Head.Name }

// Memory implements gpu.Accelerator.
func (p *Player) Memory() (used, limit int64) { return p.used, p.limit }

// Alloc implements gpu.Accelerator.
func (p *Player) Alloc(bytes int64) (gpu.Slice, error) {
	c, err := p.take("alloc")
	if err != nil {
		return 0, err
	}
	if c.Bytes != bytes {
		return 0, p.leave(c, fmt.Sprint(c.Bytes), "alloc of %d bytes", bytes)
	}
	return gpu.Slice(c.Slice), p.outcome(c)
}

// Free implements gpu.Accelerator.
func (p *Player) Free(s gpu.Slice) error {
	c, err := p.take("free")
	if err != nil {
		return err
	}
	if c.Slice != uint64(s) {
		return p.leave(c, fmt.Sprint(c.Slice), "free of slice %d", s)
	}
	return p.outcome(c)
}

// Load implements gpu.Accelerator.
func (p *Player) Load(program gpu.Program, batch int) (gpu.Module, error) {
	c, err := p.take("load")
	if err != nil {
		return 0, err
	}
	if name := nameOf(program); c.Program != name || c.Batch != batch {
		return 0, p.leave(c, fmt.Sprintf("%s for %d", c.Program, c.Batch), "load of %s for %d rows", name, batch)
	}
	if f := footprint(program.Footprint(batch)); f != *c.Takes {
		return 0, p.leave(c, fmt.Sprintf("%+v", *c.Takes), "%s takes %+v", c.Program, f)
	}
	if err := p.outcome(c); err != nil {
		return 0, err
	}
	p.modules[gpu.Module(c.Module)] = program
	return gpu.Module(c.Module), nil
}

// Unload implements gpu.Accelerator.
func (p *Player) Unload(m gpu.Module) error {
	c, err := p.take("unload")
	if err != nil {
		return err
	}
	if c.Module != uint64(m) {
		return p.leave(c, fmt.Sprint(c.Module), "unload of module %d", m)
	}
	delete(p.modules, m)
	return p.outcome(c)
}

// Run implements gpu.Accelerator. A launch that was recorded to fail changes nothing.
func (p *Player) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	c, err := p.take("run")
	if err != nil {
		return gpu.Timing{}, err
	}
	if c.Module != uint64(m) {
		return gpu.Timing{}, p.leave(c, fmt.Sprint(c.Module), "run of module %d", m)
	}
	if h := hash(in); h != c.In {
		return gpu.Timing{}, p.leave(c, c.In, "the input's hash is %s", h)
	}
	if err := p.outcome(c); err != nil {
		return gpu.Timing{}, err
	}
	program := p.modules[m]
	if program == nil {
		return gpu.Timing{}, p.leave(c, "", "module %d was not loaded", m)
	}
	program.Run(out, in)
	if h := hash(out); h != c.Out {
		return gpu.Timing{}, p.leave(c, "the reference's "+h, "%s gave the result %s on the device", nameOf(program), c.Out)
	}
	if h := tensors(program); h != c.Tensors {
		return gpu.Timing{}, p.leave(c, "the reference's "+h, "%s left the tensors %s on the device", nameOf(program), c.Tensors)
	}
	return gpu.Timing(*c.Timing), nil
}

// Limit implements gpu.Accelerator. One that leaves the tape shows at the next
// operation.
func (p *Player) Limit(d time.Duration) {
	if c, err := p.take("limit"); err == nil && c.LimitNS != int64(d) {
		_ = p.leave(c, time.Duration(c.LimitNS).String(), "limit of %v", d) // as said above
	}
}

// Rebuild implements gpu.Accelerator.
func (p *Player) Rebuild() error {
	c, err := p.take("rebuild")
	if err != nil {
		return err
	}
	if err := p.outcome(c); err != nil {
		return err
	}
	clear(p.modules)
	return nil
}

// Reset implements gpu.Accelerator.
func (p *Player) Reset() error {
	c, err := p.take("reset")
	if err != nil {
		return err
	}
	return p.outcome(c)
}

// Identity implements gpu.Monitor.
func (p *Player) Identity() (gpu.Identity, error) { return p.t.Head.Identity, nil }

// Sample implements gpu.Monitor: what was sampled last, up to the operation that
// comes next.
func (p *Player) Sample() (gpu.Sample, error) {
	if p.sample == nil {
		return gpu.Sample{}, unwatched("sample")
	}
	if p.sample.Error != nil {
		e := gpu.Error(*p.sample.Error)
		return gpu.Sample{}, &e
	}
	return *p.sample.Sample, nil
}

// Events implements gpu.Monitor: those up to the operation that comes next.
func (p *Player) Events(after uint64) ([]gpu.Event, uint64, error) {
	for i, e := range p.events {
		if e.Number > after {
			return append([]gpu.Event(nil), p.events[i:]...), p.next, nil
		}
	}
	return nil, p.next, nil
}

// Watched says whether the device was sampled at all.
func (p *Player) Watched() bool {
	for i := range p.t.records {
		if p.t.records[i].Op == "sample" {
			return true
		}
	}
	return false
}
