// Package rules predicts from two descriptors what happens to messages between
// a writer and a reader, without looking at a single message.
//
// The verdict on two message types is the worst that any rule of the table
// says of any two fields that meet: fields of the same number in the two
// types, and in all the types that are reached through them. A pair of types
// that is met again on the way adds nothing, so that recursive types end and
// types of the same shape are clean whatever they are called.
//
// The package that searches for messages, witness, knows nothing of these
// rules; the two are held against each other by tests.
package rules

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

// A FieldRule judges a field of the writer against the reader's field of the
// same number.
type FieldRule struct {
	Name  string
	Judge func(a *Analysis, w, r Field) exchange.Class
}

// A MessageRule judges what single fields do not show. The fields are those of
// the writer that the scope lets be set.
type MessageRule struct {
	Name  string
	Judge func(a *Analysis, w, r protoreflect.MessageDescriptor, fields []protoreflect.FieldDescriptor) exchange.Class
}

// A Table is a set of rules, none of which knows of the others.
type Table struct {
	Numbers  map[protoreflect.Kind]Number
	Fields   []FieldRule
	Messages []MessageRule
}

// Default is the table that holds for proto3.
func Default() Table {
	return Table{Numbers: numbers(), Fields: fieldRules(), Messages: messageRules()}
}

// Analysis answers questions with one table and remembers the answers. It is
// not for concurrent use.
type Analysis struct {
	table Table
	local map[pair]*verdict
	safe  map[safeKey]bool
	scope exchange.Scope // of the pair that is being judged
	met   []pair         // types that met through its fields
}

type pair struct {
	w, r protoreflect.MessageDescriptor
}

// verdict is what a pair is by itself, and which pairs its fields lead to.
type verdict struct {
	class exchange.Class
	next  []pair
}

// New returns an analysis that uses the table.
func New(t Table) *Analysis {
	return &Analysis{table: t, local: map[pair]*verdict{}, safe: map[safeKey]bool{}}
}

// Message is the verdict on all messages of w within the scope, read as r.
func (a *Analysis) Message(w, r protoreflect.MessageDescriptor, s exchange.Scope) exchange.Class {
	first := a.judge(w, r, s)
	worst := first.class
	seen := map[pair]bool{}
	if s.Whole() {
		seen[pair{w, r}] = true
	}
	todo := slices.Clone(first.next)
	for len(todo) > 0 && worst < exchange.ParseFailure {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[p] {
			continue
		}
		seen[p] = true
		v := a.local[p]
		if v == nil {
			v = a.judge(p.w, p.r, exchange.Scope{})
			a.local[p] = v
		}
		worst = max(worst, v.class)
		todo = append(todo, v.next...)
	}
	return worst
}

// judge applies the table to one pair of types.
func (a *Analysis) judge(w, r protoreflect.MessageDescriptor, s exchange.Scope) *verdict {
	a.scope, a.met = s, nil
	v := &verdict{}
	var fields []protoreflect.FieldDescriptor
	for i := range w.Fields().Len() {
		f := w.Fields().Get(i)
		if s.Fields != nil && !slices.Contains(s.Fields, f.Number()) {
			continue
		}
		fields = append(fields, f)
		h := r.Fields().ByNumber(f.Number())
		if h == nil {
			continue
		}
		for _, rule := range a.table.Fields {
			v.class = max(v.class, rule.Judge(a, Field{f}, Field{h}))
		}
	}
	for _, rule := range a.table.Messages {
		v.class = max(v.class, rule.Judge(a, w, r, fields))
	}
	v.next = a.met
	return v
}

// drop is what is lost when the reader does not see a field that was set.
//
// A singular message that can only be empty has no value to lose: whether it
// is there is its presence.
func (a *Analysis) drop(f Field) exchange.Class {
	if !f.singular() || !f.message() || !a.empty(f.Message()) {
		return exchange.ValueLossy
	}
	if f.presence() == always {
		return exchange.Identical
	}
	return exchange.PresenceLossy
}

// empty says that no message of the type has a value: it has no fields, or
// only singular messages of which the same is true.
func (a *Analysis) empty(m protoreflect.MessageDescriptor) bool {
	return a.all(safeKey{m, emptyValue, 0}, func(f Field) bool {
		return f.singular() && f.message() && a.empty(f.Message())
	})
}

type property int

const (
	emptyValue property = iota
	varintRun
	utf8Text
)

type safeKey struct {
	m      protoreflect.MessageDescriptor
	p      property
	nested int
}

// all says whether a property holds for all fields of a type. While that is
// being found out it is taken to hold: the largest set of types wins.
func (a *Analysis) all(k safeKey, holds func(Field) bool) bool {
	if v, ok := a.safe[k]; ok {
		return v
	}
	a.safe[k] = true
	for i := range k.m.Fields().Len() {
		if !holds(Field{k.m.Fields().Get(i)}) {
			a.safe[k] = false
			return false
		}
	}
	return true
}
