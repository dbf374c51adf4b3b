// Package leyline is the registry of the contracts: it serves the versions of the
// manifest that is compiled in, knows which minor version each live process
// speaks, and says which one may be written.
//
// A process tells it every two seconds what it speaks, with the digest of its
// descriptor set. One whose digest is not the manifest's is answered that it is
// not compatible, and Nissa is told, until she is told that it is well again or
// gone: that raises an alert, and ends it (row L6). Choices: a process counts as
// live for six seconds; what may be written is the lowest minor version of the
// live processes of the active major one, and a process that is not compatible
// does not hold the others down. The registry has no disk: the first reports after
// a restart make it anew, and until a lease is over it lets nobody write more than
// the oldest minor version.
//
// The golden bytes themselves are checked before anything runs, by
// "espersim contracts golden", which raises the alert of the same kind.
package leyline

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/contract"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Subsystem is Leyline's name.
const Subsystem = "leyline"

// Options of Leyline.
type Options struct {
	Lease time.Duration `set:"lease" doc:"how long a process counts as live after it was heard"`
	Tell  time.Duration `set:"tell" doc:"between two reports of what does not agree"`
	Most  int           `set:"most" doc:"processes that are known at most"`
}

// Defaults are the options of a Leyline that sets none.
func Defaults() *Options {
	return &Options{Lease: 6 * time.Second, Tell: 5 * time.Second, Most: 1000}
}

// process is what one has told.
type process struct {
	version wire.Version
	heard   time.Duration
	bad     string // why it is not compatible
}

type leyline struct {
	env     actor.Env
	job     *job.Job
	o       Options
	table   contract.Table
	box     *outbox.Box
	started time.Duration
	all     map[string]*process
	told    map[string]bool // mismatches that Nissa was told of, in this life
	n       uint64
}

// New makes the constructor of Leyline.
func New(j *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		t, err := contract.Load()
		return &leyline{env: env, job: j, o: o, table: t, box: outbox.New(env, j.Oona, 256), all: map[string]*process{}, told: map[string]bool{}}, err
	}
}

// Start implements actor.Actor.
func (l *leyline) Start() error {
	l.started = l.env.Clock.Monotonic()
	l.env.Clock.SetTimer("tell", 0, l.o.Tell)
	return nil
}

// Receive implements actor.Actor.
func (l *leyline) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case outbox.Timer:
			l.box.Tick()
		case "tell":
			l.sweep()
			l.env.Clock.SetTimer("tell", 0, l.o.Tell)
		}
	case *busv2.PublishAck:
		l.box.Acked(m)
	case *operationsv2.VersionQuery:
		l.query(from, m)
	}
	return nil
}

// judge says why a version does not agree with the manifest; "" if it does.
func judge(t contract.Table, v wire.Version, digest []byte) string {
	want := t.Digest(v)
	switch {
	case v.Major != wire.Newest.Major:
		return fmt.Sprintf("version %v is read, and not spoken", v)
	case want == nil:
		return fmt.Sprintf("the manifest has no version %v", v)
	case !bytes.Equal(want, digest):
		return fmt.Sprintf("its descriptor set is %x, and version %v has %x", digest, v, want)
	}
	return ""
}

func (l *leyline) query(from actor.ID, q *operationsv2.VersionQuery) {
	v := wire.Version{Major: q.SchemaMajor, Minor: q.SchemaMinor}
	bad := judge(l.table, v, q.DescriptorSetSha256)
	now := l.env.Clock.Monotonic()
	p := l.all[q.Subsystem]
	if p == nil {
		l.sweepOld(now)
		if len(l.all) >= l.o.Most {
			return
		}
		p = new(process)
		l.all[q.Subsystem] = p
	}
	changed := p.bad != bad
	*p = process{v, now, bad}
	l.env.Net.Send(from, &operationsv2.VersionReply{QueryId: q.QueryId, Compatible: bad == "", WritesMinor: writes(l.all, now, l.o.Lease, now-l.started >= l.o.Lease), Reason: bad},
		actor.SendOptions{Key: "version-reply/" + q.QueryId, CorrelationID: q.QueryId})
	if changed {
		l.tell()
	}
}

// writes is the newest minor version that every live process reads. whole says
// that everybody who lives has been heard.
func writes(all map[string]*process, now, lease time.Duration, whole bool) uint32 {
	if !whole {
		return 0
	}
	least := wire.Newest.Minor
	for _, p := range all {
		if p.bad == "" && now-p.heard < lease {
			least = min(least, p.version.Minor)
		}
	}
	return least
}

// sweepOld forgets who is silent.
func (l *leyline) sweepOld(now time.Duration) {
	maps.DeleteFunc(l.all, func(_ string, p *process) bool { return now-p.heard >= l.o.Lease })
}

func (l *leyline) sweep() {
	l.sweepOld(l.env.Clock.Monotonic())
	l.tell()
}

// metrics are what Leyline tells beside: how many processes she knows, and which
// minor version may be written.
var metrics = []string{"contract_processes", "contract_writes_minor"}

// tell tells Nissa what does not agree, and what does again. It is repeated: a
// Nissa that has lost it must not be silent, and one that was told by an earlier
// life of Leyline must hear of the end.
func (l *leyline) tell() {
	l.n++
	m := &telemetryv2.TelemetryPacket{PacketId: fmt.Sprint("leyline/", l.env.Incarnation, "/", l.n), Timestamp: timestamppb.New(l.env.Clock.Now()),
		SourceSubsystem: Subsystem, Level: telemetryv2.Level_INFO, TrainingRunId: l.job.RunID,
		Health: &telemetryv2.HealthReport{Status: telemetryv2.HealthStatus_HEALTHY}}
	now := l.env.Clock.Monotonic()
	for name, v := range []float64{float64(len(l.all)), float64(writes(l.all, now, l.o.Lease, now-l.started >= l.o.Lease))} {
		m.Metrics = append(m.Metrics, &telemetryv2.MetricPoint{Name: metrics[name], Value: v, Type: telemetryv2.MetricType_GAUGE})
	}
	event := func(who, name, detail string, level telemetryv2.Level) {
		m.Events = append(m.Events, &telemetryv2.TelemetryEvent{Name: name, Level: level, Message: detail,
			Labels: []*telemetryv2.Label{{Key: "subsystem", Value: who}}, Timestamp: m.Timestamp})
	}
	for _, who := range slices.Sorted(maps.Keys(l.all)) {
		if p := l.all[who]; p.bad != "" {
			l.told[who] = true
			m.Level, m.Health.Status = telemetryv2.Level_ERROR, telemetryv2.HealthStatus_DEGRADED
			event(who, "contract_mismatch", p.bad, telemetryv2.Level_ERROR)
		} else {
			delete(l.told, who)
			event(who, "contract_match", "", telemetryv2.Level_INFO)
		}
	}
	for _, who := range slices.Sorted(maps.Keys(l.told)) {
		if l.all[who] == nil { // it is gone, and can do no harm
			delete(l.told, who)
			event(who, "contract_match", "it is gone", telemetryv2.Level_INFO)
		}
	}
	l.box.Put(outbox.Letter{ID: m.PacketId, Topic: "telemetry.subsystem.health", Message: m, Tries: 20, Yields: true, Options: actor.SendOptions{RunID: l.job.RunID, Priority: envelopev2.Priority_BACKGROUND}})
}
