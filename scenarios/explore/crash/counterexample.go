package crash

import (
	"fmt"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/governance/compat"
	"github.com/esper-sim/espersim/sim/disk"
)

// Counterexample is a crash that breaks a promise.
type Counterexample struct {
	Case      Case       `json:"-"`
	At        int        `json:"at"`     // place of the crash, from 1; see Explore
	Midway    bool       `json:"midway"` // in the midst of the operation, not before it
	Op        string     `json:"operation"`
	State     int        `json:"state"` // number of the outcome
	Fates     []Fated    `json:"fates"`
	Recovery  *Again     `json:"recovery,omitempty"` // a second crash, in the recovery from the first
	Violation *Violation `json:"violation"`

	// What Op and Fates are made of: most places are never shown to anybody.
	op      *disk.Op
	outcome disk.Outcome
	list    []disk.Undecided
}

// Again is a crash of a recovery.
type Again struct {
	At     int     `json:"at"`
	Midway bool    `json:"midway"`
	Op     string  `json:"operation"`
	State  int     `json:"state"`
	Fates  []Fated `json:"fates"`

	op      *disk.Op
	outcome disk.Outcome
	list    []disk.Undecided
}

// noCrash stands for the operation where a promise is broken without a crash.
const noCrash = "no crash is needed"

// Fated is one thing that was undecided and what became of it.
type Fated struct {
	What string `json:"what"` // "Write log 256+5, bytes 256 to 261"
	Fate string `json:"fate"` // "new", "old", "zero", "noise", "stale record"
	lost bool
}

// set notes the state of a crash.
func (g *Counterexample) set(depth, state int, o disk.Outcome, list []disk.Undecided) {
	if depth == 0 {
		g.State, g.outcome, g.list = state, o, list
	} else {
		g.Recovery.State, g.Recovery.outcome, g.Recovery.list = state, o, list
	}
}

// tell puts what was noted into words.
func (g *Counterexample) tell() {
	if g.Op == "" {
		g.Op = describe(g.op)
	}
	g.Fates = fated(g.outcome, g.list)
	g.op, g.outcome, g.list = nil, nil, nil
	if g.Recovery != nil {
		r := *g.Recovery
		r.Op, r.Fates = describe(r.op), fated(r.outcome, r.list)
		r.op, r.outcome, r.list = nil, nil, nil
		g.Recovery = &r
	}
}

var fateNames = map[disk.Fate]string{
	disk.FateNew: "new", disk.FateOld: "old", disk.FateZero: "zero", disk.FateGarbage: "noise", disk.FateStale: "stale record",
}

func fated(o disk.Outcome, list []disk.Undecided) []Fated {
	all := make([]Fated, len(list))
	for i, u := range list {
		what := u.Pending.String()
		if u.Pending.Kind == disk.Write {
			const sector = 512
			from, to := max(u.Pending.Off, u.Unit*sector), min(u.Pending.Off+u.Pending.Len, (u.Unit+1)*sector)
			what = fmt.Sprintf("%s, bytes %d to %d", u.Pending, from, to)
		}
		all[i] = Fated{what, fateNames[o[i]], o[i] != disk.FateNew}
	}
	return all
}

// size is what is compared: operations, crashes, things lost, things undecided,
// place, state.
func (g *Counterexample) size() [8]int {
	s := [8]int{len(g.Case.Ops), 0, 0, 0, g.Case.Start, g.At, g.State}
	count := func(list []Fated) {
		for _, f := range list {
			s[3]++
			if f.lost {
				s[2]++
			}
		}
	}
	count(g.Fates)
	if r := g.Recovery; r != nil {
		s[1] = 1
		count(r.Fates)
		s[7] = r.At<<16 + r.State
	}
	return s
}

// Lost is how many of the undecided things did not simply happen.
func (g *Counterexample) Lost() int { return g.size()[2] }

// Repro is the command that shows it again.
func (g *Counterexample) Repro() string {
	s := fmt.Sprintf("espersim explore disk --workload %s --at %d --state %d", compat.Quote(g.Case.String()), g.At, g.State)
	if r := g.Recovery; r != nil {
		s += fmt.Sprintf(" --recovery-at %d --recovery-state %d", r.At, r.State)
	}
	return s
}

// String is what happened, in several lines.
func (g *Counterexample) String() string {
	var b strings.Builder
	start := g.Case.Workload.Starts[g.Case.Start]
	fmt.Fprintf(&b, "start:      %s: %s\n", start.Name, start.Summary)
	ops := strings.Join(g.Case.names(), ", ")
	if ops == "" {
		ops = "none: the opening"
	}
	fmt.Fprintf(&b, "operations: %s\n", ops)
	crashed(&b, "crash:", g.At, g.Midway, g.Op, g.Fates)
	if r := g.Recovery; r != nil {
		crashed(&b, "again:", r.At, r.Midway, r.Op, r.Fates)
	}
	return b.String()
}

func crashed(b *strings.Builder, name string, at int, midway bool, op string, list []Fated) {
	where := "before " + op
	switch {
	case op == noCrash:
		where = noCrash
	case op == "":
		where = "behind the last operation"
	case midway:
		where = "in the midst of " + op
	}
	fmt.Fprintf(b, "%-11s place %d, %s\n", name, at, where)
	if len(list) == 0 && op != noCrash {
		fmt.Fprintf(b, "%-11s nothing is undecided: every write before it is whole\n", "")
	}
	for _, f := range list {
		fmt.Fprintf(b, "%-11s %-12s %s\n", "", f.Fate, f.What)
	}
}

// ReplayOptions say which crash to show.
type ReplayOptions struct {
	At, State                 int
	RecoveryAt, RecoveryState int // 0: the recovery is not crashed
	Units, RecoveryUnits      int // as in Options
	Wrap                      func(actor.FS) actor.FS
}

// Replay makes one crash and judges the recovery. The violation in the result
// is nil if no promise is broken.
func Replay(c Case, o ReplayOptions) (g *Counterexample, err error) {
	opts := Options{Units: o.Units, RecoveryUnits: o.RecoveryUnits, Wrap: o.Wrap}
	opts.normalize(c.Workload)
	starts, err := begin(c.Workload)
	if err != nil {
		return nil, err
	}
	x := &worker{o: opts, starts: starts}
	st := starts[c.Start]
	d, s := st.d.Clone(), st.s.Clone()
	g = &Counterexample{Case: c}
	t := &tap{d: d}
	var crashed *disk.Disk
	var promised Subject
	t.visit = func(midway bool, op *disk.Op) {
		if t.points != o.At {
			return
		}
		g.At, g.Midway, g.Op = o.At, midway, describe(op)
		if crashed, err = g.pick(t.d, 0, o.State, opts.bound(0)); err != nil {
			return
		}
		promised = s.Clone()
	}
	done, playErr := x.play(c, t, s)
	switch {
	case err != nil:
		return nil, err
	case crashed == nil && playErr != nil:
		g.At, g.Op = t.points, "no crash is needed"
		g.Violation = verdict(playErr)
		return g, nil
	case !done:
		return nil, fmt.Errorf("an operation of %s makes no sense where it stands", c)
	case crashed == nil:
		return nil, fmt.Errorf("place %d is not in the last operation of %s; want one from %d to %d", o.At, c, t.from, t.points)
	}
	again := &tap{d: crashed, on: o.RecoveryAt > 0}
	var twice *disk.Disk
	again.visit = func(midway bool, op *disk.Op) {
		if again.points != o.RecoveryAt {
			return
		}
		g.Recovery = &Again{At: o.RecoveryAt, Midway: midway, Op: describe(op)}
		twice, err = g.pick(again.d, 1, o.RecoveryState, opts.bound(1))
	}
	never := func() bool { return false }
	judged := recovers(crashed, promised.Clone(), again, x.wrap, never)
	if err != nil {
		return nil, err
	}
	if o.RecoveryAt > 0 {
		if twice == nil {
			return nil, fmt.Errorf("place %d is not in the recovery; want one from 1 to %d", o.RecoveryAt, again.points)
		}
		judged = recovers(twice, promised.Clone(), &tap{d: twice}, x.wrap, never)
	}
	if judged != nil {
		g.Violation = verdict(judged)
	}
	return g, nil
}

// pick makes the state with a number.
func (g *Counterexample) pick(d *disk.Disk, depth, state int, bound disk.Bound) (*disk.Disk, error) {
	list := d.Undecided()
	n := 0
	for i, o := range disk.Outcomes(list, bound) {
		if n++; i == state {
			if depth == 0 {
				g.State, g.Fates = state, fated(o, list)
			} else {
				g.Recovery.State, g.Recovery.Fates = state, fated(o, list)
			}
			return d.After(o), nil
		}
	}
	return nil, fmt.Errorf("state %d: the disk admits numbers 0 to %d there", state, n-1)
}
