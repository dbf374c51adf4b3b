package command

import (
	"time"

	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/wire"
)

// nonces remembers which nonces were used. Old ones are forgotten, and with
// them every time of signing up to theirs is refused for good: a clock that
// jumps back would otherwise open the window again for a message whose nonce
// is forgotten.
type nonces struct {
	seen  map[[wire.NonceSize]byte]struct{}
	order []nonce // as they came
	floor int64   // times of signing up to here are refused
}

type nonce struct {
	value  [wire.NonceSize]byte
	signed int64 // unix nanoseconds
}

// check says why a nonce and its time of signing are refused; "" if not.
func (n *nonces) check(value []byte, signed, now int64) string {
	var v [wire.NonceSize]byte
	copy(v[:], value)
	_, used := n.seen[v]
	switch {
	case len(value) != wire.NonceSize:
		return "the nonce has another size"
	case used:
		return "the nonce was used before"
	case signed <= n.floor && n.floor != 0:
		return "it was signed before nonces that are forgotten by now"
	case now-signed > int64(job.MaxClockSkew), signed-now > int64(job.MaxClockSkew):
		return "it was signed " + time.Duration(now-signed).String() + " ago; the limit is " + job.MaxClockSkew.String()
	}
	return ""
}

// add remembers a nonce, and forgets those that are older than the memory.
func (n *nonces) add(value []byte, signed, now int64) {
	if n.seen == nil {
		n.seen = make(map[[wire.NonceSize]byte]struct{})
	}
	var v [wire.NonceSize]byte
	copy(v[:], value)
	if _, ok := n.seen[v]; !ok {
		n.seen[v] = struct{}{}
		n.order = append(n.order, nonce{v, signed})
	}
	k := 0
	for k < len(n.order) && now-n.order[k].signed > int64(job.NonceMemory) {
		n.floor = max(n.floor, n.order[k].signed)
		delete(n.seen, n.order[k].value)
		k++
	}
	n.order = n.order[:copy(n.order, n.order[k:])]
}
