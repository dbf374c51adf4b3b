package tolaria

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/config"
	"github.com/esper-sim/espersim/cluster/outbox"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// configuration is Tolaria's part of changes of the configuration: she decides
// from which boundary on a revision is in force (package config says why).
type configuration struct {
	box    *config.Box // nil: there is no configuration
	signer *command.Signer
	since  *operationsv2.ConfigDecision // the newest one; nil: revision 0
	sealed *operationsv2.ConfigSeal     // to be decided; nil: none
	fixed  ref                          // the boundary whose revision is settled: step is 0
}

func (t *tolaria) startConfig() error {
	if !t.o.Config {
		return nil
	}
	var err error
	if t.conf.signer, err = command.NewSigner(t.env, t.job.Key[:]); err != nil {
		return err
	}
	t.conf.box = config.New(t.env, t.job, Subsystem, config.Options{Segment: t.o.Segment, Timeout: t.o.Timeout, Facts: command.LogFacts(t.env.Facts, "tolaria/config")})
	t.conf.box.Start()
	return nil
}

// revision is the one in force at the boundary that is settled last.
func (c *configuration) revision() uint64 {
	if c.since == nil {
		return 0
	}
	return c.since.Revision
}

// seal takes Mycosynth's word that everybody has a revision.
func (t *tolaria) seal(m *operationsv2.ConfigSeal) {
	c := &t.conf
	e, _ := t.env.Net.Incoming()
	if c.box == nil || e == nil || wire.Verify(e, t.job.Key[:]) != nil {
		return
	}
	switch {
	case m.Revision <= c.revision():
		t.tellDecision()
	case m.Revision == c.revision()+1 && c.box.Durable(m.Revision):
		c.sealed = &operationsv2.ConfigSeal{Revision: m.Revision, EffectiveEpoch: m.EffectiveEpoch}
	}
}

func (t *tolaria) tellDecision() {
	d := t.conf.since
	t.env.Net.Send(t.job.Mycosynth, d, actor.SendOptions{Key: fmt.Sprint("config-decision/", d.Revision), Auth: t.conf.signer})
}

// settleRevision settles which revision the boundary into the next epoch carries,
// once for each epoch and generation: whoever is asked to cross twice must hear
// the same. fresh is a boundary that no earlier life can have told anybody of.
func (t *tolaria) settleRevision(fresh bool) error {
	c := &t.conf
	at := ref{t.next, 0, t.gen}
	if c.box == nil || c.fixed == at {
		return nil
	}
	c.fixed = at
	if !fresh || c.sealed == nil || t.next < c.sealed.EffectiveEpoch {
		return nil
	}
	d := &operationsv2.ConfigDecision{Revision: c.sealed.Revision, Epoch: t.next, RollbackGeneration: t.gen}
	if err := t.log.config(d); err != nil {
		if errors.Is(err, errFull) {
			return nil // at a later boundary
		}
		return err
	}
	t.env.Probe.Reached("tolaria/config-decided")
	c.since, c.sealed = d, nil
	t.tellDecision()
	return nil
}

// crossConfig takes the revision in force for Tolaria herself, in the epoch that
// begins. Training waits for no content: without it her own values stay as they
// were.
func (t *tolaria) crossConfig() {
	c := &t.conf
	if c.box != nil && c.box.Cross(t.gen, t.epoch, c.revision()) {
		t.every = max(c.box.Int(config.CheckpointEvery, t.every), 1)
	}
}

// config makes a decision durable. errFull means that it did not happen: a record
// that a later sync writes all the same speaks of a boundary that has passed, and
// takes effect with the generation that a restart begins.
func (j *journal) config(d *operationsv2.ConfigDecision) error {
	return j.step(&statev2.CoordinatorRecord{Step: stepConfig, ConfigRevision: d.Revision, Epoch: d.Epoch, Generation: d.RollbackGeneration})
}

// report tells Nissa how Tolaria is.
func (t *tolaria) report() {
	now := t.env.Clock.Monotonic()
	t.reports++
	m := &telemetryv2.TelemetryPacket{PacketId: fmt.Sprint("tolaria/", t.env.Incarnation, "/", t.reports), Timestamp: timestamppb.New(t.env.Clock.Now()),
		SourceSubsystem: Subsystem, Level: telemetryv2.Level_INFO, TrainingRunId: t.job.RunID, Epoch: t.epoch,
		Health: &telemetryv2.HealthReport{Status: telemetryv2.HealthStatus_HEALTHY, Conservative: t.mode == eventsv2.RunMode_CONSERVATIVE}}
	for _, b := range []*breaker.Breaker{t.breaker, t.silence} {
		s := b.State(now)
		m.Health.Breakers = append(m.Health.Breakers, &telemetryv2.BreakerState{Name: b.Settings().Name, State: s.String()})
		if s == breaker.Open {
			m.Health.Status = telemetryv2.HealthStatus_DEGRADED
		}
	}
	t.box.Put(outbox.Letter{ID: m.PacketId, Topic: "telemetry.subsystem.health", Message: m, Tries: 3, Yields: true, Options: actor.SendOptions{RunID: t.job.RunID, Epoch: t.epoch, Priority: envelopev2.Priority_BACKGROUND}})
	t.env.Clock.SetTimer("report", 0, reportEvery)
}

// reportEvery is between two reports of Tolaria's health.
const reportEvery = 5 * time.Second
