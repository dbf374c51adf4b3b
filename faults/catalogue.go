package faults

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// Shape says what a fault is aimed at.
type Shape uint8

// The shapes.
const (
	OnNodes Shape = iota + 1 // one or more nodes
	OnHosts                  // one or more hosts, with all that they carry
	OnRacks                  // every host of one or more racks
	OnLinks                  // the links between two sets of nodes
)

// Class is what a correct system can do about a fault (faults.md §1).
type Class uint8

// The classes.
const (
	// Survivable faults change nothing that was promised.
	Survivable Class = iota + 1
	// Detected faults make a correct log refuse to go on and name the place.
	Detected
	// Outside faults no log alone can see.
	Outside
)

// String is the class's name in listings.
func (c Class) String() string {
	return [...]string{"?", "survivable", "detected", "outside"}[c]
}

// A Kind is a row of the catalogue.
type Kind struct {
	Name    string
	Area    string // process, clock, network, disk, bus, kernel, gpu
	Shape   Shape
	Params  []string // the parameters it takes
	Needs   []string // those that must be given
	Class   Class
	Instant bool // it happens once: a step has no duration
	// Optional: a step may have a duration, and is taken back at its end. Without
	// one it happens once, and is for good.
	Optional bool
	Summary  string
	inject   func(k *Kind, f Fault, w World) (*Active, error)
}

// Once says whether a step that is to hold for so long is one that happens once.
func (k *Kind) Once(hold time.Duration) bool { return k.Instant || k.Optional && hold == 0 }

func (k *Kind) takes(name string) bool {
	for _, p := range k.Params {
		if p == name {
			return true
		}
	}
	return false
}

func (k *Kind) needs(name string) bool {
	for _, p := range k.Needs {
		if p == name {
			return true
		}
	}
	return false
}

// Usage is an example of the text form.
func (k *Kind) Usage() string {
	s := k.Name
	switch k.Shape {
	case OnNodes:
		s += " node[,node…]"
	case OnHosts:
		s += " host[,host…]"
	case OnRacks:
		s += " rack[,rack…]"
	case OnLinks:
		s += " node[,node…] (| or ->) (node[,node…] or *)"
	}
	for _, p := range k.Params {
		if k.needs(p) {
			s += " " + p + "=…"
		} else {
			s += " [" + p + "=…]"
		}
	}
	return s
}

// Catalogue lists every kind, by area.
func Catalogue() []*Kind { return catalogue }

var catalogue = concat(processKinds, clockKinds, networkKinds, diskKinds, busKinds, kernelKinds, gpuKinds)

func concat(areas ...[]*Kind) []*Kind {
	var all []*Kind
	for _, a := range areas {
		all = append(all, a...)
	}
	return all
}

// Lookup finds a kind by name, or returns nil.
func Lookup(name string) *Kind {
	for _, k := range catalogue {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// Names lists the names of all kinds, sorted.
func Names() []string {
	var list []string
	for _, k := range catalogue {
		list = append(list, k.Name)
	}
	sort.Strings(list)
	return list
}

// Describe is a kind as lines for people: usage, class, summary.
func Describe(k *Kind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n    %s; %s\n", k.Usage(), k.Class, k.Summary)
	for _, p := range k.Params {
		fmt.Fprintf(&b, "    %-8s %s\n", p, findParam(p).help)
	}
	return b.String()
}

// Targets checks the fault's names against the nodes, hosts and racks that
// there are. The error names the nearest that would be right.
func (f Fault) Targets(nodes, hosts, racks []string) error {
	k := Lookup(f.Kind)
	if k == nil {
		return fmt.Errorf("unknown kind %q", f.Kind)
	}
	what, have := "node", nodes
	switch k.Shape {
	case OnHosts:
		what, have = "host", hosts
	case OnRacks:
		what, have = "rack", racks
	}
	for _, list := range [][]string{f.On, f.Peers} {
		for _, n := range list {
			if n == Any && k.Shape != OnLinks {
				continue
			}
			found := false
			for _, h := range have {
				found = found || h == n
			}
			if !found {
				return fmt.Errorf("%s: unknown %s %q; nearest is %q", f.Kind, what, n, Nearest(n, have))
			}
		}
	}
	return nil
}

// Any as the target of a random fault stands for one that is drawn anew at
// each arrival.
const Any = "any"
