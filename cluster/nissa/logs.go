package nissa

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// The limits of the logs (card 10).
const (
	logRetention = 7 * 24 * time.Hour
	mostLogs     = 100_000
	mostLogBytes = 64 << 10 // of one answer; the newest are given
)

// logSeries is the name by which a query asks for the logs, alone or with the
// name of a source, such as "logs/tolaria".
const logSeries = "logs"

// logLine is one event that a subsystem told of.
type logLine struct {
	at     int64 // ms
	id     string
	source string
	level  telemetryv2.Level
	text   string
}

// logs keeps the events that subsystems tell of, by their own times, for seven
// days. Like metrics they are a function of the set of events on the bus.
type logs struct {
	lines  []logLine // by time, then id
	newest int64     // ms
}

// add enters an event.
func (l *logs) add(n logLine) {
	l.newest = max(l.newest, n.at)
	i, _ := slices.BinarySearchFunc(l.lines, n, func(a, b logLine) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) })
	l.lines = slices.Insert(l.lines, i, n)
	oldest := l.newest - logRetention.Milliseconds()
	drop := 0
	for drop < len(l.lines) && (l.lines[drop].at <= oldest || len(l.lines)-drop > mostLogs) {
		drop++
	}
	l.lines = l.lines[drop:]
}

// text lists the lines of a source, or of all, from a time up to another, as far
// as they fit into an answer.
func (l *logs) text(source string, from, to int64) string {
	size, first := 0, len(l.lines)
	var out []string
	for first > 0 {
		first--
		n := &l.lines[first]
		if n.at < from {
			break
		}
		if n.at > to || source != "" && n.source != source {
			continue
		}
		line := fmt.Sprintf("%s %s %s %s\n", time.UnixMilli(n.at).UTC().Format("2006-01-02T15:04:05.000Z"), n.level, n.source, n.text)
		if size += len(line); size > mostLogBytes {
			break
		}
		out = append(out, line)
	}
	slices.Reverse(out)
	return strings.Join(out, "")
}
