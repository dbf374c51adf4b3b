package kasmina

import (
	"math"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/trainer"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
)

// sketch is how important each channel of each graft layer is: a running mean of
// |activation · gradient| at the layer's exit, which is what the loss would change by
// without it (Molchanov and others: Importance Estimation for Neural Network Pruning,
// CVPR 2019). It is in memory only, and of one lineage: a restore begins it anew.
type sketch struct {
	groups  []trainer.ChannelGroup
	mean    [][]float64 // by group, then channel
	updates []int64     // by group
}

func newSketch(m *trainer.Model) *sketch {
	s := &sketch{groups: m.Channels()}
	s.forget()
	return s
}

func (s *sketch) forget() {
	s.mean, s.updates = make([][]float64, len(s.groups)), make([]int64, len(s.groups))
	for i, g := range s.groups {
		s.mean[i] = make([]float64, g.Width)
	}
}

// note takes in the values that left a layer in a training step, and the gradients
// there. Each update counts for a sixteenth.
func (s *sketch) note(layer int32, out, gradients []float32) {
	for i, g := range s.groups {
		if int32(g.Layer) != layer || len(out) != len(gradients) {
			continue
		}
		s.updates[i]++
		for c := range s.mean[i] {
			sum := 0.0
			for k := c; k < len(out); k += g.Width {
				sum += math.Abs(float64(float64(out[k]) * float64(gradients[k])))
			}
			if math.IsNaN(sum) || math.IsInf(sum, 0) {
				continue
			}
			s.mean[i][c] += float64(0.0625 * float64(sum-s.mean[i][c]))
		}
	}
}

// enough is how many updates of a layer say something about it.
const enough = 32

// candidates are the channels with their redundancy: 1 for one without which nothing
// changes, 0 for the most important of its layer. There are none before there is
// enough to go by.
func (s *sketch) candidates() (list []*pruningv2.PruningTarget) {
	for i, g := range s.groups {
		if s.updates[i] < enough {
			return nil
		}
		top := 0.0
		for _, v := range s.mean[i] {
			top = max(top, v)
		}
		for c, v := range s.mean[i] {
			r := 0.0
			if top > 0 {
				r = 1 - v/top
			}
			list = append(list, &pruningv2.PruningTarget{ParameterId: g.ID, Structure: "channel", Index: int32(c), Redundancy: r})
		}
	}
	return list
}

// statistics answers Emrakul. Where there is not enough to go by she asks again, or
// goes without.
func (k *kasmina) statistics(from actor.ID, m *pruningv2.StatisticsRequest) {
	list := k.sketch.candidates()
	if len(list) == 0 || k.part.standing != active {
		k.env.Probe.Reached("kasmina/no-statistics")
		return
	}
	k.env.Probe.Reached("kasmina/statistics")
	k.env.Net.Send(from, &pruningv2.StatisticsReply{IdempotencyKey: m.IdempotencyKey, CheckpointId: m.CheckpointId, Epoch: k.crossed, Candidates: list,
		Stats: &pruningv2.ImportanceStats{CheckpointId: m.CheckpointId, Updates: k.sketch.updates[0]}}, actor.SendOptions{Key: "statistics/" + m.IdempotencyKey})
}
