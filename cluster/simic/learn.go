package simic

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/policy"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/gpu"
)

// train makes one step, and a candidate every so many steps.
func (s *simic) train() {
	j := &s.journal
	if j.log == nil {
		return
	}
	j.buffer.expire(s.env.Clock.Monotonic())
	if len(j.buffer.entries) < s.o.Min || j.buffer.trainable() == 0 {
		return
	}
	size := s.o.Batch
	if s.conservative {
		size = max(size/2, 1)
	}
	step := j.learner.Steps
	var batch []drawn
	if !s.guarded("sampling", sampleBudget, func() bool {
		batch = j.buffer.sample(size, func(i int) uint64 { return s.lot(step, uint64(i)) })
		return len(batch) > 0
	}) {
		return
	}
	s.guarded("training", stepBudget, func() bool { return s.step(batch) })
	if s.journal.log == nil {
		return
	}
	if j.learner.Steps > step && j.learner.Steps%uint64(s.o.Steps) == 0 && s.underWay() == nil {
		s.propose()
	}
}

// lot is the random number of the i-th draw of a step. Hashes of numbers that
// follow each other may do so, too, as every eighth of a batch once did, which
// fell on one experience: the number is hashed into its own hash.
func (s *simic) lot(step, i uint64) uint64 {
	return s.env.Rand.For("lot", s.env.Rand.For("sample", step, i), i)
}

// step updates the learner by a batch. A step whose result is no policy is
// undone.
func (s *simic) step(batch []drawn) bool {
	j := &s.journal
	n, err := policy.Load(j.learner.Weights)
	if err != nil {
		n = new(policy.Net) // the first one: every kernel is as likely as the others
	}
	samples := make([]policy.Sample, len(batch))
	for i, b := range batch {
		samples[i] = sampleOf(j.buffer.entries[b.at].Experience, b.weight)
	}
	errs := n.Step(samples)
	if _, err := policy.Load(n.Weights()); err != nil {
		return false
	}
	s.tellOf(batch)
	for i, b := range batch {
		j.buffer.learnt(b.at, errs[i])
	}
	next := &statev2.LearnerState{Weights: n.Weights(), Steps: j.learner.Steps + 1, Versions: j.learner.Versions}
	// Losing a step costs its repetition: it is made durable with what follows.
	if !j.note(&statev2.SimicRecord{Learner: next}) {
		s.unstored()
		return false
	}
	s.env.Clock.Work(gpu.PolicyStep, len(batch))
	if next.Steps%50 == 0 {
		s.strategy(false)
	}
	return true
}

// tellOf declares what a step is about to learn from.
func (s *simic) tellOf(batch []drawn) {
	b := s.journal.buffer
	f := &evidencev2.SampleFact{Step: s.journal.learner.Steps, Trainable: uint32(b.trainable())}
	for _, d := range batch {
		f.Draws = append(f.Draws, &evidencev2.DrawnExperience{ReportId: b.entries[d.at].ReportId, Share: float64(d.share), Weight: float64(d.weight)})
	}
	s.env.Facts.Record(f)
}

// strategyEvery is how often Jace is told the stage though it has not changed: a
// Jace that was restarted has forgotten it.
const strategyEvery = 30 * time.Second

// strategy tells Jace how far training has come: stage 0 before there is any
// policy, 6 with one in production that everything is decided by.
func (s *simic) strategy(again bool) {
	stage, confidence := 0, 0.5
	names := []string{"explore"}
	if s.journal.learner.Steps >= 100 {
		stage = 1
	}
	for _, p := range s.journal.policies {
		switch p.Stage {
		case policyv2.PolicyStage_TESTING:
			stage, names = max(stage, 3), []string{"explore", "compare"}
		case policyv2.PolicyStage_STAGED:
			stage, names = max(stage, 4), []string{"compare"}
		case policyv2.PolicyStage_PRODUCTION:
			stage, names, confidence = max(stage, 5), []string{"exploit", "compare"}, 0.8
		}
	}
	if stage == s.told && !again {
		return
	}
	s.told = stage
	s.word++
	id := fmt.Sprint("strategy/", s.env.Incarnation, "/", s.word)
	s.box.Put(outbox.Letter{ID: id, Topic: strategies, Tries: 10, Yields: true, Options: actor.SendOptions{RunID: s.job.RunID},
		Message: &innovationv2.StrategyEvent{EventId: id, StrategyStage: uint32(stage), Strategies: names, Confidence: confidence}})
}

// follow takes Jace's word on which curriculum leads. It is worth no log: the
// next decision says it again.
func (s *simic) follow(m *policyv2.CurriculumDecision) { s.curriculum = m.Mode }

// pace is the time between two steps: half of it where the task is ahead of the
// strategies, and twice of it where they are ahead of the task.
func (s *simic) pace() time.Duration {
	switch s.curriculum {
	case policyv2.CurriculumMode_TASK_DRIVEN:
		return s.o.Every / 2
	case policyv2.CurriculumMode_STRATEGY_DRIVEN:
		return s.o.Every * 2
	}
	return s.o.Every
}
