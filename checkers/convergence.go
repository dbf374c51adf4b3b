package checkers

import (
	"fmt"
	"slices"
	"time"
)

// Phases are when the faults of a run heal, and by when everything must be well
// again.
type Phases struct {
	Heal   time.Duration
	Within time.Duration // after Heal; 0: it is not judged
	Core   []string      // the nodes that must; empty: all
}

// convergence judges H1: what was open when the faults healed is at its end
// within the stated time, and nothing that began later takes longer.
type convergence struct {
	p      Params
	w      *waiting
	judged bool // the moment has come
}

func newConvergence(p Params) Checker {
	if p.Phases.Within <= 0 && !p.Follow {
		return nil
	}
	return &convergence{p: p, w: newWaiting()}
}

func (*convergence) Invariants() []string { return []string{"H1"} }

func (c *convergence) Observe(e *Event, j *Judge) {
	// Before the event: at the deadline an answer that comes later is too late.
	if !c.judged && c.p.Phases.Within > 0 && e.At > int64(c.p.Phases.Heal+c.p.Phases.Within) {
		c.judged = true
		c.judge(e.At, j)
	}
	c.w.observe(e)
}

func (c *convergence) Finish(j *Judge) {
	end := int64(c.p.Phases.Heal + c.p.Phases.Within)
	if c.p.Phases.Within <= 0 || len(j.Violations) > 0 {
		return
	}
	if !c.judged {
		c.w.at = max(c.w.at, end) // nothing happens any more
	}
	c.judge(c.w.at, j)
}

// judge looks for what has been open for too long.
func (c *convergence) judge(now int64, j *Judge) {
	c.w.at = now
	var late []Wait
	for _, w := range c.w.list() {
		if c.binding(w) && now-max(w.Since, int64(c.p.Phases.Heal)) >= int64(c.p.Phases.Within) {
			late = append(late, w)
		}
	}
	if len(late) == 0 {
		j.Judged("H1")
		return
	}
	// What others wait for says more than they do: a process that is down goes
	// before whoever asks it.
	worst := late[0]
	for _, w := range late[1:] {
		if rankOf(w) < rankOf(worst) {
			worst = w
		}
	}
	more := ""
	if n := len(late) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	of := ""
	if worst.For != "" {
		of = " that needs " + worst.For
	}
	j.Violate("H1", worst.Who, fmt.Sprintf("%s%s is open %v after the faults healed; %s%s",
		named[worst.What], of, time.Duration(now-int64(c.p.Phases.Heal)).Round(time.Second), worst, more), worst.Seq)
}

// named are the kinds of waits in a sentence.
var named = map[string]string{
	"process": "a process", "hold": "a participant's promise", "rollback": "a rollback", "pause": "a pause", "publication": "a publication",
	"command": "a command", "delivery": "a delivery", "breaker": "a breaker", "epoch": "an epoch",
}

// rankOf is how much a wait explains, the most first.
func rankOf(w Wait) int {
	return slices.Index([]string{"process", "hold", "rollback", "pause", "publication", "command", "delivery", "breaker", "epoch"}, w.What)
}

// binding says whether a wait must come to its end: an answer need not, since
// whoever asks may give up, and what concerns nodes outside of the core cannot.
func (c *convergence) binding(w Wait) bool {
	if rankOf(w) < 0 {
		return false
	}
	core := c.p.Phases.Core
	in := func(n string) bool { return c.w.nodes[n] && (len(core) == 0 || slices.Contains(core, n)) }
	if w.What == "breaker" && !c.w.nodes[w.For] {
		return in(w.Who) // it is against something else than a node
	}
	return in(w.Who) && (w.For == "" || in(w.For))
}

// Waits is who waits for whom at this moment of the run, if the suite follows
// it; else nil.
func (s *Suite) Waits() *WaitReport {
	for _, c := range s.checkers {
		if c, ok := c.(*convergence); ok {
			c.w.at = max(c.w.at, s.now)
			return c.w.report()
		}
	}
	return nil
}
