package breaker_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/breaker"
)

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range breaker.Table {
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
		if seen[s.ID()] {
			t.Errorf("%s is there twice", s.ID())
		}
		seen[s.ID()] = true
		if got, ok := breaker.Find(s.Owner, s.Name); !ok || got != s {
			t.Errorf("%s is not found", s.ID())
		}
	}
	if _, ok := breaker.Find("urza", "nothing"); ok {
		t.Error("found a breaker that is not there")
	}
}

func TestRefusesBadSettings(t *testing.T) {
	good := breaker.Table[0]
	for name, change := range map[string]func(*breaker.Settings){
		"no failures":       func(s *breaker.Settings) { s.Failures = 0 },
		"no probes":         func(s *breaker.Settings) { s.Probes = 0 },
		"no successes":      func(s *breaker.Settings) { s.Successes = 0 },
		"negative recovery": func(s *breaker.Settings) { s.Recovery = -1 },
	} {
		s := good
		change(&s)
		if _, err := breaker.New(s, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The bugs of the companions' copies.
func TestHalfOpen(t *testing.T) {
	s := breaker.Settings{Owner: "a", Name: "b", Failures: 1, Recovery: time.Second, Probes: 2, Successes: 3}
	b, _ := breaker.New(s, nil)
	k, _ := b.Allow(0)
	late, _ := b.Allow(0)
	b.Done(0, k, false)
	if _, ok := b.Allow(time.Second - 1); ok {
		t.Fatal("open breaker admits")
	}
	if got := b.RetryAfter(0); got != time.Second {
		t.Fatalf("retry after %v", got)
	}
	now := time.Second
	if b.State(now) != breaker.HalfOpen {
		t.Fatal("not half open by time alone")
	}
	b.Done(now, late, false) // from before the trip: does not count
	if b.State(now) != breaker.HalfOpen {
		t.Fatal("a call from before the trip reopened it")
	}
	p1, ok1 := b.Allow(now)
	p2, ok2 := b.Allow(now)
	if _, ok := b.Allow(now); !ok1 || !ok2 || ok {
		t.Fatal("probes are not bounded by 2")
	}
	b.Done(now, p1, true)
	b.Done(now, p2, true)
	if b.State(now) != breaker.HalfOpen {
		t.Fatal("closed after two successes of three")
	}
	p3, _ := b.Allow(now)
	b.Done(now, p3, true)
	if b.State(now) != breaker.Closed {
		t.Fatal("not closed after three successes")
	}
}

// model is the plain statement of table 0.2, with all history kept.
type model struct {
	s       breaker.Settings
	state   breaker.State
	period  int
	since   time.Duration
	fails   []time.Duration
	admit   int
	done    int
	success int
}

func (m *model) to(s breaker.State, now time.Duration) {
	*m = model{s: m.s, state: s, period: m.period + 1, since: now}
}

func (m *model) tick(now time.Duration) {
	if m.state == breaker.Open && m.s.Recovery > 0 && now >= m.since+m.s.Recovery {
		m.to(breaker.HalfOpen, now)
	}
}

func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(breaker.Table).Draw(t, "settings")
		b, err := breaker.New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		type call struct {
			ticket breaker.Ticket
			period int
		}
		var now time.Duration
		var calls []call
		m := &model{s: s}
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				now += time.Duration(rapid.Int64Range(0, int64(40*time.Second)).Draw(t, "d"))
			},
			"allow": func(t *rapid.T) {
				m.tick(now)
				want := m.state == breaker.Closed || m.state == breaker.HalfOpen && m.admit-m.done < s.Probes
				k, got := b.Allow(now)
				if got != want {
					t.Fatalf("allow is %v, want %v", got, want)
				}
				if got {
					m.admit++
					calls = append(calls, call{k, m.period})
				}
			},
			"done": func(t *rapid.T) {
				if len(calls) == 0 {
					t.Skip("none under way")
				}
				i := rapid.IntRange(0, len(calls)-1).Draw(t, "call")
				ok := rapid.IntRange(0, 3).Draw(t, "ok") == 0
				c := calls[i]
				calls = append(calls[:i:i], calls[i+1:]...)
				m.tick(now)
				b.Done(now, c.ticket, ok)
				if c.period != m.period {
					return
				}
				m.done++
				switch {
				case m.state == breaker.HalfOpen && !ok:
					m.to(breaker.Open, now)
				case m.state == breaker.HalfOpen:
					if m.success++; m.success == s.Successes {
						m.to(breaker.Closed, now)
					}
				case ok:
					m.fails = nil
				default:
					m.fails = append(m.fails, now)
					n := 0
					for _, f := range m.fails {
						if s.Window == 0 || now-f < s.Window {
							n++
						}
					}
					if n >= s.Failures {
						m.to(breaker.Open, now)
					}
				}
			},
			"trip":  func(t *rapid.T) { m.tick(now); b.Trip(now); m.trip(now) },
			"reset": func(t *rapid.T) { b.Reset(now); m.reset(now) },
			"": func(t *rapid.T) {
				m.tick(now)
				if got := b.State(now); got != m.state {
					t.Fatalf("state is %v, want %v", got, m.state)
				}
			},
		})
	})
}

func (m *model) trip(now time.Duration) {
	if m.state != breaker.Open {
		m.to(breaker.Open, now)
	}
}

func (m *model) reset(now time.Duration) {
	if m.state != breaker.Closed {
		m.to(breaker.Closed, now)
	}
	m.fails = nil
}

func BenchmarkAllowDone(b *testing.B) {
	br, _ := breaker.New(breaker.Table[0], nil)
	b.ReportAllocs()
	for i := range b.N {
		k, _ := br.Allow(time.Duration(i))
		br.Done(time.Duration(i), k, true)
	}
}

func Example() {
	s, _ := breaker.Find("urza", "query")
	b, _ := breaker.New(s, func(t breaker.Transition) {
		fmt.Println(t.At, t.ID, t.From, "→", t.To)
	})
	for range 3 {
		ticket, _ := b.Allow(0)
		b.Done(0, ticket, false)
	}
	_, ok := b.Allow(time.Second)
	fmt.Println("admitted:", ok, "retry after", b.RetryAfter(time.Second))
	// Output:
	// 0s urza/query CLOSED → OPEN
	// admitted: false retry after 29s
}
