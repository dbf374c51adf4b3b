// Package checkpoint keeps the last good checkpoints of a training run: each
// is one transaction of a write-ahead log, with a Merkle root over its parts
// and its execution context.
//
// What it promises (rows T1 and W5 of the invariants): a checkpoint whose Save
// returned is there after every crash, fully or, if the crash came before the
// return, fully or not at all; the newest good one is never evicted; none is
// accepted whose bytes do not have the root that it was saved with; and rot in
// one costs no more than that one, if the owner wants to go on (salvage.go).
package checkpoint

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/merkle"
	"github.com/esper-sim/espersim/cluster/wal"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// Keep is how many checkpoints are kept unless the options say otherwise (HLD
// section 8.2).
const Keep = 5

// Kinds of the store's records in the log.
const (
	kindCheckpoint = 1
	kindPart       = 2
)

// maxPart is how many bytes of a part go into one record unless the options say
// otherwise; larger parts are split.
const maxPart = 32 << 20

// Part is what one subsystem contributes.
type Part struct {
	Name  string
	Epoch int64
	Data  []byte
}

// Checkpoint is a whole checkpoint. Names of parts are unique.
type Checkpoint struct {
	ID         string
	Epoch      int64
	Generation uint32
	Parts      []Part
	Context    merkle.Context
	Root       []byte // set by Save and Load
}

// Part finds a part by name; nil if there is none.
func (c *Checkpoint) Part(name string) []byte {
	for _, p := range c.Parts {
		if p.Name == name {
			return p.Data
		}
	}
	return nil
}

// Meta is what the store knows of a checkpoint without reading it.
type Meta struct {
	ID         string
	Epoch      int64
	Generation uint32
	Root       []byte
	first      wal.LSN // its BEGIN
	last       wal.LSN // its COMMIT
}

// RefusedError says why a checkpoint is not accepted.
type RefusedError struct {
	ID  string
	Why string
	Err error
}

// Error implements error.
func (e *RefusedError) Error() string {
	s := fmt.Sprintf("checkpoint %s is refused: %s", e.ID, e.Why)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *RefusedError) Unwrap() error { return e.Err }

// ErrUnknown is asking for a checkpoint that is not in the store.
var ErrUnknown = errors.New("checkpoint: unknown id")

// Tree makes and verifies roots. Hardened is the one to use.
type Tree interface {
	Root(parts []Part, context merkle.Context) ([]byte, error)
	Verify(root []byte, parts []Part, context merkle.Context) error
}

// Hardened is package merkle's tree.
type Hardened struct{}

func components(parts []Part) []merkle.Component {
	list := make([]merkle.Component, len(parts))
	for i, p := range parts {
		list[i] = merkle.Component{Name: p.Name, Data: p.Data}
	}
	return list
}

// Root implements Tree.
func (Hardened) Root(parts []Part, context merkle.Context) ([]byte, error) {
	root, err := merkle.Root(components(parts), context)
	return root[:], err
}

// Verify implements Tree: it recomputes the root from the bytes.
func (Hardened) Verify(root []byte, parts []Part, context merkle.Context) error {
	got, err := merkle.Root(components(parts), context)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(got[:], root) != 1 {
		return merkle.ErrMismatch
	}
	return nil
}

// Options of a store. The zero value is usable.
type Options struct {
	Keep        int   // good checkpoints that are kept; 0: Keep
	Record      int   // most bytes of a part in one record; 0: 32 MiB
	SegmentSize int64 // of the log, bytes; 0: wal.DefaultSegmentSize
	Deadline    time.Duration
	Tree        Tree // nil: Hardened
	Clock       actor.Clock
	// Facts makes who is told what happens to the log in a directory: every
	// generation of a store is a log of its own.
	Facts func(dir string) func(wal.Event)
	Probe actor.Probe
	// Refused, if set, lets a damaged store go on with the checkpoints that
	// are whole. It is told of the damage, with no id, and of each checkpoint
	// that is lost by it, newest first.
	Refused func(Meta, error)
}

// Store is an open store. It is used by one actor.
type Store struct {
	o    Options
	log  *wal.Log
	good []Meta // oldest first
	hdr  statev2.CheckpointHeader
	part trainingv2.StatePart
	buf  []byte
}

// Open recovers the store in dir. Damage to the log is a *wal.CorruptionError,
// unless Options.Refused says to go on with what is whole and something is.
func Open(fs actor.FS, dir string, o Options) (*Store, error) {
	if o.Keep <= 0 {
		o.Keep = Keep
	}
	if o.Record <= 0 {
		o.Record = maxPart
	}
	if o.Tree == nil {
		o.Tree = Hardened{}
	}
	limited := fs
	if o.Deadline > 0 {
		limited = fs.Within(o.Deadline)
	}
	n, err := newestGeneration(limited, dir)
	if err != nil {
		return nil, err
	}
	s, err := open(fs, directory(dir, n), o)
	var damage *wal.CorruptionError
	if o.Refused == nil || !errors.As(err, &damage) {
		return s, err
	}
	if err := salvage(limited, dir, n, o, damage); err != nil {
		return nil, err
	}
	if n, err = newestGeneration(limited, dir); err != nil {
		return nil, err
	}
	return open(fs, directory(dir, n), o)
}

// open recovers one generation.
func open(fs actor.FS, dir string, o Options) (*Store, error) {
	s := &Store{o: o}
	var facts func(wal.Event)
	if o.Facts != nil {
		facts = o.Facts(dir)
	}
	var cur *Meta
	log, err := wal.Open(fs, dir, wal.Options{
		Firm:        true,
		SegmentSize: o.SegmentSize, Deadline: o.Deadline, Clock: o.Clock, Facts: facts, Probe: o.Probe,
		Replay: func(r wal.Record) error {
			switch r.Op {
			case wal.Begin:
				if err := s.hdr.ParseCanonical(r.Payload); err != nil {
					return fmt.Errorf("checkpoint: header at LSN %d: %w", r.LSN, err)
				}
				cur = &Meta{ID: s.hdr.CheckpointId, Epoch: s.hdr.Epoch, Generation: s.hdr.Generation, first: r.LSN}
			case wal.Commit:
				if cur != nil {
					cur.Root, cur.last = slices.Clone(r.Payload), r.LSN
					s.remember(*cur)
					cur = nil
				}
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	s.log = log
	return s, nil
}

// remember notes a good checkpoint, and returns those that it displaces. One
// with an id that is there already takes its place.
func (s *Store) remember(m Meta) (evicted []Meta) {
	s.good = slices.DeleteFunc(s.good, func(g Meta) bool { return g.ID == m.ID })
	s.good = append(s.good, m)
	if n := len(s.good) - s.o.Keep; n > 0 {
		evicted = slices.Clone(s.good[:n])
		s.good = slices.Clone(s.good[n:])
	}
	return evicted
}

// Save makes c durable and fills its Root. It returns the checkpoints that
// were evicted. An error means that c may or may not be there after the next
// Open; the store must then be opened anew unless the error is
// actor.ErrNoSpace, after which it goes on as if Save had not been called.
func (s *Store) Save(c *Checkpoint) (evicted []Meta, err error) {
	if c.ID == "" {
		return nil, errors.New("checkpoint: no id")
	}
	root, err := s.Root(c)
	if err != nil {
		return nil, err
	}
	context, err := c.Context.Marshal()
	if err != nil {
		return nil, err
	}
	m := Meta{ID: c.ID, Epoch: c.Epoch, Generation: c.Generation, Root: root}
	if err := s.write(c, &m, context); err != nil {
		if errors.Is(err, actor.ErrNoSpace) && s.log.InTxn() {
			if aerr := s.log.Abort(); aerr != nil {
				// Not ErrNoSpace: with a transaction open nothing goes on, and who
				// saved the next one would be refused by a disk that has space again.
				return nil, fmt.Errorf("checkpoint: %w: %v, and then %v", wal.ErrTxnOpen, err, aerr)
			}
		}
		return nil, err
	}
	c.Root = root
	evicted = s.remember(m)
	if len(evicted) > 0 {
		// Failing to remove what is old loses nothing: the next one tries again.
		if err := s.log.TruncateBefore(s.good[0].first); err != nil && s.o.Probe != nil {
			s.o.Probe.Reached("checkpoint-truncate-failed")
		}
	}
	return evicted, nil
}

// Root is the root that Save stores a checkpoint under. It covers more than the
// parts and the context that the checkpoint brings.
func (s *Store) Root(c *Checkpoint) ([]byte, error) { return s.o.Tree.Root(c.Parts, s.context(c)) }

func (s *Store) write(c *Checkpoint, m *Meta, context []byte) (err error) {
	s.hdr.CheckpointId, s.hdr.Epoch, s.hdr.Generation, s.hdr.Context = c.ID, c.Epoch, c.Generation, context
	s.buf = s.hdr.AppendCanonical(s.buf[:0])
	if m.first, err = s.log.Begin(kindCheckpoint, c.Epoch, s.buf); err != nil {
		return err
	}
	for _, p := range c.Parts {
		data := p.Data
		for first := true; first || len(data) > 0; first = false {
			n := min(len(data), s.o.Record)
			sum := sha256.Sum256(data[:n])
			s.part.CheckpointId, s.part.Subsystem = c.ID, p.Name
			s.part.Epoch, s.part.Generation = p.Epoch, c.Generation
			s.part.Data, s.part.Sha256 = data[:n], sum[:]
			s.buf = s.part.AppendCanonical(s.buf[:0])
			if _, err := s.log.Data(kindPart, s.buf); err != nil {
				return err
			}
			data = data[n:]
		}
	}
	s.part.Data = nil
	m.last, err = s.log.Commit(m.Root)
	return err
}

// context is what the root covers beside the parts: the owner's context and,
// with the hardened tree, which checkpoint this is. Without it the parts of one
// epoch could be passed off as another's.
func (s *Store) context(c *Checkpoint) merkle.Context {
	if _, hardened := s.o.Tree.(Hardened); !hardened {
		return c.Context
	}
	ctx := append(slices.Clone(c.Context),
		merkle.Entry{Name: "checkpoint/id", Value: merkle.Text(c.ID)},
		merkle.Entry{Name: "checkpoint/epoch", Value: merkle.Int(c.Epoch)},
		merkle.Entry{Name: "checkpoint/generation", Value: merkle.Int(int64(c.Generation))})
	for _, p := range c.Parts {
		ctx = append(ctx, merkle.Entry{Name: "checkpoint/epoch of " + p.Name, Value: merkle.Int(p.Epoch)})
	}
	return ctx
}

// List is the good checkpoints, oldest first.
func (s *Store) List() []Meta { return s.good }

// Newest is the newest good checkpoint.
func (s *Store) Newest() (Meta, bool) {
	if len(s.good) == 0 {
		return Meta{}, false
	}
	return s.good[len(s.good)-1], true
}

// Load reads a checkpoint back and accepts it only if the root recomputed from
// its bytes and context is the one it was saved with. Otherwise the error is a
// *RefusedError, and the checkpoint is no longer listed: the next older one is
// the newest good one then.
func (s *Store) Load(id string) (*Checkpoint, error) {
	i := slices.IndexFunc(s.good, func(m Meta) bool { return m.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("%w %q", ErrUnknown, id)
	}
	m := s.good[i]
	c, err := s.read(m)
	if err == nil {
		if verr := s.o.Tree.Verify(m.Root, c.Parts, s.context(c)); verr != nil {
			err = &RefusedError{id, "its bytes do not have its root", verr}
		}
	}
	if err != nil {
		s.good = slices.Delete(s.good, i, i+1)
		return nil, err
	}
	c.Root = slices.Clone(m.Root)
	return c, nil
}

func (s *Store) read(m Meta) (*Checkpoint, error) {
	c := &Checkpoint{ID: m.ID, Epoch: m.Epoch, Generation: m.Generation}
	refuse := func(why string, err error) error { return &RefusedError{m.ID, why, err} }
	seen := false
	err := s.log.Read(m.first, m.last, func(r wal.Record) error {
		switch r.Op {
		case wal.Begin:
			if err := s.hdr.ParseCanonical(r.Payload); err != nil {
				return refuse("its header cannot be decoded", err)
			}
			if s.hdr.CheckpointId != m.ID || s.hdr.Epoch != m.Epoch || s.hdr.Generation != m.Generation {
				return refuse("its header is another one's", nil)
			}
			ctx, err := merkle.ParseContext(s.hdr.Context)
			if err != nil {
				return refuse("its context cannot be decoded", err)
			}
			c.Context = ctx
		case wal.Data:
			if err := c.add(s, r.Payload); err != nil {
				return refuse("a part cannot be decoded", err)
			}
		case wal.Commit:
			seen = true
		}
		return nil
	})
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, err
	case err != nil:
		return nil, refuse("it cannot be read", err)
	case !seen:
		return nil, refuse("its COMMIT is missing", nil)
	}
	return c, nil
}

// add adds what a record holds of a part.
func (c *Checkpoint) add(s *Store, payload []byte) error {
	if err := s.part.ParseCanonical(payload); err != nil {
		return err
	}
	if n := len(c.Parts); n > 0 && c.Parts[n-1].Name == s.part.Subsystem {
		c.Parts[n-1].Data = append(c.Parts[n-1].Data, s.part.Data...)
	} else {
		c.Parts = append(c.Parts, Part{s.part.Subsystem, s.part.Epoch, slices.Clone(s.part.Data)})
	}
	return nil
}

// Names lists the parts of a checkpoint, for messages.
func (c *Checkpoint) Names() string {
	var names []string
	for _, p := range c.Parts {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// Close closes the log.
func (s *Store) Close() error { return s.log.Close() }
