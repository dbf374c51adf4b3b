package tolaria_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/kasmina"
	"github.com/esper-sim/espersim/cluster/lineage"
	"github.com/esper-sim/espersim/cluster/oona"
	"github.com/esper-sim/espersim/cluster/tolaria"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// order is a command that the tests' Tamiyo publishes when it is told of an
// epoch.
type order struct {
	at    int64
	topic string
	m     *adaptationv2.AdaptationCommand
	age   time.Duration // how long ago it was signed
	nonce byte          // 0: its own
	key   []byte        // nil: the job's
	copy  bool          // its time of creation stands
}

// tamiyo is the least of a Tamiyo: it signals, has a part, and takes part in
// rollbacks.
type tamiyo struct {
	env    actor.Env
	job    *job.Job
	orders []order
	sent   int
	gen    uint32
	epoch  int64
	offer  uint32
	id     string
	last   string
	root   []byte
	mute   bool
	alarm  telemetryv2.EmergencyLevel
}

func newTamiyo(j *job.Job, orders []order, mute bool, alarm telemetryv2.EmergencyLevel) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &tamiyo{env: env, job: j, orders: orders, mute: mute, alarm: alarm}, nil
	}
}

func (t *tamiyo) Start() error {
	t.env.Clock.SetTimer("query", 0, 300*time.Millisecond)
	if t.alarm != 0 {
		t.env.Clock.SetTimer("alarm", 0, 5*time.Second)
	}
	return nil
}

func (t *tamiyo) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		if m.Name == "alarm" {
			t.env.Net.Send(t.job.Tolaria, &telemetryv2.EmergencyNotice{NoticeId: "n1", Level: t.alarm, Source: "tamiyo"}, actor.SendOptions{})
			return nil
		}
		if t.gen == 0 {
			t.env.Net.Send(t.job.Tolaria, &trainingv2.RollbackQuery{Subsystem: "tamiyo"}, actor.SendOptions{})
		}
		t.env.Clock.SetTimer("query", 0, 300*time.Millisecond)
	case *systemstatev2.SystemStatePacket:
		if t.mute {
			return nil
		}
		t.epoch = m.Epoch
		e, _ := t.env.Net.Incoming()
		t.env.Clock.Work(gpu.Inference, 1)
		for t.sent < len(t.orders) && t.orders[t.sent].at <= m.Epoch {
			t.publish(t.sent)
			t.sent++
		}
		t.env.Net.Send(from, &operationalv2.AdaptationSignal{SignalId: "s"}, actor.SendOptions{CorrelationID: e.CorrelationId})
	case *trainingv2.StatePartRequest:
		if t.gen == 0 && m.Generation == 1 && m.Epoch == 0 {
			t.gen = 1
		}
		if t.gen != m.Generation {
			return nil
		}
		data := (&statev2.TamiyoState{Epoch: m.Epoch, LearningRate: float64(t.epoch)}).AppendCanonical(nil)
		sum := sha256.Sum256(data)
		t.env.Net.Send(from, &trainingv2.StatePart{CheckpointId: m.CheckpointId, Subsystem: "tamiyo", Epoch: m.Epoch,
			Generation: m.Generation, Data: data, Sha256: sum[:]}, actor.SendOptions{})
	case *trainingv2.RestorePart:
		if m.RollbackId == t.last {
			t.ack(rollbackv2.Phase_RESTORED)
			return nil
		}
		t.id, t.offer, t.root = m.RollbackId, m.Generation, append([]byte(nil), m.Root...)
		t.env.Net.Send(from, &rollbackv2.RollbackVote{RollbackId: m.RollbackId, Subsystem: "tamiyo", Vote: rollbackv2.Vote_YES}, actor.SendOptions{})
	case *rollbackv2.RollbackDecision:
		if m.Decision == rollbackv2.Decision_COMMIT && (m.RollbackId == t.id || m.RollbackId == t.last) {
			t.last, t.id, t.gen = m.RollbackId, "", t.offer
			t.ack(rollbackv2.Phase_RESTORED)
		}
	case *rollbackv2.RollbackAck:
		if m.RollbackId == t.last {
			t.ack(rollbackv2.Phase_CONFIRMED)
		}
	}
	return nil
}

func (t *tamiyo) ack(p rollbackv2.Phase) {
	t.env.Net.Send(t.job.Tolaria, &rollbackv2.RollbackAck{RollbackId: t.last, Subsystem: "tamiyo", Phase: p, Ok: true, Root: t.root}, actor.SendOptions{})
}

func (t *tamiyo) publish(i int) {
	o := t.orders[i]
	key := o.key
	if key == nil {
		key = t.job.Key[:]
	}
	s, err := wire.NewHMACSigner("k", key)
	if err != nil {
		panic(err)
	}
	s.Nonce[0], s.Nonce[1], s.Nonce[2] = byte(i+1), 7, byte((i+1)>>8)
	if o.nonce != 0 {
		s.Nonce[0] = o.nonce
	}
	s.SignedAt = t.env.Clock.Now().Add(-o.age)
	if !o.copy {
		o.m.CreatedAt = timestamppb.New(t.env.Clock.Now())
	}
	id := fmt.Sprint("order/", i)
	t.env.Net.Send(t.job.Oona, o.m, actor.SendOptions{Key: id, EventID: id, Topic: o.topic, Auth: s})
}

// witness collects what a run claims, and builds its lineage from it.
type witness struct {
	t                    testing.TB
	gen                  uint32
	full                 map[[2]int64][]bool // by epoch and generation
	rate                 map[[2]int64]float64
	crossed              map[[2]int64]*lineage.Epoch
	epochs               []*evidencev2.EpochFact
	grafts               map[[2]int64][]byte // digest before crossing into an epoch
	rolls                []string
	steps                int
	identity             int
	commands             []string
	stages               []string
	pauses               []string
	modes                []string
	exits                []string
	ckpts                []string
	named                []string // events of epochs that name a checkpoint
	replay               *lineage.Replay
	last                 lineage.Digests
	compared             int
	ends                 map[string]string
	startGen, startEpoch int64
	fallback             int
	alarmed, ackAfter    int64
	lines                []string
	verbose              bool
	disks                []*disk.Disk
}

func newWitness(t testing.TB, j *job.Job) *witness {
	r, err := lineage.NewReplay(j)
	if err != nil {
		t.Fatal(err)
	}
	return &witness{t: t, gen: 1, full: map[[2]int64][]bool{}, rate: map[[2]int64]float64{}, crossed: map[[2]int64]*lineage.Epoch{},
		grafts: map[[2]int64][]byte{}, replay: r, ends: map[string]string{}}
}

func (w *witness) Observe(e *trace.Event) {
	if w.verbose {
		w.lines = append(w.lines, e.String())
	}
	switch e.Kind {
	case trace.NodeExited:
		w.exits = append(w.exits, e.String())
	case trace.FactDeclared:
		w.fact(e.Value)
	case trace.MessageSent:
		if mail, ok := e.Value.(*wire.Mail); ok {
			switch m := mail.Payload.(type) {
			case *eventsv2.EpochEvent:
				if s := fmt.Sprint(m.Phase, " ", m.Epoch, " ", m.CheckpointId); m.CheckpointId != "" && !slices.Contains(w.named, s) {
					w.named = append(w.named, s)
				}
			case *telemetryv2.EmergencyNotice:
				w.alarmed = e.At
			case *pausev2.PauseAck:
				w.ackAfter = e.At - w.alarmed
			}
		}
	}
}

func (w *witness) fact(v any) {
	switch f := v.(type) {
	case *evidencev2.StepFact:
		w.steps++
		k := [2]int64{f.Step.Epoch, int64(f.Step.Generation)}
		w.full[k] = append(w.full[k], f.Effect == trainingv2.StepEffect_FULL)
		w.rate[k] = f.LearningRate
		if f.Effect != trainingv2.StepEffect_FULL {
			w.identity++
		}
	case *evidencev2.BoundaryFact:
		k := [2]int64{f.Epoch, int64(f.Generation)}
		l := &lineage.Epoch{Epoch: f.Epoch, Generation: f.Generation, Joined: true, ValidationLoss: f.ValidationLoss}
		for _, c := range f.Commands {
			l.Commands = append(l.Commands, lineage.Command{ID: c.CommandId, Layer: c.Seed.LayerId, Seed: c.Seed.SeedId, Operation: c.Operation, Kernel: c.KernelArtifactId})
		}
		w.crossed[k] = l
		if got := w.replay.Digests().Grafts; string(got[:]) != string(f.StateDigest) {
			w.t.Errorf("epoch %d of generation %d: Kasmina crosses with grafts %x, the replay has %x", f.Epoch, f.Generation, f.StateDigest[:4], got[:4])
		}
	case *evidencev2.EpochFact:
		k := [2]int64{f.Epoch, int64(f.Generation)}
		l := w.crossed[k]
		if l == nil || !f.KasminaJoined {
			l = &lineage.Epoch{Epoch: f.Epoch, Generation: f.Generation}
		}
		l.LearningRate, l.Full = w.rate[k], w.full[k]
		d, err := w.replay.Epoch(l)
		if err != nil {
			w.t.Errorf("replay: %v", err)
		}
		w.compared++
		if string(d.Weights[:]) != string(f.WeightsSha256) || string(d.Optimizer[:]) != string(f.OptimizerSha256) ||
			string(d.SampleOrder[:]) != string(f.SampleOrderSha256) || d.GlobalStep != f.GlobalStep {
			w.t.Errorf("epoch %d of generation %d differs from its replay (steps %d, %d)", f.Epoch, f.Generation, d.GlobalStep, f.GlobalStep)
		}
		w.last = d
	case *evidencev2.CheckpointFact:
		w.ckpts = append(w.ckpts, fmt.Sprint(f.Action, " ", f.Epoch, " ", f.Retained))
		if f.Action == evidencev2.CheckpointAction_CHECKPOINT_SAVED {
			w.replay.Mark(f.Epoch)
		}
	case *evidencev2.RollbackFact:
		w.rolls = append(w.rolls, fmt.Sprint(f.RollbackId, " ", f.Subsystem, " ", f.Step, " ", f.Epoch, " gen ", f.Generation, " ", f.Reason))
		if f.Subsystem != "tolaria" {
			return
		}
		switch f.Step {
		case evidencev2.RollbackStep_RB_RESTORED:
			// Half-trained epochs leave no trace.
			if err := w.replay.Return(f.Epoch); err != nil {
				w.t.Error(err)
			}
		case evidencev2.RollbackStep_RB_STARTED:
			w.ends[f.RollbackId] = ""
		case evidencev2.RollbackStep_RB_DONE, evidencev2.RollbackStep_RB_ABORTED:
			w.ends[f.RollbackId] = f.Step.String()
		}
	case *evidencev2.CommandFact:
		w.commands = append(w.commands, fmt.Sprint(f.CommandId, " ", f.Subsystem, " ", f.Status, " ", f.Epoch, " ", f.Effect, " ", f.Reason))
	case *evidencev2.StageFact:
		w.stages = append(w.stages, fmt.Sprint(f.Seed.LayerId, "/", f.Seed.SeedId, " ", f.From, " ", f.To, " ", f.Cause))
	case *evidencev2.PauseFact:
		w.pauses = append(w.pauses, fmt.Sprint(f.Subsystem, " ", f.State, " ", f.Reason))
	case *evidencev2.ModeFact:
		w.modes = append(w.modes, fmt.Sprint(f.From, " ", f.To, " ", f.Reason))
	case *evidencev2.BusFact:
		if f.Action == evidencev2.BusAction_BUS_APPENDED && strings.HasPrefix(f.EventId, "epoch/") && strings.HasSuffix(f.EventId, "/STARTED") {
			w.start(f.EventId)
		}
	case *evidencev2.DecisionFact:
		if f.Fallback {
			w.fallback++
		}
	}
}

// start judges the order of STARTED events in the bus's log (row T6).
func (w *witness) start(id string) {
	var gen, epoch int64
	part := strings.Split(id, "/")
	_, _ = fmt.Sscan(part[2], &gen)
	_, _ = fmt.Sscan(part[3], &epoch)
	if gen == w.startGen && epoch == w.startEpoch {
		return // the bus wrote it once more: the first copy was not durable
	}
	if w.startGen > 0 && !(gen == w.startGen && epoch == w.startEpoch+1 || gen == w.startGen+1) {
		w.t.Errorf("epoch %d of generation %d was started after epoch %d of generation %d", epoch, gen, w.startEpoch, w.startGen)
	}
	w.startGen, w.startEpoch = gen, epoch
}

func (w *witness) rolled(step string) (n int) {
	for _, r := range w.rolls {
		if strings.Contains(r, step) {
			n++
		}
	}
	return n
}

func (w *witness) has(list []string, sub string) bool {
	for _, l := range list {
		if strings.Contains(l, sub) {
			return true
		}
	}
	return false
}

// sound: no process ended by itself, rollbacks ended, and something was
// compared.
func (w *witness) sound(atLeast int) {
	w.t.Helper()
	for _, x := range w.exits {
		w.t.Error(x)
	}
	for id, end := range w.ends {
		if end == "" {
			w.t.Errorf("%s has no end", id)
		}
	}
	if w.compared < atLeast {
		w.t.Errorf("%d epochs were trained, want %d", w.compared, atLeast)
	}
}

type setup struct {
	orders []order
	seed   uint64
	mute   bool
	change func(*job.Job)
	plain  bool // no poison, for benchmarks
	alarm  telemetryv2.EmergencyLevel
	// What stands around a node's constructor; nil: nothing.
	tolaria, kasmina func(actor.Constructor) actor.Constructor
}

func triad(t testing.TB, s setup) (*sim.World, *witness) {
	t.Helper()
	j, err := job.Default()
	if err != nil {
		t.Fatal(err)
	}
	if s.change != nil {
		s.change(j)
	}
	h100, _ := gpu.ByName("h100")
	var hosts []sim.Host
	for _, name := range []string{"h1", "h2", "h3", "h4"} {
		d, err := disk.New(disk.Config{Keyed: sim.NewSource(s.seed)})
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, sim.Host{Name: name, Disk: d, Device: h100})
	}
	around := func(wrap func(actor.Constructor) actor.Constructor, make actor.Constructor) actor.Constructor {
		if wrap == nil {
			return make
		}
		return wrap(make)
	}
	log := trace.NewLog()
	w := newWitness(t, j)
	for _, h := range hosts {
		w.disks = append(w.disks, h.Disk)
	}
	if !s.plain {
		log = trace.NewLog(w)
	}
	world, err := sim.New(sim.Config{
		Name: "triad", Seed: s.seed, Hosts: hosts, Trace: log, Poison: !s.plain, Link: sim.Link{Latency: sim.DefaultLatency},
		Nodes: []sim.Node{
			{ID: "tolaria", Host: "h1", Make: around(s.tolaria, tolaria.New(j, *tolaria.Defaults())), Restart: 300 * time.Millisecond},
			{ID: "kasmina", Host: "h2", Make: around(s.kasmina, kasmina.New(j, *kasmina.Defaults())), Restart: 200 * time.Millisecond},
			{ID: "tamiyo", Host: "h3", Make: newTamiyo(j, s.orders, s.mute, s.alarm), Restart: 200 * time.Millisecond},
			{ID: "oona", Host: "h4", Make: oona.New(j, *oona.Defaults()), Restart: 200 * time.Millisecond},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return world, w
}

func run(t testing.TB, w *sim.World, d time.Duration) {
	t.Helper()
	if err := w.Run(d); err != nil {
		t.Fatal(err)
	}
}

func TestTrainsCalmEpochs(t *testing.T) {
	w, wit := triad(t, setup{})
	run(t, w, 20*time.Second)
	wit.sound(15)
	if wit.identity > 0 {
		t.Errorf("%d of %d steps took the identity path", wit.identity, wit.steps)
	}
	if n := w.Messages(); n < 1500 {
		t.Errorf("%d messages in 20 s", n)
	}
	t.Log(wit.compared, "epochs", w.Messages(), "messages", wit.modes, wit.ckpts)
}

func pausing(j *job.Job, id string, target int64, ms int32, pause bool) *adaptationv2.AdaptationCommand {
	c := &adaptationv2.PauseCommand{Pause: pause, Reason: "test"}
	if pause {
		c.MaxDurationMs = ms
		tok := &pausev2.PauseToken{TokenId: "t", ExpiresAt: timestamppb.New(sim.Epoch.Add(time.Hour)), MaxDuration: durationpb.New(time.Minute)}
		command.SignToken(tok, j.Key[:])
		c.PauseToken = tok.AppendCanonical(nil)
	}
	return &adaptationv2.AdaptationCommand{CommandId: id, TargetEpoch: target, TtlEpochs: 3,
		Command: &adaptationv2.AdaptationCommand_Pause{Pause: c}}
}

func seedCommand(id string, target int64, op adaptationv2.SeedOperation, layer, seed int32, kernel string) *adaptationv2.AdaptationCommand {
	return &adaptationv2.AdaptationCommand{CommandId: id, TargetEpoch: target, TtlEpochs: 3,
		Command: &adaptationv2.AdaptationCommand_SeedLifecycle{SeedLifecycle: &adaptationv2.SeedLifecycleCommand{
			Seed: &telemetryv2.SeedRef{LayerId: layer, SeedId: seed}, Operation: op, KernelArtifactId: kernel}}}
}

func rateCommand(id string, target int64, rate float64) *adaptationv2.AdaptationCommand {
	return &adaptationv2.AdaptationCommand{CommandId: id, TargetEpoch: target, TtlEpochs: 2,
		Command: &adaptationv2.AdaptationCommand_LrUpdate{LrUpdate: &adaptationv2.LearningRateUpdate{
			GroupRates: []*adaptationv2.LearningRateGroup{{ParamGroup: "default", LearningRate: rate}}}}}
}

const (
	toKasmina = "control.kasmina.commands"
	toTolaria = "control.tolaria.commands"
)

// busy is a life of adaptations: two seeds germinate, are trained and
// grafted, and the rate changes.
func busy() []order {
	return []order{
		{at: 0, topic: toKasmina, m: seedCommand("a1", 1, adaptationv2.SeedOperation_GERMINATE, 1, 1, "residual-4")},
		{at: 0, topic: toKasmina, m: seedCommand("a2", 1, adaptationv2.SeedOperation_GERMINATE, 2, 1, "residual-8")},
		{at: 1, topic: toKasmina, m: seedCommand("b1", 2, adaptationv2.SeedOperation_GERMINATE, 2, 2, "no-such-kernel")},
		{at: 2, topic: toKasmina, m: seedCommand("c1", 3, adaptationv2.SeedOperation_START_TRAINING, 1, 1, "")},
		{at: 2, topic: toKasmina, m: seedCommand("c2", 3, adaptationv2.SeedOperation_GRAFT, 2, 1, "")},
		{at: 3, topic: toTolaria, m: rateCommand("d1", 5, 0.015)},
		{at: 8, topic: toKasmina, m: seedCommand("e1", 10, adaptationv2.SeedOperation_GRAFT, 1, 1, "")},
		{at: 8, topic: toKasmina, m: seedCommand("e2", 10, adaptationv2.SeedOperation_STABILIZE, 2, 1, "")},
		{at: 12, topic: toTolaria, m: rateCommand("f1", 14, 0.01)},
	}
}

func TestAdaptationsEqualTheirReplay(t *testing.T) {
	w, wit := triad(t, setup{orders: busy()})
	run(t, w, 15*time.Second)
	wit.sound(12)
	for _, want := range []string{"a1 kasmina APPLIED 2", "c2 kasmina APPLIED 4 2/1 GERMINATED→GRAFTING", "d1 tolaria APPLIED 5", "e2 kasmina APPLIED 10", "e1 kasmina APPLIED", "b1 kasmina APPLIED"} {
		if !wit.has(wit.commands, want) {
			t.Errorf("no %q in\n%s", want, strings.Join(wit.commands, "\n"))
		}
	}
	if !wit.has(wit.stages, "2/2 GERMINATED CULLED BY_LOAD_FAILURE") {
		t.Errorf("stages: %v", wit.stages)
	}
	x := wit.replay.Export()
	j, _ := job.Default()
	if err := lineage.Verify(j, x); err != nil {
		t.Error(err)
	}
}

func TestPartitionFromKasminaTakesTheIdentityPath(t *testing.T) {
	w, wit := triad(t, setup{orders: busy()})
	w.At(5*time.Second, 1, func() {
		id, err := w.AddLinkFault(sim.LinkFault{Effect: sim.LinkCut, From: []string{"tolaria"}, To: []string{"kasmina"}}, false)
		if err != nil {
			t.Error(err)
		}
		w.At(12*time.Second, 1, func() { w.RemoveLinkFault(id) })
	})
	run(t, w, 25*time.Second)
	wit.sound(21)
	if wit.identity < 20 || wit.identity > 150 {
		t.Errorf("%d of %d steps took the identity path", wit.identity, wit.steps)
	}
	if len(wit.full) == 0 || len(wit.rolls) > 0 && wit.rolled("RB_DONE") == 0 {
		t.Error(wit.rolls)
	}
	t.Log(wit.identity, wit.steps, wit.rolls)
}

func TestCrashOfKasminaRollsBack(t *testing.T) {
	w, wit := triad(t, setup{orders: busy()})
	w.At(6*time.Second, 1, func() { _, _ = w.CrashNode("kasmina", 150*time.Millisecond, 0) })
	run(t, w, 20*time.Second)
	wit.sound(12)
	if wit.rolled("tolaria RB_DONE") != 1 {
		t.Errorf("%s", strings.Join(wit.rolls, "\n"))
	}
}

func TestCrashOfTolariaResumesFromItsCheckpoint(t *testing.T) {
	for _, host := range []bool{false, true} {
		w, wit := triad(t, setup{orders: busy()})
		w.At(6*time.Second, 1, func() {
			if host {
				_, _ = w.CrashHost("h1", 300*time.Millisecond, 0)
			} else {
				_, _ = w.CrashNode("tolaria", 300*time.Millisecond, 0)
			}
		})
		run(t, w, 20*time.Second)
		wit.sound(12)
		if wit.rolled("tolaria RB_DONE 4 gen 2") != 1 {
			t.Errorf("%s", strings.Join(wit.rolls, "\n"))
		}
	}
}

// The events of an epoch name the checkpoint that it begins with: the one that
// was just saved, or went back to.
func TestEpochEventsNameCheckpoints(t *testing.T) {
	w, wit := triad(t, setup{})
	w.At(6*time.Second, 1, func() { _, _ = w.CrashNode("kasmina", 150*time.Millisecond, 0) })
	run(t, w, 12*time.Second)
	wit.sound(8)
	want := []string{"STARTED 0 ckpt-0-1", "STARTED 4 ckpt-4-1", "ROLLED_BACK 4 ckpt-4-1", "STARTED 4 ckpt-4-1", "STARTED 8 ckpt-8-2"}
	for _, s := range want {
		if !slices.Contains(wit.named, s) {
			t.Errorf("%q is not among %q", s, wit.named)
		}
	}
}

// A coordinator that dies after any of the rollback's messages, or at any of
// its disk operations, leaves a rollback that ends, and one generation.
func TestCoordinatorDiesAnywhere(t *testing.T) {
	kinds := map[string]int{"*RollbackRequest": 2, "*RestorePart": 2, "*RollbackDecision": 2, "*RollbackAck": 2, "*RollbackOutcome": 2}
	for kind, n := range kinds {
		for k := 1; k <= n; k++ {
			t.Run(fmt.Sprint(kind, k), func(t *testing.T) {
				w, wit := triad(t, setup{orders: busy()})
				w.At(6*time.Second, 1, func() {
					_, _ = w.CrashNode("kasmina", 150*time.Millisecond, 0)
					if err := w.CrashAtSend("tolaria", k, kind, 300*time.Millisecond, 0, nil); err != nil {
						t.Error(err)
					}
				})
				run(t, w, 25*time.Second)
				wit.sound(12)
				if wit.rolled("tolaria RB_DONE") == 0 {
					t.Errorf("%s", strings.Join(wit.rolls, "\n"))
				}
			})
		}
	}
	for k := 1; k <= 12; k++ {
		t.Run(fmt.Sprint("operation ", k), func(t *testing.T) {
			w, wit := triad(t, setup{orders: busy()})
			w.At(6200*time.Millisecond, 1, func() {
				_, _ = w.CrashNode("kasmina", 0, 0)
				if err := w.CrashAtOperation("tolaria", k, true, 300*time.Millisecond, 0, nil); err != nil {
					t.Error(err)
				}
			})
			run(t, w, 25*time.Second)
			wit.sound(12)
			if t.Failed() {
				t.Log(strings.Join(wit.rolls, "\n"))
			}
		})
	}
}

func TestSilentTamiyoDelaysNoMoreThanItsTimeout(t *testing.T) {
	w, wit := triad(t, setup{mute: true})
	run(t, w, 25*time.Second)
	wit.sound(12)
	if wit.fallback < 12 {
		t.Errorf("%d decisions fell back", wit.fallback)
	}
}

func TestPauseEndsByItself(t *testing.T) {
	j, _ := job.Default()
	for _, topic := range []string{toTolaria, toKasmina} {
		w, wit := triad(t, setup{orders: []order{{at: 2, topic: topic, m: pausing(j, "p", 4, 2000, true)}}})
		run(t, w, 12*time.Second)
		wit.sound(7)
		if len(wit.pauses) != 2 || !strings.Contains(wit.pauses[0], "PAUSED") || !strings.Contains(wit.pauses[1], "RUNNING its time is over") {
			t.Errorf("%v %v", wit.pauses, wit.commands)
		}
		if topic == toKasmina && wit.identity == 0 {
			t.Error("Kasmina's pause cost no step its grafts")
		}
	}
}

func TestResumeByCommand(t *testing.T) {
	j, _ := job.Default()
	// Tamiyo hears of epoch 2 and 3 before the pause at 4; nothing after it. So
	// the resume is sent beforehand, and is due in the pause.
	w, wit := triad(t, setup{orders: []order{
		{at: 2, topic: toTolaria, m: pausing(j, "p", 4, 8000, true)},
		{at: 3, topic: toKasmina, m: pausing(j, "q", 4, 8000, true)},
		{at: 5, topic: toKasmina, m: pausing(j, "r", 5, 0, false)},
	}})
	run(t, w, 20*time.Second)
	wit.sound(7)
	if !wit.has(wit.pauses, "kasmina RUNNING") {
		t.Errorf("%v\n%s", wit.pauses, strings.Join(wit.commands, "\n"))
	}
}

// The windows of commands are half open, and what is forged, stale or a
// repetition has no effect.
func TestCommandsThatMustNotTakeEffect(t *testing.T) {
	confirm := rateCommand("n1", 4, 0.005)
	confirm.Constraints = &adaptationv2.ExecutionConstraints{RequireConfirmation: true}
	requires := rateCommand("r1", 4, 0.005)
	requires.Constraints = &adaptationv2.ExecutionConstraints{RequiredSubsystems: []string{"tamiyo", "kasmina"}}
	unknown := rateCommand("r2", 4, 0.005)
	unknown.Constraints = &adaptationv2.ExecutionConstraints{RequiredSubsystems: []string{"urza"}}
	late := rateCommand("l1", 1, 0.004) // in force in 1 and 2
	arch := &adaptationv2.AdaptationCommand{CommandId: "x1", TargetEpoch: 4, TtlEpochs: 2, Command: &adaptationv2.AdaptationCommand_ArchChange{
		ArchChange: &adaptationv2.ArchitectureChange{ChangeType: "rhythm", SerializedConfig: []byte("checkpoint-every: 2\n"), ValidationHash: "00"}}}
	good := &adaptationv2.AdaptationCommand{CommandId: "x2", TargetEpoch: 4, TtlEpochs: 2, Command: &adaptationv2.AdaptationCommand_ArchChange{
		ArchChange: &adaptationv2.ArchitectureChange{ChangeType: "rhythm", SerializedConfig: []byte("checkpoint-every: 2\n"),
			ValidationHash: fmt.Sprintf("%x", sha256.Sum256([]byte("checkpoint-every: 2\n")))}}}
	w, wit := triad(t, setup{orders: []order{
		{at: 0, topic: toTolaria, m: rateCommand("ok", 2, 0.019)},
		{at: 2, topic: toTolaria, m: late},
		{at: 2, topic: toTolaria, m: rateCommand("forged", 4, 0.9), key: make([]byte, 32)},
		{at: 2, topic: toTolaria, m: rateCommand("old", 4, 0.9), age: 61 * time.Second},
		{at: 2, topic: toTolaria, m: rateCommand("future", 4, 0.9), age: -62 * time.Second},
		{at: 2, topic: toTolaria, m: rateCommand("nonce", 4, 0.9), nonce: 1},
		{at: 2, topic: toTolaria, m: confirm},
		{at: 2, topic: toTolaria, m: requires},
		{at: 2, topic: toTolaria, m: unknown},
		{at: 2, topic: toTolaria, m: arch},
		{at: 2, topic: toTolaria, m: good},
		{at: 2, topic: toTolaria, m: seedCommand("wrong", 4, adaptationv2.SeedOperation_CULL, 1, 1, "")},
		{at: 3, topic: toTolaria, m: rateCommand("ok", 5, 0.9)},
	}})
	run(t, w, 10*time.Second)
	wit.sound(6)
	for _, want := range []string{
		"ok tolaria APPLIED 2", "ok tolaria DUPLICATE", "l1 tolaria EXPIRED 4", "forged tolaria REFUSED",
		"old tolaria REJECTED", "future tolaria REJECTED", "nonce tolaria REJECTED", "n1 tolaria AWAITING_CONFIRMATION",
		"n1 tolaria EXPIRED 6", "r1 tolaria APPLIED 4", "r2 tolaria REJECTED", "x1 tolaria REJECTED", "x2 tolaria APPLIED 4 checkpoint-every 4→2",
		"wrong tolaria REJECTED",
	} {
		if !wit.has(wit.commands, want) {
			t.Errorf("no %q in\n%s", want, strings.Join(wit.commands, "\n"))
			break
		}
	}
	if wit.has(wit.commands, "0.9") {
		t.Error("a rate that no command may set was set")
	}
}

// A captured message does nothing after a restart either.
func TestReplayedMessageAfterRestart(t *testing.T) {
	w, wit := triad(t, setup{orders: []order{
		{at: 0, topic: toTolaria, m: rateCommand("one", 1, 0.019)},
		{at: 9, topic: toTolaria, m: rateCommand("two", 8, 0.9), nonce: 1},
		{at: 9, topic: toTolaria, m: rateCommand("one", 10, 0.9)},
	}})
	w.At(4*time.Second, 1, func() { _, _ = w.CrashHost("h1", 300*time.Millisecond, 0) })
	run(t, w, 15*time.Second)
	wit.sound(7)
	for _, want := range []string{"one tolaria APPLIED 2", "two tolaria REJECTED", "one tolaria DUPLICATE"} {
		if !wit.has(wit.commands, want) {
			t.Errorf("no %q in\n%s", want, strings.Join(wit.commands, "\n"))
		}
	}
}

// A desk forgets commands of long ago, and none of them takes effect again: not
// when it comes again with a fresh signature, and not after a restart.
func TestForgottenCommandsStayWithoutEffect(t *testing.T) {
	const n = 400
	var orders []order
	for i := range n {
		m := rateCommand(fmt.Sprint("c", i), int64(i), 0.01+float64(i%7)/1000)
		m.TtlEpochs = 2000
		orders = append(orders, order{at: int64(i), topic: toTolaria, m: m})
	}
	for _, i := range []int{0, 3, 60} {
		orders = append(orders, order{at: n + 10, topic: toTolaria, m: orders[i].m, copy: true})
	}
	for _, i := range []int{1, 4, 61} {
		orders = append(orders, order{at: n + 60, topic: toTolaria, m: orders[i].m, copy: true})
	}
	w, wit := triad(t, setup{orders: orders})
	w.At(500*time.Second, 1, func() { _, _ = w.CrashHost("h1", 300*time.Millisecond, 0) })
	run(t, w, 900*time.Second)
	wit.sound(400)
	applied, refused := map[string]int{}, 0
	for _, c := range wit.commands {
		f := strings.Fields(c)
		if f[2] == "APPLIED" {
			applied[f[0]]++
		}
		if strings.Contains(c, "forgotten by now") {
			refused++
		}
	}
	if len(applied) < n-20 || refused < 3 {
		t.Errorf("%d commands were applied, %d copies refused as forgotten", len(applied), refused)
	}
	for id, times := range applied {
		if times != 1 {
			t.Errorf("%s was applied %d times", id, times)
		}
	}
	size := int64(0)
	for _, f := range wit.disks[0].Files() {
		if strings.Contains(f.Path, "commands/") {
			size += f.DurableSize
		}
	}
	t.Log(len(applied), refused, size, "bytes of log", wit.compared)
}

// Repeated, reordered and delayed messages everywhere change nothing about
// what is equal.
func TestDuplicatesAndReordering(t *testing.T) {
	for seed := range uint64(5) {
		w, wit := triad(t, setup{orders: busy(), seed: seed})
		all := []string{"tolaria", "kasmina", "tamiyo", "oona"}
		for _, f := range []sim.LinkFault{
			{Effect: sim.LinkDuplicate, Rate: 0.3, Delay: 20 * time.Millisecond, From: all, To: all},
			{Effect: sim.LinkReorder, Rate: 0.2, Delay: 20 * time.Millisecond, From: all, To: all},
			{Effect: sim.LinkDrop, Rate: 0.02, From: all, To: all},
		} {
			if _, err := w.AddLinkFault(f, false); err != nil {
				t.Fatal(err)
			}
		}
		run(t, w, 30*time.Second)
		wit.sound(15)
		if t.Failed() {
			t.Log(seed, strings.Join(wit.rolls, "\n"))
			break
		}
	}
}

func BenchmarkTriadSecond(b *testing.B) {
	w, _ := triad(b, setup{plain: true, orders: busy()})
	run(b, w, 5*time.Second)
	b.ResetTimer()
	b.ReportAllocs()
	if err := w.Run(5*time.Second + time.Duration(b.N)*time.Second); err != nil {
		b.Fatal(err)
	}
}

// Whatever happens to whom, what was trained equals its replay, the events of
// epochs are in order, rollbacks end, and training goes on afterwards.
func TestChaos(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w, wit := triad(t, setup{orders: busy(), seed: seed})
			src := sim.NewSource(seed)
			for i := range uint64(6) {
				v := src.At("chaos", seed, i)
				at := time.Duration(1+v%20000) * time.Millisecond
				down := time.Duration(50+v>>20%3000) * time.Millisecond
				node := []string{"tolaria", "kasmina", "tamiyo", "oona"}[v>>40%4]
				other := []string{"tolaria", "kasmina", "tamiyo", "oona"}[v>>42%4]
				host := map[string]string{"tolaria": "h1", "kasmina": "h2", "tamiyo": "h3", "oona": "h4"}[node]
				w.At(at, i, func() {
					switch v >> 50 % 4 {
					case 0:
						_, _ = w.CrashNode(node, down, 0)
					case 1:
						_, _ = w.CrashHost(host, down, 0)
					case 2:
						if node != other {
							id, _ := w.AddLinkFault(sim.LinkFault{Effect: sim.LinkCut, From: []string{node}, To: []string{other}}, v>>53%2 == 0)
							w.At(at+down, i, func() { w.RemoveLinkFault(id) })
						}
					case 3:
						_ = w.PauseNode(node, 0)
						w.At(at+down, i, func() { _ = w.ResumeNode(node) })
					}
				})
			}
			run(t, w, 30*time.Second)
			before := wit.compared
			run(t, w, 50*time.Second)
			wit.sound(before + 10)
			if t.Failed() {
				t.Log(strings.Join(wit.rolls, "\n"), wit.modes)
			}
		})
	}
}

// A CRITICAL notice is acknowledged within 90 ms and freezes training, which
// goes on by itself; a SEVERE one rolls back.
func TestEmergency(t *testing.T) {
	for _, level := range []telemetryv2.EmergencyLevel{telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL, telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_SEVERE} {
		w, wit := triad(t, setup{alarm: level})
		run(t, w, 30*time.Second)
		wit.sound(12)
		if level == telemetryv2.EmergencyLevel_EMERGENCY_LEVEL_CRITICAL {
			if !wit.has(wit.modes, "FROZEN emergency n1") || !wit.has(wit.modes, "FROZEN CONSERVATIVE its time is over") {
				t.Error(wit.modes)
			}
			if wit.ackAfter == 0 || wit.ackAfter > int64(90*time.Millisecond) {
				t.Errorf("acknowledged after %v", time.Duration(wit.ackAfter))
			}
		} else if wit.rolled("tolaria RB_DONE") != 1 {
			t.Error(wit.rolls)
		}
	}
}
