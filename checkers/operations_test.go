package checkers_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// change announces a revision that sets k.
// change announces a revision, and says that everybody has it.
func (p *tape) change(revision uint64, value string) []*operationsv2.ConfigEntry {
	entries := p.announce(revision, value)
	p.sent("mycosynth", "tolaria", &operationsv2.ConfigSeal{Revision: revision})
	return entries
}

// wants asks for a change that makes a key's version.
func (p *tape) wants(key, value string, version uint64) {
	b := p.seal(&envelopev2.EventEnvelope{EventId: "want"}, &operationsv2.ConfigRequest{RequestId: fmt.Sprint("want/", version, "/", value), Key: key, Value: value, ExpectedVersion: version - 1}, true)
	p.sentBytes("administrator", "mycosynth", b)
	p.deliverBytes("administrator", "mycosynth", b)
}

func (p *tape) announce(revision uint64, value string) []*operationsv2.ConfigEntry {
	c := &operationsv2.ConfigChange{Revision: revision, Entries: []*operationsv2.ConfigEntry{{Key: "k", Value: value, Version: revision}}}
	p.wants("k", value, revision)
	p.publish("mycosynth", "operations.config", fmt.Sprint("config/", revision), c)
	return c.Entries
}

func (p *tape) boundary(epoch int64, gen uint32, revision uint64) {
	p.sent("tolaria", "kasmina", &trainingv2.BoundaryRequest{Epoch: epoch, Generation: gen, ConfigRevision: revision})
}

func (p *tape) sees(who string, epoch int64, gen uint32, revision uint64, entries []*operationsv2.ConfigEntry) {
	sum := sha256.Sum256((&operationsv2.ConfigSnapshot{Entries: entries}).AppendCanonical(nil))
	p.fact(who, &evidencev2.ConfigFact{Subsystem: who, Revision: revision, Epoch: epoch, Generation: gen, EntriesSha256: sum[:]})
}

// report publishes telemetry of a seed.
func (p *tape) report(id, region string, loss float64) {
	p.publish("kasmina", "telemetry.seed.health", id, &telemetryv2.SeedTelemetry{TelemetryId: id, RegionId: region, Seed: &telemetryv2.SeedRef{LayerId: 1}, LocalLoss: loss,
		Health: &systemstatev2.SeedHealth{Status: systemstatev2.SeedHealth_HEALTHY}})
}

func (p *tape) sum(id, region string, loss float64, of ...string) {
	p.publish("narset", "telemetry.region.summaries", id, &operationsv2.RegionSummary{SummaryId: id, RegionId: region, TelemetryIds: of, MeanLoss: loss, Seeds: []*telemetryv2.SeedRef{{LayerId: 1}}})
}

// speaks tells Leyline of schemas that are not the manifest's.
func (p *tape) speaks(who string) {
	p.mail(who, "leyline", &operationsv2.VersionQuery{Subsystem: who, SchemaMajor: 2, DescriptorSetSha256: []byte("others")})
}

func (p *tape) alert(who string) {
	p.publish("nissa", "operations.alerts", "x", &platformv2.AlertEvent{AlertId: "x", Rule: "contract-mismatch", State: platformv2.AlertState_FIRING, Labels: []*telemetryv2.Label{{Key: "subsystem", Value: who}}})
}

// operations are the clauses of J2, J3 and L6, each with a run that breaks it and
// one that does not.
var operations = map[string]clause{
	"a boundary with a revision that only a stranger has sealed": {"J2", func(p *tape, guilty bool) {
		p.announce(1, "1")
		p.sent(pick(guilty, "intruder", "mycosynth"), "tolaria", &operationsv2.ConfigSeal{Revision: 1})
		p.boundary(5, 1, 1)
	}},
	"a boundary that is told with two revisions": {"J2", func(p *tape, guilty bool) {
		p.change(1, "1")
		p.boundary(5, 1, 1)
		p.publish("tolaria", "system.events.epoch", "e", &eventsv2.EpochEvent{Epoch: 5, RollbackGeneration: 1, Phase: eventsv2.EpochPhase_STARTED, ConfigRevision: pick[uint64](guilty, 0, 1)})
	}},
	"a state packet with another revision": {"J2", func(p *tape, guilty bool) {
		p.change(1, "1")
		p.boundary(5, 1, 1)
		p.sent("tolaria", "tamiyo", &systemstatev2.SystemStatePacket{PacketId: "k", Epoch: 5, RollbackGeneration: 1, ConfigRevision: pick[uint64](guilty, 0, 1)})
	}},
	"a rollback that takes a revision back": {"J2", func(p *tape, guilty bool) {
		p.change(1, "1")
		p.boundary(5, 1, 1)
		p.boundary(3, 2, pick[uint64](guilty, 0, 1))
	}},
	"a revision with two contents": {"J2", func(p *tape, guilty bool) {
		p.change(1, "1")
		p.change(1, pick(guilty, "2", "1"))
		p.boundary(5, 1, 1)
	}},
	"a subsystem with other values than were announced": {"J2", func(p *tape, guilty bool) {
		es := p.change(1, "1")
		p.boundary(5, 1, 1)
		if guilty {
			es = []*operationsv2.ConfigEntry{{Key: "k", Value: "9", Version: 1}}
		}
		p.sees("kasmina", 5, 1, 1, es)
	}},
	"a subsystem at a boundary of its own": {"J2", func(p *tape, guilty bool) {
		es := p.change(1, "1")
		p.boundary(5, 1, 1)
		p.sees("kasmina", pick[int64](guilty, 6, 5), 1, 1, es)
	}},
	"a subsystem that never sees the change": {"J2", func(p *tape, guilty bool) {
		p.boundary(4, 1, 0)
		p.sees("kasmina", 4, 1, 0, nil)
		es := p.change(1, "1")
		p.boundary(5, 1, 1)
		if !guilty {
			p.sees("kasmina", 5, 1, 1, es)
		}
		p.wait(21 * time.Second)
		p.fact("oona", &evidencev2.BusFact{})
	}},
	"a report in two summaries": {"J3", func(p *tape, guilty bool) {
		p.report("a", "r", 1)
		p.report("b", "r", 1)
		p.sum("s1", "r", 1, "a")
		p.sum("s2", "r", 1, pick(guilty, "a", "b"))
	}},
	"a report that nobody published": {"J3", func(p *tape, guilty bool) {
		p.report("a", "r", 1)
		p.sum("s1", "r", 1, pick(guilty, "z", "a"))
	}},
	"a report of another region": {"J3", func(p *tape, guilty bool) {
		p.report("a", pick(guilty, "other", "r"), 1)
		p.sum("s1", "r", 1, "a")
	}},
	"a summary that changes": {"J3", func(p *tape, guilty bool) {
		p.report("a", "r", 1)
		p.sum("s1", "r", 1, "a")
		p.sum("s1", "r", pick(guilty, 2.0, 1.0), "a")
	}},
	"an emergency that is altered": {"J3", func(p *tape, guilty bool) {
		p.emergency("drill", pick(guilty, "all is well", "drill"), 0)
	}},
	"an emergency that waits": {"J3", func(p *tape, guilty bool) {
		p.emergency("drill", "drill", pick(guilty, time.Second, 0))
	}},
	"an emergency that is swallowed": {"J3", func(p *tape, guilty bool) {
		if guilty {
			p.mail("sensor", "narset", &telemetryv2.EmergencyNotice{NoticeId: "n0"})
		}
		p.wait(time.Second)
		p.emergency("drill", "drill", 0)
	}},
	"a Tamiyo that leaves telemetry to others": {"J3", func(p *tape, guilty bool) {
		p.sent("narset", "oona", &busv2.Subscribe{Group: "narset", Consumer: "narset", Topics: []string{"telemetry.seed.health"}})
		p.sent("tamiyo", "oona", &busv2.Subscribe{Group: "tamiyo", Consumer: "tamiyo", Topics: []string{"system.events.epoch", pick(guilty, "telemetry.region.summaries", "telemetry.seed.health")}})
	}},
	"a question about schemas without an answer": {"L6", func(p *tape, guilty bool) {
		for i := range 3 {
			q := &operationsv2.VersionQuery{QueryId: fmt.Sprint("q", i), Subsystem: "narset", SchemaMajor: 9}
			p.mail("narset", "leyline", q)
			if !guilty {
				p.sent("leyline", "narset", &operationsv2.VersionReply{QueryId: q.QueryId, Reason: "no such version"})
			}
			p.wait(2 * time.Second)
		}
	}},
	"an answer that is not so": {"L6", func(p *tape, guilty bool) {
		p.mail("narset", "leyline", &operationsv2.VersionQuery{QueryId: "q", Subsystem: "narset", SchemaMajor: 9})
		p.sent("leyline", "narset", &operationsv2.VersionReply{QueryId: "q", Compatible: guilty})
	}},
	"an alert about schemas that are right": {"L6", func(p *tape, guilty bool) {
		if !guilty {
			p.speaks("altered")
		}
		p.alert("altered")
	}},
	"an alert that is about another subsystem": {"L6", func(p *tape, guilty bool) {
		for range 30 {
			p.speaks("altered")
			p.speaks("changed")
			p.alert("changed")
			if !guilty {
				p.alert("altered")
			}
			p.wait(time.Second)
		}
	}},
}

func TestOperations(t *testing.T) { holds(t, operations) }

// emergency passes through the region, after a while.
func (p *tape) emergency(was, is string, after time.Duration) {
	p.mail("sensor", "narset", &telemetryv2.EmergencyNotice{NoticeId: "n1", Reason: was})
	p.wait(after)
	for _, to := range []string{"tamiyo", "nissa"} {
		p.sentBytes("narset", to, p.seal(&envelopev2.EventEnvelope{EventId: "m"}, &telemetryv2.EmergencyNotice{NoticeId: "n1", Reason: is}, false))
	}
}
