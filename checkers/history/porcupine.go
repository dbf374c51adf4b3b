package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
)

// isJSON says whether a text that is not empty begins JSON: a list of objects
// whose keys are strings, or one object a line.
func isJSON(s string) bool {
	rest := strings.TrimLeft(strings.TrimPrefix(s, "["), " \t\r\n")
	if !strings.HasPrefix(rest, "{") {
		return strings.TrimRight(s, " \t\r\n") == "[]"
	}
	rest = strings.TrimLeft(rest[1:], " \t\r\n")
	if !strings.HasPrefix(rest, `"`) {
		return false
	}
	// {"a" 1} is EDN.
	if end := strings.IndexByte(rest[1:], '"'); end >= 0 {
		return strings.HasPrefix(strings.TrimLeft(rest[end+2:], " \t\r\n"), ":")
	}
	return false
}

// readJSON reads operations or events as porcupine's types print them:
//
//	{"ClientId": 0, "Input": {"op": "write", "value": 3}, "Call": 0, "Output": null, "Return": 10}
//	{"ClientId": 0, "Kind": "call", "Id": 7, "Value": {"op": "read"}}
//
// An input is an object with op, key and value (from and to for a cas), or
// [op, value] or [op, key, value]. An operation without a Return has an
// unknown outcome.
func readJSON(name, s string, o Options) ([]Operation, error) {
	values, err := jsonValues(name, s)
	if err != nil {
		return nil, err
	}
	var ops []Operation
	calls := map[string]int{}
	last := int64(0)
	for i, v := range values {
		if v.kind != dict {
			return nil, &Error{name, v.line, fmt.Sprintf("%s is no operation", brief(v)), `such as {"ClientId": 0, "Input": …, "Call": 0, "Output": …, "Return": 1}`}
		}
		client, _ := v.get("ClientId")
		if kindOf, ok := v.get("Kind"); ok {
			id, _ := v.get("Id")
			value, _ := v.get("Value")
			what := strings.ToLower(kindOf.plain())
			switch what {
			case "call", "callevent", "0", "false":
				if _, twice := calls[id.String()]; twice {
					return nil, &Error{name, v.line, fmt.Sprintf("a second call with the id %s", id), "an id of its own"}
				}
				op := Operation{Process: client.plain(), Outcome: Unknown, Call: int64(i), Line: v.line}
				if err := input(name, &op, value, v.line); err != nil {
					return nil, err
				}
				calls[id.String()] = len(ops)
				ops = append(ops, op)
			case "return", "returnevent", "1", "true":
				at, ok := calls[id.String()]
				if !ok || ops[at].Back != 0 {
					return nil, &Error{name, v.line, fmt.Sprintf("a return with the id %s, and no call is open with it", id), "a call before"}
				}
				ops[at].Return, ops[at].Back, ops[at].Outcome = int64(i), v.line, OK
				ops[at].Output = output(&ops[at], value)
			default:
				return nil, &Error{name, v.line, fmt.Sprintf("Kind is %s", kindOf), "call or return"}
			}
			last = int64(i)
			continue
		}
		in, ok := v.get("Input")
		if !ok {
			return nil, &Error{name, v.line, "an operation without Input", `such as {"ClientId": 0, "Input": …, "Call": 0, "Output": …, "Return": 1}`}
		}
		op := Operation{Process: client.plain(), Outcome: Unknown, Line: v.line}
		if op.Call, err = whole(name, v, "Call", v.line); err != nil {
			return nil, err
		}
		if err := input(name, &op, in, v.line); err != nil {
			return nil, err
		}
		if back, ok := v.get("Return"); ok && !back.Nil() {
			if op.Return, err = whole(name, v, "Return", v.line); err != nil {
				return nil, err
			}
			if op.Return < op.Call {
				return nil, &Error{name, v.line, fmt.Sprintf("it returns at %d, before its call at %d", op.Return, op.Call), "a later time"}
			}
			out, _ := v.get("Output")
			op.Outcome, op.Back = OK, v.line
			op.Output = output(&op, out)
			last = max(last, op.Return)
		}
		last = max(last, op.Call)
		ops = append(ops, op)
	}
	for i := range ops {
		if ops[i].Outcome == Unknown {
			ops[i].Return = last + 1
		}
	}
	return ops, nil
}

func whole(name string, v Value, key string, line int) (int64, error) {
	x, ok := v.get(key)
	n, err := strconv.ParseInt(x.word, 10, 64)
	if !ok || err != nil || x.kind != atom {
		return 0, &Error{name, line, fmt.Sprintf("%s is %s", key, brief(x)), "a whole number"}
	}
	return n, nil
}

func input(name string, op *Operation, v Value, line int) error {
	bad := &Error{name, line, fmt.Sprintf("the input %s names no operation", brief(v)), `such as {"op": "write", "value": 3}`}
	switch v.kind {
	case dict:
		for _, k := range []string{"op", "Op", "f", "F", "name"} {
			if f, ok := v.get(k); ok && (f.kind == text || f.kind == atom) {
				op.F = f.plain()
				break
			}
		}
		if k, ok := first(v, "key", "Key"); ok && !k.Nil() {
			op.Key = k.String()
		}
		op.Input, _ = first(v, "value", "Value", "arg", "Arg")
		from, isCas := first(v, "from", "From", "old", "Old")
		if to, ok := first(v, "to", "To", "new", "New"); ok && isCas {
			op.Input = Value{kind: list, items: []Value{from, to}, line: line}
		}
	case list:
		if len(v.items) > 0 && (v.items[0].kind == text || v.items[0].kind == atom) {
			op.F = v.items[0].plain()
		}
		switch len(v.items) {
		case 2:
			op.Input = v.items[1]
		case 3:
			op.Key, op.Input = v.items[1].String(), v.items[2]
		}
	case text:
		op.F = v.word
	}
	if op.F == "" {
		return bad
	}
	return nil
}

// output is what an operation returned: the value of an object, or itself.
// {"ok": false} says that it failed, {"unknown": true} that nobody knows.
func output(op *Operation, v Value) Value {
	if v.kind != dict {
		return v
	}
	if ok, has := first(v, "ok", "Ok", "OK"); has && ok.word == "false" {
		op.Outcome = Failed
	}
	if u, has := first(v, "unknown", "Unknown"); has && u.word == "true" {
		op.Outcome = Unknown
	}
	x, _ := first(v, "value", "Value", "result", "Result")
	return x
}

func first(v Value, keys ...string) (Value, bool) {
	for _, k := range keys {
		if x, ok := v.get(k); ok {
			return x, true
		}
	}
	return Value{}, false
}

// jsonValues reads a list of values, or values one after the other.
func jsonValues(name, s string) ([]Value, error) {
	lines := newlines(s)
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	r := &jsonReader{name: name, dec: dec, lines: lines}
	var all []Value
	for {
		v, err := r.value(0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if len(all) == 1 && all[0].kind == list {
		return all[0].items, nil
	}
	return all, nil
}

func newlines(s string) (at []int64) {
	for i := range len(s) {
		if s[i] == '\n' {
			at = append(at, int64(i))
		}
	}
	return at
}

type jsonReader struct {
	name  string
	dec   *json.Decoder
	lines []int64
}

func (r *jsonReader) line(offset int64) int {
	return sort.Search(len(r.lines), func(i int) bool { return r.lines[i] >= offset }) + 1
}

func (r *jsonReader) value(depth int) (Value, error) {
	t, err := r.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) && depth == 0 {
			return Value{}, io.EOF
		}
		line := r.line(r.dec.InputOffset())
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line = r.line(syntax.Offset)
		}
		why := err.Error()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			why = "the file ends inside a value"
		}
		return Value{}, &Error{r.name, line, why, "JSON"}
	}
	line := r.line(r.dec.InputOffset())
	if depth > maxDepth {
		return Value{}, &Error{r.name, line, fmt.Sprintf("values are nested more than %d deep", maxDepth), "a history"}
	}
	switch t := t.(type) {
	case nil:
		return Value{line: line}, nil
	case bool:
		return Value{kind: atom, word: strconv.FormatBool(t), line: line}, nil
	case string:
		return Value{kind: text, word: t, line: line}, nil
	case json.Number:
		n, ok := number(t.String())
		if !ok {
			return Value{}, &Error{r.name, line, fmt.Sprintf("%q is no number", t), "JSON"}
		}
		return Value{kind: atom, word: n, line: line}, nil
	case json.Delim:
		v := Value{kind: list, line: line}
		if t == '{' {
			v.kind = dict
		}
		for r.dec.More() {
			x, err := r.value(depth + 1)
			if err != nil {
				return v, err
			}
			v.items = append(v.items, x)
		}
		if _, err := r.dec.Token(); err != nil {
			return v, &Error{r.name, line, "what begins here has no end", "JSON"}
		}
		return v, nil
	}
	return Value{}, &Error{r.name, line, "no value", "JSON"}
}
