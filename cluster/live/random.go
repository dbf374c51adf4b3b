package live

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// processID tells the events of two lives of the process apart.
var processID = func() (id [6]byte) {
	_, _ = rand.Read(id[:]) // it does not fail (crypto/rand)
	return id
}()

// secret keys the randomness of this process: asked by identity, like the
// simulator's, but not the same in another process.
var secret = func() (s [16]byte) {
	_, _ = rand.Read(s[:]) // it does not fail (crypto/rand)
	return s
}()

func (liveRandom) For(purpose string, a, b uint64) uint64 {
	h := sha256.New()
	h.Write(secret[:])
	h.Write([]byte(purpose))
	var w [16]byte
	binary.LittleEndian.PutUint64(w[:], a)
	binary.LittleEndian.PutUint64(w[8:], b)
	h.Write(w[:])
	return binary.LittleEndian.Uint64(h.Sum(nil))
}
