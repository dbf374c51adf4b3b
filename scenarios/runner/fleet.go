package runner

import (
	"fmt"
	"time"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/sim/trace"
)

// Fleet is what became of the training of a fleet.
type Fleet struct {
	Devices       uint32 `json:"devices"`
	Steps         int64  `json:"steps"`         // that count: none was done over
	Wasted        int64  `json:"wasted"`        // that were done over
	Interruptions int    `json:"interruptions"` // of all
	RecoverMS     int64  `json:"recover_ms"`    // from an interruption to the next step, in the mean
	StepMS        int64  `json:"step_ms"`       // where nothing disturbs it
	// Goodput is the share of the time that steps which count would have taken where
	// nothing disturbs them.
	Goodput float64 `json:"goodput"`
}

// String is one line for people.
func (f *Fleet) String() string {
	return fmt.Sprintf("%d devices: goodput %.1f %%, %d steps (%d done over), %d interruptions, %v to recover in the mean",
		f.Devices, 100*f.Goodput, f.Steps, f.Wasted, f.Interruptions, (time.Duration(f.RecoverMS) * time.Millisecond).Round(time.Second))
}

// fleetWatch makes the account of a run from what the lead declares.
type fleetWatch struct {
	f       Fleet
	fact    evidencev2.FleetFact
	reached int64 // the next step that was not done yet
	stopped int64 // when the training was interrupted; 0: it goes on
	lost    int64 // time without training, ns
	began   int64 // recoveries that ended
	last    int64
}

func hasFleet(s *scenarios.Scenario) bool {
	for _, n := range s.Cluster.Nodes {
		if n.Role() == "fleet-lead" {
			return true
		}
	}
	return false
}

// Observe implements trace.Observer.
func (w *fleetWatch) Observe(e *trace.Event) {
	w.last = e.At
	if e.Kind != trace.FactDeclared || e.Text != w.fact.FullName() {
		return
	}
	w.fact.Reset()
	if w.fact.ParseCanonical(e.Data) != nil {
		return // the checkers tell of it
	}
	switch f := &w.fact; f.Step {
	case evidencev2.FleetStep_FLEET_STEP_DONE:
		w.f.Devices, w.f.StepMS = max(w.f.Devices, f.Devices), f.StepMs
		if f.Number < w.reached {
			w.f.Wasted++
		} else {
			w.reached = f.Number + 1
			w.f.Steps++
		}
		if w.stopped > 0 {
			w.lost += e.At - w.stopped
			w.began++
			w.stopped = 0
		}
	case evidencev2.FleetStep_FLEET_INTERRUPTED:
		w.f.Interruptions++
		if w.stopped == 0 {
			w.stopped = e.At
		}
	}
}

// result is the account at the end of the run.
func (w *fleetWatch) result() *Fleet {
	f := w.f
	if w.began > 0 {
		f.RecoverMS = w.lost / w.began / 1e6
	}
	if w.last > 0 {
		f.Goodput = float64(f.Steps*f.StepMS) * 1e6 / float64(w.last)
	}
	return &f
}
