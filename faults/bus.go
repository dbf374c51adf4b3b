package faults

import "strings"

// busKinds are the faults of a message broker (faults.md §3) that no link can
// commit: sites inside the broker, under the names "bus/…". What links can do
// to a bus is a link fault on its messages, for example
//
//	drop oona -> tamiyo type=AckReply
//	duplicate oona -> kasmina type=Delivery delay=1s
var busKinds = []*Kind{
	busKind("duplicate", Survivable, "an entry is delivered again, also after it was acknowledged"),
	busKind("reorder", Survivable, "an entry is delivered before the one in front of it"),
	busKind("drop-ack", Survivable, "an acknowledgement is forgotten, and the entry is delivered again"),
	busKind("claim", Survivable, "a pending entry is given to another consumer while the first still works on it"),
	busKind("rewind-cursor", Survivable, "after a restart the groups' cursors are where they were a while ago (Redis #7105)"),
	busKind("trim-pending", Outside, "entries are trimmed that a durable group has not acknowledged (Redis #5570)"),
	busKind("poison", Survivable, "an entry cannot be decoded by any consumer"),
	busKind("zombie-ack", Survivable, "an acknowledgement arrives again after its claim was lost"),
}

// BusSite is the name of the Probe.Sometimes site of a bus fault.
func BusSite(kind string) string { return strings.TrimPrefix(kind, "bus/") }

func busKind(name string, class Class, summary string) *Kind {
	return &Kind{Name: "bus/" + name, Area: "bus", Shape: OnNodes, Class: class, Summary: summary,
		Params: []string{"rate"},
		inject: func(k *Kind, f Fault, w World) (*Active, error) { return injectSite(f, w, BusSite(k.Name)) }}
}

// injectSite turns a site on at every node of a fault, with its rate or always.
func injectSite(f Fault, w World, site string) (*Active, error) {
	a := &Active{fault: f}
	rate := f.Rate
	if rate == 0 {
		rate = 1
	}
	var ids []int
	for _, n := range f.On {
		id, err := w.AddSite(n, site, rate)
		if err != nil {
			return a, err
		}
		ids = append(ids, id)
	}
	a.end = func() (fired uint64) {
		for _, id := range ids {
			fired += w.RemoveSite(id)
		}
		return fired
	}
	return a, nil
}
