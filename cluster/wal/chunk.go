package wal

import "iter"

// Chunks splits p into pieces of at most size bytes, the last one shorter,
// each with its index. Empty data is one empty piece, so that it leaves a
// record. Append the pieces within one transaction: then all of them are
// there after a crash, or none. size is clamped to 1..MaxPayload.
func Chunks(p []byte, size int) iter.Seq2[int, []byte] {
	size = min(max(size, 1), MaxPayload)
	return func(yield func(int, []byte) bool) {
		for i := 0; ; i++ {
			n := min(size, len(p))
			if !yield(i, p[:n:n]) {
				return
			}
			if p = p[n:]; len(p) == 0 {
				return
			}
		}
	}
}
