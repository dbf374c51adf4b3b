package config

import (
	"bytes"
	"errors"
	"strconv"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/inbox"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Topic is where changes are announced.
const Topic = "operations.config"

// Timer is the name of a box's own timer.
const Timer = "config"

// every is how often a box shows Mycosynth that its owner lives, and what it has.
const every = time.Second

// Options of a box.
type Options struct {
	Segment int           // bytes a segment of its log
	Timeout time.Duration // longest that an operation on the disk may take
	// Facts is told what happens to the log, as for any log of the owner.
	Facts func(wal.Event)
}

// Box follows the configuration for one subsystem. A nil box follows none: it
// has no values, and crosses every boundary.
type Box struct {
	env       actor.Env
	job       *job.Job
	subsystem string
	o         Options
	in        *inbox.Box
	log       *wal.Log
	refused   bool
	opened    bool // once at least

	h       holding
	durable uint64 // newest revision that is held on the disk
	at      boundary
	crossed bool
	unsaid  boundary // the newest of which a message did not say what it has
	view    Entries  // in force here
	seen    uint64   // its revision
	buf     []byte
}

// New makes the box of a subsystem.
func New(env actor.Env, j *job.Job, subsystem string, o Options) *Box {
	return &Box{env: env, job: j, subsystem: subsystem, o: o, in: inbox.New(env, j.Oona, "config/"+subsystem, 16, Topic)}
}

// Start recovers what is held, and asks for what is missing.
func (b *Box) Start() {
	if b == nil {
		return
	}
	b.open()
	b.ask()
	b.tick()
}

// open opens the log. What is in memory is written anew if the disk has less: the
// log may have failed under it.
func (b *Box) open() {
	var h holding
	var seen *operationsv2.ConfigDecision
	log, err := wal.Open(b.env.FS, "config", wal.Options{
		Firm: true, SegmentSize: int64(b.o.Segment), Deadline: b.o.Timeout, Clock: b.env.Clock, Probe: b.env.Probe, Facts: b.o.Facts,
		Replay: func(r wal.Record) error {
			m := new(statev2.ConfigRecord)
			if err := m.ParseCanonical(append([]byte(nil), r.Payload...)); err != nil {
				return &wal.CorruptionError{LSN: r.LSN, Reason: "it is no record of the configuration", Err: err}
			}
			switch {
			case m.Change != nil:
				h.add(m.Change)
			case m.Snapshot != nil:
				h = holding{base: m.Snapshot.Revision, entries: m.Snapshot.Entries}
				for _, c := range m.Snapshot.Announced {
					h.add(c)
				}
			case m.Crossed != nil:
				seen = m.Crossed
			}
			return nil
		},
	})
	if err != nil {
		var damage *wal.CorruptionError
		b.refused = errors.As(err, &damage)
		return
	}
	b.log = log
	if !b.opened {
		b.opened = true
		b.h = h
		if seen != nil && h.has(seen.Revision) {
			b.at, b.crossed = boundary{seen.RollbackGeneration, seen.Epoch}, true
			b.h.advance(seen.Revision)
			b.view, b.seen = b.h.entries, b.h.base
		}
		b.durable = h.tip()
		return
	}
	b.save()
}

// save writes everything that is held, and lets go of the log before it.
func (b *Box) save() {
	s := &operationsv2.ConfigSnapshot{Revision: b.h.base, Entries: b.h.entries, Announced: b.h.changes}
	records := []*statev2.ConfigRecord{{Snapshot: s}}
	if b.crossed && b.seen == b.h.base {
		records = append(records, &statev2.ConfigRecord{Crossed: &operationsv2.ConfigDecision{Revision: b.seen, Epoch: b.at.epoch, RollbackGeneration: b.at.generation}})
	}
	first, ok := b.write(records...)
	if ok && b.log.First() < first {
		if err := b.log.TruncateBefore(first); err != nil {
			b.log = nil
		}
	}
}

// write makes records durable. false: nobody knows, and the log is opened anew at
// the next tick.
func (b *Box) write(ms ...*statev2.ConfigRecord) (wal.LSN, bool) {
	if b.log == nil {
		return 0, false
	}
	var first wal.LSN
	for _, m := range ms {
		b.buf = m.AppendCanonical(b.buf[:0])
		lsn, err := b.log.Append(1, 0, b.buf)
		if err != nil {
			b.fail()
			return 0, false
		}
		if first == 0 {
			first = lsn
		}
	}
	if err := b.log.Sync(); err != nil {
		b.fail()
		return 0, false
	}
	b.durable = b.h.tip()
	return first, true
}

func (b *Box) fail() {
	b.env.Probe.Reached("config/reopen")
	b.log = nil
}

// Receive takes a message if it is the box's, and says whether it is.
func (b *Box) Receive(m canon.Message) bool {
	if b == nil {
		return false
	}
	switch m := m.(type) {
	case *localv2.TimerFired:
		if m.Name != Timer {
			return false
		}
		b.tick()
	case *busv2.Delivery:
		if m.Group != "config/"+b.subsystem {
			return false
		}
		b.deliver(m)
	case *operationsv2.ConfigSnapshot:
		if e, _ := b.env.Net.Incoming(); e == nil || wire.Verify(e, b.job.Key[:]) != nil {
			return true
		}
		c := new(operationsv2.ConfigSnapshot)
		if err := c.ParseCanonical(bytes.Clone(m.AppendCanonical(nil))); err == nil && b.h.replace(c) {
			b.save()
			b.acknowledge()
		}
	case *operationsv2.ConfigDecision:
		e, _ := b.env.Net.Incoming()
		if e == nil || wire.Verify(e, b.job.Key[:]) != nil {
			return true
		}
		b.said(e.CorrelationId, boundary{m.RollbackGeneration, m.Epoch}, m.Revision)
	default:
		return false
	}
	return true
}

func (b *Box) tick() {
	if b.log == nil && !b.refused {
		b.open()
	}
	b.in.Subscribe()
	b.acknowledge()
	b.env.Clock.SetTimer(Timer, 0, every)
}

// deliver takes an announcement.
func (b *Box) deliver(d *busv2.Delivery) {
	e, m, ok := b.in.Open(d)
	if !ok {
		return
	}
	c, ok := m.(*operationsv2.ConfigChange)
	if !ok || wire.Verify(e, b.job.Key[:]) != nil {
		b.in.Ack(d, e) // nobody's word
		return
	}
	if c.Revision > b.h.tip()+1 {
		b.ask() // what is between them is not there any more
		b.in.Ack(d, e)
		return
	}
	if c.Revision == b.h.tip()+1 {
		own := new(operationsv2.ConfigChange)
		if err := own.ParseCanonical(bytes.Clone(m.AppendCanonical(nil))); err != nil {
			return
		}
		b.h.add(own)
		b.write(&statev2.ConfigRecord{Change: own})
	}
	b.in.Ack(d, e) // if it is not durable, that is told by the revision that is
	b.acknowledge()
}

// acknowledge tells Mycosynth which revision is durable here.
func (b *Box) acknowledge() {
	b.env.Net.Send(b.job.Mycosynth, &operationsv2.ConfigAck{Revision: b.durable, Subsystem: b.subsystem}, actor.SendOptions{Key: "config-ack/" + b.subsystem})
}

// ask asks for everything.
func (b *Box) ask() {
	b.env.Net.Send(b.job.Mycosynth, &operationsv2.ConfigSnapshotRequest{RequestId: "snapshot/" + b.subsystem, Subsystem: b.subsystem},
		actor.SendOptions{Key: "config-snapshot/" + b.subsystem})
}

// Durable says whether a revision is on the disk.
func (b *Box) Durable(revision uint64) bool {
	return b != nil && b.log != nil && revision <= b.durable && b.h.has(revision)
}

// Hear is Cross for who is told of a boundary by others. A message that names no
// revision does not say what the boundary has: nothing is in force yet, or it came
// by a process or past a reader of an older version of the contracts, where the
// revision is left out. Mycosynth is asked, and what it answers is crossed later;
// the owner goes on with the values that it sees.
func (b *Box) Hear(generation uint32, epoch int64, revision uint64) bool {
	if b == nil || revision > 0 {
		return b.Cross(generation, epoch, revision)
	}
	to := boundary{generation, epoch}
	switch {
	case b.crossed && to.compare(b.at) < 0:
		return false
	case b.crossed && to == b.at:
	case generation == 0: // it does not even say which boundary it is
	default:
		b.unsaid = to
		b.env.Net.Send(b.job.Mycosynth, &operationsv2.ConfigSnapshotRequest{RequestId: to.question(), Subsystem: b.subsystem},
			actor.SendOptions{Key: "config-question/" + b.subsystem + "/" + to.question()})
	}
	return true
}

// said takes Mycosynth's answer about the boundary that nobody said anything of.
// It is given only while no decision can be on its way, after the boundary was
// told of: what was decided last before it is what it has.
func (b *Box) said(question string, from boundary, revision uint64) {
	if question != b.unsaid.question() || b.unsaid.compare(from) < 0 || b.crossed && b.unsaid.compare(b.at) <= 0 {
		return
	}
	b.Cross(b.unsaid.generation, b.unsaid.epoch, revision)
}

// Ready says whether a boundary with a revision can be crossed. Where the revision
// is missing it is asked for.
func (b *Box) Ready(revision uint64) bool {
	if b == nil || revision == 0 || b.h.has(revision) {
		return true
	}
	if revision > b.h.tip() {
		b.env.Probe.Reached("config/lacks")
		b.ask()
	}
	return false
}

// Cross takes the revision in force that a boundary carries, and says whether the
// owner may go on. It may not where the revision is missing, nor at a boundary
// before one that it has crossed.
func (b *Box) Cross(generation uint32, epoch int64, revision uint64) bool {
	if b == nil {
		return true
	}
	to := boundary{generation, epoch}
	switch {
	case b.crossed && to.compare(b.at) < 0:
		return false
	case b.crossed && to == b.at:
		return true
	case !b.Ready(revision) || !b.h.has(revision):
		return false
	}
	changed := revision != b.seen || !b.crossed
	b.h.advance(revision)
	b.at, b.crossed, b.view, b.seen = to, true, b.h.entries, revision
	if changed {
		b.save() // if it fails, a restart sees the older one until it crosses again
	}
	sum := b.view.Digest()
	b.env.Facts.Record(&evidencev2.ConfigFact{Subsystem: b.subsystem, Revision: revision, Epoch: epoch, Generation: generation, EntriesSha256: sum[:]})
	return true
}

// Int is a value in force, or another one where there is none.
func (b *Box) Int(key string, otherwise int) int {
	if b == nil {
		return otherwise
	}
	if e := b.view.Get(key); e != nil && Check(key, e.Value) == nil {
		if n, err := strconv.Atoi(e.Value); err == nil {
			return n
		}
	}
	return otherwise
}
