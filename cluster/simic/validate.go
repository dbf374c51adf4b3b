package simic

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/esper-sim/espersim/cluster/policy"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// stages are the stages of a policy's validation, in their order.
var stages = []string{"performance", "safety", "regression", "chaos", "property", "security"}

// evidence is what a candidate is validated against.
type evidence struct {
	batch   []policy.Sample // held out of training
	harmful []bool
	inUse   *policy.Net // in production; nil: the heuristic
	digest  []byte      // of the weights when the candidate was made
	limit   float64     // regression that is allowed, as a share
}

// verdict is what all stages found.
type verdict struct {
	checks []*statev2.PolicyCheck
	safety float64
	value  float64
}

func (v *verdict) passed() bool {
	return len(v.checks) == len(stages) && !slices.ContainsFunc(v.checks, func(c *statev2.PolicyCheck) bool { return !c.Passed })
}

// examine runs every stage; one that fails ends it.
func examine(weights []float32, e *evidence) *verdict {
	v := new(verdict)
	n, err := policy.Load(weights)
	for _, s := range stages {
		var why string
		if err != nil {
			why = err.Error()
		} else {
			why = v.stage(s, n, e)
		}
		v.checks = append(v.checks, &statev2.PolicyCheck{Name: s, Passed: why == "", Detail: why})
		if why != "" {
			break
		}
	}
	return v
}

// stage is what is wrong with a policy, as far as one stage sees.
func (v *verdict) stage(name string, n *policy.Net, e *evidence) string {
	value, harm, plain, plainHarm := n.Estimate(e.batch, func(i int) bool { return e.harmful[i] })
	switch name {
	case "performance":
		v.value = float64(value)
		if len(e.batch) == 0 {
			return "there is nothing to judge it by"
		}
		// It must earn at least what was earned without it.
		if value < plain-float32(0.05*max(plain, -plain)) {
			return fmt.Sprintf("it would have earned %.3f, and %.3f was earned", value, plain)
		}
	case "safety":
		v.safety = 1 - float64(harm)
		if harm > plainHarm+0.05 {
			return fmt.Sprintf("%.3f of its choices would have ended in a rollback; %.3f did", harm, plainHarm)
		}
	case "regression":
		if e.inUse == nil {
			return ""
		}
		was, _, _, _ := e.inUse.Estimate(e.batch, func(i int) bool { return e.harmful[i] })
		if float64(value) < float64(was)-e.limit*max(float64(was), -float64(was)) {
			return fmt.Sprintf("it would have earned %.3f, and the one in production %.3f", value, was)
		}
	case "chaos":
		for _, loss := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 1e300, 5e-324} {
			for _, at := range [][2]int32{{0, 0}, {math.MaxInt32, math.MaxInt32}, {math.MinInt32, math.MinInt32}} {
				if why := sound(n.Probabilities(policy.Features(loss, at[0], at[1]))); why != "" {
					return fmt.Sprintf("with a loss of %g at %v %s", loss, at, why)
				}
			}
		}
	case "property":
		for i := range e.batch {
			p := n.Probabilities(e.batch[i].Features)
			if why := sound(p); why != "" {
				return why
			}
			if p != n.Probabilities(e.batch[i].Features) {
				return "it says two things of one moment"
			}
		}
	case "security":
		if !bytes.Equal(policy.Digest(n.Weights()), e.digest) {
			return "its weights are not those that were trained"
		}
		for i := range e.batch {
			if r := e.batch[i].Reward; !(r >= -1.2 && r <= 1.2) {
				return fmt.Sprintf("it was judged by a reward of %g, which no report gives", r)
			}
		}
	}
	return ""
}

// sound says what is wrong with probabilities.
func sound(p [policy.Actions]float32) string {
	var sum float32
	for _, q := range p {
		if !(q >= 0 && q <= 1) {
			return fmt.Sprintf("a kernel has the probability %g", q)
		}
		sum += q
	}
	if sum < 0.999 || sum > 1.001 {
		return fmt.Sprintf("the probabilities add up to %g", sum)
	}
	return ""
}
