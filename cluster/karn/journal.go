package karn

import (
	"time"

	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// The lifetimes of card 05.
const (
	rewardTTL   = 24 * time.Hour
	mostRewards = 10_000
)

// memory is what Karn's log says. It is rebuilt from the records, in order.
type memory struct {
	designs   map[string]*statev2.KarnDesign // by blueprint
	order     []*statev2.KarnDesign
	settled   map[string]assetsv2.AssetStatus
	requests  map[string]string // blueprint of each request
	rewards   []*statev2.KarnReward
	reported  map[string]bool
	verdicts  map[uint32]int // validated kernels by stage of the curriculum
	forbidden map[string]string
	patterns  library
}

func newMemory() memory {
	return memory{designs: map[string]*statev2.KarnDesign{}, settled: map[string]assetsv2.AssetStatus{}, requests: map[string]string{},
		reported: map[string]bool{}, verdicts: map[uint32]int{}, forbidden: map[string]string{}, patterns: newLibrary()}
}

// apply enters a record.
func (m *memory) apply(r *statev2.KarnRecord) {
	switch {
	case r.Design != nil:
		d := r.Design
		if m.designs[d.BlueprintId] == nil {
			m.designs[d.BlueprintId] = d
			m.order = append(m.order, d)
		}
		if d.RequestId != "" {
			m.requests[d.RequestId] = d.BlueprintId
		}
	case r.SettledBlueprintId != "":
		m.settled[r.SettledBlueprintId] = r.Status
	case r.Reward != nil:
		if m.reported[r.Reward.ReportId] {
			break
		}
		m.reported[r.Reward.ReportId] = true
		if m.rewards = append(m.rewards, r.Reward); len(m.rewards) > mostRewards {
			m.rewards = m.rewards[1:]
		}
		d := m.designs[r.Reward.BlueprintId]
		if d == nil {
			break
		}
		if r.Reward.Value == validatedReward {
			m.verdicts[d.CurriculumStage]++
		}
		if text := textOf(d); text != "" {
			m.patterns.learn(text, r.Reward.Value, r.Reward.At.AsTime())
		}
	case r.QuarantinedBlueprintId != "":
		m.forbidden[r.QuarantinedBlueprintId] = r.Reason
	}
}

// stored says whether the library has a design.
func (m *memory) stored(id string) bool {
	s := m.settled[id]
	return s == assetsv2.AssetStatus_STORED || s == assetsv2.AssetStatus_EXISTS
}

// textOf is what a design is built of; empty: its template is not known any more.
func textOf(d *statev2.KarnDesign) string {
	t := FindTemplate(d.TemplateId)
	if t == nil {
		return ""
	}
	if d.Variant == 0 {
		return t.Text
	}
	text, _ := mutate(t, d.Variant)
	return text
}

// scores are the templates' at a time. Rewards of over a day ago do not count;
// what they taught of patterns is what is expected of a template then.
func (m *memory) scores(now time.Time) map[string]score {
	all := map[string]score{}
	for i := range Templates {
		t := &Templates[i]
		all[t.ID] = score{expected: m.patterns.expect(t.Text, now)}
	}
	for _, d := range m.order {
		s := all[d.TemplateId]
		s.used++
		all[d.TemplateId] = s
	}
	for _, r := range m.rewards {
		if now.Sub(r.At.AsTime()) < rewardTTL {
			s := all[r.TemplateId]
			s.sum, s.count = s.sum+r.Value, s.count+1
			all[r.TemplateId] = s
		}
	}
	return all
}

// promotion is how many validated kernels of a stage lead to the next.
const promotion = 3

// stage is the curriculum's.
func (m *memory) stage() uint32 {
	s := uint32(0)
	for s < Stages-1 && m.verdicts[s] >= promotion {
		s++
	}
	return s
}

// riskWindow is how many designs the shares of the risk budget are taken of.
const riskWindow = 20

// mayExperiment says whether one more experimental design keeps to the budget
// of 30 % of the newest designs.
func (m *memory) mayExperiment() bool {
	n, risky := 1, 1
	for i := len(m.order) - 1; i >= 0 && n < riskWindow; i-- {
		n++
		if m.order[i].RiskScore > experimentalRisk {
			risky++
		}
	}
	return float64(risky) <= 0.3*float64(n)
}
