package backend

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
)

// ParseFault reads CLASS or CLASS@N: a fault that hits the N-th candidate, from 1, and
// only that; without N the first. A throttled device is so from the beginning.
func ParseFault(text string) (*simulated.Fault, error) {
	name, at, numbered := strings.Cut(text, "@")
	class, ok := gpu.ByClassName(name)
	if !ok || class == gpu.InvalidHandle || class == gpu.NotInitialized {
		var names []string
		for _, t := range gpu.Traits() {
			if t.Class != gpu.InvalidHandle && t.Class != gpu.NotInitialized {
				names = append(names, t.Name)
			}
		}
		return nil, fmt.Errorf("no device fails by %q; want one of %s", name, strings.Join(names, ", "))
	}
	f := &simulated.Fault{Class: class, Limit: 1}
	if !numbered {
		return f, nil
	}
	n, err := strconv.ParseUint(at, 10, 64)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("the fault %s hits number %q; want a whole number from 1", name, at)
	}
	f.Skip = n - 1
	return f, nil
}
