package outbox_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/sim"
)

// sender puts letters into a box when it starts.
type sender struct {
	env  actor.Env
	box  *outbox.Box
	puts []outbox.Letter
	then []outbox.Letter // after the first answer
	done []string
}

func (s *sender) Start() error {
	for _, l := range s.puts {
		l.Done = func() { s.done = append(s.done, l.ID) }
		s.box.Put(l)
	}
	return nil
}

func (s *sender) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		s.box.Tick()
	case *busv2.PublishAck:
		s.box.Acked(m)
		for _, l := range s.then {
			s.box.Put(l)
		}
		s.then = nil
	}
	return nil
}

// bus answers publications as a test says; a status of 0 is silence.
type bus struct {
	env    actor.Env
	answer func(event string, copy int, minor uint32) (status busv2.PublishStatus, reads uint32)
	copies map[string]int
	log    []string // what was accepted, with its minor version
	reason string
	at     map[string]time.Duration // when the first copy came
}

func (*bus) Start() error { return nil }

func (b *bus) Receive(from actor.ID, _ canon.Message) error {
	e, _ := b.env.Net.Incoming()
	b.copies[e.EventId]++
	if b.at == nil {
		b.at = map[string]time.Duration{}
	}
	if b.copies[e.EventId] == 1 {
		b.at[e.EventId] = b.env.Clock.Monotonic()
	}
	status, reads := b.answer(e.EventId, b.copies[e.EventId], e.SchemaMinor)
	if status == busv2.PublishStatus_ACCEPTED {
		b.log = append(b.log, fmt.Sprintf("%s 2.%d", e.EventId, e.SchemaMinor))
	}
	if status != 0 {
		b.env.Net.Send(from, &busv2.PublishAck{EventId: e.EventId, Topic: e.Topic, Status: status, ReadsMinor: reads, Reason: b.reason}, actor.SendOptions{})
	}
	return nil
}

// run lets a sender with letters live for a while against a bus.
func run(t *testing.T, d time.Duration, puts []outbox.Letter, answer func(string, int, uint32) (busv2.PublishStatus, uint32)) (*sender, *bus) {
	t.Helper()
	s, b := &sender{puts: puts}, &bus{answer: answer, copies: map[string]int{}}
	play(t, d, s, b)
	return s, b
}

func play(t *testing.T, d time.Duration, s *sender, b *bus) {
	t.Helper()
	w, err := sim.New(sim.Config{
		Hosts: []sim.Host{{Name: "host"}},
		Nodes: []sim.Node{
			{ID: "bus", Host: "host", Callback: true, Make: func(env actor.Env) (actor.Actor, error) { b.env = env; return b, nil }},
			{ID: "sender", Host: "host", Callback: true, Make: func(env actor.Env) (actor.Actor, error) {
				s.env, s.box = env, outbox.New(env, "bus", 8)
				return s, nil
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(d); err != nil {
		t.Fatal(err)
	}
	w.End()
}

func telemetry(id string) outbox.Letter {
	return outbox.Letter{ID: id, Topic: "telemetry.seed.health", Message: &telemetryv2.SeedTelemetry{TelemetryId: id}}
}

const accepted = busv2.PublishStatus_ACCEPTED

// A letter without a limit is sent until it is acknowledged, however long the
// bus is silent.
func TestSendsUntilAcknowledged(t *testing.T) {
	s, b := run(t, time.Minute, []outbox.Letter{telemetry("a")}, func(_ string, copy int, _ uint32) (busv2.PublishStatus, uint32) {
		if copy < 12 {
			return 0, 0
		}
		return accepted, 0
	})
	if b.copies["a"] != 12 || !slices.Equal(s.done, []string{"a"}) || s.box.Len() != 0 {
		t.Errorf("%d copies, done %v, %d in the box", b.copies["a"], s.done, s.box.Len())
	}
}

// One with a limit is given up.
func TestGivesUp(t *testing.T) {
	l := telemetry("a")
	l.Tries = 3
	s, b := run(t, time.Minute, []outbox.Letter{l}, func(string, int, uint32) (busv2.PublishStatus, uint32) { return 0, 0 })
	if b.copies["a"] != 3 || s.box.Dropped != 1 || s.box.Len() != 0 || len(s.done) != 0 {
		t.Errorf("%d copies, %d dropped, %d in the box", b.copies["a"], s.box.Dropped, s.box.Len())
	}
}

// Ordered letters of a topic arrive in their order though the first copy of
// the first is lost; others do not wait for them.
func TestOrder(t *testing.T) {
	first, second, other := telemetry("first"), telemetry("second"), telemetry("other")
	first.Ordered, second.Ordered = true, true
	_, b := run(t, 10*time.Second, []outbox.Letter{first, second, other}, func(id string, copy int, _ uint32) (busv2.PublishStatus, uint32) {
		if id == "first" && copy == 1 {
			return 0, 0
		}
		return accepted, 0
	})
	if !slices.Equal(b.log, []string{"other 2.0", "first 2.0", "second 2.0"}) {
		t.Errorf("accepted %v", b.log)
	}
}

// What the readers of a topic do not know yet: a field is left out at once; an
// order that would be another one without its new value waits for them, without
// a limit of tries, and holds up nobody.
func TestTooNew(t *testing.T) {
	field := telemetry("field")
	field.Message.(*telemetryv2.SeedTelemetry).RollbackGeneration = 3
	order := outbox.Letter{ID: "order", Topic: "control.kasmina.commands", Ordered: true, Tries: 3,
		Message: &adaptationv2.AdaptationCommand{CommandId: "order", Command: &adaptationv2.AdaptationCommand_SeedLifecycle{
			SeedLifecycle: &adaptationv2.SeedLifecycleCommand{Operation: adaptationv2.SeedOperation_RETIRE}}}}
	next := outbox.Letter{ID: "next", Topic: "control.kasmina.commands", Ordered: true, Tries: 3,
		Message: &adaptationv2.AdaptationCommand{CommandId: "next"}}
	upgraded := false
	s, b := run(t, time.Minute, []outbox.Letter{field, order, next}, func(id string, copy int, minor uint32) (busv2.PublishStatus, uint32) {
		upgraded = upgraded || id == "order" && copy > 6
		if minor > 0 && !upgraded {
			return busv2.PublishStatus_TOO_NEW, 0
		}
		return accepted, 0
	})
	if !slices.Equal(b.log, []string{"field 2.0", "next 2.0", "order 2.1"}) {
		t.Errorf("accepted %v", b.log)
	}
	if s.box.Len() != 0 || s.box.Dropped != 0 {
		t.Errorf("%d in the box, %d dropped", s.box.Len(), s.box.Dropped)
	}
}

// Under pressure letters that yield keep their distance, the fuller the bus the
// more; others do not, and without pressure nobody does.
func TestYields(t *testing.T) {
	for reason, want := range map[string]time.Duration{"": 0, "pressure=50": time.Second, "pressure=100": 2 * time.Second} {
		s, b := &sender{puts: []outbox.Letter{telemetry("first")}}, &bus{copies: map[string]int{}, reason: reason}
		b.answer = func(string, int, uint32) (busv2.PublishStatus, uint32) { return accepted, 0 }
		for _, id := range []string{"a", "b", "c"} {
			l := telemetry(id)
			l.Yields = true
			s.then = append(s.then, l)
		}
		s.then = append(s.then, telemetry("urgent"))
		play(t, time.Minute, s, b)
		if s.box.Len() != 0 || len(b.log) != 5 {
			t.Fatalf("%q: %d in the box, the bus has %v", reason, s.box.Len(), b.log)
		}
		for _, pair := range [][2]string{{"a", "b"}, {"b", "c"}} {
			if gap := b.at[pair[1]] - b.at[pair[0]]; gap < want || gap > want+want/2+100*time.Millisecond {
				t.Errorf("%q: %s comes %v after %s, want %v", reason, pair[1], gap, pair[0], want)
			}
		}
		if late := b.at["urgent"] - b.at["a"]; late > 100*time.Millisecond {
			t.Errorf("%q: what does not yield comes %v late", reason, late)
		}
	}
}
