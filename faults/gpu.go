package faults

import "github.com/esper-sim/espersim/gpu"

// gpuKinds are classes of package gpu under the names "gpu/…". What each fails, and
// what cures it, is in that package's table.
var gpuKinds = []*Kind{
	gpuKind(gpu.Throttled, Survivable, "factor"),
}

func gpuKind(class gpu.Class, survives Class, params ...string) *Kind {
	t := class.Trait()
	if class != gpu.Throttled {
		params = append(params, "rate", "count", "skip")
	}
	return &Kind{Name: "gpu/" + t.Name, Area: "gpu", Shape: OnHosts, Class: survives, Params: params,
		Summary: t.Summary + "; fails: " + t.Scope.String() + "; then: " + t.Action.String(),
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a := &Active{fault: f}
			ids := make([]int, len(f.On))
			for i, h := range f.On {
				id, err := w.AddGPU(h, class, f)
				if err != nil {
					return a, err
				}
				ids[i] = id
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
