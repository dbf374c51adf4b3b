package trainer

import "math/bits"

// keyed is a hash of a seed and two words, in the style of wyhash: parameters
// and sample orders are asked for by identity, never drawn from a stream.
func keyed(seed, a, b uint64) uint64 {
	h := mum(seed^0xa0761d6478bd642f, a^0xe7037ed1a0b428db)
	return mum(h^0x8ebc6af09c88c6e3, b^0x589965cc75374cc3)
}

func mum(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}

// uniform is a value in [-1, 1).
func uniform(h uint64) float32 {
	return float32(float32(int32(h>>40))*(1.0/(1<<23))) - 1
}

// hashString folds a string into a word.
func hashString(s string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := 0; i < len(s); i++ {
		h = mum(h^uint64(s[i]), 0x9e3779b97f4a7c15)
	}
	return h
}

// Order is the order in which an epoch sees n samples: a permutation keyed by
// seed, epoch and rollback generation, so that an epoch that is trained again
// after a rollback sees another order, and a replay the same one.
func Order(into []int32, seed uint64, epoch int64, generation uint32, n int) []int32 {
	into = into[:0]
	for i := range n {
		into = append(into, int32(i))
	}
	for i := n - 1; i > 0; i-- {
		h := keyed(seed, uint64(epoch)<<32|uint64(generation), uint64(i))
		j, _ := bits.Mul64(h, uint64(i+1))
		into[i], into[j] = into[j], into[i]
	}
	return into
}
