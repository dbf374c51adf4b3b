package checkers

import (
	"fmt"
	"maps"
	"strings"
	"time"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// reports judges I7: what Tamiyo reports of an adaptation, by the command that
// began it and by what Kasmina says became of its seed.
type reports struct {
	p     Params
	cmds  map[string]*adaptation // by the id of the command
	order []string
	live  map[string]*adaptation // by seed: the newest
	last  int64

	rollback string // that was decided last
	back     int64  // when
	anew     int64  // when Tamiyo's log was opened last, after a start or a failure
}

// adaptation is a seed that was germinated, up to its report.
type adaptation struct {
	id, seed, kernel string
	seq              uint64
	since            int64 // epoch in which it began
	begun            bool  // Kasmina told that it was
	ends             map[string]bool
	undone           map[string]bool // ways in which it had ended before it went back
	endEpoch, endAt  int64
	report           string // what the report said
	reportSeq        uint64
}

// reportPrefix is what the id of a report has before that of the command.
const reportPrefix = "report/"

// unreported is how long an adaptation that has ended may wait for its report
// once the faults are over: telemetry comes with every epoch, and Tamiyo's
// disk may have to be opened anew.
const unreported = int64(20 * time.Second)

// repeated is how long after its log was opened Tamiyo may still publish what that
// holds: also a report of an end that has been undone since.
const repeated = int64(2 * time.Second)

func newReports(p Params) Checker {
	return &reports{p: p, cmds: map[string]*adaptation{}, live: map[string]*adaptation{}}
}

func (*reports) Invariants() []string { return []string{"I7"} }

func (c *reports) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *adaptationv2.AdaptationCommand:
			// Of what others than Tamiyo begin nobody has promised a report.
			own := m.Issuer == "tamiyo" || e.Node == "tamiyo"
			if s := m.GetSeedLifecycle(); own && s != nil && s.Operation == adaptationv2.SeedOperation_GERMINATE && c.cmds[m.CommandId] == nil {
				c.cmds[m.CommandId] = &adaptation{id: m.CommandId, seed: seedName(s.Seed), kernel: s.KernelArtifactId, seq: e.Seq, ends: map[string]bool{}, undone: map[string]bool{}}
				c.order = append(c.order, m.CommandId)
				if len(c.order) > 8*remembered {
					delete(c.cmds, c.order[0])
					c.order = c.order[1:]
				}
			}
		case *adaptationv2.CommandResult:
			// A receiver that died before it could say so tells in its next life.
			if a := c.cmds[m.CommandId]; a != nil && m.Status == adaptationv2.CommandStatus_APPLIED {
				a.begun = true
			}
		case *operationalv2.FieldReport:
			if e.Mail.Envelope.Topic != "" {
				c.reported(e, m, j)
			}
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.CommandFact:
			if a := c.cmds[f.CommandId]; a != nil && f.Status == "APPLIED" {
				a.begun = true
			}
		case *evidencev2.StageFact:
			c.stage(e, f)
		case *evidencev2.LogFact:
			if f.Log == "tamiyo" && f.Action == evidencev2.LogAction_LOG_RECOVERED {
				c.anew = e.At
			}
		case *evidencev2.RollbackFact:
			// Tamiyo goes back first, when it is decided.
			if (f.Step == evidencev2.RollbackStep_RB_COMMITTED || f.Step == evidencev2.RollbackStep_RB_RESTORED) && f.RollbackId != c.rollback {
				c.rollback, c.back = f.RollbackId, e.At
				c.restored(e, f.Epoch)
			}
		}
	}
}

func seedName(r *telemetryv2.SeedRef) string {
	return fmt.Sprintf("%d/%d", r.GetLayerId(), r.GetSeedId())
}

// stage follows a seed's life.
func (c *reports) stage(e *Event, f *evidencev2.StageFact) {
	seed := seedName(f.Seed)
	if f.To == telemetryv2.SeedStage_GERMINATED {
		if f.Cause == evidencev2.StageCause_BY_COMMAND {
			delete(c.live, seed) // it is another adaptation now, whoever began it
		}
		if a := c.cmds[f.CommandId]; a != nil {
			a.since, a.endAt = f.Epoch, 0
			c.live[seed] = a
		}
		return
	}
	a := c.live[seed]
	if a == nil {
		return
	}
	switch f.To {
	case telemetryv2.SeedStage_FOSSILIZED, telemetryv2.SeedStage_CULLED, telemetryv2.SeedStage_CANCELLED:
		c.ended(a, f.To.String(), f.Epoch, e.At)
	case telemetryv2.SeedStage_ROLLED_BACK, telemetryv2.SeedStage_DORMANT:
		c.ended(a, "ROLLED_BACK", f.Epoch, e.At)
	}
}

func (*reports) ended(a *adaptation, how string, epoch, at int64) {
	a.ends[how] = true
	if a.endAt == 0 {
		a.endAt, a.endEpoch = at, epoch
	}
}

// restored takes back what has happened from an epoch on: what began never
// did, and what ended goes on.
func (c *reports) restored(e *Event, epoch int64) {
	clear(c.live)
	for _, id := range c.order {
		a := c.cmds[id]
		switch {
		case !a.begun:
		case a.since >= epoch:
			c.ended(a, "ROLLED_BACK", a.since, e.At)
		default:
			if a.endAt != 0 && a.endEpoch >= epoch {
				a.endAt = 0
				maps.Copy(a.undone, a.ends)
				clear(a.ends)
			}
			if b := c.live[a.seed]; a.endAt == 0 && (b == nil || a.since >= b.since) {
				c.live[a.seed] = a
			}
		}
	}
}

func (c *reports) reported(e *Event, m *operationalv2.FieldReport, j *Judge) {
	id, ok := strings.CutPrefix(m.ReportId, reportPrefix)
	a := c.cmds[id]
	if !ok || a == nil {
		if len(c.order) < 8*remembered {
			j.Violate("I7", e.Node, fmt.Sprintf("the field report %s is about no adaptation that anybody ordered", m.ReportId))
		}
		return
	}
	text := fmt.Sprint(m.Outcome, " ", m.KernelArtifactId, " ", m.SeedId, " ", m.PreMetric, " ", m.PostMetric)
	switch {
	case a.report == text:
		return // it is published until the bus has it
	case a.report != "":
		j.Violate("I7", e.Node, fmt.Sprintf("%s has a second field report, which says %s; the first said %s", id, text, a.report), a.reportSeq)
		return
	case m.BlueprintId == "" || m.KernelArtifactId != a.kernel || m.SeedId != a.seed:
		j.Violate("I7", e.Node, fmt.Sprintf("the field report of %s names the blueprint %q, the kernel %q and the seed %s; it was the kernel %q in the seed %s", id, m.BlueprintId, m.KernelArtifactId, m.SeedId, a.kernel, a.seed), a.seq)
	case !a.ends[m.Outcome] && a.undone[m.Outcome] && c.anew > c.back-repeated:
		j.Judged("I7") // it may have been logged before that was undone
	case !a.ends[m.Outcome]:
		j.Violate("I7", e.Node, fmt.Sprintf("%s is reported %s, and that is not how it ended: %v", id, m.Outcome, a.ends), a.seq)
	default:
		j.Judged("I7")
	}
	a.report, a.reportSeq = text, e.Seq
}

// Finish looks for adaptations that ended without a report.
func (c *reports) Finish(j *Judge) {
	if c.p.Settled == nil || !c.p.Settled(c.last-unreported) {
		return
	}
	for _, id := range c.order {
		if a := c.cmds[id]; a.begun && a.endAt != 0 && a.report == "" && c.last-a.endAt > unreported {
			j.Violate("I7", "tamiyo", fmt.Sprintf("%s ended at %s (%v), and has no field report", id, trace.Stamp(a.endAt), a.ends), a.seq)
		}
	}
}
