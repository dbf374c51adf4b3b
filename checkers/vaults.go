package checkers

import (
	"bytes"
	"fmt"
	"sort"

	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// vaults judges W4, W5 and W6 of a vault by what its clients sealed and what
// they were given back.
type vaults struct {
	asked map[string]*bundle // by vault and bundle id
	roots map[string]string  // by vault and root: bundle id
}

type bundle struct {
	id         string
	components map[string][]byte
	dup        bool   // a name stands twice: no content that could be sealed
	content    string // canonical text of components and context
	root       []byte
	seq        uint64
}

func newVaults(Params) Checker {
	return &vaults{asked: map[string]*bundle{}, roots: map[string]string{}}
}

func (*vaults) Invariants() []string { return []string{"W4", "W5", "W6"} }

func (c *vaults) Observe(e *Event, j *Judge) {
	if e.Kind != trace.MessageSent {
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *ledgerv2.SealRequest:
		key := e.Peer + "\x00" + m.BundleId
		if c.asked[key] != nil {
			return
		}
		b := &bundle{id: m.BundleId, components: map[string][]byte{}, content: contentOf(m.Components, m.Context), seq: e.Seq}
		for _, x := range m.Components {
			if _, twice := b.components[x.Name]; twice {
				b.dup = true
			}
			b.components[x.Name] = bytes.Clone(x.Data)
		}
		c.asked[key] = b
	case *ledgerv2.SealReply:
		b := c.asked[e.Node+"\x00"+m.BundleId]
		if b == nil || m.Outcome != ledgerv2.Outcome_DONE {
			return
		}
		b.root = bytes.Clone(m.Root)
		key := e.Node + "\x00" + string(m.Root)
		if other, ok := c.roots[key]; ok && other != m.BundleId {
			if o := c.asked[e.Node+"\x00"+other]; o != nil && o.content != b.content {
				j.Violate("W6", e.Node, fmt.Sprintf("the bundles %s and %s differ and have one root %x…", other, m.BundleId, m.Root[:min(8, len(m.Root))]), o.seq, b.seq)
				return
			}
		}
		c.roots[key] = m.BundleId
		j.Judged("W6")
	case *ledgerv2.OpenReply:
		c.opened(e, m, j)
	}
}

func (c *vaults) opened(e *Event, m *ledgerv2.OpenReply, j *Judge) {
	b := c.asked[e.Node+"\x00"+m.BundleId]
	if m.Outcome != ledgerv2.Outcome_DONE {
		if m.Outcome == ledgerv2.Outcome_CORRUPT {
			j.Judged("W5")
		}
		return
	}
	if b == nil {
		j.Violate("W4", e.Node, fmt.Sprintf("it opens the bundle %s, which nobody sealed", m.BundleId))
		return
	}
	got := map[string][]byte{}
	for _, x := range m.Components {
		got[x.Name] = x.Data
	}
	for name, want := range b.components {
		have, ok := got[name]
		switch {
		case !ok:
			j.Violate("W4", e.Node, fmt.Sprintf("the bundle %s is opened without its component %q: a part of a transaction", b.id, name), b.seq)
			return
		case !b.dup && !bytes.Equal(have, want):
			j.Violate("W5", e.Node, fmt.Sprintf("the bundle %s is accepted with other bytes in %q than were sealed", b.id, name), b.seq)
			return
		}
	}
	if len(got) > len(b.components) {
		j.Violate("W5", e.Node, fmt.Sprintf("the bundle %s is accepted with components that were not sealed", b.id), b.seq)
		return
	}
	switch {
	case !b.dup && contentOf(m.Components, m.Context) != b.content:
		j.Violate("W5", e.Node, fmt.Sprintf("the bundle %s is accepted in another context than it was sealed in", b.id), b.seq)
		return
	case b.root != nil && !bytes.Equal(m.Root, b.root):
		j.Violate("W5", e.Node, fmt.Sprintf("the bundle %s is accepted under the root %x; it was sealed under %x", b.id, m.Root, b.root), b.seq)
		return
	}
	j.Judged("W4")
	j.Judged("W5")
}

// contentOf is the canonical text of components and context, in which the order
// of neither counts.
func contentOf(components []*ledgerv2.Component, context []*telemetryv2.Label) string {
	var parts, labels []string
	for _, x := range components {
		parts = append(parts, fmt.Sprintf("%d:%s=%x", len(x.Name), x.Name, x.Data))
	}
	for _, l := range context {
		labels = append(labels, fmt.Sprintf("%d:%s=%d:%s", len(l.Key), l.Key, len(l.Value), l.Value))
	}
	sort.Strings(parts)
	sort.Strings(labels)
	return fmt.Sprintf("%q %q", parts, labels)
}

func (*vaults) Finish(*Judge) {}
