package oona

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
)

// bench is a state with one topic and one group that works on it.
func bench(name string) (*state, *topic, *cursor) {
	s := newState(1 << 16)
	g, _ := s.join("n", &busv2.Subscribe{Group: "workers", Consumer: "c", Topics: []string{name}, MaxInFlight: 1000, Durable: true}, 0)
	t := s.topic(name)
	return s, t, s.cursorOf(g, t)
}

func (s *state) put(t *topic, tier uint8, received int64) int64 {
	return s.append(t, entry{bytes: []byte("x"), eventID: fmt.Sprint(t.name, t.next()), expires: 1 << 62, received: received, tier: tier, attempts: 5})
}

func TestTiers(t *testing.T) {
	for p, want := range map[envelopev2.Priority]uint8{
		envelopev2.Priority_EMERGENCY: 0, envelopev2.Priority_STRATEGIC: 1, envelopev2.Priority_NORMAL: 2,
		envelopev2.Priority_EXPERIMENTAL: 3, envelopev2.Priority_BACKGROUND: 4, envelopev2.Priority_PRIORITY_UNSPECIFIED: 2, 99: 2, -1: 2,
	} {
		if got := tierOf(p); got != want {
			t.Errorf("%v is tier %d, want %d", p, got, want)
		}
	}
	if tierIn([]byte("no envelope")) != 2 {
		t.Error("bytes that nobody can read are not normal")
	}
}

// What goes next is the lowest tier, and of it the oldest, whatever was handed
// out, given back, ended or raised before.
func TestWaitingAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, tp, c := bench("t")
		to := c.group.consumers[0]
		now := int64(0)
		waits := map[int64]bool{}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				waits[s.put(tp, uint8(rapid.IntRange(0, 4).Draw(t, "tier")), now)] = true
			},
			"wait": func(t *rapid.T) {
				now += int64(rapid.IntRange(1, 200).Draw(t, "s")) * int64(time.Second)
				tp.age(now)
			},
			"hand": func(t *rapid.T) {
				at := c.waiting(now)
				if at < 0 {
					t.Skip()
				}
				c.skip(at+1, s.claims)
				p := c.find(at)
				c.give(p, to)
				p.attempts++
				delete(waits, at)
			},
			"release": func(t *rapid.T) {
				for _, p := range c.pending {
					if p.owner != nil {
						c.release(p, now)
						waits[p.offset] = true
						return
					}
				}
			},
			"end": func(t *rapid.T) {
				if len(c.pending) > 0 {
					at := c.pending[rapid.IntRange(0, len(c.pending)-1).Draw(t, "n")].offset
					c.remove(at)
					delete(waits, at)
				}
			},
			"trim": func(t *rapid.T) {
				s.trim(tp, c.floor())
			},
			"": func(t *rapid.T) {
				best := int64(-1)
				for at := range waits {
					e := tp.at(at)
					if best < 0 || e.rank() < tp.at(best).rank() || e.rank() == tp.at(best).rank() && at < best {
						best = at
					}
				}
				if got := c.waiting(now); got != best {
					t.Fatalf("offset %d goes next, want %d", got, best)
				}
				n := 0
				for tier := range tp.lanes {
					n += len(tp.lanes[tier])
				}
				if n != len(tp.entries) {
					t.Fatalf("%d entries in the lanes of %d", n, len(tp.entries))
				}
			},
		})
	})
}

// Age raises by one tier, once, and never to tier 0; what has ended stays.
func TestAge(t *testing.T) {
	s, tp, c := bench("t")
	for tier := range uint8(tiers) {
		s.put(tp, tier, 0)
	}
	ended := s.put(tp, 4, 0)
	c.skip(ended+1, s.claims)
	c.remove(ended)
	if raised := tp.age(int64(ageing) - 1); raised != nil {
		t.Errorf("%v are raised too early", raised)
	}
	if raised := tp.age(int64(ageing)); fmt.Sprint(raised) != "[3 4 5]" {
		t.Errorf("%v are raised, want the last three tiers", raised)
	}
	for i, want := range []uint8{0, 1, 1, 2, 3, 4} {
		if got := tp.entries[i].rank(); got != want {
			t.Errorf("entry %d counts for tier %d, want %d", i+1, got, want)
		}
	}
	tp.young = tp.first
	if raised := tp.age(10 * int64(ageing)); raised != nil {
		t.Errorf("%v are raised again", raised)
	}
}

// The lowest below a newcomer goes, the newest of them, and nothing that
// somebody got.
func TestLowest(t *testing.T) {
	s, tp, c := bench(queues[0].topic)
	for _, tier := range []uint8{4, 2, 4, 3, 0} {
		s.put(tp, tier, 0)
	}
	for above, want := range []int64{3, 3, 3, 3, -1} {
		if got := tp.lowest(uint8(above)); got != want {
			t.Errorf("for tier %d offset %d goes, want %d", above, got, want)
		}
	}
	c.skip(4, s.claims)
	for _, at := range []int64{1, 3} {
		p := c.find(at)
		c.give(p, c.group.consumers[0])
		p.attempts++
	}
	if got := tp.lowest(1); got != 4 {
		t.Errorf("offset %d goes, want 4: the others are in hands", got)
	}
	if got, want := tp.backlog(false), 4; got != want {
		t.Errorf("the queue is %d deep, want %d", got, want)
	}
	if got, want := s.backlog(), 5; got != want {
		t.Errorf("%d entries wait, want %d", got, want)
	}
	c.remove(1)
	if got, want := tp.backlog(false), 3; got != want {
		t.Errorf("the queue is %d deep after one ended, want %d", got, want)
	}
}

// A group that only looks on holds nobody up, nor does one that is not durable.
func TestOnlookers(t *testing.T) {
	s := newState(0)
	tp := s.topic("t")
	for _, m := range []*busv2.Subscribe{{Group: watcher, Consumer: "n", Durable: true}, {Group: "passing", Consumer: "p"}} {
		g, _ := s.join("n", m, 0)
		s.cursorOf(g, tp)
	}
	s.put(tp, 2, 0)
	if tp.worked() || tp.backlog(true) != 0 {
		t.Errorf("%d entries wait for groups that only look on", tp.backlog(true))
	}
}

// The digest of a state is that of the one that is rebuilt from what was logged,
// and changes with everything that is.
func TestDigest(t *testing.T) {
	o := Defaults()
	build := func() (*state, *topic, *cursor) {
		s, tp, c := bench("t")
		for range 5 {
			s.put(tp, 2, 10)
		}
		c.skip(4, s.claims)
		c.remove(2)
		return s, tp, c
	}
	s, _, _ := build()
	want := s.digest(20, o)
	same, _, c := build()
	c.next = 6 // handed out, which is not logged
	c.add(&pending{offset: 4})
	c.add(&pending{offset: 5, attempts: 1})
	if same.digest(20, o) != want {
		t.Error("first deliveries change the digest")
	}
	for name, change := range map[string]func(*state, *topic, *cursor){
		"an entry ended":         func(_ *state, _ *topic, c *cursor) { c.remove(1) },
		"one more":               func(s *state, tp *topic, _ *cursor) { s.put(tp, 2, 10) },
		"other bytes":            func(_ *state, tp *topic, _ *cursor) { tp.entries[3].sum[0]++ },
		"another time":           func(_ *state, tp *topic, _ *cursor) { tp.entries[3].expires++ },
		"another attempt":        func(_ *state, _ *topic, c *cursor) { c.find(3).attempts = 3 },
		"two in the other order": func(_ *state, tp *topic, _ *cursor) { tp.entries[0], tp.entries[1] = tp.entries[1], tp.entries[0] },
		"another group":          func(s *state, tp *topic, _ *cursor) { g, _ := s.group("more"); s.cursorOf(g, tp) },
	} {
		s, tp, c := build()
		change(s, tp, c)
		if s.digest(20, o) == want {
			t.Errorf("%s: the digest is the same", name)
		}
	}
}
