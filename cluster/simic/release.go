package simic

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/auxiliary"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/policy"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/gpu"
)

// underWay is the policy that is being released; nil: none is.
func (s *simic) underWay() *statev2.PolicyRecord {
	if len(s.journal.policies) == 0 {
		return nil
	}
	p := s.journal.policies[len(s.journal.policies)-1]
	if p.Stage < policyv2.PolicyStage_PRODUCTION && !superseded(p) {
		return p
	}
	return nil
}

// reserve is the reason of a policy that is STAGED because another one took its
// place.
const reserve = "superseded by "

func superseded(p *statev2.PolicyRecord) bool {
	return p.Stage == policyv2.PolicyStage_STAGED && len(p.Reason) > len(reserve) && p.Reason[:len(reserve)] == reserve
}

// propose makes a candidate of the learner as it is.
func (s *simic) propose() {
	l := s.journal.learner
	next := &statev2.LearnerState{Weights: l.Weights, Steps: l.Steps, Versions: l.Versions + 1}
	p := &statev2.PolicyRecord{Version: fmt.Sprint("simic-", next.Versions), Stage: policyv2.PolicyStage_CANDIDATE, Weights: l.Weights}
	if was := s.journal.inStage(policyv2.PolicyStage_PRODUCTION); was != nil {
		p.Previous = was.Version
	}
	if !s.journal.write(&statev2.SimicRecord{Learner: next}, &statev2.SimicRecord{Policy: p}) {
		s.unstored()
		return
	}
	s.declare(p, policyv2.PolicyStage_POLICY_STAGE_UNSPECIFIED)
}

// clone is a copy of a record that may be changed.
func clone(p *statev2.PolicyRecord) *statev2.PolicyRecord {
	c := new(statev2.PolicyRecord)
	if err := c.ParseCanonical(p.AppendCanonical(nil)); err != nil {
		panic(err) // it is what was just encoded
	}
	return c
}

// elapsed is how long a policy has stood in its stage, as far as this life and
// the log know.
func (s *simic) elapsed(p *statev2.PolicyRecord) time.Duration {
	now := s.env.Clock.Monotonic()
	since, ok := s.entered[p.Version]
	if !ok {
		since = now
		s.entered[p.Version] = now
	}
	return time.Duration(p.StageMs)*time.Millisecond + now - since
}

// goBack begins the test of a policy anew: what it did in epochs that are undone
// says nothing about it. Reports stay, since they are of what was seen.
func (s *simic) goBack(auxiliary.Point) bool {
	p := s.underWay()
	if p == nil || p.Stage != policyv2.PolicyStage_TESTING {
		return true
	}
	next := clone(p)
	next.StageMs = 0
	if s.journal.log == nil || !s.journal.write(&statev2.SimicRecord{Policy: next}) {
		s.unstored()
		return false
	}
	s.env.Probe.Reached("simic/tests-anew")
	s.entered[p.Version] = s.env.Clock.Monotonic()
	return true
}

// move makes records with other stages durable and tells of them.
func (s *simic) move(list ...*statev2.PolicyRecord) bool {
	var records []*statev2.SimicRecord
	var from []policyv2.PolicyStage
	for _, p := range list {
		was := s.journal.find(p.Version)
		from = append(from, was.Stage)
		p.StageMs, p.Announced = 0, false
		records = append(records, &statev2.SimicRecord{Policy: p})
	}
	if !s.journal.write(records...) {
		s.unstored()
		return false
	}
	for i, p := range list {
		s.entered[p.Version] = s.env.Clock.Monotonic()
		s.declare(p, from[i])
	}
	s.announce()
	s.strategy(false)
	return true
}

// declare tells of a change of stage, and of the checks that led to it. After a
// restart, from is the stage itself: a crash may have come before the first word
// of it.
func (s *simic) declare(p *statev2.PolicyRecord, from policyv2.PolicyStage) {
	if from == policyv2.PolicyStage_VALIDATING || from == p.Stage {
		for _, c := range p.Checks {
			s.env.Facts.Record(&evidencev2.PolicyFact{Version: p.Version, Check: c.Name, Passed: c.Passed, Reason: c.Detail, WeightsSha256: policy.Digest(p.Weights)})
		}
	}
	was := ""
	if from != policyv2.PolicyStage_POLICY_STAGE_UNSPECIFIED {
		was = from.String()
	}
	s.env.Facts.Record(&evidencev2.PolicyFact{Version: p.Version, From: was, To: p.Stage.String(), WeightsSha256: policy.Digest(p.Weights), Reason: p.Reason})
}

// progress moves the policy that is being released on, and watches the one in
// production.
func (s *simic) progress() {
	if s.journal.log == nil {
		return
	}
	if p := s.journal.inStage(policyv2.PolicyStage_PRODUCTION); p != nil && s.failing(p) {
		s.withdraw(p)
		return
	}
	p := s.underWay()
	if p == nil {
		return
	}
	next := clone(p)
	switch p.Stage {
	case policyv2.PolicyStage_CANDIDATE:
		next.Stage = policyv2.PolicyStage_VALIDATING
	case policyv2.PolicyStage_VALIDATING:
		if !s.validate(next) {
			return
		}
	default:
		next.Stage, next.Reason = released(p, s.elapsed(p), &s.o)
	}
	switch {
	case next.Stage == p.Stage:
	case next.Stage == policyv2.PolicyStage_PRODUCTION:
		if was := s.journal.inStage(policyv2.PolicyStage_PRODUCTION); was != nil {
			old := clone(was)
			old.Stage, old.Reason = policyv2.PolicyStage_STAGED, reserve+p.Version
			s.move(old, next)
			return
		}
		s.move(next)
	default:
		s.move(next)
	}
}

// released says where a policy goes from its test, or from where it is staged.
func released(p *statev2.PolicyRecord, elapsed time.Duration, o *Options) (policyv2.PolicyStage, string) {
	enough := p.Decisions >= int64(o.Decisions)
	success := 0.0
	if p.Decisions > 0 {
		success = float64(p.Successes) / float64(p.Decisions)
	}
	switch {
	case enough && success < o.Success:
		return policyv2.PolicyStage_ROLLED_BACK, fmt.Sprintf("%d of its %d choices succeeded", p.Successes, p.Decisions)
	case p.Stage == policyv2.PolicyStage_TESTING && elapsed >= 2*o.Test && !enough:
		return policyv2.PolicyStage_ROLLED_BACK, "nobody tested it"
	case p.Stage == policyv2.PolicyStage_TESTING && elapsed >= o.Test && enough:
		return policyv2.PolicyStage_STAGED, ""
	case p.Stage == policyv2.PolicyStage_STAGED && elapsed >= o.Stage:
		return policyv2.PolicyStage_PRODUCTION, ""
	}
	return p.Stage, p.Reason
}

// failing says whether a policy in production does worse than it may.
func (s *simic) failing(p *statev2.PolicyRecord) bool {
	return p.Decisions >= int64(s.o.Decisions) && float64(p.Successes) < s.o.Success*float64(p.Decisions)
}

// withdraw rolls the policy in production back to the version before it.
func (s *simic) withdraw(p *statev2.PolicyRecord) {
	s.move(withdrawn(p, s.journal.find(p.Previous))...)
}

// withdrawn are the records of a withdrawal, in the order in which they become
// durable: a crash between the two leaves both versions in production, and the
// failing one is withdrawn again. The other way it left none.
func withdrawn(p, was *statev2.PolicyRecord) (list []*statev2.PolicyRecord) {
	if was != nil && superseded(was) {
		back := clone(was)
		back.Stage, back.Reason = policyv2.PolicyStage_PRODUCTION, "after "+p.Version
		list = append(list, back)
	}
	gone := clone(p)
	gone.Stage, gone.Reason = policyv2.PolicyStage_ROLLED_BACK, fmt.Sprintf("%d of its %d choices succeeded", p.Successes, p.Decisions)
	return append(list, gone)
}

// validate runs the stages of a candidate's validation. It says whether there is
// a verdict: one that took too long is tried again.
func (s *simic) validate(next *statev2.PolicyRecord) bool {
	s.journal.buffer.expire(s.env.Clock.Monotonic())
	e := &evidence{limit: s.o.Regression, digest: policy.Digest(next.Weights)}
	e.batch, e.harmful = s.journal.buffer.validation()
	if was := s.journal.inStage(policyv2.PolicyStage_PRODUCTION); was != nil {
		if n, err := policy.Load(was.Weights); err == nil {
			e.inUse = n
		}
	}
	start := s.env.Clock.Monotonic()
	v := examine(next.Weights, e)
	s.env.Clock.Work(gpu.PolicyCheck, len(v.checks)*len(e.batch))
	if s.env.Clock.Monotonic()-start > validateBudget {
		return false
	}
	next.Checks, next.Safety, next.Value = v.checks, v.safety, v.value
	if next.Stage = policyv2.PolicyStage_TESTING; !v.passed() {
		last := v.checks[len(v.checks)-1]
		next.Stage, next.Reason = policyv2.PolicyStage_REJECTED, last.Name+": "+last.Detail
	}
	return true
}

// verdict takes the totals of whoever runs a policy. They only grow: one that is
// smaller overtook a newer one.
func (s *simic) verdict(from actor.ID, m *innovationv2.PolicyVerdict) {
	p := s.journal.find(m.Version)
	if s.journal.log == nil || p == nil || from != s.job.Tamiyo || m.Decisions <= p.Decisions || m.Successes < 0 || m.Successes > m.Decisions {
		return
	}
	next := clone(p)
	next.Decisions, next.Successes = m.Decisions, m.Successes
	next.StageMs = s.elapsed(p).Milliseconds()
	s.entered[p.Version] = s.env.Clock.Monotonic()
	if !s.journal.write(&statev2.SimicRecord{Policy: next}) {
		s.unstored()
	}
}

// fetch answers a request for weights.
func (s *simic) fetch(to actor.ID, m *innovationv2.FetchPolicy) {
	r := &innovationv2.PolicyWeights{RequestId: m.RequestId, Version: m.Version, Status: innovationv2.RequestStatus_BUSY}
	if s.journal.log != nil {
		r.Status = innovationv2.RequestStatus_REJECTED
		if p := s.journal.find(m.Version); p != nil && p.Stage >= policyv2.PolicyStage_TESTING && p.Stage <= policyv2.PolicyStage_PRODUCTION {
			r.Status, r.Weights, r.WeightsSha256 = innovationv2.RequestStatus_DONE, p.Weights, policy.Digest(p.Weights)
		}
	}
	s.env.Net.Send(to, r, actor.SendOptions{Key: "weights/" + m.Version, CorrelationID: m.RequestId})
}

// announce publishes the stages that receivers must know of, until the bus has
// them.
func (s *simic) announce() {
	for _, p := range s.journal.policies {
		share := 0.0
		switch p.Stage {
		case policyv2.PolicyStage_TESTING, policyv2.PolicyStage_STAGED:
			share = s.o.Share
		case policyv2.PolicyStage_PRODUCTION:
			share = 1
		case policyv2.PolicyStage_ROLLED_BACK:
		default:
			continue
		}
		if p.Announced || superseded(p) {
			continue
		}
		id, stage, version := "policy/"+p.Version+"/"+p.Stage.String(), p.Stage, p.Version
		if p.Reason != "" && stage == policyv2.PolicyStage_PRODUCTION {
			id += "/" + p.Reason
		}
		m := &policyv2.PolicyUpdate{Version: version, Target: "tamiyo", WeightsRef: "simic/" + version, WeightsSha256: policy.Digest(p.Weights),
			Metrics:     []*telemetryv2.MetricPoint{{Name: "value", Value: p.Value}, {Name: "decisions", IntValue: p.Decisions}, {Name: "successes", IntValue: p.Successes}},
			SafetyScore: p.Safety, ValidationId: "validation/" + version, Stage: stage, Share: share}
		s.box.Put(outbox.Letter{ID: id, Topic: releases, Message: m, Ordered: true, Options: actor.SendOptions{RunID: s.job.RunID},
			Done: func() {
				now := s.journal.find(version)
				if s.journal.log == nil || now == nil || now.Stage != stage {
					return
				}
				next := clone(now)
				next.Announced = true
				if !s.journal.note(&statev2.SimicRecord{Policy: next}) {
					s.unstored()
				}
			}})
	}
}
