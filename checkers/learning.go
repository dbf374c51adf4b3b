package checkers

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// learning judges I11: what is learnt comes from the reports that were taken in,
// and decides only as far as it is released.
//
// Batches are drawn of what Simic was given, each experience as often as its
// share says, and weighted against the bias of that (card 04). A policy chooses
// where and as long as it was announced, with the probabilities that its weights
// give, which are known from what Simic gave out. Its stages are announced. What
// Karn expects of a design is the mean of what its template has earned (card 05).
type learning struct {
	settle  func(int64) bool
	last    int64
	fired   map[string][2]int64             // by node: the timer that fired last, and when
	given   map[string]bool                 // reports that were delivered to Simic
	refused map[string]bool                 // those that it has rejected
	parts   map[string]map[string]*appoint  // by node and version: what it was told
	offsets map[string]map[int64]*appoint   // by node: what waits for its acknowledgement
	inUse   map[string]string               // by node: the version in production
	weights map[string]map[string][]float32 // by node and version: what it was given
	stages  map[string]*standing            // by version
	events  map[string]*standing            // announcements that the bus has not taken
	heard   map[string]bool                 // whose publications the bus takes
	earned  map[string]map[string]float64   // by template and report
	asked   map[string]struct{}             // designs that the library was asked to store
	first   int64                           // when the first of those was earned
	opened  int                             // openings of Karn's log
}

// appoint is what a node was told of a policy.
type appoint struct {
	version string
	stage   policyv2.PolicyStage
	seq     uint64
}

// standing is the stage of a policy, and whether the bus has taken word of it.
type standing struct {
	node    string
	stage   string
	since   int64
	seq     uint64
	owed    bool // it is one that others must know of
	carried bool
}

func newLearning(p Params) Checker {
	return &learning{settle: p.Settled, fired: map[string][2]int64{}, given: map[string]bool{}, refused: map[string]bool{}, parts: map[string]map[string]*appoint{},
		offsets: map[string]map[int64]*appoint{}, heard: map[string]bool{}, inUse: map[string]string{}, weights: map[string]map[string][]float32{},
		stages: map[string]*standing{}, events: map[string]*standing{}, earned: map[string]map[string]float64{}, asked: map[string]struct{}{}}
}

func (*learning) Invariants() []string { return []string{"I11"} }

func (c *learning) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.TimerFired:
		c.fired[e.Node] = [2]int64{int64(e.Seq), e.At}
	case trace.MessageSent:
		c.sent(e, j)
	case trace.MessageDelivered:
		c.delivered(e)
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.ReportFact:
			if f.Action == "REJECTED" {
				c.refused[strings.Clone(f.ReportId)] = true
			}
		case *evidencev2.SampleFact:
			c.sampled(e, f, j)
		case *evidencev2.ChoiceFact:
			c.chosen(e, f, j)
		case *evidencev2.PolicyFact:
			c.stage(e, f, j)
		case *evidencev2.RewardFact:
			c.reward(e, f)
		case *evidencev2.LogFact:
			if f.Log == "karn" && f.Action == evidencev2.LogAction_LOG_RECOVERED {
				c.opened++
			}
		}
	}
}

func (c *learning) sent(e *Event, j *Judge) {
	switch m := e.Mail.Payload.(type) {
	case *busv2.Ack:
		if a := c.offsets[e.Node][m.Offset]; a != nil && m.Topic == "innovation.policy" {
			delete(c.offsets[e.Node], m.Offset)
			c.told(e.Node, a)
		}
	case *policyv2.PolicyUpdate:
		if s := c.stages[m.Version]; s != nil && s.stage == m.Stage.String() {
			c.events[strings.Clone(e.Mail.Envelope.EventId)] = s
		}
	case *busv2.PublishAck:
		if m.Status != busv2.PublishStatus_ACCEPTED {
			break
		}
		c.heard[e.Peer] = true
		if s := c.events[m.EventId]; s != nil {
			s.carried = true
			j.Judged("I11")
		}
	case *assetsv2.StoreBlueprint:
		c.expected(e, m, j)
	}
}

func (c *learning) delivered(e *Event) {
	switch m := e.Mail.Payload.(type) {
	case *busv2.Delivery:
		if e.Inner == nil {
			return
		}
		switch p := e.Inner.Payload.(type) {
		case *operationalv2.FieldReport:
			if m.Group == simicGroup {
				c.given[strings.Clone(p.ReportId)] = true
			}
		case *policyv2.PolicyUpdate:
			if c.offsets[e.Peer] == nil {
				c.offsets[e.Peer] = map[int64]*appoint{}
			}
			a := &appoint{strings.Clone(p.Version), p.Stage, e.Seq}
			c.offsets[e.Peer][m.Offset] = a
			// Another word on a version takes back what was said before: which of the
			// two counts is known when one of them is acknowledged.
			if old := c.parts[e.Peer][a.version]; old != nil && old.stage != a.stage {
				delete(c.parts[e.Peer], a.version)
			}
		}
	case *innovationv2.PolicyWeights:
		if m.Status == innovationv2.RequestStatus_DONE && bytes.Equal(weightsDigest(m.Weights), m.WeightsSha256) {
			if c.weights[e.Peer] == nil {
				c.weights[e.Peer] = map[string][]float32{}
			}
			c.weights[e.Peer][strings.Clone(m.Version)] = slices.Clone(m.Weights)
		}
	}
}

// told enters an announcement that a node has taken.
func (c *learning) told(node string, a *appoint) {
	if c.parts[node] == nil {
		c.parts[node] = map[string]*appoint{}
	}
	c.parts[node][a.version] = a
	switch {
	case a.stage == policyv2.PolicyStage_PRODUCTION:
		c.inUse[node] = a.version
	case a.stage == policyv2.PolicyStage_ROLLED_BACK && c.inUse[node] == a.version:
		delete(c.inUse, node)
	}
}

// chosen judges a choice that a policy made.
func (c *learning) chosen(e *Event, f *evidencev2.ChoiceFact, j *Judge) {
	if a := c.parts[e.Node][f.Version]; a != nil {
		switch now := c.inUse[e.Node]; {
		case a.stage == policyv2.PolicyStage_ROLLED_BACK:
			j.Violate("I11", e.Node, fmt.Sprintf("the policy %s chooses, and was rolled back", f.Version), a.seq)
			return
		case a.stage == policyv2.PolicyStage_PRODUCTION && now != "" && now != f.Version && c.parts[e.Node][now] != nil:
			j.Violate("I11", e.Node, fmt.Sprintf("the policy %s chooses, and %s has taken its place in production", f.Version, now), c.parts[e.Node][now].seq)
			return
		}
	}
	w := c.weights[e.Node][f.Version]
	if w == nil {
		j.Violate("I11", e.Node, fmt.Sprintf("the policy %s chooses, and nobody has given out its weights", f.Version))
		return
	}
	p := softmax(w, f.Features)
	if int(f.Action) >= len(p) || math.Abs(p[f.Action]-f.Likelihood) > 1e-3 {
		j.Violate("I11", e.Node, fmt.Sprintf("the policy %s is said to choose action %d with probability %.4f; by its weights these are %.4f", f.Version, f.Action, f.Likelihood, p))
		return
	}
	j.Judged("I11")
}

// softmax are the probabilities that a policy's weights give to its actions: a
// row each, and the last one is the expected reward.
func softmax(w, features []float32) []float64 {
	n := len(features)
	if n == 0 || len(w)%n != 0 || len(w) < 2*n {
		return nil
	}
	p := make([]float64, len(w)/n-1)
	sum := 0.0
	for a := range p {
		for k, x := range features {
			p[a] += float64(w[a*n+k]) * float64(x)
		}
		p[a] = exponential(p[a])
		sum += p[a]
	}
	for a := range p {
		p[a] /= sum
	}
	return p
}

// exponential is e to the power of x, by the same operations on every processor:
// the series for a small part of x, squared as often as it was halved.
func exponential(x float64) float64 {
	x = min(max(x, -100), 100) // further out a probability is 0 or 1
	sum, term := 1.0, 1.0
	for i := 1; i <= 10; i++ {
		term *= x / (256 * float64(i))
		sum += term
	}
	for range 8 {
		sum *= sum
	}
	return sum
}

// How many draws are enough to judge by how often the same comes again, and how
// small every share must be.
const (
	enoughDraws = 16
	smallShare  = 1.0 / 16
)

// sampled judges a batch.
func (c *learning) sampled(e *Event, f *evidencev2.SampleFact, j *Judge) {
	most, least := 0.0, math.Inf(1)
	shares := map[string]float64{}
	for _, d := range f.Draws {
		switch {
		case !c.given[d.ReportId]:
			j.Violate("I11", e.Node, fmt.Sprintf("it trains on the report %s, which nobody has given to it", d.ReportId))
			return
		case c.refused[d.ReportId]:
			j.Violate("I11", e.Node, fmt.Sprintf("it trains on the report %s, which it has rejected", d.ReportId))
			return
		}
		most, least = max(most, d.Share), min(least, d.Share)
		shares[d.ReportId] = d.Share
	}
	// A quarter of the draws and less is so seldom all that so many even draws
	// find, that no run will see it.
	if len(f.Draws) >= enoughDraws && most <= smallShare && len(shares) <= len(f.Draws)/4 {
		j.Violate("I11", e.Node, fmt.Sprintf("%d draws gave %d of %d experiences, none of which has a share above %.3f", len(f.Draws), len(shares), f.Trainable, most))
		return
	}
	for _, d := range f.Draws {
		// The largest weight is 1, and that of the smallest share. The others are by
		// the power of 0.4 smaller (card 04): by two fifths.
		w, r := d.Weight, d.Share/least
		if off := w*w*w*w*w*(r*r) - 1; !(math.Abs(off) < 5e-3) {
			j.Violate("I11", e.Node, fmt.Sprintf("the report %s with a share of %.5f has the weight %.4f in a batch whose smallest share is %.5f", d.ReportId, d.Share, w, least))
			return
		}
	}
	j.Judged("I11")
}

// validating is how long a validation may take, with what it takes to make its
// verdict durable on a disk that hardly answers (card 04).
const validating = int64(1600 * time.Millisecond)

// stage notes where a policy stands.
func (c *learning) stage(e *Event, f *evidencev2.PolicyFact, j *Judge) {
	if f.Check != "" {
		return
	}
	if began := c.fired[e.Node]; f.From == "VALIDATING" && f.From != f.To && began[0] == int64(e.Cause) {
		if took := e.At - began[1]; took > validating {
			j.Violate("I11", e.Node, fmt.Sprintf("the policy %s is %s by a validation that took %v", f.Version, f.To, time.Duration(took)), e.Cause)
			return
		}
	}
	s := c.stages[f.Version]
	if s != nil && s.stage == f.To {
		return
	}
	owed := false
	switch f.To {
	case "TESTING", "STAGED", "PRODUCTION", "ROLLED_BACK":
		owed = !strings.HasPrefix(f.Reason, "superseded") // that word is the other one's
	}
	c.stages[strings.Clone(f.Version)] = &standing{node: e.Node, stage: strings.Clone(f.To), since: e.At, seq: e.Seq, owed: owed}
}

func (c *learning) reward(e *Event, f *evidencev2.RewardFact) {
	if len(c.earned) == 0 {
		c.first = e.At
	}
	t := c.earned[f.TemplateId]
	if t == nil {
		t = map[string]float64{}
		c.earned[strings.Clone(f.TemplateId)] = t
	}
	t[strings.Clone(f.ReportId)] = f.Value
}

// What is believed of a template without rewards, the most that is expected of a
// design that nobody asked for, and what is of one that somebody did.
const (
	priorReward  = 0.3
	mostExpected = 0.8
	petitioned   = 0.9
)

// expected judges what Karn expects of a design. Of a life that has opened its
// log again a reward may have been logged and not told of, and after a day the
// first ones no longer count.
func (c *learning) expected(e *Event, m *assetsv2.StoreBlueprint, j *Judge) {
	if e.Node != "karn" || c.opened > 1 || e.At-c.first > int64(23*time.Hour) || m.Announce == nil || m.Announce.TamiyoInterest == petitioned {
		return
	}
	t := ""
	for _, l := range m.Metadata {
		if l.GetKey() == "template" {
			t = l.Value
		}
	}
	earned := c.earned[t]
	if _, again := c.asked[m.RequestId]; t == "" || again {
		return // what is asked again is what was asked before
	}
	c.asked[strings.Clone(m.RequestId)] = struct{}{}
	if len(earned) == 0 {
		return
	}
	sum := 0.0
	for _, r := range slices.Sorted(maps.Keys(earned)) {
		sum += earned[r]
	}
	// What its patterns have taught counts once. It is a mean of rewards, and of what
	// is believed without any.
	low, high := priorReward, priorReward
	for _, all := range c.earned {
		for _, v := range all {
			low, high = min(low, v), max(high, v)
		}
	}
	expect := func(prior float64) float64 {
		return min(max((sum+prior)/float64(len(earned)+1), 0), mostExpected)
	}
	low, high = expect(low), expect(high)
	if v := m.Announce.TamiyoInterest; v < low-1e-9 || v > high+1e-9 {
		j.Violate("I11", e.Node, fmt.Sprintf("of a design of %s it expects %.4f; by the %d rewards of that template and what the others have taught it is from %.4f to %.4f", t, v, len(earned), low, high))
		return
	}
	j.Judged("I11")
}

// spread is how long after the faults have ended the bus has word of a stage.
const spread = int64(15 * time.Second)

// Finish implements Checker.
func (c *learning) Finish(j *Judge) {
	if c.settle == nil || !c.settle(c.last-spread) {
		return
	}
	for _, v := range slices.Sorted(maps.Keys(c.stages)) {
		if s := c.stages[v]; s.owed && !s.carried && c.heard[s.node] && c.last-s.since > spread {
			j.Violate("I11", s.node, fmt.Sprintf("the policy %s is %s for %v, and the bus has no word of it", v, s.stage, time.Duration(c.last-s.since).Round(time.Second)), s.seq)
			return
		}
	}
}
