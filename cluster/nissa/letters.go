package nissa

import (
	"bytes"
	"time"
)

// Limits of dead letters (card 10).
const (
	letterLimit    = 100_000
	letterAttempts = 5
	letterPause    = time.Minute
	letterLife     = 24 * time.Hour
)

// letter is an entry that some group could not end.
type letter struct {
	offset   int64
	came     time.Duration
	attempts int
	read     bool
	body     []byte // while it was not read
}

// letters are the dead letters of the last day.
type letters struct {
	list    []*letter // by arrival
	known   map[int64]bool
	dropped uint64
}

func newLetters() *letters { return &letters{known: map[int64]bool{}} }

// add takes a dead letter; read says whether Nissa could read it.
func (l *letters) add(offset int64, now time.Duration, body []byte, read bool) bool {
	if l.known[offset] {
		return false
	}
	x := &letter{offset: offset, came: now, attempts: 1, read: read}
	if !read {
		x.body = bytes.Clone(body)
	}
	if len(l.list) >= letterLimit {
		delete(l.known, l.list[0].offset)
		l.list = l.list[1:]
		l.dropped++
	}
	l.known[offset] = true
	l.list = append(l.list, x)
	return true
}

// tick forgets those whose day is over, and tries again to read what could not
// be read.
func (l *letters) tick(now time.Duration, read func(body []byte) bool) {
	k := 0
	for k < len(l.list) && now-l.list[k].came >= letterLife {
		delete(l.known, l.list[k].offset)
		k++
	}
	l.list = l.list[k:]
	for _, x := range l.list {
		if !x.read && x.attempts < letterAttempts && now-x.came >= time.Duration(x.attempts)*letterPause {
			x.attempts++
			if x.read = read(x.body); x.read || x.attempts == letterAttempts {
				x.body = nil
			}
		}
	}
}
