// Package pressure is the back-pressure of the bus: how full it is for a
// publisher, from 0 to 100, as the bus tells it with every answer.
//
// It travels in the reason of a PublishAck, which says "pressure=64" where there
// is any. A publisher that can wait does: see package outbox.
package pressure

import (
	"strconv"
	"strings"
)

// Level is how full the bus is, in percent of the pressure that there can be.
type Level int

// Full is the highest level.
const Full Level = 100

// curve are the points of the level over the use, both in percent (card 09):
// nothing up to half, and straight between them.
var curve = [...]struct{ use, level int }{{50, 0}, {75, 50}, {90, 80}, {100, 100}}

// Of is the level where so many entries of at most limit wait.
func Of(used, limit int) Level {
	if limit <= 0 || used*100 <= curve[0].use*limit {
		return 0
	}
	for i := 1; i < len(curve); i++ {
		a, b := curve[i-1], curve[i]
		if used*100 <= b.use*limit {
			return Level(a.level + (b.level-a.level)*(used*100-a.use*limit)/((b.use-a.use)*limit))
		}
	}
	return Full
}

const key = "pressure="

// String is the level as it stands in an answer; nothing for no pressure.
func (l Level) String() string {
	if l <= 0 {
		return ""
	}
	return key + strconv.Itoa(int(min(l, Full)))
}

// In is the level that the reason of an answer names; 0 if it names none.
func In(reason string) Level {
	i := strings.LastIndex(reason, key)
	if i < 0 {
		return 0
	}
	n, err := strconv.Atoi(reason[i+len(key):])
	if err != nil || n < 0 {
		return 0
	}
	return min(Level(n), Full)
}
