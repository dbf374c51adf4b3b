package tamiyo_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/client"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/oona"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/cluster/tamiyo"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/validate"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// run is a training run that plays Tolaria and Kasmina as far as Tamiyo can
// tell: packets, telemetry, results, checkpoints and rollbacks.
type run struct {
	env        actor.Env
	job        *job.Job
	box        *outbox.Box
	codec      *wire.Codec
	epoch      int64
	generation uint32
	seeds      []*slot
	saved      []slot
	part       *trainingv2.StatePart
	going      string // rollback under way
	goals      int64
	decided    bool
	seen       map[string]bool
	restarts   int64
	bad        func(string)
}

type slot struct {
	ref    graft.Ref
	stage  graft.Stage
	kernel string
	age    int64
}

func (r *run) Start() error {
	r.generation = 1
	for s := range 3 {
		r.seeds = append(r.seeds, &slot{ref: graft.Ref{Layer: 1, Seed: int32(s + 1)}, stage: graft.Dormant})
	}
	r.checkpoint()
	r.env.Clock.SetTimer("epoch", 0, 100*time.Millisecond)
	r.renew()
	return nil
}

func (r *run) renew() {
	for _, s := range []string{"tolaria", "kasmina"} {
		r.env.Net.Send("oona", &busv2.Subscribe{Group: s, Consumer: s, Topics: []string{"control." + s + ".commands"}, MaxInFlight: 8, Durable: true}, actor.SendOptions{Key: "subscribe/" + s})
	}
	r.env.Clock.SetTimer("renew", 0, time.Second)
}

func (r *run) checkpoint() {
	r.env.Net.Send("tamiyo", &trainingv2.StatePartRequest{CheckpointId: fmt.Sprint("c", r.epoch, "-", r.generation), Epoch: r.epoch, Generation: r.generation}, actor.SendOptions{Key: fmt.Sprint("part/", r.epoch)})
}

func (r *run) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case outbox.Timer:
			r.box.Tick()
		case "renew":
			r.renew()
		case "epoch":
			r.next()
		case "rollback":
			r.rollback()
		}
	case *busv2.PublishAck:
		r.box.Acked(m)
	case *busv2.Delivery:
		r.deliver(m)
	case *trainingv2.StatePart:
		sum := sha256.Sum256(m.Data)
		if string(sum[:]) != string(m.Sha256) {
			r.bad("a state part with a wrong digest")
		}
		r.part = &trainingv2.StatePart{CheckpointId: m.CheckpointId, Subsystem: m.Subsystem, Epoch: m.Epoch,
			Generation: m.Generation, Data: append([]byte(nil), m.Data...), Sha256: append([]byte(nil), m.Sha256...)}
		r.saved = r.saved[:0]
		for _, s := range r.seeds {
			r.saved = append(r.saved, *s)
		}
	case *trainingv2.RollbackQuery:
		if m.Generation != r.generation && r.going == "" && r.part != nil {
			r.restarts++
			r.going, r.decided = fmt.Sprint("rb-", r.restarts), false
			r.rollback()
		}
	case *rollbackv2.RollbackVote:
		if m.RollbackId == r.going && m.Vote == rollbackv2.Vote_YES {
			r.decided = true
			r.env.Net.Send("tamiyo", &rollbackv2.RollbackDecision{RollbackId: r.going, Decision: rollbackv2.Decision_COMMIT}, actor.SendOptions{Key: "commit/" + r.going})
		}
	case *rollbackv2.RollbackAck:
		if m.RollbackId == r.going && m.Phase == rollbackv2.Phase_RESTORED {
			r.going = ""
			r.generation++
			r.epoch = r.part.Epoch
			for i := range r.saved {
				*r.seeds[i] = r.saved[i]
			}
			r.env.Net.Send("tamiyo", &rollbackv2.RollbackAck{RollbackId: m.RollbackId, Subsystem: "tolaria", Phase: rollbackv2.Phase_RESTORED}, actor.SendOptions{Key: "own/" + m.RollbackId})
		}
	}
	return nil
}

func (r *run) rollback() {
	if r.going == "" {
		return
	}
	r.env.Net.Send("tamiyo", &rollbackv2.RollbackRequest{RollbackId: r.going, Tier: rollbackv2.Tier_FULL, CheckpointEpoch: r.part.Epoch, Generation: r.generation + 1}, actor.SendOptions{Key: "rollback/" + r.going})
	r.env.Net.Send("tamiyo", &trainingv2.RestorePart{RollbackId: r.going, Part: r.part, Generation: r.generation + 1}, actor.SendOptions{Key: "restore/" + r.going})
	if r.decided {
		r.env.Net.Send("tamiyo", &rollbackv2.RollbackDecision{RollbackId: r.going, Decision: rollbackv2.Decision_COMMIT}, actor.SendOptions{Key: "commit/" + r.going})
	}
	r.env.Clock.SetTimer("rollback", 0, 200*time.Millisecond)
}

// next ends an epoch.
func (r *run) next() {
	r.env.Clock.SetTimer("epoch", 0, 100*time.Millisecond)
	if r.going != "" {
		return
	}
	for _, s := range r.seeds {
		s.age++
		id := fmt.Sprint("seed/", s.ref, "/", r.generation, "/", r.epoch)
		r.box.Put(outbox.Letter{ID: id, Topic: "telemetry.seed.health", Message: &telemetryv2.SeedTelemetry{TelemetryId: id, Seed: s.ref.Proto(),
			Epoch: r.epoch, Stage: s.stage, ReadyForTransition: s.age >= 2, ActiveKernelId: s.kernel}})
	}
	r.env.Net.Send("tamiyo", &systemstatev2.SystemStatePacket{PacketId: fmt.Sprint("packet/", r.generation, "/", r.epoch), Epoch: r.epoch,
		TrainingMetrics: &systemstatev2.TrainingMetrics{Loss: 0.5, LearningRate: 0.02}}, actor.SendOptions{Key: fmt.Sprint("packet/", r.epoch)})
	r.epoch++
	if r.epoch%8 == 0 {
		r.checkpoint()
	}
}

func (r *run) deliver(d *busv2.Delivery) {
	e, m, err := r.codec.Open(d.Envelope)
	if err != nil {
		r.bad(err.Error())
		return
	}
	if err := wire.Verify(e, r.job.Key[:]); err != nil {
		r.bad(err.Error())
	}
	c := m.(*adaptationv2.AdaptationCommand)
	if err := validate.Command(c); err != nil {
		r.bad(err.Error())
	}
	r.env.Net.Send("oona", &busv2.Ack{Group: d.Group, Consumer: d.Group, Topic: d.Topic, Offset: d.Offset, ClaimGeneration: d.ClaimGeneration}, actor.SendOptions{})
	if r.seen[c.CommandId] {
		return
	}
	r.seen[c.CommandId] = true
	res := &adaptationv2.CommandResult{CommandId: c.CommandId, Subsystem: d.Group, Status: adaptationv2.CommandStatus_REJECTED, AppliedEpoch: r.epoch}
	if c.TargetEpoch > r.epoch || r.epoch >= c.TargetEpoch+int64(c.TtlEpochs) {
		res.Status = adaptationv2.CommandStatus_EXPIRED
	} else if l := c.GetSeedLifecycle(); l != nil {
		for _, s := range r.seeds {
			if s.ref == graft.RefOf(l.Seed) && s.stage == l.ExpectedStage {
				res.Status = adaptationv2.CommandStatus_APPLIED
				s.apply(l)
			}
		}
	} else {
		res.Status = adaptationv2.CommandStatus_APPLIED
	}
	r.box.Put(outbox.Letter{ID: "result/" + c.CommandId, Topic: "control.command.results", Message: res})
}

func (s *slot) apply(l *adaptationv2.SeedLifecycleCommand) {
	s.age = 0
	switch l.Operation {
	case adaptationv2.SeedOperation_GERMINATE:
		s.stage, s.kernel = graft.Germinated, l.KernelArtifactId
	case adaptationv2.SeedOperation_CULL:
		s.stage = graft.Culled
	case adaptationv2.SeedOperation_FOSSILIZE:
		s.stage = graft.Dormant // so that it can live again in this test
	default:
		s.stage++
	}
}

// watch collects what checkers would.
type watch struct {
	t         *testing.T
	opened    map[string]bool // germinations that the run reported APPLIED
	outcomes  map[string]string
	persisted map[string]int
	acked     map[string]int
	nonces    map[string]string
	pauseAcks map[string]string
	commands  map[string]int
	signals   int
	bad       []string
}

func newWatch(t *testing.T) *watch {
	return &watch{t: t, opened: map[string]bool{}, outcomes: map[string]string{}, persisted: map[string]int{},
		acked: map[string]int{}, nonces: map[string]string{}, pauseAcks: map[string]string{}, commands: map[string]int{}}
}

func (w *watch) Observe(e *trace.Event) {
	switch e.Kind {
	case trace.NodeExited:
		w.bad = append(w.bad, e.String())
	case trace.FactDeclared:
		if f, ok := e.Value.(*evidencev2.ReportFact); ok {
			switch f.Action {
			case "PERSISTED":
				w.persisted[f.ReportId]++
			case "ACKNOWLEDGED":
				w.acked[f.ReportId]++
			case "PUBLISHED":
				if w.persisted[f.ReportId] == 0 && e.Incarnation == 1 {
					w.bad = append(w.bad, f.ReportId+" is published before it is persisted")
				}
			}
		}
	case trace.MessageSent:
		mail, ok := e.Value.(*wire.Mail)
		if !ok {
			return
		}
		switch m := mail.Payload.(type) {
		case *operationalv2.FieldReport:
			if m.BlueprintId == "" || m.KernelArtifactId == "" || m.SeedId == "" {
				w.bad = append(w.bad, "a report that does not name what it is about")
			}
			if was := w.outcomes[m.ReportId]; was != "" && was != m.Outcome {
				w.bad = append(w.bad, m.ReportId+" is "+was+" and "+m.Outcome)
			}
			w.outcomes[m.ReportId] = m.Outcome
		case *operationalv2.AdaptationSignal:
			w.signals++
		case *pausev2.PauseAck:
			if e.Node == "tamiyo" {
				w.pauseAcks[m.PauseId] = m.State.String() + " " + m.Reason
			}
		case *adaptationv2.CommandResult:
			if m.Status == adaptationv2.CommandStatus_APPLIED && len(m.CommandId) > 9 && m.CommandId[:9] == "GERMINATE" {
				w.opened[m.CommandId] = true
			}
		case *adaptationv2.AdaptationCommand:
			w.commands[m.CommandId]++
			n := string(mail.Envelope.Auth.GetNonce())
			if was := w.nonces[n]; was != "" {
				w.bad = append(w.bad, "a nonce of "+was+" is used again for "+m.CommandId)
			}
			w.nonces[n] = m.CommandId
		}
	}
}

func world(t *testing.T, seed uint64, policy string, w *watch, extra ...sim.Node) *sim.World {
	t.Helper()
	j, err := job.Default()
	must(t, err)
	var hosts []sim.Host
	for _, name := range []string{"bus", "control", "plane"} {
		d, err := disk.New(disk.Config{Keyed: sim.NewSource(seed)})
		must(t, err)
		hosts = append(hosts, sim.Host{Name: name, Disk: d})
	}
	o := tamiyo.Defaults()
	o.Policy = policy
	cfg := sim.Config{Name: "tamiyo", Seed: seed, Hosts: hosts, Trace: trace.NewLog(w), Poison: true, Nodes: append([]sim.Node{
		{ID: "oona", Host: "bus", Make: oona.New(j, *oona.Defaults()), Restart: 20 * time.Millisecond},
		{ID: "tamiyo", Host: "control", Make: tamiyo.New(j, *o), Restart: 20 * time.Millisecond},
		{ID: "tolaria", Host: "plane", Callback: true, Make: func(env actor.Env) (actor.Actor, error) {
			return &run{env: env, job: j, box: outbox.New(env, "oona", 1000), codec: wire.NewCodec(), seen: map[string]bool{},
				bad: func(s string) { w.bad = append(w.bad, s) }}, nil
		}},
	}, extra...)}
	sw, err := sim.New(cfg)
	must(t, err)
	return sw
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// complete checks that everything that began has exactly one report, except
// for what is still under way.
func (w *watch) complete(atLeast int) {
	w.t.Helper()
	for _, b := range w.bad {
		w.t.Error(b)
	}
	open := 0
	for id := range w.opened {
		if w.outcomes["report/"+id] == "" {
			open++
		}
	}
	if open > 3 {
		w.t.Errorf("%d adaptations of %d have no report", open, len(w.opened))
	}
	for id, n := range w.persisted {
		if n > 1 {
			w.t.Errorf("%s was reported %d times", id, n)
		}
	}
	if len(w.outcomes) < atLeast {
		w.t.Errorf("%d reports; want at least %d. %d germinations, %d commands, %d signals", len(w.outcomes), atLeast, len(w.opened), len(w.commands), w.signals)
	}
}

func TestAdaptationsAreReportedOnce(t *testing.T) {
	for _, policy := range []string{"busy", "heuristic"} {
		w := newWatch(t)
		sw := world(t, 1, policy, w)
		must(t, sw.Run(30*time.Second))
		sw.End()
		w.complete(3)
		for id := range w.outcomes {
			if w.acked[id] == 0 && w.persisted[id] == 0 {
				t.Errorf("%s has no facts", id)
			}
		}
	}
}

// A crash of Tamiyo before any of its operations on the disk, or just after it
// sent any message, costs no report and makes none twice.
func TestReportsAcrossCrashes(t *testing.T) {
	for _, host := range []bool{false, true} {
		for k := 1; k < 120; k += 3 {
			w := newWatch(t)
			sw := world(t, uint64(k), "busy", w)
			for _, at := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 6 * time.Second} {
				sw.At(at, 1, func() {
					must(t, sw.CrashAtOperation("tamiyo", k, host, 30*time.Millisecond, 0, nil))
				})
			}
			must(t, sw.Run(12*time.Second))
			sw.End()
			w.complete(1)
			if t.Failed() {
				t.Fatalf("operation %d, host %v", k, host)
			}
		}
	}
}

func TestReportsAcrossCrashesAtSends(t *testing.T) {
	for _, kind := range []string{"FieldReport", "AdaptationCommand", "Ack", "AdaptationSignal", "RollbackVote", "RollbackAck"} {
		for k := 1; k < 12; k += 2 {
			w := newWatch(t)
			sw := world(t, uint64(k), "busy", w)
			must(t, sw.CrashAtSend("tamiyo", k, kind, 30*time.Millisecond, 0, nil))
			sw.At(3*time.Second, 1, func() { _, err := sw.CrashNode("tamiyo", 10*time.Millisecond, 0); must(t, err) })
			must(t, sw.Run(12*time.Second))
			sw.End()
			w.complete(1)
			if t.Failed() {
				t.Fatalf("%s %d", kind, k)
			}
		}
	}
}

func TestOperatorTokens(t *testing.T) {
	for kind, granted := range map[string]bool{"valid": true, "unsigned": false, "forged": false, "expired": false, "wrong-role": false} {
		w := newWatch(t)
		j, _ := job.Default()
		o := client.OperatorDefaults()
		o.Every, o.Token = 2*time.Second, kind
		sw := world(t, 1, "idle", w, sim.Node{ID: "operator", Host: "plane", Callback: true, Make: client.NewOperator(j, *o)})
		must(t, sw.Run(9*time.Second))
		sw.End()
		w.complete(0)
		if len(w.pauseAcks) == 0 {
			t.Errorf("%s: no answer", kind)
		}
		for id, a := range w.pauseAcks {
			if denied := a[:6] == "DENIED"; denied == granted {
				t.Errorf("%s: %s was answered %s", kind, id, a)
			}
		}
		if got := len(w.commands) > 0; got != granted {
			t.Errorf("%s: commands %v", kind, w.commands)
		}
	}
}

// A token works for one pause, over a crash too.
func TestTokenIsUsedOnce(t *testing.T) {
	w := newWatch(t)
	j, _ := job.Default()
	o := client.OperatorDefaults()
	o.Every, o.Token = 500*time.Millisecond, "mixed"
	sw := world(t, 1, "idle", w, sim.Node{ID: "operator", Host: "plane", Callback: true, Make: client.NewOperator(j, *o)})
	sw.At(3*time.Second, 1, func() { _, err := sw.CrashNode("tamiyo", 10*time.Millisecond, 0); must(t, err) })
	must(t, sw.Run(6*time.Second))
	sw.End()
	w.complete(0)
	if a := w.pauseAcks["operator-1-8"]; a != "DENIED the token was used before" {
		t.Errorf("the replayed token of pause 8 was answered %q", a)
	}
}

func TestQuota(t *testing.T) {
	w := newWatch(t)
	j, _ := job.Default()
	o := client.OperatorDefaults()
	o.Every, o.Resume = 100*time.Millisecond, 0
	sw := world(t, 1, "idle", w, sim.Node{ID: "operator", Host: "plane", Callback: true, Make: client.NewOperator(j, *o)})
	must(t, sw.Run(5*time.Second))
	sw.End()
	granted := 0
	for _, a := range w.pauseAcks {
		if a[:6] != "DENIED" {
			granted++
		}
	}
	if want := job.PauseQuota / job.PausePerRequest; granted != want {
		t.Errorf("%d pauses were granted in a window; want %d", granted, want)
	}
}
