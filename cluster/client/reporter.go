package client

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// ReporterOptions of a reporter.
type ReporterOptions struct {
	As       string        `set:"as" doc:"the subsystem that it reports of"`
	Every    time.Duration `set:"every" doc:"between two reports"`
	Breakers int           `set:"breakers" doc:"how many breakers it has, which are open while it is ill"`
	Ill      time.Duration `set:"ill" doc:"how long after its start it falls ill; 0: never"`
	For      time.Duration `set:"for" doc:"how long it is ill"`
	Quiet    time.Duration `set:"quiet" doc:"how long after its start it stops to report; 0: never"`
	Metrics  int           `set:"metrics" doc:"measurements a report"`
}

// ReporterDefaults are the options of a reporter that sets none.
func ReporterDefaults() *ReporterOptions {
	return &ReporterOptions{As: "tezzeret", Every: time.Second, Breakers: 1, Ill: 5 * time.Second, For: 10 * time.Second, Metrics: 3}
}

// reporter publishes the health of a subsystem.
type reporter struct {
	env     actor.Env
	job     *job.Job
	o       ReporterOptions
	box     *outbox.Box
	n       int
	started time.Duration
}

// NewReporter makes the constructor of a reporter.
func NewReporter(j *job.Job, o ReporterOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &reporter{env: env, job: j, o: o, box: outbox.New(env, j.Oona, 256)}, nil
	}
}

// Start implements actor.Actor.
func (r *reporter) Start() error {
	r.started = r.env.Clock.Monotonic()
	r.env.Clock.SetTimer("report", 0, r.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (r *reporter) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *busv2.PublishAck:
		r.box.Acked(m)
	case *localv2.TimerFired:
		switch m.Name {
		case outbox.Timer:
			r.box.Tick()
		case "report":
			r.report()
		}
	}
	return nil
}

func (r *reporter) report() {
	r.n++
	life := r.env.Clock.Monotonic() - r.started
	if r.o.Quiet > 0 && life >= r.o.Quiet {
		return
	}
	ill := r.o.Ill > 0 && life >= r.o.Ill && life < r.o.Ill+r.o.For
	m := &telemetryv2.TelemetryPacket{PacketId: fmt.Sprint(r.env.Self, "/", r.env.Incarnation, "/", r.n), Timestamp: timestamppb.New(r.env.Clock.Now()),
		SourceSubsystem: r.o.As, Level: telemetryv2.Level_INFO, TrainingRunId: r.job.RunID,
		Health: &telemetryv2.HealthReport{Status: telemetryv2.HealthStatus_HEALTHY, Conservative: ill}}
	state := "CLOSED"
	if ill {
		state, m.Health.Status, m.Level = "OPEN", telemetryv2.HealthStatus_DEGRADED, telemetryv2.Level_WARNING
	}
	for i := range r.o.Breakers {
		m.Health.Breakers = append(m.Health.Breakers, &telemetryv2.BreakerState{Name: fmt.Sprintf("b%03d", i), State: state})
	}
	for i := range r.o.Metrics {
		m.Metrics = append(m.Metrics, &telemetryv2.MetricPoint{Name: fmt.Sprintf("load_%d", i), Type: telemetryv2.MetricType_GAUGE, Value: float64(r.n*(i+1)) / 7})
	}
	r.box.Put(outbox.Letter{ID: m.PacketId, Topic: "telemetry.subsystem.health", Message: m, Tries: 20, Yields: true, Options: actor.SendOptions{RunID: r.job.RunID, Priority: envelopev2.Priority_BACKGROUND}})
	r.env.Clock.SetTimer("report", 0, r.o.Every)
}
