package checkers

import (
	"fmt"
	"maps"
	"slices"
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
	wrong  map[string]*wrongSchema // by subsystem
	raised map[string]int64        // by subsystem: the newest FIRING
}

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
	return &mismatch{settle: p.Settled, right: right, wrong: map[string]*wrongSchema{}, raised: map[string]int64{}}
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
