// Package incident reads what was logged of failing devices: lines of the kernel's
// log in which the driver announces an Xid, and dumps of NVML's events. What happened
// once can then be made to happen again.
//
//   - [Read]: a log, in either form, or both.
//   - [Strike]: one failure of one device.
//
// A line of the kernel's log is one that has "NVRM: Xid (PCI:…): N". Its time is
// that of dmesg, in seconds since the boot, or that of syslog or of journalctl, of
// the day or ISO 8601. A line of a dump is a JSON object with xid, the device's uuid,
// pci or index, and at_ns. All other lines are somebody else's.
package incident

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// Strike is one failure of one device, as it was announced.
type Strike struct {
	Line   int
	At     time.Duration // since the first
	Host   string        // that the log names; empty: it names none
	Device string        // its place on the bus, identity or number
	Xid    int
	Class  gpu.Class // 0: in no row of the table of classes
}

// An Error says what is wrong with a log, and where.
type Error struct {
	Line        int
	Wrong, Want string
}

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("line %d: %s", e.Line, e.Wrong)
	if e.Want != "" {
		s += "; want " + e.Want
	}
	return s
}

// longestLine is more than a kernel writes.
const longestLine = 64 << 10

var (
	announced = regexp.MustCompile(`NVRM: Xid \(([^)]*)\): *([0-9]+)`)
	place     = regexp.MustCompile(`^(?:PCI:)?([0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?)$`)
	boot      = regexp.MustCompile(`^(?:<[0-9]+>)?\[ *([0-9]+)\.([0-9]{1,9})\]`)
	day       = regexp.MustCompile(`^([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}:[0-9]{2}:[0-9]{2}) +([^ ]+) `)
	iso       = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?) +([^ ]+) `)
)

// reader knows the times of what it has read.
type reader struct {
	first, last time.Duration
	any         bool
	clock       string // what the times are of
	list        []Strike
}

// Read returns the failures in the order of the log. A log without one, or whose
// times are of several clocks or go back by more than a second, is an *Error.
func Read(r io.Reader) ([]Strike, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), longestLine)
	var x reader
	n := 0
	for s.Scan() {
		n++
		line := strings.TrimRight(s.Text(), "\r")
		var err error
		switch {
		case strings.Contains(line, "NVRM: Xid"):
			err = x.kernel(n, line)
		case strings.HasPrefix(strings.TrimSpace(line), "{"):
			err = x.event(n, line)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := s.Err(); err != nil {
		return nil, &Error{n + 1, err.Error(), fmt.Sprintf("lines of at most %d bytes", longestLine)}
	}
	if len(x.list) == 0 {
		return nil, &Error{max(n, 1), "no Xid to the end of the log", "lines such as [ 12.5] NVRM: Xid (PCI:0000:3b:00): 79, or objects such as {\"at_ns\":12500000000,\"index\":0,\"xid\":79}"}
	}
	return x.list, nil
}

// add enters a failure at a time of some clock.
func (x *reader) add(n int, clock string, at time.Duration, s Strike) error {
	if !x.any {
		x.any, x.clock, x.first, x.last = true, clock, at, at
	}
	if clock != x.clock {
		return &Error{n, "a time " + clock + ", and those before are " + x.clock, "one log at a time"}
	}
	if at < x.last-time.Second {
		return &Error{n, fmt.Sprintf("a time %v before that of the line before", x.last-at), "a log in the order of time"}
	}
	x.last = max(x.last, at)
	s.Line, s.At = n, max(at-x.first, 0)
	s.Class, _ = gpu.OfXid(s.Xid)
	x.list = append(x.list, s)
	return nil
}

func (x *reader) kernel(n int, line string) error {
	m := announced.FindStringSubmatch(line)
	if m == nil {
		return &Error{n, "an Xid without a place or a number", "NVRM: Xid (PCI:0000:3b:00): 79"}
	}
	p := place.FindStringSubmatch(m[1])
	if p == nil {
		return &Error{n, fmt.Sprintf("the place %q", m[1]), "one such as PCI:0000:3b:00"}
	}
	xid, err := strconv.Atoi(m[2])
	if err != nil || xid < 1 || xid > 999 {
		return &Error{n, "the Xid " + m[2], "1 to 999"}
	}
	s := Strike{Device: strings.ToLower(p[1]), Xid: xid}
	switch {
	case boot.MatchString(line):
		b := boot.FindStringSubmatch(line)
		sec, err := strconv.ParseInt(b[1], 10, 32)
		if err != nil {
			return &Error{n, "the time " + b[1] + " s since the boot", "fewer than 2^31 s"}
		}
		nano, _ := strconv.ParseInt((b[2] + "000000000")[:9], 10, 64)
		return x.add(n, "since the boot", time.Duration(sec)*time.Second+time.Duration(nano), s)
	case day.MatchString(line):
		d := day.FindStringSubmatch(line)
		// The year is not in it; a leap year has every day.
		at, err := time.Parse("2006 Jan 2 15:04:05", "2000 "+d[1]+" "+d[2]+" "+d[3])
		if err != nil {
			return &Error{n, "the time " + d[1] + " " + d[2] + " " + d[3], "one such as Nov 24 03:12:55"}
		}
		s.Host = d[4]
		return x.add(n, "of the day", time.Duration(at.Unix()-946684800)*time.Second, s)
	case iso.MatchString(line):
		d := iso.FindStringSubmatch(line)
		at, err := parseISO(d[1])
		if err != nil {
			return &Error{n, "the time " + d[1], "one such as 2025-11-24T03:12:55Z"}
		}
		s.Host = d[2]
		return x.add(n, "by the calendar", at.Sub(time.Unix(946684800, 0)), s)
	}
	return &Error{n, "an Xid without a time", "[ 12.5] at the beginning, as dmesg has it, or Nov 24 03:12:55 HOST, or 2025-11-24T03:12:55Z HOST"}
}

func parseISO(s string) (time.Time, error) {
	s = strings.Replace(strings.Replace(s, " ", "T", 1), ",", ".", 1)
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			if t.Year() < 2000 || t.Year() > 2200 {
				return t, fmt.Errorf("the year %d", t.Year())
			}
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("no time")
}

// dumped is an event of NVML.
type dumped struct {
	At    *int64 `json:"at_ns"`
	Host  string `json:"host"`
	UUID  string `json:"uuid"`
	PCI   string `json:"pci"`
	Index *int   `json:"index"`
	Xid   *int   `json:"xid"`
}

func (x *reader) event(n int, line string) error {
	var d dumped
	if err := json.Unmarshal([]byte(line), &d); err != nil {
		return &Error{n, "an object that does not read: " + err.Error(), "{\"at_ns\":12500000000,\"index\":0,\"xid\":79}"}
	}
	switch {
	case d.Xid == nil || *d.Xid == 0:
		return nil // another kind of event
	case *d.Xid < 1 || *d.Xid > 999:
		return &Error{n, fmt.Sprintf("the Xid %d", *d.Xid), "1 to 999"}
	case d.At == nil || *d.At < 0:
		return &Error{n, "an Xid without a time, or one before the beginning", "at_ns: nanoseconds since some moment"}
	}
	s := Strike{Host: d.Host, Xid: *d.Xid}
	switch {
	case d.UUID != "":
		s.Device = d.UUID
	case d.PCI != "":
		s.Device = strings.ToLower(d.PCI)
	case d.Index != nil:
		s.Device = fmt.Sprint(*d.Index)
	default:
		return &Error{n, "an Xid of no device", "uuid, pci or index"}
	}
	return x.add(n, "in nanoseconds", time.Duration(*d.At), s)
}
