package sim

import "github.com/esper-sim/espersim/sim/trace"

// timerTable holds a node's timers. A node has few, so it is searched from end
// to end; a pending event knows its slot, so what is due needs no search.
type timerTable struct {
	seed  uint64 // of the ties: the node
	slots []timer
	last  int // the slot that fired last: most often the one that is set next
}

// timer is one slot: the timer of that name and argument, running or not. A
// slot is used again for another timer once it is not running.
type timer struct {
	name    string
	arg     int64
	hash    uint64
	gen     uint32 // rises with each setting, so that older events miss
	running bool
}

// set starts or restarts a timer.
func (t *timerTable) set(name string, arg int64) (slot int32, gen uint32) {
	if t.last < len(t.slots) {
		if s := &t.slots[t.last]; s.arg == arg && s.name == name {
			s.running = true
			s.gen++
			return int32(t.last), s.gen
		}
	}
	free := -1
	for i := range t.slots {
		s := &t.slots[i]
		if s.arg == arg && s.name == name {
			s.running = true
			s.gen++
			return int32(i), s.gen
		}
		if !s.running && free < 0 {
			free = i
		}
	}
	if free < 0 {
		free = len(t.slots)
		t.slots = append(t.slots, timer{})
	}
	s := &t.slots[free]
	s.name, s.arg, s.running = name, arg, true
	s.hash = trace.Mix(trace.String(t.seed, name), uint64(arg))
	s.gen++
	return int32(free), s.gen
}

// tie breaks equal times by what the timer is, not by when it was set.
func (t *timerTable) tie(slot int32) uint64 { return t.slots[slot].hash }

func (t *timerTable) stop(name string, arg int64) {
	for i := range t.slots {
		if s := &t.slots[i]; s.arg == arg && s.name == name {
			s.running = false
			s.gen++
			return
		}
	}
}

// due says whether a timer event is still wanted.
func (t *timerTable) due(ev *event) bool {
	s := &t.slots[ev.slot]
	return s.running && s.gen == ev.gen
}

// take ends the timer of an event and returns it, or nil if it was stopped or
// set again since. The result is valid until the next call.
func (t *timerTable) take(ev *event) *timer {
	s := &t.slots[ev.slot]
	if !s.running || s.gen != ev.gen {
		return nil
	}
	s.running = false
	t.last = int(ev.slot)
	return s
}

// reset forgets every timer.
func (t *timerTable) reset() {
	for i := range t.slots {
		t.slots[i].running = false
		t.slots[i].gen++
	}
}
