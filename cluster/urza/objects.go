package urza

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"

	"github.com/esper-sim/espersim/cluster/actor"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// objects is the object store: files named by their digests, in folders named
// by the digests' first byte.
type objects struct {
	fs  actor.FS
	dir string
}

// damaged is the error for bytes that do not have their digest.
type damaged struct{ name, why string }

func (e *damaged) Error() string { return fmt.Sprintf("object %.16s is damaged: %s", e.name, e.why) }

func (o objects) folder(name string) string { return path.Join(o.dir, name[:2]) }
func (o objects) path(name string) string   { return path.Join(o.folder(name), name) }

// digest is the name of an object.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// put makes an object durable under its digest. One that is there is left
// alone, if its bytes are good; else it is written anew: the same name means
// the same bytes, so that overwrites nothing.
func (o objects) put(b []byte) (string, error) {
	name := digest(b)
	if have, err := o.get(name, len(b)); err == nil && len(have) == len(b) {
		// It may be of a life that died before it was durable.
		return name, o.sync(name)
	} else if bad := (*damaged)(nil); !errors.As(err, &bad) {
		return "", err
	}
	for _, dir := range []string{o.dir, o.folder(name)} {
		if err := o.fs.Mkdir(dir); err != nil {
			return "", err
		}
	}
	if err := o.syncNames(name); err != nil {
		return "", err
	}
	temp := o.path(name) + ".new"
	if err := o.write(temp, b); err != nil {
		return "", errors.Join(err, o.discard(temp))
	}
	if err := o.fs.Rename(temp, o.path(name)); err != nil {
		return "", err
	}
	return name, o.fs.SyncDir(o.folder(name))
}

func (o objects) write(name string, b []byte) error {
	f, err := o.fs.Open(name, actor.Create)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = actor.WriteFull(f, b, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// discard removes what could not be written, as far as the disk allows.
func (o objects) discard(name string) error {
	if err := o.fs.Remove(name); err != nil && !errors.Is(err, actor.ErrNotExist) {
		return err
	}
	return nil
}

// sync makes an object durable that is there.
func (o objects) sync(name string) error {
	f, err := o.fs.Open(o.path(name), 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := o.fs.SyncDir(o.folder(name)); err != nil {
		return err
	}
	return o.syncNames(name)
}

// syncNames makes the folder of an object durable: its name, and that of the
// folder of all. That one is in the same folder as the database, whose journal
// made it durable in passing as long as SQLite opened it anew for each commit;
// when it did no longer, a crash right after the first store lost every object.
func (o objects) syncNames(name string) error {
	if err := o.fs.SyncDir(path.Dir(o.folder(name))); err != nil {
		return err
	}
	return o.fs.SyncDir(path.Dir(o.dir))
}

// get reads an object and checks its digest; size is how long it must be. One that
// is not there is damaged: whoever asks for it knows it from the metadata, and it
// will not come back.
func (o objects) get(name string, size int) ([]byte, error) {
	f, err := o.fs.Open(o.path(name), actor.ReadOnly)
	if errors.Is(err, actor.ErrNotExist) {
		return nil, &damaged{name, "it is gone"}
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n := 0
	for n < size && err == nil {
		var k int
		if k, err = f.ReadAt(b[n:], int64(n)); errors.Is(err, actor.ErrInterrupted) {
			err = nil
		}
		n += k
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if n < size {
		return nil, &damaged{name, fmt.Sprintf("it has %d bytes of %d", n, size)}
	}
	if digest(b) != name {
		return nil, &damaged{name, "its SHA-256 differs"}
	}
	return b, nil
}
