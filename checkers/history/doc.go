// Package history judges what clients of some other system saw: histories that
// Jepsen or a Go test wrote, against a sequential specification.
//
// [Read] takes three forms and finds out which it has: Jepsen's EDN, one
// operation a line or all in one vector; Jepsen's console log; and JSON as
// porcupine's types print it. [Check] decides whether the history is
// linearizable, key by key where it has keys, and finds the smallest prefix
// that is not.
//
// An operation whose outcome nobody knows (Jepsen's :info, or an invocation
// that nothing follows) took effect at some time after its call, or never. One
// that failed did not take effect.
package history

import "fmt"

// An Error says what is wrong with a history file, and where.
type Error struct {
	File  string
	Line  int // from 1
	Wrong string
	Want  string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Wrong)
	if e.Want != "" {
		s += "; want " + e.Want
	}
	return s
}

// Outcome is how an operation ended.
type Outcome uint8

// The outcomes.
const (
	OK      Outcome = iota + 1 // it took effect
	Failed                     // it did not
	Unknown                    // nobody was told
)

// An Operation is a call of a client and what it came to. Values are strings
// in their canonical form: nil is "nil", numbers and keywords as they are
// written, and lists as [a b].
type Operation struct {
	Process string
	F       string // what was called, such as read or enqueue
	Key     string // of a history with independent keys
	Input   Value
	Output  Value
	Outcome Outcome
	Call    int64 // position or time of the call
	Return  int64 // of the return; of an operation of unknown outcome the end
	Line    int   // of the call in its file
	Back    int   // line of the return; 0: there was none
}

// String is the operation on one line.
func (o Operation) String() string {
	s := fmt.Sprintf("process %s %s", o.Process, o.F)
	if o.Key != "" {
		s += " " + o.Key
	}
	if !o.Input.Nil() {
		s += " " + o.Input.String()
	}
	switch o.Outcome {
	case OK:
		s += " → " + o.Output.String()
	case Unknown:
		s += " → ?"
	case Failed:
		s += " → failed"
	}
	return s
}
