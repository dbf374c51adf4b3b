package fleet

import (
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// Part is what the device of a rank contributes to a step.
func Part(rank, step int64) int64 { return (rank*7919 + step*104729) % 251 }

// Next is the state after a step with a sum.
func Next(state uint64, sum int64) uint64 { return (state*31 + uint64(sum)) % (1 << 31) }

// shard is one device's part of a step.
type shard struct {
	peers int
	took  time.Duration // where nothing disturbs it
}

var _ gpu.Collective = shard{}

// Footprint implements gpu.Program.
func (s shard) Footprint(int) gpu.Footprint {
	return gpu.Footprint{Flops: s.took.Microseconds() * 1e6, Bytes: 1 << 30}
}

// Run implements gpu.Program: in has rank and step.
func (s shard) Run(out, in []float32) { out[0] = float32(Part(int64(in[0]), int64(in[1]))) }

// Peers implements gpu.Collective.
func (s shard) Peers() int { return s.peers }
