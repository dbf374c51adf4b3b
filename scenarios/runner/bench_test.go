package runner_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim/trace"
)

func load(b testing.TB, file string) *scenarios.Scenario {
	s, err := scenarios.Load("../"+file, runner.Catalogue())
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// benchTriad runs one seed after another and reports simulated seconds a wall
// second on one core, and what happens in one.
func benchTriad(b *testing.B, file string, o runner.Options) {
	benchScenario(b, load(b, file), o)
}

func benchScenario(b *testing.B, s *scenarios.Scenario, o runner.Options) {
	var simMS, events, messages uint64
	b.ReportAllocs()
	for b.Loop() {
		o.Seed++
		r, err := runner.Run(s, o)
		if err != nil {
			b.Fatal(err)
		}
		if r.Verdict != runner.Clean {
			b.Fatalf("run seed %d: %s %v", r.RunSeed, r.Verdict, r.First())
		}
		simMS += uint64(r.SimMS)
		events += r.Events
		messages += r.Messages
	}
	sim := float64(simMS) / 1000
	seen = events
	b.ReportMetric(sim/b.Elapsed().Seconds(), "simulated-s/s")
	b.ReportMetric(float64(events)/sim, "events/simulated-s")
	b.ReportMetric(float64(messages)/sim, "messages/simulated-s")
}

// BenchmarkTriadSurvivable is the triad under everything survivable, all
// checkers on. Goal: at least 1,000 simulated seconds a second on one core, at
// 200 events or more a simulated second, 100 or more of them messages.
func BenchmarkTriadSurvivable(b *testing.B) {
	benchTriad(b, "triad-survivable.yaml", runner.Options{})
}

// BenchmarkTriadUnjudged is the same without checkers, the yardstick for what
// they cost.
func BenchmarkTriadUnjudged(b *testing.B) {
	benchTriad(b, "triad-survivable.yaml", runner.Options{NoJudge: true})
}

// BenchmarkTriadCalm is the triad without faults.
func BenchmarkTriadCalm(b *testing.B) { benchTriad(b, "triad-calm.yaml", runner.Options{}) }

// BenchmarkClusterSurvivable is the whole cluster under everything survivable, all
// checkers on. Goal: at least 500 simulated seconds a second on one core, at 400
// events or more a simulated second. loops/event is how many turns of the bare loop
// an event takes, whatever the machine.
func BenchmarkClusterSurvivable(b *testing.B) {
	benchTriad(b, "cluster/everything-paced.yaml", runner.Options{})
	perEvent(b)
}

// BenchmarkClusterDense is the same with three times as many events a second.
func BenchmarkClusterDense(b *testing.B) {
	benchTriad(b, "cluster/everything.yaml", runner.Options{})
	perEvent(b)
}

// BenchmarkClusterUnjudged is the same without checkers.
func BenchmarkClusterUnjudged(b *testing.B) {
	benchTriad(b, "cluster/everything-paced.yaml", runner.Options{NoJudge: true})
}

// BenchmarkClusterCalm is the whole cluster without faults.
func BenchmarkClusterCalm(b *testing.B) { benchTriad(b, "cluster/calm.yaml", runner.Options{}) }

// BenchmarkClusterDay is half an hour of an ordinary day. Goal: 24 hours in less
// than two minutes, which is 720 simulated seconds a second at 100 events or more.
func BenchmarkClusterDay(b *testing.B) {
	s := load(b, "cluster/ordinary-day.yaml")
	s.Duration = scenarios.Duration(30 * time.Minute)
	s.Random = nil // they are to have come to an end an hour before the day has
	benchScenario(b, s, runner.Options{})
}

// started notes when the first epoch was told of.
type started struct{ at time.Time }

func (s *started) Observe(e *trace.Event) {
	if e.Kind != trace.MessageSent || !s.at.IsZero() {
		return
	}
	if m, ok := e.Value.(*wire.Mail); ok {
		if ev, ok := m.Payload.(*eventsv2.EpochEvent); ok && ev.Phase == eventsv2.EpochPhase_STARTED {
			s.at = time.Now()
		}
	}
}

// BenchmarkClusterBoot is from nothing to the whole cluster's first epoch. Goal: at
// most 50 ms.
func BenchmarkClusterBoot(b *testing.B) {
	s := load(b, "cluster/calm.yaml")
	s.Duration = scenarios.Duration(3 * time.Second)
	var boot time.Duration
	for b.Loop() {
		first := &started{}
		began := time.Now()
		if r, err := runner.Run(s, runner.Options{Seed: 1, Observers: []trace.Observer{first}}); err != nil || r.Verdict != runner.Clean || first.at.IsZero() {
			b.Fatal(r, err)
		}
		boot += first.at.Sub(began)
	}
	b.ReportMetric(float64(boot.Microseconds())/1000/float64(b.N), "ms-to-first-epoch")
}

// perEvent reports what an event took in turns of the bare loop.
func perEvent(b *testing.B) {
	const turns = 100_000_000
	began := time.Now()
	sink.Add(spin(turns))
	loop := time.Since(began).Seconds() / turns
	b.ReportMetric(b.Elapsed().Seconds()/float64(seen)/loop, "loops/event")
}

// seen is how many events the last benchmark of runs has had.
var seen uint64

// spin is the bare loop: work that shares nothing with anybody.
func spin(n int) uint64 {
	h := uint64(n)
	for range n {
		h = h*0x9e3779b97f4a7c15 + 1
		h ^= h >> 29
	}
	return h
}

// BenchmarkSecondCore says what a second core brings to a batch of runs, and
// to two bare loops in the same minute. Goal: at least 0.95 of what it brings
// the loops.
func BenchmarkSecondCore(b *testing.B) {
	s := load(b, "triad-survivable.yaml")
	const runs = 60
	batch := func(jobs int) time.Duration {
		began := time.Now()
		if _, err := runner.Sweep([]*scenarios.Scenario{s}, runner.Plan{First: 1, Seeds: runs, Jobs: jobs}); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	loops := func(jobs int) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		for range jobs {
			wg.Go(func() { sink.Add(spin(400_000_000 / jobs)) })
		}
		wg.Wait()
		return time.Since(began)
	}
	var one, two, loopOne, loopTwo time.Duration
	for b.Loop() {
		one += batch(1)
		two += batch(2)
		loopOne += loops(1)
		loopTwo += loops(2)
	}
	gain, loopGain := one.Seconds()/two.Seconds(), loopOne.Seconds()/loopTwo.Seconds()
	b.ReportMetric(gain, "gain")
	b.ReportMetric(loopGain, "loop-gain")
	b.ReportMetric(gain/loopGain, "share")
}

var sink atomic.Uint64
