package nissa

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// label is one key and value of a metric.
type label struct{ key, value string }

// kind of a metric, as Prometheus has them.
type kind uint8

const (
	counter kind = iota
	gauge
	histogram
)

func (k kind) String() string { return [...]string{"counter", "gauge", "histogram"}[k] }

// bounds of a histogram of durations, in nanoseconds.
var bounds = []int64{1e6, 5e6, 18e6, 45e6, 85e6, 250e6, 1e9, 5e9}

// sample is one labelled value of a metric. Its fields do not depend on the
// order of what went into it.
type sample struct {
	labels  []label // sorted by key
	count   uint64  // of a counter or histogram
	value   float64 // of a gauge: the newest
	at      int64   // ms: of the newest
	sum     int64   // of a histogram: nanoseconds
	buckets []uint64
}

// family is all samples of one metric.
type family struct {
	name, help string
	kind       kind
	samples    map[string]*sample // by the text of the labels
}

// registry holds the metrics.
type registry struct {
	families map[string]*family
	limit    int // samples in all
	samples  int
	refused  uint64 // what found no room
}

func newRegistry(limit int) *registry {
	return &registry{families: map[string]*family{}, limit: limit}
}

// of is a metric's sample, or nil: there is no room, or the name means another
// kind already.
func (r *registry) of(name, help string, k kind, labels []label) *sample {
	f := r.families[name]
	if f == nil {
		f = &family{name: name, help: help, kind: k, samples: map[string]*sample{}}
	}
	if f.kind != k {
		r.refused++
		return nil
	}
	labels = slices.Clone(labels)
	sort.Slice(labels, func(i, j int) bool { return labels[i].key < labels[j].key })
	id := labelText(labels)
	s := f.samples[id]
	if s == nil {
		if r.samples >= r.limit {
			r.refused++
			return nil
		}
		s = &sample{labels: labels}
		if k == histogram {
			s.buckets = make([]uint64, len(bounds))
		}
		f.samples[id] = s
		r.families[name] = f
		r.samples++
	}
	return s
}

// add counts.
func (r *registry) add(name, help string, n uint64, at int64, labels ...label) *sample {
	s := r.of(name, help, counter, labels)
	if s != nil {
		s.count += n
		s.at = max(s.at, at)
	}
	return s
}

// set notes the value that something had. The newest stands; of two at the same
// time, the larger, so that the order in which they come does not matter.
func (r *registry) set(name, help string, v float64, at int64, labels ...label) *sample {
	s := r.of(name, help, gauge, labels)
	if s == nil {
		return nil
	}
	if s.count == 0 || at > s.at || at == s.at && v > s.value {
		s.value, s.at = v, at
	}
	s.count++
	return s
}

// observe enters a duration.
func (r *registry) observe(name, help string, d time.Duration, at int64, labels ...label) *sample {
	s := r.of(name, help, histogram, labels)
	if s == nil {
		return nil
	}
	s.count++
	s.sum += int64(d)
	s.at = max(s.at, at)
	for i, b := range bounds {
		if int64(d) <= b {
			s.buckets[i]++
		}
	}
	return s
}

// labelText is the labels as they stand in the text, in braces; "" for none.
func labelText(labels []label) string {
	if len(labels) == 0 {
		return ""
	}
	var b strings.Builder
	for i, l := range labels {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(name(l.key, false))
		b.WriteString(`="`)
		b.WriteString(escape(l.value))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// escaper is what the format asks for in a label's value.
var escaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// helpEscaper is that of a HELP line, where quotes stay.
var helpEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`)

func escape(s string) string { return escaper.Replace(s) }

// name makes a valid name of a metric or label.
func name(s string, colon bool) string {
	ok := func(i int, c rune) bool {
		return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9' || colon && c == ':'
	}
	if s == "" {
		return "_"
	}
	for i, c := range s {
		if !ok(i, c) {
			var b strings.Builder
			for i, c := range s {
				switch {
				case ok(i, c):
					b.WriteRune(c)
				case i == 0 && c >= '0' && c <= '9':
					b.WriteByte('_')
					b.WriteRune(c)
				default:
					b.WriteByte('_')
				}
			}
			return b.String()
		}
	}
	return s
}

func number(v float64) string {
	switch {
	case v != v:
		return "NaN"
	case v > 1.7976931348623157e308:
		return "+Inf"
	case v < -1.7976931348623157e308:
		return "-Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// text is the registry in the Prometheus text format, version 0.0.4, sorted,
// with stamps in milliseconds.
func (r *registry) text() string {
	names := make([]string, 0, len(r.families))
	for n := range r.families {
		names = append(names, n)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, n := range names {
		r.families[n].write(&b)
	}
	return b.String()
}

func (f *family) write(b *strings.Builder) {
	b.WriteString("# HELP " + f.name + " " + helpEscaper.Replace(f.help) + "\n")
	b.WriteString("# TYPE " + f.name + " " + f.kind.String() + "\n")
	ids := make([]string, 0, len(f.samples))
	for id := range f.samples {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	line := func(name, labels, value string, at int64) {
		b.WriteString(name + labels + " " + value + " " + strconv.FormatInt(at, 10) + "\n")
	}
	for _, id := range ids {
		s := f.samples[id]
		switch f.kind {
		case counter:
			line(f.name, id, strconv.FormatUint(s.count, 10), s.at)
		case gauge:
			line(f.name, id, number(s.value), s.at)
		case histogram:
			for i, n := range s.buckets {
				line(f.name+"_bucket", within(s.labels, number(float64(bounds[i])/1e9)), strconv.FormatUint(n, 10), s.at)
			}
			line(f.name+"_bucket", within(s.labels, "+Inf"), strconv.FormatUint(s.count, 10), s.at)
			line(f.name+"_sum", id, number(float64(s.sum)/1e9), s.at)
			line(f.name+"_count", id, strconv.FormatUint(s.count, 10), s.at)
		}
	}
}

// within are the labels of a histogram's bucket.
func within(labels []label, le string) string {
	return labelText(append(slices.Clone(labels), label{"le", le}))
}
