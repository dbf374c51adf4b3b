package crash

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/checkpoint"
	"github.com/esper-sim/espersim/cluster/merkle"
	"github.com/esper-sim/espersim/sim/disk"
)

// keep is how many checkpoints the store keeps: few, so that a save evicts.
const keep = 2

func checkpointWorkload() *Workload {
	return &Workload{
		Name: "checkpoint", Summary: "the checkpoint store: save, load, and the eviction of old ones, in segments of 4 KiB",
		Most: 3, New: func() Subject { return &storeSubject{} },
		Operations: []string{"save", "save-wide", "load", "reopen"},
		Starts: []Start{
			{Name: "new", Summary: "an empty disk"},
			{"used", "a store with as many checkpoints as it keeps", func(d *disk.Disk, s Subject) (*disk.Disk, Subject, error) {
				m := s.(*storeSubject)
				fs := disk.NewFS(d, nil)
				err := m.Open(fs)
				for range keep {
					err = errors.Join(err, m.save(1))
				}
				return d, m, err
			}},
		},
	}
}

// storeSubject is the store and its model: the checkpoints by number.
type storeSubject struct {
	store *checkpoint.Store
	saved []saved // oldest first; those before the last keep ones are evicted
	open  saved   // of a save under way; number 0: none
	count int
}

// saved is a checkpoint as the model knows it: all else follows from these.
type saved struct {
	number, parts int
}

// made is the checkpoint of a number.
func (s saved) made() *checkpoint.Checkpoint {
	c := &checkpoint.Checkpoint{ID: fmt.Sprint("c", s.number), Epoch: int64(s.number), Generation: 1,
		Context: merkle.Context{{Name: "run", Value: merkle.Text("r")}}}
	for i := range s.parts {
		c.Parts = append(c.Parts, checkpoint.Part{Name: fmt.Sprint("part", i), Epoch: int64(s.number), Data: bytes.Repeat([]byte{byte(s.number), byte(i)}, 8)})
	}
	return c
}

func (s *storeSubject) Clone() Subject {
	c := *s
	c.store, c.saved = nil, slices.Clone(s.saved)
	return &c
}

func (s *storeSubject) Promise() uint64 {
	h := hash(uint64(s.open.number), uint64(s.open.parts), uint64(s.count))
	for _, c := range s.saved {
		h = hash(h, uint64(c.number), uint64(c.parts))
	}
	return h
}

func (s *storeSubject) save(parts int) error {
	s.count++
	s.open = saved{s.count, parts}
	if _, err := s.store.Save(s.open.made()); err != nil {
		return err
	}
	s.saved, s.open = append(s.saved, s.open), saved{}
	return s.listed()
}

// Do implements Subject.
func (s *storeSubject) Do(op int, fs actor.FS) (bool, error) {
	switch op {
	case 0:
		return true, s.save(1)
	case 1:
		return true, s.save(3)
	case 2:
		return len(s.saved) > 0, s.listed()
	}
	return true, s.Open(fs)
}

// Continue implements Subject.
func (s *storeSubject) Continue(actor.FS) error { return s.save(1) }

// Open implements Subject.
func (s *storeSubject) Open(fs actor.FS) error {
	store, err := checkpoint.Open(fs, "checkpoints", checkpoint.Options{Keep: keep, SegmentSize: walSegment})
	if err != nil {
		return violated("T1", "nothing was damaged, and the store does not open: %v", err)
	}
	s.store = store
	if m, ok := store.Newest(); ok && s.open.number > 0 && m.ID == s.open.made().ID {
		s.saved = append(s.saved, s.open) // it became whole before the crash
	}
	s.open = saved{}
	return s.listed()
}

// listed holds the store to the model: the newest checkpoints are there, each
// whole and with its root, and nothing else is.
func (s *storeSubject) listed() error {
	want := s.saved[max(len(s.saved)-keep, 0):]
	list := slices.Clone(s.store.List())
	ids := func() (ids []string) {
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		return ids
	}
	if len(list) != len(want) {
		return violated("T1", "checkpoints %v are kept; saved were %v, and %d are kept", ids(), want, keep)
	}
	for i, w := range want {
		c := w.made()
		if list[i].ID != c.ID {
			return violated("T1", "checkpoints %v are kept; saved were %v", ids(), want)
		}
		root, err := checkpoint.Hardened{}.Root(c.Parts, fullContext(c))
		if err != nil {
			return err
		}
		if !bytes.Equal(root, list[i].Root) {
			return violated("W5", "checkpoint %s has the root %x; its content has %x", c.ID, list[i].Root, root)
		}
		got, err := s.store.Load(c.ID)
		if err != nil {
			return violated("W5", "checkpoint %s was saved and is not accepted: %v", c.ID, err)
		}
		if !slices.EqualFunc(got.Parts, c.Parts, func(a, b checkpoint.Part) bool {
			return a.Name == b.Name && a.Epoch == b.Epoch && bytes.Equal(a.Data, b.Data)
		}) {
			return violated("W5", "checkpoint %s is accepted with other bytes than were saved", c.ID)
		}
	}
	return nil
}

// fullContext is what the hardened root covers beside the parts, as the store's
// documentation says: the context, and which checkpoint it is.
func fullContext(c *checkpoint.Checkpoint) merkle.Context {
	ctx := append(slices.Clone(c.Context),
		merkle.Entry{Name: "checkpoint/id", Value: merkle.Text(c.ID)},
		merkle.Entry{Name: "checkpoint/epoch", Value: merkle.Int(c.Epoch)},
		merkle.Entry{Name: "checkpoint/generation", Value: merkle.Int(int64(c.Generation))})
	for _, p := range c.Parts {
		ctx = append(ctx, merkle.Entry{Name: "checkpoint/epoch of " + p.Name, Value: merkle.Int(p.Epoch)})
	}
	return ctx
}
