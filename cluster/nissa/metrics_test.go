package nissa

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// parsed is one line of the text format.
type parsed struct {
	name   string
	labels map[string]string
	value  float64
	at     int64
}

// parse reads the Prometheus text format, version 0.0.4, as a scraper does, and
// fails on everything that the format does not allow.
func parse(text string) (list []parsed, kinds map[string]string, err error) {
	kinds = map[string]string{}
	bad := func(line, why string) error { return fmt.Errorf("%q: %s", line, why) }
	if text != "" && !strings.HasSuffix(text, "\n") {
		return nil, nil, fmt.Errorf("the last line does not end")
	}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if f := strings.SplitN(line, " ", 4); f[0] == "#" {
			if len(f) < 4 || f[1] != "HELP" && f[1] != "TYPE" {
				return nil, nil, bad(line, "no HELP and no TYPE")
			}
			if f[1] == "TYPE" {
				if kinds[f[2]] != "" {
					return nil, nil, bad(line, "a second TYPE")
				}
				kinds[f[2]] = f[3]
			}
			continue
		}
		p := parsed{labels: map[string]string{}}
		end := strings.IndexAny(line, "{ ")
		if end <= 0 {
			return nil, nil, bad(line, "no name")
		}
		p.name = line[:end]
		rest := line[end:]
		if rest[0] == '{' {
			rest = rest[1:]
			for rest[0] != '}' {
				k, after, ok := strings.Cut(strings.TrimPrefix(rest, ","), `="`)
				if !ok {
					return nil, nil, bad(line, "a label without a value")
				}
				var v strings.Builder
				i := 0
				for ; i < len(after) && after[i] != '"'; i++ {
					if after[i] != '\\' {
						v.WriteByte(after[i])
						continue
					}
					i++
					c, ok := map[byte]byte{'\\': '\\', 'n': '\n', '"': '"'}[after[i]]
					if !ok {
						return nil, nil, bad(line, "an unknown escape")
					}
					v.WriteByte(c)
				}
				if i == len(after) {
					return nil, nil, bad(line, "a value without an end")
				}
				p.labels[k], rest = v.String(), after[i+1:]
			}
			rest = rest[1:]
		}
		f := strings.Fields(rest)
		if len(f) != 2 {
			return nil, nil, bad(line, "want a value and a stamp")
		}
		if p.value, err = strconv.ParseFloat(f[0], 64); err != nil {
			return nil, nil, bad(line, err.Error())
		}
		if p.at, err = strconv.ParseInt(f[1], 10, 64); err != nil {
			return nil, nil, bad(line, err.Error())
		}
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(p.name, "_bucket"), "_sum"), "_count")
		if kinds[p.name] == "" && kinds[base] != "histogram" {
			return nil, nil, bad(line, "no TYPE before it")
		}
		list = append(list, p)
	}
	return list, kinds, nil
}

func TestTextReadsBack(t *testing.T) {
	r := newRegistry(100)
	r.add("esper_a_total", "counts\nthings \\", 3, 1700000000123, label{"who", "a\"b\\c\nd"}, label{"b", ""})
	r.set("esper_g", "a level", -1.5, 12, label{"x", "y,{z}"})
	r.observe("esper_d_seconds", "durations", 20*time.Millisecond, 7)
	r.observe("esper_d_seconds", "durations", time.Hour, 9)
	list, kinds, err := parse(r.text())
	if err != nil {
		t.Fatalf("%v in\n%s", err, r.text())
	}
	find := func(name, k, v string) *parsed {
		for i := range list {
			if list[i].name == name && list[i].labels[k] == v {
				return &list[i]
			}
		}
		t.Fatalf("no %s with %s=%q in\n%s", name, k, v, r.text())
		return nil
	}
	if p := find("esper_a_total", "who", "a\"b\\c\nd"); p.value != 3 || p.at != 1700000000123 || kinds["esper_a_total"] != "counter" {
		t.Errorf("%+v %v", p, kinds)
	}
	if p := find("esper_g", "x", "y,{z}"); p.value != -1.5 || p.at != 12 {
		t.Errorf("%+v", p)
	}
	for le, want := range map[string]float64{"0.018": 0, "0.045": 1, "5": 1, "+Inf": 2} {
		if p := find("esper_d_seconds_bucket", "le", le); p.value != want || p.at != 9 {
			t.Errorf("le %s: %+v", le, p)
		}
	}
	if p := find("esper_d_seconds_sum", "", ""); p.value != 3600.02 {
		t.Errorf("%+v", p)
	}
}

// Whatever a label or a metric of a stranger is called, the text can be read.
func FuzzText(f *testing.F) {
	f.Add("load", "key", "value", 1.5)
	f.Add("9 lives{", "le\"", "a\\\n\"}", -0.0)
	f.Add("", "", "", 1e300)
	f.Fuzz(func(t *testing.T, n, k, v string, x float64) {
		b := newBook(100, 1000)
		m := &telemetryv2.TelemetryPacket{SourceSubsystem: v, Metrics: []*telemetryv2.MetricPoint{{Name: n, Value: x, Labels: []*telemetryv2.Label{{Key: k, Value: v}}}}}
		b.packet("e", m, 1, 0)
		if _, _, err := parse(b.metrics.text()); err != nil {
			t.Fatalf("%v in\n%s", err, b.metrics.text())
		}
	})
}

// event is one entry of the bus.
type event struct {
	topic  string
	offset int64
	e      *envelopev2.EventEnvelope
	m      canon.Message
}

func drawEvent(r *rapid.T, offset int64) event {
	at := time.UnixMilli(1700000000000 + rapid.Int64Range(0, 100_000).Draw(r, "at"))
	ev := event{offset: offset, e: &envelopev2.EventEnvelope{EventId: fmt.Sprint("e", offset), SourceSubsystem: "s", CreatedAt: timestamppb.New(at)}}
	x := rapid.Float64Range(-10, 10).Draw(r, "x")
	n := int32(rapid.IntRange(0, 2).Draw(r, "n"))
	switch rapid.IntRange(0, 3).Draw(r, "type") {
	case 0:
		ev.topic = "system.events.epoch"
		ev.m = &eventsv2.EpochEvent{Epoch: int64(n), Phase: eventsv2.EpochPhase_COMPLETED, RollbackGeneration: 1, TrainingLoss: x, ValidationLoss: x,
			BoundaryDuration: durationpb.New(time.Duration(n) * 20 * time.Millisecond)}
	case 1:
		ev.topic = "telemetry.seed.health"
		ev.m = &telemetryv2.SeedTelemetry{Seed: &telemetryv2.SeedRef{LayerId: 1, SeedId: n}, LocalLoss: x, IsolationViolations: uint32(n), ExecLatency: durationpb.New(time.Duration(n) * time.Millisecond)}
	case 2:
		ev.topic = "control.command.results"
		ev.m = &adaptationv2.CommandResult{Subsystem: "kasmina", Status: adaptationv2.CommandStatus(n)}
	default:
		ev.topic = "telemetry.subsystem.health"
		ev.m = &telemetryv2.TelemetryPacket{SourceSubsystem: fmt.Sprint("s", n), Metrics: []*telemetryv2.MetricPoint{{Name: "load", Value: x}},
			Health: &telemetryv2.HealthReport{Status: telemetryv2.HealthStatus_HEALTHY}}
	}
	return ev
}

func (b *book) digest() string {
	out := b.metrics.text()
	names := make([]string, 0, len(b.series.all))
	for n := range b.series.all {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		out += fmt.Sprintln(n, b.series.all[n].points)
	}
	return out
}

// The same events give the same metrics and series, in whatever order they come,
// and however often each does (F97).
func TestReplayGivesTheSameMetrics(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var log []event
		for i := range rapid.IntRange(1, 40).Draw(r, "events") {
			log = append(log, drawEvent(r, int64(i+1)))
		}
		one, two := newBook(1000, 100_000), newBook(1000, 100_000)
		for _, e := range log {
			one.take(e.topic, e.offset, e.e, e.m, 0, 1700000100000)
		}
		again := append(slices.Clone(log), log[:rapid.IntRange(0, len(log)).Draw(r, "twice")]...)
		for _, i := range rapid.Permutation(indices(len(again))).Draw(r, "order") {
			e := again[i]
			two.take(e.topic, e.offset, e.e, e.m, time.Hour, 1700000200000)
		}
		if a, b := one.digest(), two.digest(); a != b {
			r.Fatalf("in order:\n%s\nin disorder:\n%s", a, b)
		}
	})
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
