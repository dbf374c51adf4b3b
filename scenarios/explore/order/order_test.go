package order_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/explore/order"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim"
)

func find(t testing.TB, name string) *order.Window {
	t.Helper()
	w, err := order.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The real protocols keep every promise under every schedule, within a smaller
// bound than that of make explore.
func TestPromisesAreKept(t *testing.T) {
	for name, deviations := range map[string]int{"publish": 2, "pause": 1, "rollback": 1} {
		t.Run(name, func(t *testing.T) {
			r, err := order.Explore(find(t, name), order.Options{Deviations: deviations})
			if err != nil {
				t.Fatal(err)
			}
			if g := r.Guilty; g != nil {
				t.Fatalf("%v\n%s", g.Violations, g.Repro(r.Window))
			}
			// Four for each message and no deviation at all, less what commutes.
			if want := 1 + 4*r.Messages - r.Pruned; deviations == 1 && r.Runs != want {
				t.Errorf("%d runs; want %d", r.Runs, want)
			}
			if r.Schedules != r.Runs+r.Pruned || r.Messages < 8 || r.Pruned == 0 {
				t.Errorf("%+v", *r)
			}
			t.Logf("%+v", *r)
		})
	}
}

// Each deviation is seen by the one that it is meant for, and by nobody before.
func TestDeviationsHappen(t *testing.T) {
	w := find(t, "publish")
	calm, err := order.One(w, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	run := func(schedule string) *order.Run {
		s, err := order.ParseSchedule(schedule)
		if err != nil {
			t.Fatal(err)
		}
		r, err := order.One(w, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Violations) > 0 {
			t.Errorf("%s: %v", schedule, r.Violations)
		}
		return r
	}
	if r := run("lose@1"); r.Messages[0].Received || len(r.Messages) <= len(calm.Messages) {
		t.Error("a lost publication was received, or nobody sent it again")
	}
	if r := run("duplicate@1+30ms"); !r.Messages[0].Received || len(r.Messages) == len(calm.Messages) && fmt.Sprint(r.Messages) == fmt.Sprint(calm.Messages) {
		t.Error("the bus does not answer a second copy")
	}
	if r := run("crash@1"); r.Messages[0].Received {
		t.Error("a crashed node received a message")
	}
	if r := run("overtake@1+30ms"); fmt.Sprint(r.Messages) == fmt.Sprint(calm.Messages) {
		t.Error("nothing was overtaken")
	}
}

// A run that is asked about each message and changes none is the same run.
func TestAskingChangesNothing(t *testing.T) {
	s, err := scenarios.Load("windows/publish.yaml", runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	var hashes []string
	asked := 0
	for _, deviate := range []func(sim.Transit) sim.Deviation{nil, func(sim.Transit) sim.Deviation { asked++; return sim.Deviation{} }} {
		r, err := runner.Run(s, runner.Options{Seed: 1, Deviate: deviate})
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, r.TraceHash)
	}
	if asked == 0 || hashes[0] != hashes[1] {
		t.Errorf("asked %d times; trace hashes %v", asked, hashes)
	}
}

// The numbers are the same for any number of jobs.
func TestJobsChangeNothing(t *testing.T) {
	var first string
	for _, jobs := range []int{1, 3} {
		r, err := order.Explore(find(t, "publish"), order.Options{Deviations: 1, Jobs: jobs})
		if err != nil {
			t.Fatal(err)
		}
		r.Window = nil
		if s := fmt.Sprintf("%+v", *r); first == "" {
			first = s
		} else if s != first {
			t.Errorf("%d jobs: %s\n1 job: %s", jobs, s, first)
		}
	}
}

// eager is a process that obeys a command again when it is delivered again.
type eager struct {
	actor.Actor
	actor.Recorder
	seen    map[int64]bool
	applied *evidencev2.CommandFact
}

func (a *eager) Record(m canon.Message) {
	if f, ok := m.(*evidencev2.CommandFact); ok && strings.HasPrefix(f.CommandId, "pause/") {
		c := &evidencev2.CommandFact{}
		if err := c.ParseCanonical(f.AppendCanonical(nil)); err == nil {
			a.applied = c
		}
	}
	a.Recorder.Record(m)
}

func (a *eager) Receive(from actor.ID, m canon.Message) error {
	if d, ok := m.(*busv2.Delivery); ok {
		if a.seen[d.Offset] && a.applied != nil {
			a.Recorder.Record(a.applied)
		}
		a.seen[d.Offset] = true
	}
	return a.Actor.Receive(from, m)
}

// A bug that only a duplicate shows: the calm run is clean, and one deviation
// is enough. What is found shows again.
func TestPlantedBugIsFound(t *testing.T) {
	wrap := func(node, role string, make actor.Constructor) actor.Constructor {
		if role != "kasmina" {
			return make
		}
		return func(env actor.Env) (actor.Actor, error) {
			a := &eager{Recorder: env.Facts, seen: map[int64]bool{}}
			env.Facts = a
			inner, err := make(env)
			a.Actor = inner
			return a, err
		}
	}
	w := find(t, "pause")
	r, err := order.Explore(w, order.Options{Deviations: 1, Wrap: wrap})
	if err != nil {
		t.Fatal(err)
	}
	g := r.Guilty
	if g == nil {
		t.Fatal("it is not found")
	}
	t.Logf("%v\n%s", g.Violations, g.Repro(w))
	if len(g.Schedule) != 1 {
		t.Errorf("%s: one deviation is enough", g.Schedule)
	}
	s, err := order.ParseSchedule(g.Schedule.String())
	if err != nil {
		t.Fatal(err)
	}
	again, err := order.One(w, s, wrap)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(again.Violations) != fmt.Sprint(g.Violations) {
		t.Errorf("again it is %v", again.Violations)
	}
}

func TestParseSchedule(t *testing.T) {
	for _, s := range []string{"", "lose@3", "duplicate@1+1ms,overtake@5+250µs,crash@9"} {
		if got, err := order.ParseSchedule(s); err != nil || got.String() != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"loose@3":         `want "lose"`,
		"lose":            "such as lose@1",
		"lose@0":          "such as lose@1",
		"lose@3+1ms":      "want lose@3",
		"duplicate@3":     "want duplicate@3+1ms",
		"overtake@3+0s":   "no positive duration",
		"lose@3,crash@3":  "rising order",
		"lose@3,,crash@5": "no deviation",
	} {
		if _, err := order.ParseSchedule(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", s, err, want)
		}
	}
	if _, err := order.One(find(t, "publish"), order.Schedule{{Kind: order.Lose, At: 1000}}, nil); err == nil || !strings.Contains(err.Error(), "no message 1000") {
		t.Errorf("message 1000: %v", err)
	}
	if _, err := order.Find("rolback"); err == nil || !strings.Contains(err.Error(), `want "rollback"`) {
		t.Errorf("rolback: %v", err)
	}
	if _, err := order.Explore(find(t, "publish"), order.Options{Deviations: -1}); err == nil {
		t.Error("a negative number is no error")
	}
}

// All schedules of two publications with at most one deviation.
func Example() {
	w, err := order.Find("publish")
	if err != nil {
		panic(err)
	}
	r, err := order.Explore(w, order.Options{Deviations: 1})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Messages, "messages,", r.Schedules, "schedules,", r.Runs, "runs, guilty:", r.Guilty != nil)
	// Output:
	// 10 messages, 41 schedules, 38 runs, guilty: false
}
