package karn

import (
	"slices"
	"strings"
	"time"
)

// The limits of the pattern library (card 05).
const (
	patternTTL   = 7 * 24 * time.Hour
	mostPatterns = 5_000
)

// pattern is what is known of one way of building: the rewards of the designs
// that have it.
type pattern struct {
	sum   float64
	count int
	at    time.Time // of the newest
}

// library holds patterns. A pattern is forgotten a week after the last reward
// that spoke of it, and the one that was spoken of longest ago makes room. What
// it holds is a function of the rewards in the log, in order: it needs no
// record of its own.
type library struct {
	held  map[string]pattern
	order []string // the one that was spoken of last stands last
}

func newLibrary() library { return library{held: map[string]pattern{}} }

// patternsOf are the patterns of a design's text: each of its words, and each
// two of one chain that follow one another. A design has each once.
func patternsOf(text string) []string {
	for _, c := range "()|+*" {
		text = strings.ReplaceAll(text, string(c), " "+string(c)+" ")
	}
	var list []string
	add := func(p string) {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	last := ""
	for _, w := range strings.Fields(text) {
		if w == "(" || w == ")" || w == "|" {
			last = ""
			continue
		}
		add(w)
		if last != "" {
			add(last + " " + w)
		}
		last = w
	}
	return list
}

// learn enters a reward of a design.
func (l *library) learn(text string, value float64, at time.Time) {
	for _, name := range patternsOf(text) {
		p, known := l.held[name]
		if known {
			i := slices.Index(l.order, name)
			l.order = slices.Delete(l.order, i, i+1)
		}
		if known && at.Sub(p.at) >= patternTTL {
			p = pattern{}
		}
		p.sum, p.count = p.sum+value, p.count+1
		if at.After(p.at) {
			p.at = at
		}
		l.held[name] = p
		l.order = append(l.order, name)
	}
	for len(l.order) > mostPatterns {
		delete(l.held, l.order[0])
		l.order = l.order[1:]
	}
}

// expect is the reward that is expected of a design: the mean over its patterns,
// each of which counts the prior once. Of one that has no known pattern that is
// the prior.
func (l *library) expect(text string, now time.Time) float64 {
	sum, n := 0.0, 0
	for _, name := range patternsOf(text) {
		value := prior
		if p, ok := l.held[name]; ok && now.Sub(p.at) < patternTTL {
			value = (p.sum + prior) / float64(p.count+1)
		}
		sum, n = sum+value, n+1
	}
	if n == 0 {
		return prior
	}
	return sum / float64(n)
}
