package ledger

import (
	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal/hld"
)

// written is a store over the HLD's WALWriter as it is written. The HLD has no
// reader; the one of package hld trusts what stands in the headers.
type written struct {
	w  *hld.Writer
	fs actor.FS
}

const writtenName = "wal.log"

func openWritten(env actor.Env, note func([]byte) error) (store, error) {
	s := &written{fs: env.FS}
	if _, _, err := s.read(0, 1<<30, func(_ int64, p []byte) {
		_ = note(p) // what the writer left behind need not be an entry
	}); err != nil {
		return nil, err
	}
	s.w = hld.NewWriter(env.FS, writtenName, env.Clock)
	return s, s.w.OpenWAL()
}

func (s *written) append(p []byte) (int64, error) { return 0, s.w.WriteEntry("ENTRY", p) }

// sync has nothing to do: the writer syncs each entry.
func (s *written) sync() error { return nil }

func (s *written) read(from int64, limit int, fn func(int64, []byte)) (next int64, end bool, err error) {
	return hld.Read(s.fs, writtenName, from, limit, fn)
}
