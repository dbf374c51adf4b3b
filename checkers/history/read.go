package history

import (
	"fmt"
	"os"
	"strings"
)

// Options of reading.
type Options struct {
	// Independent says whether values are [key value], as jepsen.independent
	// writes them; nil: it is found out.
	Independent *bool
}

// ReadFile reads a history. Every error of the file is an *Error.
func ReadFile(name string, o Options) ([]Operation, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Read(name, b, o)
}

// Read finds out which form b has and reads it. name is for messages.
func Read(name string, b []byte, o Options) ([]Operation, error) {
	text := string(b)
	var events []event
	var err error
	switch first := strings.TrimLeft(text, " \t\r\n\ufeff,"); {
	case first == "":
		return nil, &Error{name, 1, "the file is empty", "a history"}
	case isJSON(first):
		return readJSON(name, text, o)
	case isLog(text):
		events, err = readLog(name, text)
	default:
		events, err = readEDN(name, text)
	}
	if err != nil {
		return nil, err
	}
	return pair(name, events, o)
}

// event is one line of a Jepsen history.
type event struct {
	process string
	how     string // invoke, ok, fail, info
	f       string
	value   Value
	key     Value // of a history whose maps have a :key
	keyed   bool
	line    int
}

// readEDN reads maps, each alone or all in one vector or list.
func readEDN(name, text string) ([]event, error) {
	r := &ednReader{file: name, s: strings.TrimPrefix(text, "\ufeff"), line: 1}
	var events []event
	for {
		more, err := r.more()
		if err != nil {
			return nil, err
		}
		if !more {
			return events, nil
		}
		v, err := r.value(0)
		if err != nil {
			return nil, err
		}
		ops := []Value{v}
		if v.kind == list {
			ops = v.items
		}
		for _, op := range ops {
			e, client, err := jepsenOp(name, op)
			if err != nil {
				return nil, err
			}
			if client {
				events = append(events, e)
			}
		}
	}
}

// jepsenOp reads one operation. What the nemesis did is not the clients'.
func jepsenOp(name string, v Value) (e event, client bool, err error) {
	if v.kind != dict {
		return e, false, &Error{name, v.line, fmt.Sprintf("%s is no operation", brief(v)), "such as {:process 0, :type :invoke, :f :read, :value nil}"}
	}
	field := func(key string) (Value, error) {
		x, ok := v.get(key)
		if !ok || x.Nil() {
			return x, &Error{name, v.line, "an operation without :" + key, "such as {:process 0, :type :invoke, :f :read, :value nil}"}
		}
		if x.kind != atom && x.kind != text {
			return x, &Error{name, x.line, fmt.Sprintf(":%s is %s", key, brief(x)), "one word"}
		}
		return x, nil
	}
	process, err := field("process")
	if err != nil {
		return e, false, err
	}
	if process.plain() == "nemesis" {
		return e, false, nil
	}
	how, err := field("type")
	if err != nil {
		return e, false, err
	}
	f, err := field("f")
	if err != nil {
		return e, false, err
	}
	e = event{process: process.plain(), how: how.plain(), f: f.plain(), line: v.line}
	e.value, _ = v.get("value")
	if e.key, e.keyed = v.get("key"); e.keyed && e.key.Nil() {
		e.keyed = false
	}
	switch e.how {
	case "invoke", "ok", "fail", "info":
		return e, true, nil
	}
	return e, false, &Error{name, v.line, fmt.Sprintf(":type is %s", how), ":invoke, :ok, :fail or :info"}
}

// brief is a value for a message.
func brief(v Value) string {
	s := v.String()
	if len(s) > 60 {
		s = s[:57] + "…"
	}
	return s
}

// isLog says whether a text is a console log of Jepsen: one of its lines tells
// of an operation after a logger's name.
func isLog(text string) bool {
	for line := range strings.Lines(text) {
		if _, ok := logged(line); ok {
			return true
		}
	}
	return false
}

// logged is the part of a log line behind the logger: process, type, function
// and value, separated by white space.
//
//	INFO  jepsen.util - 0	:invoke	:write	3
//	2024-01-10 12:00:00,000{GMT}	INFO	[jepsen worker 0] jepsen.util: 0	:invoke	:read	nil
func logged(line string) (string, bool) {
	at := strings.Index(line, "jepsen.util")
	if at < 0 {
		return "", false
	}
	rest := strings.TrimLeft(line[at+len("jepsen.util"):], " \t:-")
	words := strings.Fields(rest)
	if len(words) < 3 {
		return "", false
	}
	switch words[1] {
	case ":invoke", ":ok", ":fail", ":info":
		return rest, true
	}
	return "", false
}

// readLog reads a console log; lines of other loggers are passed over.
func readLog(name, text string) ([]event, error) {
	var events []event
	n := 0
	for line := range strings.Lines(text) {
		n++
		rest, ok := logged(line)
		if !ok {
			continue
		}
		r := &ednReader{file: name, s: rest, line: n}
		var parts []Value
		for len(parts) < 4 {
			more, err := r.more()
			if err != nil {
				return nil, err
			}
			if !more {
				break
			}
			v, err := r.value(0)
			if err != nil {
				return nil, err
			}
			parts = append(parts, v)
		}
		if len(parts) < 3 {
			return nil, &Error{name, n, "a line with too few words", "process, type, function and value"}
		}
		if parts[0].plain() == "nemesis" {
			continue
		}
		e := event{process: parts[0].plain(), how: parts[1].plain(), f: parts[2].plain(), line: n}
		if len(parts) == 4 {
			e.value = parts[3]
		}
		events = append(events, e)
	}
	return events, nil
}

// pair joins calls with their returns.
func pair(name string, events []event, o Options) ([]Operation, error) {
	independent := false
	if o.Independent != nil {
		independent = *o.Independent
	} else {
		independent = looksIndependent(events)
	}
	var ops []Operation
	open := map[string]int{} // by process: index into ops
	for i, e := range events {
		key, value := "", e.value
		if e.keyed {
			key = e.key.String()
		} else if independent && !(e.how == "info" || e.how == "fail") || independent && len(value.items) == 2 && value.kind == list {
			if value.kind != list || len(value.items) != 2 {
				return nil, &Error{name, e.line, fmt.Sprintf("the value %s is no pair", brief(value)), "[key value], as in the rest of the history"}
			}
			key, value = value.items[0].String(), value.items[1]
		}
		at, pending := open[e.process]
		if e.how == "invoke" {
			if pending {
				return nil, &Error{name, e.line, fmt.Sprintf("process %s calls %s while its call of line %d is open", e.process, e.f, ops[at].Line),
					"the return of the first call before"}
			}
			open[e.process] = len(ops)
			ops = append(ops, Operation{Process: e.process, F: e.f, Key: key, Input: value, Outcome: Unknown, Call: int64(i), Line: e.line})
			continue
		}
		if !pending {
			if e.how == "info" {
				continue // a process that tells of something else
			}
			return nil, &Error{name, e.line, fmt.Sprintf("process %s returns from %s, and has not called it", e.process, e.f), "an :invoke before"}
		}
		op := &ops[at]
		if op.F != e.f {
			return nil, &Error{name, e.line, fmt.Sprintf("process %s returns from %s, and has called %s at line %d", e.process, e.f, op.F, op.Line), "the same function"}
		}
		if key != "" && op.Key != key {
			return nil, &Error{name, e.line, fmt.Sprintf("process %s returns for the key %s, and has called for %s at line %d", e.process, key, op.Key, op.Line), "the same key"}
		}
		delete(open, e.process)
		op.Return, op.Back = int64(i), e.line
		switch e.how {
		case "ok":
			op.Outcome, op.Output = OK, value
		case "fail":
			op.Outcome, op.Output = Failed, value
		case "info":
			op.Outcome = Unknown
		}
	}
	end := int64(len(events))
	for i := range ops {
		if ops[i].Outcome == Unknown {
			ops[i].Return = end + 1
		}
	}
	return ops, nil
}

// looksIndependent says whether every call has a pair for a value, and one of
// them is a call that would have no pair otherwise.
func looksIndependent(events []event) bool {
	sure := false
	for _, e := range events {
		if e.how != "invoke" || e.keyed {
			continue
		}
		if e.value.kind != list || len(e.value.items) != 2 {
			return false
		}
		if e.f != "cas" || e.value.items[1].kind == list {
			sure = true
		}
	}
	return sure
}
