package mycosynth

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/config"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

func TestConsider(t *testing.T) {
	s := newState()
	accept := func(id, key, value string, expected uint64) bool {
		q := &operationsv2.ConfigRequest{RequestId: id, Key: key, Value: value, ExpectedVersion: expected}
		r := s.consider(q)
		s.apply(&statev2.MycosynthRecord{Request: q, Reply: r})
		return r.Accepted
	}
	for i, c := range []struct {
		key, value string
		expected   uint64
		ok         bool
	}{
		{config.FanIn, "16", 0, true},
		{config.FanIn, "17", 0, false}, // it is new no more
		{config.FanIn, "17", 1, true},  // also while the first is queued
		{config.FanIn, "99", 2, false},
		{"no/key", "1", 0, false},
		{config.CommandTTL, "3", 1, false},
		{config.CommandTTL, "3", 0, true},
	} {
		if got := accept(fmt.Sprint(i), c.key, c.value, c.expected); got != c.ok {
			t.Errorf("%d: %+v: %v", i, c, got)
		}
	}
	// One key has one value in a revision: the second change of fan-in waits.
	first := s.next(4, 1)
	if len(first.Entries) != 1 || first.Entries[0].Value != "16" || first.Revision != 1 {
		t.Fatal(first)
	}
	s.apply(&statev2.MycosynthRecord{Change: first})
	s.apply(&statev2.MycosynthRecord{Sealed: 1})
	s.apply(&statev2.MycosynthRecord{Decision: &operationsv2.ConfigDecision{Revision: 1, Epoch: 5, RollbackGeneration: 1}})
	second := s.next(7, 1)
	if len(second.Entries) != 2 || second.Entries[0].Key != config.FanIn || second.Entries[1].Key != config.CommandTTL || second.Revision != 2 {
		t.Fatal(second)
	}
}

// Reading the log again gives the same state, wherever it ends; versions rise by
// one, and a revision holds each key once.
func TestLogIsTheState(t *testing.T) {
	keys := []string{config.FanIn, config.CommandTTL, config.TelemetryEvery}
	rapid.Check(t, func(r *rapid.T) {
		s := newState()
		var log []*statev2.MycosynthRecord
		write := func(m *statev2.MycosynthRecord) {
			log = append(log, m)
			s.apply(m)
		}
		for i := range rapid.IntRange(1, 60).Draw(r, "steps") {
			switch rapid.IntRange(0, 4).Draw(r, "what") {
			case 0, 1:
				key := rapid.SampledFrom(keys).Draw(r, "key")
				q := &operationsv2.ConfigRequest{RequestId: fmt.Sprint(i), Key: key, Value: "7", ExpectedVersion: rapid.Uint64Range(0, 3).Draw(r, "expected")}
				was := s.version(key)
				reply := s.consider(q)
				write(&statev2.MycosynthRecord{Request: q, Reply: reply})
				if reply.Accepted != (q.ExpectedVersion == was) || reply.Accepted && s.version(key) != was+1 {
					r.Fatalf("%v at version %d: %v, then %d", q, was, reply, s.version(key))
				}
			case 2:
				if s.open == nil && len(s.queue) > 0 {
					c := s.next(1, 1)
					for k := 1; k < len(c.Entries); k++ {
						if c.Entries[k].Key <= c.Entries[k-1].Key {
							r.Fatalf("%v", c)
						}
					}
					write(&statev2.MycosynthRecord{Change: c})
				}
			case 3:
				if s.open != nil {
					write(&statev2.MycosynthRecord{Sealed: s.open.Revision})
				}
			default:
				if s.open != nil && s.sealed {
					write(&statev2.MycosynthRecord{Decision: &operationsv2.ConfigDecision{Revision: s.open.Revision}})
				}
			}
		}
		again := newState()
		for _, m := range log {
			own := new(statev2.MycosynthRecord)
			if err := own.ParseCanonical(m.AppendCanonical(nil)); err != nil {
				r.Fatal(err)
			}
			again.apply(own)
		}
		if a, b := fmt.Sprint(s.snapshot("x"), s.queue, s.sealed, s.revision, len(s.replies)), fmt.Sprint(again.snapshot("x"), again.queue, again.sealed, again.revision, len(again.replies)); a != b {
			r.Fatalf("%s\n%s", a, b)
		}
	})
}
