package checkers

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// checkpoints judges T1, T2, W5 and W6 of the training run's checkpoints: by
// the parts as they crossed the links when they were taken and when they were
// handed back, against what the store says.
type checkpoints struct {
	p     Params
	taken map[string]map[string]part // checkpoint id to subsystem to the part it gave
	saved []saved                    // newest last
	roots map[string]string          // root to what was under it
	kept  map[string]bool            // saved and not evicted in the store's present life
	life  uint32
}

type part struct {
	epoch int64
	gen   uint32
	sum   [32]byte
	seq   uint64
}

type saved struct {
	id    string
	epoch int64
	gen   uint32
	root  []byte
	parts map[string]part
	seq   uint64
}

// keptSaved is how many checkpoints the checker remembers the parts of: those
// that may still be loaded, and some.
const keptSaved = 64

func newCheckpoints(p Params) Checker {
	if p.Retained == 0 {
		p.Retained = 5
	}
	return &checkpoints{p: p, taken: map[string]map[string]part{}, roots: map[string]string{}, kept: map[string]bool{}}
}

func (*checkpoints) Invariants() []string { return []string{"T1", "T2", "W5", "W6"} }

func (c *checkpoints) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *trainingv2.StatePart:
			c.take(e, m)
		case *trainingv2.BoundaryReply:
			if m.Part != nil {
				c.take(e, m.Part)
			}
		case *trainingv2.RestorePart:
			c.handedBack(e, m, j)
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.CheckpointFact); ok {
			c.fact(e, f, j)
		}
	}
}

func (c *checkpoints) take(e *Event, m *trainingv2.StatePart) {
	parts := c.taken[m.CheckpointId]
	if parts == nil {
		if len(c.taken) > keptSaved {
			clear(c.taken)
		}
		parts = map[string]part{}
		c.taken[m.CheckpointId] = parts
	}
	parts[m.Subsystem] = part{m.Epoch, m.Generation, sha256.Sum256(m.Data), e.Seq}
}

func (c *checkpoints) fact(e *Event, f *evidencev2.CheckpointFact, j *Judge) {
	switch f.Action {
	case evidencev2.CheckpointAction_CHECKPOINT_SAVED:
		s := saved{f.CheckpointId, f.Epoch, f.Generation, slices.Clone(f.Root), map[string]part{}, e.Seq}
		for _, p := range f.Parts {
			var sum [32]byte
			copy(sum[:], p.Sha256)
			s.parts[p.Name] = part{epoch: p.Epoch, sum: sum}
			if p.Epoch != f.Epoch {
				j.Violate("T2", e.Node, fmt.Sprintf("checkpoint %s of epoch %d holds the part %s of epoch %d", f.CheckpointId, f.Epoch, p.Name, p.Epoch))
				continue
			}
			// What the subsystem itself sent, not what the store says it got.
			if got, ok := c.taken[f.CheckpointId][p.Name]; ok {
				switch {
				case got.sum != sum:
					j.Violate("T2", e.Node, fmt.Sprintf("checkpoint %s holds a part %s with other bytes than it sent", f.CheckpointId, p.Name), got.seq)
				case got.epoch != f.Epoch:
					j.Violate("T2", e.Node, fmt.Sprintf("checkpoint %s of epoch %d holds the state of %s in epoch %d", f.CheckpointId, f.Epoch, p.Name, got.epoch), got.seq)
				default:
					j.Judged("T2")
				}
			}
		}
		for _, want := range []string{"host", "kasmina", "tamiyo"} {
			if _, ok := s.parts[want]; !ok {
				j.Violate("T2", e.Node, fmt.Sprintf("checkpoint %s has no part %s", f.CheckpointId, want))
			}
		}
		c.root(e, f, j)
		c.saved = append(c.saved, s)
		if len(c.saved) > keptSaved {
			c.saved = append(c.saved[:0], c.saved[len(c.saved)-keptSaved:]...)
		}
		c.count(e, f, j)
	case evidencev2.CheckpointAction_CHECKPOINT_EVICTED:
		if n := len(c.saved); n > 0 && c.saved[n-1].id == f.CheckpointId {
			j.Violate("T1", e.Node, fmt.Sprintf("the newest checkpoint %s is evicted", f.CheckpointId), c.saved[n-1].seq)
			return
		}
		c.count(e, f, j)
	case evidencev2.CheckpointAction_CHECKPOINT_LOADED:
		s := c.find(f.CheckpointId)
		if s == nil {
			// Its saving was cut off before it could be declared.
			n := saved{f.CheckpointId, f.Epoch, f.Generation, slices.Clone(f.Root), map[string]part{}, e.Seq}
			for _, p := range f.Parts {
				n.parts[p.Name] = part{epoch: p.Epoch}
				if len(p.Sha256) == sha256.Size {
					n.parts[p.Name] = part{epoch: p.Epoch, sum: [32]byte(p.Sha256)}
				}
			}
			c.saved = append(c.saved, n)
			return
		}
		if !bytes.Equal(s.root, f.Root) {
			j.Violate("W5", e.Node, fmt.Sprintf("checkpoint %s is accepted with the root %x; it was saved with %x", f.CheckpointId, f.Root, s.root), s.seq)
			return
		}
		j.Judged("W5")
	case evidencev2.CheckpointAction_CHECKPOINT_REFUSED:
		j.Judged("W5")
	}
}

func (c *checkpoints) find(id string) *saved {
	for i := len(c.saved) - 1; i >= 0; i-- {
		if c.saved[i].id == id {
			return &c.saved[i]
		}
	}
	return nil
}

// count judges how many checkpoints are kept: by what the store says, and by
// what it saved and evicted. A crash may fall between an eviction and the word
// of it, so each life of the store is counted alone.
func (c *checkpoints) count(e *Event, f *evidencev2.CheckpointFact, j *Judge) {
	if e.Incarnation != c.life {
		c.life = e.Incarnation
		clear(c.kept)
	}
	if f.Action == evidencev2.CheckpointAction_CHECKPOINT_SAVED {
		c.kept[f.CheckpointId] = true
	} else {
		delete(c.kept, f.CheckpointId)
	}
	if len(c.kept) > c.p.Retained+1 { // one is evicted after the next is safe
		j.Violate("T1", e.Node, fmt.Sprintf("%d checkpoints were saved and not evicted; it says it keeps %d", len(c.kept), f.Retained))
		return
	}
	if f.Retained < 1 || int(f.Retained) > c.p.Retained {
		j.Violate("T1", e.Node, fmt.Sprintf("%d good checkpoints are kept; want 1 to %d", f.Retained, c.p.Retained))
		return
	}
	j.Judged("T1")
}

// root notes what is under a root: two different contents under one root are
// what W6 forbids.
func (c *checkpoints) root(e *Event, f *evidencev2.CheckpointFact, j *Judge) {
	what := ""
	for _, p := range f.Parts {
		what += fmt.Sprintf("%d %s %x ", len(p.Name), p.Name, p.Sha256)
	}
	if len(c.roots) > keptSaved {
		clear(c.roots)
	}
	if before, ok := c.roots[string(f.Root)]; ok && before != what {
		j.Violate("W6", e.Node, fmt.Sprintf("the root %x stands for two different checkpoints", f.Root))
		return
	}
	c.roots[string(f.Root)] = what
	j.Judged("W6")
}

// handedBack judges a part by its bytes when it is given back for a restore.
func (c *checkpoints) handedBack(e *Event, m *trainingv2.RestorePart, j *Judge) {
	s := c.find(m.Part.GetCheckpointId())
	if s == nil {
		j.Violate("W5", e.Node, fmt.Sprintf("it hands back a part of the checkpoint %q, which was neither saved nor loaded", m.Part.GetCheckpointId()))
		return
	}
	want, ok := s.parts[m.Part.Subsystem]
	if !ok || m.Part.Subsystem != e.Peer {
		j.Violate("W5", e.Node, fmt.Sprintf("of checkpoint %s it hands the part %q to %s", s.id, m.Part.Subsystem, e.Peer), s.seq)
		return
	}
	if sum := sha256.Sum256(m.Part.Data); sum != want.sum {
		j.Violate("W5", e.Node, fmt.Sprintf("checkpoint %s hands back a part %s with other bytes than were saved", s.id, m.Part.Subsystem), s.seq)
		return
	}
	j.Judged("W5")
}

func (*checkpoints) Finish(*Judge) {}
