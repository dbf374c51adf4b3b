package sim

import "math/bits"

// slotBits is how many low bits of a key's tie hold the payload's slot. The
// rest is a keyed hash, so that ties in time break by identity: with a
// sequence number instead, removing one event would swap later, unrelated
// pairs.
const (
	slotBits = 24
	slotMask = 1<<slotBits - 1
)

// key orders the queue: 16 bytes, so that four share a cache line.
type key struct {
	at  int64
	tie uint64
}

func (k key) before(o key) bool {
	return k.at < o.at || k.at == o.at && k.tie < o.tie
}

// queue is a binary heap of keys that sifts a hole instead of swapping;
// payloads stay where they are in a slab. It is a concrete type of values: no
// event is boxed, and nothing is allocated once the slab has grown.
type queue struct {
	keys []key
	slab []event
	free []uint32
}

// push adds ev at time at; tie breaks equal times.
func (q *queue) push(at int64, tie uint64, ev *event) {
	var slot uint32
	if n := len(q.free); n > 0 {
		slot = q.free[n-1]
		q.free = q.free[:n-1]
		q.slab[slot] = *ev
	} else {
		slot = uint32(len(q.slab))
		q.slab = append(q.slab, *ev)
	}
	k := key{at, tie&^slotMask | uint64(slot)}
	q.keys = append(q.keys, k)
	keys := q.keys
	i := len(keys) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !k.before(keys[parent]) {
			break
		}
		keys[i] = keys[parent]
		i = parent
	}
	keys[i] = k
}

// pop removes the earliest event into ev and returns its time. The queue must
// not be empty.
func (q *queue) pop(ev *event) int64 {
	top := q.keys[0]
	slot := uint32(top.tie & slotMask)
	*ev = q.slab[slot]
	q.slab[slot].data = nil // release the reference, keep the rest
	q.free = append(q.free, slot)

	n := len(q.keys) - 1
	k := q.keys[n]
	q.keys = q.keys[:n]
	if n > 0 {
		keys := q.keys
		i := 0
		for {
			child := 2*i + 1
			if child >= n {
				break
			}
			if r := child + 1; r < n {
				// Which child is the earlier is a coin toss that no processor
				// predicts: the borrow of a 128-bit subtraction decides it
				// without a branch. Times are never negative.
				_, b := bits.Sub64(keys[r].tie, keys[child].tie, 0)
				_, b = bits.Sub64(uint64(keys[r].at), uint64(keys[child].at), b)
				child += int(b)
			}
			if !keys[child].before(k) {
				break
			}
			keys[i] = keys[child]
			i = child
		}
		keys[i] = k
	}
	return top.at
}

func (q *queue) len() int { return len(q.keys) }

// next is the time of the earliest event.
func (q *queue) next() int64 { return q.keys[0].at }
