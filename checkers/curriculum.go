package checkers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// curriculum judges J1 by what Jace publishes, whatever goes on around it: what
// every decision has, and that there is a reason for one that is a fallback. What
// the curricula told it is read from the deliveries. Of its caution only the
// beginning and the end are a claim; that one is cautious, and that a budget was
// used three times in a row, is seen in the decisions.
type curriculum struct {
	p    Params
	life followed
}

// followed is a life of Jace's.
type followed struct {
	cause, came int64 // the delivery that is handled, and when it came
	epochAt     int64 // of the last epoch that was completed; 0: none was
	strategyAt  int64
	strategy    innovationv2.StrategyEvent
	trouble     int64  // the disk's last failure
	breaker     string // its state
	cautious    bool
	seen        map[uint64]bool // decisions, by number, since its budgets began anew
	first, last uint64
	failed      int            // of them, those that may have failed
	untold      int            // and those that fell back before it was told of both curricula
	row         map[string]int // by budget: looks in a row at which it may have been used
}

// What card 11 says of a decision: in how long it is made, and which share of an
// error budget, used at three looks in a row, makes Jace cautious.
const decidedWithin = int64(18 * time.Millisecond)

var budgetUse = map[string]float64{"latency": 0.8 * 0.001, "success": 0.5 * 0.01, "fallback": 0.7 * 0.005}

// fresh and told are how lately it must have heard of an epoch and of a strategy
// for neither to be a reason; anew is how long after the faults are over a file of
// its is there again.
const (
	freshEpoch    = int64(2500 * time.Millisecond)
	freshStrategy = int64(4 * time.Second)
	anew          = int64(15 * time.Second)
)

// aligner is the node that is judged.
const aligner = "jace"

func newCurriculum(p Params) Checker { return &curriculum{p: p, life: newFollowed()} }

func newFollowed() followed { return followed{row: map[string]int{}, seen: map[uint64]bool{}} }

func (*curriculum) Invariants() []string { return []string{"J1"} }

func (c *curriculum) Observe(e *Event, j *Judge) {
	l := &c.life
	switch e.Kind {
	case trace.NodeStarted:
		if e.Node == aligner {
			c.life = newFollowed()
		}
	case trace.DiskOperation:
		if e.Node == aligner && strings.Contains(e.Text, " failed: ") && !strings.Contains(e.Text, "exist") {
			l.trouble = e.At
		}
	case trace.TimerFired:
		if e.Node == aligner && e.Text == "verify" {
			c.looks()
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.BreakerFact:
			if f.Subsystem == aligner {
				l.breaker = f.To
			}
		case *evidencev2.ModeFact:
			if f.Subsystem == aligner {
				c.mode(e, f, j)
			}
		}
	case trace.MessageDelivered:
		if m, ok := e.Mail.Payload.(*busv2.Delivery); ok && m.Group == aligner && e.Peer == aligner && e.Inner != nil {
			l.cause, l.came = int64(e.Seq), e.At
			switch m := e.Inner.Payload.(type) {
			case *eventsv2.EpochEvent:
				if m.Phase == eventsv2.EpochPhase_COMPLETED {
					l.epochAt = e.At
				}
			case *innovationv2.StrategyEvent:
				s := &l.strategy
				s.StrategyStage, s.Confidence, s.Strategies = m.StrategyStage, m.Confidence, s.Strategies[:0]
				for _, n := range m.Strategies {
					s.Strategies = append(s.Strategies, strings.Clone(n))
				}
				l.strategyAt = e.At
			}
		}
	case trace.MessageSent:
		if m, ok := e.Mail.Payload.(*policyv2.CurriculumDecision); ok {
			c.decision(e, m, j)
		}
	}
}

func (c *curriculum) decision(e *Event, m *policyv2.CurriculumDecision, j *Judge) {
	l := &c.life
	why := ""
	switch {
	case len(m.Strategies) == 0 || slices.Contains(m.Strategies, ""):
		why = fmt.Sprintf("names the strategies %q", m.Strategies)
	case !(m.Confidence >= 0.3 && m.Confidence <= 1):
		why = fmt.Sprintf("has the confidence %g", m.Confidence)
	case m.Fallback && m.Mode != policyv2.CurriculumMode_SYNCHRONIZED:
		why = fmt.Sprintf("is a fallback and %v", m.Mode)
	case m.Fallback && m.Confidence < 0.4:
		why = fmt.Sprintf("is a fallback with the confidence %g", m.Confidence)
	case m.Mode < policyv2.CurriculumMode_SYNCHRONIZED || m.Mode > policyv2.CurriculumMode_INDEPENDENT:
		why = "has no mode"
	case m.TaskStage > 6 || m.StrategyStage > 6:
		why = fmt.Sprintf("is for the stages %d and %d; there are 0 to 6", m.TaskStage, m.StrategyStage)
	case e.Node == aligner && c.new(m) && int64(e.Cause) == l.cause:
		switch {
		case l.cautious && m.Mode != policyv2.CurriculumMode_SYNCHRONIZED:
			why = fmt.Sprintf("is %v, and it has said that it is cautious", m.Mode)
		case m.Fallback && c.sound(e, m):
			why = fmt.Sprintf("is a fallback, and there is no reason: it was made within %v, of the stages %d and %d, and of %q with confidence %g",
				time.Duration(e.At-l.came), m.TaskStage, m.StrategyStage, l.strategy.Strategies, l.strategy.Confidence)
		}
	}
	if why != "" {
		j.Violate("J1", e.Node, fmt.Sprintf("the decision %s %s", m.DecisionId, why))
		return
	}
	j.Judged("J1")
}

// new counts a decision that is sent for the first time.
func (c *curriculum) new(m *policyv2.CurriculumDecision) bool {
	l := &c.life
	n, err := strconv.ParseUint(m.DecisionId[strings.LastIndexByte(m.DecisionId, '/')+1:], 10, 64)
	if err != nil || l.seen[n] || n < l.first {
		return false
	}
	l.seen[n] = true
	l.last = max(l.last, n)
	// Before it was told of both curricula, to fall back is none of the fallbacks
	// that it has a budget for.
	switch {
	case m.Fallback && l.epochAt > 0 && l.strategyAt > 0:
		l.failed++
	case m.Fallback:
		l.untold++
	}
	return true
}

// sound says that there is all that a decision needs: both curricula were heard
// lately and are at most a stage apart, a strategy is named, nothing is broken, and
// it took no longer than it may.
func (c *curriculum) sound(e *Event, m *policyv2.CurriculumDecision) bool {
	l := &c.life
	s := &l.strategy
	named := slices.ContainsFunc(s.Strategies, func(n string) bool { return n != "" })
	apart := max(int64(m.TaskStage)-int64(s.StrategyStage), int64(s.StrategyStage)-int64(m.TaskStage))
	whole := !c.p.Damaged && l.trouble == 0 || c.p.Settled != nil && c.p.Settled(max(e.At-anew, 0))
	return named && s.StrategyStage <= 6 && apart <= 1 && s.Confidence >= 0 && s.Confidence <= 1 && whole &&
		(l.breaker == "" || l.breaker == "CLOSED") && l.epochAt > 0 && e.At-l.epochAt < freshEpoch && l.strategyAt > 0 && e.At-l.strategyAt < freshStrategy &&
		e.At-l.came < decidedWithin
}

// looks is Jace's look at its budgets.
func (c *curriculum) looks() {
	l := &c.life
	all := l.last - min(l.first, l.last)
	failed := l.failed + int(all) - min(len(l.seen), int(all)) // what was not seen may have failed
	for name, use := range budgetUse {
		failed := failed
		if name != "fallback" {
			failed += l.untold
		}
		if failed > 0 && float64(failed) >= use*float64(all) {
			l.row[name]++
		} else {
			l.row[name] = 0
		}
	}
}

func (c *curriculum) mode(e *Event, f *evidencev2.ModeFact, j *Judge) {
	l := &c.life
	l.cautious = f.To == "CONSERVATIVE"
	if !l.cautious {
		l.first, l.failed, l.untold = l.last, 0, 0
		clear(l.seen)
		clear(l.row)
		return
	}
	for name, n := range l.row {
		// Long ago fades, by a rule of its own.
		if strings.Contains(f.Reason, "budget of "+name) && n < 3 && l.last-l.first < 1900 {
			j.Violate("J1", e.Node, fmt.Sprintf("it becomes cautious, for %s, and of %d decisions %d can have failed: at %d looks in a row it was used; it takes 3", f.Reason, l.last-l.first, l.failed, n))
			return
		}
	}
	j.Judged("J1")
}

func (*curriculum) Finish(*Judge) {}
