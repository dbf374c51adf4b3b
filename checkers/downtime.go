package checkers

import "github.com/esper-sim/espersim/sim/trace"

// downtime follows whether nodes can take steps, so that a deadline is not held
// against a node for the time in which the world stood still for it.
type downtime struct {
	since map[string]int64 // paused since
	spent map[string]int64 // paused in all
	down  map[string]bool
}

var lifeEvents = []trace.Kind{
	trace.NodeStarted, trace.NodeReady, trace.NodeCrashed, trace.NodeExited, trace.NodePaused, trace.NodeResumed,
}

func newDowntime() downtime {
	return downtime{since: map[string]int64{}, spent: map[string]int64{}, down: map[string]bool{}}
}

// observe reports true for a life event; ended is true where the node's
// process is gone.
func (d *downtime) observe(e *Event) (ended bool) {
	switch e.Kind {
	case trace.NodePaused:
		d.since[e.Node] = e.At
	case trace.NodeResumed:
		if s, ok := d.since[e.Node]; ok {
			d.spent[e.Node] += e.At - s
			delete(d.since, e.Node)
		}
	case trace.NodeCrashed, trace.NodeExited:
		if s, ok := d.since[e.Node]; ok {
			d.spent[e.Node] += e.At - s
			delete(d.since, e.Node)
		}
		d.down[e.Node] = true
		return true
	case trace.NodeReady:
		delete(d.down, e.Node)
	}
	return false
}

// stood is how long a node has stood still so far.
func (d *downtime) stood(node string, now int64) int64 {
	t := d.spent[node]
	if s, ok := d.since[node]; ok {
		t += now - s
	}
	return t
}
