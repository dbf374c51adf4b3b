package checkers

import (
	"fmt"
	"slices"
	"strings"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// pruning judges I9 by what is sent: the statistics say which structures there
// are, the verdicts which cycles may go on, the masks what is masked. That a
// mask is applied at the load of a checkpoint is its participant's claim: both
// must be declared in one handler, where training going on from the checkpoint that
// was saved counts as its load. That the host network is masked shows in what
// Tolaria sends: what is masked is zero, forth and back, until another mask comes into
// force or a rollback undoes it.
type pruning struct {
	there    map[string]map[string]*pruningv2.PruningTarget // by participant
	latest   map[string]*pruningv2.PruningTarget            // that were told of last, by whomever
	verdicts map[string]bool                                // cycles with a GO that arrived
	masks    map[string]*pruningv2.PruningMask              // by participant: sent last
	older    map[string]map[string]*pruningv2.PruningMask   // by participant and key
	gone     map[string]bool                                // by participant and key: taken back
	loaded   map[string]uint64                              // by node: the event in which it loaded
	host     map[string]*masked                             // by node that masks the network that it trains
	cycle    cycle
}

// masked is what a host network has masked, by layer.
type masked struct {
	units   map[int32][]int32
	marks   map[string]map[int32][]int32 // by checkpoint
	version uint64                       // of the newest mask
	holds   string                       // the pause or the rollback that is under way
	seq     uint64
}

// cycle is where the coordinator says that it stands.
type cycle struct {
	key, state string
	seq        uint64
	lost       int    // steps that a log which was opened anew may have, and nobody was told of
	open       bool   // the log is open, and nothing has failed since it was
	breaker    string // its state, in this life
	due        uint64 // the delivery of an epoch's end that is handled, with no cycle under way
	epoch      int64  // of it
	begun      map[int64]bool
	idled      map[int64]uint64 // epochs whose end began no cycle, with none under way
	made       map[int64]bool   // epochs with a checkpoint
	rhythm     int64            // epochs between checkpoints, as the job has it; 0: not judged
}

// pruner is the node that coordinates.
const pruner = "emrakul"

// cycleSteps are the ways of a cycle (card 12), from "" and from its ends to the
// next.
var cycleSteps = map[string][]string{
	"": {"COLLECTING"}, "SKIPPED": {"COLLECTING"}, "APPLIED": {"COLLECTING"}, "ROLLED_BACK": {"COLLECTING"},
	"COLLECTING": {"ANALYSING", "SKIPPED"}, "ANALYSING": {"AGGREGATING", "SKIPPED"}, "AGGREGATING": {"VALIDATING", "SKIPPED"},
	"VALIDATING": {"APPLYING", "SKIPPED"}, "APPLYING": {"MONITORING", "ROLLING_BACK"}, "MONITORING": {"APPLIED", "ROLLING_BACK"},
	"ROLLING_BACK": {"ROLLED_BACK"},
}

// follows says whether a cycle comes to a state, under a key, in at most so many
// steps that nobody was told of and one.
func (c *cycle) follows(state, key string, lost int) bool {
	if key == "" {
		return false
	}
	for _, next := range cycleSteps[c.state] {
		n := cycle{key: c.key, state: next}
		if next == "COLLECTING" {
			n.key = key
		}
		if next == state && n.key == key || lost > 0 && n.follows(state, key, lost-1) {
			return true
		}
	}
	return false
}

// idle says whether no cycle is under way.
func (c *cycle) idle() bool { return slices.Contains(cycleSteps[c.state], "COLLECTING") }

func newPruning(p Params) Checker {
	return &pruning{there: map[string]map[string]*pruningv2.PruningTarget{}, verdicts: map[string]bool{}, masks: map[string]*pruningv2.PruningMask{},
		older: map[string]map[string]*pruningv2.PruningMask{}, gone: map[string]bool{}, loaded: map[string]uint64{}, host: map[string]*masked{},
		cycle: cycle{begun: map[int64]bool{}, idled: map[int64]uint64{}, made: map[int64]bool{}, rhythm: int64(p.Rhythm)}}
}

func (*pruning) Invariants() []string { return []string{"I9"} }

func structureOf(t *pruningv2.PruningTarget) string {
	return fmt.Sprintf("%s/%s/%d", t.ParameterId, t.Structure, t.Index)
}

func (c *pruning) Observe(e *Event, j *Judge) {
	if e.Kind == trace.MessageDelivered && e.Peer == pruner || e.Kind != trace.MessageDelivered && e.Node == pruner {
		c.coordinator(e, j)
	}
	switch e.Kind {
	case trace.MessageDelivered:
		switch m := e.Mail.Payload.(type) {
		case *pruningv2.StatisticsReply:
			all := map[string]*pruningv2.PruningTarget{}
			for _, t := range m.Candidates {
				all[structureOf(t)] = &pruningv2.PruningTarget{ParameterId: t.ParameterId, Structure: t.Structure, Index: t.Index, Redundancy: t.Redundancy}
			}
			c.there[e.Node], c.latest = all, all
		case *pruningv2.PruningValidation:
			if m.Verdict == pruningv2.PruningVerdict_GO || m.Verdict == pruningv2.PruningVerdict_CONDITIONAL_GO {
				c.verdicts[m.IdempotencyKey] = true
			}
		}
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *pruningv2.PruningMask:
			c.mask(e, m, j)
		case *trainingv2.BoundaryRequest:
			if h := c.host[e.Node]; h != nil && m.CheckpointId != "" {
				h.marks[strings.Clone(m.CheckpointId)] = h.units
			}
		case *trainingv2.ForwardRequest:
			c.zero(e, m.LayerId, m.Width, m.Activations, j)
		case *trainingv2.BackwardRequest:
			c.zero(e, m.LayerId, m.Width, m.Gradients, j)
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.CheckpointFact:
			if f.Action == evidencev2.CheckpointAction_CHECKPOINT_SAVED {
				c.cycle.made[f.Epoch] = true
				c.missed(f.Epoch, j)
				c.loaded[e.Node] = e.Cause
			}
		case *evidencev2.PauseFact:
			if h := c.hostOf(f.Subsystem, e.Node); h != nil {
				h.hold(f.State == "PAUSED", "a pause", e.Seq)
			}
		case *evidencev2.RollbackFact:
			if h := c.hostOf(f.Subsystem, e.Node); h != nil {
				switch f.Step {
				case evidencev2.RollbackStep_RB_STARTED, evidencev2.RollbackStep_RB_COMMITTED:
					h.hold(true, "a rollback", e.Seq)
				case evidencev2.RollbackStep_RB_DONE, evidencev2.RollbackStep_RB_ABORTED, evidencev2.RollbackStep_RB_FAILED:
					h.hold(false, "a rollback", e.Seq)
				case evidencev2.RollbackStep_RB_RESTORED:
					h.units = h.marks[f.CheckpointId]
				}
			}
		case *evidencev2.PruningFact:
			switch f.State {
			case "LOADED":
				c.loaded[e.Node] = e.Cause
			case "MASKED":
				c.masked(e, f, j)
			}
		}
	}
}

// coordinator follows the cycles: each goes its way, through restarts too, and
// begins with a checkpoint that comes while none is under way.
func (c *pruning) coordinator(e *Event, j *Judge) {
	y := &c.cycle
	switch e.Kind {
	case trace.NodeStarted, trace.NodeCrashed, trace.NodeExited:
		y.open, y.breaker, y.due = false, "", 0
		return
	case trace.DiskOperation:
		if strings.Contains(e.Text, " failed: ") {
			y.open, y.due = false, 0
		}
		return
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.LogFact:
			if f.Log == pruner && f.Action == evidencev2.LogAction_LOG_RECOVERED {
				y.open = true
				y.lost++
			}
		case *evidencev2.BreakerFact:
			y.breaker = f.To
		case *evidencev2.PruningFact:
			c.step(e, f, j)
		}
	}
	if y.due != 0 && e.Kind != trace.FactDeclared && (e.Kind == trace.MessageDelivered || e.Cause != y.due) {
		y.idled[y.epoch] = y.due
		y.due = 0
		c.missed(y.epoch, j)
	}
	if e.Kind != trace.MessageDelivered {
		return
	}
	if m, ok := e.Mail.Payload.(*busv2.Delivery); ok && m.Group == pruner && e.Inner != nil {
		ev, ok := e.Inner.Payload.(*eventsv2.EpochEvent)
		if ok && ev.Phase == eventsv2.EpochPhase_COMPLETED && ev.Epoch >= 31 && ev.Epoch < 121 &&
			y.open && y.idle() && (y.breaker == "" || y.breaker == "CLOSED") && !y.begun[ev.Epoch] {
			y.due, y.epoch = e.Seq, ev.Epoch
		}
	}
}

// missed judges that a cycle begins with a checkpoint of the epochs in which there
// is pruning.
func (c *pruning) missed(epoch int64, j *Judge) {
	y := &c.cycle
	// It goes by the job's rhythm: a checkpoint beside that is none to it.
	if seq := y.idled[epoch]; seq != 0 && y.rhythm > 0 && epoch%y.rhythm == 0 && y.made[epoch] && !y.begun[epoch] {
		delete(y.idled, epoch)
		j.Violate("I9", pruner, fmt.Sprintf("the epoch %d has ended, which has a checkpoint, no cycle was under way, and none has begun", epoch), seq)
	}
}

// step judges a step of a cycle.
func (c *pruning) step(e *Event, f *evidencev2.PruningFact, j *Judge) {
	y := &c.cycle
	if !y.follows(f.State, f.IdempotencyKey, y.lost) {
		j.Violate("I9", e.Node, fmt.Sprintf("the cycle %q is %s, and what was told of last is that %q is %s", f.IdempotencyKey, f.State, y.key, y.state), y.seq)
		return
	}
	if f.State == "COLLECTING" {
		y.begun[f.Epoch] = true
		if e.Cause == y.due {
			y.due = 0
		}
	}
	y.key, y.state, y.seq, y.lost = strings.Clone(f.IdempotencyKey), strings.Clone(f.State), e.Seq, 0
	j.Judged("I9")
}

func (c *pruning) mask(e *Event, m *pruningv2.PruningMask, j *Judge) {
	last := c.masks[e.Peer]
	if last != nil && last.IdempotencyKey == m.IdempotencyKey && len(last.Targets) == len(m.Targets) {
		return // again
	}
	bad := func(how string) { j.Violate("I9", e.Node, fmt.Sprintf("the mask %s %s", m.IdempotencyKey, how)) }
	if last != nil && last.IdempotencyKey != m.IdempotencyKey && c.older[e.Peer][m.IdempotencyKey] != nil {
		bad("is sent again, and " + last.IdempotencyKey + " has taken its place")
		return
	}
	all, was := c.there[e.Peer], map[string]bool{}
	if all == nil {
		all = c.latest // who masks need not be who has measured
	}
	for _, t := range last.GetTargets() {
		was[structureOf(t)] = true
	}
	copied := &pruningv2.PruningMask{}
	if copied.ParseCanonical(m.AppendCanonical(nil)) != nil {
		return
	}
	added, gone, size := 0, map[string]int{}, map[string]int{}
	kind := func(t *pruningv2.PruningTarget) string {
		if t.Structure == "layer" {
			return "layer"
		}
		return t.ParameterId + "/" + t.Structure
	}
	for _, t := range all {
		size[kind(t)]++
	}
	for _, t := range copied.Targets {
		known := all[structureOf(t)]
		switch {
		case known == nil:
			bad(fmt.Sprintf("names %s, which is not there", structureOf(t)))
			return
		case known.Redundancy < 0.95 && !was[structureOf(t)]: // what is masked already was redundant then
			bad(fmt.Sprintf("masks %s, whose redundancy is %.2f", structureOf(t), known.Redundancy))
			return
		}
		if !was[structureOf(t)] {
			added++
		}
		g := kind(t)
		gone[g]++
		left := size[g] - gone[g]
		switch {
		case t.Structure == "channel" && (left < 16 || float64(left) < 0.8*float64(size[g])),
			t.Structure == "head" && left < 2, t.Structure == "layer" && float64(gone[g]) > 0.2*float64(size[g]):
			bad(fmt.Sprintf("leaves %d of %d of %s", left, size[g], g))
			return
		}
	}
	n := float64(len(all))
	switch {
	case added > 0 && m.Epoch < 31:
		bad(fmt.Sprintf("is for epoch %d", m.Epoch))
	case m.Version > 0 && m.Version <= last.GetVersion():
		bad(fmt.Sprintf("is of version %d, and the one before it of %d", m.Version, last.GetVersion()))
	case added > 0 && !c.verdicts[m.IdempotencyKey]:
		bad("is sent without a GO")
	case float64(added) > 0.05*n:
		bad(fmt.Sprintf("masks %d of %d structures in one cycle", added, len(all)))
	case float64(len(m.Targets)) > 0.5*n:
		bad(fmt.Sprintf("masks %d of %d structures in all", len(m.Targets), len(all)))
	default:
		c.masks[e.Peer] = copied
		if c.older[e.Peer] == nil {
			c.older[e.Peer] = map[string]*pruningv2.PruningMask{}
		}
		c.older[e.Peer][m.IdempotencyKey] = copied
		j.Judged("I9")
	}
}

// masked judges that a participant masks what it was sent, when it loads.
func (c *pruning) masked(e *Event, f *evidencev2.PruningFact, j *Judge) {
	cause, ok := c.loaded[e.Node]
	switch {
	case !ok || cause != e.Cause:
		j.Violate("I9", e.Node, fmt.Sprintf("it applies the mask %s, and loads no checkpoint", f.IdempotencyKey))
	case c.older[e.Node][f.IdempotencyKey] == nil:
		j.Violate("I9", e.Node, fmt.Sprintf("it applies the mask %s, which nobody has sent", f.IdempotencyKey))
	case c.gone[e.Node+"\x00"+f.IdempotencyKey]:
		j.Violate("I9", e.Node, fmt.Sprintf("it applies the mask %s, which was taken back", f.IdempotencyKey))
	case f.Subsystem == "tolaria" && !c.inForce(e, f, j):
	default:
		if key, back := strings.CutSuffix(f.IdempotencyKey, ":back"); back {
			c.gone[e.Node+"\x00"+key] = true
		}
		j.Judged("I9")
	}
}

// hostOf is what a node has masked that trains a host network; nil for others.
func (c *pruning) hostOf(subsystem, node string) *masked {
	if subsystem != "tolaria" {
		return nil
	}
	if c.host[node] == nil {
		c.host[node] = &masked{marks: map[string]map[int32][]int32{}}
	}
	return c.host[node]
}

func (h *masked) hold(on bool, what string, seq uint64) {
	if on {
		h.holds, h.seq = what, seq
	} else if h.holds == what {
		h.holds = ""
	}
}

// inForce judges that a mask comes into force in the host network where it may: in
// no pause and no rollback, after none of a later version, and whole.
func (c *pruning) inForce(e *Event, f *evidencev2.PruningFact, j *Judge) bool {
	h, m := c.hostOf(f.Subsystem, e.Node), c.older[e.Node][f.IdempotencyKey]
	bad := func(how string, seqs ...uint64) bool {
		j.Violate("I9", e.Node, fmt.Sprintf("the mask %s comes into force %s", f.IdempotencyKey, how), seqs...)
		return false
	}
	distinct := map[string]bool{}
	for _, t := range m.Targets {
		distinct[structureOf(t)] = true
	}
	switch {
	case h.holds != "":
		return bad("in "+h.holds, h.seq)
	case f.Version != m.Version || f.Version > 0 && f.Version < h.version:
		return bad(fmt.Sprintf("as version %d; it was sent as %d, and there was version %d", f.Version, m.Version, h.version))
	case len(f.Units) != len(distinct):
		return bad(fmt.Sprintf("with %d channels; it has %d structures", len(f.Units), len(distinct)))
	case f.Epoch < 31:
		return bad(fmt.Sprintf("in epoch %d", f.Epoch))
	}
	h.version, h.units = f.Version, map[int32][]int32{}
	for _, u := range f.Units {
		h.units[u.LayerId] = append(h.units[u.LayerId], u.Channel)
	}
	return true
}

// zero judges that what a host network sends of masked channels is zero.
func (c *pruning) zero(e *Event, layer, width int32, values []float32, j *Judge) {
	h := c.host[e.Node]
	if h == nil || len(h.units[layer]) == 0 || width <= 0 {
		return
	}
	for _, u := range h.units[layer] {
		for i := int(u); i < len(values); i += int(width) {
			if values[i] != 0 {
				j.Violate("I9", e.Node, fmt.Sprintf("channel %d of graft layer %d is masked, and it sends %v", u, layer, values[i]))
				return
			}
		}
	}
	j.Judged("I9")
}

func (*pruning) Finish(*Judge) {}
