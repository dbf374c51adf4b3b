package tamiyo

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// quota is the pause quota of the last window.
type quota struct{ grants []grant }

type grant struct {
	at    time.Duration
	units int
}

// allow grants what may be granted of want, without granting it yet.
func (q *quota) allow(now time.Duration, want int) int {
	k, spent := 0, 0
	for k < len(q.grants) && now-q.grants[k].at >= job.PauseWindow {
		k++
	}
	q.grants = q.grants[:copy(q.grants, q.grants[k:])]
	for _, g := range q.grants {
		spent += g.units
	}
	return max(min(want, job.PausePerRequest, job.PauseQuota-spent), 0)
}

func (q *quota) take(now time.Duration, n int) { q.grants = append(q.grants, grant{now, n}) }

// checkToken says why a token permits nothing; "" if it does.
func checkToken(t *pausev2.PauseToken, key []byte, now time.Time) string {
	if t == nil {
		return "there is no token"
	}
	signature := t.Signature
	t.Signature = nil
	mac := hmac.New(sha256.New, key)
	mac.Write(t.AppendCanonical(nil))
	t.Signature = signature
	switch {
	case !hmac.Equal(mac.Sum(nil), signature):
		return "the token has no valid signature"
	case t.TokenId == "" || t.Principal == "":
		return "the token names neither itself nor its principal"
	case t.Role != "operator" && t.Role != "admin":
		return fmt.Sprintf("the role %q may not pause", t.Role)
	case !t.ExpiresAt.IsValid() || !t.ExpiresAt.AsTime().After(now):
		return "the token has expired"
	case t.IssuedAt.IsValid() && t.IssuedAt.AsTime().After(now.Add(job.MaxClockSkew)):
		return "the token is of the future"
	}
	return ""
}

// checkPause says why a request is denied; "" if its token permits it.
func checkPause(m *pausev2.PauseRequest, key []byte, run string, now time.Time) string {
	if why := checkToken(m.Token, key, now); why != "" {
		return why
	}
	d, err := durations.Budget(m.MaxDuration)
	switch {
	case m.PauseId == "":
		return "the pause has no id"
	case m.TrainingRunId != "" && m.TrainingRunId != run:
		return fmt.Sprintf("this is run %q", run)
	case m.Scope != pausev2.Scope_RUN || len(m.Seeds) > 0:
		return "only a whole run can be paused"
	case err != nil || d < time.Millisecond || d/time.Millisecond > math.MaxInt32:
		return "a pause without an end is none"
	case m.Token.MaxDuration != nil && !durations.Within(m.MaxDuration, m.Token.MaxDuration):
		permitted, _ := durations.To(m.Token.MaxDuration) // shorter than the pause, so it is one
		return fmt.Sprintf("the token permits %v", permitted)
	}
	return ""
}

// pause answers a request, and publishes it as a command if it is granted. A
// request that comes again gets the answer it got.
func (t *tamiyo) pause(from actor.ID, m *pausev2.PauseRequest) {
	a := &pausev2.PauseAck{PauseId: m.PauseId, Subsystem: Subsystem, State: pausev2.PauseState_PAUSING}
	now := t.env.Clock.Now()
	why := checkPause(m, t.job.Key[:], t.job.RunID, now)
	if why == "" {
		if used := t.journal.tokens[m.Token.TokenId]; used == m.PauseId && used != "" {
			// It was granted, maybe by a life that told nobody. One without memory of
			// the run cannot say for which epoch, and is asked again.
			switch {
			case t.granted.GetPauseId() == m.PauseId:
				t.answerPause(from, t.granted)
			case t.p.works():
				t.grant(from, m, a, t.journal.quotas[m.PauseId], now)
			}
			return
		} else if used != "" {
			why = "the token was used before"
		}
	}
	want := 0
	if why == "" {
		want = int(m.Token.QuotaUnits)
		if want == 0 {
			want = job.PausePerRequest
		}
		if want = t.quota.allow(t.env.Clock.Monotonic(), want); want == 0 {
			why = "the quota of this minute is spent"
		}
	}
	if why == "" && !t.p.works() {
		why = "a rollback is under way"
	}
	if why == "" && !t.journal.write(&statev2.TamiyoRecord{PauseId: m.PauseId, TokenId: m.Token.TokenId, Granted: uint32(want)}) {
		why = "the log takes nothing"
	}
	if why != "" {
		a.State, a.Reason = pausev2.PauseState_DENIED, why
		t.pauseFact(m.PauseId, "DENIED", 0, why)
		t.answerPause(from, a)
		return
	}
	t.quota.take(t.env.Clock.Monotonic(), want)
	t.grant(from, m, a, uint32(want), now)
}

// grant publishes a pause that the log knows to be granted, and answers.
func (t *tamiyo) grant(from actor.ID, m *pausev2.PauseRequest, a *pausev2.PauseAck, units uint32, now time.Time) {
	d, _ := durations.Budget(m.MaxDuration) // checkPause has read it
	t.pausedUntil = t.env.Clock.Monotonic() + d
	token := m.Token.AppendCanonical(nil)
	t.pauseBoth("pause/"+m.PauseId, &adaptationv2.PauseCommand{Pause: true, MaxDurationMs: int32(d / time.Millisecond),
		Reason: "pause " + m.PauseId + ": " + m.Reason, PauseToken: token})
	a.GrantedQuota, a.EndsAt = units, timestamppb.New(now.Add(d))
	t.granted = a
	t.pauseFact(m.PauseId, "PAUSING", d, m.Reason)
	t.answerPause(from, a)
}

// resume publishes the end of a pause. Its token must be good, and may be the
// one of the pause: an end is no new grant.
func (t *tamiyo) resume(from actor.ID, m *pausev2.ResumeRequest) {
	a := &pausev2.PauseAck{PauseId: m.PauseId, Subsystem: Subsystem, State: pausev2.PauseState_RESUMING}
	why := checkToken(m.Token, t.job.Key[:], t.env.Clock.Now())
	if why == "" && m.PauseId == "" {
		why = "no pause is named"
	}
	if why != "" {
		a.State, a.Reason = pausev2.PauseState_DENIED, why
	} else {
		t.pausedUntil = 0
		t.pauseBoth("resume/"+m.PauseId, &adaptationv2.PauseCommand{Reason: "resume " + m.PauseId + ": " + m.Reason,
			PauseToken: m.Token.AppendCanonical(nil)})
	}
	t.pauseFact(m.PauseId, a.State.String(), 0, why)
	t.answerPause(from, a)
}

func (t *tamiyo) pauseBoth(id string, p *adaptationv2.PauseCommand) {
	for _, s := range []struct{ name, topic string }{{"tolaria", toTolaria}, {"kasmina", toKasmina}} {
		t.publish(s.topic, &adaptationv2.AdaptationCommand{CommandId: id + "/" + s.name,
			Command: &adaptationv2.AdaptationCommand_Pause{Pause: p}})
	}
}

func (t *tamiyo) answerPause(to actor.ID, a *pausev2.PauseAck) {
	t.env.Net.Send(to, a, actor.SendOptions{Key: "pause-ack/" + a.PauseId + "/" + a.State.String()})
}

func (t *tamiyo) pauseFact(id, state string, d time.Duration, why string) {
	t.env.Facts.Record(&evidencev2.PauseFact{PauseId: id, Subsystem: Subsystem, State: state, MaxDurationNs: int64(d), Reason: why})
}
