package checkers

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// rollbacks judges T3, T4 and L1.
type rollbacks struct {
	p      Params
	life   downtime
	active *rollback
	orphan *rollback                          // begun by a life of Tolaria that died before it decided
	at     map[string]position                // by subsystem
	held   map[string]*hold                   // subsystems that are PREPARED or FENCED
	left   map[string]*rollback               // participants that a rollback was done without
	stale  map[string]string                  // commands that such a participant sent, and the rollback
	over   map[string]evidencev2.RollbackStep // how rollbacks ended, by the coordinator
	failed int                                // rollbacks in a row that this coordinator aborted
	since  int64                              // when it aborted the last of them
	last   int64

	// Who is to blame when the loss explodes: the seed grafted last, as Kasmina
	// has told Tolaria.
	stages          map[[2]int32]telemetryv2.SeedStage
	told            int64 // the epoch of the latest boundary that it was told at
	grafted, newest *telemetryv2.SeedRef
	blamed          string // the rollback that has a culprit
	// The least loss since the state that is trained on was restored, and whether
	// any was out of all proportion to it.
	least    float64
	exploded bool
}

// rollback is one attempt from STARTED to its end.
type rollback struct {
	id       string
	tier     string
	began    int64
	seq      uint64
	stood    int64
	restored []string
	target   position
	decided  bool
	late     bool
	order    []string // who takes part, by the decision as it was sent
}

// position is where a subsystem stands after a restore.
type position struct {
	epoch int64
	gen   uint32
	root  string
	seq   uint64
	known bool
}

// hold is a participant that has promised to wait for the decision.
type hold struct {
	id     string
	since  int64
	stood  int64
	limit  int64
	fenced bool
	seq    uint64
}

// How long a participant may stay PREPARED (digest 0.7): the phases' limits of
// the tier, and mail.
const (
	fastHold     = int64(500*time.Millisecond + 500*time.Millisecond)
	fullHold     = int64(7*time.Second + 3*time.Second)
	rollbackTime = int64(30 * time.Second)
)

func newRollbacks(p Params) Checker {
	return &rollbacks{p: p, life: newDowntime(), at: map[string]position{}, held: map[string]*hold{}, left: map[string]*rollback{}, stale: map[string]string{},
		over: map[string]evidencev2.RollbackStep{}, stages: map[[2]int32]telemetryv2.SeedStage{}}
}

func (*rollbacks) Invariants() []string { return []string{"T3", "T4", "L1"} }

func (c *rollbacks) Observe(e *Event, j *Judge) {
	c.last = e.At
	if c.life.observe(e) {
		delete(c.held, e.Node)
		delete(c.at, e.Node)
		if e.Node == "tolaria" {
			c.failed = 0
			clear(c.stages)
			c.told, c.grafted, c.newest, c.blamed = -1, nil, nil, ""
			c.least, c.exploded = 0, false
		}
		if e.Node == "tolaria" && c.active != nil {
			c.active.stood = 0 // its own limit begins anew with the restart
			if !c.active.decided {
				// Without a COMMIT in the log there was no decision: the rollback
				// died with its coordinator.
				// The next life finds it in its log, and ends it before it begins another.
				c.orphan, c.active = c.active, nil
			}
		}
		return
	}
	c.overdue(e, j)
	switch e.Kind {
	case trace.MessageSent:
		c.sent(e, j)
	case trace.MessageDelivered:
		if m, ok := e.Mail.Payload.(*trainingv2.BoundaryReply); ok && m.Status == trainingv2.ReplyStatus_OK && m.Epoch > c.told {
			c.told, c.grafted = m.Epoch, nil
			for _, u := range m.Seeds {
				k := [2]int32{u.Seed.GetLayerId(), u.Seed.GetSeedId()}
				if u.Stage == telemetryv2.SeedStage_GRAFTING && c.stages[k] != u.Stage {
					c.grafted = &telemetryv2.SeedRef{LayerId: k[0], SeedId: k[1]}
				}
				c.stages[k] = u.Stage
			}
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.EpochFact:
			if f.KasminaJoined && f.Epoch == c.told && c.grafted != nil {
				c.newest = c.grafted
			}
		case *evidencev2.RollbackFact:
			c.fact(e, f, j)
		case *evidencev2.StepFact:
			c.step(e, f, j)
		case *evidencev2.CommandFact:
			if r, ok := c.stale[f.CommandId]; ok && f.Status == "APPLIED" {
				j.Violate("T3", e.Node, fmt.Sprintf("it obeys the command %s of a Tamiyo that the rollback %s was done without, and that had not restored", f.CommandId, r))
			}
		}
	}
}

// works judges that who is prepared or fenced does no work.
func (c *rollbacks) works(e *Event, what string, j *Judge) {
	if h := c.held[e.Node]; h != nil {
		standing := "prepared for"
		if h.fenced {
			standing = "fenced in"
		}
		j.Violate("T4", e.Node, fmt.Sprintf("%s the rollback %s, and %s", standing, h.id, what), h.seq)
	}
}

func names(list []*telemetryv2.SeedRef, s *telemetryv2.SeedRef) bool {
	return s != nil && slices.ContainsFunc(list, func(r *telemetryv2.SeedRef) bool { return r.LayerId == s.LayerId && r.SeedId == s.SeedId })
}

// sent judges from outputs: who is fenced does no work, and an acknowledgement
// says where its sender stands.
func (c *rollbacks) sent(e *Event, j *Judge) {
	switch m := e.Mail.Payload.(type) {
	case *trainingv2.ForwardReply:
		if m.Status == trainingv2.ReplyStatus_OK {
			c.works(e, "takes part in a step", j)
		}
	case *trainingv2.BackwardReply:
		if m.Status == trainingv2.ReplyStatus_OK {
			c.works(e, "takes part in a step", j)
		}
	case *trainingv2.BoundaryReply:
		if m.Status == trainingv2.ReplyStatus_OK {
			c.works(e, fmt.Sprintf("crosses into epoch %d", m.Epoch), j)
		}
	case *trainingv2.RestorePart:
		// The seed grafted last is that of the boundary before, if Tolaria heard of
		// it in time.
		if m.RollbackId == c.blamed && !names(m.Culprits, c.newest) && !names(m.Culprits, c.grafted) {
			j.Violate("T3", e.Node, fmt.Sprintf("in the rollback %s, because the loss exploded, the seed %d/%d is not named, which was grafted last", m.RollbackId, c.newest.LayerId, c.newest.SeedId))
		}
	case *trainingv2.StatePart:
		c.works(e, "gives its part of "+m.CheckpointId, j)
	case *adaptationv2.AdaptationCommand:
		if r := c.left[e.Node]; r != nil && m.GetRollback() == nil && m.GetPause() == nil {
			// It cannot know yet; whoever hears it must not obey.
			if len(c.stale) > remembered {
				clear(c.stale)
			}
			c.stale[m.CommandId] = r.id
		}
	case *rollbackv2.RollbackDecision:
		if m.Decision == rollbackv2.Decision_COMMIT && c.active != nil && m.RollbackId == c.active.id && len(c.active.order) == 0 {
			c.active.order = slices.Clone(m.Order)
		}
	case *rollbackv2.RollbackAck:
		if m.Phase == rollbackv2.Phase_RESTORED && m.Ok && c.active != nil && m.RollbackId == c.active.id {
			if t := c.active.target; t.known && (m.Epoch != t.epoch || t.root != "" && !bytes.Equal(m.Root, []byte(t.root))) {
				j.Violate("T3", e.Node, fmt.Sprintf("the rollback %s goes to epoch %d, and %s says it is at epoch %d", m.RollbackId, t.epoch, m.Subsystem, m.Epoch), t.seq)
			}
		}
	}
}

// hasty are the reasons for a rollback that wait for the next try of one that
// was aborted: a participant that is out of step stays so, and whoever is
// silent would be left out before he has had his time.
var hasty = []string{"is out of sync", "has lost its memory"}

// backoff is the least wait before a rollback is begun again after n in a row
// were aborted: 1 s, 2 s, 4 s and so on up to 10 s.
func backoff(n int) int64 {
	return min(int64(time.Second)<<min(n-1, 4), int64(10*time.Second))
}

func (c *rollbacks) fact(e *Event, f *evidencev2.RollbackFact, j *Judge) {
	if end, ended := c.over[f.RollbackId]; ended && f.Subsystem == "tolaria" && f.Step != end {
		j.Violate("T3", e.Node, fmt.Sprintf("the rollback %s ended %v, and goes on with %v", f.RollbackId, end, f.Step))
		return
	}
	switch f.Step {
	case evidencev2.RollbackStep_RB_STARTED:
		if strings.Contains(f.Reason, "the loss exploded") && c.failed == 0 && !c.exploded {
			j.Violate("T3", e.Node, fmt.Sprintf("the rollback %s begins because the loss exploded, and no loss was %d times as much as another", f.RollbackId, explosion))
		}
		if c.blamed = ""; c.newest != nil && strings.Contains(f.Reason, "the loss exploded") && c.failed == 0 {
			c.blamed = f.RollbackId
		}
		if n := c.failed; n > 0 && slices.ContainsFunc(hasty, func(s string) bool { return strings.Contains(f.Reason, s) }) {
			if waited := e.At - c.since; waited < backoff(n)-backoff(n)/1e6*c.p.Drift {
				j.Violate("T4", e.Node, fmt.Sprintf("the rollback %s begins %v after %d in a row were aborted, because %s", f.RollbackId, time.Duration(waited), n, f.Reason))
			}
		}
		if o := c.orphan; o != nil && o.id != f.RollbackId && !c.p.Damaged {
			j.Violate("T3", e.Node, fmt.Sprintf("the rollback %s begins, and %s, which a life before began, was never ended", f.RollbackId, o.id), o.seq)
		}
		c.orphan = nil
		if c.active != nil && c.active.id != f.RollbackId {
			j.Violate("T4", e.Node, fmt.Sprintf("the rollback %s begins while %s is under way", f.RollbackId, c.active.id), c.active.seq)
		}
		if c.active == nil || c.active.id != f.RollbackId {
			c.active = &rollback{id: f.RollbackId, tier: f.Tier, began: e.At, seq: e.Seq, stood: c.life.stood(e.Node, e.At)}
		}
	case evidencev2.RollbackStep_RB_PREPARED:
		if p, ok := c.at[f.Subsystem]; ok && f.Generation <= p.gen {
			j.Violate("T4", e.Node, fmt.Sprintf("it prepares for the rollback %s to generation %d, and is in generation %d", f.RollbackId, f.Generation, p.gen), p.seq)
		}
		limit := fullHold
		if f.Tier == "FAST" {
			limit = fastHold
		}
		c.held[e.Node] = &hold{id: f.RollbackId, since: e.At, stood: c.life.stood(e.Node, e.At), limit: limit, seq: e.Seq}
	case evidencev2.RollbackStep_RB_FENCED:
		if h := c.held[e.Node]; h != nil {
			h.fenced = true
			j.Judged("T4")
		} else {
			// Whoever has voted for nothing has nothing to wait for, and would
			// stand still without a reason.
			j.Violate("T4", e.Node, fmt.Sprintf("it is fenced in the rollback %s, which it is not prepared for", f.RollbackId))
		}
	case evidencev2.RollbackStep_RB_COMMITTED:
		if c.active != nil && c.active.id == f.RollbackId {
			c.active.decided = true
		}
	case evidencev2.RollbackStep_RB_RESTORED:
		c.restored(e, f, j)
	case evidencev2.RollbackStep_RB_ABORTED, evidencev2.RollbackStep_RB_FAILED, evidencev2.RollbackStep_RB_DONE:
		c.ended(e, f, j)
	}
}

// before says whether one subsystem restores before another: Tamiyo, Kasmina,
// Tolaria, then the others by their names.
func before(a, b string) bool {
	order := []string{"tamiyo", "kasmina", "tolaria"}
	i, k := slices.Index(order, a), slices.Index(order, b)
	if i < 0 && k < 0 {
		return a < b
	}
	return i >= 0 && (k < 0 || i < k)
}

func (c *rollbacks) restored(e *Event, f *evidencev2.RollbackFact, j *Judge) {
	if h := c.held[e.Node]; h != nil {
		delete(c.held, e.Node)
		j.Judged("T4")
	}
	if f.Subsystem == "tolaria" {
		c.told, c.grafted, c.newest, c.blamed = -1, nil, nil, ""
		c.least, c.exploded = 0, false
	}
	pos := position{f.Epoch, f.Generation, string(f.Root), e.Seq, true}
	c.at[f.Subsystem] = pos
	delete(c.left, f.Subsystem)
	r := c.active
	if r == nil || r.id != f.RollbackId {
		return // the decision of an earlier rollback, learned late
	}
	if !r.target.known {
		r.target = pos
	} else if r.target.epoch != pos.epoch || r.target.gen != pos.gen || r.target.root != pos.root {
		j.Violate("T3", e.Node, fmt.Sprintf("in the rollback %s %s goes to epoch %d of generation %d, and another went to epoch %d of generation %d", f.RollbackId, f.Subsystem, pos.epoch, pos.gen, r.target.epoch, r.target.gen), r.target.seq)
	}
	if slices.Contains(r.restored, f.Subsystem) {
		return // restored again after a restart
	}
	if n := len(r.restored); n > 0 && before(f.Subsystem, r.restored[n-1]) {
		j.Violate("T3", e.Node, fmt.Sprintf("in the rollback %s %s restores after %s", f.RollbackId, f.Subsystem, r.restored[n-1]), r.seq)
	}
	r.restored = append(r.restored, f.Subsystem)
}

func (c *rollbacks) ended(e *Event, f *evidencev2.RollbackFact, j *Judge) {
	if f.Subsystem != "tolaria" {
		if f.Step == evidencev2.RollbackStep_RB_ABORTED {
			delete(c.held, e.Node)
			j.Judged("T4")
		}
		return
	}
	if c.orphan != nil && c.orphan.id == f.RollbackId {
		c.orphan = nil
		j.Judged("T3")
	}
	if len(c.over) > remembered {
		clear(c.over)
	}
	c.over[f.RollbackId] = f.Step
	if c.failed++; f.Step != evidencev2.RollbackStep_RB_ABORTED {
		c.failed = 0
	}
	c.since = e.At
	r := c.active
	if r == nil || r.id != f.RollbackId {
		return
	}
	c.active = nil
	j.Judged("L1")
	switch f.Step {
	case evidencev2.RollbackStep_RB_DONE:
		for _, s := range []string{"tamiyo", "kasmina", "tolaria"} {
			p, ok := c.at[s]
			if len(r.order) > 0 && !slices.Contains(r.order, s) {
				// Given up as dead: it restores before it acts again.
				c.left[s] = r
				continue
			}
			if !ok {
				continue // it is down, and will be brought back before it acts
			}
			if h := c.held[s]; h != nil && h.fenced && h.id == r.id {
				// It lives and does not hear the decision. Until it does it is as good as
				// dead: fenced in, it does no work, and it restores before it acts again.
				c.left[s] = r
				continue
			}
			if p.gen != r.target.gen || p.epoch != r.target.epoch {
				j.Violate("T3", e.Node, fmt.Sprintf("the rollback %s is done, and %s is in epoch %d of generation %d instead of %d of %d", r.id, s, p.epoch, p.gen, r.target.epoch, r.target.gen), p.seq)
				return
			}
		}
		j.Judged("T3")
	case evidencev2.RollbackStep_RB_ABORTED:
		if r.decided {
			j.Violate("T3", e.Node, fmt.Sprintf("the rollback %s is aborted after it was committed", r.id), r.seq)
			return
		}
		if len(r.restored) > 0 {
			j.Violate("T3", e.Node, fmt.Sprintf("the rollback %s is aborted, and %v had restored", r.id, r.restored), r.seq)
			return
		}
		j.Judged("T3")
	}
}

// explosion is how many times its recent mean a loss must be for a rollback, and
// so at least as many times the least of those.
const explosion = 15

// step judges that no step runs across differing generations.
func (c *rollbacks) step(e *Event, f *evidencev2.StepFact, j *Judge) {
	if c.least > 0 && f.Loss > explosion*c.least || f.Loss != f.Loss || f.Loss > 1e30 {
		c.exploded = true
	}
	if c.least == 0 || f.Loss < c.least {
		c.least = f.Loss
	}
	if f.Effect != trainingv2.StepEffect_FULL {
		return
	}
	p, ok := c.at["kasmina"]
	if !ok || !p.known {
		return
	}
	if p.gen != f.Step.GetGeneration() {
		j.Violate("T3", e.Node, fmt.Sprintf("step %d of epoch %d runs in generation %d with a Kasmina of generation %d", f.Step.GetStep(), f.Step.GetEpoch(), f.Step.GetGeneration(), p.gen), p.seq)
		return
	}
	j.Judged("T3")
}

// holders are the nodes that are PREPARED or FENCED, in order, so that findings
// have one order.
func (c *rollbacks) holders() []string {
	if len(c.held) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(c.held))
}

// overdue looks for promises and rollbacks that have outlived their time.
func (c *rollbacks) overdue(e *Event, j *Judge) {
	for _, node := range c.holders() {
		h := c.held[node]
		if h.fenced || h.limit == 0 {
			continue
		}
		allowed := h.limit + h.limit/1e6*c.p.Drift + c.life.stood(node, e.At) - h.stood
		if e.At-h.since > allowed {
			j.Violate("T4", node, fmt.Sprintf("it stays PREPARED for the rollback %s for %v", h.id, time.Duration(e.At-h.since)), h.seq)
			h.limit = 0
		}
	}
	r := c.active
	if r == nil || r.late || c.p.Settled == nil || !c.p.Settled(e.At-rollbackTime) {
		return
	}
	if took := e.At - max(r.began, 0); took > rollbackTime+rollbackTime/1e6*c.p.Drift+c.life.stood("tolaria", e.At)-r.stood {
		r.late = true
		j.Violate("L1", "tolaria", fmt.Sprintf("the rollback %s began %v ago and has not ended", r.id, time.Duration(took)), r.seq)
	}
}

func (*rollbacks) Finish(*Judge) {}
