package scenarios

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/esper-sim/espersim/faults"
)

// The most that a scenario may have of each.
const (
	mostDevices = 64
	mostCount   = 4096
)

// expand puts as many hosts and nodes in the place of a counted one as it counts.
// What is wrong with one of them is told where the counted one stands.
func (d *decoder) expand(s *Scenario) error {
	counted := map[string]int{} // hosts
	var hosts []Host
	var from []int
	for i, h := range s.Cluster.Hosts {
		if h.Count < 0 || h.Count > mostCount {
			return d.bad(d.place(fmt.Sprintf("cluster.hosts[%d].count", i)), fmt.Sprintf("a count of %d", h.Count), fmt.Sprintf("1 to %d", mostCount))
		}
		n, name := h.Count, h.Name
		h.Count = 0
		if n == 0 {
			hosts, from = append(hosts, h), append(from, i)
			continue
		}
		counted[name] = n
		for k := range n {
			h.Name = fmt.Sprintf("%s-%d", name, k+1)
			hosts, from = append(hosts, h), append(from, i)
		}
	}
	d.move("cluster.hosts", from)
	var nodes []Node
	from = nil
	for i, n := range s.Cluster.Nodes {
		path := fmt.Sprintf("cluster.nodes[%d]", i)
		if n.Count < 0 || n.Count > mostCount {
			return d.bad(d.place(path+".count"), fmt.Sprintf("a count of %d", n.Count), fmt.Sprintf("1 to %d", mostCount))
		}
		there, many := counted[n.Host]
		if many && there != n.Count {
			return d.bad(d.place(path+".host"), fmt.Sprintf("%d nodes on %d hosts", max(n.Count, 1), there), fmt.Sprintf("count: %d, or one of the hosts, such as %s-1", there, n.Host))
		}
		count, name, host, is := n.Count, n.Name, n.Host, n.Role()
		n.Count = 0
		if count == 0 {
			nodes, from = append(nodes, n), append(from, i)
			continue
		}
		for k := range count {
			n.Name, n.Is = fmt.Sprintf("%s-%d", name, k+1), is
			if many {
				n.Host = fmt.Sprintf("%s-%d", host, k+1)
			}
			nodes, from = append(nodes, n), append(from, i)
		}
	}
	d.move("cluster.nodes", from)
	s.Cluster.Hosts, s.Cluster.Nodes = hosts, nodes
	return nil
}

// move gives the elements of a list the places of those that they come from.
func (d *decoder) move(list string, from []int) {
	old := map[int]map[string]*yaml.Node{}
	for path, n := range d.at {
		rest, ok := strings.CutPrefix(path, list+"[")
		if !ok {
			continue
		}
		var i int
		if _, err := fmt.Sscanf(rest, "%d]", &i); err != nil {
			continue
		}
		if old[i] == nil {
			old[i] = map[string]*yaml.Node{}
		}
		old[i][rest[strings.IndexByte(rest, ']')+1:]] = n
		delete(d.at, path)
	}
	for j, i := range from {
		for tail, n := range old[i] {
			d.at[fmt.Sprintf("%s[%d]%s", list, j, tail)] = n
		}
	}
}

// places are the hosts that have accelerators in use, for failures of a fleet: those
// of its workers.
func (s *Scenario) places() (list []faults.Place) {
	for _, h := range s.Cluster.Hosts {
		for _, n := range s.Cluster.Nodes {
			if n.Host == h.Name && n.Role() == "fleet-worker" {
				list = append(list, faults.Place{Host: h.Name, Node: n.Name, Devices: max(h.Devices, 1)})
				break
			}
		}
	}
	return list
}

// FleetSummary says in one line what failures of a fleet a scenario has; empty: none.
func (s *Scenario) FleetSummary() string {
	if s.Fleet.Rates == "" {
		return ""
	}
	devices := 0
	for _, p := range s.places() {
		devices += p.Devices
	}
	f := faults.Fleet(s.Fleet)
	once := f
	once.Times = 1
	d := s.Duration.Std()
	return fmt.Sprintf("%d devices for %v at the rates of %s × %g: %.1f failures are expected, %.2f at the plain rates",
		devices, d, f.Rates, max(f.Times, 1), f.Expected(devices, d), once.Expected(devices, d))
}
