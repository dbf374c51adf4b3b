package client

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// SensorOptions of a sensor.
type SensorOptions struct {
	Every   time.Duration `set:"every" doc:"between two reports of seeds; 0: it sends none"`
	Regions int           `set:"regions" doc:"regions that it reports of"`
	Quiet   time.Duration `set:"quiet" doc:"how long after its start it stops to report"`
	Alarm   time.Duration `set:"alarm" doc:"between two emergencies; 0: it raises none"`
	Resend  time.Duration `set:"resend" doc:"how long it waits for an acknowledgement of an emergency"`
}

// SensorDefaults are the options of a sensor that sets none.
func SensorDefaults() *SensorOptions {
	return &SensorOptions{Every: 20 * time.Millisecond, Regions: 3, Quiet: 15 * time.Second, Alarm: 4 * time.Second, Resend: 200 * time.Millisecond}
}

// sensor reports of seeds, and raises emergencies through Narset.
type sensor struct {
	env     actor.Env
	job     *job.Job
	o       SensorOptions
	box     *outbox.Box
	n       int
	started time.Duration
	notice  *telemetryv2.EmergencyNotice
	copies  uint32
	alarms  int
}

// NewSensor makes the constructor of a sensor.
func NewSensor(j *job.Job, o SensorOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &sensor{env: env, job: j, o: o, box: outbox.New(env, j.Oona, 512)}, nil
	}
}

// Start implements actor.Actor.
func (s *sensor) Start() error {
	s.started = s.env.Clock.Monotonic()
	if s.o.Every > 0 {
		s.env.Clock.SetTimer("report", 0, s.o.Every)
	}
	if s.o.Alarm > 0 {
		s.env.Clock.SetTimer("alarm", 0, s.o.Alarm)
	}
	return nil
}

// Receive implements actor.Actor.
func (s *sensor) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *busv2.PublishAck:
		s.box.Acked(m)
	case *pausev2.PauseAck:
		if s.notice != nil && m.PauseId == s.notice.NoticeId {
			s.notice = nil
		}
	case *localv2.TimerFired:
		switch m.Name {
		case outbox.Timer:
			s.box.Tick()
		case "report":
			s.report()
		case "alarm":
			s.raise()
		case "again":
			s.again()
		}
	}
	return nil
}

func (s *sensor) report() {
	if s.env.Clock.Monotonic()-s.started >= s.o.Quiet {
		return
	}
	s.n++
	// A report is a function of its number.
	m := &telemetryv2.SeedTelemetry{TelemetryId: fmt.Sprint(s.env.Self, "/", s.env.Incarnation, "/", s.n),
		Seed: &telemetryv2.SeedRef{LayerId: int32(1 + s.n%2), SeedId: int32(s.n % 5)}, Epoch: int64(s.n / 50), Stage: telemetryv2.SeedStage_TRAINING,
		Health:    &systemstatev2.SeedHealth{Status: systemstatev2.SeedHealth_HEALTHY},
		LocalLoss: 1 / float64(s.n), GradientNorm: float64(s.n%17) / 3, IsolationViolations: uint32(s.n % 41 / 40)}
	if s.n%7 == 0 {
		m.Health.Status = systemstatev2.SeedHealth_DEGRADED
	}
	if r := s.n % (s.o.Regions + 1); r > 0 {
		m.RegionId = fmt.Sprint("region-", r)
	}
	s.box.Put(outbox.Letter{ID: m.TelemetryId, Topic: "telemetry.seed.health", Message: m, Tries: 10, Yields: true, Options: actor.SendOptions{RunID: s.job.RunID, Epoch: m.Epoch, Priority: envelopev2.Priority_BACKGROUND}})
	s.env.Clock.SetTimer("report", 0, s.o.Every)
}

// raise begins an emergency: by turns one that is acknowledged, and a minor one,
// of which a few copies are sent.
func (s *sensor) raise() {
	s.alarms++
	level := telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_MINOR
	if s.alarms%2 == 0 {
		level = telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL
	}
	s.notice = &telemetryv2.EmergencyNotice{NoticeId: fmt.Sprint("notice/", s.env.Self, "/", s.env.Incarnation, "/", s.alarms), Level: level,
		Action: telemetryv2.EmergencyAction_TUNE, Source: string(s.env.Self), Reason: fmt.Sprint("drill ", s.alarms),
		RaisedAt: timestamppb.New(s.env.Clock.Now()), RespondWithin: durations.From(100 * time.Millisecond)}
	s.copies = 0
	s.again()
	s.env.Clock.SetTimer("alarm", 0, s.o.Alarm)
}

func (s *sensor) again() {
	if s.notice == nil || s.copies >= 10 || s.copies >= 3 && s.notice.Level == telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_MINOR {
		return
	}
	s.env.Net.Send(s.job.Narset, s.notice, actor.SendOptions{Key: s.notice.NoticeId, Attempt: s.copies})
	s.copies++
	s.env.Clock.SetTimer("again", 0, s.o.Resend)
}
