package runner_test

import (
	"strings"
	"testing"

	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim"
)

// What a run draws is a function of its seed, differs from seed to seed, and
// amounts to explicit steps and settings that make the same run.
func TestSwarmDraws(t *testing.T) {
	s, err := scenarios.Load("../triad-swarm.yaml", runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{}
	taken := map[string]uint64{}
	for seed := uint64(1); seed <= 8; seed++ {
		r, err := runner.Run(s, runner.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict != runner.Clean {
			t.Fatalf("seed %d: %v %s", seed, r.Violations, r.Error)
		}
		drawn[strings.Join(r.Swarm, "\n")] = true
		for p, n := range r.Probes {
			if site, ok := strings.CutPrefix(p, "sometimes/"); ok {
				taken[site] += n
			}
		}
		keyed := sim.NewSource(seed)
		d, err := s.Draw(0, keyed)
		if err != nil {
			t.Fatal(err)
		}
		explicit := s.Explicit(r.Plan, d)
		text, err := scenarios.Format(explicit)
		if err != nil {
			t.Fatal(err)
		}
		back, err := scenarios.Parse("explicit.yaml", text, runner.Catalogue())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		again, err := runner.Run(back, runner.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if again.TraceHash != r.TraceHash {
			t.Errorf("seed %d: %s, and as an explicit scenario %s", seed, r.TraceHash, again.TraceHash)
		}
	}
	if len(drawn) != 8 {
		t.Errorf("%d different draws for 8 run seeds", len(drawn))
	}
	for site := range taken {
		if _, ok := faults.FindSite(site); !ok && faults.Lookup("bus/"+site) == nil {
			t.Errorf("the site %q is in no list", site)
		}
	}
	if taken["trim-pending"] > 0 || taken["poison"] > 0 {
		t.Errorf("faults that a correct bus need not survive: %v", taken)
	}
}

// Sites are neutral: with all of them on all the time, nothing is violated.
func TestSitesAreNeutral(t *testing.T) {
	for _, file := range []string{"../triad-calm.yaml", "../wal-hardened.yaml", "../contracts/rolling-upgrade.yaml"} {
		s, err := scenarios.Load(file, runner.Catalogue())
		if err != nil {
			t.Fatal(err)
		}
		for _, rate := range []float64{0.25, 1} {
			s.Sites = nil
			for _, site := range faults.Sites() {
				s.Sites = append(s.Sites, scenarios.Site{Name: site.Name, Rate: rate})
			}
			for seed := uint64(1); seed <= 4; seed++ {
				r, err := runner.Run(s, runner.Options{Seed: seed})
				if err != nil {
					t.Fatal(err)
				}
				if r.Verdict != runner.Clean {
					t.Errorf("%s, rate %v, seed %d: %v %s", file, rate, seed, r.Violations, r.Error)
				}
			}
		}
	}
}
