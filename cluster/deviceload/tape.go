package deviceload

import (
	"fmt"
	"io"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/backend"
	"github.com/esper-sim/espersim/gpu/tape"
)

// Workload is a list of programs, and how often each is run.
type Workload struct {
	Seed    uint64
	Repeats int
}

const workloadFormat = "deviceload 1: seed %d, repeats %d"

// String is what tapes call it.
func (w Workload) String() string { return fmt.Sprintf(workloadFormat, w.Seed, w.Repeats) }

// mostRepeats is how often a program may be run.
const mostRepeats = 100000

// ParseWorkload reads what String wrote.
func ParseWorkload(text string) (Workload, error) {
	var w Workload
	if n, err := fmt.Sscanf(text, workloadFormat, &w.Seed, &w.Repeats); n != 2 || err != nil || w.String() != text {
		return Workload{}, fmt.Errorf("the tape is of the workload %q; want one such as %q", text, Workload{1, 10})
	}
	return w, w.check()
}

func (w Workload) check() error {
	if w.Repeats < 1 || w.Repeats > mostRepeats {
		return fmt.Errorf("%d repeats; want 1 to %d", w.Repeats, mostRepeats)
	}
	return nil
}

// Record runs the workload on a device, and writes a tape of it. failed is what the
// device did that nothing here cures: the tape has it, and ends there. err is about
// the tape.
func (w Workload) Record(out io.Writer, d *backend.Device) (r *Report, failed, err error) {
	if err := w.check(); err != nil {
		return nil, nil, err
	}
	items, err := Items(w.Seed)
	if err != nil {
		return nil, nil, err
	}
	recorder := tape.Record(out, tape.Head{Backend: d.Backend, Workload: w.String(), Identity: d.Identity}, d.Accelerator, d.Monitor, d.Now)
	var monitor gpu.Monitor
	if d.Monitor != nil {
		monitor = recorder
	}
	r, failed = Run(recorder, monitor, items, w.Repeats)
	return r, failed, recorder.Close()
}

// Play runs the workload of a tape against the tape. failed is what the device did that
// nothing here cures, as it was recorded. err is a *tape.Mismatch where the device did
// not compute what the reference computes.
func Play(t *tape.Tape) (r *Report, failed, err error) {
	w, err := ParseWorkload(t.Head.Workload)
	if err != nil {
		return nil, nil, err
	}
	items, err := Items(w.Seed)
	if err != nil {
		return nil, nil, err
	}
	p := t.Play(nil)
	var monitor gpu.Monitor
	if p.Watched() {
		monitor = p
	}
	r, failed = Run(p, monitor, items, w.Repeats)
	if err := p.Done(); err != nil {
		return r, nil, err
	}
	return r, failed, nil
}
