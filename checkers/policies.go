package checkers

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// policies judges I8: no policy reaches production without every stage of its
// validation passed.
//
// What is released is seen from outside: the announcements, whose order and
// digests count, the weights that are given out, and the verdicts of whoever ran
// the policy. The stages themselves are claims, and must be there for the very
// weights that are announced.
type policies struct {
	known map[string]*released
}

type released struct {
	stage    string // by the facts
	digest   []byte
	checks   map[string]bool
	tested   bool // announced for a share of the decisions
	verdicts bool // somebody told how it did
	shown    bool // announced at all
	seq      uint64
}

// validations are the stages of a validation, by card 04.
var validations = []string{"performance", "safety", "regression", "chaos", "property", "security"}

// releaseEdges are the ways of a policy through its release.
var releaseEdges = map[string][]string{
	"":           {"CANDIDATE"},
	"CANDIDATE":  {"VALIDATING"},
	"VALIDATING": {"TESTING", "REJECTED"},
	"TESTING":    {"STAGED", "ROLLED_BACK"},
	"STAGED":     {"PRODUCTION", "ROLLED_BACK"},
	"PRODUCTION": {"STAGED", "ROLLED_BACK"},
}

func newPolicies(Params) Checker { return &policies{known: map[string]*released{}} }

func (*policies) Invariants() []string { return []string{"I8"} }

func (c *policies) of(version string) *released {
	p := c.known[version]
	if p == nil {
		p = &released{checks: map[string]bool{}}
		c.known[version] = p
	}
	return p
}

func (c *policies) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.PolicyFact); ok {
			c.fact(e, f, j)
		}
	case trace.MessageDelivered:
		if m, ok := e.Mail.Payload.(*innovationv2.PolicyVerdict); ok && m.Decisions > 0 {
			c.of(m.Version).verdicts = true
		}
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *policyv2.PolicyUpdate:
			c.announced(e, m, j)
		case *innovationv2.PolicyWeights:
			p := c.of(m.Version)
			if m.Status == innovationv2.RequestStatus_DONE && p.shown && !bytes.Equal(weightsDigest(m.Weights), p.digest) {
				j.Violate("I8", e.Node, fmt.Sprintf("the weights of %s are not those that were announced", m.Version), p.seq)
			}
		case *operationalv2.FieldReport:
			for _, x := range m.EvalMetrics {
				v, ok := strings.CutPrefix(x.MetricName, "policy/")
				if ok && x.MetricValue <= 1 && !c.of(v).shown {
					j.Violate("I8", e.Node, fmt.Sprintf("the policy %s has decided, and was never announced", v))
				}
			}
		}
	}
}

func (c *policies) fact(e *Event, f *evidencev2.PolicyFact, j *Judge) {
	p := c.of(f.Version)
	switch {
	case p.digest != nil && !bytes.Equal(p.digest, f.WeightsSha256):
		j.Violate("I8", e.Node, fmt.Sprintf("the policy %s changes its weights and keeps its name", f.Version), p.seq)
		return
	case f.Check != "":
		p.checks[f.Check] = f.Passed
		p.digest, p.seq = bytes.Clone(f.WeightsSha256), e.Seq
		return
	}
	from := f.From
	if from == f.To { // what it is after a restart: at most one step on
		if from = p.stage; from == f.To {
			return
		}
	}
	switch {
	case from != p.stage || !slices.Contains(releaseEdges[from], f.To):
		j.Violate("I8", e.Node, fmt.Sprintf("the policy %s goes from %q to %q, and stood at %q", f.Version, from, f.To, p.stage), p.seq)
		return
	case f.To == "PRODUCTION" && c.missing(p) != "":
		j.Violate("I8", e.Node, fmt.Sprintf("the policy %s goes into production %s", f.Version, c.missing(p)), p.seq)
		return
	}
	p.stage, p.digest, p.seq = f.To, bytes.Clone(f.WeightsSha256), e.Seq
}

// missing is what a policy lacks for production.
func (c *policies) missing(p *released) string {
	for _, v := range validations {
		if !p.checks[v] {
			return "without its stage " + v
		}
	}
	switch {
	case !p.tested:
		return "and was never tested on a share of the decisions"
	case !p.verdicts:
		return "and nobody has told how it did"
	}
	return ""
}

func (c *policies) announced(e *Event, m *policyv2.PolicyUpdate, j *Judge) {
	p := c.of(m.Version)
	if p.digest != nil && !bytes.Equal(p.digest, m.WeightsSha256) {
		j.Violate("I8", e.Node, fmt.Sprintf("%s is announced with the digest of other weights than were validated", m.Version), p.seq)
		return
	}
	p.shown = true
	switch m.Stage {
	case policyv2.PolicyStage_TESTING, policyv2.PolicyStage_STAGED:
		if m.Share <= 0 || m.Share >= 1 {
			j.Violate("I8", e.Node, fmt.Sprintf("%s is tested on a share of %g of the decisions", m.Version, m.Share))
			return
		}
		p.tested = true
	case policyv2.PolicyStage_PRODUCTION:
		if why := c.missing(p); why != "" {
			j.Violate("I8", e.Node, fmt.Sprintf("%s is announced for production %s", m.Version, why), p.seq)
			return
		}
		j.Judged("I8")
	}
}

// weightsDigest is the digest of weights by its definition: an implementation of
// its own.
func weightsDigest(weights []float32) []byte {
	h := sha256.New()
	for _, w := range weights {
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(w))
		h.Write(b[:])
	}
	return h.Sum(nil)
}

func (*policies) Finish(*Judge) {}

// lessons judges Simic's half of L4: a field report that the bus took becomes
// one experience, or one logged rejection, and is acknowledged no sooner.
type lessons struct {
	settle  func(int64) bool
	last    int64
	present bool              // Simic is part of the run
	events  map[string]string // report by event id
	offsets map[int64]string  // report by its place in the topic
	reports map[string]*lesson
	opened  uint64 // openings of Simic's log
	held    int64  // until when a breaker was open; -1: it is
	node    string
}

type lesson struct {
	taken   int64 // by the bus; 0: not known
	came    uint64
	seen    bool // delivered
	outcome string
	known   bool // declared as stored in an earlier life
	seq     uint64
}

// simicGroup is Simic's consumer group.
const simicGroup = "simic-trainer"

func newLessons(p Params) Checker {
	return &lessons{settle: p.Settled, events: map[string]string{}, offsets: map[int64]string{}, reports: map[string]*lesson{}}
}

func (*lessons) Invariants() []string { return []string{"L4"} }

func (c *lessons) of(report string) *lesson {
	l := c.reports[report]
	if l == nil {
		l = new(lesson)
		c.reports[report] = l
	}
	return l
}

func (c *lessons) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *operationalv2.FieldReport:
			c.events[e.Mail.Envelope.EventId] = nameOf(m.ReportId, e.Mail.Envelope.EventId)
		case *busv2.PublishAck:
			if id, ok := c.events[m.EventId]; ok && m.Status == busv2.PublishStatus_ACCEPTED {
				if l := c.of(id); l.taken == 0 {
					l.taken, l.seq = e.At, e.Seq
				}
			}
		case *busv2.Subscribe:
			if m.Group == simicGroup {
				c.present, c.node = true, e.Node
			}
		case *busv2.Ack:
			if m.Group == simicGroup && m.Topic == "innovation.field_reports" {
				c.acknowledged(e, m.Offset, j)
			}
		}
	case trace.MessageDelivered:
		if m, ok := e.Mail.Payload.(*busv2.Delivery); ok && m.Group == simicGroup && e.Inner != nil {
			if r, ok := e.Inner.Payload.(*operationalv2.FieldReport); ok {
				id := nameOf(r.ReportId, e.Inner.Envelope.EventId)
				c.offsets[m.Offset] = id
				if l := c.of(id); !l.seen {
					l.seen, l.came = true, c.opened
				}
			}
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.ReportFact:
			c.fact(e, f, j)
		case *evidencev2.LogFact:
			if f.Log == "simic" && f.Action == evidencev2.LogAction_LOG_RECOVERED {
				c.opened++
			}
		case *evidencev2.BreakerFact:
			if strings.HasPrefix(f.Breaker, "simic/") {
				if c.held = e.At; f.To == "OPEN" {
					c.held = -1
				}
			}
		}
	}
}

func (c *lessons) fact(e *Event, f *evidencev2.ReportFact, j *Judge) {
	l := c.of(f.ReportId)
	switch f.Action {
	case "EXPERIENCE", "REJECTED":
		if l.outcome != "" {
			j.Violate("L4", e.Node, fmt.Sprintf("the report %s is taken in as %s, and was taken in as %s before", f.ReportId, f.Action, l.outcome), l.seq)
			return
		}
		l.outcome, l.seq = f.Action, e.Seq
		j.Judged("L4")
	case "DUPLICATE":
		// Stored by a life that ended before it could say so.
		if l.outcome == "" && l.came == c.opened {
			j.Violate("L4", e.Node, fmt.Sprintf("the report %s is called a duplicate, and was never taken in", f.ReportId), l.seq)
			return
		}
		l.known = true
	}
}

// nameOf is what a report is called: one without an id, by its event.
func nameOf(report, event string) string {
	if report == "" {
		return "event/" + event
	}
	return report
}

// acknowledged judges that a report is acknowledged only once it is settled.
func (c *lessons) acknowledged(e *Event, offset int64, j *Judge) {
	id, ok := c.offsets[offset]
	if !ok {
		return
	}
	if l := c.of(id); l.outcome == "" && !l.known {
		j.Violate("L4", e.Node, fmt.Sprintf("the report %s is acknowledged, and is neither an experience nor a logged rejection", id), l.seq)
	}
}

// Finish implements Checker.
func (c *lessons) Finish(j *Judge) {
	if c.settle == nil || !c.present || c.held < 0 {
		return
	}
	since := c.last - patience
	if !c.settle(since) || c.held > since {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.reports)) {
		if l := c.reports[id]; l.taken > 0 && l.taken < since && l.outcome == "" && !l.known {
			j.Violate("L4", c.node, fmt.Sprintf("the report %s was taken by the bus %v ago, and is neither an experience nor a logged rejection", id,
				time.Duration(c.last-l.taken).Round(time.Second)), l.seq)
			return
		}
	}
}
