package sqlite

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3"

	"github.com/esper-sim/espersim/cluster/actor"
)

// entropy guards the one moment in which SQLite asks its operating system for
// randomness: each instance does so once, and draws from its own generator from
// then on. Runs on other processors go through the same process-wide variable.
var entropy sync.Mutex

// serial numbers the registered file systems of this process. It is in no file.
var serial atomic.Uint64

// keyed reads from an actor's randomness.
type keyed struct {
	random actor.Keyed
	life   uint64
	next   uint64
}

// Read implements io.Reader.
func (k *keyed) Read(p []byte) (int, error) {
	for i := 0; i < len(p); i += 8 {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], k.random.For("sqlite", k.life, k.next))
		k.next++
		copy(p[i:], b[:])
	}
	return len(p), nil
}

// seeded opens an instance whose generator was seeded from the actor's
// randomness. Its main database is in memory, so that no operation of the actor's
// file system, which suspends the actor, falls between the two: other actors
// wait for the lock.
func seeded(random actor.Keyed, life uint64) (*sqlite3.Conn, error) {
	entropy.Lock()
	defer entropy.Unlock()
	var before io.Reader
	before, rand.Reader = rand.Reader, &keyed{random: random, life: life}
	defer func() { rand.Reader = before }()
	c, err := sqlite3.Open(":memory:")
	if err != nil {
		return nil, err
	}
	return c, c.Exec("SELECT randomblob(8)")
}
