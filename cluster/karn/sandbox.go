package karn

import (
	"fmt"

	"github.com/esper-sim/espersim/cluster/kernel"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
)

// The sandbox's limits.
const (
	sandboxBatch = 8
	sandboxMost  = 1e8   // of an output
	sandboxLeast = 1e-12 // of the greatest output
)

// sandbox compiles a design and runs it, here and nowhere else, on ordinary
// samples, on zeros and on large ones. It says what is wrong.
func sandbox(ir *blueprintv2.BlueprintIR, width int) error {
	p, err := kernel.Compile(ir, kernel.Fast, "sandbox", kernel.Toolchain)
	if err != nil {
		return err
	}
	if r := p.Footprint(1).Retained; r > 0 {
		return fmt.Errorf("it keeps %d bytes of the device", r)
	}
	k, err := kernel.Load("sandbox", p.Encode(), width)
	if err != nil {
		return err
	}
	x, y := make([]float32, sandboxBatch*width), make([]float32, sandboxBatch*width)
	for i, gain := range []float32{1, 0, 1000} {
		greatest := float32(0)
		for j := range x {
			x[j] = float32(gain * (float32(j*29%31)*0.0625 - 1))
		}
		k.Forward(y, x, 1, false)
		for j, v := range y {
			d := v - x[j]
			if !(d < sandboxMost && d > -sandboxMost) {
				return fmt.Errorf("input %d: its result is %v", i, v)
			}
			greatest = max(greatest, d, -d)
		}
		if i == 0 && greatest < sandboxLeast {
			return fmt.Errorf("it does next to nothing: %v", greatest)
		}
	}
	return nil
}
