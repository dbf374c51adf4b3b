package graft

import (
	"fmt"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// Stage is a seed's stage: one of the eleven canonical names of the digest's
// table 0.10.
type Stage = telemetryv2.SeedStage

// The stages, short.
const (
	Dormant       = telemetryv2.SeedStage_DORMANT
	Germinated    = telemetryv2.SeedStage_GERMINATED
	Training      = telemetryv2.SeedStage_TRAINING
	Grafting      = telemetryv2.SeedStage_GRAFTING
	Stabilization = telemetryv2.SeedStage_STABILIZATION
	Evaluating    = telemetryv2.SeedStage_EVALUATING
	FineTuning    = telemetryv2.SeedStage_FINE_TUNING
	Fossilized    = telemetryv2.SeedStage_FOSSILIZED
	Culled        = telemetryv2.SeedStage_CULLED
	Cancelled     = telemetryv2.SeedStage_CANCELLED
	RolledBack    = telemetryv2.SeedStage_ROLLED_BACK
)

// edges is table 0.10: what may follow each stage. CULLED and CANCELLED lead
// to DORMANT, and the command that germinates the slot again takes both steps.
var edges = map[Stage][]Stage{
	Dormant:       {Germinated},
	Germinated:    {Training, Grafting, Culled, Cancelled},
	Training:      {Grafting, Culled, Cancelled},
	Grafting:      {Stabilization, RolledBack, Culled},
	Stabilization: {Evaluating, RolledBack, Culled},
	Evaluating:    {FineTuning, Fossilized, Culled, RolledBack},
	FineTuning:    {Fossilized, Culled, RolledBack},
	Culled:        {Dormant},
	Cancelled:     {Dormant},
}

// Allowed says whether to may follow from.
func Allowed(from, to Stage) bool {
	for _, s := range edges[from] {
		if s == to {
			return true
		}
	}
	return false
}

// target is the stage that an operation leads to from a stage.
func target(op adaptationv2.SeedOperation, from Stage) (Stage, error) {
	switch op {
	case adaptationv2.SeedOperation_GERMINATE:
		return Germinated, nil
	case adaptationv2.SeedOperation_START_TRAINING:
		return Training, nil
	case adaptationv2.SeedOperation_GRAFT:
		return Grafting, nil
	case adaptationv2.SeedOperation_STABILIZE:
		return Stabilization, nil
	case adaptationv2.SeedOperation_EVALUATE:
		return Evaluating, nil
	case adaptationv2.SeedOperation_FINE_TUNE:
		return FineTuning, nil
	case adaptationv2.SeedOperation_FOSSILIZE:
		return Fossilized, nil
	case adaptationv2.SeedOperation_CULL, adaptationv2.SeedOperation_RETIRE:
		return Culled, nil
	case adaptationv2.SeedOperation_CANCEL:
		return Cancelled, nil
	case adaptationv2.SeedOperation_PROMOTE:
		switch from {
		case Germinated:
			return Training, nil
		case Training:
			return Grafting, nil
		case Grafting:
			return Stabilization, nil
		case Stabilization:
			return Evaluating, nil
		case Evaluating:
			return FineTuning, nil
		case FineTuning:
			return Fossilized, nil
		}
		return 0, fmt.Errorf("a seed in %v cannot be promoted", from)
	}
	return 0, fmt.Errorf("unknown operation %v", op)
}

// Blended says whether a stage's kernel takes part in the host's function.
func Blended(s Stage) bool {
	switch s {
	case Grafting, Stabilization, Evaluating, FineTuning, Fossilized:
		return true
	}
	return false
}

// learns says whether a stage's kernel is trained on the main task.
func learns(s Stage) bool { return s == Grafting || s == FineTuning }

// ramp is alpha in thousandths after n steps of GRAFTING: a sigmoid over 30
// steps that ends at 1000. It never falls, so that the hysteresis which the
// design puts around 0.3 and 0.7 has nothing to do.
var ramp = [31]uint32{
	0, 4, 5, 8, 12, 18, 27, 39, 57, 83, 119, 168, 231, 310, 401, 500,
	599, 690, 769, 832, 881, 917, 943, 961, 973, 982, 988, 992, 995, 996, 1000,
}

func alphaAt(steps int64) uint32 { return ramp[min(max(steps, 0), int64(len(ramp)-1))] }
