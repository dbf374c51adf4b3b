package emrakul

import (
	"fmt"
	"slices"
	"strings"

	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
)

// limits of a phase: what one cycle may mask, and all of them together, as
// shares of all structures.
type limits struct {
	phase           pruningv2.PruningPhase
	cycle, together float64
}

// limitsOf are the limits at an epoch: the cycle's of card 12, the sum's of card
// 13, which is the stricter of the two at each epoch.
func limitsOf(epoch int64) limits {
	switch {
	case epoch < 31:
		return limits{phase: pruningv2.PruningPhase_MEASURE}
	case epoch < 61:
		return limits{pruningv2.PruningPhase_EARLY, 0.01, 0.05}
	case epoch < 91:
		return limits{pruningv2.PruningPhase_MIDDLE, 0.03, 0.10}
	case epoch < 121:
		return limits{pruningv2.PruningPhase_LATE, 0.05, 0.20}
	}
	return limits{phase: pruningv2.PruningPhase_MONITOR}
}

// Floors and the least redundancy (cards 12 and 13, the stricter of both).
const (
	channelFloor  = 0.80 // of the channels of a parameter stay
	fewestChannel = 16   // and so many
	fewestHeads   = 2
	layerShare    = 0.20 // of the layers may go
	redundancy    = 0.95
)

// name is a structure's identity.
func name(t *pruningv2.PruningTarget) string {
	return fmt.Sprintf("%s/%s/%d", t.ParameterId, t.Structure, t.Index)
}

// group is what a floor holds for: the structures of one kind of a parameter, or
// all layers.
func group(t *pruningv2.PruningTarget) string {
	if t.Structure == "layer" {
		return "layer"
	}
	return t.ParameterId + "/" + t.Structure
}

// mayGo is how many of n structures of a kind may be masked.
func mayGo(structure string, n int) int {
	switch structure {
	case "channel":
		return max(min(n-fewestChannel, n-ceil(channelFloor*float64(n))), 0)
	case "head":
		return max(n-fewestHeads, 0)
	case "layer":
		return int(layerShare * float64(n))
	}
	return 0
}

func ceil(x float64) int {
	n := int(x)
	if float64(n) < x {
		n++
	}
	return n
}

// plan chooses what is masked after a cycle: what is masked already, and the
// most redundant of the proposals that limits and floors leave room for. all are
// the structures that there are.
func plan(all, masked, proposed []*pruningv2.PruningTarget, l limits) (targets []*pruningv2.PruningTarget, added int) {
	sizes, gone, is, known := map[string]int{}, map[string]int{}, map[string]bool{}, map[string]*pruningv2.PruningTarget{}
	for _, t := range all {
		if known[name(t)] == nil {
			known[name(t)] = t
			sizes[group(t)]++
		}
	}
	for _, t := range masked {
		targets = append(targets, t)
		gone[group(t)]++
		is[name(t)] = true
	}
	order := slices.Clone(proposed)
	slices.SortStableFunc(order, func(a, b *pruningv2.PruningTarget) int {
		switch {
		case a.Redundancy > b.Redundancy:
			return -1
		case a.Redundancy < b.Redundancy:
			return 1
		}
		return strings.Compare(name(a), name(b))
	})
	n := len(known)
	for _, t := range order {
		k := known[name(t)]
		switch {
		case k == nil || is[name(t)] || k.Redundancy < redundancy:
		case float64(added+1) > l.cycle*float64(n), float64(len(targets)+1) > l.together*float64(n):
			return targets, added
		case gone[group(t)] >= mayGo(t.Structure, sizes[group(t)]):
		default:
			targets = append(targets, k)
			gone[group(t)]++
			is[name(t)] = true
			added++
		}
	}
	return targets, added
}

// shard splits candidates between workers: each structure of a group with the
// others.
func shard(all []*pruningv2.PruningTarget, workers int) [][]*pruningv2.PruningTarget {
	list := make([][]*pruningv2.PruningTarget, workers)
	at := map[string]int{}
	for _, t := range all {
		g := group(t)
		if _, ok := at[g]; !ok {
			at[g] = len(at) % workers
		}
		list[at[g]] = append(list[at[g]], t)
	}
	return list
}
