package kasmina

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/job"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
)

// pause is the state of a pause and what pauses may still cost.
type pause struct {
	on     bool
	id     string // of the command
	serial int64
	left   int // identity calls that this pause may still make
	grants []grant
}

type grant struct {
	at    time.Duration
	units int
}

// allow grants up to want identity calls, within the cap of the window.
func (p *pause) allow(now time.Duration, want int) int {
	k, spent := 0, 0
	for k < len(p.grants) && now-p.grants[k].at >= job.PauseWindow {
		k++
	}
	p.grants = p.grants[:copy(p.grants, p.grants[k:])]
	for _, g := range p.grants {
		spent += g.units
	}
	n := max(min(want, job.PausePerRequest, job.PauseQuota-spent), 0)
	if n > 0 {
		p.grants = append(p.grants, grant{now, n})
	}
	return n
}

func isResume(c *adaptationv2.AdaptationCommand) bool {
	p, ok := c.Command.(*adaptationv2.AdaptationCommand_Pause)
	return ok && !p.Pause.Pause
}

// atOnce carries out a resume that came in a pause; everything else waits for
// a boundary.
func (k *kasmina) atOnce() error {
	if !k.pause.on || k.crossed < 0 {
		return nil
	}
	for _, c := range k.desk.Due(k.crossed, k.part.gen, nil, isResume) {
		k.pauseCommand(c, c.M.GetPause(), k.crossed)
	}
	return k.flush()
}

func (k *kasmina) pauseCommand(c *command.Command, m *adaptationv2.PauseCommand, epoch int64) {
	status, why, effect := adaptationv2.CommandStatus_APPLIED, "", "resume"
	switch {
	case !m.Pause:
		if k.pause.on {
			k.resume("by command " + c.M.CommandId)
		}
	case k.pause.on:
		status, why = adaptationv2.CommandStatus_REJECTED, "it is paused already"
	default:
		t, err := command.Token(m, k.job.Key[:], k.env.Clock.Now(), job.MaxClockSkew)
		if err != nil {
			status, why = adaptationv2.CommandStatus_REJECTED, err.Error()
			break
		}
		want := int(t.QuotaUnits)
		if want == 0 {
			want = job.PausePerRequest
		}
		left := k.pause.allow(k.env.Clock.Monotonic(), want)
		if left == 0 {
			status, why = adaptationv2.CommandStatus_REJECTED, "the pause quota is spent"
			break
		}
		effect = "pause"
		d := time.Duration(m.MaxDurationMs) * time.Millisecond
		k.pause.on, k.pause.id, k.pause.left = true, c.M.CommandId, left
		k.pause.serial++
		k.env.Clock.SetTimer("pause", k.pause.serial, d)
		k.pauseFact("PAUSED", d, m.Reason)
	}
	if status != adaptationv2.CommandStatus_APPLIED {
		effect = ""
	}
	k.desk.Settle(c, status, epoch, k.part.gen, effect, why)
}

// spend pays for a layer that passed its input through.
func (k *kasmina) spend(int) {
	if k.pause.left--; k.pause.left <= 0 {
		k.resume("its quota is spent")
	}
}

func (k *kasmina) resume(why string) {
	k.pause.on = false
	k.pause.serial++
	// The kernels compute again: what they train must be theirs (0.8).
	if err := k.register(); err != nil {
		k.lost = true
	}
	k.pauseFact("RUNNING", 0, why)
}

func (k *kasmina) pauseFact(state string, d time.Duration, why string) {
	k.env.Facts.Record(&evidencev2.PauseFact{PauseId: k.pause.id, Subsystem: Subsystem, State: state,
		MaxDurationNs: int64(d), Reason: why})
}

func pauseAck(id string) *pausev2.PauseAck {
	return &pausev2.PauseAck{PauseId: id, Subsystem: Subsystem, State: pausev2.PauseState_PAUSED, QuiescedAt: &timestamppb.Timestamp{}}
}
