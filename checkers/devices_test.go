package checkers_test

import (
	"fmt"
	"testing"
	"time"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// calls is a call of the first accelerator of a host, made for a message.
func (p *tape) calls(node, what string, cause uint64) {
	p.event(trace.DeviceOperated, node, func(e *trace.Event) { e.Peer, e.Text, e.Cause = node+"-host", what, cause })
}

// befalls is something that became of it.
func (p *tape) befalls(node, what string) {
	p.event(trace.DeviceChanged, node+"-host", func(e *trace.Event) { e.Text = what })
}

// message is something that a process handles.
func (p *tape) message() uint64 { return p.event(trace.TimerFired, "kasmina", nil) }

func (p *tape) starts(node string) {
	p.event(trace.NodeStarted, node, func(e *trace.Event) { e.Text = node + "-host" })
}

func (p *tape) passes(n int32, cause uint64) {
	p.sentBy("kasmina", "tolaria", &trainingv2.ForwardReply{Step: step(0, n, 1), LayerId: 1, Status: trainingv2.ReplyStatus_OK}, cause)
}

func (p *tape) holds(n int32, cause uint64) {
	p.sentBy("kasmina", "tolaria", &trainingv2.BackwardReply{Step: step(0, n, 1), LayerId: 1, Status: trainingv2.ReplyStatus_OK}, cause)
}

func (p *tape) bench(node, state string) {
	p.fact(node, &evidencev2.JobFact{JobId: "k", Subsystem: node, State: state})
}

func (p *tape) slice(node string) {
	p.fact(node, &evidencev2.SliceFact{Subsystem: node, Slice: 1})
}

func (p *tape) device(node string, s evidencev2.DeviceStep, class string) {
	p.fact(node, &evidencev2.DeviceFact{Step: s, Class: class})
}

// goes has the lead ask for a step, and some members answer.
func (p *tape) goes(step int64, members int) {
	p.sent("lead", "w-1", &trainingv2.FleetNote{Kind: "go", Generation: 1, Number: step})
	for i := range members {
		p.sent(fmt.Sprint("w-", i+1), "lead", &trainingv2.FleetNote{Kind: "sum", Generation: 1, Number: step, Values: []int64{1}})
	}
}

// fleetStep declares a step of two members with a device each as done.
func (p *tape) fleetStep(step int64, state uint64) {
	p.fact("lead", &evidencev2.FleetFact{Step: evidencev2.FleetStep_FLEET_STEP_DONE, Generation: 1, Number: step, State: state, Members: 2, Devices: 2, StepMs: 1000})
}

// deviceCases are the cases of what accelerators do to the rest.
var deviceCases = map[string]func(p *tape, guilty bool){
	"G1": func(p *tape, guilty bool) {
		a := p.message()
		p.calls("kasmina", pick(guilty, "run: launch-failed", "run"), a)
		p.passes(1, a)
	},
	"G2": func(p *tape, guilty bool) {
		p.slice("urabrask")
		a := p.message()
		p.calls("urabrask", "run", a)
		if guilty {
			p.befalls("urabrask", "degraded: remap-pending")
		}
		p.bench("urabrask", "VALIDATED")
	},
	"G3": func(p *tape, guilty bool) {
		p.befalls("kasmina", "failed: off-bus")
		cases["E1"](p, guilty)
	},
	"G4": func(p *tape, guilty bool) {
		p.goes(0, pick(guilty, 1, 2))
		p.fleetStep(0, 7919%251)
	},
	"G6": func(p *tape, guilty bool) {
		a := p.message()
		p.befalls("kasmina", "corrupted: silent-corruption")
		p.calls("kasmina", "run", a)
		if !guilty {
			p.device("kasmina", evidencev2.DeviceStep_DEVICE_WRONG, "silent-corruption")
			p.calls("kasmina", "run", a)
		}
		p.passes(1, a)
	},
	"G5": func(p *tape, guilty bool) {
		p.starts("kasmina")
		a := p.message()
		p.calls("kasmina", pick(guilty, "alloc: out-of-memory", "run: sticky"), a)
		p.device("kasmina", evidencev2.DeviceStep_DEVICE_RESET, "sticky")
	},
}

// Each clause of G1, G2, G5 and G6, broken alone.
func TestDevices(t *testing.T) {
	holds(t, map[string]clause{
		"a result of an earlier launch": {"G1", func(p *tape, guilty bool) {
			a := p.message()
			p.calls("kasmina", "run", a)
			if guilty {
				p.calls("kasmina", "run: sticky", a)
			}
			p.passes(1, a)
		}},
		"on the processor": {"G1", func(p *tape, guilty bool) {
			a := p.message()
			p.calls("kasmina", "run: off-bus", a)
			if !guilty {
				p.factBy("kasmina", &evidencev2.DeviceFact{Step: evidencev2.DeviceStep_DEVICE_ASIDE}, a)
			}
			p.passes(1, a)
		}},
		"gradients of a context that is lost": {"G1", func(p *tape, guilty bool) {
			a := p.message()
			p.calls("kasmina", "run", a)
			p.passes(1, a)
			b := p.message()
			if guilty {
				p.befalls("kasmina", "reset")
				p.calls("kasmina", "rebuild", b)
			}
			p.calls("kasmina", "run", b)
			p.holds(1, b)
		}},
		"gradients whose launch failed": {"G1", func(p *tape, guilty bool) {
			a := p.message()
			p.calls("kasmina", "run", a)
			p.passes(1, a)
			b := p.message()
			p.calls("kasmina", pick(guilty, "run: launch-failed", "run"), b)
			p.holds(1, b)
		}},
		"a context that is called again": {"G1", func(p *tape, guilty bool) {
			a := p.message()
			p.calls("kasmina", "run: ecc-contained", a)
			if !guilty {
				p.calls("kasmina", "rebuild", a)
			}
			p.calls("kasmina", "run", a)
			p.passes(1, a)
		}},
		"another process's context": {"G1", func(p *tape, guilty bool) {
			a := p.message()
			p.calls(pick(guilty, "kasmina", "urabrask"), "run: ecc-contained", a)
			p.calls("kasmina", "run", a)
			p.passes(1, a)
		}},
		"a new life has a new context": {"G1", func(p *tape, guilty bool) {
			a := p.message()
			p.calls("kasmina", "run: app-fault", a)
			if !guilty {
				p.starts("kasmina")
			}
			b := p.message()
			p.calls("kasmina", "run", b)
			p.passes(1, b)
		}},
		"a device that was sick before": {"G2", func(p *tape, guilty bool) {
			p.befalls("urabrask", "failed: ecc-uncontained")
			if !guilty {
				p.befalls("urabrask", "reset")
			}
			p.slice("urabrask")
			a := p.message()
			p.calls("urabrask", "run", a)
			p.bench("urabrask", "VALIDATED")
		}},
		"a reset that did not help": {"G2", func(p *tape, guilty bool) {
			p.befalls("urabrask", "failed: off-bus")
			p.befalls("urabrask", pick(guilty, "reset: off-bus", "replaced"))
			p.slice("urabrask")
			a := p.message()
			p.calls("urabrask", "run", a)
			p.bench("urabrask", "VALIDATED")
		}},
		"a reset meanwhile": {"G2", func(p *tape, guilty bool) {
			p.slice("urabrask")
			a := p.message()
			p.calls("urabrask", "run", a)
			if guilty {
				p.befalls("urabrask", "reset")
			}
			p.bench("urabrask", "VALIDATED")
		}},
		"a context of its own meanwhile": {"G2", func(p *tape, guilty bool) {
			p.slice("urabrask")
			a := p.message()
			p.calls("urabrask", pick(guilty, "run: sticky", "run: launch-failed"), a)
			p.calls("urabrask", "rebuild", a)
			p.calls("urabrask", "run", a)
			p.bench("urabrask", "VALIDATED")
		}},
		"an answer that never comes": {"G4", func(p *tape, guilty bool) {
			p.goes(0, 2)
			p.fleetStep(0, 7919%251)
			p.goes(1, 1)
			p.wait(pick(guilty, 10*time.Minute, time.Minute))
			p.message()
			p.fact("lead", &evidencev2.FleetFact{Step: evidencev2.FleetStep_FLEET_INTERRUPTED, Generation: 1, Number: 1, StepMs: 1000})
		}},
		"a lead that begins anew": {"G4", func(p *tape, guilty bool) {
			p.goes(0, 2)
			p.fleetStep(0, 7919%251)
			p.goes(1, 1)
			if !guilty {
				p.event(trace.NodeCrashed, "lead", nil)
			}
			p.wait(10 * time.Minute)
			p.sent("w-1", "lead", &trainingv2.FleetNote{Kind: "alive", Generation: 1})
		}},
		"a state that no calm run has": {"G3", func(p *tape, guilty bool) {
			p.befalls("w-1", "failed: off-bus")
			p.goes(0, 2)
			p.fleetStep(0, pick[uint64](guilty, 1, 7919%251))
		}},
		"a kernel that hung once": {"G2", func(p *tape, guilty bool) {
			p.bench("urabrask", "RECEIVED")
			a := uint64(0)
			for range pick(guilty, 1, 2) {
				a = p.message()
				p.calls("urabrask", "run: hung-kernel", a)
				p.calls("urabrask", "rebuild", a)
				p.factBy("urabrask", &evidencev2.JobFact{JobId: "k", State: "RETRY"}, a)
			}
			p.factBy("urabrask", &evidencev2.JobFact{JobId: "k", State: "REJECTED"}, a)
		}},
		"a kernel that a device failed under": {"G2", func(p *tape, guilty bool) {
			p.bench("urabrask", "RECEIVED")
			a := p.message()
			p.calls("urabrask", pick(guilty, "run: ecc-contained", "run: app-fault"), a)
			p.factBy("urabrask", &evidencev2.JobFact{JobId: "k", State: "REJECTED"}, a)
		}},
		"given up long after it failed": {"G5", func(p *tape, guilty bool) {
			p.starts("kasmina")
			a := p.message()
			p.calls("kasmina", "run: sticky", a)
			p.wait(pick(guilty, 2*time.Hour, time.Minute))
			p.device("kasmina", evidencev2.DeviceStep_DEVICE_SICK, "sticky")
		}},
		"gradients of a launch that is wrong": {"G6", func(p *tape, guilty bool) {
			a := p.message()
			p.calls("kasmina", "run", a)
			p.passes(1, a)
			b := p.message()
			p.befalls("kasmina", "corrupted: silent-corruption")
			p.calls("kasmina", "run", b)
			p.device("kasmina", evidencev2.DeviceStep_DEVICE_WRONG, "silent-corruption")
			if !guilty {
				p.calls("kasmina", "run", b)
			}
			p.holds(1, b)
		}},
		"a kernel is validated with what is wrong": {"G6", func(p *tape, guilty bool) {
			p.slice("urabrask")
			a := p.message()
			p.befalls("urabrask", "corrupted: silent-corruption")
			p.calls("urabrask", "run", a)
			if !guilty {
				p.device("urabrask", evidencev2.DeviceStep_DEVICE_WRONG, "silent-corruption")
				p.calls("urabrask", "run", a)
			}
			p.bench("urabrask", "VALIDATED")
		}},
		"what is wrong and is not noticed": {"G6", func(p *tape, guilty bool) {
			a := p.message()
			p.calls("kasmina", "run", a)
			p.passes(1, a)
			p.befalls("kasmina", "corrupted: silent-corruption")
			p.calls("kasmina", "run", p.message())
			p.fact("tolaria", &evidencev2.EpochFact{Epoch: 1, Generation: 1})
			if !guilty {
				p.device("kasmina", evidencev2.DeviceStep_DEVICE_WRONG, "silent-corruption")
			}
			p.fact("tolaria", &evidencev2.EpochFact{Epoch: 2, Generation: 1})
		}},
		"what another process saw": {"G5", func(p *tape, guilty bool) {
			p.starts("kasmina")
			p.event(trace.NodeStarted, "urabrask", func(e *trace.Event) { e.Text = pick(guilty, "urabrask-host", "kasmina-host") })
			a := p.message()
			p.calls("kasmina", "run: sticky", a)
			p.device("urabrask", evidencev2.DeviceStep_DEVICE_REBOOT, "off-bus")
		}},
	})
}
