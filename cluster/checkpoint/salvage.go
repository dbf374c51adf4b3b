package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/merkle"
	"github.com/esper-sim/espersim/cluster/wal"
)

// A log that is damaged is not written to any more: it is right to refuse all
// that came after the damage, since it cannot know what is missing there. A
// checkpoint is more than a piece of a log, though. Its root vouches for every
// byte of it and for its name, so one that is whole is good wherever it stands.
// A store therefore takes what is whole out of a damaged log, and goes on in a
// new generation of it.
//
// The first generation is the directory of the store itself, the n-th after it
// the directory g<n> within. A generation is built under the name g<n>.new,
// closed and so sealed, and then renamed; the directory's entry is synced
// before anything older is removed. The highest g<n> is the store. So a crash
// at any operation leaves either the damaged generation, which is salvaged
// again, or the new one as a whole, and what is left of older ones is garbage.

// unfinished is the suffix of a generation that is being built.
const unfinished = ".new"

// generation is the n of a directory g<n>, or -1.
func generation(name string) int {
	digits, ok := strings.CutPrefix(name, "g")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || strconv.Itoa(n) != digits {
		return -1
	}
	return n
}

// directory is that of the n-th generation.
func directory(dir string, n int) string {
	if n == 0 {
		return dir
	}
	return path.Join(dir, "g"+strconv.Itoa(n))
}

// newestGeneration finds the store's present generation, and removes what is
// left of others.
func newestGeneration(fs actor.FS, dir string) (int, error) {
	names, err := fs.ReadDir(dir)
	if errors.Is(err, actor.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	newest := 0
	for _, name := range names {
		newest = max(newest, generation(name))
	}
	synced := newest == 0
	for _, name := range names {
		n := generation(strings.TrimSuffix(name, unfinished))
		_, segment := wal.ParseSegmentName(name)
		leftover := n > 0 && name != "g"+strconv.Itoa(newest) || segment && newest > 0
		if leftover && !synced {
			// A process that died after the rename left a name in the cache
			// only: were the power to fail now, the removal could be there and
			// the name not.
			if err := fs.SyncDir(dir); err != nil {
				return 0, fmt.Errorf("checkpoint: %w", err)
			}
			synced = true
		}
		switch {
		case !leftover:
			continue
		case n > 0:
			err = removeAll(fs, path.Join(dir, name))
		default:
			err = fs.Remove(path.Join(dir, name))
		}
		if err != nil && !errors.Is(err, actor.ErrNotExist) {
			return 0, fmt.Errorf("checkpoint: removing what is left of an older generation: %w", err)
		}
	}
	return newest, nil
}

// removeAll removes a directory of files.
func removeAll(fs actor.FS, dir string) error {
	names, err := fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := fs.Remove(path.Join(dir, name)); err != nil && !errors.Is(err, actor.ErrNotExist) {
			return err
		}
	}
	return fs.Remove(dir)
}

// salvage makes a new generation of what is whole in the n-th, whose log is
// damaged. Who is refused was told before the new one counts: a crash between
// the two tells it twice, the other way round it would be forgotten. With
// nothing whole in it the damage itself is the error, and all is left as it is.
func salvage(fs actor.FS, dir string, n int, o Options, damage *wal.CorruptionError) error {
	from := directory(dir, n)
	found, err := gather(fs, from)
	if err != nil {
		return err
	}
	o.Refused(Meta{Epoch: -1}, damage)
	var good []*Checkpoint
	slots := 0
	for i := len(found) - 1; i >= 0 && slots < o.Keep; i-- {
		c, m, err := found[i].whole(o.Tree)
		if err != nil {
			o.Refused(m, err)
		} else {
			good = append(good, c)
		}
		if err == nil || found[i].commit != nil {
			slots++
		}
	}
	if len(good) == 0 {
		return damage
	}
	slices.Reverse(good)
	to := directory(dir, n+1)
	s := &Store{o: o}
	if s.log, err = wal.Open(fs, to+unfinished, wal.Options{SegmentSize: o.SegmentSize, Deadline: o.Deadline, Clock: o.Clock, Probe: o.Probe}); err != nil {
		return notDamage(err)
	}
	for _, c := range good {
		context, err := c.Context.Marshal()
		if err == nil {
			err = s.write(c, &Meta{Root: c.Root}, context)
		}
		if err != nil {
			return notDamage(err)
		}
	}
	if err := s.log.Close(); err != nil {
		return notDamage(err)
	}
	if o.Probe != nil {
		o.Probe.Reached("checkpoint/salvaged")
	}
	if err := fs.Rename(to+unfinished, to); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := fs.SyncDir(dir); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// notDamage: damage to what is being built says nothing of the store. It is
// built anew at the next Open.
func notDamage(err error) error { return fmt.Errorf("checkpoint: salvage: %v", err) }

// raw is a record as it was found.
type raw struct {
	wal.Header
	payload []byte
}

// remains is what was found of one transaction.
type remains struct {
	id     wal.LSN
	begin  *raw
	data   []*raw
	commit *raw
	gap    wal.LSN // the first record missing before its end
}

// gather finds all transactions of a damaged log that were not aborted, oldest
// first. It believes a header only at the place that it names, and a payload
// only with its checksum.
func gather(fs actor.FS, dir string) ([]*remains, error) {
	names, err := fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	at := map[wal.LSN]*raw{}
	var last wal.LSN
	for _, name := range names { // sorted, as the segments' numbers are
		id, ok := wal.ParseSegmentName(name)
		if !ok {
			continue
		}
		b, err := readAll(fs, path.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %w", err)
		}
		first := true
		for off := 0; off+wal.HeaderSize <= len(b); {
			h, err := wal.DecodeHeader(b[off:])
			if err != nil || h.Segment != id || h.Offset != uint64(off) {
				off += align
				continue
			}
			if first {
				// A segment supersedes what older ones hold from its first
				// record on.
				for lsn := range at {
					if lsn >= h.LSN {
						delete(at, lsn)
					}
				}
				first = false
			}
			end := uint64(off) + wal.HeaderSize + h.Length
			if end > uint64(len(b)) || crc32.Checksum(b[off+wal.HeaderSize:end], castagnoli) != h.PayloadSum {
				off += align
				continue
			}
			at[h.LSN] = &raw{h, b[off+wal.HeaderSize : end]}
			last = max(last, h.LSN)
			off = int(h.Next())
		}
	}
	lsns := make([]wal.LSN, 0, len(at))
	for lsn := range at {
		lsns = append(lsns, lsn)
	}
	slices.Sort(lsns)
	byID := map[uint64]*remains{}
	var list []*remains
	for _, lsn := range lsns {
		r := at[lsn]
		if r.Txn == 0 {
			continue
		}
		t := byID[r.Txn]
		if t == nil {
			t = &remains{id: wal.LSN(r.Txn)}
			byID[r.Txn] = t
			list = append(list, t)
		}
		switch r.Op {
		case wal.Begin:
			t.begin = r
		case wal.Data:
			t.data = append(t.data, r)
		case wal.Commit:
			t.commit = r
		case wal.Abort:
			list = slices.DeleteFunc(list, func(u *remains) bool { return u == t })
		}
	}
	for _, t := range list {
		end := last + 1
		if t.commit != nil {
			end = t.commit.LSN
		}
		for lsn := t.id; lsn <= end && t.gap == 0; lsn++ {
			if at[lsn] == nil {
				t.gap = lsn
			}
		}
	}
	return list, nil
}

// align divides the place of every record: records are padded to whole sectors.
const align = 512

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readAll reads a file. Sectors that cannot be read are zeros.
func readAll(fs actor.FS, name string) ([]byte, error) {
	f, err := fs.Open(name, actor.ReadOnly)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	for off, step := int64(0), int64(64<<10); off < size; {
		p := b[off:min(off+step, size)]
		n, err := f.ReadAt(p, off)
		switch {
		case n == len(p):
			off += int64(n)
		case errors.Is(err, actor.ErrIO) && step > int64(fs.Sector()):
			step = int64(fs.Sector())
		case errors.Is(err, actor.ErrIO):
			off += int64(len(p))
		case errors.Is(err, io.EOF):
			return b[:off+int64(n)], nil
		case errors.Is(err, actor.ErrInterrupted), err == nil && n > 0:
			off += int64(n)
		default:
			return nil, err
		}
	}
	return b, nil
}

// whole makes a checkpoint of what was found, if all of it was.
func (t *remains) whole(tree Tree) (*Checkpoint, Meta, error) {
	m := Meta{Epoch: -1}
	s := &Store{o: Options{Tree: tree}}
	c := &Checkpoint{}
	refuse := func(why string, err error) (*Checkpoint, Meta, error) {
		return nil, m, &RefusedError{m.ID, why, err}
	}
	if t.begin != nil {
		if err := s.hdr.ParseCanonical(bytes.Clone(t.begin.payload)); err != nil {
			return refuse("its header cannot be decoded", err)
		}
		m.ID, m.Epoch, m.Generation, m.first = s.hdr.CheckpointId, s.hdr.Epoch, s.hdr.Generation, t.id
		c.ID, c.Epoch, c.Generation = m.ID, m.Epoch, m.Generation
		ctx, err := merkle.ParseContext(s.hdr.Context)
		if err != nil {
			return refuse("its context cannot be decoded", err)
		}
		c.Context = ctx
	}
	if t.commit != nil {
		m.Root, m.last = bytes.Clone(t.commit.payload), t.commit.LSN
	}
	if t.gap != 0 {
		return refuse(fmt.Sprintf("the record with LSN %d is damaged", t.gap), nil)
	}
	for _, r := range t.data {
		if err := c.add(s, r.payload); err != nil {
			return refuse("a part cannot be decoded", err)
		}
	}
	if err := tree.Verify(m.Root, c.Parts, s.context(c)); err != nil {
		return refuse("its bytes do not have its root", err)
	}
	c.Root = m.Root
	return c, m, nil
}
