// Package order explores the orders in which the messages of a protocol may
// arrive: not some, but all that differ from first in, first out in up to so
// many places.
//
// A [Window] is a small world and the part of its run that a protocol takes: a
// rollback, a pause, publications and their acknowledgements. A deviation is
// one message of the window that is lost, arrives a second time, is overtaken
// by the next message of the window to the same node, or finds its receiver
// crashed just before it arrives; there is at most one crash in a schedule.
// [Explore] runs every schedule of up to so many deviations from its beginning,
// and every checker that applies judges each run.
//
// A schedule is a set of deviations at rising positions, each chosen with the
// run before it in view, so that the same set is made once only. Beyond that,
// what commutes is left out (partial-order reduction, Flanagan and Godefroid,
// POPL '05, in the stateless form that model checkers of real code use):
//
//   - Deliveries to different nodes commute. A message that no later message of
//     the window to its own node could overtake is not overtaken.
//   - A message that nobody receives, because its node is down or it was dropped,
//     is not deviated from: losing it changes nothing, and nothing depends on it.
//   - Two schedules after which every node has seen the same messages of the
//     window, starts and facts of the protocol in the same order are one; the
//     longer of them is not deviated from any further.
//
// The last is a reduction up to time: what differs in nothing but moments
// counts as equal.
package order

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/trace"
)

//go:embed windows
var worlds embed.FS

// Window is a protocol in a small world.
type Window struct {
	Name, Summary string
	From, To      time.Duration // of the run: when a message of it is sent
	// Holds says whether a message belongs to the protocol.
	Holds func(sim.Transit) bool
	// Facts are the full names of the facts that tell how the protocol went.
	Facts []string
}

// Windows lists what there is to explore.
func Windows() []*Window {
	return []*Window{
		{
			Name: "publish", Summary: "two publications, from the publisher to the reader's acknowledgement",
			To: 3 * time.Second,
			Holds: func(t sim.Transit) bool {
				return t.Type == "esper.telemetry.v2.SeedTelemetry" || t.Type != "esper.bus.v2.Subscribe" && strings.HasPrefix(t.Type, "esper.bus.v2.")
			},
			Facts: []string{"esper.evidence.v2.BusFact"},
		},
		{
			Name: "pause", Summary: "a pause and its end, from the operator over Tamiyo and the bus to Tolaria and Kasmina",
			From: 4 * time.Second, To: 6 * time.Second,
			Holds: func(t sim.Transit) bool {
				switch t.Type {
				case "esper.adaptation.v2.AdaptationCommand", "esper.adaptation.v2.CommandResult":
					return true
				case "esper.bus.v2.Delivery": // these two consume nothing but commands
					return t.To == "tolaria" || t.To == "kasmina"
				}
				return strings.HasPrefix(t.Type, "esper.pause.v2.")
			},
			Facts: []string{"esper.evidence.v2.PauseFact", "esper.evidence.v2.CommandFact"},
		},
		{
			Name: "rollback", Summary: "a rollback of Tolaria, Kasmina and Tamiyo, from the query to the last confirmation",
			From: 2 * time.Second, To: 4 * time.Second,
			Holds: func(t sim.Transit) bool {
				return strings.HasPrefix(t.Type, "esper.rollback.v2.") || t.Type == "esper.training.v2.RestorePart" || t.Type == "esper.training.v2.RollbackQuery"
			},
			Facts: []string{"esper.evidence.v2.RollbackFact"},
		},
	}
}

// Find is the window of a name; the error lists what there is.
func Find(name string) (*Window, error) {
	var names []string
	for _, w := range Windows() {
		if w.Name == name {
			return w, nil
		}
		names = append(names, w.Name)
	}
	return nil, fmt.Errorf("no window is called %q; want %q, one of %s", name, faults.Nearest(name, names), strings.Join(names, ", "))
}

// scenario is the world of a window.
func (w *Window) scenario() (*scenarios.Scenario, error) {
	name := "windows/" + w.Name + ".yaml"
	b, err := worlds.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return scenarios.Parse(name, b, runner.Catalogue())
}

// Kind is a kind of deviation.
type Kind uint8

// The deviations.
const (
	Lose Kind = iota
	Duplicate
	Overtake
	Crash
	numberOfKinds
)

var kindNames = [numberOfKinds]string{"lose", "duplicate", "overtake", "crash"}

func (k Kind) String() string {
	if k < numberOfKinds {
		return kindNames[k]
	}
	return "unknown"
}

// Deviation is what happens to one message of a window.
type Deviation struct {
	Kind Kind
	At   int           // the message's number among those of the window, from 1, in the order of sending
	By   time.Duration // of overtake and duplicate: how much later it arrives, or does so again
}

// String is a word: "lose@3", "overtake@5+250µs".
func (d Deviation) String() string {
	s := fmt.Sprintf("%s@%d", d.Kind, d.At)
	if d.By > 0 {
		s += "+" + d.By.String()
	}
	return s
}

// Schedule is a set of deviations, in the order of their numbers.
type Schedule []Deviation

// String joins the deviations with commas; ParseSchedule reads it.
func (s Schedule) String() string {
	words := make([]string, len(s))
	for i, d := range s {
		words[i] = d.String()
	}
	return strings.Join(words, ",")
}

// ParseSchedule reads a schedule; the empty string is that of no deviation.
func ParseSchedule(text string) (Schedule, error) {
	var s Schedule
	if text == "" {
		return s, nil
	}
	for _, word := range strings.Split(text, ",") {
		name, rest, _ := strings.Cut(word, "@")
		k := slices.Index(kindNames[:], name)
		if k < 0 {
			return nil, fmt.Errorf("%q: no deviation is called %q; want %q, one of %s", word, name, faults.Nearest(name, kindNames[:]), strings.Join(kindNames[:], ", "))
		}
		number, by, timed := strings.Cut(rest, "+")
		d := Deviation{Kind: Kind(k)}
		var err error
		if d.At, err = strconv.Atoi(number); err != nil || d.At < 1 {
			return nil, fmt.Errorf("%q: the message is %q; want its number in the window, from 1, such as %s@1", word, number, name)
		}
		if needs := d.Kind == Duplicate || d.Kind == Overtake; needs != timed {
			want := fmt.Sprintf("%s@%d", name, d.At)
			if needs {
				want += "+1ms"
			}
			return nil, fmt.Errorf("%q: want %s", word, want)
		}
		if timed {
			if d.By, err = time.ParseDuration(by); err != nil || d.By <= 0 {
				return nil, fmt.Errorf("%q: %q is no positive duration; want one such as 250µs", word, by)
			}
		}
		if n := len(s); n > 0 && s[n-1].At >= d.At {
			return nil, fmt.Errorf("%q does not come after %q; want one deviation a message, in rising order", word, s[n-1])
		}
		s = append(s, d)
	}
	return s, nil
}

// crashes says whether a node is crashed in the schedule.
func (s Schedule) crashes() bool {
	return slices.ContainsFunc(s, func(d Deviation) bool { return d.Kind == Crash })
}

// Message is one message of a window as it went.
type Message struct {
	From, To string
	Type     string
	Sent     time.Duration
	Arrives  time.Duration // by the link, before any deviation
	Received bool
}

// String is one line.
func (m Message) String() string {
	return fmt.Sprintf("%s %s → %s %s", trace.Stamp(int64(m.Sent)), m.From, m.To, m.Type)
}

// Run is one schedule as it went.
type Run struct {
	Schedule   Schedule
	Messages   []Message
	Violations []checkers.Violation
	seen       uint64 // what every node saw of the window, in its order
}

// watch folds what each node sees of a window, and has messages deviate.
type watch struct {
	w     *Window
	r     *Run
	nodes map[string]uint64
	sent  map[uint64]int // message by its event's number
	next  int            // of the schedule
}

// deviate numbers the messages of the window.
func (v *watch) deviate(t sim.Transit) (d sim.Deviation) {
	if t.Sent < v.w.From || t.Sent > v.w.To || !v.w.Holds(t) {
		return d
	}
	v.sent[t.Seq] = len(v.r.Messages)
	v.r.Messages = append(v.r.Messages, Message{From: string(t.From), To: string(t.To), Type: t.Type, Sent: t.Sent, Arrives: t.Arrives})
	if v.next == len(v.r.Schedule) || v.r.Schedule[v.next].At != len(v.r.Messages) {
		return d
	}
	s := v.r.Schedule[v.next]
	v.next++
	switch s.Kind {
	case Lose:
		d.Lose = true
	case Duplicate:
		d.Copy = s.By
	case Overtake:
		d.Delay = s.By
	case Crash:
		d.Crash = true
	}
	return d
}

// Observe implements trace.Observer.
func (v *watch) Observe(e *trace.Event) {
	fold := func(node string, words ...uint64) {
		h := trace.Mix(v.nodes[node], uint64(e.Kind))
		for _, w := range words {
			h = trace.Mix(h, w)
		}
		v.nodes[node] = h
	}
	switch e.Kind {
	case trace.NodeStarted, trace.NodeCrashed, trace.NodeExited:
		fold(e.Node)
	case trace.FactDeclared:
		if slices.Contains(v.w.Facts, e.Text) {
			fold(e.Node, trace.NodeSum(e.Text), trace.Bytes(0, e.Data))
		}
	case trace.MessageDelivered:
		if i, ok := v.sent[e.Cause]; ok {
			m := &v.r.Messages[i]
			m.Received = true
			fold(e.Peer, trace.NodeSum(m.From), trace.NodeSum(m.Type))
		}
	}
}

// seen is what every node saw.
func (v *watch) seen() uint64 {
	h := uint64(0)
	for node, sum := range v.nodes {
		h += trace.Mix(trace.NodeSum(node), sum) // the order of the map must not matter
	}
	return h
}

// Options of a search.
type Options struct {
	Deviations int // of a schedule at most; at least 0
	Jobs       int // runs at once; 0 is 1
	// Wrap plants a bug; see runner.Options.
	Wrap func(node, role string, c actor.Constructor) actor.Constructor
	// Progress is told how many of the schedules of one number of deviations
	// were run.
	Progress func(done, total int)
}

// Result is what a search found.
type Result struct {
	Window     *Window `json:"-"`
	Deviations int     `json:"deviations"` // of a schedule at most
	Messages   int     `json:"messages"`   // of the window without deviations
	Schedules  int     `json:"schedules"`  // that there are within the bound
	Pruned     int     `json:"pruned"`     // of these: equal to another, or a deviation from what nobody receives
	Equal      int     `json:"equal"`      // schedules that were run, and not deviated from further
	Runs       int     `json:"runs"`
	// Guilty is the first of the shortest schedules that break a promise.
	Guilty *Run `json:"-"`
}

// One runs one schedule. An error means that the run could not be made.
func One(w *Window, s Schedule, wrap func(node, role string, c actor.Constructor) actor.Constructor) (*Run, error) {
	file, err := w.scenario()
	if err != nil {
		return nil, err
	}
	r := &Run{Schedule: s}
	v := &watch{w: w, r: r, nodes: map[string]uint64{}, sent: map[uint64]int{}}
	res, err := runner.Run(file, runner.Options{Seed: 1, Deviate: v.deviate, Observers: []trace.Observer{v}, Wrap: wrap})
	if err != nil {
		return nil, err
	}
	if res.Verdict == runner.Broken {
		return nil, fmt.Errorf("window %s, schedule %q: %s", w.Name, s, res.Error)
	}
	if v.next < len(s) && len(res.Violations) == 0 {
		return nil, fmt.Errorf("schedule %q: there is no message %d; the window %s has %d in this schedule", s, s[v.next].At, w.Name, len(r.Messages))
	}
	r.Violations, r.seen = res.Violations, v.seen()
	return r, nil
}

// Explore runs every schedule. If a promise is broken the search ends with the
// schedules of that many deviations.
func Explore(w *Window, o Options) (*Result, error) {
	if o.Deviations < 0 {
		return nil, errors.New("the number of deviations is negative; want at least 0")
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	res := &Result{Window: w, Deviations: o.Deviations}
	level := []Schedule{nil}
	// The last position of the shortest schedules with what was seen.
	type reach struct{ deviations, last int }
	known := map[uint64][]reach{}
	for n := 0; ; n++ {
		runs, err := all(w, level, o)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			res.Messages = len(runs[0].Messages)
		}
		var next []Schedule
		for _, r := range runs {
			res.Runs++
			res.Schedules++
			if len(r.Violations) > 0 {
				res.Guilty = r
				return res, nil
			}
			last := 0
			if n > 0 {
				last = r.Schedule[n-1].At
			}
			equal := slices.ContainsFunc(known[r.seen], func(k reach) bool { return k.last <= last })
			known[r.seen] = append(known[r.seen], reach{n, last})
			if n == o.Deviations {
				continue
			}
			made, commuting := r.deviations(last)
			if equal {
				res.Equal++
				res.Schedules += len(made) + commuting
				res.Pruned += len(made) + commuting
				continue
			}
			res.Schedules += commuting
			res.Pruned += commuting
			next = append(next, made...)
		}
		if n == o.Deviations {
			return res, nil
		}
		level = next
		if len(level) == 0 {
			return res, nil
		}
	}
}

// all runs schedules, in parallel; the results are in their order. Behind the
// first that breaks a promise none need be run.
func all(w *Window, list []Schedule, o Options) ([]*Run, error) {
	runs := make([]*Run, len(list))
	errs := make([]error, len(list))
	var next, done, guilty atomic.Int64
	guilty.Store(int64(len(list)))
	var wg sync.WaitGroup
	var progress sync.Mutex
	for range max(o.Jobs, 1) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= len(list) || i > int(guilty.Load()) {
					return
				}
				runs[i], errs[i] = One(w, list[i], o.Wrap)
				if r := runs[i]; r != nil && len(r.Schedule) == o.Deviations {
					// Nothing is made of it: its messages would fill the memory.
					if len(r.Violations) == 0 && len(r.Schedule) > 0 {
						r.Messages = nil
					}
				}
				progress.Lock()
				if r := runs[i]; r != nil && len(r.Violations) > 0 {
					guilty.Store(min(guilty.Load(), int64(i)))
				}
				o.Progress(int(done.Add(1)), len(list))
				progress.Unlock()
			}
		}()
	}
	wg.Wait()
	return runs, errors.Join(errs...)
}

// horizon bounds how long a message is held back to be overtaken.
const horizon = time.Second

// deviations lists the schedules with one deviation more, behind a position,
// and counts those that commute with what is there.
func (r *Run) deviations(after int) (list []Schedule, commuting int) {
	for i := after; i < len(r.Messages); i++ {
		m := &r.Messages[i]
		if !m.Received {
			commuting += int(numberOfKinds)
			continue
		}
		behind := time.Duration(0)
		for j := range r.Messages {
			o := &r.Messages[j]
			if gap := o.Arrives - m.Arrives; j != i && o.To == m.To && o.Received && (gap > 0 || gap == 0 && j > i) && gap < horizon && (behind == 0 || gap+time.Microsecond < behind) {
				behind = gap + time.Microsecond
			}
		}
		for k := range numberOfKinds {
			d := Deviation{Kind: k, At: i + 1}
			switch {
			case k == Overtake && behind == 0, k == Crash && r.Schedule.crashes():
				commuting++
				continue
			case k == Overtake:
				d.By = behind
			case k == Duplicate:
				d.By = max(behind, time.Microsecond)
			}
			list = append(list, append(slices.Clone(r.Schedule), d))
		}
	}
	return list, commuting
}

// Repro is the command that shows a schedule again.
func (r *Run) Repro(w *Window) string {
	return fmt.Sprintf("espersim explore order --window %s --schedule %s", w.Name, r.Schedule)
}
