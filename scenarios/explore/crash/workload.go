package crash

import (
	"fmt"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/sim/disk"
)

// Violation is a promise that a program broke.
type Violation struct {
	Invariant string `json:"invariant"` // its row, such as "W1"
	Detail    string `json:"detail"`
}

func (v *Violation) Error() string { return v.Invariant + ": " + v.Detail }

// violated makes the error of a broken promise.
func violated(invariant, format string, args ...any) error {
	return &Violation{invariant, fmt.Sprintf(format, args...)}
}

// A Subject is a program together with the model of what it promised.
//
// A *Violation is the verdict of the model. Any other error means that the
// program refused to work on a disk without a fault, which breaks a promise,
// too.
type Subject interface {
	// Clone copies the model; the running program stays behind.
	Clone() Subject
	// Promise identifies what the model holds the program to: subjects with one
	// promise accept the same recoveries.
	Promise() uint64
	// Open begins a life of the program: it recovers what is on the disk, and
	// the model judges what it shows.
	Open(fs actor.FS) error
	// Do is one operation of the living program, by its number in the
	// workload. False says that it is none that makes sense here, such as a
	// COMMIT without a transaction, and that nothing changed.
	Do(op int, fs actor.FS) (bool, error)
	// Go on after a recovery: acknowledge something new.
	Continue(fs actor.FS) error
}

// Start is a disk that a workload's program finds.
type Start struct {
	Name, Summary string
	// Make works on the empty disk and the subject without promises, and leaves
	// what the program finds. The process is gone then. nil leaves both as they
	// are.
	Make func(d *disk.Disk, s Subject) (*disk.Disk, Subject, error)
}

// Workload is something to explore.
type Workload struct {
	Name, Summary string
	Operations    []string
	Starts        []Start
	Most          int // operations of a sequence, unless the options say otherwise
	New           func() Subject
	// Sector is what the disk writes atomically: 512 (also for 0) or 4096 bytes.
	Sector int
	// Once says that recoveries are not crashed: that bound is another one.
	Once bool
	// Coarse is that of [disk.Bound]: of the pairs only what happened or did not.
	Coarse bool
	// Defect says why it is known to break a promise; "": it breaks none.
	Defect string
}

// Workloads lists what there is to explore.
func Workloads() []*Workload {
	return []*Workload{walWorkload(), checkpointWorkload(), busWorkload(), urzaWorkload(), hldWorkload(), hldNewWorkload()}
}

// Find is the workload of a name; the error lists what there is.
func Find(name string) (*Workload, error) {
	var names []string
	for _, w := range Workloads() {
		if w.Name == name {
			return w, nil
		}
		names = append(names, w.Name)
	}
	return nil, fmt.Errorf("no workload is called %q; want %q, one of %s", name, faults.Nearest(name, names), strings.Join(names, ", "))
}

// Case is one sequence of operations from one start.
type Case struct {
	Workload *Workload
	Start    int
	Ops      []int
}

// String is the name of the case, which ParseCase reads:
// "wal/used/begin,data,commit". Without operations the opening is all.
func (c Case) String() string {
	return c.Workload.Name + "/" + c.Workload.Starts[c.Start].Name + "/" + strings.Join(c.names(), ",")
}

func (c Case) names() []string {
	names := make([]string, len(c.Ops))
	for i, op := range c.Ops {
		names[i] = c.Workload.Operations[op]
	}
	return names
}

// ParseCase reads the name of a case.
func ParseCase(s string) (Case, error) {
	parts := strings.Split(s, "/")
	w, err := Find(parts[0])
	if err != nil {
		return Case{}, err
	}
	if len(parts) != 3 {
		return Case{}, fmt.Errorf("workload %q names no sequence; want a workload, a start and operations, such as %s/%s/%s", s, w.Name, w.Starts[0].Name, w.Operations[0])
	}
	c := Case{Workload: w, Start: -1}
	var starts []string
	for i, st := range w.Starts {
		starts = append(starts, st.Name)
		if st.Name == parts[1] {
			c.Start = i
		}
	}
	if c.Start < 0 {
		return Case{}, fmt.Errorf("workload %s has no start %q; want %q, one of %s", w.Name, parts[1], faults.Nearest(parts[1], starts), strings.Join(starts, ", "))
	}
	if parts[2] == "" {
		return c, nil
	}
	for _, name := range strings.Split(parts[2], ",") {
		op := -1
		for i, o := range w.Operations {
			if o == name {
				op = i
			}
		}
		if op < 0 {
			return Case{}, fmt.Errorf("workload %s has no operation %q; want %q, one of %s", w.Name, name, faults.Nearest(name, w.Operations), strings.Join(w.Operations, ", "))
		}
		c.Ops = append(c.Ops, op)
	}
	return c, nil
}
