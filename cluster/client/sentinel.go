package client

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/canon"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// SentinelOptions of a sentinel.
type SentinelOptions struct {
	Every  time.Duration `set:"every" doc:"between two emergencies"`
	Then   time.Duration `set:"then" doc:"how long after a CRITICAL one it raises the next, for what an emergency does in a freeze; 0: it does not"`
	Resend time.Duration `set:"resend" doc:"how long it waits for acknowledgements before it sends a notice again"`
	Quiet  time.Duration `set:"quiet" doc:"from when on it raises none; 0: never"`
	Level  string        `set:"level" oneof:"critical,severe,major,minor,mixed" doc:"of its notices; mixed: one level after the other"`
}

// SentinelDefaults are the options of a sentinel that sets none.
func SentinelDefaults() *SentinelOptions {
	return &SentinelOptions{Every: 15 * time.Second, Then: 2 * time.Second, Resend: 200 * time.Millisecond, Level: "mixed"}
}

// levels is the order in which mixed goes through the levels.
var levels = []string{"critical", "severe", "critical", "major", "minor"}

// sentinel raises emergencies, on direct links to all three of the core. A
// CRITICAL one is repeated until each has acknowledged it.
type sentinel struct {
	env    actor.Env
	job    *job.Job
	o      SentinelOptions
	count  int
	sent   uint32
	notice telemetryv2.EmergencyNotice
	silent []actor.ID
}

// NewSentinel makes the constructor of a sentinel.
func NewSentinel(j *job.Job, o SentinelOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) { return &sentinel{env: env, job: j, o: o}, nil }
}

// Start implements actor.Actor.
func (s *sentinel) Start() error {
	s.env.Clock.SetTimer("raise", 0, s.o.Every)
	return nil
}

// Receive implements actor.Actor.
func (s *sentinel) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		if m.Name == "raise" {
			s.raise()
		} else {
			s.send()
		}
	case *pausev2.PauseAck:
		if m.PauseId == s.notice.NoticeId {
			for i, n := range s.silent {
				if n == from {
					s.silent = append(s.silent[:i], s.silent[i+1:]...)
					break
				}
			}
		}
	}
	return nil
}

func (s *sentinel) raise() {
	if s.o.Quiet > 0 && s.env.Clock.Monotonic() >= s.o.Quiet {
		return
	}
	level := s.o.Level
	if level == "mixed" {
		level = levels[s.count%len(levels)]
	}
	s.count++
	wait := s.o.Every
	s.notice.NoticeId = fmt.Sprint("notice/", s.env.Self, "/", s.env.Incarnation, "/", s.count)
	s.notice.Source, s.notice.Reason = string(s.env.Self), "drill"
	switch level {
	case "critical":
		s.notice.Level = telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL
		if s.o.Then > 0 {
			wait = s.o.Then
		}
	case "severe":
		s.notice.Level = telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_SEVERE
	case "major":
		s.notice.Level = telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_MAJOR
	default:
		s.notice.Level = telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_MINOR
	}
	s.silent = append(s.silent[:0], s.job.Tolaria, s.job.Kasmina, s.job.Tamiyo)
	s.sent = 0
	s.env.Clock.SetTimer("raise", 0, wait)
	s.send()
}

// send gives the notice to those who have not acknowledged it.
func (s *sentinel) send() {
	for _, n := range s.silent {
		s.env.Net.Send(n, &s.notice, actor.SendOptions{Key: s.notice.NoticeId, Attempt: s.sent})
	}
	// What starts a rollback is no question that is answered.
	if s.sent++; len(s.silent) > 0 && s.sent < 10 && s.notice.Level == telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL {
		s.env.Clock.SetTimer("again", 0, s.o.Resend)
	}
}
