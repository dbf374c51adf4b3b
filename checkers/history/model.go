package history

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Model is a sequential specification. Its states are canonical strings.
type Model struct {
	Name string
	Doc  string
	// Initial is the state before the first operation.
	Initial string
	funcs   map[string]string // what an operation may be called, to its meaning
	// check says why an operation cannot be one of this model.
	check func(meaning string, o *Operation) string
	// step is the state that follows an operation, and whether it may happen in
	// the state. The output counts only if known is set.
	step func(state, meaning string, o *Operation, known bool) (next string, legal bool)
}

// Models are the models that there are.
func Models() []Model {
	return []Model{
		{
			Name: "register", Doc: "a register: read, write", Initial: "nil",
			funcs: map[string]string{"read": "read", "get": "read", "write": "write", "put": "write", "set": "write"},
			check: noCheck, step: register,
		},
		{
			Name: "cas-register", Doc: "a register with compare-and-set: read, write, cas [old new]", Initial: "nil",
			funcs: map[string]string{"read": "read", "get": "read", "write": "write", "put": "write", "set": "write", "cas": "cas"},
			check: casCheck, step: register,
		},
		{
			Name: "kv", Doc: "a store of keys and values: get, put, append, delete, cas", Initial: "nil",
			funcs: map[string]string{"read": "read", "get": "read", "write": "write", "put": "write", "set": "write",
				"append": "append", "delete": "delete", "del": "delete", "cas": "cas"},
			check: kvCheck, step: register,
		},
		{
			Name: "queue", Doc: "a first-in first-out queue: enqueue, dequeue, drain", Initial: "",
			funcs: map[string]string{"enqueue": "enqueue", "push": "enqueue", "add": "enqueue", "offer": "enqueue",
				"dequeue": "dequeue", "pop": "dequeue", "poll": "dequeue", "drain": "drain"},
			check: queueCheck, step: queue,
		},
		{
			Name: "lock", Doc: "a lock: acquire, release", Initial: "free",
			funcs: map[string]string{"acquire": "acquire", "lock": "acquire", "release": "release", "unlock": "release"},
			check: noCheck, step: lock,
		},
		{
			Name: "set", Doc: "a set: add, remove, read", Initial: "#{}",
			funcs: map[string]string{"add": "add", "insert": "add", "remove": "remove", "delete": "remove", "read": "read", "get": "read"},
			check: setCheck, step: setStep,
		},
	}
}

// FindModel is the model with a name.
func FindModel(name string) (Model, bool) {
	for _, m := range Models() {
		if m.Name == name {
			return m, true
		}
	}
	return Model{}, false
}

// functions lists what the model's operations are called, first names only.
func (m Model) functions() string {
	return m.Doc[strings.IndexByte(m.Doc, ':')+2:]
}

func noCheck(string, *Operation) string { return "" }

func casCheck(meaning string, o *Operation) string {
	if meaning == "cas" && (o.Input.kind != list || len(o.Input.items) != 2) {
		return fmt.Sprintf("cas of %s; want [old new]", brief(o.Input))
	}
	return ""
}

func kvCheck(meaning string, o *Operation) string {
	if o.Key == "" {
		return "no key; want :key, or [key value] for a value"
	}
	return casCheck(meaning, o)
}

func queueCheck(meaning string, o *Operation) string {
	if meaning == "drain" && o.Outcome == OK && !o.Output.Nil() && o.Output.kind != list {
		return fmt.Sprintf("drain returns %s; want a list", brief(o.Output))
	}
	return ""
}

func setCheck(meaning string, o *Operation) string {
	if meaning == "read" && o.Outcome == OK && !o.Output.Nil() && o.Output.kind != list && o.Output.kind != set {
		return fmt.Sprintf("read returns %s; want the elements", brief(o.Output))
	}
	return ""
}

// bare is a value as it stands in an appended string.
func bare(v Value) string {
	if v.kind == text {
		return v.word
	}
	if v.Nil() {
		return ""
	}
	return v.String()
}

func register(state, meaning string, o *Operation, known bool) (string, bool) {
	switch meaning {
	case "read":
		// A store may tell of what is not there as nil or as the empty text.
		empty := func(s string) bool { return s == "nil" || s == `""` }
		return state, !known || o.Output.String() == state || empty(o.Output.String()) && empty(state)
	case "write":
		return o.Input.String(), true
	case "delete":
		return "nil", true
	case "append":
		before, err := strconv.Unquote(state)
		if err != nil && state != "nil" {
			before = state // a number, say
		}
		return strconv.Quote(before + bare(o.Input)), true
	case "cas":
		if o.Input.items[0].String() != state {
			return state, false
		}
		return o.Input.items[1].String(), true
	}
	return state, false
}

// A queue's state is its elements, each behind a separator that no canonical
// value holds.
const sep = "\x00"

func queue(state, meaning string, o *Operation, known bool) (string, bool) {
	switch meaning {
	case "enqueue":
		return state + sep + o.Input.String(), true
	case "dequeue":
		if state == "" {
			return state, !known || o.Output.Nil()
		}
		head, rest := pop(state)
		return rest, !known || o.Output.String() == head
	}
	if !known {
		return "", true // it may have taken any number; see steps
	}
	for _, v := range o.Output.items {
		if state == "" {
			return state, false
		}
		var head string
		if head, state = pop(state); head != v.String() {
			return state, false
		}
	}
	return state, true
}

func pop(state string) (head, rest string) {
	state = state[len(sep):]
	if i := strings.Index(state, sep); i >= 0 {
		return state[:i], state[i:]
	}
	return state, ""
}

func lock(state, meaning string, _ *Operation, _ bool) (string, bool) {
	if meaning == "acquire" {
		return "held", state == "free"
	}
	return "free", state == "held"
}

func setStep(state, meaning string, o *Operation, known bool) (string, bool) {
	elements := strings.Split(strings.TrimSuffix(strings.TrimPrefix(state, "#{"), "}"), sep)
	if elements[0] == "" {
		elements = nil
	}
	switch meaning {
	case "add":
		if v := o.Input.String(); !slices.Contains(elements, v) {
			elements = append(elements, v)
			slices.Sort(elements)
		}
	case "remove":
		elements = slices.DeleteFunc(elements, func(x string) bool { return x == o.Input.String() })
	case "read":
		if !known {
			return state, true
		}
		var seen []string
		for _, v := range o.Output.items {
			seen = append(seen, v.String())
		}
		slices.Sort(seen)
		return state, slices.Equal(slices.Compact(seen), elements)
	}
	return "#{" + strings.Join(elements, sep) + "}", true
}

// steps are the states that may follow an operation. One of unknown outcome may
// have had no effect.
func (m Model) steps(state string, o *Operation) []string {
	meaning := m.funcs[o.F]
	if o.Outcome == OK {
		if next, legal := m.step(state, meaning, o, true); legal {
			return []string{next}
		}
		return nil
	}
	out := []string{state}
	if meaning == "drain" { // each prefix may be gone
		for rest := state; rest != ""; {
			_, rest = pop(rest)
			out = append(out, rest)
		}
		return out
	}
	if next, legal := m.step(state, meaning, o, false); legal && next != state {
		out = append(out, next)
	}
	return out
}

// pure says whether an operation leaves every state as it is, so that one of
// unknown outcome says nothing.
func (m Model) pure(o *Operation) bool { return m.funcs[o.F] == "read" }
