package command

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// However the clock jumps and however long it is ago, no nonce works twice.
func TestNoNonceTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var n nonces
		used := map[[16]byte]bool{}
		now := int64(1e18)
		for range 80 {
			now += int64(rapid.Int64Range(-400, 400).Draw(t, "jump")) * int64(time.Second)
			var v [16]byte
			v[0] = byte(rapid.IntRange(0, 20).Draw(t, "nonce"))
			signed := int64(1e18) + int64(v[0])*int64(40*time.Second)
			if n.check(v[:], signed, now) != "" {
				continue
			}
			if used[v] {
				t.Fatalf("nonce %d is taken a second time", v[0])
			}
			used[v] = true
			n.add(v[:], signed, now)
		}
	})
}
