package tamiyo

import (
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/policy"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	policyv2 "github.com/esper-sim/espersim/contracts/generated/go/policy/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// releases is the topic that Simic announces its policies on.
const releases = "innovation.policy"

// choice is which policy chose the kernel of a command, and how likely that was.
type choice struct {
	version    string
	likelihood float64
}

// announced takes an announcement of Simic's: logged, so that a restart knows
// which version is in use, and only then followed. It says whether it is.
func (t *tamiyo) announced(m *policyv2.PolicyUpdate) bool {
	c := new(policyv2.PolicyUpdate)
	if err := c.ParseCanonical(m.AppendCanonical(nil)); err != nil || c.Version == "" || c.Target != Subsystem {
		return true // for somebody else
	}
	if !t.journal.write(&statev2.TamiyoRecord{Policy: c}) {
		return false
	}
	t.learned.Announce(c)
	delete(t.recalled, c.Version)
	return true
}

// prefer lets a policy that was learnt choose the kernel of a germination: of
// fit, the first of those that are of the family it wants. What else is done, and
// when, stays the decision of the policy of the job. Where none of fit is of that
// family the choice is not the learned policy's, and its report does not say so.
func (t *tamiyo) prefer(a *Action, fit []string, epoch int64, loss float64) choice {
	if !t.o.Learned || a.Kind != MoveSeed || a.Kernel == "" {
		return choice{}
	}
	builtIn := t.job.KernelIDs()
	at, who := uint64(t.p.generation)<<32|uint64(epoch), uint64(a.Seed.Layer)<<32|uint64(uint32(a.Seed.Seed))
	d := t.learned.Decide(policy.Features(loss, a.Seed.Layer, a.Seed.Seed), t.env.Rand.For("policy-lot", at, who), t.env.Rand.For("policy-draw", at, who))
	if d.Version == "" {
		return choice{}
	}
	i := slices.IndexFunc(fit, func(id string) bool {
		action, ok := policy.Family(id, builtIn)
		return ok && action == d.Action
	})
	if i < 0 {
		return choice{}
	}
	t.env.Probe.Reached("tamiyo/learned")
	if t.recalled[d.Version] {
		t.env.Probe.Reached("tamiyo/learned-before-a-restart")
	}
	a.Kernel = fit[i]
	return choice{d.Version, d.Likelihood}
}

// metrics are what the report of an adaptation says of the policy behind it.
func (c choice) metrics() []*operationalv2.EvaluationMetric {
	if c.version == "" {
		return nil
	}
	return []*operationalv2.EvaluationMetric{{MetricName: "policy/" + c.version, MetricValue: c.likelihood}}
}

// tellSimic asks for weights that are missing, and tells how the choices of each
// policy ended. The totals come from the log, and only grow.
func (t *tamiyo) tellSimic() {
	t.learned.Ask()
	for _, v := range t.learned.Versions() {
		if n := t.journal.ended[v]; n.all > 0 {
			t.env.Net.Send(t.job.Simic, &innovationv2.PolicyVerdict{Version: v, Subsystem: Subsystem, Decisions: n.all, Successes: n.good},
				actor.SendOptions{Key: fmt.Sprint("verdict/", v, "/", n.all)})
		}
	}
}

// count is how the choices of a policy ended.
type count struct{ all, good int64 }

// releases lists the newest announcement of each version, oldest first.
func (j *journal) releases() []*policyv2.PolicyUpdate { return j.policies }

// release enters an announcement: the newest word on a version counts.
func (j *journal) release(m *policyv2.PolicyUpdate) {
	for i, p := range j.policies {
		if p.Version == m.Version {
			j.policies = append(j.policies[:i], j.policies[i+1:]...)
			break
		}
	}
	j.policies = append(j.policies, m)
}
