package checkers

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// configuration judges J2: a change is seen by every subsystem at the same
// boundary, or by none.
//
// Which revision a boundary has is read from the messages that tell of it, and
// they must agree: those to Kasmina, to Tamiyo, and the event for all others. It
// is one of which its author has said before that everybody has it. What a revision holds is read from its announcement. What a subsystem sees is its own
// claim, held against both.
type configuration struct {
	settle   func(int64) bool
	last     int64
	at       map[crossing]inForce
	newest   crossing // of the boundaries that were told of
	revision uint64   // the newest in force
	since    int64    // first told of
	changes  map[uint64]announcement
	author   string // who announces the changes
	sealed   uint64 // the newest that the author says everybody has
	digests  map[uint64][sha256.Size]byte
	seen     map[string]sight // by subsystem
}

type crossing struct {
	generation uint32
	epoch      int64
}

func (b crossing) compare(o crossing) int {
	return cmp.Or(cmp.Compare(b.generation, o.generation), cmp.Compare(b.epoch, o.epoch))
}

type inForce struct {
	revision uint64
	seq      uint64
}

type announcement struct {
	entries []*operationsv2.ConfigEntry
	bytes   string
	seq     uint64
}

// sight is what a subsystem has declared last.
type sight struct {
	at       crossing
	revision uint64
	when     int64
	seq      uint64
}

// catchUp is how long after the faults have ended a revision in force may be
// missing somewhere.
const catchUp = int64(20 * time.Second)

func newConfiguration(p Params) Checker {
	return &configuration{settle: p.Settled, at: map[crossing]inForce{}, changes: map[uint64]announcement{},
		digests: map[uint64][sha256.Size]byte{}, seen: map[string]sight{}}
}

func (*configuration) Invariants() []string { return []string{"J2"} }

func (c *configuration) Observe(e *Event, j *Judge) {
	c.last = e.At
	if e.Kind == trace.FactDeclared {
		if f, ok := e.Fact.(*evidencev2.ConfigFact); ok {
			c.crossed(e, f, j)
		}
		return
	}
	if e.Kind != trace.MessageSent {
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *eventsv2.EpochEvent:
		if m.Phase == eventsv2.EpochPhase_STARTED && e.Mail.Envelope.Topic != "" {
			c.told(e, crossing{m.RollbackGeneration, m.Epoch}, m.ConfigRevision, j)
		}
	case *trainingv2.BoundaryRequest:
		c.told(e, crossing{m.Generation, m.Epoch}, m.ConfigRevision, j)
	case *systemstatev2.SystemStatePacket:
		if m.RollbackGeneration > 0 {
			c.told(e, crossing{m.RollbackGeneration, m.Epoch}, m.ConfigRevision, j)
		}
	case *operationsv2.ConfigChange:
		c.announced(e, m, j)
	case *operationsv2.ConfigSeal:
		if e.Node == c.author {
			c.sealed = max(c.sealed, m.Revision)
		}
	}
}

// told is a message about a boundary.
func (c *configuration) told(e *Event, b crossing, revision uint64, j *Judge) {
	was, known := c.at[b]
	switch {
	case known && was.revision != revision:
		j.Violate("J2", e.Node, fmt.Sprintf("epoch %d of generation %d is said to have revision %d of the configuration, and was said to have %d", b.epoch, b.generation, revision, was.revision), was.seq)
	case known:
	case revision > c.sealed:
		j.Violate("J2", e.Node, fmt.Sprintf("epoch %d of generation %d has revision %d of the configuration, and nobody who may has said that everybody has it", b.epoch, b.generation, revision))
	case revision < c.revision && b.compare(c.newest) > 0:
		j.Violate("J2", e.Node, fmt.Sprintf("epoch %d of generation %d has revision %d of the configuration, and %d was in force before", b.epoch, b.generation, revision, c.revision))
	default:
		c.at[b] = inForce{revision, e.Seq}
		if b.compare(c.newest) > 0 {
			c.newest = b
		}
		if revision > c.revision {
			c.revision, c.since = revision, e.At
		}
		if revision > 0 {
			j.Judged("J2")
		}
		if len(c.at) > ringSize {
			for old := range c.at {
				if old.compare(crossing{c.newest.generation, c.newest.epoch - ringSize/2}) < 0 {
					delete(c.at, old)
				}
			}
		}
	}
}

func (c *configuration) announced(e *Event, m *operationsv2.ConfigChange, j *Judge) {
	text := string(m.AppendCanonical(nil))
	if was, known := c.changes[m.Revision]; known {
		if was.bytes != text {
			j.Violate("J2", e.Node, fmt.Sprintf("revision %d of the configuration is announced with other content than before", m.Revision), was.seq)
		}
		return
	}
	own := new(operationsv2.ConfigChange)
	if err := own.ParseCanonical([]byte(strings.Clone(text))); err == nil {
		c.changes[m.Revision] = announcement{own.Entries, text, e.Seq}
		if c.author == "" {
			c.author = e.Node
		}
	}
}

// digest is that of the whole configuration at a revision.
func (c *configuration) digest(revision uint64) ([sha256.Size]byte, bool) {
	if d, ok := c.digests[revision]; ok {
		return d, true
	}
	all := map[string]*operationsv2.ConfigEntry{}
	for r := uint64(1); r <= revision; r++ {
		a, ok := c.changes[r]
		if !ok {
			return [sha256.Size]byte{}, false
		}
		for _, e := range a.entries {
			all[e.Key] = e
		}
	}
	m := &operationsv2.ConfigSnapshot{}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		m.Entries = append(m.Entries, all[k])
	}
	d := sha256.Sum256(m.AppendCanonical(nil))
	c.digests[revision] = d
	return d, true
}

func (c *configuration) crossed(e *Event, f *evidencev2.ConfigFact, j *Judge) {
	b := crossing{f.Generation, f.Epoch}
	is, known := c.at[b]
	was := c.seen[f.Subsystem]
	bad := func(how string, because ...uint64) {
		j.Violate("J2", e.Node, fmt.Sprintf("at epoch %d of generation %d it sees revision %d of the configuration, %s", f.Epoch, f.Generation, f.Revision, how), because...)
	}
	switch {
	case !known:
		bad("and nobody was told of such a boundary")
	case is.revision != f.Revision:
		bad(fmt.Sprintf("and that epoch has %d", is.revision), is.seq)
	case f.Revision < was.revision:
		bad(fmt.Sprintf("and has seen %d", was.revision), was.seq)
	default:
		if d, ok := c.digest(f.Revision); !ok || string(d[:]) != string(f.EntriesSha256) {
			bad("with other values than were announced", c.changes[f.Revision].seq)
			return
		}
		c.seen[f.Subsystem] = sight{b, f.Revision, e.At, e.Seq}
		if f.Revision > 0 {
			j.Judged("J2")
		}
	}
}

// Finish implements Checker: what is in force is in force for all who follow.
func (c *configuration) Finish(j *Judge) {
	if c.settle == nil || !c.settle(c.last-catchUp) || c.revision == 0 || c.last-c.since < catchUp {
		return
	}
	for _, who := range slices.Sorted(maps.Keys(c.seen)) {
		if s := c.seen[who]; s.revision < c.revision {
			j.Violate("J2", who, fmt.Sprintf("revision %d of the configuration is in force since %s, and it sees %d", c.revision, trace.Stamp(c.since), s.revision), s.seq)
		}
	}
}
