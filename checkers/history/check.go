package history

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// Verdict is what a check came to.
type Verdict uint8

// The verdicts.
const (
	Linearizable Verdict = iota + 1
	Illegal
	Undecided // the search did not end in time: no verdict
)

func (v Verdict) String() string {
	return [...]string{"", "linearizable", "not linearizable", "undecided"}[v]
}

// Result of a check.
type Result struct {
	Verdict    Verdict
	Operations int // that were judged: neither failed ones nor reads that nobody got an answer to
	Unknown    int // of them, those of unknown outcome
	Keys       int
	// Of an illegal history: the key, and its smallest illegal prefix: its
	// operations in the order of their calls, the last return being the one
	// that nothing explains.
	Key     string
	Prefix  []Operation
	Culprit Operation

	model porcupine.Model
	info  porcupine.LinearizationInfo
}

// Check judges a history under a model. An operation that the model does not
// have is an *Error; so is a history with nothing to judge.
func Check(file string, ops []Operation, m Model, timeout time.Duration) (*Result, error) {
	var judged []Operation
	for i := range ops {
		o := &ops[i]
		meaning, ok := m.funcs[o.F]
		if !ok {
			return nil, &Error{file, o.Line, fmt.Sprintf("a %s has no %q", m.Name, o.F), m.functions()}
		}
		if why := m.check(meaning, o); why != "" {
			return nil, &Error{file, o.Line, why, ""}
		}
		if o.Outcome == Failed || o.Outcome == Unknown && m.pure(o) {
			continue
		}
		judged = append(judged, *o)
	}
	r := &Result{Operations: len(judged), model: m.porcupine()}
	answered := 0
	keys := map[string][]Operation{}
	for _, o := range judged {
		keys[o.Key] = append(keys[o.Key], o)
		if o.Outcome == OK {
			answered++
		} else {
			r.Unknown++
		}
	}
	r.Keys = len(keys)
	if answered == 0 {
		return nil, &Error{file, 1, "no operation has returned: there is nothing to judge", "a history with answers"}
	}
	var result porcupine.CheckResult
	result, r.info = porcupine.CheckOperationsVerbose(r.model, operations(judged), timeout)
	switch result {
	case porcupine.Ok:
		r.Verdict = Linearizable
		return r, nil
	case porcupine.Unknown:
		r.Verdict = Undecided
		return r, nil
	}
	r.Verdict = Illegal
	names := make([]string, 0, len(keys))
	for k := range keys {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		if prefix, culprit, ok := smallest(keys[k], m, timeout); ok && (r.Prefix == nil || len(prefix) < len(r.Prefix)) {
			r.Key, r.Prefix, r.Culprit = k, prefix, culprit
		}
	}
	return r, nil
}

// Picture writes the history as a page for a browser, with the longest
// linearizations that were found.
func (r *Result) Picture(w io.Writer) error { return porcupine.Visualize(r.model, r.info, w) }

// smallest finds the shortest prefix, by returns, that is illegal. Every longer
// one is illegal as well, so it is searched for by halves.
func smallest(ops []Operation, m Model, timeout time.Duration) ([]Operation, Operation, bool) {
	returned := slices.DeleteFunc(slices.Clone(ops), func(o Operation) bool { return o.Outcome != OK })
	sort.SliceStable(returned, func(i, j int) bool { return returned[i].Return < returned[j].Return })
	prefix := func(n int) []Operation {
		end := returned[n-1].Return
		var out []Operation
		for _, o := range ops {
			switch {
			case o.Call > end:
				continue
			case o.Outcome == OK && o.Return > end:
				o.Outcome, o.Output, o.Return = Unknown, Value{}, end+1
				if m.pure(&o) {
					continue
				}
			case o.Outcome == Unknown:
				o.Return = end + 1
			}
			out = append(out, o)
		}
		return out
	}
	illegal := func(n int) bool {
		return porcupine.CheckOperationsTimeout(m.porcupine(), operations(prefix(n)), timeout) == porcupine.Illegal
	}
	if len(returned) == 0 || !illegal(len(returned)) {
		return nil, Operation{}, false
	}
	n := 1 + sort.Search(len(returned)-1, func(i int) bool { return illegal(i + 1) })
	list := prefix(n)
	sort.SliceStable(list, func(i, j int) bool { return list[i].Call < list[j].Call })
	return list, returned[n-1], true
}

func operations(ops []Operation) []porcupine.Operation {
	clients := map[string]int{}
	out := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		id, ok := clients[o.Process]
		if !ok {
			id = len(clients)
			clients[o.Process] = id
		}
		// A process goes on after a call of unknown outcome, which then overlaps
		// what it does next: porcupine draws one row a client.
		if o.Outcome == Unknown {
			id = len(ops) + i
		}
		out[i] = porcupine.Operation{ClientId: id, Input: o, Output: o, Call: o.Call, Return: o.Return}
	}
	return out
}

func (m Model) porcupine() porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byKey, order := map[string][]porcupine.Operation{}, []string{}
			for _, o := range history {
				k := o.Input.(Operation).Key
				if byKey[k] == nil {
					order = append(order, k)
				}
				byKey[k] = append(byKey[k], o)
			}
			var out [][]porcupine.Operation
			for _, k := range order {
				out = append(out, byKey[k])
			}
			return out
		},
		Init: func() []any { return []any{m.Initial} },
		Step: func(state, input, _ any) []any {
			o := input.(Operation)
			var out []any
			for _, s := range m.steps(state.(string), &o) {
				out = append(out, s)
			}
			return out
		},
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(input, _ any) string { return input.(Operation).String() },
		DescribeState:     func(state any) string { return fmt.Sprintf("%q", state) },
	}
	return nondeterministic.ToModel()
}
