package checkers

import (
	"strings"

	"github.com/esper-sim/espersim/sim/trace"
)

// processes judges P1 from how processes end.
//
// A process may end itself when its disk has failed it: a write or sync whose
// outcome is unknown leaves a poisoned log, and to start again is one way of
// opening it anew. Whether the disk did fail is taken from the operations, not
// from what the process says.
type processes struct {
	failed map[string]string // node to the disk failure in this life
}

func newProcesses(Params) Checker { return &processes{failed: map[string]string{}} }

func (*processes) Invariants() []string { return []string{"P1"} }

func (c *processes) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeReady:
		j.Judged("P1")
	case trace.NodeStarted:
		delete(c.failed, e.Node)
	case trace.DiskOperation:
		if strings.Contains(e.Text, " failed: ") && (strings.Contains(e.Text, "input/output error") || strings.Contains(e.Text, "deadline exceeded") || strings.Contains(e.Text, "no space left")) {
			c.failed[e.Node] = e.Text
		}
	case trace.NodeExited:
		if e.Arg == 1 {
			j.Violate("P1", e.Node, "ended with a "+e.Text, e.Cause)
			return
		}
		if c.failed[e.Node] == "" {
			j.Violate("P1", e.Node, "ended with the error: "+e.Text, e.Cause)
			return
		}
		j.Judged("P1")
	}
}

func (*processes) Finish(*Judge) {}
