package urabrask

import (
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/kernel"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
)

// stage is a part of a validation that has a time limit of its own.
type stage uint8

// The stages of a validation, in order.
const (
	safety stage = iota
	structural
	benchmark
	stages
)

var stageNames = [stages]string{"SAFETY", "STRUCTURAL", "BENCHMARK"}

// mode is how thoroughly a kernel is validated (card 07).
type mode struct {
	id     eventsv2.ValidationMode
	onHost bool // it needs no device
	limits [stages]time.Duration
	steps  []step

	cycles   int  // of loading and unloading, in search of leaks
	rounds   int  // of training, for its gradients
	launches int  // a measurement of the latency
	strict   bool // the caps on memory, gradients and heat count as well
}

// step is a part of a validation between two of which mail is handled.
type step struct {
	stage stage
	do    func(*bench) error
}

var (
	safetySteps = []step{{safety, (*bench).sandbox}, {safety, (*bench).leaks}, {safety, (*bench).gradients}, {safety, (*bench).chaos}}
	whole       = append(safetySteps[:len(safetySteps):len(safetySteps)], step{structural, (*bench).structure}, step{benchmark, (*bench).latency})
)

// The modes. An emergency has no time for a device, which may be what is broken:
// it runs here, and nothing is asked of its structure.
var (
	emergency = &mode{id: eventsv2.ValidationMode_VALIDATION_EMERGENCY, onHost: true,
		limits: [stages]time.Duration{10 * time.Second, 0, 15 * time.Second},
		steps:  append(safetySteps[:len(safetySteps):len(safetySteps)], step{benchmark, (*bench).latency}), cycles: 2, rounds: 4, launches: 5}
	standard = &mode{id: eventsv2.ValidationMode_VALIDATION_STANDARD,
		limits: [stages]time.Duration{30 * time.Second, 60 * time.Second, 8 * time.Minute},
		steps:  whole, cycles: leakCycles, rounds: 8, launches: repeats}
	comprehensive = &mode{id: eventsv2.ValidationMode_VALIDATION_COMPREHENSIVE,
		limits: [stages]time.Duration{30 * time.Second, 60 * time.Second, 15 * time.Minute},
		steps:  append(whole[:len(whole):len(whole)], step{benchmark, (*bench).endurance}), cycles: 2 * leakCycles, rounds: 16, launches: 2 * repeats, strict: true}
)

// modeOf is the mode that a kernel is validated in, by the pipeline that its id
// names: what was compiled in an emergency is needed at once, and what was
// compiled with all that a compiler can do is expected to serve for long.
func modeOf(kernelID string) *mode {
	parts := strings.SplitN(kernelID, "-", 4)
	if len(parts) < 4 {
		return standard
	}
	switch p, _ := kernel.PipelineOf(parts[2]); p {
	case kernel.Emergency:
		return emergency
	case kernel.Aggressive:
		return comprehensive
	}
	return standard
}
