package checkers

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// configuration judges J2: a change is seen by every subsystem at the same
// boundary, or by none.
//
// Which revision a boundary has is read from the messages that tell of it, and
// they must agree: those to Kasmina, to Tamiyo, and the event for all others. It
// is one of which its author has said before that everybody has it. What a revision holds is read from its announcement. What a subsystem sees is its own
// claim, held against both.
//
// A change is one that somebody has asked for who may, and is announced ahead of
// what its author has heard of. Who follows, which is to say acknowledges, crosses
// each boundary that it is told of, and uses what it sees.
type configuration struct {
	p        Params
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

	wanted    map[string]wish      // by request: what was asked for by who may
	replies   map[string]string    // by request: what was answered
	versions  map[string]uint64    // by key: the newest that was accepted
	heard     map[string]crossing  // by node: the newest beginning of an epoch in its life
	grown     map[string]uint64    // by node: the handler in which its own log has grown last
	followers map[string]*follower // by subsystem
	born      int64                // when Nissa's life began
	wait      int64                // how long she is to wait by what she has seen; 0: it is not known
	lookedAt  int64                // when Nissa looked at her rules last
}

// wish is a change that was asked for.
type wish struct {
	key, value string
	version    uint64
}

// follower is who says what it has of the configuration.
type follower struct {
	node  string
	acked int64
	told  []toldOf // boundaries that it was told of and has not crossed
}

type toldOf struct {
	at  crossing
	now int64
	seq uint64
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
	return &configuration{p: p, settle: p.Settled, wanted: map[string]wish{}, replies: map[string]string{}, versions: map[string]uint64{},
		heard: map[string]crossing{}, grown: map[string]uint64{}, followers: map[string]*follower{},
		at: map[crossing]inForce{}, changes: map[uint64]announcement{},
		digests: map[uint64][sha256.Size]byte{}, seen: map[string]sight{}}
}

func (*configuration) Invariants() []string { return []string{"J2"} }

func (c *configuration) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.ConfigFact:
			c.crossed(e, f, j)
		case *evidencev2.LogFact:
			if f.Log == e.Node && f.Action == evidencev2.LogAction_LOG_APPENDED {
				c.grown[e.Node] = e.Cause
			}
		}
		return
	case trace.NodeStarted, trace.NodeCrashed, trace.NodeExited, trace.NodePaused:
		delete(c.heard, e.Node)
		for _, f := range c.followers {
			if f.node == e.Node {
				f.told, f.acked = nil, 0
			}
		}
		if e.Node == watcher {
			c.lookedAt, c.born = 0, e.At
		}
		return
	case trace.TimerFired:
		if e.Node == watcher && e.Text == "evaluate" {
			c.looks(e, j)
		}
		return
	case trace.MessageDelivered:
		c.delivered(e)
		return
	case trace.MessageSent:
	default:
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
	case *operationsv2.ConfigReply:
		c.answered(e, m, j)
	case *operationsv2.ConfigAck:
		f := c.followers[m.Subsystem]
		if f == nil {
			f = &follower{}
			c.followers[strings.Clone(m.Subsystem)] = f
		}
		f.node, f.acked = e.Node, e.At
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
	c.founded(e, m, j)
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
		if w := c.followers[f.Subsystem]; w != nil {
			w.told = slices.DeleteFunc(w.told, func(t toldOf) bool { return t.at.compare(b) <= 0 })
		}
		if f.Revision > 0 {
			j.Judged("J2")
		}
	}
}

// delivered notes who was asked for what, and who was told of which boundary.
func (c *configuration) delivered(e *Event) {
	tell := func(b crossing) {
		if b.compare(c.heard[e.Peer]) > 0 {
			c.heard[e.Peer] = b
		}
		for _, f := range c.followers {
			if f.node == e.Peer && f.node != "tolaria" && b.generation > 0 && len(f.told) < ringSize {
				f.told = append(f.told, toldOf{b, e.At, e.Seq})
			}
		}
	}
	switch m := e.Mail.Payload.(type) {
	case *operationsv2.ConfigRequest:
		if c.p.Key == nil || wire.Verify(e.Mail.Envelope, c.p.Key) == nil {
			c.wanted[strings.Clone(m.RequestId)] = wish{strings.Clone(m.Key), strings.Clone(m.Value), m.ExpectedVersion}
		}
	case *busv2.Delivery:
		if e.Inner != nil {
			if ev, ok := e.Inner.Payload.(*eventsv2.EpochEvent); ok && ev.Phase == eventsv2.EpochPhase_STARTED {
				tell(crossing{ev.RollbackGeneration, ev.Epoch})
			}
		}
	}
}

// answered judges an answer: to a request that was made by who may, the same each
// time, with the version that the key then has.
func (c *configuration) answered(e *Event, m *operationsv2.ConfigReply, j *Judge) {
	bad := func(how string) {
		j.Violate("J2", e.Node, fmt.Sprintf("it answers the request %q for a change of the configuration, %s", m.RequestId, how))
	}
	if m == nil {
		j.Violate("J2", e.Node, "it answers a request for a change of the configuration with nothing")
		return
	}
	w, known := c.wanted[m.RequestId]
	text := string(m.AppendCanonical(nil))
	was, again := c.replies[m.RequestId]
	switch {
	case !known:
		bad("which nobody who may has made")
		return
	case again && was != text:
		bad("and says something else than before")
		return
	case again:
		return
	case m.Accepted && (m.Version != w.version+1 || m.Version <= c.versions[w.key]):
		bad(fmt.Sprintf("which replaces version %d of %s, and says that this is version %d; there was %d", w.version, w.key, m.Version, c.versions[w.key]))
		return
	case !m.Accepted && m.Reason == "":
		bad("and refuses it without a reason")
		return
	}
	c.replies[strings.Clone(m.RequestId)] = text
	if m.Accepted {
		c.versions[w.key] = m.Version
	}
	j.Judged("J2")
}

// founded judges an announcement by what led to it.
func (c *configuration) founded(e *Event, m *operationsv2.ConfigChange, j *Judge) {
	bad := func(how string) {
		j.Violate("J2", e.Node, fmt.Sprintf("revision %d of the configuration %s", m.Revision, how))
	}
	last := ""
	for _, x := range m.Entries {
		if x.Key <= last {
			bad(fmt.Sprintf("has %s behind %s: its entries are not sorted by key", x.Key, last))
			return
		}
		last = x.Key
		asked := false
		for _, w := range c.wanted {
			asked = asked || w == wish{x.Key, x.Value, x.Version - 1}
		}
		if !asked {
			bad(fmt.Sprintf("sets %s to %q as version %d, which nobody who may has asked for", x.Key, x.Value, x.Version))
			return
		}
	}
	// What was decided by an earlier life, or put off, is as old as it is.
	if at, ok := c.heard[e.Node]; ok && c.grown[e.Node] == e.Cause && (crossing{m.RollbackGeneration, m.EffectiveEpoch}).compare(at) <= 0 {
		bad(fmt.Sprintf("is announced for epoch %d of generation %d, and its author has heard of epoch %d of generation %d", m.EffectiveEpoch, m.RollbackGeneration, at.epoch, at.generation))
	}
}

// evaluateEvery is the key whose value is seen from outside by the second: how
// often Nissa looks at her rules, in milliseconds.
const evaluateEvery = "nissa/evaluate-ms"

// looks judges that what is in force is what is done: until her next look Nissa
// waits for as long as the configuration says that she has seen in this life.
func (c *configuration) looks(e *Event, j *Judge) {
	before, want := c.lookedAt, c.wait
	c.lookedAt, c.wait = e.At, 0
	s := c.seen[watcher]
	if s.when >= c.born && s.seq > 0 {
		c.wait = c.number(s.revision, evaluateEvery) * int64(time.Millisecond)
	}
	took := e.At - before
	if before == 0 || want == 0 || took > want*9/10 && took < want+int64(400*time.Millisecond) {
		return
	}
	if took > want && (c.settle == nil || !c.settle(before)) {
		return // a disk may have held her up
	}
	j.Violate("J2", e.Node, fmt.Sprintf("by the configuration that it has seen it looks at its rules every %v, and does so after %v", time.Duration(want), time.Duration(took)), s.seq)
}

// number is a key's value at a revision; 0: it has none.
func (c *configuration) number(revision uint64, key string) (n int64) {
	for r := uint64(1); r <= revision; r++ {
		for _, x := range c.changes[r].entries {
			if v, err := strconv.ParseInt(x.Value, 10, 64); x.Key == key && err == nil {
				n = v
			}
		}
	}
	return n
}

// Finish implements Checker: what is in force is in force for all who follow.
func (c *configuration) Finish(j *Judge) {
	if c.settle == nil || !c.settle(max(c.last-catchUp, 0)) {
		return
	}
	for _, who := range slices.Sorted(maps.Keys(c.followers)) {
		f := c.followers[who]
		if len(f.told) > 0 && c.last-f.told[0].now > catchUp && c.last-f.acked < int64(3*time.Second) {
			t := f.told[0]
			j.Violate("J2", f.node, fmt.Sprintf("it was told of epoch %d of generation %d at %s, and has crossed no boundary since", t.at.epoch, t.at.generation, trace.Stamp(t.now)), t.seq)
			return
		}
	}
	if c.revision == 0 || c.last-c.since < catchUp {
		return
	}
	for _, who := range slices.Sorted(maps.Keys(c.seen)) {
		if s := c.seen[who]; s.revision < c.revision {
			j.Violate("J2", who, fmt.Sprintf("revision %d of the configuration is in force since %s, and it sees %d", c.revision, trace.Stamp(c.since), s.revision), s.seq)
		}
	}
}
