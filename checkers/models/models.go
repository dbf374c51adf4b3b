// Package models holds the sequential specifications that histories are
// compared with, and histories that are cut at quiet points: porcupine's
// search is exponential in what overlaps, so a long history is checked piece by
// piece, and the states that are possible at the end of one piece are where the
// next one may begin.
package models

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// op is the input and output of an operation.
type op struct {
	name  string // write, read, issue, outcome, append
	value string
	maybe bool // nobody was told whether it took effect
	// at is an offset in a log: of what is appended, or of the first entry of a
	// reading; next is where a reading says that the log ends.
	at, next int64
}

// Model is a sequential specification over states that are strings.
type Model struct {
	name  string
	start string
	// step says which states may follow an operation; none: it is illegal.
	step func(state string, o op) []string
}

// Register is a register of checkpoint ids; it begins empty.
func Register() Model {
	return Model{"register", "", func(state string, o op) []string {
		switch {
		case o.name == "write" && o.maybe:
			return []string{state, o.value}
		case o.name == "write":
			return []string{o.value}
		case state == o.value:
			return []string{state}
		}
		return nil
	}}
}

// Command is the life of one command: not yet issued, issued, and then one
// outcome for good.
func Command() Model {
	only := func(legal bool, next string) []string {
		if legal {
			return []string{next}
		}
		return nil
	}
	return Model{"command", "unknown", func(state string, o op) []string {
		if o.name == "issue" {
			if state == "unknown" {
				return []string{"issued"}
			}
			return []string{state}
		}
		switch o.value {
		case "DUPLICATE":
			// The receiver has it already; it may still be waiting for its epoch.
			return only(state != "unknown", state)
		case "AWAITING_CONFIRMATION", "ACCEPTED":
			return only(state == "issued" || state == "waiting", "waiting")
		}
		return only(state == "issued" || state == "waiting", o.value)
	}}
}

// Operation is one operation of a history.
type Operation struct {
	client     int
	o          op
	call, done int64
}

// RegisterWrite is a write. With maybe nobody was told what became of it: it
// took effect between call and done, or not at all.
func RegisterWrite(client int, value string, call, done int64, maybe bool) Operation {
	return Operation{client, op{name: "write", value: value, maybe: maybe}, call, done}
}

// RegisterRead is a read and what it returned.
func RegisterRead(client int, value string, call, done int64) Operation {
	return Operation{client, op{name: "read", value: value}, call, done}
}

// CommandIssued is a command's publication.
func CommandIssued(at int64) Operation { return Operation{0, op{name: "issue"}, at, at} }

// CommandOutcome is what a receiver did with a command that reached it at the
// time call. ok is false for a status that is no outcome.
func CommandOutcome(status string, call, done int64) (_ Operation, ok bool) {
	switch status {
	case "APPLIED", "REJECTED", "EXPIRED", "DUPLICATE", "AWAITING_CONFIRMATION", "ACCEPTED":
		return Operation{1, op{name: "outcome", value: status}, call, done}, true
	}
	return Operation{}, false
}

// History is operations of one key. Its zero value is not usable.
type History struct {
	model  Model
	starts []string // states that are possible at its beginning
	ops    []Operation
	began  int64
	guilty []porcupine.Operation // of the cut that was illegal
}

// NewHistory is an empty history of a model.
func NewHistory(m Model) History { return History{model: m, starts: []string{m.start}} }

// Add appends an operation.
func (h *History) Add(o Operation) { h.ops = append(h.ops, o) }

// Restart forgets the operations, and lets any of the states hold from here.
func (h *History) Restart(states []string) {
	slices.Sort(states)
	h.starts, h.ops = slices.Compact(states), h.ops[:0]
}

// Len is the number of operations since the last cut.
func (h *History) Len() int { return len(h.ops) }

// Begin notes when the operation that comes next was called.
func (h *History) Begin(at int64) { h.began = at }

// Began is what Begin noted last.
func (h *History) Began() int64 { return h.began }

// Cut checks the operations since the last cut and forgets them; it remembers
// the states that may hold now. The detail of an illegal history names its
// operations.
func (h *History) Cut(timeout time.Duration) (porcupine.CheckResult, string) {
	var ops []porcupine.Operation
	for i, o := range h.ops {
		// A command's receiver is one process, but deliveries overlap: each
		// operation is a client of its own.
		ops = append(ops, porcupine.Operation{ClientId: i, Input: o.o, Output: o.o, Call: o.call, Return: max(o.done, o.call)})
	}
	result := porcupine.Illegal
	var ends []string
	for _, start := range h.starts {
		m := h.model.porcupine(start)
		r := porcupine.CheckOperationsTimeout(m, ops, timeout)
		switch {
		case r == porcupine.Unknown:
			return r, ""
		case r == porcupine.Ok:
			result = porcupine.Ok
			ends = append(ends, h.ends(start)...)
		}
	}
	if result != porcupine.Ok {
		h.guilty = ops
		var list []string
		for _, o := range h.ops {
			list = append(list, o.String())
		}
		if len(list) > 12 {
			list = append([]string{fmt.Sprintf("… %d more", len(list)-12)}, list[len(list)-12:]...)
		}
		return result, strings.Join(list, "; ")
	}
	slices.Sort(ends)
	h.starts = slices.Compact(ends)
	h.ops = h.ops[:0]
	return result, ""
}

// Picture writes the operations of the illegal cut as a page for a browser,
// with the longest linearizations that there are. Without one it writes
// nothing.
func (h *History) Picture(w io.Writer) error {
	if h.guilty == nil {
		return nil
	}
	m := h.model.porcupine(h.starts[0])
	m.DescribeOperation = func(input, _ any) string {
		o := input.(op)
		return strings.TrimSpace(o.name + " " + o.value + o.describe())
	}
	m.DescribeState = func(state any) string { return fmt.Sprintf("%q", state) }
	_, info := porcupine.CheckOperationsVerbose(m, h.guilty, time.Minute)
	return porcupine.Visualize(m, info, w)
}

// ends are the states that may hold after the history. At a quiet point of a
// register that is the last write, or one that overlapped it, or one of unknown
// outcome; each candidate is tried by adding a read at the end.
func (h *History) ends(start string) []string {
	candidates := []string{start}
	for _, o := range h.ops {
		if o.o.name == "write" {
			candidates = append(candidates, o.o.value)
		}
	}
	slices.Sort(candidates)
	candidates = slices.Compact(candidates)
	if h.model.name == "log" {
		return []string{h.logEnd(start)}
	}
	if h.model.name != "register" {
		return []string{start}
	}
	var last int64
	for _, o := range h.ops {
		last = max(last, o.done)
	}
	var out []string
	for _, c := range candidates {
		var ops []porcupine.Operation
		for i, o := range h.ops {
			ops = append(ops, porcupine.Operation{ClientId: i, Input: o.o, Output: o.o, Call: o.call, Return: max(o.done, o.call)})
		}
		read := op{name: "read", value: c}
		ops = append(ops, porcupine.Operation{ClientId: len(ops), Input: read, Output: read, Call: last + 1, Return: last + 2})
		if porcupine.CheckOperationsTimeout(h.model.porcupine(start), ops, time.Second) == porcupine.Ok {
			out = append(out, c)
		}
	}
	return out
}

func (m Model) porcupine(start string) porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{start} },
		Step: func(state, input, _ any) []any {
			var next []any
			for _, s := range m.step(state.(string), input.(op)) {
				next = append(next, s)
			}
			return next
		},
		Equal: func(a, b any) bool { return a == b },
	}
	return nondeterministic.ToModel()
}

// String is the operation for people.
func (o Operation) String() string {
	when := fmt.Sprintf("%.3fs–%.3fs", float64(o.call)/1e9, float64(o.done)/1e9)
	if o.o.maybe {
		when += " perhaps"
	}
	return fmt.Sprintf("%s %s %q%s", when, o.o.name, o.o.value, o.o.describe())
}
