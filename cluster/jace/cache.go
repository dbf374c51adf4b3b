package jace

import "slices"

// levels are the sizes of the decision caches (card 11).
var levels = [...]int{100, 1000, 10_000}

// cached is a decision for a situation.
type cached struct {
	key     string
	verdict verdict
}

// cache holds decisions in three levels: what falls out of one goes into the
// next. The newest of a level stands last.
type cache struct {
	level [len(levels)][]cached
	hits  uint64
}

// find looks a decision up and makes it the newest.
func (c *cache) find(key string) (verdict, bool) {
	for l := range c.level {
		i := slices.IndexFunc(c.level[l], func(e cached) bool { return e.key == key })
		if i < 0 {
			continue
		}
		e := c.level[l][i]
		c.level[l] = slices.Delete(c.level[l], i, i+1)
		c.put(e)
		c.hits++
		return e.verdict, true
	}
	return verdict{}, false
}

func (c *cache) put(e cached) {
	for l := range c.level {
		c.level[l] = append(c.level[l], e)
		if len(c.level[l]) <= levels[l] {
			return
		}
		e = c.level[l][0]
		c.level[l] = slices.Delete(c.level[l], 0, 1)
	}
}

// shrink gives the lower levels back.
func (c *cache) shrink() {
	for l := 1; l < len(c.level); l++ {
		c.level[l] = nil
	}
}

// bytes is about what the caches take.
func (c *cache) bytes() int {
	n := 0
	for l := range c.level {
		for _, e := range c.level[l] {
			n += 64 + len(e.key)
			for _, s := range e.verdict.strategies {
				n += 16 + len(s)
			}
		}
	}
	return n
}
