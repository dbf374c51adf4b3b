package checkers

import "github.com/esper-sim/espersim/sim/trace"

// processes judges P1 from how processes end.
type processes struct{}

func newProcesses(Params) Checker { return processes{} }

func (processes) Invariants() []string { return []string{"P1"} }

func (processes) Observe(e *Event, j *Judge) {
	if e.Kind == trace.NodeReady {
		j.Judged("P1")
		return
	}
	what := "ended with the error: "
	if e.Arg == 1 {
		what = "ended with a "
	}
	j.Violate("P1", e.Node, what+e.Text, e.Cause)
}

func (processes) Finish(*Judge) {}
