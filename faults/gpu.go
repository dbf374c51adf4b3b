package faults

import "github.com/esper-sim/espersim/gpu"

// gpuKinds are the classes of package gpu under the names "gpu/…". What each fails,
// and what cures it, is in that package's table. All are survivable: training goes on
// in the process where a device does not compute.
var gpuKinds = []*Kind{
	gpuKind(gpu.OutOfMemory),
	gpuKind(gpu.LaunchFailed),
	gpuKind(gpu.AppFault),
	gpuKind(gpu.Sticky),
	gpuKind(gpu.MemoryContained),
	gpuKind(gpu.MemoryUncontained),
	gpuKind(gpu.RemapPending),
	gpuKind(gpu.RemapFailed),
	gpuKind(gpu.OffBus),
	gpuKind(gpu.LinkFailed),
	gpuKind(gpu.Firmware),
	gpuKind(gpu.Hung),
	gpuKind(gpu.Throttled),
	gpuKind(gpu.FalseHealth),
	gpuKind(gpu.SilentCorruption),
}

func gpuKind(class gpu.Class) *Kind {
	t := class.Trait()
	params := []string{"device"}
	switch {
	case class == gpu.Throttled:
		params = append(params, "factor")
	default:
		params = append(params, "rate", "count", "skip")
	}
	if len(t.Xids) > 1 {
		params = append(params, "xid")
	}
	return &Kind{Name: "gpu/" + t.Name, Area: "gpu", Shape: OnHosts, Class: Survivable, Params: params,
		Summary: t.Summary + "; fails: " + t.Scope.String() + "; then: " + t.Action.String(),
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a := &Active{fault: f}
			ids := make([][]int, len(f.On))
			for i, h := range f.On {
				id, err := w.AddGPU(h, class, f)
				ids[i] = id
				if err != nil {
					return a, err
				}
			}
			a.end = func() (fired uint64) {
				for i, h := range f.On {
					fired += w.RemoveGPU(h, ids[i])
				}
				return fired
			}
			return a, nil
		}}
}
