package crash

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/sim/disk"
)

// Limits of how many things may be undecided for every combination of their
// fates to be tried.
const (
	Units         = 4 // at a crash
	RecoveryUnits = 2 // at a crash of a recovery
)

// Options of a search. The zero value explores what the workload says.
type Options struct {
	Ops   int // operations of a sequence at most; 0: what the workload says; negative: none, only the opening
	Units int // see the constant of this name; 0 is that one
	// RecoveryUnits likewise; negative: recoveries are not crashed.
	RecoveryUnits int
	Jobs          int // sequences at once; 0 is 1
	// Wrap, if set, stands between the program and the disk: that is how a
	// known bug is planted, such as a sync of the directory that is left out.
	Wrap     func(actor.FS) actor.FS
	Progress func(done, total int)
	// Only, if set, is the one sequence whose last operation is crashed.
	Only *Case

	coarse bool // the workload's
}

// bound is that of a crash of the work (depth 0) or of a recovery.
func (o *Options) bound(depth int) disk.Bound {
	if depth == 0 {
		return disk.Bound{Units: o.Units, Coarse: o.coarse}
	}
	return disk.Bound{Units: o.RecoveryUnits, Coarse: o.coarse}
}

func (o *Options) normalize(w *Workload) {
	o.coarse = w.Coarse
	switch {
	case o.Ops == 0:
		o.Ops = w.Most
	case o.Ops < 0:
		o.Ops = 0
	}
	if o.Units == 0 {
		o.Units = Units
	}
	if w.Once {
		o.RecoveryUnits = -1
	}
	if o.RecoveryUnits == 0 {
		o.RecoveryUnits = RecoveryUnits
	}
	o.Jobs = max(o.Jobs, 1)
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
}

// Counts are those of one kind of crash: of the work, or of a recovery.
type Counts struct {
	Points     uint64 `json:"points"`     // places of a crash
	Distinct   uint64 `json:"distinct"`   // those that differ
	Bounded    uint64 `json:"bounded"`    // those with too much undecided for every combination
	Admissible uint64 `json:"admissible"` // states that the disk admits at the distinct places; 2⁶⁴−1: more
	Outcomes   uint64 `json:"outcomes"`   // states that were made of them
	Checked    uint64 `json:"checked"`    // those that differ, and of a recovery from all of the work's: each was recovered from and judged
}

func (c *Counts) add(o Counts) {
	c.Points += o.Points
	c.Distinct += o.Distinct
	c.Bounded += o.Bounded
	if c.Admissible+o.Admissible < c.Admissible {
		c.Admissible = 1<<64 - 1
	} else {
		c.Admissible += o.Admissible
	}
	c.Outcomes += o.Outcomes
}

// Result is what a search found.
type Result struct {
	Workload  *Workload `json:"-"`
	Ops       int       `json:"ops"`       // operations of a sequence at most
	Sequences uint64    `json:"sequences"` // that were explored
	Senseless uint64    `json:"senseless"` // sequences whose last operation made no sense, such as a COMMIT without a transaction
	Work      Counts    `json:"work"`      // crashes of the work
	Recovery  Counts    `json:"recovery"`  // crashes of the recoveries from those
	// Guilty is the smallest crash that breaks a promise, nil if none does.
	Guilty *Counterexample `json:"guilty,omitempty"`
	// Places are those of a crash as small as that one: with as many
	// operations, and as much lost and undecided.
	Places int `json:"places,omitempty"`
	places map[string]bool
}

// note takes a counterexample if it is the smallest so far.
func (r *Result) note(g *Counterexample) {
	const alike = 4 // what of the size says how much it takes
	a := g.size()
	if r.Guilty != nil {
		b := r.Guilty.size()
		switch slices.Compare(a[:alike], b[:alike]) {
		case 1:
			return
		case 0:
			r.places[fmt.Sprint(g.Case, g.At)] = true
			r.Places = len(r.places)
			if slices.Compare(a[alike:], b[alike:]) < 0 {
				r.Guilty = g
			}
			return
		}
	}
	r.Guilty, r.Places, r.places = g, 1, map[string]bool{fmt.Sprint(g.Case, g.At): true}
}

// errStop ends a search that has what it wants.
var errStop = errors.New("stopped")

// Explore searches a workload. If a promise is broken the search goes on to
// the end of the sequences of that length, so that the result is the smallest,
// and is the same whatever the number of jobs. An error is the harness's own.
func Explore(w *Workload, o Options) (*Result, error) {
	o.normalize(w)
	cases := sequences(w, o.Ops)
	if o.Only != nil {
		cases = []Case{*o.Only}
		o.Ops = len(o.Only.Ops)
	}
	r, err := search(w, o, cases, false)
	if err != nil || r.Guilty == nil {
		return r, err
	}
	// Which one of equal states is judged first depends on the jobs. One job
	// and the order of length give the smallest.
	o.Jobs = 1
	if r, err = search(w, o, cases, true); err == nil && r.Guilty != nil {
		r.Ops = len(r.Guilty.Case.Ops) // longer ones were not made
	}
	return r, err
}

// sequences lists the cases, shorter ones first.
func sequences(w *Workload, most int) []Case {
	var all []Case
	var level []Case
	for i := range w.Starts {
		level = append(level, Case{Workload: w, Start: i})
	}
	for n := 0; ; n++ {
		all = append(all, level...)
		if n == most {
			return all
		}
		var next []Case
		for _, c := range level {
			for op := range w.Operations {
				next = append(next, Case{w, c.Start, append(append([]int(nil), c.Ops...), op)})
			}
		}
		level = next
	}
}

// begun are the disks of a workload's starts.
type begun struct {
	d *disk.Disk
	s Subject
}

func begin(w *Workload) ([]begun, error) {
	var list []begun
	for _, st := range w.Starts {
		d, err := disk.New(disk.Config{Sector: w.Sector, Keyed: disk.Seed(1)})
		if err != nil {
			return nil, err
		}
		s := w.New()
		if st.Make != nil {
			if d, s, err = st.Make(d, s); err != nil {
				return nil, fmt.Errorf("workload %s: start %s: %w", w.Name, st.Name, err)
			}
		}
		list = append(list, begun{d, s})
	}
	return list, nil
}

// known is what the workers share: what was seen, by hash.
type known struct {
	shards [64]struct {
		sync.Mutex
		seen   map[uint64]struct{}
		states map[uint64]uint8 // the depths at which a state was come to, as bits
	}
}

// reach notes a state of a depth.
func (k *known) reach(h uint64, depth int) {
	s := &k.shards[h>>58]
	s.Lock()
	defer s.Unlock()
	if s.states == nil {
		s.states = map[uint64]uint8{}
	}
	s.states[h] |= 1 << depth
}

// judged is how many states crashes of the work leave, and how many more those
// of recoveries do. Which of the two came to a state first depends on the jobs.
func (k *known) judged() (work, recovery uint64) {
	for i := range k.shards {
		for _, depths := range k.shards[i].states {
			if depths&1 != 0 {
				work++
			} else {
				recovery++
			}
		}
	}
	return work, recovery
}

// first says whether a hash is new, and remembers it.
func (k *known) first(h uint64) bool {
	s := &k.shards[h>>58]
	s.Lock()
	defer s.Unlock()
	if s.seen == nil {
		s.seen = map[uint64]struct{}{}
	}
	if _, ok := s.seen[h]; ok {
		return false
	}
	s.seen[h] = struct{}{}
	return true
}

// worker explores cases, one after the other.
type worker struct {
	o      Options
	starts []begun
	k      *known
	r      Result
	here   Counterexample // where it is
	all    bool           // look for the smallest, rather than for any
	stop   *atomic.Bool
	bad    map[uint64]error // states that break a promise
}

func search(w *Workload, o Options, cases []Case, smallest bool) (*Result, error) {
	starts, err := begin(w)
	if err != nil {
		return nil, err
	}
	var k known
	var stop atomic.Bool
	var next, finished atomic.Int64
	workers := make([]*worker, o.Jobs)
	errs := make([]error, o.Jobs)
	var wg sync.WaitGroup
	var progress sync.Mutex
	for i := range workers {
		x := &worker{o: o, starts: starts, k: &k, all: smallest, stop: &stop}
		workers[i] = x
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !stop.Load() {
				n := int(next.Add(1)) - 1
				if n >= len(cases) {
					return
				}
				if g := x.r.Guilty; g != nil && len(g.Case.Ops) < len(cases[n].Ops) {
					return // what follows is longer
				}
				if errs[i] = x.explore(cases[n]); errs[i] != nil {
					stop.Store(true)
					return
				}
				progress.Lock()
				o.Progress(int(finished.Add(1)), len(cases))
				progress.Unlock()
			}
		}()
	}
	wg.Wait()
	total := &Result{Workload: w, Ops: o.Ops}
	for i, x := range workers {
		if errs[i] != nil {
			return nil, errs[i]
		}
		total.Sequences += x.r.Sequences
		total.Senseless += x.r.Senseless
		total.Work.add(x.r.Work)
		total.Recovery.add(x.r.Recovery)
		if g := x.r.Guilty; g != nil && total.Guilty == nil {
			total.Guilty, total.Places = g, x.r.Places
		}
	}
	total.Work.Checked, total.Recovery.Checked = k.judged()
	return total, nil
}

// explore crashes the last operation of a case everywhere, or the opening if
// it has none: the crashes of what comes before are those of a shorter case.
func (x *worker) explore(c Case) (err error) {
	st := x.starts[c.Start]
	d, s := st.d.Clone(), st.s.Clone()
	t := &tap{d: d}
	t.visit = func(midway bool, op *disk.Op) {
		x.here = Counterexample{Case: c, At: t.points, Midway: midway, op: op}
		x.point(t, s, s.Promise(), 0)
	}
	defer func() {
		if r := recover(); r != nil {
			if r != errStop {
				panic(r)
			}
			err = nil
		}
	}()
	done, err := x.play(c, t, s)
	if err == nil && !done {
		x.r.Senseless++
		return nil
	}
	x.r.Sequences++
	if err != nil {
		// Without a fault and without a crash.
		x.here = Counterexample{Case: c, At: t.points, Op: noCrash}
		x.guilty(0, err)
	}
	return nil
}

// play runs a case on a tapped disk. False says that its last operation made
// no sense.
func (x *worker) play(c Case, t *tap, s Subject) (bool, error) {
	fs := x.wrap(disk.NewGatedFS(t.d, t))
	t.on, t.from = len(c.Ops) == 0, 1
	if err := s.Open(fs); err != nil {
		return true, err
	}
	for i, op := range c.Ops {
		t.on, t.from = i == len(c.Ops)-1, t.points+1
		done, err := s.Do(op, fs)
		if !done || err != nil {
			// One that makes no sense in the midst makes the whole case senseless: it
			// is the shorter one without it.
			return done, err
		}
	}
	t.end()
	return true, nil
}

func (x *worker) wrap(fs actor.FS) actor.FS {
	if x.o.Wrap == nil {
		return fs
	}
	return x.o.Wrap(fs)
}

// tap is a gate that shows every place of a crash while the program runs on.
type tap struct {
	d      *disk.Disk
	on     bool
	from   int // the first place of the last operation
	points int // passed so far: before and in the midst of each operation, and at the end
	visit  func(midway bool, op *disk.Op)

	printed bool // print was made and holds
	print   uint64
}

func (t *tap) Before(op *disk.Op) error {
	t.points++
	if t.on {
		t.visit(false, op)
	}
	return nil
}

func (t *tap) Flight(op *disk.Op) error {
	t.points++
	if changes(op) {
		t.printed = false
	}
	if t.on {
		t.visit(true, op)
	}
	if op.Hang {
		return actor.ErrDeadline
	}
	return nil
}

func (t *tap) After(op *disk.Op, err error) error {
	if changes(op) {
		t.printed = false
	}
	return err
}

// end is the place behind the last operation.
func (t *tap) end() {
	t.points++
	if t.on {
		t.visit(false, nil)
	}
}

// changes says whether an operation may change the disk.
func changes(op *disk.Op) bool {
	switch op.Kind {
	case disk.OpRead, disk.OpReadDir, disk.OpSize, disk.OpClose:
		return false
	}
	return true
}

// fingerprint is that of the disk, made anew only where it may have changed.
func (t *tap) fingerprint() uint64 {
	if !t.printed {
		t.print, t.printed = t.d.Fingerprint(), true
	}
	return t.print
}

// describe is one operation for people.
func describe(op *disk.Op) string {
	switch {
	case op == nil:
		return ""
	case op.Kind == disk.OpRead || op.Kind == disk.OpWrite:
		off := fmt.Sprint(op.Off)
		if op.Kind == disk.OpWrite && op.Flag&actor.Append != 0 {
			off = "at the end"
		}
		return fmt.Sprintf("%s %s %s, %d bytes", op.Kind, op.Path, off, op.Len)
	case op.Kind == disk.OpRename:
		return fmt.Sprintf("rename %s to %s", op.Path, op.To)
	case op.Kind == disk.OpAllocate || op.Kind == disk.OpTruncate:
		return fmt.Sprintf("%s %s to %d bytes", op.Kind, op.Path, op.Len)
	case op.Path == "":
		return op.Kind.String() + " /"
	}
	return op.Kind.String() + " " + op.Path
}

// Purposes of hashes.
const (
	pointOf = iota + 1
	stateOf
	goneOn
)

func (x *worker) counts(depth int) *Counts {
	if depth == 0 {
		return &x.r.Work
	}
	return &x.r.Recovery
}

// point crashes here, in every way. depth 1 is in a recovery.
func (x *worker) point(t *tap, s Subject, promise uint64, depth int) {
	if x.stop.Load() {
		panic(errStop)
	}
	n := x.counts(depth)
	n.Points++
	if !x.k.first(hash(pointOf, uint64(depth), t.fingerprint(), promise)) {
		return
	}
	n.Distinct++
	list := t.d.Undecided()
	bound := x.o.bound(depth)
	if len(list) > bound.Units {
		n.Bounded++
	}
	n.add(Counts{Admissible: disk.Admissible(list)})
	for i, outcome := range disk.Outcomes(list, bound) {
		n.Outcomes++
		c := t.d.After(outcome)
		h := hash(stateOf, c.Fingerprint(), promise)
		if !x.k.first(hash(h, uint64(depth))) {
			if err := x.bad[h]; err != nil {
				x.here.set(depth, i, outcome, list)
				x.guilty(h, err)
				x.here.set(depth, 0, nil, nil)
			}
			continue
		}
		x.k.reach(h, depth)
		if err := x.judge(c, s, promise, depth, i, outcome, list); err != nil {
			x.here.set(depth, i, outcome, list)
			x.guilty(h, err)
			x.here.set(depth, 0, nil, nil)
		}
	}
}

// judge recovers from a state. The recovery itself is crashed if there is a
// level for it.
func (x *worker) judge(c *disk.Disk, s Subject, promise uint64, depth, state int, outcome disk.Outcome, list []disk.Undecided) error {
	r := s.Clone()
	t := &tap{d: c, on: depth == 0 && x.o.RecoveryUnits >= 0}
	here := x.here
	t.visit = func(midway bool, op *disk.Op) {
		x.here = here
		x.here.set(0, state, outcome, list)
		x.here.Recovery = &Again{At: t.points, Midway: midway, op: op}
		x.point(t, s, promise, 1)
	}
	known := func() bool { return false }
	if depth > 0 {
		known = func() bool { return !x.k.first(hash(goneOn, t.fingerprint(), r.Promise())) }
	}
	err := recovers(c, r, t, x.wrap, known)
	x.here = here
	return err
}

// recovers says whether the subject recovers from a disk and works on. Where
// working on from there is known to hold, it is left out.
func recovers(c *disk.Disk, r Subject, t *tap, wrap func(actor.FS) actor.FS, known func() bool) error {
	fs := wrap(disk.NewGatedFS(c, t))
	if err := r.Open(fs); err != nil {
		return err
	}
	if t.on = false; known() {
		return nil
	}
	if err := r.Continue(fs); err != nil {
		return later("working on after the recovery", err)
	}
	c.Crash(func(disk.Pending, int64) disk.Fate { return disk.FateOld })
	if err := r.Open(wrap(disk.NewFS(c, nil))); err != nil {
		return later("after a second crash, which lost only what was not synced", err)
	}
	return nil
}

// later adds when it was found to a violation.
func later(when string, err error) error {
	var v *Violation
	if errors.As(err, &v) {
		return &Violation{v.Invariant, when + ": " + v.Detail}
	}
	return fmt.Errorf("%s: %w", when, err)
}

// guilty notes a counterexample if it is smaller than the one there is.
func (x *worker) guilty(h uint64, err error) {
	g := x.here
	g.tell()
	g.Violation = verdict(err)
	if x.bad == nil {
		x.bad = map[uint64]error{}
	}
	x.bad[h] = err
	x.r.note(&g)
	if !x.all {
		x.stop.Store(true)
		panic(errStop)
	}
}

// verdict makes a violation of an error: who refuses to work on a disk that did
// nothing wrong has lost what was acknowledged.
func verdict(err error) *Violation {
	var v *Violation
	if errors.As(err, &v) {
		return v
	}
	return &Violation{"W1", "it refuses to work: " + err.Error()}
}

// hash folds words.
func hash(words ...uint64) uint64 {
	h := uint64(14695981039346656037)
	for _, w := range words {
		h ^= w
		h *= 0x9e3779b97f4a7c15
		h ^= h >> 29
		h *= 0xbf58476d1ce4e5b9
		h ^= h >> 32
	}
	return h
}

// hashText folds strings.
func hashText(list ...string) uint64 {
	h := uint64(len(list))
	for _, s := range list {
		h = hash(h, uint64(len(s)))
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	return h
}
