package emrakul

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/auxiliary"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// The states of a cycle.
const (
	collecting  = "COLLECTING"
	analysing   = "ANALYSING"
	aggregating = "AGGREGATING"
	validating  = "VALIDATING"
	applying    = "APPLYING"
	monitoring  = "MONITORING"
	rollingBack = "ROLLING_BACK"
	skipped     = "SKIPPED"
	applied     = "APPLIED"
	rolledBack  = "ROLLED_BACK"
)

// every is how often what was not answered is asked again.
const every = time.Second

// work is what a cycle has so far, in memory only.
type work struct {
	since    time.Duration // of the state
	attempt  uint32
	all      []*pruningv2.PruningTarget
	shards   [][]*pruningv2.PruningTarget
	answered []bool
	proposed []*pruningv2.PruningTarget
	targets  []*pruningv2.PruningTarget
	ratio    float64
	begun    bool // under the breaker's ticket
}

// idle says whether a new cycle may begin.
func (m *emrakul) idle() bool {
	return m.now == nil || slices.Contains([]string{skipped, applied, rolledBack}, m.now.State)
}

// begin starts a cycle for a checkpoint, if there is none and its turn has come.
func (m *emrakul) begin(checkpoint string, epoch int64, generation uint32) {
	if m.log == nil || !m.idle() || m.now != nil && m.now.IdempotencyKey == m.key(checkpoint, epoch, generation) {
		return
	}
	if l := limitsOf(epoch); l.cycle == 0 {
		return // measured or monitored, and nothing is done
	}
	t, ok := m.breaker.Allow(m.env.Clock.Monotonic())
	if !ok {
		return
	}
	m.ticket = t
	if m.step(&statev2.PruningRecord{IdempotencyKey: m.key(checkpoint, epoch, generation), CheckpointId: checkpoint, Epoch: epoch, State: collecting}) {
		m.work.begun = true
	}
}

// step takes the cycle to a state and does what begins there.
func (m *emrakul) step(p *statev2.PruningRecord) bool {
	if !m.write(p) {
		return false
	}
	m.work.since, m.work.attempt = m.env.Clock.Monotonic(), 0
	m.ask()
	return true
}

// to is a step of the present cycle.
func (m *emrakul) to(state, why string) bool {
	n := m.now
	return m.step(&statev2.PruningRecord{IdempotencyKey: n.IdempotencyKey, CheckpointId: n.CheckpointId, Epoch: n.Epoch, State: state, Mask: n.Mask, Reason: why})
}

// end ends the cycle. One that failed counts against the breaker; one with
// nothing to do does not.
func (m *emrakul) end(state, why string, failed bool) {
	begun := m.work.begun
	if !m.to(state, why) {
		return
	}
	m.work = work{}
	if begun {
		m.breaker.Done(m.env.Clock.Monotonic(), m.ticket, !failed)
	}
}

// resume takes up the cycle that the log ends with.
func (m *emrakul) resume() {
	if m.idle() {
		return
	}
	m.work.since = m.env.Clock.Monotonic()
	switch m.now.State {
	case applying, monitoring, rollingBack:
		m.ask()
	default:
		m.end(skipped, "a restart", false)
	}
}

// ask asks whoever the cycle waits for.
func (m *emrakul) ask() {
	w, n := &m.work, m.now
	o := func(key string) actor.SendOptions {
		return actor.SendOptions{Key: key, Attempt: w.attempt, CorrelationID: n.IdempotencyKey}
	}
	switch n.State {
	case collecting:
		m.env.Net.Send(m.measures, &pruningv2.StatisticsRequest{IdempotencyKey: n.IdempotencyKey, CheckpointId: n.CheckpointId}, o("statistics/"+n.IdempotencyKey))
	case analysing:
		l := limitsOf(n.Epoch)
		for i, s := range w.shards {
			if w.answered[i] || len(s) == 0 {
				continue
			}
			key := fmt.Sprint(n.IdempotencyKey, ":", i)
			m.env.Net.Send(actor.ID(fmt.Sprint(m.job.Elesh, "-", i+1)), &pruningv2.StructuralAnalysisRequest{IdempotencyKey: key, CheckpointId: n.CheckpointId,
				Phase: l.phase, Candidates: s, Ratio: l.cycle, Deadline: timestamppb.New(m.env.Clock.Now().Add(m.o.Analyse))}, o("analyse/"+key))
		}
	case validating:
		m.env.Net.Send(m.job.Urabrask, &pruningv2.PruningValidation{IdempotencyKey: n.IdempotencyKey, CheckpointId: n.CheckpointId, Phase: limitsOf(n.Epoch).phase,
			Targets: w.targets, Ratio: w.ratio, Deadline: timestamppb.New(m.env.Clock.Now().Add(m.o.Validate))}, o("validate/"+n.IdempotencyKey))
	case applying, rollingBack:
		m.env.Net.Send(m.masks, n.Mask, o(strings.ToLower(n.State)+"/"+n.IdempotencyKey))
	}
	w.attempt++
}

// tick ends what has taken too long, and asks again.
func (m *emrakul) tick() {
	if m.log == nil || m.idle() {
		return
	}
	took := m.env.Clock.Monotonic() - m.work.since
	switch s := m.now.State; {
	case s == collecting && took >= m.o.Collect:
		m.end(skipped, "no statistics came", true)
	case s == analysing && took >= m.o.Analyse:
		m.aggregate()
	case s == validating && took >= m.o.Validate:
		m.end(skipped, "no verdict came", true)
	case s == applying && took >= m.o.Apply:
		m.withdraw("nobody has loaded it")
	case s == monitoring && took >= m.o.Monitor:
		m.end(applied, "", false)
	case s != monitoring:
		m.ask()
	}
}

// goBack ends the cycle of a checkpoint that is undone: without a mask it is
// skipped, and a mask that is out is taken back.
func (m *emrakul) goBack(to auxiliary.Point) bool {
	switch {
	case m.log == nil:
		return m.refused != nil // where nothing is known of a cycle, there is none
	case m.idle() || m.now.Epoch <= to.Epoch:
		return true
	case m.now.State == applying || m.now.State == monitoring:
		m.withdraw("its checkpoint was undone by a rollback")
	case m.now.State != rollingBack:
		m.end(skipped, "its checkpoint was undone by a rollback", false)
	}
	return m.log != nil
}

// waitsFor says whether the present cycle has a key and waits in a state.
func (m *emrakul) waitsFor(state, key string) bool {
	return m.log != nil && m.now != nil && m.now.State == state && m.now.IdempotencyKey == key
}

// collected takes the statistics, and has them analysed.
func (m *emrakul) collected(from actor.ID, x *pruningv2.StatisticsReply) {
	if from != m.measures || !m.waitsFor(collecting, x.IdempotencyKey) {
		return
	}
	m.work.all = nil
	for _, t := range x.Candidates {
		m.work.all = append(m.work.all, &pruningv2.PruningTarget{ParameterId: strings.Clone(t.ParameterId), Structure: strings.Clone(t.Structure), Index: t.Index, Redundancy: t.Redundancy})
	}
	m.work.shards = shard(m.work.all, m.o.Workers)
	m.work.answered, m.work.proposed = make([]bool, m.o.Workers), nil
	m.to(analysing, "")
}

// analysed takes a worker's answer.
func (m *emrakul) analysed(from actor.ID, x *pruningv2.StructuralAnalysisDecision) {
	i := strings.LastIndexByte(x.IdempotencyKey, ':')
	if i < 0 || !m.waitsFor(analysing, x.IdempotencyKey[:i]) {
		return
	}
	for k := range m.work.shards {
		if x.IdempotencyKey[i+1:] != fmt.Sprint(k) || m.work.answered[k] || from != actor.ID(fmt.Sprint(m.job.Elesh, "-", k+1)) {
			continue
		}
		m.work.answered[k] = true
		for _, t := range x.Targets {
			m.work.proposed = append(m.work.proposed, &pruningv2.PruningTarget{ParameterId: strings.Clone(t.ParameterId), Structure: strings.Clone(t.Structure), Index: t.Index, Redundancy: t.Redundancy})
		}
	}
	for k, s := range m.work.shards {
		if len(s) > 0 && !m.work.answered[k] {
			return
		}
	}
	m.aggregate()
}

// aggregate joins what the workers have proposed. Those that have not answered
// propose nothing.
func (m *emrakul) aggregate() {
	if !m.to(aggregating, "") {
		return
	}
	if !slices.Contains(m.work.answered, true) {
		m.end(skipped, "no analysis came", true)
		return
	}
	targets, added := plan(m.work.all, m.applied.GetTargets(), m.work.proposed, limitsOf(m.now.Epoch))
	if added == 0 {
		m.end(skipped, "nothing is to be masked", false)
		return
	}
	m.work.targets, m.work.ratio = targets, float64(len(targets))/float64(len(m.work.all))
	m.to(validating, "")
}

// validated takes Urabrask's verdict.
func (m *emrakul) validated(from actor.ID, x *pruningv2.PruningValidation) {
	if from != m.job.Urabrask || !m.waitsFor(validating, x.IdempotencyKey) {
		return
	}
	targets := m.work.targets
	switch x.Verdict {
	case pruningv2.PruningVerdict_GO:
	case pruningv2.PruningVerdict_CONDITIONAL_GO:
		old := len(m.applied.GetTargets())
		targets = targets[:old+(len(targets)-old+1)/2]
	case pruningv2.PruningVerdict_NO_GO:
		m.end(skipped, "no go: "+x.Reason, false)
		return
	default:
		return
	}
	n := m.now
	m.step(&statev2.PruningRecord{IdempotencyKey: n.IdempotencyKey, CheckpointId: n.CheckpointId, Epoch: n.Epoch, State: applying,
		Mask: &pruningv2.PruningMask{IdempotencyKey: n.IdempotencyKey, CheckpointId: n.CheckpointId, Epoch: n.Epoch, Targets: targets,
			Ratio: float64(len(targets)) / float64(len(m.work.all)), ValidationId: n.IdempotencyKey, Version: m.applied.GetVersion() + 1}})
}

// outcome takes a participant's word on a mask.
func (m *emrakul) outcome(from actor.ID, x *pruningv2.PruningOutcome) {
	if from != m.masks {
		return
	}
	switch {
	case m.waitsFor(applying, x.IdempotencyKey) && x.Applied:
		m.to(monitoring, "")
	case m.waitsFor(applying, x.IdempotencyKey):
		m.withdraw(x.Reason)
	case m.waitsFor(monitoring, x.IdempotencyKey) && !x.Applied:
		m.withdraw(x.Reason)
	case m.waitsFor(monitoring, x.IdempotencyKey) && x.AccuracyDrop > m.o.Drop:
		m.withdraw(fmt.Sprintf("the accuracy drops by %.3f", x.AccuracyDrop))
	case m.waitsFor(rollingBack, strings.TrimSuffix(x.IdempotencyKey, ":back")) && x.Applied && strings.HasSuffix(x.IdempotencyKey, ":back"):
		m.end(rolledBack, m.now.Reason, true)
	}
}

// withdraw takes the mask that is out back: what was masked before it counts
// again.
func (m *emrakul) withdraw(why string) {
	n := m.now
	back := &pruningv2.PruningMask{IdempotencyKey: n.IdempotencyKey + ":back", CheckpointId: n.CheckpointId, Epoch: n.Epoch,
		Targets: m.before.GetTargets(), Ratio: m.before.GetRatio(), ValidationId: m.before.GetValidationId(), Version: m.applied.GetVersion() + 1}
	m.step(&statev2.PruningRecord{IdempotencyKey: n.IdempotencyKey, CheckpointId: n.CheckpointId, Epoch: n.Epoch, State: rollingBack, Mask: back, Reason: why})
}
