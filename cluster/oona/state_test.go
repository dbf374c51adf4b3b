package oona

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
)

// model is what a group does, as plainly as it can be said: for each entry,
// whether it has ended, who holds it, and under which claim.
type model struct {
	ended map[int64]bool
	holds map[int64]string
	claim map[int64]uint32
	next  int64
}

// Groups and their pending lists against the plain model: appends, hand-outs,
// acknowledgements right and wrong, releases, consumers that leave, trims, and
// a snapshot that is loaded again.
func TestGroupsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newState(1 << 16)
		g, _ := s.join("n", &busv2.Subscribe{Group: "g", Consumer: "c0", Topics: []string{"t"}, MaxInFlight: 3, Durable: true}, 0)
		s.join("n", &busv2.Subscribe{Group: "g", Consumer: "c1", Topics: []string{"t"}, MaxInFlight: 3}, 0)
		tp := s.topic("t")
		c := s.cursorOf(g, tp)
		m := model{map[int64]bool{}, map[int64]string{}, map[int64]uint32{}, 1}
		give := func(p *pending, to *consumer) {
			if p.owner == to {
				return
			}
			if p.attempts > 0 && p.last != "" && p.last != to.name {
				p.claim++
			}
			c.release(p, 0)
			c.give(p, to)
			p.attempts++
			m.holds[p.offset], m.claim[p.offset] = to.name, p.claim
		}
		offset := rapid.Custom(func(t *rapid.T) int64 { return rapid.Int64Range(0, tp.next()).Draw(t, "offset") })
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				s.append(tp, entry{bytes: []byte("x"), eventID: fmt.Sprint("e", tp.next()), expires: 1, attempts: 5})
			},
			"hand": func(t *rapid.T) {
				if to := g.choose("t", "", false); to != nil && c.next < tp.next() {
					p := &pending{offset: c.next, claim: s.claims}
					c.add(p)
					c.next++
					m.next++
					give(p, to)
				}
			},
			"again": func(t *rapid.T) {
				for _, p := range c.pending {
					if p.owner == nil {
						if to := g.choose("t", p.last, false); to != nil {
							give(p, to)
						}
					}
				}
			},
			"ack": func(t *rapid.T) {
				at := offset.Draw(t, "at")
				who := rapid.SampledFrom([]string{"c0", "c1", "zombie"}).Draw(t, "who")
				claim := m.claim[at] + rapid.Uint32Range(0, 1).Draw(t, "newer")
				want := busv2.AckStatus_ACKED
				switch {
				case at >= m.next || at < 1 || m.ended[at]:
					want = busv2.AckStatus_NOT_PENDING
				case m.holds[at] != who || claim != m.claim[at]:
					want = busv2.AckStatus_STALE_CLAIM
				}
				if got := c.ack(who, at, claim); got != want {
					t.Fatalf("ack of %d by %s under %d is %v; want %v", at, who, claim, got, want)
				}
				if want == busv2.AckStatus_ACKED {
					m.ended[at] = true
					delete(m.holds, at)
				}
			},
			"nack": func(t *rapid.T) {
				at := offset.Draw(t, "at")
				if p := c.find(at); p != nil {
					c.release(p, 0)
					delete(m.holds, at)
				}
			},
			"leave": func(t *rapid.T) {
				gone := g.consumer("c1")
				if gone == nil {
					s.join("n", &busv2.Subscribe{Group: "g", Consumer: "c1", Topics: []string{"t"}, MaxInFlight: 3}, 0)
					return
				}
				g.leave(gone, 0)
				for at, who := range m.holds {
					if who == "c1" {
						delete(m.holds, at)
					}
				}
			},
			"trim": func(t *rapid.T) {
				s.trim(tp, min(tp.needed(), offset.Draw(t, "before")))
			},
			"snapshot": func(t *rapid.T) {
				fresh := newState(s.claims)
				snap := s.save(0)
				fresh.topic("t").first = snap.Topics[0].FirstOffset
				for i := range tp.entries {
					fresh.append(fresh.topic("t"), tp.entries[i])
				}
				fresh.load(snap)
				f := fresh.findCursor("g", "t")
				if f.next != c.next || len(f.pending) != len(c.pending) || f.floor() != c.floor() || !f.group.durable {
					t.Fatalf("the snapshot has next %d and %d pending; want %d and %d", f.next, len(f.pending), c.next, len(c.pending))
				}
			},
			"": func(t *rapid.T) {
				if c.next != m.next {
					t.Fatalf("the cursor is at %d; want %d", c.next, m.next)
				}
				held := map[string]int{}
				for at := int64(1); at < m.next; at++ {
					p := c.find(at)
					if (p == nil) != m.ended[at] {
						t.Fatalf("entry %d: pending %v, ended %v", at, p != nil, m.ended[at])
					}
					if p == nil {
						continue
					}
					if at < tp.first {
						t.Fatalf("entry %d is pending and was trimmed", at)
					}
					if p.holder() != m.holds[at] {
						t.Fatalf("entry %d is held by %q; want %q", at, p.holder(), m.holds[at])
					}
					held[p.holder()]++
				}
				for _, k := range g.consumers {
					if k.holds != held[k.name] || k.holds > k.limit {
						t.Fatalf("%s holds %d of %d; %d are its own", k.name, k.holds, k.limit, held[k.name])
					}
				}
				for id, p := range s.ids {
					if e := p.topic.at(p.offset); e == nil || e.eventID != id {
						t.Fatalf("id %s leads to another entry", id)
					}
				}
				if len(s.ids) != len(tp.entries) || s.bytes != len(tp.entries) || len(tp.lanes[0]) != len(tp.entries) {
					t.Fatalf("%d ids, %d entries, %d bytes, %d in their lane", len(s.ids), len(tp.entries), s.bytes, len(tp.lanes[0]))
				}
			},
		})
	})
}

// A log of changes brings a group to where it was, but for entries that were
// handed out and have not ended: nothing says how often.
func TestChangesRecoverACursor(t *testing.T) {
	s := newState(1)
	tp := s.topic("t")
	for i := range 6 {
		s.append(tp, entry{eventID: fmt.Sprint(i), bytes: []byte("x")})
	}
	for _, c := range []*busv2.GroupChange{
		{Group: "g", Durable: true},
		{Group: "g", Topic: "t", Offset: 2, Ended: true},
		{Group: "g", Topic: "t", Offset: 4, Ended: true},
		{Group: "g", Topic: "t", Offset: 3, Attempts: 2},
		{Group: "g", Topic: "t", Offset: 99, Ended: true}, // of an entry that is gone
	} {
		s.change(c)
	}
	c := s.findCursor("g", "t")
	if c.next != 5 || len(c.pending) != 2 || c.floor() != 1 || c.find(3).attempts != 2 || !c.group.durable {
		t.Errorf("next %d, %d pending, floor %d", c.next, len(c.pending), c.floor())
	}
}

// What a topic's readers know is what the least of the live ones knows.
func TestReads(t *testing.T) {
	s := newState(1 << 16)
	join := func(group, consumer string, minor uint32, topics ...string) *group {
		g, _ := s.join("n", &busv2.Subscribe{Group: group, Consumer: consumer, Topics: topics, SchemaMinor: minor}, 0)
		return g
	}
	check := func(topic string, want uint32) {
		t.Helper()
		if got := s.reads(topic); got != want {
			t.Errorf("the readers of %s know %d, want %d", topic, got, want)
		}
	}
	check("a", math.MaxUint32)
	g := join("g", "c1", 2, "a", "b")
	join("g", "c2", 1, "a")
	join("h", "d1", 3, "b")
	check("a", 1)
	check("b", 2)
	join("g", "c2", 2, "a") // upgraded
	check("a", 2)
	g.consumers = g.consumers[1:] // c1's lease ran out
	check("b", 3)
}
