package checkers

import (
	"fmt"
	"strings"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// pruning judges I9 by what is sent: the statistics say which structures there
// are, the verdicts which cycles may go on, the masks what is masked. That a
// mask is applied at the load of a checkpoint is its participant's claim: both
// must be declared in one handler.
type pruning struct {
	there    map[string]map[string]*pruningv2.PruningTarget // by participant
	verdicts map[string]bool                                // cycles with a GO that arrived
	masks    map[string]*pruningv2.PruningMask              // by participant: sent last
	older    map[string]map[string]*pruningv2.PruningMask   // by participant and key
	gone     map[string]bool                                // by participant and key: taken back
	loaded   map[string]uint64                              // by node: the event in which it loaded
}

func newPruning(Params) Checker {
	return &pruning{there: map[string]map[string]*pruningv2.PruningTarget{}, verdicts: map[string]bool{}, masks: map[string]*pruningv2.PruningMask{},
		older: map[string]map[string]*pruningv2.PruningMask{}, gone: map[string]bool{}, loaded: map[string]uint64{}}
}

func (*pruning) Invariants() []string { return []string{"I9"} }

func structureOf(t *pruningv2.PruningTarget) string {
	return fmt.Sprintf("%s/%s/%d", t.ParameterId, t.Structure, t.Index)
}

func (c *pruning) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.MessageDelivered:
		switch m := e.Mail.Payload.(type) {
		case *pruningv2.StatisticsReply:
			all := map[string]*pruningv2.PruningTarget{}
			for _, t := range m.Candidates {
				all[structureOf(t)] = &pruningv2.PruningTarget{ParameterId: t.ParameterId, Structure: t.Structure, Index: t.Index, Redundancy: t.Redundancy}
			}
			c.there[e.Node] = all
		case *pruningv2.PruningValidation:
			if m.Verdict == pruningv2.PruningVerdict_GO || m.Verdict == pruningv2.PruningVerdict_CONDITIONAL_GO {
				c.verdicts[m.IdempotencyKey] = true
			}
		}
	case trace.MessageSent:
		if m, ok := e.Mail.Payload.(*pruningv2.PruningMask); ok {
			c.mask(e, m, j)
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.PruningFact); ok {
			switch f.State {
			case "LOADED":
				c.loaded[e.Node] = e.Cause
			case "MASKED":
				c.masked(e, f, j)
			}
		}
	}
}

func (c *pruning) mask(e *Event, m *pruningv2.PruningMask, j *Judge) {
	last := c.masks[e.Peer]
	if last != nil && last.IdempotencyKey == m.IdempotencyKey && len(last.Targets) == len(m.Targets) {
		return // again
	}
	bad := func(how string) { j.Violate("I9", e.Node, fmt.Sprintf("the mask %s %s", m.IdempotencyKey, how)) }
	all, was := c.there[e.Peer], map[string]bool{}
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
		case known.Redundancy < 0.95:
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
	default:
		if key, back := strings.CutSuffix(f.IdempotencyKey, ":back"); back {
			c.gone[e.Node+"\x00"+key] = true
		}
		j.Judged("I9")
	}
}

func (*pruning) Finish(*Judge) {}
