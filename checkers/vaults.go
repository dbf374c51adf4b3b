package checkers

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"strings"

	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// vaults judges W4, W5 and W6 of a vault by what its clients sealed and what
// they were given back.
type vaults struct {
	asked map[string]*bundle // by vault and bundle id
	roots map[string]string  // by vault and root: bundle id
	// odd is the first bundle whose root is not the one that the format gives.
	// It is told at the end: the tree of the HLD is another one, and what is
	// wrong with it is that two bundles share a root.
	odd *odd
	bad bool // W6 was violated
}

type odd struct {
	vault, bundle string
	root          []byte
	seq           uint64
}

type bundle struct {
	id         string
	components map[string][]byte
	sealed     []byte // the root that its content amounts to
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
		b.sealed = sealedRoot(m)
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
				c.bad = true
				j.Violate("W6", e.Node, fmt.Sprintf("the bundles %s and %s differ and have one root %x…", other, m.BundleId, m.Root[:min(8, len(m.Root))]), o.seq, b.seq)
				return
			}
		}
		c.roots[key] = m.BundleId
		if c.odd == nil && len(m.Root) == sha256.Size && !bytes.Equal(m.Root, b.sealed) {
			c.odd = &odd{e.Node, m.BundleId, b.root, e.Seq}
		}
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

// sealedRoot is the root of a bundle by the format: an implementation of its
// own, so that a mistake in the system's is not believed.
func sealedRoot(m *ledgerv2.SealRequest) []byte {
	le := binary.LittleEndian
	long := func(b []byte, s string) []byte { return append(le.AppendUint64(b, uint64(len(s))), s...) }
	type entry struct{ name, kind, value string }
	zero := string(make([]byte, 8))
	context := []entry{{"checkpoint/id", "s", m.BundleId}, {"checkpoint/epoch", "i", zero}, {"checkpoint/generation", "i", zero}}
	for _, l := range m.Context {
		context = append(context, entry{l.Key, "s", l.Value})
	}
	parts := slices.Clone(m.Components)
	slices.SortFunc(parts, func(a, b *ledgerv2.Component) int { return strings.Compare(a.Name, b.Name) })
	var level [][]byte
	for _, p := range parts {
		context = append(context, entry{"checkpoint/epoch of " + p.Name, "i", zero})
		h := sha256.Sum256(long(long([]byte{0}, p.Name), string(p.Data)))
		level = append(level, h[:])
	}
	if len(level) == 0 {
		return nil
	}
	// Joining neighbours from the left, level by level, with the odd one taken
	// over, is the tree of RFC 6962 from below.
	for len(level) > 1 {
		var above [][]byte
		for i := 0; i+1 < len(level); i += 2 {
			h := sha256.Sum256(slices.Concat([]byte{1}, level[i], level[i+1]))
			above = append(above, h[:])
		}
		if len(level)%2 == 1 {
			above = append(above, level[len(level)-1])
		}
		level = above
	}
	slices.SortFunc(context, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	text := le.AppendUint64([]byte{2}, uint64(len(context)))
	for _, e := range context {
		text = long(append(long(text, e.name), e.kind...), e.value)
	}
	hashed := sha256.Sum256(text)
	root := sha256.Sum256(slices.Concat(le.AppendUint64([]byte{3}, uint64(len(parts))), level[0], hashed[:]))
	return root[:]
}

// Finish implements Checker.
func (c *vaults) Finish(j *Judge) {
	if o := c.odd; o != nil && !c.bad {
		j.Violate("W6", o.vault, fmt.Sprintf("the bundle %s has the root %x, which is not that of its components and context", o.bundle, o.root), o.seq)
	}
}
