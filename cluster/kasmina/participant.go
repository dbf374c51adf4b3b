package kasmina

import (
	"bytes"

	"github.com/esper-sim/espersim/cluster/graft"
)

// standing is where a participant stands in a rollback.
type standing uint8

const (
	active   standing = iota
	prepared          // it has voted YES and does no work
	fenced            // its lease has ended and it does not know the decision
)

// offer is what a rollback would make of the participant.
type offer struct {
	id       string
	gen      uint32
	epoch    int64
	root     []byte
	bed      *graft.Bed // restored, waiting to become the bed
	culprits []graft.Ref
	tier     string
	ckpt     string
}

// done says what the participant was restored to last.
type done struct {
	id        string
	gen       uint32
	epoch     int64
	root      []byte
	confirmed bool
}

// participant is Kasmina's side of the rollback protocol, without messages:
//
//	active → prepared → active   by COMMIT (restored) or ABORT
//	prepared → fenced            when the lease ends
//	fenced → active              by the decision only
type participant struct {
	standing standing
	offer    offer
	last     done
	gen      uint32 // 0: without memory of the run
}

// answer is what a transition asks its owner to do.
type answer uint8

const (
	nothing     answer = iota
	voteYes            // newly prepared: the lease begins
	voteAgain          // it was prepared already
	voteNo             // of an older generation
	ackRestored        // restored before: say so again
	restore            // take the offer
	ackAborted
	askAgain // it knows nothing of what was decided
)

// prepare is offered a state to restore.
func (p *participant) prepare(o offer) answer {
	switch {
	case o.id == p.last.id && o.id != "":
		return ackRestored
	case o.gen <= p.gen:
		return voteNo
	case p.standing != active && o.id == p.offer.id:
		return voteAgain
	}
	// Another rollback than the one that it is prepared for: there is one at a
	// time, so that one was aborted, or will be overtaken by this one.
	p.standing, p.offer = prepared, o
	return voteYes
}

// expire ends the lease.
func (p *participant) expire(id string) bool {
	if p.standing != prepared || p.offer.id != id {
		return false
	}
	p.standing = fenced
	return true
}

// commit is told that a rollback was decided.
func (p *participant) commit(id string) answer {
	switch {
	case id == p.last.id && id != "":
		return ackRestored
	case p.standing != active && p.offer.id == id:
		return restore
	}
	return askAgain
}

// restored takes the offer.
func (p *participant) restored() {
	p.last = done{id: p.offer.id, gen: p.offer.gen, epoch: p.offer.epoch, root: bytes.Clone(p.offer.root)}
	p.gen = p.offer.gen
	p.standing, p.offer = active, offer{}
}

// abort is told that a rollback was not decided.
func (p *participant) abort(id string) answer {
	if id == p.last.id && id != "" {
		return ackRestored
	}
	if p.standing != active && p.offer.id == id {
		p.standing, p.offer = active, offer{}
	}
	return ackAborted
}
