package nissa

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// book is what Nissa knows: metrics and series, and what the rules look at.
type book struct {
	metrics *registry
	series  *store
	seen    seen
	logs    logs
	watch   watch
}

func newBook(limit, points int) *book {
	return &book{metrics: newRegistry(limit), series: newStore(limit, points), seen: newSeen(),
		watch: watch{seeds: map[string]uint32{}, health: map[string]*vitals{}, contracts: map[string]schemas{}}}
}

// seen knows which entries of the bus were taken: by their offsets, for a start reads
// the whole log, and may be handed an entry again that it read long before; and the
// newest by their event ids, for a publisher whose acknowledgement was lost for long
// may have got its event into the bus twice.
type seen struct {
	topics map[string]*taken
	ids    map[string]bool
	order  []string
}

// taken is the offsets of a topic that were taken, as runs from the first to the last
// of each, in their order.
type taken [][2]int64

// has says whether an offset was taken, and else behind how many runs it is.
func (t taken) has(offset int64) (at int, ok bool) {
	at, _ = slices.BinarySearchFunc(t, offset, func(r [2]int64, o int64) int { return cmp.Compare(r[1], o) })
	return at, at < len(t) && t[at][0] <= offset
}

// add takes an offset that was not taken.
func (t taken) add(offset int64) taken {
	at, _ := t.has(offset)
	joins, meets := at > 0 && t[at-1][1]+1 == offset, at < len(t) && t[at][0]-1 == offset
	switch {
	case joins && meets:
		t[at-1][1] = t[at][1]
		return slices.Delete(t, at, at+1)
	case joins:
		t[at-1][1] = offset
		return t
	case meets:
		t[at][0] = offset
		return t
	}
	if t = slices.Insert(t, at, [2]int64{offset, offset}); len(t) > mostRuns {
		// A gap that nothing will fill: it was trimmed.
		t[1][0] = t[0][0]
		t = slices.Delete(t, 0, 1)
	}
	return t
}

const (
	rememberedIDs = 8192
	mostRuns      = 4096
)

func newSeen() seen { return seen{topics: map[string]*taken{}, ids: map[string]bool{}} }

// first says whether an entry comes for the first time, and notes it.
func (s *seen) first(topic string, offset int64, event string) bool {
	t := s.topics[topic]
	if t == nil {
		t = new(taken)
		s.topics[topic] = t
	}
	if _, again := t.has(offset); again {
		return false
	}
	*t = t.add(offset)
	if s.ids[event] {
		return false
	}
	s.ids[event] = true
	s.order = append(s.order, event)
	if len(s.order) > 4*rememberedIDs {
		for _, id := range s.order[:rememberedIDs] {
			delete(s.ids, id)
		}
		s.order = append(s.order[:0], s.order[rememberedIDs:]...)
	}
	return true
}

// watch is what the rules look at.
type watch struct {
	epochs    []epochSeen // the newest three that were completed
	seeds     map[string]uint32
	isolation window
	results   window // of commands
	failures  window // of them, those that were refused or expired
	depth     uint64
	health    map[string]*vitals
	contracts map[string]schemas // by subsystem
}

// schemas is what Leyline told last of a subsystem's schemas.
type schemas struct {
	at     int64
	since  time.Duration // monotonic
	bad    bool
	detail string
}

type epochSeen struct {
	generation uint32
	epoch      int64
	boundary   time.Duration
}

type vitals struct {
	at       int64
	since    time.Duration // monotonic, of the newest report
	report   *telemetryv2.HealthReport
	breakers []*telemetryv2.BreakerState
}

// window counts what happened in the last minutes. Its times are monotonic.
type window struct{ items []tick }

type tick struct {
	at time.Duration
	n  uint32
}

// windowed bounds a window's memory; what is beyond is older or merged.
const windowed = 4096

func (w *window) add(at time.Duration, n uint32) {
	if k := len(w.items); k > 0 && (at-w.items[k-1].at < time.Second && at >= w.items[k-1].at || k >= windowed) {
		w.items[k-1].n += n
		return
	}
	w.items = append(w.items, tick{at, n})
}

// sum is how often it happened since a time; what is older is forgotten.
func (w *window) sum(since time.Duration) (n uint32) {
	w.items = slices.DeleteFunc(w.items, func(t tick) bool { return t.at < since })
	for _, t := range w.items {
		n += t.n
	}
	return n
}

// take enters an event that comes for the first time. now is monotonic, and wall
// the present in ms: together they say how old the event is.
func (b *book) take(topic string, offset int64, e *envelopev2.EventEnvelope, m canon.Message, now time.Duration, wall int64) bool {
	if !b.seen.first(topic, offset, e.EventId) {
		return false
	}
	at := e.CreatedAt.AsTime().UnixMilli()
	when := now - time.Duration(min(max(wall-at, 0), hour))*time.Millisecond
	b.count("esper_events_total", "Events on the bus.", at, 1,
		label{"topic", topic}, label{"type", short(m.FullName())}, label{"source", e.SourceSubsystem})
	switch m := m.(type) {
	case *eventsv2.EpochEvent:
		b.epoch(m, at)
	case *telemetryv2.SeedTelemetry:
		b.seed(m, at, when)
	case *adaptationv2.AdaptationCommand:
		b.count("esper_commands_total", "Commands.", at, 1, label{"topic", topic})
	case *adaptationv2.CommandResult:
		b.count("esper_command_results_total", "What became of commands.", at, 1, label{"subsystem", m.Subsystem}, label{"status", m.Status.String()})
		b.watch.results.add(when, 1)
		if m.Status == adaptationv2.CommandStatus_REJECTED || m.Status == adaptationv2.CommandStatus_EXPIRED {
			b.watch.failures.add(when, 1)
		}
	case *operationalv2.FieldReport:
		b.count("esper_field_reports_total", "Adaptations that have ended.", at, 1, label{"outcome", m.Outcome})
	case *eventsv2.BlueprintSubmittedEvent:
		b.count("esper_blueprints_total", "Blueprints that were submitted.", at, 1, label{"tier", m.Tier.String()})
	case *innovationv2.JobStatus:
		b.count("esper_jobs_total", "Where compilations stood.", at, 1, label{"subsystem", m.Subsystem}, label{"state", m.State})
		if d, err := durations.To(m.Took); err == nil && m.Took != nil {
			b.duration("esper_job_seconds", "How long compilations take.", d, at, label{"subsystem", m.Subsystem}, label{"state", m.State})
		}
	case *eventsv2.KernelReadyEvent:
		b.count("esper_kernels_total", "Kernels that were compiled.", at, 1, label{"pipeline", m.Pipeline})
	case *eventsv2.KernelCharacterizedEvent:
		b.count("esper_kernel_verdicts_total", "Verdicts on kernels.", at, 1, label{"verdict", m.Verdict.String()})
	case *telemetryv2.TelemetryPacket:
		b.packet(e.EventId, m, at, when)
	case *operationsv2.RegionSummary:
		b.count("esper_region_reports_total", "Reports of seeds that were summed up.", at, uint64(len(m.TelemetryIds)), label{"region", m.RegionId})
		b.gauge("esper_region_mean_loss", "Mean loss of a region's seeds.", m.MeanLoss, at, label{"region", m.RegionId})
	}
	return true
}

func (b *book) count(name, help string, at int64, n uint64, labels ...label) {
	if s := b.metrics.add(name, help, n, at, labels...); s != nil {
		b.series.count(name+labelText(s.labels), at, n)
	}
}

func (b *book) gauge(name, help string, v float64, at int64, labels ...label) {
	if s := b.metrics.set(name, help, v, at, labels...); s != nil {
		b.series.set(name+labelText(s.labels), at, v)
	}
}

func (b *book) duration(name, help string, d time.Duration, at int64, labels ...label) {
	if s := b.metrics.observe(name, help, d, at, labels...); s != nil {
		b.series.set(name+labelText(s.labels), at, d.Seconds())
	}
}

func (b *book) epoch(m *eventsv2.EpochEvent, at int64) {
	b.count("esper_epoch_events_total", "Events of the epoch clock.", at, 1, label{"phase", m.Phase.String()})
	b.gauge("esper_epoch", "The epoch that is trained.", float64(m.Epoch), at)
	b.gauge("esper_rollback_generation", "How often the run was rolled back, plus one.", float64(m.RollbackGeneration), at)
	b.gauge("esper_active_seeds", "Slots that are occupied.", float64(m.ActiveSeeds), at)
	if m.Phase != eventsv2.EpochPhase_COMPLETED {
		return
	}
	b.gauge("esper_training_loss", "Mean training loss of an epoch.", m.TrainingLoss, at)
	b.gauge("esper_validation_loss", "Loss over the held-out samples.", m.ValidationLoss, at)
	b.gauge("esper_validation_accuracy", "Share of the held-out samples that is right.", m.ValidationAccuracy, at)
	if m.BoundaryDuration == nil {
		return
	}
	d, err := durations.To(m.BoundaryDuration)
	if err != nil {
		return
	}
	b.duration("esper_boundary_seconds", "How long epoch boundaries take.", d, at)
	w := &b.watch
	w.epochs = append(w.epochs, epochSeen{m.RollbackGeneration, m.Epoch, d})
	slices.SortStableFunc(w.epochs, func(x, y epochSeen) int {
		return cmp.Or(cmp.Compare(x.generation, y.generation), cmp.Compare(x.epoch, y.epoch))
	})
	w.epochs = w.epochs[max(len(w.epochs)-3, 0):]
}

func (b *book) seed(m *telemetryv2.SeedTelemetry, at int64, when time.Duration) {
	id := strconv.Itoa(int(m.Seed.GetLayerId())) + "/" + strconv.Itoa(int(m.Seed.GetSeedId()))
	seed := label{"seed", id}
	b.count("esper_seed_reports_total", "Reports of seeds.", at, 1, seed, label{"stage", m.Stage.String()})
	b.gauge("esper_seed_alpha", "How far a kernel is blended in.", float64(m.AlphaMilli)/1000, at, seed)
	b.gauge("esper_seed_loss", "Local loss of a seed.", m.LocalLoss, at, seed)
	b.gauge("esper_seed_isolation_violations", "Isolation violations of a seed.", float64(m.IsolationViolations), at, seed)
	if d, err := durations.To(m.ExecLatency); err == nil && m.ExecLatency != nil {
		b.duration("esper_seed_latency_seconds", "How long a kernel takes.", d, at, seed)
	}
	w := &b.watch
	if was := w.seeds[id]; m.IsolationViolations > was {
		w.isolation.add(when, m.IsolationViolations-was)
	}
	w.seeds[id] = m.IsolationViolations
}

// Names of events by which Leyline tells of contracts.
const (
	mismatchEvent = "contract_mismatch"
	matchEvent    = "contract_match"
)

func (b *book) packet(event string, m *telemetryv2.TelemetryPacket, at int64, when time.Duration) {
	source := label{"source", m.SourceSubsystem}
	for _, p := range m.Metrics {
		labels := []label{source}
		for _, l := range p.Labels {
			if l.Key != source.key {
				labels = append(labels, label{l.Key, l.Value})
			}
		}
		n, stamp := "esper_"+name(p.Name, true), at
		if p.Timestamp != nil {
			stamp = p.Timestamp.AsTime().UnixMilli()
		}
		// A process counts from its own start: what it tells is a level.
		v := p.Value
		if p.Type == telemetryv2.MetricType_COUNTER {
			v = float64(p.IntValue)
		}
		b.gauge(n, "Told by its source.", v, stamp, labels...)
	}
	for k, ev := range m.Events {
		stamp := at
		if ev.Timestamp != nil {
			stamp = ev.Timestamp.AsTime().UnixMilli()
		}
		b.logs.add(logLine{stamp, fmt.Sprint(event, "/", k), strings.Clone(m.SourceSubsystem), ev.Level, ev.Name + ": " + ev.Message})
		b.count("esper_log_events_total", "Events that subsystems tell of.", at, 1, source, label{"name", ev.Name}, label{"level", ev.Level.String()})
		who := ""
		for _, l := range ev.Labels {
			if l.Key == "subsystem" {
				who = l.Value
			}
		}
		if ev.Name == mismatchEvent || ev.Name == matchEvent {
			was, known := b.watch.contracts[who]
			if (known && was.at <= at) || !known && len(b.watch.contracts) < alertLimit {
				b.watch.contracts[who] = schemas{at, when, ev.Name == mismatchEvent, ev.Message}
			}
		}
	}
	h := m.Health
	if h == nil {
		return
	}
	b.gauge("esper_health", "1 healthy, 2 degraded, 3 unhealthy, 4 critical.", float64(h.Status), at, source)
	b.gauge("esper_conservative", "Whether it is in conservative mode.", truth(h.Conservative), at, source)
	for _, s := range h.Breakers {
		b.gauge("esper_breaker_open", "Whether a breaker is open.", truth(s.State == "OPEN"), at, source, label{"breaker", s.Name})
	}
	if was := b.watch.health[m.SourceSubsystem]; was == nil || was.at <= at {
		c := new(telemetryv2.HealthReport)
		if err := c.ParseCanonical(h.AppendCanonical(nil)); err == nil {
			b.watch.health[m.SourceSubsystem] = &vitals{at: at, since: when, report: c, breakers: c.Breakers}
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// short is a type's name without its package.
func short(full string) string { return full[strings.LastIndexByte(full, '.')+1:] }
