package tezzeret

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/durations"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// reportEvery is how often Nissa is told how Tezzeret is.
const reportEvery = 10 * time.Second

// tell says where a job stands: as a fact, and to Nissa. What she misses of it
// she is told by the next.
func (t *tezzeret) tell(j *statev2.CompileJob, state string) {
	t.env.Facts.Record(&evidencev2.JobFact{JobId: j.JobId, Subsystem: Subsystem, State: state, Attempt: j.Attempt, Reason: j.Reason})
	t.told++
	m := &innovationv2.JobStatus{JobId: j.JobId, Subsystem: Subsystem, State: state, AssetId: j.BlueprintId, Attempt: j.Attempt,
		Tier: eventsv2.BlueprintTier_PRODUCTION, Reason: j.Reason}
	if j.Tier == tierExperimental {
		m.Tier = eventsv2.BlueprintTier_EXPERIMENTAL
	}
	if j.CompileMs > 0 {
		m.Took = durations.From(time.Duration(j.CompileMs) * time.Millisecond)
	}
	t.box.Put(outbox.Letter{ID: fmt.Sprint("job/", Subsystem, "/", t.env.Incarnation, "/", t.told), Topic: "innovation.jobs", Message: m, Tries: 3, Yields: true,
		Options: actor.SendOptions{RunID: t.job.RunID, Priority: envelopev2.Priority_BACKGROUND}})
}

// report tells Nissa how Tezzeret is.
func (t *tezzeret) report() {
	now := t.env.Clock.Monotonic()
	t.told++
	m := &telemetryv2.TelemetryPacket{PacketId: fmt.Sprint("tezzeret/", t.env.Incarnation, "/", t.told), Timestamp: timestamppb.New(t.env.Clock.Now()),
		SourceSubsystem: Subsystem, Level: telemetryv2.Level_INFO, TrainingRunId: t.job.RunID,
		Metrics: []*telemetryv2.MetricPoint{{Name: "compile_queue", Value: float64(len(t.jobs.in(queued))), Type: telemetryv2.MetricType_GAUGE},
			{Name: "device_share", Value: t.share.of(now), Type: telemetryv2.MetricType_GAUGE}},
		Health: &telemetryv2.HealthReport{Status: telemetryv2.HealthStatus_HEALTHY, Conservative: t.conservative}}
	for _, b := range t.breakers {
		s := b.State(now)
		if s == breaker.Open {
			m.Health.Status = telemetryv2.HealthStatus_DEGRADED
		}
		m.Health.Breakers = append(m.Health.Breakers, &telemetryv2.BreakerState{Name: b.Settings().ID(), State: s.String()})
	}
	t.box.Put(outbox.Letter{ID: m.PacketId, Topic: "telemetry.subsystem.health", Message: m, Tries: 3, Yields: true,
		Options: actor.SendOptions{RunID: t.job.RunID, Priority: envelopev2.Priority_BACKGROUND}})
	t.env.Clock.SetTimer("report", 0, reportEvery)
}
