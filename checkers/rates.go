package checkers

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// rates judges T5: a step is trained at the rate that the run began with, or that
// the command which changed it last asked for, or that was in force when the
// checkpoint was taken that a rollback has gone back to. A rate that is none of
// these came from somewhere else than the learning-rate controller. Where the
// command asks for a warm-up the rate is led to, in ten equal steps an epoch; so are
// the kernels' from a thousandth, over their first ten epochs (card 01). What the
// controller remembers is the newest thousand changes of the lineage that survives.
type rates struct {
	asked map[string]order    // by command
	marks map[string]expected // by checkpoint: what was in force then
	now   map[string]expected // by node
	due   map[string][]took   // by node: commands that took effect at one boundary

	born  map[string]int64            // the epoch in which a seed's parameters were new
	known map[string]map[string]int64 // by checkpoint
	rate  float64                     // of the step in flight, that kernels were told
}

// order is what a command asks for.
type order struct {
	rate float64
	warm bool
}

// took is a command that took effect.
type took struct {
	id    string
	epoch int64
	gen   uint32
	order order
}

// expected is the rate that a node must train at; not known at first.
type expected struct {
	rate  float64
	known bool
	by    string

	warm     bool // it is led to, from a rate and an epoch on
	from     float64
	since    int64
	history  []*statev2.RateSnapshot
	entered  int64 // the newest epoch of whose rate the history says something
	complete bool  // it has all that happened
}

const (
	warmUpEpochs    = 10
	ratesRemembered = 1000
	freshRate       = 0.001 // of the host's, of parameters that are new
)

// at is the rate in an epoch.
func (x *expected) at(epoch int64) float64 {
	step := epoch - x.since + 1
	if !x.warm || step >= warmUpEpochs {
		return x.rate
	}
	return x.from + (x.rate-x.from)*float64(step)/warmUpEpochs
}

// enter notes what a warm-up has changed up to an epoch.
func (x *expected) enter(epoch int64, gen uint32) {
	for e := max(x.entered, x.since) + 1; x.warm && e <= epoch && e < x.since+warmUpEpochs; e++ {
		if r := x.at(e); r != x.at(e-1) {
			x.note(e, gen, r, "warm-up")
		}
	}
	x.entered = max(x.entered, epoch)
}

func (x *expected) note(epoch int64, gen uint32, rate float64, cause string) {
	h := x.history
	if len(h) >= ratesRemembered {
		h = h[len(h)-ratesRemembered+1:]
	}
	// No room behind it: a checkpoint's mark goes on in its own way.
	x.history = append(h[:len(h):len(h)], &statev2.RateSnapshot{Epoch: epoch, Generation: gen, LearningRate: rate, Cause: cause})
	x.entered = epoch
}

func newRates(Params) Checker {
	return &rates{asked: map[string]order{}, marks: map[string]expected{}, now: map[string]expected{}, due: map[string][]took{},
		born: map[string]int64{}, known: map[string]map[string]int64{}}
}

func (*rates) Invariants() []string { return []string{"T5"} }

func (c *rates) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.MessageDelivered:
		if e.Inner != nil {
			c.command(e.Inner)
		}
	case trace.MessageSent:
		c.command(e.Mail)
		switch m := e.Mail.Payload.(type) {
		case *trainingv2.BoundaryRequest:
			if _, known := c.marks[m.CheckpointId]; m.CheckpointId != "" && !known {
				c.marks[strings.Clone(m.CheckpointId)] = c.in(e.Node)
			}
		case *trainingv2.BoundaryReply:
			if p := m.GetPart(); p != nil && c.known[p.CheckpointId] == nil {
				c.known[strings.Clone(p.CheckpointId)] = maps.Clone(c.born)
			}
		case *trainingv2.ForwardRequest:
			if m.Training {
				c.trains(e, m.Step.GetEpoch(), m.LearningRate, j)
			}
		case *trainingv2.BackwardRequest:
			c.rate = m.LearningRate
			c.trains(e, m.Step.GetEpoch(), m.LearningRate, j)
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.CommandFact:
			if o, ok := c.asked[f.CommandId]; ok && f.Status == "APPLIED" {
				c.due[e.Node] = append(c.due[e.Node], took{strings.Clone(f.CommandId), f.Epoch, f.Generation, o})
			}
		case *evidencev2.RollbackFact:
			c.restored(e, f)
		case *evidencev2.StepFact:
			c.trains(e, f.Step.GetEpoch(), f.LearningRate, j)
		case *evidencev2.RateFact:
			c.told(e, f, j)
		case *evidencev2.StageFact:
			if f.To == telemetryv2.SeedStage_GERMINATED && f.Cause == evidencev2.StageCause_BY_COMMAND {
				c.born[seedName(f.Seed)] = f.Epoch
			}
		case *evidencev2.GradientFact:
			c.fresh(e, f, j)
		}
	}
}

func (c *rates) command(mail *wire.Mail) {
	m, ok := mail.Payload.(*adaptationv2.AdaptationCommand)
	if !ok {
		return
	}
	if u := m.GetLrUpdate(); u != nil && len(u.GroupRates) > 0 {
		c.asked[strings.Clone(m.CommandId)] = order{u.GroupRates[0].GetLearningRate(), u.ApplyWarmup}
	}
}

// in is what a node must train at. Of the commands of one boundary, that with the
// last id is in force (docs/protocols.md); they are told in another order.
func (c *rates) in(node string) expected {
	due := c.due[node]
	slices.SortStableFunc(due, func(a, b took) int { return strings.Compare(a.id, b.id) })
	for _, t := range due {
		c.ordered(node, t)
	}
	c.due[node] = due[:0]
	return c.now[node]
}

// ordered enters what a command asks for.
func (c *rates) ordered(node string, t took) {
	was := c.now[node]
	now := expected{rate: t.order.rate, known: true, by: "the command " + t.id, warm: t.order.warm && was.known, since: t.epoch,
		history: was.history, complete: was.complete}
	if n := len(was.history); n > 0 {
		now.from = was.history[n-1].LearningRate
	} else if was.known {
		now.from = was.at(t.epoch - 1)
	} else if t.order.warm {
		now.known = false // from where it is led is not known
	}
	now.note(t.epoch, t.gen, now.at(t.epoch), t.id)
	c.now[node] = now
}

func (c *rates) restored(e *Event, f *evidencev2.RollbackFact) {
	if f.Step != evidencev2.RollbackStep_RB_RESTORED {
		return
	}
	switch f.Subsystem {
	case "tolaria":
		delete(c.due, e.Node)
		at := c.marks[f.CheckpointId]
		at.by = "the checkpoint " + strings.Clone(f.CheckpointId)
		at.entered = f.Epoch
		c.now[e.Node] = at
	case "kasmina":
		c.born = maps.Clone(c.known[f.CheckpointId])
		if c.born == nil {
			c.born = map[string]int64{}
		}
	}
}

// told compares what the controller says of itself, after a change, with what must
// have come of the commands.
func (c *rates) told(e *Event, f *evidencev2.RateFact, j *Judge) {
	now := c.in(e.Node)
	if !now.known {
		by := now.by
		if by == "" {
			by = "the beginning"
		}
		now = expected{rate: f.LearningRate, known: true, by: by}
		if f.Snapshots == 1 {
			now.complete = true
			now.note(f.Epoch, f.Generation, f.LearningRate, "job")
		}
		c.now[e.Node] = now
		return
	}
	if !f.Restored {
		now.enter(f.Epoch, f.Generation)
		c.now[e.Node] = now
	}
	if want := now.at(f.Epoch); !sameRate(f.LearningRate, want) {
		j.Violate("T5", e.Node, fmt.Sprintf("from epoch %d on it trains at the rate %v; since %s it is %v", f.Epoch, f.LearningRate, now.by, want))
		return
	}
	if !now.complete {
		return
	}
	sum := sha256.Sum256((&statev2.RateState{History: now.history}).AppendCanonical(nil))
	if int(f.Snapshots) != len(now.history) || !bytes.Equal(sum[:], f.HistorySha256) {
		j.Violate("T5", e.Node, fmt.Sprintf("it remembers %d changes of the rate; since the beginning there were %d that it has to remember, or they were others", f.Snapshots, len(now.history)))
		return
	}
	j.Judged("T5")
}

// fresh judges the rates at which kernels' gradients will be applied.
func (c *rates) fresh(e *Event, f *evidencev2.GradientFact, j *Judge) {
	for _, s := range f.Sets {
		born, ok := c.born[seedName(s.Seed)]
		if !ok || !f.Held {
			continue
		}
		want := c.rate
		if age := f.Step.GetEpoch() - born; age < warmUpEpochs {
			want *= freshRate + (1-freshRate)*float64(age)/warmUpEpochs
		}
		if !sameRate(s.LearningRate, want) {
			j.Violate("T5", e.Node, fmt.Sprintf("the seed %s has parameters of epoch %d and is trained at the rate %v in epoch %d; want %v",
				seedName(s.Seed), born, s.LearningRate, f.Step.GetEpoch(), want))
			return
		}
		j.Judged("T5")
	}
}

// sameRate is LR3's comparison, a little wider: kernels reckon with 24 bits.
func sameRate(a, b float64) bool { return math.Abs(a-b) <= max(2e-6*math.Abs(b), 1e-12) }

// trains compares a rate with the one that must hold. They come from one number
// and have nothing to differ by.
func (c *rates) trains(e *Event, epoch int64, rate float64, j *Judge) {
	now := c.in(e.Node)
	if !now.known {
		by := now.by
		if by == "" {
			by = "the beginning"
		}
		c.now[e.Node] = expected{rate: rate, known: true, by: by}
		return
	}
	want := now.at(epoch)
	if rate == want || now.warm && sameRate(rate, want) {
		j.Judged("T5")
		return
	}
	j.Violate("T5", e.Node, fmt.Sprintf("it trains at the rate %v; since %s it is %v", rate, now.by, want))
}

func (*rates) Finish(*Judge) {}
