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
}

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
	return &mismatch{settle: p.Settled, right: right, wrong: map[string]*wrongSchema{}, raised: map[string]int64{}, asked: map[string]*versionAsked{}}
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
	switch m := e.Mail.Payload.(type) {
	case *operationsv2.VersionQuery:
		if e.Kind != trace.MessageDelivered {
			return
		}
		want := c.right[wire.Version{Major: m.SchemaMajor, Minor: m.SchemaMinor}]
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
