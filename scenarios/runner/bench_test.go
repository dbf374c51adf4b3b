package runner_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
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
	s := load(b, file)
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
