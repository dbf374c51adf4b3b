package checkers

import (
	"fmt"
	"strings"
	"time"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// breakers judges O9: circuit breakers change their state along the machine's
// edges only, open when enough calls in a row have failed and not before, stay
// open for as long as they are set to, and let nothing through meanwhile.
//
// What fails is seen from outside: a decision that Tolaria took without Tamiyo,
// and no more calls of Kasmina than were made since it was heard for certain.
type breakers struct {
	state map[string]*breakerState // by node and breaker
}

type breakerState struct {
	now    string
	seq    uint64 // of the fact that says so
	since  int64
	failed int // decisions in a row that were taken without an answer, in CLOSED
	calls  int // that can have failed since an answer, where only these are seen
	call   call
}

// call is what Kasmina is asked for. Tolaria asks it for steps only in an epoch
// into which Kasmina has crossed: with the first of them its breaker has just
// been closed by hand.
type call struct {
	boundary bool
	epoch    int64
	gen      uint32
	step     int32
	training bool
}

// breakerRules say what is known of a breaker beside its machine.
var breakerRules = map[string]struct {
	recovery time.Duration
	failures int  // in a row
	byHand   bool // its owner closes it when it hears from the other side
	unseen   bool // what it counts is not seen from outside
}{
	"tamiyo":       {10 * time.Second, 3, false, false},
	"kasmina":      {2 * time.Second, 3, true, false},
	"publish":      {30 * time.Second, 1, false, false}, // failures of a disk are not all seen
	"lr_integrity": {0, 3, true, true},

	"kasmina/gradient_isolation": {30 * time.Second, 3, false, true},
}

func newBreakers(Params) Checker { return &breakers{state: map[string]*breakerState{}} }

func (*breakers) Invariants() []string { return []string{"O9"} }

func (c *breakers) of(node, name string) *breakerState {
	key := node + "\x00" + name
	if c.state[key] == nil {
		c.state[key] = &breakerState{now: "CLOSED"}
	}
	return c.state[key]
}

func (c *breakers) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeStarted:
		// A breaker lives in memory: a new life begins with it closed.
		for key := range c.state {
			if strings.HasPrefix(key, e.Node+"\x00") {
				delete(c.state, key)
			}
		}
	case trace.MessageSent:
		name := ""
		switch m := e.Mail.Payload.(type) {
		case *systemstatev2.SystemStatePacket:
			if e.Peer == "nissa" {
				return // she is told how the run stands, and no decision is asked of her
			}
			name = "tamiyo"
		case *trainingv2.ForwardRequest:
			name = "kasmina"
			c.of(e.Node, name).called(call{false, m.Step.GetEpoch(), m.Step.GetGeneration(), m.Step.GetStep(), m.Training})
		case *trainingv2.BoundaryRequest:
			c.of(e.Node, "kasmina").called(call{boundary: true, epoch: m.Epoch, gen: m.Generation})
			return // an open breaker does not keep it back
		default:
			return
		}
		if b := c.of(e.Node, name); b.now == "OPEN" {
			j.Violate("O9", e.Node, fmt.Sprintf("its breaker %s is open, and %s is sent all the same", name, e.Peer), b.seq)
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.BreakerFact:
			c.moved(e, f, j)
		case *evidencev2.DecisionFact:
			c.decided(e, f, j)
		case *evidencev2.BusFact:
			// What the bus knew before is found again by recovery; a dead letter is
			// its own.
			if b := c.of(e.Node, "publish"); f.Action == evidencev2.BusAction_BUS_APPENDED && f.Consumer != "" && b.now == "OPEN" {
				j.Violate("O9", e.Node, fmt.Sprintf("the breaker of its log is open, and it takes event %s", f.EventId), b.seq)
			}
		}
	}
}

// called counts a call that is new, and not one that is repeated.
func (b *breakerState) called(k call) {
	if k == b.call {
		return
	}
	if !k.boundary && (b.call.boundary || k.epoch != b.call.epoch || k.gen != b.call.gen) {
		b.calls = 0
	}
	b.call = k
	b.calls++
}

func (c *breakers) moved(e *Event, f *evidencev2.BreakerFact, j *Judge) {
	b, rules := c.of(e.Node, f.Breaker), breakerRules[f.Breaker]
	bad := func(how string) { j.Violate("O9", e.Node, fmt.Sprintf("its breaker %s %s", f.Breaker, how), b.seq) }
	edge := f.From + " " + f.To
	switch {
	case f.From != b.now:
		bad(fmt.Sprintf("goes from %s to %s and stood at %s", f.From, f.To, b.now))
		return
	case edge == "OPEN CLOSED" && rules.byHand, edge == "HALF_OPEN CLOSED", edge == "HALF_OPEN OPEN":
	case edge == "CLOSED OPEN":
		// The decision that follows the last failure is still to come.
		failed := b.failed + 1
		if rules.byHand {
			failed = b.calls
		}
		if failed < rules.failures && !rules.unseen {
			bad(fmt.Sprintf("opens after %d calls in a row that failed; it takes %d", failed, rules.failures))
			return
		}
	case edge == "OPEN HALF_OPEN":
		// A clock may be wrong by a little.
		if open := time.Duration(e.At - b.since); open < rules.recovery*9/10 {
			bad(fmt.Sprintf("is open for %v only; it takes %v", open, rules.recovery))
			return
		}
	default:
		bad(fmt.Sprintf("goes from %s to %s, which no breaker does", f.From, f.To))
		return
	}
	*b = breakerState{now: f.To, seq: e.Seq, since: e.At, call: b.call}
	j.Judged("O9")
}

// decided follows the calls that Tamiyo's breaker protects.
func (c *breakers) decided(e *Event, f *evidencev2.DecisionFact, j *Judge) {
	b, rules := c.of(e.Node, "tamiyo"), breakerRules["tamiyo"]
	switch {
	case !f.Fallback && b.now != "CLOSED":
		j.Violate("O9", e.Node, fmt.Sprintf("tamiyo has answered, and its breaker stays %s", b.now), b.seq)
	case !f.Fallback:
		b.failed = 0
	case b.now == "CLOSED":
		if b.failed++; b.failed >= rules.failures {
			j.Violate("O9", e.Node, fmt.Sprintf("tamiyo was silent %d times in a row, and its breaker is closed", b.failed))
			return
		}
	default:
		return
	}
	j.Judged("O9")
}

func (*breakers) Finish(*Judge) {}
