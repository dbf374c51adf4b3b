package checkers

import (
	"fmt"
	"sort"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
)

// Suite runs checkers over one run. It implements trace.Observer.
type Suite struct {
	Judge
	byKind   [256][]Checker
	checkers []Checker
	ev       Event
	inner    *wire.Codec
	outer    *wire.Codec
	nested   wire.Mail
	mail     wire.Mail
	stop     func()
	failed   error
}

// NewSuite makes the checkers of the given invariants; no ids: all of them.
// stop, if set, is called at the first violation. At most limit violations are
// kept.
func NewSuite(ids []string, p Params, limit int, stop func()) (*Suite, error) {
	s := &Suite{inner: wire.NewCodec(), outer: wire.NewCodec(), stop: stop}
	s.void, s.limit = p.Void, limit
	want := map[string]bool{}
	for _, id := range ids {
		if Find(id) == nil {
			return nil, fmt.Errorf("unknown invariant %q", id)
		}
		want[id] = true
	}
	for _, g := range groups {
		wanted := len(ids) == 0
		for _, id := range g.ids {
			wanted = wanted || want[id]
		}
		with := p
		if !wanted && p.Follow && g.ids[0] == "H1" {
			wanted, with.Phases = true, Phases{} // it follows, and judges nothing
		}
		if !wanted {
			continue
		}
		c := g.make(with)
		if c == nil {
			continue // it has nothing to judge with, such as no replayer
		}
		s.checkers = append(s.checkers, c)
		for _, k := range g.kinds {
			s.byKind[k] = append(s.byKind[k], c)
		}
	}
	return s, nil
}

// Observe implements trace.Observer.
func (s *Suite) Observe(e *trace.Event) {
	list := s.byKind[e.Kind]
	s.now, s.seq = e.At, e.Seq
	if len(list) == 0 {
		return
	}
	s.ev.Event = e
	if s.ev.Mail != nil || s.ev.Fact != nil {
		s.ev = Event{Event: e}
	}
	if err := s.decode(); err != nil {
		if !s.undecodable(e, err) && s.failed == nil {
			s.failed = fmt.Errorf("event %d: %w", e.Seq, err)
		}
		return
	}
	before := len(s.Violations)
	for _, c := range list {
		c.Observe(&s.ev, &s.Judge)
	}
	if len(s.Violations) > before && s.stop != nil {
		s.stop()
	}
}

// undecodable judges bytes that reached a handler and that the codec refuses:
// nobody else can say anything about them.
func (s *Suite) undecodable(e *trace.Event, err error) bool {
	if e.Kind != trace.MessageDelivered {
		return false
	}
	for _, c := range s.checkers {
		if c, ok := c.(*contract); ok {
			c.undecodable(e, err, &s.Judge)
			if s.stop != nil {
				s.stop()
			}
			return true
		}
	}
	return false
}

// decode fills the decoded fields: from the producer where it is at hand, else
// from the bytes.
func (s *Suite) decode() error {
	e := &s.ev
	switch e.Kind {
	case trace.MessageSent, trace.MessageDelivered:
		if m, ok := e.Value.(*wire.Mail); ok {
			e.Mail = m
		} else {
			env, m, err := s.outer.Open(e.Data)
			if err != nil {
				return err
			}
			s.mail = wire.Mail{Envelope: env, Payload: m}
			e.Mail = &s.mail
		}
		if d, ok := e.Mail.Payload.(*busv2.Delivery); ok {
			env, m, err := s.inner.Open(d.Envelope)
			if err == nil { // a poison message is the consumer's business
				s.nested = wire.Mail{Envelope: env, Payload: m}
				e.Inner = &s.nested
			}
		}
	case trace.FactDeclared:
		if m, ok := e.Value.(canon.Message); ok {
			e.Fact = m
			break
		}
		m, err := s.outer.Parse(e.Text, e.Data)
		if err != nil {
			return err
		}
		e.Fact = m
	}
	return nil
}

// Finish ends the run and returns what was found, in order of time.
func (s *Suite) Finish() ([]Violation, error) {
	for _, c := range s.checkers {
		c.Finish(&s.Judge)
	}
	sort.SliceStable(s.Violations, func(i, j int) bool { return s.Violations[i].Seq < s.Violations[j].Seq })
	return s.Violations, s.failed
}

// Judgements is how often each invariant was put to the test.
func (s *Suite) Judgements() map[string]uint64 { return s.judged.all() }
