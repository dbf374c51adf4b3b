package compat

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/rules"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// A Checker compares schemas. The zero Checker knows no policy; New returns
// one that does.
type Checker struct {
	Policy Policy
	Rules  rules.Table
	Search witness.Options
	Frozen []string // packages that may not change

	detectors []detector
}

// New returns a checker with the default policy, rules and search.
func New() *Checker {
	return &Checker{
		Policy: DefaultPolicy(), Rules: rules.Default(),
		Search:    witness.Options{Random: 64, Shrink: true},
		detectors: detectors(),
	}
}

// Compare finds every change from old to new and judges it.
func Compare(old, new *schema.Schema) *Report { return New().Compare(old, new) }

// comparison is one use of a checker.
type comparison struct {
	*Checker
	differ
	analysis *rules.Analysis
	searcher *witness.Searcher // for single changes
	whole    *witness.Searcher // for message types as a whole
	frozen   map[string]bool
	users    map[protoreflect.FullName][]use // of messages and enums, in both schemas
}

// use is a field that has a type.
type use struct {
	message protoreflect.FullName
	field   protoreflect.Name
}

// Compare is the function Compare with this checker's settings.
func (k *Checker) Compare(old, new *schema.Schema) *Report {
	c := &comparison{
		Checker: k, differ: *newDiffer(old, new),
		analysis: rules.New(k.Rules), searcher: witness.NewSearcher(k.Search),
		frozen: map[string]bool{}, users: map[protoreflect.FullName][]use{},
	}
	once := k.Search
	once.Rapid = false // their changes have had the second search
	c.whole = witness.NewSearcher(once)
	for _, p := range k.Frozen {
		c.frozen[p] = true
	}
	for _, d := range k.detectors {
		d.find(&c.differ)
	}
	c.findUsers(new)
	c.findUsers(old)
	r := &Report{Version: "espersim.breaking.v1", Old: old.Source, New: new.Source, Changes: []Change{}, Messages: []Verdict{}}
	affected := map[protoreflect.FullName]bool{}
	for _, ch := range c.changes {
		c.Policy.judge(&ch, c.frozen)
		r.Bump = max(r.Bump, ch.Level)
		r.Refused = r.Refused || ch.Frozen
		c.evidence(&ch, affected)
		r.Changes = append(r.Changes, ch)
	}
	slices.SortStableFunc(r.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Position.File, b.Position.File), cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Kind, b.Kind))
	})
	for _, p := range c.messagePairs {
		if affected[p.old.FullName()] {
			r.Messages = append(r.Messages, Verdict{
				Message:  string(p.old.FullName()),
				OldToNew: c.exchange(c.whole, p.old, p.new, exchange.Scope{}, old.Source, new.Source),
				NewToOld: c.exchange(c.whole, p.new, p.old, exchange.Scope{}, new.Source, old.Source),
			})
		}
	}
	slices.SortFunc(r.Messages, func(a, b Verdict) int { return cmp.Compare(a.Message, b.Message) })
	return r
}

func (c *comparison) findUsers(s *schema.Schema) {
	for _, m := range s.Messages() {
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			t := f
			if f.IsMap() {
				t = f.MapValue()
			}
			var name protoreflect.FullName
			switch {
			case t.Message() != nil:
				name = t.Message().FullName()
			case t.Enum() != nil:
				name = t.Enum().FullName()
			default:
				continue
			}
			if u := (use{m.FullName(), f.Name()}); !slices.Contains(c.users[name], u) {
				c.users[name] = append(c.users[name], u)
			}
		}
	}
}

// evidence fills in what happens to messages, and from where the change is
// reached.
func (c *comparison) evidence(ch *Change, affected map[protoreflect.FullName]bool) {
	at := ch.where
	ch.Reached = []Reach{}
	if at.old == nil || at.new == nil {
		if at.note == "" {
			at.note = "no message is touched"
		}
		ch.OldToNew.Note, ch.NewToOld.Note = at.note, at.note
		return
	}
	ch.OldToNew = c.exchange(c.searcher, at.old, at.new, at.oldScope, c.old.Source, c.new.Source)
	ch.NewToOld = c.exchange(c.searcher, at.new, at.old, at.newScope, c.new.Source, c.old.Source)
	ch.OldToNew.note(at.note, at.oldNote)
	ch.NewToOld.note(at.note, at.newNote)
	ch.At = string(at.new.FullName())
	var from protoreflect.FullName
	switch ch.Kind {
	case MethodRequest, MethodResponse:
		return
	case EnumValueAdded, EnumValueInserted, EnumValueRemoved, EnumValueRenamed, EnumValueRenumbered:
		if d := c.new.Find(protoreflect.FullName(ch.Subject)); d != nil {
			from = enumOf(d)
		} else if d := c.old.Find(protoreflect.FullName(ch.Subject)); d != nil {
			from = enumOf(d)
		}
	default:
		from = at.new.FullName()
		affected[from] = true
	}
	ch.Reached = c.reach(from)
	for _, r := range ch.Reached {
		affected[protoreflect.FullName(r.Message)] = true
	}
}

// enumOf is the enum of a value, whose own name does not have it.
func enumOf(d protoreflect.Descriptor) protoreflect.FullName { return d.Parent().FullName() }

func (e *Evidence) note(notes ...string) {
	for _, n := range append([]string{e.Note}, notes...) {
		if n != "" && !strings.Contains(e.Note, n) {
			if e.Note != "" {
				e.Note += "; "
			}
			e.Note += n
		}
	}
}

// reach is the shortest way to a type from every message that contains it.
func (c *comparison) reach(to protoreflect.FullName) []Reach {
	out := []Reach{}
	path := map[protoreflect.FullName]string{to: ""}
	todo := []protoreflect.FullName{to}
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		for _, u := range c.users[n] {
			if _, ok := path[u.message]; ok {
				continue
			}
			p := string(u.field)
			if path[n] != "" {
				p += "." + path[n]
			}
			path[u.message] = p
			out = append(out, Reach{string(u.message), p})
			todo = append(todo, u.message)
		}
	}
	return out
}

// exchange asks both implementations about one direction.
func (c *comparison) exchange(by *witness.Searcher, w, r protoreflect.MessageDescriptor, s exchange.Scope, writer, reader string) Evidence {
	var e Evidence
	if s.Fields != nil && len(s.Fields) == 0 {
		return e
	}
	e.Rules = c.analysis.Message(w, r, s)
	found := by.Search(w, r, s)
	e.Found, e.Tried = found.Class, found.Tried
	e.Class = max(e.Rules, e.Found)
	switch {
	case e.Rules > e.Found:
		e.Note = fmt.Sprintf("the rules expect this; of %d messages none was worse than %s", e.Tried, e.Found)
	case e.Rules < e.Found:
		e.Note = fmt.Sprintf("the rules expect %s", e.Rules)
	}
	if !e.Found.Clean() {
		e.Witness = newWitness(found.Outcome, r, writer, reader)
	}
	return e
}

func newWitness(o witness.Outcome, r protoreflect.MessageDescriptor, writer, reader string) *Witness {
	name := o.Written.Descriptor().FullName()
	w := &Witness{
		Message: string(name), Hex: hex.EncodeToString(o.Bytes), Size: len(o.Bytes),
		Written: witness.Text(o.Written), Where: o.Where,
	}
	if o.Err != nil {
		w.Seen = "nothing: " + witness.Plain(o.Err)
	} else {
		w.Seen = witness.Text(o.Seen)
		w.Relay = hex.EncodeToString(o.Relay)
		if w.Back = witness.Text(o.Back); o.BackErr != nil {
			w.Back = "nothing: " + witness.Plain(o.BackErr)
		}
	}
	args := []string{"espersim", "contracts", "read", "--writer", writer, "--reader", reader, "--type", string(name)}
	if r.FullName() != name {
		args = append(args, "--reader-type", string(r.FullName()))
	}
	args = append(args, w.Hex)
	for i, a := range args {
		args[i] = Quote(a)
	}
	w.Reproduce = strings.Join(args, " ")
	return w
}

// Quote writes an argument so that a shell reads it as one word.
func Quote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,=+@%", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !safe(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
