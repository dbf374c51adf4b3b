package guided

import (
	"math/bits"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// watcher observes a run and gathers its features: the abstract states that it
// went through. A feature is a hash; what matters is only whether it was seen
// before.
//
//   - Each step of a process through the abstract states that it declares: a
//     fact without its numbers, ids and times, and the one of its type before.
//   - Each pair of messages that a process handles one after the other, and
//     each pair of operations on its files.
//   - What a process was doing when it died, when a fault began, and when its
//     mail was lost: its newest facts and the message that it handled last.
type watcher struct {
	seen  map[uint64]place
	now   place // of the event that is observed
	nodes map[string]*watched
	// phase is the newest fact of each type, whoever declared it: where the
	// protocols stand.
	phase map[string]uint64
}

// place is where in a run a feature was first seen.
type place struct {
	at   time.Duration
	node string
}

// watched is what is known of a node.
type watched struct {
	facts   map[string]uint64 // newest of each type
	fact    uint64            // the newest
	handled uint64            // the payload type of the last message
	disk    uint64            // the last operation on files, and the folder
}

func newWatcher() *watcher {
	return &watcher{seen: map[uint64]place{}, nodes: map[string]*watched{}, phase: map[string]uint64{}}
}

func (w *watcher) node(name string) *watched {
	n := w.nodes[name]
	if n == nil {
		n = &watched{facts: map[string]uint64{}}
		w.nodes[name] = n
	}
	return n
}

// mark notes a feature.
func (w *watcher) mark(parts ...uint64) {
	h := uint64(14695981039346656037)
	for _, p := range parts {
		h = (h ^ p) * 1099511628211
		h ^= h >> 29
	}
	if _, ok := w.seen[h]; !ok {
		w.seen[h] = w.now
	}
}

// kinds of features.
const (
	factEdge = iota + 1
	mailEdge
	death
	faultBegan
	mailLost
	refused
	probe
	diskEdge
)

// Observe implements trace.Observer.
func (w *watcher) Observe(e *trace.Event) {
	w.now = place{time.Duration(e.At), e.Node}
	if e.Kind == trace.MessageDelivered {
		w.now.node = e.Peer
	}
	switch e.Kind {
	case trace.FactDeclared:
		m, ok := e.Value.(canon.Message)
		if !ok {
			return
		}
		n, now := w.node(e.Node), abstract(m.ProtoReflect())
		w.mark(factEdge, name(e.Node), name(e.Text), n.facts[e.Text], now)
		n.facts[e.Text], n.fact = now, now
		w.phase[e.Text] = now
	case trace.MessageDelivered:
		m, ok := e.Value.(*wire.Mail)
		if !ok {
			return
		}
		n, now := w.node(e.Peer), name(m.Envelope.PayloadType)
		w.mark(mailEdge, name(e.Peer), n.handled, now)
		n.handled = now
	case trace.NodeCrashed, trace.NodeExited:
		n := w.node(e.Node)
		w.mark(death, name(e.Node), n.fact, n.handled)
		w.mark(death, name(e.Node), n.disk, n.handled)
		for _, p := range protocols {
			w.mark(death, name(e.Node), w.phase[p])
		}
	case trace.DiskOperation:
		// "dsync-write wal/000001.log": of a file its folder counts.
		op, path, _ := strings.Cut(e.Text, " ")
		folder, _, _ := strings.Cut(path, "/")
		failed := strings.Contains(path, " failed: ")
		n, now := w.node(e.Node), name(op)^name(folder)*3
		if failed {
			now++
		}
		w.mark(diskEdge, name(e.Node), n.disk, now)
		n.disk = now
	case trace.FaultBegan:
		kind, _, _ := strings.Cut(e.Text, " ")
		for _, p := range protocols {
			w.mark(faultBegan, name(kind), w.phase[p])
		}
	case trace.MessageDropped:
		w.mark(mailLost, name(e.Node), name(e.Peer), w.node(e.Node).fact)
	case trace.MessageRefused:
		w.mark(refused, name(e.Peer))
	}
}

// protocols are the facts that say where a protocol stands.
var protocols = []string{
	"esper.evidence.v2.RollbackFact", "esper.evidence.v2.PauseFact", "esper.evidence.v2.CheckpointFact",
	"esper.evidence.v2.CommandFact", "esper.evidence.v2.LogFact",
}

// reached notes the probes of a run and, in powers of two, how often.
func (w *watcher) reached(probes map[string]uint64) {
	for p, n := range probes {
		w.mark(probe, name(p), uint64(bits.Len64(n)))
	}
}

// name is FNV-1a.
func name(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// abstract is a fact without what differs from one run to the next: its enums
// and booleans, words in capitals, and which of its fields are set.
func abstract(m protoreflect.Message) uint64 {
	h := uint64(0) // a sum: the order of Range is not defined
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		x := uint64(f.Number()) * 0x9e3779b97f4a7c15
		switch {
		case f.IsList():
			x ^= uint64(bits.Len(uint(v.List().Len()))) * 31
		case f.Enum() != nil:
			x ^= uint64(v.Enum())*131 + 7
		case f.Kind() == protoreflect.StringKind && word(v.String()):
			x ^= name(v.String())
		case f.Message() != nil && f.Message().ParentFile().Package() != "google.protobuf":
			x ^= abstract(v.Message())
		}
		x ^= x >> 31
		h += x * 0xbf58476d1ce4e5b9
		return true
	})
	return h
}

// word says whether a text is one of a few: a status such as APPLIED.
func word(s string) bool {
	return len(s) < 32 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}
