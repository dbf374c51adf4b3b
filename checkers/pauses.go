package checkers

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// pauses judges A5 and A6: that pauses begin with a valid token, end in time,
// and hold still what they stop; and that an emergency freezes training, which
// is a pause that nobody asked for, whatever holds training when it comes.
type pauses struct {
	p      Params
	life   downtime
	tokens recent[grant] // command id to what its token grants
	paused map[string]*pause
	kinds  recent[string] // command id to what it asks for
	input  map[int32][]float32
	early  map[string]*pause // ended before their time, by nothing that may end one so far
	ended  map[string]bool   // nodes that were told to resume or rolled back since they paused
	// Modes as they were declared, by node, and those that an event must name, by
	// what the event is about.
	mode   map[string]string
	named  map[string]string
	alarms map[string]alarm
	last   int64
	owed   *freeze // what Tolaria has acknowledged, and has not frozen for yet

	asked   map[string]*pausev2.PauseToken // pause id to the token of its newest request
	resumes map[string]*pausev2.PauseToken // the same of requests to resume
	used    map[string]string              // token id to the pause that was granted with it
	told    map[string]uint32              // pause ids that were granted, with the quota

	// Of Tamiyo's present life: the topics and tokens of the pauses that it has
	// published, and the pauses that it has told to be granted.
	issued   map[string]bool
	granting []granting
}

// granting is a pause as it was told to whoever asked for it.
type granting struct {
	pause, token string
	at           int64
	seq          uint64
}

// alarm is a CRITICAL notice that a node was given and has to acknowledge.
type alarm struct {
	node  string
	at    int64
	stood int64
	seq   uint64
}

// alarmed are who acknowledges a CRITICAL notice, and within what time.
var alarmed = []string{"tolaria", "kasmina", "tamiyo"}

// freeze is one that Tolaria owes: the step in flight may end before it.
type freeze struct {
	notice string
	seq    uint64
	steps  int
}

const alarmTime = int64(90 * time.Millisecond)

// grant is what a pause command and its token allow.
type grant struct {
	valid bool
	limit int64 // ns; 0: neither says
}

type pause struct {
	id      string
	seq     uint64
	since   int64
	limit   int64 // 0: not declared
	stood   int64
	claimed bool
}

// pauseSlack is what a node may take to notice that a pause is over: its step
// in flight, and mail.
const pauseSlack = int64(500 * time.Millisecond)

func newPauses(p Params) Checker {
	return &pauses{p: p, life: newDowntime(), paused: map[string]*pause{}, input: map[int32][]float32{},
		early: map[string]*pause{}, ended: map[string]bool{}, mode: map[string]string{}, named: map[string]string{}, alarms: map[string]alarm{},
		asked: map[string]*pausev2.PauseToken{}, resumes: map[string]*pausev2.PauseToken{}, used: map[string]string{}, told: map[string]uint32{}, issued: map[string]bool{}}
}

func (*pauses) Invariants() []string { return []string{"A5", "A6"} }

func (c *pauses) Observe(e *Event, j *Judge) {
	if c.life.observe(e) {
		// No pause or mode survives its process.
		delete(c.paused, e.Node)
		delete(c.early, e.Node)
		delete(c.mode, e.Node)
		switch e.Node {
		case "tolaria":
			c.owed = nil
		case "tamiyo":
			clear(c.issued)
			c.granting = c.granting[:0]
		}
		for _, k := range slices.Sorted(maps.Keys(c.alarms)) {
			if c.alarms[k].node == e.Node {
				delete(c.alarms, k)
			}
		}
		return
	}
	c.last = e.At
	c.overdue(e, j)
	switch e.Kind {
	case trace.MessageSent:
		c.command(e.Mail, e.At)
		if e.Node == "tamiyo" {
			c.publishes(e.Mail)
		}
		if m, ok := e.Mail.Payload.(*pausev2.PauseAck); ok && m.Subsystem == "tamiyo" {
			c.answered(e, m, j)
		}
		switch m := e.Mail.Payload.(type) {
		case *pausev2.PauseAck:
			if k := e.Node + "/" + m.PauseId; c.alarms[k].seq != 0 {
				if e.Node == "tolaria" && c.mode[e.Node] != frozen && c.owed == nil {
					c.owed = &freeze{notice: m.PauseId, seq: c.alarms[k].seq}
				}
				delete(c.alarms, k)
				j.Judged("A6")
			}
		case *eventsv2.EpochEvent:
			c.event(e, m, j)
		}
		if m, ok := e.Mail.Payload.(*trainingv2.ForwardReply); ok {
			if p := c.paused[e.Node]; p != nil && m.Status == trainingv2.ReplyStatus_OK {
				if in := c.input[m.LayerId]; len(in) == len(m.Activations) && !sameBits(in, m.Activations) {
					j.Violate("A6", e.Node, fmt.Sprintf("paused, and its layer %d changes what passes through", m.LayerId), p.seq)
				} else {
					j.Judged("A6")
				}
			}
		}
	case trace.MessageDelivered:
		if e.Inner != nil { // it may never have been on the bus
			c.command(e.Inner, e.At)
		}
		switch m := e.Mail.Payload.(type) {
		case *pausev2.PauseRequest:
			c.asked[m.PauseId] = copyOf(m.Token)
		case *pausev2.ResumeRequest:
			c.resumes[m.PauseId] = copyOf(m.Token)
		}
		if m, ok := e.Mail.Payload.(*trainingv2.ForwardRequest); ok {
			c.input[m.LayerId] = append(c.input[m.LayerId][:0], m.Activations...)
		}
		if m, ok := e.Mail.Payload.(*telemetryv2.EmergencyNotice); ok && m.Level == telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL && slices.Contains(alarmed, e.Peer) {
			c.alarms[e.Peer+"/"+m.NoticeId] = alarm{e.Peer, e.At, c.life.stood(e.Peer, e.At), e.Seq}
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.PauseFact:
			c.fact(e, f, j)
		case *evidencev2.CommandFact:
			if f.Status != "APPLIED" {
				break
			}
			k, _ := c.kinds.get(f.CommandId)
			allowed := k == "" || k == "pause" || k == "rollback"
			if allowed {
				c.ended[e.Node] = true
				delete(c.early, e.Node)
			}
			p := c.paused[e.Node]
			switch {
			case p == nil && c.mode[e.Node] != frozen:
			case allowed:
				j.Judged("A6")
			case p != nil:
				j.Violate("A6", e.Node, fmt.Sprintf("paused, and carries out the command %s (%s)", f.CommandId, k), p.seq)
			default:
				j.Violate("A6", e.Node, fmt.Sprintf("frozen, and carries out the command %s (%s)", f.CommandId, k))
			}
		case *evidencev2.RollbackFact:
			c.ended[e.Node] = true
			delete(c.early, e.Node)
			if f.Step == evidencev2.RollbackStep_RB_CONFIRMED && f.Subsystem == "tolaria" {
				c.names(fmt.Sprint("ROLLED_BACK ", f.Generation), e.Node)
			}
			if f.Step == evidencev2.RollbackStep_RB_DONE && e.Node == "tolaria" {
				c.owed = nil // training begins anew from a state before the emergency
			}
		case *evidencev2.EpochFact:
			c.names(fmt.Sprint("COMPLETED ", f.Generation, " ", f.Epoch), e.Node)
		case *evidencev2.ModeFact:
			c.moded(e, f, j)
		case *evidencev2.StepFact:
			if p := c.early[e.Node]; p != nil {
				delete(c.early, e.Node)
				j.Violate("A6", e.Node, fmt.Sprintf("it trains on %v after the pause %s began, which was granted %v, and nothing was carried out that ends one", time.Duration(e.At-p.since), p.id, time.Duration(p.limit)), p.seq)
			}
			if c.mode[e.Node] == frozen {
				j.Violate("A6", e.Node, fmt.Sprintf("frozen, and trains step %d of epoch %d", f.Step.GetStep(), f.Step.GetEpoch()))
			}
			if o := c.owed; o != nil {
				if o.steps++; o.steps > 1 {
					c.owed = nil
					j.Violate("A6", e.Node, fmt.Sprintf("it has acknowledged the notice %s, and trains step %d of epoch %d without having frozen", o.notice, f.Step.GetStep(), f.Step.GetEpoch()), o.seq)
				}
			}
		}
	}
}

const (
	normal = "NORMAL"
	frozen = "FROZEN"
)

// moded follows the modes: each change begins where the one before ended.
func (c *pauses) moded(e *Event, f *evidencev2.ModeFact, j *Judge) {
	now := c.mode[e.Node]
	if now == "" {
		now = normal
	}
	c.mode[e.Node] = f.To
	if f.From != now {
		j.Violate("A6", e.Node, fmt.Sprintf("its mode goes from %s to %s (%s), and was %s", f.From, f.To, f.Reason, now))
		return
	}
	if now == frozen {
		j.Judged("A6")
	}
	if f.To == frozen && c.owed != nil {
		c.owed = nil
		j.Judged("A6")
	}
}

// names notes the mode that the event about something must name.
func (c *pauses) names(what, node string) {
	if len(c.named) > remembered {
		clear(c.named)
	}
	c.named[what] = c.mode[node]
}

// event judges that an epoch event names the mode that Tolaria was in.
func (c *pauses) event(e *Event, m *eventsv2.EpochEvent, j *Judge) {
	what := ""
	switch m.Phase {
	case eventsv2.EpochPhase_COMPLETED:
		what = fmt.Sprint("COMPLETED ", m.RollbackGeneration, " ", m.Epoch)
	case eventsv2.EpochPhase_ROLLED_BACK:
		what = fmt.Sprint("ROLLED_BACK ", m.RollbackGeneration)
	}
	mode, known := c.named[what]
	if !known {
		return
	}
	if mode == "" {
		mode = normal
	}
	if delete(c.named, what); m.Mode.String() != mode {
		j.Violate("A6", e.Node, fmt.Sprintf("the event %s of epoch %d names the mode %v, and it was %s", m.Phase, m.Epoch, m.Mode, mode))
	}
}

// command notes what a command asks for, and what its token grants.
func (c *pauses) command(mail *wire.Mail, at int64) {
	m, ok := mail.Payload.(*adaptationv2.AdaptationCommand)
	if !ok {
		return
	}
	c.kinds.put(m.CommandId, armOf(m))
	if p := m.GetPause(); p != nil && p.Pause {
		if _, again := c.tokens.get(m.CommandId); !again {
			c.tokens.put(m.CommandId, c.granted(p, at))
		}
	}
}

// copyOf is a token that outlives its message.
func copyOf(t *pausev2.PauseToken) *pausev2.PauseToken {
	own := new(pausev2.PauseToken)
	if t == nil || own.ParseCanonical(t.AppendCanonical(nil)) != nil {
		return nil
	}
	return own
}

// publishes notes the pauses that Tamiyo publishes, by whom they are for and the
// token that they carry.
func (c *pauses) publishes(mail *wire.Mail) {
	m, _ := mail.Payload.(*adaptationv2.AdaptationCommand)
	t := new(pausev2.PauseToken)
	if p := m.GetPause(); !p.GetPause() || t.ParseCanonical(slices.Clone(p.PauseToken)) != nil {
		return
	}
	if len(c.issued) > remembered {
		clear(c.issued)
	}
	c.issued[mail.Envelope.Topic+" "+t.TokenId] = true
}

// holders are the topics that a pause is published on.
var holders = []string{"control.tolaria.commands", "control.kasmina.commands"}

// answered judges what Tamiyo answers to operators: it grants for a valid token
// only, for one pause each, and what it has granted it does not deny, nor grant
// with another quota.
func (c *pauses) answered(e *Event, m *pausev2.PauseAck, j *Judge) {
	switch m.State {
	case pausev2.PauseState_PAUSING:
		t := c.asked[m.PauseId]
		switch was := c.used[t.GetTokenId()]; {
		case t == nil || !c.good(t, e.At, c.p.MaxSkew+time.Second):
			j.Violate("A5", e.Node, fmt.Sprintf("it grants the pause %s, whose token is not valid", m.PauseId))
			return
		case was != "" && was != m.PauseId:
			j.Violate("A5", e.Node, fmt.Sprintf("it grants the pause %s for a token that was used for the pause %s", m.PauseId, was))
			return
		}
		if len(c.used) > remembered {
			clear(c.used)
			clear(c.told)
		}
		if quota, again := c.told[m.PauseId]; again && quota != m.GrantedQuota {
			j.Violate("A5", e.Node, fmt.Sprintf("it grants the pause %s with a quota of %d, and has granted it %d before", m.PauseId, m.GrantedQuota, quota))
			return
		}
		c.used[t.TokenId], c.told[m.PauseId] = m.PauseId, m.GrantedQuota
		if len(c.granting) < remembered {
			c.granting = append(c.granting, granting{m.PauseId, t.TokenId, e.At, e.Seq})
		}
		j.Judged("A5")
	case pausev2.PauseState_RESUMING:
		if t := c.resumes[m.PauseId]; t == nil || !c.good(t, e.At, c.p.MaxSkew+time.Second) {
			j.Violate("A5", e.Node, fmt.Sprintf("it resumes the pause %s, and the token is not valid", m.PauseId))
			return
		}
		j.Judged("A5")
	case pausev2.PauseState_DENIED:
		// A request to resume is answered by the same message.
		_, granted := c.told[m.PauseId]
		if t := c.asked[m.PauseId]; granted && c.resumes[m.PauseId] == nil && t != nil && c.good(t, e.At, -c.p.MaxSkew-time.Second) {
			j.Violate("A5", e.Node, fmt.Sprintf("it has granted the pause %s, and denies it when the request comes again: %s", m.PauseId, m.Reason))
		}
	}
}

// good says whether a token permits its bearer to pause, by clocks that are
// wrong by as much as margin in its favour.
func (c *pauses) good(t *pausev2.PauseToken, now int64, margin time.Duration) bool {
	at := c.p.WallStart.Add(time.Duration(now))
	expired := t.ExpiresAt != nil && at.Sub(t.ExpiresAt.AsTime()) > margin
	early := t.IssuedAt != nil && t.IssuedAt.AsTime().Sub(at) > time.Minute+margin
	return !expired && !early && (t.Role == "operator" || t.Role == "admin") && c.signed(t)
}

// armOf names what a command asks for.
func armOf(m *adaptationv2.AdaptationCommand) string {
	switch {
	case m.GetLrUpdate() != nil:
		return "learning rate"
	case m.GetSeedActivation() != nil:
		return "seed activation"
	case m.GetArchChange() != nil:
		return "architecture"
	case m.GetRollback() != nil:
		return "rollback"
	case m.GetPause() != nil:
		return "pause"
	case m.GetSeedLifecycle() != nil:
		return "seed"
	}
	return ""
}

// granted reads the token of a pause command: whether the key signed it, for
// somebody who may pause, for the present, and for how long.
func (c *pauses) granted(p *adaptationv2.PauseCommand, now int64) grant {
	g := grant{limit: int64(p.MaxDurationMs) * int64(time.Millisecond)}
	t := new(pausev2.PauseToken)
	if t.ParseCanonical(slices.Clone(p.PauseToken)) != nil {
		return g
	}
	if d, err := durations.To(t.MaxDuration); err == nil && d > 0 && (g.limit == 0 || int64(d) < g.limit) {
		g.limit = int64(d)
	}
	g.valid = c.good(t, now, c.p.MaxSkew+time.Second)
	return g
}

// signed says whether the key signed a token.
func (c *pauses) signed(t *pausev2.PauseToken) bool {
	if c.p.Key == nil {
		return true
	}
	sig := slices.Clone(t.Signature)
	t.Signature = nil
	mac := hmac.New(sha256.New, c.p.Key)
	mac.Write(t.AppendCanonical(nil))
	return hmac.Equal(sig, mac.Sum(nil))
}

func (c *pauses) fact(e *Event, f *evidencev2.PauseFact, j *Judge) {
	switch f.State {
	case "PAUSED":
		if c.paused[e.Node] != nil {
			return
		}
		g, _ := c.tokens.get(f.PauseId)
		if !g.valid {
			j.Violate("A5", e.Node, fmt.Sprintf("it pauses for %s, for which no valid token was seen", f.PauseId))
		}
		delete(c.early, e.Node)
		delete(c.ended, e.Node)
		c.paused[e.Node] = &pause{id: f.PauseId, seq: e.Seq, since: e.At, limit: c.limit(g, f), stood: c.life.stood(e.Node, e.At)}
	case "RUNNING":
		if p := c.paused[e.Node]; p != nil {
			j.Judged("A5")
			delete(c.paused, e.Node)
			// Kasmina may end its own part, when its quota is spent: what holds
			// training is Tolaria's.
			if e.Node == "tolaria" && !c.ended[e.Node] && p.limit != 0 && e.At-p.since < p.limit-p.limit/1e6*c.p.Drift-int64(time.Millisecond) {
				c.early[e.Node] = p
			}
		}
	}
}

// limit is how long a pause may last: what was granted, whatever is claimed.
func (*pauses) limit(g grant, f *evidencev2.PauseFact) int64 {
	if g.limit == 0 || f.MaxDurationNs > 0 && f.MaxDurationNs < g.limit {
		return f.MaxDurationNs
	}
	return g.limit
}

// overdue looks whether a pause has outlived its time, or a notice its own.
func (c *pauses) overdue(e *Event, j *Judge) {
	if len(c.alarms) > 0 {
		for _, k := range slices.Sorted(maps.Keys(c.alarms)) {
			if a := c.alarms[k]; e.At-a.at > alarmTime+c.life.stood(a.node, e.At)-a.stood {
				delete(c.alarms, k)
				j.Violate("A6", a.node, fmt.Sprintf("it was given the notice %s, and has not acknowledged it for %v", k, time.Duration(e.At-a.at)), a.seq)
			}
		}
	}
	if len(c.paused) == 0 {
		return
	}
	for _, node := range slices.Sorted(maps.Keys(c.paused)) {
		p := c.paused[node]
		if p.limit == 0 || p.claimed {
			continue
		}
		allowed := p.limit + p.limit/1e6*c.p.Drift + pauseSlack + c.life.stood(node, e.At) - p.stood
		if e.At-p.since > allowed {
			p.claimed = true
			j.Violate("A5", node, fmt.Sprintf("the pause %s lasts %v; it was granted %v", p.id, time.Duration(e.At-p.since), time.Duration(p.limit)), p.seq)
		}
	}
}

// unpublished is how long what is granted may wait in Tamiyo's outbox, behind
// commands that the bus has not acknowledged, once the faults are over.
const unpublished = int64(10 * time.Second)

// Finish looks for pauses that were granted and that nobody was told to make.
func (c *pauses) Finish(j *Judge) {
	for _, g := range c.granting {
		if c.last-g.at <= unpublished || c.p.Settled == nil || !c.p.Settled(g.at) {
			continue
		}
		for _, topic := range holders {
			if !c.issued[topic+" "+g.token] {
				j.Violate("A5", "tamiyo", fmt.Sprintf("it has granted the pause %s, and has not published it on %s", g.pause, topic), g.seq)
				return
			}
		}
		j.Judged("A5")
	}
}
