// Package faults names what can go wrong: every fault is a value that prints
// and parses back, says what it touches, and can be injected into a world for
// a while.
//
//   - [Fault], [Parse]: the value and its one-line text form.
//   - [Catalogue], [Lookup]: every kind, what it takes, and what a correct
//     system does about it.
//   - [Step], [Random], [Expand]: when faults happen.
//   - [World]: what a fault may do. A simulation provides it; so could a test
//     bench of real machines.
//
// The semantics of the disk faults are those of package sim/disk.
package faults

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A Fault is one thing that goes wrong. Which fields mean something depends on
// the kind; the catalogue says which.
type Fault struct {
	Kind   string
	On     []string // nodes or hosts, as the kind says; for link faults the one side
	Peers  []string // the other side of a link fault
	OneWay bool     // a link fault from On to Peers only

	Restart time.Duration // a crashed process starts again after it; negative: never
	Delay   time.Duration // the most that a message or operation is delayed
	By      time.Duration // how far a clock is moved
	Period  time.Duration // of a flapping link or a crash loop
	Factor  float64       // how many times slower
	Rate    float64       // probability for each candidate; 0 counts as 1
	PPM     int64         // drift
	Op      int           // which I/O operation or message, counted from now
	Count   int           // at most so many times; 0: no limit
	Skip    int           // let so many candidates pass first
	Type    string        // payload type of messages
	Path    string        // glob of files, below the node's directory
	Offset  int64         // byte of the file
	Size    int64         // bytes
	Schema  string        // version of the contracts, such as 2.0
	Device  int           // of the host's accelerators, from 1; 0: each
	Xid     int           // that an accelerator reports; 0: its class's first

	hold time.Duration // of the step that it is injected for
}

// A FormatError says what is wrong with a fault's text.
type FormatError struct {
	Text   string
	Column int // from 1
	Wrong  string
	Want   string
}

// Error implements error.
func (e *FormatError) Error() string {
	s := fmt.Sprintf("fault %q, column %d: %s", e.Text, e.Column, e.Wrong)
	if e.Want != "" {
		s += "; want " + e.Want
	}
	return s
}

// String is the fault's text form, which Parse reads back.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.Kind)
	if len(f.On) > 0 {
		b.WriteByte(' ')
		b.WriteString(strings.Join(f.On, ","))
	}
	if k := Lookup(f.Kind); k != nil && k.Shape == OnLinks {
		if f.OneWay {
			b.WriteString(" -> ")
		} else {
			b.WriteString(" | ")
		}
		if len(f.Peers) == 0 {
			b.WriteByte('*')
		} else {
			b.WriteString(strings.Join(f.Peers, ","))
		}
	}
	for _, p := range params {
		if s := p.print(&f); s != "" {
			b.WriteString(" " + p.name + "=" + s)
		}
	}
	return b.String()
}

// param is one key=value of the text form.
type param struct {
	name  string
	help  string
	print func(*Fault) string // "" where the field is zero
	parse func(*Fault, string) error
}

func duration(name, help string, at func(*Fault) *time.Duration, signed bool) param {
	return param{name, help,
		func(f *Fault) string {
			if d := *at(f); d == Never && name == "restart" {
				return "never"
			} else if d != 0 {
				return d.String()
			}
			return ""
		},
		func(f *Fault, s string) error {
			if s == "never" && name == "restart" {
				*at(f) = Never
				return nil
			}
			d, err := time.ParseDuration(s)
			if err != nil || d < 0 && !signed {
				return fmt.Errorf("a duration such as 250ms")
			}
			*at(f) = d
			return nil
		}}
}

func number(name, help string, at func(*Fault) *float64, least, most float64) param {
	return param{name, help,
		func(f *Fault) string {
			if *at(f) == 0 {
				return ""
			}
			return strconv.FormatFloat(*at(f), 'g', -1, 64)
		},
		func(f *Fault, s string) error {
			// 0 stands for "left out": a fault that never happens is none.
			v, err := strconv.ParseFloat(s, 64)
			if err != nil || !(v > 0 && v >= least && v <= most) {
				return errors.New(bounds(least, most))
			}
			*at(f) = v
			return nil
		}}
}

func bounds(least, most float64) string {
	if least == 0 {
		return fmt.Sprintf("a number above 0 and at most %g", most)
	}
	return fmt.Sprintf("a number from %g to %g", least, most)
}

func integer(name, help string, get func(*Fault) int64, set func(*Fault, int64), least, most int64) param {
	return param{name, help,
		func(f *Fault) string {
			if get(f) == 0 {
				return ""
			}
			return strconv.FormatInt(get(f), 10)
		},
		func(f *Fault, s string) error {
			v, err := strconv.ParseInt(s, 10, 64)
			if err != nil || v < least || v > most {
				return fmt.Errorf("a whole number from %d to %d", least, most)
			}
			set(f, v)
			return nil
		}}
}

func word(name, help string, at func(*Fault) *string) param {
	return param{name, help,
		func(f *Fault) string { return *at(f) },
		func(f *Fault, s string) error { *at(f) = s; return nil }}
}

// Never is the Restart of a process that stays down.
const Never = time.Duration(-1)

// params in the order in which they are printed.
var params = []param{
	duration("restart", "a crashed process starts again after it; never: it stays down", func(f *Fault) *time.Duration { return &f.Restart }, false),
	duration("delay", "the most that a message or an operation is delayed", func(f *Fault) *time.Duration { return &f.Delay }, false),
	duration("by", "how far the clock is moved; negative: back", func(f *Fault) *time.Duration { return &f.By }, true),
	duration("period", "of a flapping link or a crash loop", func(f *Fault) *time.Duration { return &f.Period }, false),
	number("factor", "how many times slower", func(f *Fault) *float64 { return &f.Factor }, 1e-3, 1e6),
	number("rate", "probability for each candidate, 1 if left out", func(f *Fault) *float64 { return &f.Rate }, 0, 1),
	integer("ppm", "parts per million that a clock is too fast", func(f *Fault) int64 { return f.PPM }, func(f *Fault, v int64) { f.PPM = v }, -999_999, 1_000_000),
	integer("op", "which I/O operation or message, counted from now", func(f *Fault) int64 { return int64(f.Op) }, func(f *Fault, v int64) { f.Op = int(v) }, 1, math.MaxInt32),
	integer("count", "at most so many times", func(f *Fault) int64 { return int64(f.Count) }, func(f *Fault, v int64) { f.Count = int(v) }, 1, math.MaxInt32),
	integer("skip", "let so many candidates pass first", func(f *Fault) int64 { return int64(f.Skip) }, func(f *Fault, v int64) { f.Skip = int(v) }, 0, math.MaxInt32),
	word("type", "payload type of the messages", func(f *Fault) *string { return &f.Type }),
	word("path", "glob of the files, such as wal/*", func(f *Fault) *string { return &f.Path }),
	integer("offset", "byte of the file", func(f *Fault) int64 { return f.Offset }, func(f *Fault, v int64) { f.Offset = v }, 0, 1<<50),
	integer("size", "bytes", func(f *Fault) int64 { return f.Size }, func(f *Fault, v int64) { f.Size = v }, 1, 1<<50),
	integer("device", "which of the host's accelerators, from 1; left out: each", func(f *Fault) int64 { return int64(f.Device) }, func(f *Fault, v int64) { f.Device = int(v) }, 1, 64),
	integer("xid", "the number that the driver reports; left out: the first of the class", func(f *Fault) int64 { return int64(f.Xid) }, func(f *Fault, v int64) { f.Xid = int(v) }, 1, 999),
	{"schema", "version of the contracts, such as 2.0", func(f *Fault) string { return f.Schema },
		func(f *Fault, s string) error {
			if !IsVersion(s) {
				return errors.New("a version such as 2.0")
			}
			f.Schema = s
			return nil
		}},
}

// IsVersion says whether s is written as a version of the contracts is: 2.0.
func IsVersion(s string) bool { return versions.MatchString(s) }

var versions = regexp.MustCompile(`^[1-9][0-9]{0,3}\.(0|[1-9][0-9]{0,3})$`)

func findParam(name string) *param {
	for i := range params {
		if params[i].name == name {
			return &params[i]
		}
	}
	return nil
}

// Parse reads the text form: a kind, its targets, and key=value pairs.
//
//	crash kasmina restart=500ms
//	partition tolaria | kasmina,tamiyo
//	drop oona -> tamiyo type=Delivery rate=0.2
//	disk/fsync-eio tolaria-host path=wal/* count=1
//
// An error is a *FormatError with the nearest word that would be right.
func Parse(text string) (Fault, error) {
	bad := func(col int, wrong, want string) (Fault, error) {
		return Fault{}, &FormatError{Text: text, Column: col + 1, Wrong: wrong, Want: want}
	}
	words := split(text)
	if len(words) == 0 {
		return bad(0, "it is empty", "a kind, such as crash")
	}
	f := Fault{Kind: words[0].s}
	kind := Lookup(f.Kind)
	if kind == nil {
		return bad(0, fmt.Sprintf("unknown kind %q", f.Kind), strconv.Quote(Nearest(f.Kind, Names())))
	}
	i := 1
	var err error
	if i < len(words) && !strings.Contains(words[i].s, "=") {
		if f.On, err = nameList(words[i].s); err != nil {
			return bad(words[i].col, err.Error(), "names separated by commas")
		}
		i++
	}
	if len(f.On) == 0 {
		return bad(len(text), "it names no target", kind.Usage())
	}
	if i < len(words) && (words[i].s == "|" || words[i].s == "->") {
		if kind.Shape != OnLinks {
			return bad(words[i].col, kind.Name+" has one side only", kind.Usage())
		}
		f.OneWay = words[i].s == "->"
		i++
		if i == len(words) || strings.Contains(words[i].s, "=") {
			return bad(len(text), "the other side is missing", kind.Usage())
		}
		if words[i].s != "*" {
			if f.Peers, err = nameList(words[i].s); err != nil {
				return bad(words[i].col, err.Error(), "names separated by commas")
			}
		}
		i++
	} else if kind.Shape == OnLinks {
		return bad(len(text), "the other side is missing", kind.Usage())
	}
	seen := map[string]bool{}
	for ; i < len(words); i++ {
		name, value, ok := strings.Cut(words[i].s, "=")
		if !ok {
			return bad(words[i].col, fmt.Sprintf("%q is not of the form name=value", words[i].s), kind.Usage())
		}
		p := findParam(name)
		if p == nil || !kind.takes(name) {
			want := "no parameters"
			if len(kind.Params) > 0 {
				want = strconv.Quote(Nearest(name, kind.Params))
			}
			return bad(words[i].col, fmt.Sprintf("%s takes no %q", kind.Name, name), want)
		}
		if seen[name] {
			return bad(words[i].col, fmt.Sprintf("%q is given twice", name), "it once")
		}
		seen[name] = true
		if err := p.parse(&f, value); err != nil {
			return bad(words[i].col+len(name)+1, fmt.Sprintf("%s is %q", name, value), err.Error())
		}
		if p.print(&f) == "" && kind.needs(name) {
			return bad(words[i].col+len(name)+1, fmt.Sprintf("%s is %q", name, value), "something else than nothing")
		}
	}
	for _, name := range kind.Needs {
		if !seen[name] {
			return bad(len(text), fmt.Sprintf("%s needs %q", kind.Name, name), kind.Usage())
		}
	}
	return f, nil
}

type token struct {
	s   string
	col int
}

func split(s string) []token {
	var out []token
	for i := 0; i < len(s); {
		if s[i] == ' ' || s[i] == '\t' {
			i++
			continue
		}
		j := i
		for j < len(s) && s[j] != ' ' && s[j] != '\t' {
			j++
		}
		out = append(out, token{s[i:j], i})
		i = j
	}
	return out
}

func nameList(s string) ([]string, error) {
	list := strings.Split(s, ",")
	for i, n := range list {
		if n == "" {
			return nil, fmt.Errorf("an empty name in %q", s)
		}
		for _, m := range list[:i] {
			if m == n {
				return nil, fmt.Errorf("%q stands twice in %q", n, s)
			}
		}
	}
	return list, nil
}

// Nearest is the candidate with the fewest edits to word; ties go to the
// first in order.
func Nearest(word string, candidates []string) string {
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	best, bestDist := "", 1<<30
	for _, c := range sorted {
		if d := editDistance(word, c); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
