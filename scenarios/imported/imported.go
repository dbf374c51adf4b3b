// Package imported makes scenarios of what befell real devices: what was logged once
// happens again, in a fleet with as many hosts and devices as the log names.
package imported

import (
	"fmt"
	"slices"
	"time"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/incident"
	"github.com/esper-sim/espersim/scenarios"
)

// Before the first failure the fleet has begun to train, and behind the last it has
// the time to go on.
const (
	before = 2 * time.Minute
	behind = 10 * time.Minute
)

// machine is a host of the log.
type machine struct {
	name    string
	devices []string
}

// Scenario is a fleet to which the failures happen, each at its time. Those of no
// known class are left out, and returned.
func Scenario(name string, list []incident.Strike) (s *scenarios.Scenario, left []incident.Strike, err error) {
	var machines []*machine
	s = &scenarios.Scenario{Version: scenarios.Version, Name: name, Class: "short", Seeds: 1, Expect: scenarios.Expectation{"clean"}}
	last := time.Duration(0)
	for _, x := range list {
		if x.Class == 0 {
			left = append(left, x)
			continue
		}
		i := slices.IndexFunc(machines, func(m *machine) bool { return m.name == x.Host })
		if i < 0 {
			i = len(machines)
			machines = append(machines, &machine{name: x.Host})
		}
		m := machines[i]
		device := slices.Index(m.devices, x.Device)
		if device < 0 {
			device = len(m.devices)
			m.devices = append(m.devices, x.Device)
		}
		text := fmt.Sprintf("gpu/%v gpu-%d count=1 device=%d", x.Class, i+1, device+1)
		if xids := x.Class.Trait().Xids; x.Xid != xids[0] {
			text += fmt.Sprintf(" xid=%d", x.Xid)
		}
		hold := time.Minute
		if x.Class == gpu.RemapFailed {
			hold = 5 * time.Minute // then it is replaced
		}
		s.Plan = append(s.Plan, scenarios.Step{At: scenarios.Duration(before + x.At), For: scenarios.Duration(hold), Fault: scenarios.FaultText(text)})
		last = x.At
	}
	if len(s.Plan) == 0 {
		return nil, left, fmt.Errorf("none of its %d Xids is of a known class; espersim faults list has those that are", len(list))
	}
	s.Duration = scenarios.Duration(before + last + behind)
	s.About = fmt.Sprintf("Imported from a log: %d failures of devices on %d hosts, each at its time.\n", len(s.Plan), len(machines)) +
		"The hosts train together, step by step; what the driver announced of a device befalls it here.\n"
	s.Cluster.Hosts = []scenarios.Host{{Name: "lead"}}
	s.Cluster.Nodes = []scenarios.Node{{Name: "lead", Is: "fleet-lead", Host: "lead",
		Options: scenarios.Options{Values: []scenarios.Option{{Key: "hosts", Value: fmt.Sprint(len(machines))}}}}}
	most := 1
	for _, m := range machines {
		most = max(most, len(m.devices))
	}
	// None is spare: what came later has to hit the same hosts.
	for i := range machines {
		s.Cluster.Hosts = append(s.Cluster.Hosts, scenarios.Host{Name: fmt.Sprintf("gpu-%d", i+1), Devices: most})
		s.Cluster.Nodes = append(s.Cluster.Nodes, scenarios.Node{Name: fmt.Sprintf("worker-%d", i+1), Is: "fleet-worker", Host: fmt.Sprintf("gpu-%d", i+1)})
	}
	return s, left, nil
}
