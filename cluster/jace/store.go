package jace

import (
	"errors"

	"github.com/esper-sim/espersim/cluster/actor"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// fileName is the matrix's.
const fileName = "matrix"

// load reads the matrix. A file that is not there, or whose content is none, is
// written from the definition; until that has worked there is no matrix.
func (j *jace) load() {
	j.matrix = nil
	fs := j.env.FS.Within(j.o.Timeout)
	if m, err := read(fs); err == nil {
		j.matrix = m
		return
	} else if !errors.Is(err, actor.ErrNotExist) && !errors.Is(err, errDamaged) {
		return // the disk does not answer
	} else if errors.Is(err, errDamaged) {
		j.env.Probe.Reached("jace/matrix-damaged")
	}
	m := standard()
	if write(fs, &m) == nil {
		j.matrix = &m
	}
}

var errDamaged = errors.New("it is no matrix")

func read(fs actor.FS) (*matrix, error) {
	f, err := fs.Open(fileName, actor.ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > 4096 {
		return nil, errDamaged
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, err
	}
	p := new(statev2.CompatibilityMatrix)
	if p.ParseCanonical(b) != nil {
		return nil, errDamaged
	}
	m, ok := matrixFrom(p)
	if !ok {
		return nil, errDamaged
	}
	return &m, nil
}

// write makes the whole file durable before it gets its name.
func write(fs actor.FS, m *matrix) error {
	const draft = fileName + ".new"
	f, err := fs.Open(draft, actor.Create)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = actor.WriteFull(f, m.proto().AppendCanonical(nil), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = fs.Rename(draft, fileName)
	}
	if err == nil {
		err = fs.SyncDir(".")
	}
	return err
}
