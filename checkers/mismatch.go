package checkers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/contracts/build"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/governance/manifest"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// mismatch judges L6: schemas that are not those of the manifest raise an alert.
//
// Which digests are right is not asked of Leyline, which is judged: they are in
// the manifest. A process that tells another one for long enough, while nobody
// fails, must be in an alert that Nissa publishes.
type mismatch struct {
	settle func(int64) bool
	right  map[wire.Version]string
	last   int64
	wrong  map[string]*wrongSchema  // by subsystem
	raised map[string]int64         // by subsystem: the newest FIRING
	asked  map[string]*versionAsked // by subsystem: its newest question, if it is not answered

	registrar string               // the node that answers
	born      int64                // when its life began
	told      int64                // when it told of itself last, in its life
	speaks    map[string]versionOf // by subsystem: what it said last, in the life of who answers
}

// versionOf is what a process has said that it speaks.
type versionOf struct {
	minor uint32
	right bool
	at    int64
}

// A process counts as live for six seconds, and every five the registry says what
// it knows. Clocks, mail and the looking itself take a little more or less.
const (
	leaseTime   = int64(6 * time.Second)
	leaseSlack  = int64(600 * time.Millisecond)
	tellsWithin = int64(9 * time.Second)
)

// versionAsked is a question about a version.
type versionAsked struct {
	id    string
	at    int64
	seq   uint64
	right bool
}

// answerWithin is how long an answer about a version may take, and since when all
// must be well for that.
const answerWithin = int64(time.Second)

// wrongSchema is what a process tells, time and again.
type wrongSchema struct {
	first, last int64
	seq         uint64
}

// raiseWithin is how long a mismatch may go on without an alert.
const raiseWithin = int64(20 * time.Second)

// contractRule is the name of the alert.
const contractRule = "contract-mismatch"

func newMismatch(p Params) Checker {
	right, err := schemas()
	if err != nil {
		return nil // there is no manifest to judge by; its own tests say so
	}
	return &mismatch{settle: p.Settled, right: right, wrong: map[string]*wrongSchema{}, raised: map[string]int64{}, asked: map[string]*versionAsked{},
		registrar: "leyline", speaks: map[string]versionOf{}}
}

// schemas are the digests of the versions' descriptor sets, in hex.
func schemas() (map[wire.Version]string, error) {
	m, err := manifest.Parse("versions.yaml", build.Manifest)
	if err != nil {
		return nil, err
	}
	right := map[wire.Version]string{}
	for _, v := range m.Versions {
		if v.Name == fmt.Sprint("v", wire.Newest.Major) {
			for minor, hash := range append(slices.Clone(v.Earlier), v.Hash) {
				right[wire.Version{Major: wire.Newest.Major, Minor: uint32(minor)}] = hash
			}
		}
	}
	return right, nil
}

func (*mismatch) Invariants() []string { return []string{"L6"} }

func (c *mismatch) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.NodeStarted:
		if e.Node == c.registrar {
			c.born, c.told = e.At, e.At
			clear(c.speaks)
		}
		return
	case trace.NodeCrashed, trace.NodeExited, trace.NodePaused, trace.NodeResumed:
		if e.Node == c.registrar {
			c.told = 0
		}
		return
	case trace.MessageSent, trace.MessageDelivered:
	default:
		return
	}
	if e.Kind == trace.MessageDelivered && e.Peer == c.registrar {
		c.silent(e, j)
	}
	switch m := e.Mail.Payload.(type) {
	case *telemetryv2.TelemetryPacket:
		if e.Kind == trace.MessageSent && e.Node == c.registrar {
			c.tells(e, m, j)
		}
	case *operationsv2.VersionQuery:
		if e.Kind == trace.MessageSent {
			c.own(e, m, j)
			return
		}
		want := c.right[wire.Version{Major: m.SchemaMajor, Minor: m.SchemaMinor}]
		if e.Peer == c.registrar {
			c.speaks[strings.Clone(m.Subsystem)] = versionOf{m.SchemaMinor, want != "" && want == fmt.Sprintf("%x", m.DescriptorSetSha256), e.At}
		}
		c.question(e, m, want != "" && want == fmt.Sprintf("%x", m.DescriptorSetSha256), j)
		if want == "" || want == fmt.Sprintf("%x", m.DescriptorSetSha256) {
			if m.SchemaMajor == wire.Newest.Major && want != "" {
				c.done(m.Subsystem, j)
			}
			return
		}
		w := c.wrong[m.Subsystem]
		if w == nil {
			w = &wrongSchema{first: e.At, seq: e.Seq}
			c.wrong[m.Subsystem] = w
		}
		w.last = e.At
		c.late(m.Subsystem, w, e.At, j)
	case *operationsv2.VersionReply:
		if e.Kind == trace.MessageSent {
			c.answer(e, m, j)
			if e.Node == c.registrar {
				c.writes(e, m.WritesMinor, j)
			}
		}
	case *platformv2.AlertEvent:
		if e.Kind != trace.MessageSent || m.Rule != contractRule || m.State != platformv2.AlertState_FIRING {
			return
		}
		for _, l := range m.Labels {
			if l.Key == "subsystem" {
				if _, known := c.wrong[l.Value]; !known && c.raised[l.Value] == 0 {
					j.Violate("L6", e.Node, fmt.Sprintf("it raises an alert about the schemas of %s, which are right", l.Value))
					return
				}
				c.raised[l.Value] = e.At
				j.Judged("L6")
			}
		}
	}
}

// members are the system's own processes: what they tell is not made up.
var members = []string{"tolaria", "kasmina", "tamiyo", "oona", "nissa", "narset", "mycosynth", "urza", "karn", "tezzeret", "urabrask", "simic", "jace", "emrakul"}

// own judges that a process of the system tells the schemas that it was built with.
func (c *mismatch) own(e *Event, m *operationsv2.VersionQuery, j *Judge) {
	want := c.right[wire.Version{Major: m.SchemaMajor, Minor: m.SchemaMinor}]
	if slices.Contains(members, m.Subsystem) && want != "" && want != fmt.Sprintf("%x", m.DescriptorSetSha256) {
		j.Violate("L6", e.Node, fmt.Sprintf("it tells that its schemas of version %d.%d are %x; they are %s", m.SchemaMajor, m.SchemaMinor, m.DescriptorSetSha256, want))
	}
}

// minor is what may be written: the least that a live process reads, and nothing
// new before all who live can have been heard. Between the two is right: who was
// heard as long ago as a lease is live or not.
func (c *mismatch) minor(now int64) (least, most uint32) {
	least, most = wire.Newest.Minor, wire.Newest.Minor
	for _, v := range c.speaks {
		if v.right && now-v.at < leaseTime-leaseSlack {
			most = min(most, v.minor)
		}
		if v.right && now-v.at < leaseTime+leaseSlack {
			least = min(least, v.minor)
		}
	}
	if now-c.born < leaseTime-leaseSlack {
		most = 0
	}
	if now-c.born < leaseTime+leaseSlack {
		least = 0
	}
	return least, most
}

func (c *mismatch) writes(e *Event, minor uint32, j *Judge) {
	least, most := c.minor(e.At)
	if minor < least || minor > most {
		j.Violate("L6", e.Node, fmt.Sprintf("it says that the minor version %d may be written; by who is live it is %d to %d", minor, least, most))
		return
	}
	j.Judged("L6")
}

// tells judges what the registry says of itself: how many it knows, and what may
// be written.
func (c *mismatch) tells(e *Event, m *telemetryv2.TelemetryPacket, j *Judge) {
	if e.Mail.Envelope.GetTopic() == "" {
		return
	}
	c.told = e.At
	live := 0
	for _, v := range c.speaks {
		if e.At-v.at < leaseTime-leaseSlack {
			live++
		}
	}
	has := map[string]float64{}
	for _, x := range m.Metrics {
		has[x.Name] = x.Value
	}
	n, ok := has["contract_processes"]
	_, also := has["contract_writes_minor"]
	switch {
	case !ok || !also:
		j.Violate("L6", e.Node, "it tells of its registry, and not how many processes it knows nor what may be written")
	case c.settle != nil && c.settle(max(e.At-leaseTime, 0)) && (int(n) < live || int(n) > len(c.speaks)):
		j.Violate("L6", e.Node, fmt.Sprintf("it tells of %g processes; %d to %d have told it what they speak", n, live, len(c.speaks)))
	default:
		j.Judged("L6")
	}
}

// silent judges that the registry goes on to tell.
func (c *mismatch) silent(e *Event, j *Judge) {
	if c.told == 0 || e.At-c.told < tellsWithin || c.settle == nil || !c.settle(c.told) {
		return
	}
	j.Violate("L6", e.Peer, fmt.Sprintf("%s has told nobody what agrees and what does not for %v", e.Peer, time.Duration(e.At-c.told)))
	c.told = 0
}

// question notes what a process asks, and judges that what it asked before was
// answered.
func (c *mismatch) question(e *Event, m *operationsv2.VersionQuery, right bool, j *Judge) {
	if m.QueryId == "" {
		return
	}
	q := c.asked[m.Subsystem]
	if q != nil && q.id == m.QueryId {
		return
	}
	if q != nil && e.At-q.at > answerWithin && c.settle != nil && c.settle(max(q.at-int64(5*time.Second), 0)) {
		j.Violate("L6", e.Peer, fmt.Sprintf("it does not answer the question %s of %s", q.id, m.Subsystem), q.seq)
	}
	c.asked[strings.Clone(m.Subsystem)] = &versionAsked{id: strings.Clone(m.QueryId), at: e.At, seq: e.Seq, right: right}
}

// answer judges that a process is told the truth about what it speaks.
func (c *mismatch) answer(e *Event, m *operationsv2.VersionReply, j *Judge) {
	for _, who := range slices.Sorted(maps.Keys(c.asked)) {
		if q := c.asked[who]; q.id == m.QueryId {
			if m.Compatible != q.right {
				j.Violate("L6", e.Node, fmt.Sprintf("it says compatible %v of %s, by the manifest it is %v", m.Compatible, who, q.right), q.seq)
			}
			delete(c.asked, who)
			return
		}
	}
}

// done: a process tells the right digest again. If it told a wrong one for long
// enough, an alert was due.
func (c *mismatch) done(who string, j *Judge) {
	if w := c.wrong[who]; w != nil {
		c.late(who, w, w.last, j)
	}
}

// late judges a mismatch that has gone on until now.
func (c *mismatch) late(who string, w *wrongSchema, now int64, j *Judge) {
	if c.raised[who] >= w.first || now-w.first < raiseWithin || c.settle == nil || !c.settle(now-raiseWithin) {
		return
	}
	j.Violate("L6", "nissa", fmt.Sprintf("%s has other schemas than the manifest since %s, and there is no alert", who, trace.Stamp(w.first)), w.seq)
	delete(c.wrong, who)
}

// Finish implements Checker.
func (c *mismatch) Finish(j *Judge) {
	for _, who := range slices.Sorted(maps.Keys(c.wrong)) {
		if w := c.wrong[who]; c.last-w.last < raiseWithin/4 {
			c.late(who, w, c.last, j)
		}
	}
}
