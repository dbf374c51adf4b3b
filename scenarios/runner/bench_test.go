package runner_test

import (
	"testing"

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
