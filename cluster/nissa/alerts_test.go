package nissa

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

func packet(who string, breaker string, conservative bool, events ...string) *telemetryv2.TelemetryPacket {
	p := &telemetryv2.TelemetryPacket{SourceSubsystem: who, Health: &telemetryv2.HealthReport{Status: telemetryv2.HealthStatus_HEALTHY, Conservative: conservative,
		Breakers: []*telemetryv2.BreakerState{{Name: "b", State: breaker}}}}
	for _, e := range events {
		p.Events = append(p.Events, &telemetryv2.TelemetryEvent{Name: e, Labels: []*telemetryv2.Label{{Key: "subsystem", Value: "urza"}}})
	}
	return p
}

// Each rule has a condition under which it fires after its time, and not before,
// and one under which it resolves.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		rule     string
		after    time.Duration // that it has held for when it fires
		on, off  func(b *book, g *budgets, at int64, now time.Duration)
		almost   func(b *book, g *budgets, at int64, now time.Duration)
		resolves time.Duration // of time alone
	}{
		{rule: "epoch-boundary-slow", on: func(b *book, _ *budgets, at int64, _ time.Duration) {
			for i := range 3 {
				b.epoch(&eventsv2.EpochEvent{Epoch: at/1000 + int64(i), Phase: eventsv2.EpochPhase_COMPLETED, BoundaryDuration: durationpb.New(boundaryLimit + 1)}, at)
			}
		}, off: func(b *book, _ *budgets, at int64, _ time.Duration) {
			b.epoch(&eventsv2.EpochEvent{Epoch: at, Phase: eventsv2.EpochPhase_COMPLETED, BoundaryDuration: durationpb.New(boundaryLimit)}, at)
		}, almost: func(b *book, _ *budgets, at int64, _ time.Duration) {
			for i := range 2 {
				b.epoch(&eventsv2.EpochEvent{Epoch: int64(i), Phase: eventsv2.EpochPhase_COMPLETED, BoundaryDuration: durationpb.New(time.Second)}, at)
			}
		}},
		{rule: "isolation-violations", on: func(b *book, _ *budgets, at int64, now time.Duration) {
			b.seed(&telemetryv2.SeedTelemetry{IsolationViolations: 3}, at, now)
		}, almost: func(b *book, _ *budgets, at int64, now time.Duration) {
			b.seed(&telemetryv2.SeedTelemetry{IsolationViolations: 2}, at, now)
		}, resolves: recent + time.Second},
		{rule: "bus-depth", after: 2 * time.Minute, on: func(b *book, _ *budgets, _ int64, _ time.Duration) { b.watch.depth = 4001 },
			off: func(b *book, _ *budgets, _ int64, _ time.Duration) { b.watch.depth = 10 }, almost: func(b *book, _ *budgets, _ int64, _ time.Duration) { b.watch.depth = 4000 }},
		{rule: "tezzeret-conservative", after: 15 * time.Minute, on: func(b *book, _ *budgets, at int64, now time.Duration) {
			b.packet("e", packet("tezzeret", "CLOSED", true), at, now+time.Hour)
		}, off: func(b *book, _ *budgets, at int64, now time.Duration) {
			b.packet("e", packet("tezzeret", "CLOSED", false), at, now+time.Hour)
		}, almost: func(b *book, _ *budgets, at int64, now time.Duration) {
			b.packet("e", packet("karn", "CLOSED", true), at, now)
		}},
		{rule: "breaker-open", on: func(b *book, _ *budgets, at int64, now time.Duration) {
			b.packet("e", packet("urza", "OPEN", false), at, now)
		},
			off: func(b *book, _ *budgets, at int64, now time.Duration) {
				b.packet("e", packet("urza", "CLOSED", false), at, now)
			}, almost: func(b *book, _ *budgets, at int64, now time.Duration) {
				b.packet("e", packet("urza", "HALF_OPEN", false), at, now)
			}},
		{rule: "error-rate", on: func(b *book, _ *budgets, _ int64, now time.Duration) {
			b.watch.results.add(now, 100)
			b.watch.failures.add(now, 6)
		}, almost: func(b *book, _ *budgets, _ int64, now time.Duration) {
			b.watch.results.add(now, 10)
			b.watch.failures.add(now, 10)
		}, resolves: recent + time.Second},
		{rule: "error-budget", on: func(_ *book, g *budgets, _ int64, now time.Duration) {
			for i := range 2000 {
				g.note(query, now, i%100 != 0)
			}
		}, almost: func(_ *book, g *budgets, _ int64, now time.Duration) { g.note(query, now, false) }, resolves: 31 * 24 * time.Hour},
		{rule: "contract-mismatch", on: func(b *book, _ *budgets, at int64, now time.Duration) {
			b.packet("e", packet("leyline", "CLOSED", false, mismatchEvent), at, now)
		}, off: func(b *book, _ *budgets, at int64, now time.Duration) {
			b.packet("e", packet("leyline", "CLOSED", false, matchEvent), at+1, now)
		}, almost: func(b *book, _ *budgets, at int64, now time.Duration) {
			b.packet("e", packet("leyline", "CLOSED", false, matchEvent), at, now)
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b, g, a := newBook(100, 1000), new(budgets), newAlerts()
			now := time.Hour
			look := func() (out []string) {
				for _, ch := range a.evaluate(b, g, now, func(k string) string { return k + "/1" }) {
					a.enter(ch)
					out = append(out, ch.event.Rule+" "+ch.event.State.String())
				}
				return out
			}
			expect := func(when string, want ...string) {
				t.Helper()
				if got := look(); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("%s: %v; want %v", when, got, want)
				}
			}
			c.almost(b, g, 1000, now)
			expect("almost")
			b, g = newBook(100, 1000), new(budgets)
			c.on(b, g, 5000, now)
			if c.after > 0 {
				expect("at once", c.rule+" PENDING")
				now += c.after - time.Second
				expect("before its time")
				now += time.Second
			}
			expect("after its time", c.rule+" FIRING")
			expect("still")
			if c.off != nil {
				c.off(b, g, 9000, now)
			}
			now += c.resolves
			expect("when it is over", c.rule+" RESOLVED")
			expect("afterwards")
		})
	}
}

func TestAlertCommands(t *testing.T) {
	for _, c := range []struct {
		state, to platformv2.AlertState
		ok, same  bool
	}{
		{platformv2.AlertState_FIRING, platformv2.AlertState_ACKED, true, false},
		{platformv2.AlertState_FIRING, platformv2.AlertState_SILENCED, true, false},
		{platformv2.AlertState_ACKED, platformv2.AlertState_SILENCED, true, false},
		{platformv2.AlertState_ACKED, platformv2.AlertState_ACKED, false, true},
		{platformv2.AlertState_SILENCED, platformv2.AlertState_ACKED, false, false},
		{platformv2.AlertState_PENDING, platformv2.AlertState_ACKED, false, false},
		{platformv2.AlertState_FIRING, platformv2.AlertState_RESOLVED, false, false},
		{platformv2.AlertState_FIRING, platformv2.AlertState_PENDING, false, false},
	} {
		a := newAlerts()
		a.enter(change{key: "k", event: &platformv2.AlertEvent{AlertId: "id", State: c.state}})
		ch, err := a.command("id", c.to)
		if (err == nil) != c.ok || errors.Is(err, errSame) != c.same || c.ok && ch.event.State != c.to {
			t.Errorf("%v to %v: %v %v", c.state, c.to, ch.event, err)
		}
	}
	if _, err := newAlerts().command("nobody", platformv2.AlertState_ACKED); err == nil {
		t.Error("an alert that is not open was acknowledged")
	}
}

func TestLetters(t *testing.T) {
	l := newLetters()
	tries := 0
	read := func([]byte) bool { tries++; return false }
	if !l.add(1, 0, []byte("x"), false) || l.add(1, 0, []byte("x"), false) {
		t.Fatal("a letter counts once")
	}
	for now := time.Duration(0); now < 23*time.Hour; now += 10 * time.Second {
		l.tick(now, read)
		if want := min(int(now/time.Minute), letterAttempts-1); tries != want {
			t.Fatalf("after %v: %d attempts beside the first; want %d", now, tries, want)
		}
	}
	if l.tick(letterLife, read); len(l.list) != 0 {
		t.Error("a letter outlives its day")
	}
	for i := range letterLimit + 5 {
		l.add(int64(i), 0, nil, true)
	}
	if len(l.list) != letterLimit || l.dropped != 5 || l.known[0] || !l.known[letterLimit] {
		t.Errorf("%d letters, %d dropped", len(l.list), l.dropped)
	}
}
