package tolaria

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/checkpoint"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/merkle"
	"github.com/esper-sim/espersim/cluster/wal"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
)

// toolchain is the version that enters the execution context.
const toolchain = "espersim/1"

// snapshot is a checkpoint whose parts are being gathered.
type snapshot struct {
	id      string
	epoch   int64
	gen     uint32
	host    []byte
	kasmina []byte
	tamiyo  []byte
}

// newSnapshot takes Tolaria's own part, before the next epoch.
func (t *tolaria) newSnapshot() *snapshot {
	var m statev2.HostState
	t.host.Save(&m, t.next)
	t.rates.Save(&m)
	m.BestValidationLoss, m.ValidationLoss = t.best, t.val
	m.CheckpointEvery = int32(t.every)
	s := &snapshot{id: fmt.Sprintf("ckpt-%d-%d", t.next, t.gen), epoch: t.next, gen: t.gen, host: m.AppendCanonical(nil)}
	t.env.Clock.Work(gpu.Snapshot, (len(s.host)+4095)/4096)
	return s
}

// take takes a part that belongs to it: of its epoch and generation, whole.
func (s *snapshot) take(m *trainingv2.StatePart, subsystem string) {
	if m == nil || m.CheckpointId != s.id || m.Epoch != s.epoch || m.Generation != s.gen || m.Subsystem != subsystem {
		return
	}
	if sum := sha256.Sum256(m.Data); !bytes.Equal(sum[:], m.Sha256) {
		return
	}
	data := append(make([]byte, 0, len(m.Data)), m.Data...)
	if subsystem == "kasmina" {
		s.kasmina = data
	} else {
		s.tamiyo = data
	}
}

// kept is how many checkpoints memory holds for the fast tier (01.2).
const kept = 5

// store is the checkpoints on the disk, and the newest of them in memory.
type store struct {
	t      *tolaria
	disk   *checkpoint.Store
	memory []*checkpoint.Checkpoint // oldest first
	lost   error                    // why the disk's are not to be had
	hung   error                    // why the latest load could not read one that may be whole
	fact   evidencev2.CheckpointFact
}

func openStore(t *tolaria) (*store, error) {
	s := &store{t: t}
	return s, s.open()
}

func (s *store) open() error {
	t := s.t
	o := checkpoint.Options{Keep: t.o.Retain, SegmentSize: int64(t.o.Segment), Deadline: t.o.Timeout, Clock: t.env.Clock,
		Facts: func(dir string) func(wal.Event) { return command.LogFacts(t.env.Facts, "tolaria/"+dir) }, Probe: t.env.Probe,
		Refused: func(m checkpoint.Meta, err error) {
			s.forget(m.ID)
			s.declare(evidencev2.CheckpointAction_CHECKPOINT_REFUSED, m.ID, m.Epoch, m.Generation, m.Root, nil, err.Error())
		}}
	if t.o.Merkle == "hld" {
		o.Tree = written{}
	}
	disk, err := checkpoint.Open(t.env.FS, "checkpoints", o)
	var damage *wal.CorruptionError
	if errors.As(err, &damage) {
		s.disk, s.lost = nil, err // it was declared
		return nil
	}
	s.disk, s.lost = disk, err
	return err
}

func (s *store) context() merkle.Context {
	g := sha256.Sum256([]byte(s.t.job.Graph.String()))
	return merkle.Context{
		{Name: "run_id", Value: merkle.Text(s.t.job.RunID)},
		{Name: "model_sha256", Value: merkle.Bytes(g[:])},
		{Name: "toolchain", Value: merkle.Text(toolchain)},
	}
}

// has says whether there is a checkpoint with an id; the empty id is any.
func (s *store) has(id string) bool {
	if s.disk == nil {
		return s.cached(id) != nil
	}
	for _, m := range s.disk.List() {
		if id == "" || m.ID == id {
			return true
		}
	}
	return false
}

// cached is a checkpoint from memory, the newest for the empty id, or nil.
func (s *store) cached(id string) *checkpoint.Checkpoint {
	for i := len(s.memory) - 1; i >= 0; i-- {
		if c := s.memory[i]; id == "" || c.ID == id {
			return c
		}
	}
	return nil
}

// load reads a checkpoint from the disk: the named one, or else the newest
// good one. One that is refused is declared, and the newest of the others is
// tried.
func (s *store) load(id string) *checkpoint.Checkpoint {
	s.hung = nil
	if s.disk == nil {
		return nil
	}
	list := slices.Clone(s.disk.List())
	slices.Reverse(list)
	if i := slices.IndexFunc(list, func(m checkpoint.Meta) bool { return m.ID == id }); i > 0 {
		list = append(list[i:i+1:i+1], slices.Delete(list, i, i+1)...)
	}
	for _, m := range list {
		c, err := s.disk.Load(m.ID)
		if err == nil && !s.ours(c) {
			err = errors.New("it is of another run, graph or toolchain")
		}
		if err != nil {
			action := evidencev2.CheckpointAction_CHECKPOINT_REFUSED
			if errors.Is(err, actor.ErrDeadline) {
				s.hung = err
				action = evidencev2.CheckpointAction_CHECKPOINT_UNREADABLE
			}
			s.forget(m.ID)
			s.declare(action, m.ID, m.Epoch, m.Generation, m.Root, nil, err.Error())
			continue
		}
		s.declare(evidencev2.CheckpointAction_CHECKPOINT_LOADED, c.ID, c.Epoch, c.Generation, c.Root, c.Parts, "")
		s.cache(c)
		return c
	}
	return nil
}

// ours: a root is over the context too, but a checkpoint of another graph has
// a root as good as ours.
func (s *store) ours(c *checkpoint.Checkpoint) bool {
	a, errA := s.context().Marshal()
	b, errB := c.Context.Marshal()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func (s *store) cache(c *checkpoint.Checkpoint) {
	s.forget(c.ID)
	if len(s.memory) == kept {
		s.memory = append(s.memory[:0], s.memory[1:]...)
	}
	s.memory = append(s.memory, c)
}

func (s *store) forget(id string) {
	s.memory = slices.DeleteFunc(s.memory, func(c *checkpoint.Checkpoint) bool { return c.ID == id })
}

func (s *store) retained() uint32 {
	if s.disk == nil {
		return 0
	}
	return uint32(len(s.disk.List()))
}

func (s *store) declare(a evidencev2.CheckpointAction, id string, epoch int64, gen uint32, root []byte, parts []checkpoint.Part, why string) {
	f := &s.fact
	f.Action, f.CheckpointId, f.Epoch, f.Generation, f.Root, f.Reason = a, id, epoch, gen, root, why
	f.Parts = f.Parts[:0]
	for _, p := range parts {
		sum := sha256.Sum256(p.Data)
		f.Parts = append(f.Parts, &evidencev2.PartDigest{Name: p.Name, Epoch: p.Epoch, Sha256: sum[:]})
	}
	f.Retained = s.retained()
	s.t.env.Facts.Record(f)
}

// saveShot saves the checkpoint whose parts were gathered, if they are all
// there. If not, or if the disk is full, the next boundary tries again.
func (t *tolaria) saveShot() error {
	shot := t.shot
	t.shot = nil
	if shot.kasmina == nil || shot.tamiyo == nil || t.store.disk == nil {
		t.env.Probe.Reached("tolaria/checkpoint-incomplete")
		return nil
	}
	c := &checkpoint.Checkpoint{ID: shot.id, Epoch: shot.epoch, Generation: shot.gen, Context: t.store.context(),
		Parts: []checkpoint.Part{
			{Name: "host", Epoch: shot.epoch, Data: shot.host},
			{Name: "kasmina", Epoch: shot.epoch, Data: shot.kasmina},
			{Name: "tamiyo", Epoch: shot.epoch, Data: shot.tamiyo},
		}}
	evicted, err := t.store.disk.Save(c)
	if errors.Is(err, actor.ErrNoSpace) {
		t.conservative("the disk is full: no checkpoint")
		return nil
	}
	if err != nil {
		// Whether it is there is unknown. The store says so when it is opened
		// anew; training goes on with what it has meanwhile.
		t.conservative("checkpoint: " + err.Error())
		if err := t.store.open(); err != nil {
			return err
		}
		if m, ok := t.newestOnDisk(); !ok || m != shot.id {
			return nil
		}
		if c = t.store.load(shot.id); c == nil || c.ID != shot.id {
			return nil
		}
	}
	t.store.cache(c)
	t.lastShot = shot.epoch
	t.shotNow, t.saved = false, shot.id
	t.severe = 0
	t.store.declare(evidencev2.CheckpointAction_CHECKPOINT_SAVED, c.ID, c.Epoch, c.Generation, c.Root, c.Parts, "")
	for _, m := range evicted {
		t.store.forget(m.ID)
		t.store.declare(evidencev2.CheckpointAction_CHECKPOINT_EVICTED, m.ID, m.Epoch, m.Generation, m.Root, nil, "")
	}
	return nil
}

func (t *tolaria) newestOnDisk() (string, bool) {
	if t.store.disk == nil {
		return "", false
	}
	m, ok := t.store.disk.Newest()
	return m.ID, ok
}

// info answers who asks for the newest good checkpoint.
func (t *tolaria) info(from actor.ID, m *trainingv2.CheckpointQuery) {
	out := &trainingv2.CheckpointInfo{QueryId: m.QueryId}
	if t.store.disk != nil {
		if meta, ok := t.store.disk.Newest(); ok {
			out.CheckpointId, out.Epoch, out.Generation, out.Root = meta.ID, meta.Epoch, meta.Generation, meta.Root
		}
	}
	t.env.Net.Send(from, out, actor.SendOptions{Key: "checkpoint-info/" + m.QueryId})
}
