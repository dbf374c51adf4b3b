package models

import (
	"fmt"
	"strconv"
	"strings"
)

// Log is a log that is only ever appended to: each event stands at the offset at
// which it ended, offsets have no gaps, and a reading holds what stands where it
// reads and says where the log ends.
//
// A state is the first offset that it remembers and the events from there on,
// one a line; what was judged before is not remembered.
func Log() Model {
	return Model{"log", logState(1, nil), func(state string, o op) []string {
		first, events := parseLog(state)
		next := first + int64(len(events))
		if o.name == "append" {
			switch {
			case o.at == next:
				return []string{state + "\n" + o.value}
			case o.at < first || o.at < next && events[o.at-first] == o.value:
				return []string{state} // told again
			}
			return nil
		}
		if o.next != next {
			return nil
		}
		for i, event := range splitEvents(o.value) {
			at := o.at + int64(i)
			if at >= next || at >= first && events[at-first] != event {
				return nil
			}
		}
		return []string{state}
	}}
}

func logState(first int64, events []string) string {
	return strings.Join(append([]string{strconv.FormatInt(first, 10)}, events...), "\n")
}

func parseLog(state string) (first int64, events []string) {
	lines := strings.Split(state, "\n")
	first, err := strconv.ParseInt(lines[0], 10, 64)
	if err != nil {
		panic("models: the state of a log is not one: " + state)
	}
	return first, lines[1:]
}

func splitEvents(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, "\n")
}

// LogAppend is a publication and the offset at which it stands.
func LogAppend(event string, offset, call, done int64) Operation {
	return Operation{0, op{name: "append", value: event, at: offset}, call, done}
}

// LogRead is a reading: the events from an offset on, and where the log ends.
func LogRead(from int64, events []string, next, call, done int64) Operation {
	return Operation{1, op{name: "read", value: strings.Join(events, "\n"), at: from, next: next}, call, done}
}

// logEnd is the state at the end of a legal piece: one, since each operation
// says where it stands. It remembers only where the log ends.
func (h *History) logEnd(start string) string {
	first, events := parseLog(start)
	next := first + int64(len(events))
	for _, o := range h.ops {
		if o.o.name == "append" {
			next = max(next, o.o.at+1)
		}
	}
	return logState(next, nil)
}

// describe is what a log's operation says beside its name and value.
func (o op) describe() string {
	switch {
	case o.name == "append":
		return fmt.Sprintf(" at %d", o.at)
	case o.next > 0:
		return fmt.Sprintf(" from %d, end %d", o.at, o.next)
	}
	return ""
}
