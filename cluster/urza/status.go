package urza

import (
	"slices"

	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
)

// kernelEdges are the changes of a kernel's status that may be asked for. A
// verdict (VALIDATED or REJECTED) is no such change: only a report gives it.
var kernelEdges = map[blueprintv2.KernelStatus][]blueprintv2.KernelStatus{
	blueprintv2.KernelStatus_PENDING_BENCHMARKING: {blueprintv2.KernelStatus_BENCHMARKING},
	blueprintv2.KernelStatus_BENCHMARKING:         {blueprintv2.KernelStatus_PENDING_BENCHMARKING},
	blueprintv2.KernelStatus_VALIDATED:            {blueprintv2.KernelStatus_KERNEL_ACTIVE, blueprintv2.KernelStatus_QUARANTINED, blueprintv2.KernelStatus_RETIRED},
	blueprintv2.KernelStatus_KERNEL_ACTIVE:        {blueprintv2.KernelStatus_QUARANTINED, blueprintv2.KernelStatus_RETIRED},
	blueprintv2.KernelStatus_QUARANTINED:          {blueprintv2.KernelStatus_KERNEL_ACTIVE, blueprintv2.KernelStatus_RETIRED},
	blueprintv2.KernelStatus_REJECTED:             {blueprintv2.KernelStatus_RETIRED},
}

// blueprintEdges are those of a blueprint. One becomes validated with its first
// validated kernel, which is no change that is asked for.
var blueprintEdges = map[blueprintv2.BlueprintStatus][]blueprintv2.BlueprintStatus{
	blueprintv2.BlueprintStatus_UNVALIDATED:         {blueprintv2.BlueprintStatus_COMPILING, blueprintv2.BlueprintStatus_INVALID, blueprintv2.BlueprintStatus_ARCHIVED},
	blueprintv2.BlueprintStatus_COMPILING:           {blueprintv2.BlueprintStatus_INVALID, blueprintv2.BlueprintStatus_ARCHIVED},
	blueprintv2.BlueprintStatus_COMPILED:            {blueprintv2.BlueprintStatus_VALIDATING, blueprintv2.BlueprintStatus_DEPRECATED},
	blueprintv2.BlueprintStatus_VALIDATING:          {blueprintv2.BlueprintStatus_DEPRECATED},
	blueprintv2.BlueprintStatus_BLUEPRINT_VALIDATED: {blueprintv2.BlueprintStatus_BLUEPRINT_ACTIVE, blueprintv2.BlueprintStatus_DEPRECATED},
	blueprintv2.BlueprintStatus_BLUEPRINT_ACTIVE:    {blueprintv2.BlueprintStatus_DEPRECATED},
	blueprintv2.BlueprintStatus_INVALID:             {blueprintv2.BlueprintStatus_ARCHIVED},
	blueprintv2.BlueprintStatus_DEPRECATED:          {blueprintv2.BlueprintStatus_ARCHIVED},
}

// mayMove says whether a status may follow another one.
func mayMove[S comparable](edges map[S][]S, from, to S) bool { return slices.Contains(edges[from], to) }

// undecided says whether a kernel of a status waits for its verdict.
func undecided(s blueprintv2.KernelStatus) bool {
	return s == blueprintv2.KernelStatus_PENDING_BENCHMARKING || s == blueprintv2.KernelStatus_BENCHMARKING
}
