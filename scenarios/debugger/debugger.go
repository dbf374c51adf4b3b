// Package debugger walks through a run: to an event, a time or a violation, one
// event at a time, and back again by making the run once more. At each place it
// shows what can be seen from outside of a process: its state, timers, messages,
// facts and files, and what is on its way.
//
// It is driven by lines of text, from a person or from a script, and looks at a
// run only in ways that change nothing in it: the trace hash at the end is that
// of the run by itself.
package debugger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim/trace"
)

// Options of a session.
type Options struct {
	Run runner.Options // seed, value of $n and what else makes the run
	In  io.Reader      // one command a line
	Out io.Writer
	// Prompt is printed before each line is read; empty: the lines are printed as they are
	// read instead, so that the output of a script can be followed.
	Prompt string
	// Done, if set, gets what the run came to where the session left it.
	Done func(*runner.Result)
}

// ErrCommand says that at least one line was no command or failed; each was
// answered with a line that says why.
var ErrCommand = errors.New("a command failed")

// kept bounds the events, facts and messages that can be shown.
const kept = 4096

// line is an event as it is shown.
type line struct {
	seq        uint64
	at         int64
	kind       trace.Kind
	node, peer string
	text       string
}

// session is a run in somebody's hands.
type session struct {
	o     Options
	s     *scenarios.Scenario
	in    *bufio.Scanner
	codec *wire.Codec
	*runner.Driven
	lines []line // the last events, at most twice kept
	fresh int    // of lines: from where on they are new
	found int    // violations that were told
	over  bool   // the run has ended and was judged
	bad   bool   // a command failed
	// stop, if set, says whether to halt behind an event.
	stop func(line) bool
	hit  bool
	goal uint64 // after going back: the event to run to
	quit bool
}

// errBack makes the run once more, to the session's goal.
var errBack = errors.New("once more")

// Run reads commands until there are no more, or until quit.
func Run(s *scenarios.Scenario, o Options) error {
	x := &session{o: o, s: s, in: bufio.NewScanner(o.In), codec: wire.NewCodec()}
	x.in.Buffer(nil, 1<<20)
	for again := true; again; {
		again = false
		x.lines, x.fresh, x.found, x.over, x.stop = nil, 0, 0, false, nil
		run := o.Run
		run.All, run.Follow, run.Observers = true, true, []trace.Observer{x}
		run.Drive = func(d *runner.Driven) error {
			x.Driven = d
			err := x.drive()
			if errors.Is(err, errBack) {
				again = true
			}
			return err
		}
		r, err := runner.Run(s, run)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		if r.Error != "" {
			return errors.New(r.Error)
		}
		if o.Done != nil {
			o.Done(r)
		}
	}
	if err := x.in.Err(); err != nil {
		return err
	}
	if x.bad {
		return ErrCommand
	}
	return nil
}

// drive is one making of the run.
func (x *session) drive() error {
	if x.goal > 0 {
		goal := x.goal
		x.goal = 0
		if err := x.halt(func(l line) bool { return l.seq >= goal }, x.End); err != nil {
			return err
		}
		x.fresh, x.found = len(x.lines), len(x.Suite.Violations)
		x.where()
	} else if x.World.Trace().Len() == 0 {
		x.printf("%s, run seed %d: %d faults are planned, up to %v\n", x.s.Name, x.o.Run.Seed, len(x.Steps), x.End)
	}
	for !x.quit {
		if x.o.Prompt != "" {
			x.printf("%s", x.o.Prompt)
		}
		if !x.in.Scan() {
			return nil
		}
		text := strings.TrimSpace(x.in.Text())
		if x.o.Prompt == "" && text != "" {
			x.printf("> %s\n", text)
		}
		words := strings.Fields(text)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		err := x.command(words[0], words[1:])
		if errors.Is(err, errBack) {
			return err
		}
		if err != nil {
			x.bad = true
			x.printf("error: %v\n", err)
		}
	}
	return nil
}

func (x *session) printf(format string, args ...any) { fmt.Fprintf(x.o.Out, format, args...) }

// Observe implements trace.Observer.
func (x *session) Observe(e *trace.Event) {
	if len(x.lines) == 2*kept {
		x.fresh = max(x.fresh-kept, 0)
		x.lines = append(x.lines[:0], x.lines[kept:]...)
	}
	l := line{seq: e.Seq, at: e.At, kind: e.Kind, node: e.Node, peer: e.Peer, text: e.String() + x.content(e)}
	x.lines = append(x.lines, l)
	if x.stop != nil && x.stop(l) {
		x.hit = true
		x.World.Stop()
	}
}

// content is what a message or a fact says.
func (x *session) content(e *trace.Event) string {
	switch e.Kind {
	case trace.MessageSent, trace.MessageDelivered:
		env, m, err := x.codec.Open(e.Data)
		if err != nil {
			return " (" + err.Error() + ")"
		}
		s := " " + short(m.FullName())
		if env.Topic != "" {
			s += " on " + env.Topic
		}
		return s + " {" + brief(fmt.Sprint(m)) + "}"
	case trace.FactDeclared:
		m, err := x.codec.Parse(e.Text, e.Data)
		if err != nil {
			return " (" + err.Error() + ")"
		}
		return " {" + brief(fmt.Sprint(m)) + "}"
	}
	return ""
}

func short(fullName string) string { return fullName[strings.LastIndexByte(fullName, '.')+1:] }

func brief(s string) string {
	// The text form of protobuf-go has random white space on purpose.
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 120 {
		s = string(r[:120]) + "…"
	}
	return s
}

// halt runs until an event that stop names, a violation, or a time.
func (x *session) halt(stop func(line) bool, until time.Duration) error {
	x.stop, x.hit = stop, false
	x.World.Resume()
	before := len(x.Suite.Violations)
	violated := stop
	x.stop = func(l line) bool {
		return violated != nil && violated(l) || x.goal == 0 && len(x.Suite.Violations) > before
	}
	err := x.World.Run(until)
	x.stop = nil
	return err
}

// advance is halt for a command: it tells what was come to.
func (x *session) advance(stop func(line) bool, until time.Duration, show bool) error {
	if x.over {
		return errors.New("the run is over; want back, or quit")
	}
	x.fresh = len(x.lines)
	if err := x.halt(stop, until); err != nil {
		return err
	}
	if show {
		for _, l := range x.lines[min(x.fresh, len(x.lines)):] {
			x.printf("%s\n", l.text)
		}
	}
	x.told()
	if !x.hit && until >= x.End {
		x.finish()
	}
	if !show || x.over {
		x.where()
	}
	return nil
}

// told prints the violations that are new.
func (x *session) told() {
	for _, v := range x.Suite.Violations[min(x.found, len(x.Suite.Violations)):] {
		x.printf("%s\n", v)
	}
	x.found = len(x.Suite.Violations)
}

// finish judges what only the end of a run can show.
func (x *session) finish() {
	x.over = true
	found, err := x.Suite.Finish()
	if err != nil {
		x.printf("error: %v\n", err)
	}
	if len(found) == 0 {
		x.printf("the run is over: clean\n")
		return
	}
	x.told()
	x.printf("the run is over: %d violations\n", len(found))
}

// where says where the run stands.
func (x *session) where() {
	x.printf("at %s, behind event #%d\n", trace.Stamp(int64(x.World.Now())), x.World.Trace().Len())
}

// target is a place in a run: "#120" or "120", a time such as "12.5s", a kind of
// event and perhaps a node, "violation" or "end".
func (x *session) target(words []string) (stop func(line) bool, until time.Duration, err error) {
	until = x.End
	if len(words) == 0 || words[0] == "end" && len(words) == 1 {
		return nil, until, nil
	}
	if words[0] == "violation" && len(words) == 1 {
		return nil, until, nil // each stops a run
	}
	if n, err := strconv.ParseUint(strings.TrimPrefix(words[0], "#"), 10, 64); err == nil && len(words) == 1 {
		if n <= x.World.Trace().Len() {
			return nil, 0, fmt.Errorf("event #%d has happened; want back #%d", n, n)
		}
		return func(l line) bool { return l.seq >= n }, until, nil
	}
	if d, err := time.ParseDuration(words[0]); err == nil && len(words) == 1 {
		switch {
		case d < x.World.Now():
			return nil, 0, fmt.Errorf("%v is over; want back %v", d, d)
		case d > x.End:
			return nil, 0, fmt.Errorf("the run ends at %v; want an earlier time", x.End)
		}
		return nil, d, nil
	}
	kinds := eventKinds()
	if !slices.Contains(kinds, words[0]) {
		return nil, 0, fmt.Errorf("%q is no event such as #120, no time such as 12.5s and no kind of event; want %q", words[0], nearestKind(words[0], kinds))
	}
	node := ""
	if len(words) > 1 {
		if node, err = x.node(words[1:]); err != nil {
			return nil, 0, err
		}
	}
	return func(l line) bool {
		return l.kind.String() == words[0] && (node == "" || l.node == node || l.peer == node)
	}, until, nil
}

// nearestKind is a kind of which the word is a part, else the nearest.
func nearestKind(word string, kinds []string) string {
	for _, k := range kinds {
		if strings.Contains(k, word) {
			return k
		}
	}
	return faults.Nearest(word, append(slices.Clone(kinds), "violation", "end"))
}

func eventKinds() (list []string) {
	for k := trace.Kind(1); !strings.HasPrefix(k.String(), "kind("); k++ {
		list = append(list, k.String())
	}
	return list
}

// node is the one name that a command was given.
func (x *session) node(words []string) (string, error) {
	names := x.World.Nodes()
	if len(words) != 1 {
		return "", fmt.Errorf("want one node: %s", strings.Join(names, ", "))
	}
	if !slices.Contains(names, words[0]) {
		return "", fmt.Errorf("there is no node %q; want %q", words[0], faults.Nearest(words[0], names))
	}
	return words[0], nil
}

// back makes the run once more, to an earlier place.
func (x *session) back(words []string) error {
	now := x.World.Trace().Len()
	goal := x.World.Before()
	if len(words) > 0 {
		w := words[0]
		if d, err := time.ParseDuration(w); err == nil && len(words) == 1 {
			if d >= x.World.Now() {
				return fmt.Errorf("%v is not over; want run %v", d, d)
			}
			goal = 0
			for _, l := range x.lines {
				if l.at <= int64(d) {
					goal = l.seq
				}
			}
			if len(x.lines) == 0 || x.lines[0].at > int64(d) {
				return fmt.Errorf("%v is further back than the last %d events; want back #N", d, len(x.lines))
			}
		} else if n, err := strconv.ParseUint(strings.TrimPrefix(w, "#"), 10, 64); err == nil && len(words) == 1 && n > 0 {
			if goal = n; w[0] != '#' {
				if n >= now {
					return fmt.Errorf("only %d events have happened; want fewer", now)
				}
				goal = now - n
			}
		} else {
			return fmt.Errorf("%q is no number of events, no event such as #120 and no time such as 12.5s; want back 10", strings.Join(words, " "))
		}
	}
	if goal == 0 {
		return errors.New("there is nothing before the first event; want run or step")
	}
	if goal >= now {
		return fmt.Errorf("event #%d is not behind us, we are at #%d; want run #%d", goal, now, goal)
	}
	x.goal = goal
	return errBack
}

// violationLines are what was found so far.
func violationLines(list []checkers.Violation) (lines []string) {
	for _, v := range list {
		lines = append(lines, v.String())
	}
	return lines
}
