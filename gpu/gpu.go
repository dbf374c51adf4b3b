// Package gpu says what the system under test may ask of an accelerator: who
// it is, and how long a piece of work takes on it.
//
// A subsystem charges work by what it does (a training step, an inference)
// rather than by a duration of its own, so that one scenario can be run on
// another device and budgets such as the 18 ms epoch boundary (HLD companion
// 01) mean something.
package gpu

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// Work is a kind of computation with a known cost.
type Work uint8

// The kinds of work that subsystems charge.
const (
	TrainStep      Work = iota // one minibatch, host network, per sample
	Validate                   // forward pass over held-out data, per sample
	AssembleState              // a system state packet, per seed
	Inference                  // a decision of the controller, per packet
	Apply                      // applying a decision at the epoch boundary
	KernelForward              // one grafted kernel, forward, per sample
	KernelBackward             // one grafted kernel, backward, per sample
	KernelLoad                 // loading a kernel from the cache
	Snapshot                   // serialising state for a checkpoint, per 4 KiB
	Restore                    // loading state from a checkpoint, per 4 KiB
	Design                     // designing a blueprint, per node
	Compile                    // one pass of a compiler over a graph, per node
	Launch                     // work of a kernel on an accelerator, per microsecond of the reference device
	PolicyStep                 // an update of a policy, per experience
	PolicyCheck                // a stage of a policy's validation, per experience
	Curriculum                 // a decision on the curriculum
	Analysis                   // structural analysis, per candidate
	workKinds
)

var workNames = [workKinds]string{
	"train-step", "validate", "assemble-state", "inference", "apply",
	"kernel-forward", "kernel-backward", "kernel-load", "snapshot", "restore",
	"design", "compile", "launch",
	"policy-step", "policy-check", "curriculum", "analysis",
}

// String is the name that scenario files use.
func (w Work) String() string {
	if int(w) < len(workNames) {
		return workNames[w]
	}
	return fmt.Sprintf("work(%d)", uint8(w))
}

// A Device executes work for one host.
type Device interface {
	// Name is the model, such as "h100".
	Name() string
	// Cost is how long units of the work take when nothing disturbs them.
	Cost(w Work, units int) time.Duration
}

// Cost is a fixed part and a part per unit.
type Cost struct {
	Fixed   time.Duration
	PerUnit time.Duration
}

// A Profile is a Device that is a table of costs.
type Profile struct {
	Model string
	Costs [workKinds]Cost
}

// Name is the model of the profile.
func (p *Profile) Name() string { return p.Model }

// Cost looks the work up in the table. Negative units count as none.
func (p *Profile) Cost(w Work, units int) time.Duration {
	if int(w) >= len(p.Costs) {
		return 0
	}
	c := p.Costs[w]
	return c.Fixed + time.Duration(max(units, 0))*c.PerUnit
}

// scaled is p with every cost multiplied by num/den.
func (p Profile) scaled(model string, num, den int64) *Profile {
	p.Model = model
	for i := range p.Costs {
		p.Costs[i].Fixed = p.Costs[i].Fixed * time.Duration(num) / time.Duration(den)
		p.Costs[i].PerUnit = p.Costs[i].PerUnit * time.Duration(num) / time.Duration(den)
	}
	return &p
}

// reference holds the budgets of the design's cards 01 to 03 on an H100:
// assembly 3.5 ms, Tamiyo 12 ms and apply 1.5 ms make the 18 ms boundary.
var reference = Profile{
	Model: "h100",
	Costs: [workKinds]Cost{
		TrainStep:      {Fixed: 100 * time.Millisecond, PerUnit: 1 * time.Millisecond},
		Validate:       {Fixed: 2 * time.Millisecond, PerUnit: 50 * time.Microsecond},
		AssembleState:  {Fixed: 2 * time.Millisecond, PerUnit: 150 * time.Microsecond},
		Inference:      {Fixed: 8 * time.Millisecond},
		Apply:          {Fixed: 1 * time.Millisecond},
		KernelForward:  {Fixed: 200 * time.Microsecond, PerUnit: 10 * time.Microsecond},
		KernelBackward: {Fixed: 300 * time.Microsecond, PerUnit: 15 * time.Microsecond},
		KernelLoad:     {Fixed: 100 * time.Microsecond},
		Snapshot:       {Fixed: 1 * time.Millisecond, PerUnit: 200 * time.Microsecond},
		Restore:        {Fixed: 2 * time.Millisecond, PerUnit: 300 * time.Microsecond},
		Design:         {Fixed: 20 * time.Millisecond, PerUnit: 2 * time.Millisecond},
		Compile:        {Fixed: 30 * time.Millisecond, PerUnit: 6 * time.Millisecond},
		Launch:         {PerUnit: time.Microsecond},
		PolicyStep:     {Fixed: 20 * time.Millisecond, PerUnit: 2 * time.Millisecond},
		PolicyCheck:    {Fixed: 30 * time.Millisecond, PerUnit: 20 * time.Microsecond},
		Curriculum:     {Fixed: 3 * time.Millisecond},
		Analysis:       {Fixed: 200 * time.Millisecond, PerUnit: 10 * time.Millisecond},
	},
}

// ByName finds a profile. The multipliers are those of card 03's timeouts:
// H100 1.0, A100 1.2, V100 1.8, CPU 5.
func ByName(model string) (*Profile, error) {
	switch strings.ToLower(model) {
	case "", "h100":
		return reference.scaled("h100", 1, 1), nil
	case "a100":
		return reference.scaled("a100", 12, 10), nil
	case "v100":
		return reference.scaled("v100", 18, 10), nil
	case "cpu":
		return reference.scaled("cpu", 5, 1), nil
	}
	known := []string{"h100", "a100", "v100", "cpu"}
	sort.Strings(known)
	return nil, fmt.Errorf("unknown device %q: known are %s", model, strings.Join(known, ", "))
}
