package checkers

import "strconv"

// tally counts by the ids of invariants: a capital letter and a number below
// 32. Several of them are counted at each event, which is too often for a map.
type tally [26 * 32]uint64

func (t *tally) add(id string) {
	n := 0
	for i := 1; i < len(id); i++ {
		n = 10*n + int(id[i]-'0')
	}
	t[32*int(id[0]-'A')+n]++
}

// all is the counts that are not zero.
func (t *tally) all() map[string]uint64 {
	m := map[string]uint64{}
	for i, n := range t {
		if n > 0 {
			m[string(rune('A'+i/32))+strconv.Itoa(i%32)] = n
		}
	}
	return m
}
