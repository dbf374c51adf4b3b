package planted

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// phased is the calm triad with faults that heal after 15 s.
func phased(plan, more string) string {
	text := strings.Replace(triadWith(plan, "", ""), "expect: clean", "heal-at: 15s\nconverge-within: 30s\n"+more+"expect: clean", 1)
	return strings.Replace(text, "name: planted", "name: phases", 1)
}

func parse(t *testing.T, text string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Parse("phases.yaml", []byte(text), runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// silent answers n requests of a kind, and then none.
func silent(n int) *hooks {
	return &hooks{send: func(_ actor.ID, m canon.Message, o actor.SendOptions, pass func(canon.Message, actor.SendOptions)) {
		switch m.(type) {
		case *trainingv2.BoundaryReply, *trainingv2.ForwardReply, *trainingv2.BackwardReply:
			if n--; n < 0 {
				return
			}
		}
		pass(m, o)
	}}
}

// A bug that stops something is found, and the report names who waits for whom.
func TestWhoWaitsForWhom(t *testing.T) {
	for _, c := range []struct {
		name, plan, role string
		bug              func() *hooks
		who, of, what    string
		root, timer      string
	}{
		{"a participant that never answers", "", "kasmina", func() *hooks { return silent(400) },
			"tolaria", "kasmina", "breaker", "kasmina", ""},
		{"a timer that is not set again", "[{at: 5s, for: 5s, fault: drop kasmina -> tolaria rate=0.3}]", "tolaria", func() *hooks { return forgets("step", 30) },
			"tolaria", "", "epoch", "kasmina", "step"},
		{"a publisher that stops", "[{at: 5s, for: 5s, fault: partition oona -> tolaria}]", "tolaria", func() *hooks { return forgets("outbox", 4) },
			"tolaria", "oona", "publication", "oona", "outbox"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parse(t, phased(c.plan, ""))
			s.Checks = []string{"H1"}
			clean, err := runner.Run(s, runner.Options{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			if clean.Verdict != runner.Clean || clean.Judged["H1"] == 0 || clean.Waits != nil {
				t.Fatalf("without the bug: %s %v", clean.Verdict, clean.Violations)
			}
			r, err := runner.Run(s, runner.Options{Seed: 1, Wrap: c.bug().wrap(c.role)})
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != runner.Stuck || r.Waits == nil {
				t.Fatalf("%s %v %s", r.Verdict, r.Violations, r.Error)
			}
			text := strings.Join(r.Waits.Lines(), "\n")
			if !slices.ContainsFunc(r.Waits.Waits, func(w checkers.Wait) bool { return w.Who == c.who && w.For == c.of && w.What == c.what }) {
				t.Errorf("%s does not wait for %s with %s:\n%s", c.who, c.of, c.what, text)
			}
			if !slices.Contains(r.Waits.Roots, c.root) {
				t.Errorf("not %s in the end:\n%s", c.root, text)
			}
			if c.timer != "" && !slices.ContainsFunc(r.Waits.Timers, func(h checkers.TimerHabit) bool { return h.Node == c.role && h.Name == c.timer && h.Stopped }) {
				t.Errorf("the timer %q does not show:\n%s", c.timer, text)
			}
		})
	}
}

// When the faults heal, nodes that were to stay down come back, and what waited
// for its moment never comes.
func TestHealing(t *testing.T) {
	s := parse(t, phased("[{at: 5s, fault: crash tamiyo restart=never}, {at: 6s, fault: crash-at-op kasmina op=100000}, {at: 7s, fault: partition tolaria | kasmina}, {at: 14s, fault: pause oona}]", ""))
	steps, err := s.Steps(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range steps {
		if end := st.At + st.For; end > 15*time.Second {
			t.Errorf("%v holds beyond the healing", st)
		}
	}
	for seed := uint64(1); seed <= 5; seed++ {
		r, err := runner.Run(s, runner.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict != runner.Clean || r.Judged["H1"] == 0 || r.Judged["L7"] == 0 || r.Fired["crash-at-op"] != 0 {
			t.Errorf("seed %d: %s %v %v", seed, r.Verdict, r.Violations, r.Fired)
		}
	}
}

// The core must be well while the others stay down.
func TestCore(t *testing.T) {
	for core, bad := range map[string]string{
		"[tolaria, kasmina, oona, operator, reader]": "", // Tamiyo's decisions are done without
		"[tolaria, tamiyo, oona]":                    "", // and so are Kasmina's kernels
	} {
		s := parse(t, phased("[{at: 5s, fault: crash-host bus}]", "core: "+core+"\n"))
		r, err := runner.Run(s, runner.Options{Seed: 2})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(r.Verdict); r.Judged["H1"] == 0 && bad == "" || bad == "" && got != "clean" {
			t.Errorf("%s: %s %v", core, got, r.Violations)
		}
	}
	// A core whose coordinator forgets to ask does not go on.
	s := parse(t, phased("", "core: [tolaria, oona]\n"))
	s.Checks = []string{"H1"}
	r, err := runner.Run(s, runner.Options{Seed: 2, Wrap: forgets("cross", 30).wrap("tolaria")})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != runner.Stuck {
		t.Errorf("%s %v", r.Verdict, r.Violations)
	}
}

// A stuck run is explained without a wrapped constructor, too, by a second run.
func TestStuckRunsAreExplained(t *testing.T) {
	s := parse(t, strings.Replace(triadWith("[{at: 5s, fault: crash tolaria restart=never}]", "", ""), "expect: clean", "checks: [L7]\nexpect: clean", 1))
	r, err := runner.Run(s, runner.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != runner.Stuck || r.Waits == nil || !strings.Contains(strings.Join(r.Waits.Lines(), "\n"), "tolaria is down since 5.0") {
		t.Fatalf("%s %v", r.Verdict, r.Waits)
	}
}

// What is not to be checked is not judged, also where somebody follows it, and
// following changes nothing in a run.
func TestFollowingJudgesNothing(t *testing.T) {
	s := parse(t, strings.Replace(phased("[{at: 3s, fault: partition tamiyo | tolaria}]", ""), "converge-within: 30s", "converge-within: 1s", 1))
	s.Checks = []string{"L7", "T6"}
	plain, err := runner.Run(s, runner.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	followed, err := runner.Run(s, runner.Options{Seed: 1, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Verdict != runner.Clean || followed.Verdict != runner.Clean || followed.Judged["H1"] != 0 || plain.TraceHash != followed.TraceHash {
		t.Errorf("%s %v, followed %s %v", plain.Verdict, plain.Violations, followed.Verdict, followed.Violations)
	}
	s.Checks = []string{"H1"}
	if r, err := runner.Run(s, runner.Options{Seed: 1}); err != nil || r.Verdict != runner.Stuck {
		t.Errorf("H1 is not judged: %v %v", r.Verdict, err)
	}
}
