// Package policy is the policy that Simic trains and Tamiyo runs: which of the
// validated kernels a seed is to be germinated with, given what is known at that
// moment.
//
// It is linear: a softmax over the kernels (the actor) and an estimate of the
// reward (the critic), over a handful of features that a decision and the field
// report about it have in common. All arithmetic is float32 in one order, so
// that the same experiences give the same weights on every machine.
//
//   - [Net]: the policy; [Net.Step] is one off-policy actor-critic update with
//     truncated importance weights (IMPALA's, for episodes of one step).
//   - [Digest]: what an announcement vouches for.
//   - [Holder]: the receiver's side of a staged release.
package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/esper-sim/espersim/cluster/trainer"
)

// Width is the number of features, Actions the number of kernels to choose
// from.
const (
	Width   = 6
	Actions = 3
	// Size is how many weights a policy has: the actor's rows, then the critic's.
	Size = (Actions + 1) * Width
)

// Bound is the largest absolute weight of a policy that is taken for one.
const Bound = 100

// Features are what a decision depends on. Whatever the inputs, each is a number
// from 0 to 1.
func Features(loss float64, layer, seed int32) [Width]float32 {
	s := float32(1)
	if loss >= 0 && loss < 1e6 { // false for what is no number
		s = float32(loss) / (1 + float32(loss))
	}
	half := float32(max(seed>>1, 0))
	return [Width]float32{1, s, float32(s * s), float32(layer & 1), float32(seed & 1), half / (1 + half)}
}

// Net is a policy.
type Net struct{ w [Size]float32 }

// Load takes weights. Those that are no policy's are refused.
func Load(weights []float32) (*Net, error) {
	if len(weights) != Size {
		return nil, fmt.Errorf("a policy of %d weights, want %d", len(weights), Size)
	}
	n := new(Net)
	for i, w := range weights {
		if !(w >= -Bound && w <= Bound) {
			return nil, fmt.Errorf("weight %d is %g, and must be within ±%d", i, w, Bound)
		}
		n.w[i] = w
	}
	return n, nil
}

// Weights are the policy's weights.
func (n *Net) Weights() []float32 { return n.w[:] }

// Digest is SHA-256 over the weights, each as its IEEE 754 bits in little-endian
// order.
func Digest(weights []float32) []byte {
	b := make([]byte, 0, 4*len(weights))
	for _, w := range weights {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(w))
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func dot(w []float32, x *[Width]float32) float32 {
	var sum float32
	for i, v := range x {
		sum += float32(w[i] * v)
	}
	return sum
}

// Probabilities are those of the actions.
func (n *Net) Probabilities(x [Width]float32) (p [Actions]float32) {
	top := float32(-math.MaxFloat32)
	for a := range p {
		p[a] = dot(n.w[a*Width:], &x)
		top = max(top, p[a])
	}
	var sum float32
	for a := range p {
		p[a] = trainer.Exp(p[a] - top)
		sum += p[a]
	}
	for a := range p {
		p[a] /= sum
	}
	return p
}

// Value is the reward that is expected.
func (n *Net) Value(x [Width]float32) float32 { return dot(n.w[Actions*Width:], &x) }

// Choose draws an action with 64 random bits.
func Choose(p [Actions]float32, r uint64) uint32 {
	u := float32(r>>40) * (1.0 / (1 << 24))
	for a, q := range p {
		if u < q {
			return uint32(a)
		}
		u -= q
	}
	return Actions - 1
}

// Sample is one experience of a step.
type Sample struct {
	Features   [Width]float32
	Action     uint32
	Likelihood float32 // of the action, with the policy that took it
	Reward     float32
	Weight     float32 // against the bias of prioritised sampling
}

// The step's settings.
const (
	actorRate   = 0.05
	criticRate  = 0.1
	entropyRate = 0.002 // keeps a policy from closing its mind
	truncation  = 1     // of importance weights
)

// Step makes one update with the mean gradient of a batch and returns each
// sample's error: how far the reward was from what was expected.
func (n *Net) Step(batch []Sample) []float32 {
	var grad [Size]float32
	errs := make([]float32, len(batch))
	for i := range batch {
		s := &batch[i]
		if s.Action >= Actions {
			continue
		}
		p := n.Probabilities(s.Features)
		rho := min(p[s.Action]/max(s.Likelihood, 1e-3), truncation)
		delta := s.Reward - n.Value(s.Features)
		errs[i] = delta
		push := float32(float32(rho*s.Weight) * delta)
		var mean float32 // of the log-likelihoods, for the entropy's gradient
		for _, q := range p {
			mean += float32(q * trainer.Log(q))
		}
		for a, q := range p {
			g := float32(-push * q)
			if uint32(a) == s.Action {
				g += push
			}
			g = float32(g*actorRate) - float32(entropyRate*float32(q*(trainer.Log(q)-mean)))
			for k, v := range s.Features {
				grad[a*Width+k] += float32(g * v)
			}
		}
		for k, v := range s.Features {
			grad[Actions*Width+k] += float32(float32(push*criticRate) * v)
		}
	}
	scale := 1 / float32(max(len(batch), 1))
	for i := range n.w {
		n.w[i] += float32(grad[i] * scale)
	}
	return errs
}

// Estimate is what a policy would have earned on experiences that others made:
// their rewards, weighted by how much likelier it is to choose the same
// (self-normalised importance sampling). harm is the same of what ended badly,
// and unchanged are the plain means.
func (n *Net) Estimate(batch []Sample, harmful func(int) bool) (value, harm, plainValue, plainHarm float32) {
	var sum float32
	for i := range batch {
		s := &batch[i]
		if s.Action >= Actions {
			continue
		}
		rho := min(n.Probabilities(s.Features)[s.Action]/max(s.Likelihood, 1e-3), 10)
		sum += rho
		value += float32(rho * s.Reward)
		plainValue += s.Reward
		if harmful(i) {
			harm += rho
			plainHarm++
		}
	}
	if sum > 0 {
		value, harm = value/sum, harm/sum
	}
	k := float32(max(len(batch), 1))
	return value, harm, plainValue / k, plainHarm / k
}
