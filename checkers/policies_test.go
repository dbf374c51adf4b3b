package checkers_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/esper-sim/espersim/checkers"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
)

var weights = []float32{1, -2, 0.5}

func digestOf(w []float32) []byte {
	var b []byte
	for _, x := range w {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// release is how a policy's release differs from a good one.
type release struct {
	skip    string // a stage of the validation that is not there
	failed  string // one that did not pass
	jump    bool   // from its validation into production
	untold  bool   // no verdict came
	whole   bool   // tested on all decisions
	swapped bool   // the weights that are given out are others
	renamed bool   // the weights change under the name
	early   bool   // it decides before it is announced
}

// release makes a policy's way into production.
func (p *tape) release(r release) {
	const version = "simic-1"
	d := digestOf(weights)
	stage := func(from, to string) {
		p.fact("simic", &evidencev2.PolicyFact{Version: version, From: from, To: to, WeightsSha256: d})
	}
	update := func(s policyv2.PolicyStage, share float64) {
		m := &policyv2.PolicyUpdate{Version: version, Stage: s, Share: share, WeightsSha256: d}
		p.publish("simic", "innovation.policy", "policy/"+s.String(), m)
	}
	if r.early {
		p.publish("tamiyo", "innovation.field_reports", "r", &operationalv2.FieldReport{ReportId: "report/r",
			EvalMetrics: []*operationalv2.EvaluationMetric{{MetricName: "policy/" + version, MetricValue: 0.5}}})
	}
	stage("", "CANDIDATE")
	stage("CANDIDATE", "VALIDATING")
	for _, c := range []string{"performance", "safety", "regression", "chaos", "property", "security"} {
		if c != r.skip {
			p.fact("simic", &evidencev2.PolicyFact{Version: version, Check: c, Passed: c != r.failed, WeightsSha256: d})
		}
	}
	from := "VALIDATING"
	if !r.jump {
		stage(from, "TESTING")
		share := 0.1
		if r.whole {
			share = 1
		}
		update(policyv2.PolicyStage_TESTING, share)
		given := weights
		if r.swapped {
			given = []float32{1, -2, 0.25}
		}
		p.mail("simic", "tamiyo", &innovationv2.PolicyWeights{Version: version, Status: innovationv2.RequestStatus_DONE, Weights: given})
		if !r.untold {
			p.mail("tamiyo", "simic", &innovationv2.PolicyVerdict{Version: version, Decisions: 10, Successes: 9})
		}
		stage("TESTING", "STAGED")
		from = "STAGED"
	}
	if r.renamed {
		d = digestOf(weights[:2])
	}
	stage(from, "PRODUCTION")
	update(policyv2.PolicyStage_PRODUCTION, 1)
}

// reports follows a report to Simic. outcome is what becomes of it, if anything.
func (p *tape) reports(id, outcome string, acknowledged bool) {
	b := p.seal(&envelopev2.EventEnvelope{EventId: id, Topic: "innovation.field_reports"}, &operationalv2.FieldReport{ReportId: id}, false)
	p.sentBytes("tamiyo", "oona", b)
	p.accepted("tamiyo", "innovation.field_reports", id, 1)
	p.mail("oona", "simic", &busv2.Delivery{Group: "simic-trainer", Topic: "innovation.field_reports", Offset: 1, Attempt: 1, Envelope: b})
	if outcome != "" {
		p.fact("simic", &evidencev2.ReportFact{ReportId: id, Action: outcome})
	}
	if acknowledged {
		p.sent("simic", "oona", &busv2.Ack{Group: "simic-trainer", Consumer: "simic", Topic: "innovation.field_reports", Offset: 1})
	}
}

func found(t *testing.T, id string, run func(p *tape)) []checkers.Violation {
	t.Helper()
	s, err := checkers.NewSuite([]string{id}, params(), 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	run(newTape(t, s))
	list, err := s.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Each clause of I8, broken alone.
func TestReleases(t *testing.T) {
	if list := found(t, "I8", func(p *tape) { p.release(release{}) }); len(list) > 0 {
		t.Errorf("a good release: %v", list)
	}
	for _, r := range []release{{skip: "performance"}, {skip: "security"}, {failed: "safety"}, {jump: true}, {untold: true}, {whole: true},
		{swapped: true}, {renamed: true}, {early: true}} {
		t.Run(fmt.Sprintf("%+v", r), func(t *testing.T) {
			if list := found(t, "I8", func(p *tape) { p.release(r) }); len(list) == 0 {
				t.Error("not found")
			}
		})
	}
}

// A restart that says again where a policy stands is no step, and one that says
// what a crash left unsaid is one.
func TestReleaseOverARestart(t *testing.T) {
	say := func(p *tape, from, to string) {
		p.fact("simic", &evidencev2.PolicyFact{Version: "v", From: from, To: to, WeightsSha256: digestOf(weights)})
	}
	if list := found(t, "I8", func(p *tape) {
		say(p, "", "CANDIDATE")
		say(p, "CANDIDATE", "CANDIDATE")
		say(p, "VALIDATING", "VALIDATING")
	}); len(list) > 0 {
		t.Errorf("%v", list)
	}
	if list := found(t, "I8", func(p *tape) {
		say(p, "", "CANDIDATE")
		say(p, "STAGED", "STAGED")
	}); len(list) == 0 {
		t.Error("two steps at once are not found")
	}
}

// Each clause of L4, clean and guilty.
func TestLessons(t *testing.T) {
	subscribe := func(p *tape) {
		p.sent("simic", "oona", &busv2.Subscribe{Group: "simic-trainer", Consumer: "simic"})
	}
	for name, c := range map[string]struct {
		guilty bool
		run    func(p *tape)
	}{
		"taken in, then acknowledged": {false, func(p *tape) { p.reports("report/a", "EXPERIENCE", true) }},
		"rejected, then acknowledged": {false, func(p *tape) { p.reports("report/a", "REJECTED", true) }},
		"acknowledged and forgotten":  {true, func(p *tape) { p.reports("report/a", "", true) }},
		"taken in twice": {true, func(p *tape) {
			p.reports("report/a", "EXPERIENCE", true)
			p.reports("report/a", "EXPERIENCE", true)
		}},
		"a duplicate of nothing": {true, func(p *tape) { p.reports("report/a", "DUPLICATE", true) }},
		"a duplicate":            {false, func(p *tape) { p.reports("report/a", "EXPERIENCE", true); p.reports("report/a", "DUPLICATE", true) }},
		"stored before a crash": {false, func(p *tape) {
			p.reports("report/a", "", false)
			p.fact("simic", &evidencev2.LogFact{Log: "simic", Action: evidencev2.LogAction_LOG_RECOVERED})
			p.reports("report/a", "DUPLICATE", true)
		}},
		"a breaker holds it up": {false, func(p *tape) {
			p.reports("report/a", "", false)
			p.fact("simic", &evidencev2.BreakerFact{Subsystem: "simic", Breaker: "simic/storage", From: "CLOSED", To: "OPEN"})
		}},
		"it waits for ever": {true, func(p *tape) { p.reports("report/a", "", false) }},
	} {
		t.Run(name, func(t *testing.T) {
			list := found(t, "L4", func(p *tape) {
				subscribe(p)
				c.run(p)
				p.wait(time.Minute)
				p.fact("simic", &evidencev2.ModeFact{})
			})
			if c.guilty != (len(list) > 0) {
				t.Errorf("%v", list)
			}
		})
	}
}
