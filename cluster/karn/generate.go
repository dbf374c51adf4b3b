package karn

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/gpu"
)

// degradedRisk is the most risk of a design in degraded mode.
const degradedRisk = 0.3

// tries is how many templates are tried for one design.
const tries = 4

// generate decides on a design, logs it and has it stored. It returns the
// design, or nil where nothing within the limits passes the sandbox.
func (k *karn) generate(request string, stage uint32, risk float64) *statev2.KarnDesign {
	if k.degraded {
		risk = min(risk, degradedRisk)
	}
	l := limits{stage: stage, risk: min(risk, adversarialRisk), tiers: map[Tier]bool{Production: true, Experimental: k.m.mayExperiment()}, without: map[string]bool{}}
	for range tries {
		t := choose(k.m.scores(k.env.Clock.Now()), l)
		if t == nil {
			return nil
		}
		l.without[t.ID] = true
		d, ir, err := k.design(t, l.risk)
		if err != nil {
			k.env.Log.Error(t.ID + ": " + err.Error())
			continue
		}
		k.env.Clock.Work(gpu.Design, len(ir.Nodes))
		if d.RiskScore > l.risk || k.m.forbidden[d.BlueprintId] != "" {
			continue
		}
		if err := sandbox(ir, k.width); err != nil {
			k.quarantine(d.BlueprintId, err.Error())
			continue
		}
		d.RequestId, d.At = request, timestamppb.New(k.env.Clock.Now())
		if !k.log.Write(&statev2.KarnRecord{Design: d}) {
			return nil
		}
		k.tell(d.BlueprintId, "SUBMITTING", "")
		k.store(d)
		return d
	}
	return nil
}

// design is the next design of a template: itself, then its mutations of at most
// a risk.
func (k *karn) design(t *Template, risk float64) (*statev2.KarnDesign, *blueprintv2.BlueprintIR, error) {
	ir, err := t.IR(k.width)
	if err != nil {
		return nil, nil, err
	}
	d := &statev2.KarnDesign{BlueprintId: kernel.ID(ir), TemplateId: t.ID, RiskScore: t.Risk, CurriculumStage: t.Stage}
	if k.m.designs[d.BlueprintId] == nil {
		return d, ir, nil
	}
	m, ir := k.mutation(t, risk)
	if m == nil {
		return nil, nil, fmt.Errorf("it has no new mutation of a risk of at most %v", risk)
	}
	if k.m.stored(d.BlueprintId) {
		m.ParentBlueprintId = d.BlueprintId
	}
	return m, ir, nil
}

// litter is how many new mutations one is chosen of.
const litter = 4

// mutation is, of the next new mutations of a template, of at most a risk, the one
// whose patterns promise most; of equals the first. nil: there is none.
func (k *karn) mutation(t *Template, most float64) (best *statev2.KarnDesign, graph *blueprintv2.BlueprintIR) {
	now := k.env.Clock.Now()
	promise := 0.0
	var seen []string
	for n := uint64(1); n <= 200 && len(seen) < litter; n++ {
		ir, risk, err := variant(t, n, k.width)
		if err != nil || ir == nil || risk > most {
			continue
		}
		id := kernel.ID(ir)
		if k.m.designs[id] != nil || k.m.forbidden[id] != "" || slices.Contains(seen, id) {
			continue
		}
		d := &statev2.KarnDesign{BlueprintId: id, TemplateId: t.ID, Variant: n, RiskScore: risk, CurriculumStage: t.Stage}
		if p := k.m.patterns.expect(textOf(d), now); best == nil || p > promise {
			best, graph, promise = d, ir, p
		}
		seen = append(seen, id)
	}
	if best != nil && best.BlueprintId != seen[0] {
		k.env.Probe.Reached("karn/pattern")
	}
	return best, graph
}

// variant is the n-th mutation of a template and its risk; nil: nothing changed.
func variant(t *Template, n uint64, width int) (*blueprintv2.BlueprintIR, float64, error) {
	text, changed := mutate(t, n)
	if changed == 0 {
		return nil, 0, nil
	}
	ir, err := Build(text, fmt.Sprint(t.ID, "/", n), width)
	return ir, t.Risk + mutationRisk*float64(changed), err
}

// graph makes a design's graph again.
func (k *karn) graph(d *statev2.KarnDesign) (*blueprintv2.BlueprintIR, error) {
	t := FindTemplate(d.TemplateId)
	if t == nil {
		return nil, fmt.Errorf("there is no template %q", d.TemplateId)
	}
	if d.Variant == 0 {
		return t.IR(k.width)
	}
	ir, _, err := variant(t, d.Variant, k.width)
	return ir, err
}

// store asks the library to store a design, until it answers.
func (k *karn) store(d *statev2.KarnDesign) {
	ir, err := k.graph(d)
	if err != nil || ir == nil || kernel.ID(ir) != d.BlueprintId {
		// The log is of another version of the templates.
		k.settle(d.BlueprintId, assetsv2.AssetStatus_REFUSED, "its template has changed")
		return
	}
	m := &assetsv2.StoreBlueprint{BlueprintId: d.BlueprintId, Ir: ir, CreatorSubsystem: Subsystem, RiskScore: d.RiskScore, CurriculumStage: d.CurriculumStage,
		Metadata: []*blueprintv2.MetadataEntry{{Key: "template", Value: d.TemplateId}},
		Announce: &eventsv2.BlueprintSubmittedEvent{TamiyoInterest: k.interest(d), TargetHardware: []string{k.o.Hardware}}}
	if d.ParentBlueprintId != "" {
		m.ParentBlueprintIds = []string{d.ParentBlueprintId}
	}
	ticket, admitted := k.breaker.Allow(k.env.Clock.Monotonic())
	if !admitted {
		return // it is asked again when the breaker lets it: see retry
	}
	if k.library.Asks(d.BlueprintId) {
		return
	}
	k.tickets[d.BlueprintId] = ticket
	k.library.Ask(d.BlueprintId, m, func(r canon.Message) {
		reply, ok := r.(*assetsv2.StoreReply)
		if !ok {
			return
		}
		k.done(d.BlueprintId, true)
		k.settle(d.BlueprintId, reply.Status, reply.Reason)
	})
}

// interest is how much is expected of a design: what was asked for is wanted
// most, and then what did well before.
func (k *karn) interest(d *statev2.KarnDesign) float64 {
	if d.RequestId != "" {
		return 0.9
	}
	return min(max(k.m.scores(k.env.Clock.Now())[d.TemplateId].mean(), 0), 0.8)
}

// settle notes the library's answer, and answers who waits for it.
func (k *karn) settle(id string, status assetsv2.AssetStatus, reason string) {
	if !k.log.Write(&statev2.KarnRecord{SettledBlueprintId: id, Status: status}) {
		return // it is asked again when the log is open
	}
	if !k.m.stored(id) {
		k.quarantine(id, reason)
	}
	k.tell(id, "SUBMITTED", reason)
	for _, w := range slices.Clone(k.waiting) {
		if k.m.requests[w.request] == id {
			k.answer(w.request)
		}
	}
}

// quarantine has nothing derived from a design any more.
func (k *karn) quarantine(id, why string) {
	if k.m.forbidden[id] != "" {
		return
	}
	if why == "" {
		why = "it was not accepted"
	}
	if k.log.Write(&statev2.KarnRecord{QuarantinedBlueprintId: id, Reason: why}) {
		k.tell(id, "QUARANTINED", why)
	}
}

// exercise runs an adversarial template in the sandbox, which must find what is
// wrong with it.
func (k *karn) exercise() {
	var hostile []*Template
	for i := range Templates {
		if Templates[i].Tier() == Adversarial {
			hostile = append(hostile, &Templates[i])
		}
	}
	t := hostile[k.exercised%len(hostile)]
	k.exercised++
	ir, err := t.IR(k.width)
	if err == nil {
		k.env.Clock.Work(gpu.Design, len(ir.Nodes))
		err = sandbox(ir, k.width)
	}
	if err == nil {
		k.env.Log.Error(t.ID + ": the sandbox finds nothing wrong with it")
		k.tell(t.ID, "ESCAPED", "")
		return
	}
	k.tell(t.ID, "SANDBOXED", err.Error())
}

func (k *karn) tell(id, state, why string) {
	k.env.Facts.Record(&evidencev2.JobFact{JobId: id, Subsystem: Subsystem, State: state, Reason: why})
}
