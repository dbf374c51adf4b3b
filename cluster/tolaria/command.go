package tolaria

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/job"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// pauseState is the pause that is under way or about to be.
type pauseState struct {
	until  time.Duration // monotonic: when what holds training ends
	wanted *adaptationv2.PauseCommand
	id     string
	serial int64
	open   bool // PAUSED was declared, and RUNNING is still due
}

// accepts refuses commands that are not for Tolaria.
func accepts(c *adaptationv2.AdaptationCommand) error {
	switch arm := c.Command.(type) {
	case *adaptationv2.AdaptationCommand_LrUpdate:
		for _, g := range arm.LrUpdate.GroupRates {
			switch {
			case g.ParamGroup != "default" && g.ParamGroup != "host":
				return fmt.Errorf("there is no parameter group %q; there is default", g.ParamGroup)
			case g.LearningRate > 1:
				return fmt.Errorf("a learning rate of %v is above 1", g.LearningRate)
			}
		}
		if len(arm.LrUpdate.GroupRates) > 1 {
			return errors.New("default and host are one parameter group; it has two rates")
		}
		return nil
	case *adaptationv2.AdaptationCommand_ArchChange:
		_, err := architecture(arm.ArchChange)
		return err
	case *adaptationv2.AdaptationCommand_Rollback, *adaptationv2.AdaptationCommand_Pause:
		return nil
	}
	return errors.New("it is not for Tolaria")
}

// rhythm is the typed configuration of the change "rhythm": text, never
// anything that runs when it is read.
type rhythm struct {
	CheckpointEvery int `yaml:"checkpoint-every"` // epochs
}

// architecture reads a change whose validation hash matches its bytes.
func architecture(a *adaptationv2.ArchitectureChange) (*rhythm, error) {
	sum := sha256.Sum256(a.SerializedConfig)
	if hex.EncodeToString(sum[:]) != a.ValidationHash {
		return nil, errors.New("validation_hash is not the SHA-256 of serialized_config")
	}
	if a.ChangeType != "rhythm" {
		return nil, fmt.Errorf("change_type is %q; known is rhythm", a.ChangeType)
	}
	var r rhythm
	d := yaml.NewDecoder(bytes.NewReader(a.SerializedConfig))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("serialized_config: %w", err)
	}
	if err := d.Decode(new(rhythm)); !errors.Is(err, io.EOF) {
		return nil, errors.New("serialized_config holds more than one document")
	}
	if r.CheckpointEvery < 1 || r.CheckpointEvery > 1000 {
		return nil, fmt.Errorf("checkpoint-every is %d; want 1 to 1000", r.CheckpointEvery)
	}
	return &r, nil
}

// obeyDue carries out the commands that are due for the next epoch.
func (t *tolaria) obeyDue() error {
	present := func(s string) bool {
		switch s {
		case "kasmina":
			return t.joined
		case "tamiyo":
			return t.decided
		}
		return s == Subsystem
	}
	for _, c := range t.desk.Due(t.next, t.gen, present, nil) {
		t.obey(c, t.next)
	}
	return t.flush()
}

// flush: if the log fails, nobody was told and the effects are in memory only.
// Dying undoes them; the commands are due again.
func (t *tolaria) flush() error {
	if err := t.desk.Flush(); err != nil {
		return fmt.Errorf("tolaria: command log: %w", err)
	}
	return nil
}

func (t *tolaria) obey(c *command.Command, epoch int64) {
	status, effect, why := adaptationv2.CommandStatus_APPLIED, "", ""
	reject := func(reason string) { status, why = adaptationv2.CommandStatus_REJECTED, reason }
	switch arm := c.M.Command.(type) {
	case *adaptationv2.AdaptationCommand_LrUpdate:
		rate := arm.LrUpdate.GroupRates[0].LearningRate
		effect = fmt.Sprintf("learning rate %v→%v", t.rates.Rate, rate)
		if arm.LrUpdate.ApplyWarmup {
			effect += ", warming up"
		}
		t.rates.Order(rate, epoch, t.gen, c.M.CommandId, arm.LrUpdate.ApplyWarmup)
	case *adaptationv2.AdaptationCommand_ArchChange:
		r, err := architecture(arm.ArchChange)
		if err != nil {
			reject(err.Error())
			break
		}
		effect = fmt.Sprintf("checkpoint-every %d→%d", t.every, r.CheckpointEvery)
		t.every = r.CheckpointEvery
	case *adaptationv2.AdaptationCommand_Rollback:
		w := &wish{reason: "command " + c.M.CommandId, severity: "MAJOR", checkpoint: arm.Rollback.CheckpointId,
			fast: arm.Rollback.Type == adaptationv2.RollbackCommand_FAST}
		if !t.store.has(w.checkpoint) {
			reject(fmt.Sprintf("there is no checkpoint %q", w.checkpoint))
			break
		}
		effect = "rollback"
		t.wish(w)
	case *adaptationv2.AdaptationCommand_Pause:
		switch {
		case !arm.Pause.Pause:
			effect = "resume"
			if t.phase == paused || t.phase == frozen {
				t.pause.wanted, t.pause.until = nil, 0
				t.pause.serial++
				t.env.Clock.SetTimer(t.wakeTimer(), t.pause.serial, 0)
			} else {
				effect = "" // nothing is paused: it takes effect, and changes nothing
				t.pause.wanted = nil
			}
		case t.pause.wanted != nil || t.phase == paused:
			reject("it is paused already")
		default:
			if _, err := command.Token(arm.Pause, t.job.Key[:], t.env.Clock.Now(), job.MaxClockSkew); err != nil {
				reject(err.Error())
				break
			}
			effect = "pause"
			t.pause.wanted, t.pause.id = arm.Pause, c.M.CommandId
		}
	}
	t.desk.Settle(c, status, epoch, t.gen, effect, why)
}

func (t *tolaria) wakeTimer() string {
	if t.phase == frozen {
		return "freeze"
	}
	return "pause"
}

// atOnce carries out what may be carried out in a pause: resume and rollback.
func (t *tolaria) atOnce() error {
	if t.phase != paused && t.phase != frozen {
		return nil
	}
	only := func(c *adaptationv2.AdaptationCommand) bool {
		p, ok := c.Command.(*adaptationv2.AdaptationCommand_Pause)
		_, back := c.Command.(*adaptationv2.AdaptationCommand_Rollback)
		return back || ok && !p.Pause.Pause
	}
	for _, c := range t.desk.Due(t.epoch, t.gen, nil, only) {
		t.obey(c, t.epoch)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if t.want != nil {
		return t.roll(t.phase)
	}
	return nil
}

// pauseNow holds training before the first step of an epoch.
func (t *tolaria) pauseNow() error {
	t.enter(paused)
	d := time.Duration(t.pause.wanted.MaxDurationMs) * time.Millisecond
	t.pause.serial++
	t.env.Clock.SetTimer("pause", t.pause.serial, d)
	t.pause.open, t.pause.until = true, t.env.Clock.Monotonic()+d
	t.env.Facts.Record(&evidencev2.PauseFact{PauseId: t.pause.id, Subsystem: Subsystem, State: "PAUSED",
		MaxDurationNs: int64(d), Reason: t.pause.wanted.Reason})
	return t.announce(eventsv2.EpochPhase_PAUSED, t.epoch)
}

func (t *tolaria) resume(why string) error {
	t.unpause(why)
	if err := t.announce(eventsv2.EpochPhase_RESUMED, t.epoch); err != nil {
		return err
	}
	return t.startEpoch()
}

func (t *tolaria) unpause(why string) {
	t.pause.wanted, t.pause.open, t.pause.until = nil, false, 0
	t.pause.serial++
	t.env.Facts.Record(&evidencev2.PauseFact{PauseId: t.pause.id, Subsystem: Subsystem, State: "RUNNING", Reason: why})
}

// freezeFor is how long an emergency freezes training that nobody thaws.
const freezeFor = 10 * time.Second

// emergency takes a notice. CRITICAL is acknowledged at once, and training
// freezes when the step in flight has ended.
func (t *tolaria) emergency(from actor.ID, m *telemetryv2.EmergencyNotice) error {
	t.env.Log.Warn("emergency")
	switch m.Level {
	case telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL:
		t.env.Net.Send(from, &pausev2.PauseAck{PauseId: m.NoticeId, Subsystem: Subsystem, State: pausev2.PauseState_PAUSED,
			QuiescedAt: timestamppb.New(t.env.Clock.Now())}, actor.SendOptions{Key: "emergency-ack/" + m.NoticeId})
		if t.freeze == "" && t.phase != frozen {
			t.freeze = m.NoticeId // in a pause: when it is over
		}
	case telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_SEVERE:
		t.wish(&wish{reason: "emergency " + m.NoticeId + ": " + m.Reason, severity: "SEVERE", fast: true})
	case telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_MAJOR:
		t.wish(&wish{reason: "emergency " + m.NoticeId + ": " + m.Reason, severity: "MAJOR"})
	case telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_MINOR:
		if from == t.job.Kasmina && m.Action == telemetryv2.EmergencyAction_TUNE {
			t.shotNow = true // a seed breaks its isolation: what is still good is saved
		}
	}
	if t.want != nil && (t.phase == paused || t.phase == frozen) {
		return t.roll(t.phase)
	}
	return nil
}

// frost freezes training between two steps.
func (t *tolaria) frost() error {
	t.enter(frozen)
	t.pause.id, t.freeze = t.freeze, ""
	t.pause.serial++
	t.env.Clock.SetTimer("freeze", t.pause.serial, freezeFor)
	t.pause.until = t.env.Clock.Monotonic() + freezeFor
	t.env.Facts.Record(&evidencev2.ModeFact{Subsystem: Subsystem, From: t.mode.String(), To: "FROZEN", Reason: "emergency " + t.pause.id})
	t.mode = eventsv2.RunMode_FROZEN
	return nil
}

func (t *tolaria) thaw(why string) error {
	t.melt(why)
	return t.soon()
}

func (t *tolaria) melt(why string) {
	t.pause.serial++
	t.mode = eventsv2.RunMode_CONSERVATIVE
	t.inBudget = t.env.Clock.Monotonic()
	t.env.Facts.Record(&evidencev2.ModeFact{Subsystem: Subsystem, From: "FROZEN", To: "CONSERVATIVE", Reason: why})
}
